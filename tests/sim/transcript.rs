//! The account of a scenario for a reader: one line an event, in virtual time, in the project's words.
//!
//! Pings, heartbeats and their answers are left out, and so is what a node says twice. Hosts that do the
//! same within [`TOGETHER`] share a line, under the time of the first.

use core::time::Duration;
use ringrift_p2p::election::{ElectionCause, Event as Told, LossCause};
use ringrift_p2p::membership;
use ringrift_p2p::node::event::Event;
use ringrift_wire::{NodeId, Refusal};
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::options::{MS, Nanos, SECOND};

/// Within this time hosts do the same thing together.
const TOGETHER: Nanos = 5 * MS;

/// The column of the hosts is at least so wide.
const WIDTH: usize = 15;

/// One line.
#[derive(Clone, Debug)]
struct Line {
    at: Nanos,
    hosts: Vec<String>,
    text: String,
}

/// The lines of a scenario.
#[derive(Clone, Debug)]
pub(crate) struct Transcript {
    /// Terms are told from here.
    base: u64,
    lines: Vec<Line>,
    /// What each host said last.
    last: BTreeMap<String, String>,
}

impl Transcript {
    /// An empty account in which the term after `base` is 1.
    pub(crate) const fn new(base: u64) -> Self {
        Self { base, lines: Vec::new(), last: BTreeMap::new() }
    }

    /// A term as it is told.
    pub(crate) const fn term(&self, term: u64) -> u64 {
        term.saturating_sub(self.base)
    }

    /// Something is done to the cluster.
    pub(crate) fn done(&mut self, at: Nanos, what: &str) {
        self.last.clear();
        self.lines.push(Line { at, hosts: Vec::new(), text: what.to_owned() });
    }

    /// A host does something.
    pub(crate) fn says(&mut self, at: Nanos, host: &str, text: String) {
        if self.last.get(host) == Some(&text) {
            return;
        }
        self.last.insert(host.to_owned(), text.clone());
        let recent = self
            .lines
            .iter_mut()
            .rev()
            .take_while(|line| !line.hosts.is_empty() && at - line.at <= TOGETHER);
        for line in recent {
            if line.text == text && !line.hosts.iter().any(|other| other == host) {
                line.hosts.push(host.to_owned());
                line.hosts.sort();
                return;
            }
        }
        self.lines.push(Line { at, hosts: vec![host.to_owned()], text });
    }

    /// A process tells of itself.
    pub(crate) fn told(&mut self, at: Nanos, id: NodeId, host: &str, event: &Event) {
        let text = match event {
            Event::Election(event) => self.of_election(id, event),
            Event::Member(event) => of_member(id, event),
            Event::ForeignAddress { voter } => {
                Some(format!("does not hear {voter} from a foreign address"))
            }
        };
        if let Some(text) = text {
            self.says(at, host, text);
        }
    }

    fn of_election(&self, id: NodeId, event: &Told) -> Option<String> {
        let term = |term: &u64| self.term(*term);
        Some(match event {
            Told::CanvassStarted { cause } => format!("canvasses: {}", because(*cause)),
            Told::ElectionStarted { term: t, .. } => format!("stands in term {}", term(t)),
            Told::ElectionLost { term: t, why } => format!("gives up term {}: {why}", term(t)),
            Told::LeadershipGained { term: t, .. } => format!("LEADS term {}", term(t)),
            Told::TermRaised { term: t } => format!("LEADS on in term {}", term(t)),
            Told::LeadershipLost { term: t, cause } => {
                format!("leads term {} no longer: {}", term(t), ended(*cause))
            }
            Told::HandoverEnded { to: Some(to), .. } => format!("tells {to} to stand"),
            Told::HandoverEnded { to: None, outcome, .. } => {
                format!("ends a handover: {}", outcome.as_str())
            }
            Told::LeaderChanged { leader: Some(leader), .. } if *leader == id => return None,
            Told::LeaderChanged { leader: Some(leader), term: t } => {
                format!("follows {leader} in term {}", term(t))
            }
            Told::LeaderChanged { leader: None, .. } => "knows of no leader".to_owned(),
            Told::VoteGranted { candidate, term: t } => {
                format!("votes for {candidate} in term {}", term(t))
            }
            Told::VoteRefused { candidate, term: t, why } => {
                format!("refuses {candidate} in term {}: {}", term(t), refusal(why))
            }
            Told::PromiseReleased { holder, .. } => format!("is freed of its promise to {holder}"),
            Told::RecordAdopted { term: t } => {
                format!("has its first record: it votes above term {}", term(t))
            }
            Told::VoterSetMismatch { voter, .. } => {
                format!("notices that {voter} has another voter list")
            }
            Told::StoreHealth { works: true } => "can write its votes again".to_owned(),
            Told::StoreHealth { works: false } => "cannot write its votes".to_owned(),
        })
    }

