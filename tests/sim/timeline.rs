//! The readable account of one run, kept only when somebody is going to read it.

use ringrift_wire::{Message, Opinion, Verdict};

use crate::options::{Nanos, SECOND};

/// The lines of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    keep: bool,
    lines: Vec<String>,
}

impl Timeline {
    /// An account that is kept, or not.
    pub(crate) const fn new(keep: bool) -> Self {
        Self { keep, lines: Vec::new() }
    }

    /// Notes what happened; the text is made only when it is kept.
    pub(crate) fn note(&mut self, now: Nanos, who: &str, text: impl FnOnce() -> String) {
        if self.keep {
            let line = format!("{:4}.{:09} {who:>3} {}", now / SECOND, now % SECOND, text());
            self.lines.push(line);
        }
    }

    /// Whether anybody is going to read it.
    pub(crate) const fn is_kept(&self) -> bool {
        self.keep
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// A message of the election in a few words; `None` for membership's.
pub(crate) fn describe(message: &Message) -> Option<String> {
    let verdict = |verdict: &Verdict| match verdict {
        Verdict::Granted => "granted".to_owned(),
        Verdict::Refused(why) => format!("refused {why:?}"),
    };
    match message {
        Message::Canvass(m) => Some(format!("CANVASS #{} term {}", m.number, m.term)),
        Message::CanvassReply(m) => {
            let opinion = match m.opinion {
                Opinion::Yes { free_in_us } => format!("yes, free in {free_in_us} us"),
                Opinion::No(why) => format!("no {why:?}"),
                Opinion::Better(priority) => format!("better, order {}", priority.order),
            };
            Some(format!("CANVASS-REPLY #{} term {} {opinion}", m.number, m.term))
        }
        Message::Election(m) => {
            Some(format!("ELECTION #{} term {} order {}", m.number, m.term, m.priority.order))
        }
        Message::Answer(m) => {
            Some(format!("ANSWER #{} term {} {}", m.number, m.term, verdict(&m.verdict)))
        }
        Message::Coordinator(m) => Some(format!("COORDINATOR #{} term {}", m.number, m.term)),
        Message::Acknowledge(m) => {
            Some(format!("ACKNOWLEDGE #{} term {} {}", m.number, m.term, verdict(&m.verdict)))
        }
        Message::Release(m) => {
            let dead = if m.dead { " of the dead" } else { "" };
            Some(format!("RELEASE{dead} term {} nonce {:x}", m.term, m.nonce))
        }
        Message::Inquire(m) => Some(format!("INQUIRE #{}", m.number)),
        Message::Report(m) => Some(format!(
            "REPORT #{} {:?} met_as_new {} longest lease {} ms",
            m.number, m.record, m.met_as_new, m.longest_lease_ms
        )),
        Message::Conflict(m) => Some(format!("CONFLICT the first is at {}", m.address)),
        Message::StepDown(m) => Some(format!("STEP-DOWN term {}", m.term)),
        Message::Offer(m) => Some(format!("OFFER #{} term {}", m.number, m.term)),
        Message::Ready(m) => {
            let why = m.unready.map_or("yes", |why| why.as_str());
            Some(format!("READY #{} term {} {why}", m.number, m.term))
        }
        Message::Go(m) => Some(format!("GO term {} to {}", m.term, m.successor)),
        Message::Ping(_)
        | Message::Ack(_)
        | Message::PingReq(_)
        | Message::Nack(_)
        | Message::RelayedAck(_)
        | Message::Gossip(_)
        | Message::Pull(_)
        | Message::Hearing(_) => None,
    }
}
