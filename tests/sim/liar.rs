//! Planted bugs, made around the untouched production code: a layer between a host and its network
//! or disk that forgets, rewrites or forges. The checkers must notice each of them.

use ringrift_p2p::election::record::Restored;
use ringrift_wire::{Boot, Envelope, Message, Opinion, Verdict};
use std::collections::BTreeMap;

use crate::options::Nanos;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// A restarted voter finds the record from before its last vote: two votes in a term.
    ForgetsVote,
    /// Every answer names the latest send: the lease counts from the answer's arrival. Some arrive a
    /// second time, late.
    LeaseFromArrival,
    /// One more voter than really did says yes: a quorum of two of three, or of two of five.
    QuorumOfTwo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Canvass,
    Election,
    Coordinator,
}

/// The layer.
#[derive(Clone, Debug)]
pub(crate) struct Liar {
    lie: Lie,
    last: BTreeMap<(usize, usize, Asked), u64>,
}

impl Liar {
    /// A layer with that bug.
    pub(crate) const fn new(lie: Lie) -> Self {
        Self { lie, last: BTreeMap::new() }
    }

    /// What a starting process is told that it finds.
    pub(crate) fn restored(&self, mut restored: Restored) -> Restored {
        if self.lie == Lie::ForgetsVote
            && let Some(record) = &mut restored.record
            && record.voted_for.take().is_some()
        {
            record.term = record.term.saturating_sub(1);
            record.nonce = 0;
        }
        restored
    }

    /// A host sends something.
    pub(crate) fn sends(&mut self, from: usize, to: usize, message: &Message) {
        if self.lie == Lie::None {
            return;
        }
        let (asked, number) = match message {
            Message::Canvass(m) => (Asked::Canvass, m.number),
            Message::Election(m) => (Asked::Election, m.number),
            Message::Coordinator(m) => (Asked::Coordinator, m.number),
            _ => return,
        };
        self.last.insert((from, to, asked), number);
    }

    /// After which time a second copy of a message arrives.
    pub(crate) fn holds_back(&self, message: &Message, lease: Nanos) -> Option<Nanos> {
        match message {
            Message::Acknowledge(m)
                if self.lie == Lie::LeaseFromArrival && m.verdict == Verdict::Granted =>
            {
                Some(lease / 2 + m.number % 8 * lease / 4)
            }
            _ => None,
        }
    }

    /// What a host hears when `from` sent it an envelope; `voters` are the hosts with a vote and the
    /// process that runs on each.
    pub(crate) fn hears(
        &self,
        host: usize,
        from: usize,
        mut envelope: Envelope,
        voters: &[(usize, Boot)],
    ) -> Vec<(usize, Envelope)> {
        let latest = |of: usize, asked: Asked| self.last.get(&(host, of, asked)).copied();
        match self.lie {
            Lie::None | Lie::ForgetsVote => vec![(from, envelope)],
            Lie::LeaseFromArrival => {
                let number = match &mut envelope.message {
                    Message::Answer(m) => Some((&mut m.number, Asked::Election)),
                    Message::Acknowledge(m) => Some((&mut m.number, Asked::Coordinator)),
                    _ => None,
                };
                if let Some((number, asked)) = number
                    && let Some(last) = latest(from, asked)
                {
                    *number = last;
                }
                vec![(from, envelope)]
            }
            Lie::QuorumOfTwo => {
                let mut heard = vec![(from, envelope.clone())];
                let forged = voters.iter().find(|(other, _)| *other != host && *other != from);
                let Some(&(other, boot)) = forged else { return heard };
                let number = match &mut envelope.message {
                    Message::CanvassReply(m) if matches!(m.opinion, Opinion::Yes { .. }) => {
                        Some((&mut m.number, Asked::Canvass))
                    }
                    Message::Answer(m) if m.verdict == Verdict::Granted => {
                        Some((&mut m.number, Asked::Election))
                    }
                    Message::Acknowledge(m) if m.verdict == Verdict::Granted => {
                        Some((&mut m.number, Asked::Coordinator))
                    }
                    _ => None,
                };
                if let Some((number, asked)) = number
                    && let Some(last) = latest(other, asked)
                {
                    *number = last;
                    envelope.boot = boot;
                    heard.push((other, envelope));
                }
                heard
            }
        }
    }
}