    /// The account as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let (seconds, ms) = (line.at / SECOND, line.at % SECOND / MS);
            let done = if line.hosts.is_empty() { "> " } else { "" };
            let hosts = line.hosts.join(" ");
            let width = if hosts.is_empty() { 0 } else { WIDTH };
            let gap = if hosts.is_empty() { "" } else { " " };
            let what = &line.text;
            let written = writeln!(text, "{seconds:4}.{ms:03}  {done}{hosts:width$}{gap}{what}");
            written.expect("a text takes every line");
        }
        text
    }
}

fn because(cause: ElectionCause) -> &'static str {
    match cause {
        ElectionCause::NoLeader => "no leader is known",
        ElectionCause::LeaderSuspected => "the leader is suspected",
        ElectionCause::LeaderReleased => "the leader has said that it leads no longer",
        ElectionCause::LeaderSilent => "the leader was silent for its lease",
        ElectionCause::LeaseExpired => "its own lease has ended",
        ElectionCause::Canvassed => "a worse voter canvasses",
        ElectionCause::Triggered => "an operator asked, or it stepped down itself",
        ElectionCause::HigherTerm => "a voter's term is higher",
        ElectionCause::HandedOver => "the leader hands over to it",
    }
}

const fn ended(cause: LossCause) -> &'static str {
    match cause {
        LossCause::LeaseExpired => "its lease has ended",
        LossCause::Stopped => "it was asked to stop",
        LossCause::Triggered => "an operator asked for an election",
        LossCause::SteppedDown => "an operator asked it to step down",
        LossCause::Transferred => "an operator named another leader",
        LossCause::Drained => "an operator drained it",
        LossCause::TakenOver => "a better voter takes over",
        LossCause::WorkFailed => "the work of the leader failed here",
        LossCause::LeaseThin => "its lease ran thin",
        LossCause::StoreFailed => "its disk fails",
    }
}

fn refusal(why: &Refusal) -> String {
    let left = |us: &u64| Duration::from_micros(*us).as_millis();
    match why {
        Refusal::VoterSet => "it has another voter list".to_owned(),
        Refusal::Term => "the term is lower than its own".to_owned(),
        Refusal::Voted => "it has voted for another in this term".to_owned(),
        Refusal::Promised { free_in_us } => {
            format!("it has promised another for {} ms more", left(free_in_us))
        }
        Refusal::Abstaining { free_in_us } => {
            format!("it abstains for {} ms more", left(free_in_us))
        }
        Refusal::Empty => "its store is empty".to_owned(),
        Refusal::Store => "its store fails".to_owned(),
        Refusal::LeaderAlive { .. } => "it hears a leader".to_owned(),
        Refusal::Lease => "the lease is too long".to_owned(),
    }
}

/// Only what a node finds out itself; the news of it reaches everybody.
fn of_member(id: NodeId, event: &membership::Event) -> Option<String> {
    use membership::Event;
    match event {
        Event::MemberSuspected { member, by } if *by == id => Some(format!("suspects {member}")),
        Event::MemberDied { member, by } if *by == id => Some(format!("declares {member} dead")),
        Event::NameInConflict { member, .. } => Some(format!("sees two processes of {member}")),
        Event::NameTaken { .. } => Some("is told that its name is taken, and ends".to_owned()),
        Event::MemberSuspected { .. }
        | Event::SuspicionConfirmed { .. }
        | Event::MemberHeldOff { .. }
        | Event::MemberDied { .. }
        | Event::MemberJoined { .. }
        | Event::MemberRefuted { .. }
        | Event::MemberLeft { .. }
        | Event::MemberRestarted { .. }
        | Event::MemberMoved { .. }
        | Event::AddressRefused { .. } => None,
    }
}
