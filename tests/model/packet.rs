//! What is on its way between two processes.
//!
//! Terms, numbers and nonces are small in the model, so a packet is too; it becomes a real message
//! when it is delivered.

use core::time::Duration;
use ringrift_p2p::election::quorum::VoterSet;
use ringrift_wire::{
    Acknowledge, Answer, Coordinator, Election, Inquire, Message, Priority, Record, Release,
    Report, Verdict,
};

use crate::setup::TICK;

/// The same priority for all: the core does not decide by it.
pub const PRIORITY: Priority =
    Priority { drained: false, last: false, stability: 0, centrality: 0, gpu: 0, order: 1 };

/// One message from one process to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Index of the process that sent it.
    pub from: u8,
    /// Index of the process that it goes to.
    pub to: u8,
    /// Nonce of the process that sent it.
    pub nonce: u8,
    /// What it says.
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// ELECTION; leases are in ticks, and number 0 is one whose answers no longer count.
    Election { term: u8, number: u8, lease: u8 },
    /// ANSWER, granted.
    Vote { term: u8, number: u8 },
    /// COORDINATOR.
    Beat { term: u8, number: u8, lease: u8 },
    /// The acknowledgement of a heartbeat.
    Ack { term: u8, number: u8 },
    /// RELEASE.
    Release { nonce: u8, term: u8, dead: bool },
    /// The question of an empty store.
    Inquire { number: u8 },
    /// Its answer.
    Report { number: u8, term: Option<u8>, met_as_new: bool, lease: u8 },
}

impl Packet {
    /// The same with another number.
    pub const fn with_number(self, number: u8) -> Self {
        Self { body: self.body.with_number(number), ..self }
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("the model's numbers are small")
}

fn ticks(millis: u32) -> u8 {
    small(u64::from(millis) / TICK.as_secs() / 1_000)
}

fn millis(ticks: u8) -> u32 {
    u32::try_from((TICK * u32::from(ticks)).as_millis()).expect("few ticks")
}

/// The length of so many ticks.
pub fn length(ticks: u8) -> Duration {
    TICK * u32::from(ticks)
}

impl Body {
    /// What the model keeps of a message; `None` for refusals, which bind nobody.
    pub fn of(message: &Message) -> Option<Self> {
        Some(match message {
            Message::Election(m) => Self::Election {
                term: small(m.term),
                number: small(m.number),
                lease: ticks(m.lease_ms),
            },
            Message::Answer(Answer { verdict: Verdict::Granted, term, number, .. }) => {
                Self::Vote { term: small(*term), number: small(*number) }
            }
            Message::Coordinator(m) => Self::Beat {
                term: small(m.term),
                number: small(m.number),
                lease: ticks(m.lease_ms),
            },
            Message::Acknowledge(Acknowledge {
                verdict: Verdict::Granted, term, number, ..
            }) => Self::Ack { term: small(*term), number: small(*number) },
            Message::Release(m) => {
                Self::Release { nonce: small(m.nonce), term: small(m.term), dead: m.dead }
            }
            Message::Inquire(m) => Self::Inquire { number: small(m.number) },
            Message::Report(m) => Self::Report {
                number: small(m.number),
                term: m.record.map(|record| small(record.term)),
                met_as_new: m.met_as_new,
                lease: ticks(m.longest_lease_ms),
            },
            _ => return None,
        })
    }

    /// The real message.
    pub fn message(self, set: &VoterSet) -> Message {
        let set = set.tag();
        match self {
            Self::Election { term, number, lease } => Message::Election(Election {
                set,
                term: term.into(),
                number: number.into(),
                lease_ms: millis(lease),
                priority: PRIORITY,
            }),
            Self::Vote { term, number } => Message::Answer(Answer {
                set,
                term: term.into(),
                number: number.into(),
                verdict: Verdict::Granted,
            }),
            Self::Beat { term, number, lease } => Message::Coordinator(Coordinator {
                set,
                term: term.into(),
                number: number.into(),
                lease_ms: millis(lease),
            }),
            Self::Ack { term, number } => Message::Acknowledge(Acknowledge {
                set,
                term: term.into(),
                number: number.into(),
                priority: PRIORITY,
                verdict: Verdict::Granted,
            }),
            Self::Release { nonce, term, dead } => {
                Message::Release(Release { set, nonce: nonce.into(), term: term.into(), dead })
            }
            Self::Inquire { number } => Message::Inquire(Inquire { set, number: number.into() }),
            Self::Report { number, term, met_as_new, lease } => Message::Report(Report {
                set,
                number: number.into(),
                record: term.map(|term| Record { term: term.into(), led_version: 0 }),
                met_as_new,
                longest_lease_ms: millis(lease),
            }),
        }
    }

    /// Whether it answers a request: delivered twice, it has no second effect.
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Vote { .. } | Self::Ack { .. })
    }

    /// The same with another number, for those that have one that a lease may rest on.
    pub const fn with_number(self, number: u8) -> Self {
        match self {
            Self::Election { term, lease, .. } => Self::Election { term, number, lease },
            Self::Beat { term, lease, .. } => Self::Beat { term, number, lease },
            Self::Vote { term, .. } => Self::Vote { term, number },
            Self::Ack { term, .. } => Self::Ack { term, number },
            other => other,
        }
    }

    /// The same asking for another promise.
    pub const fn with_lease(self, lease: u8) -> Self {
        match self {
            Self::Election { term, number, .. } => Self::Election { term, number, lease },
            Self::Beat { term, number, .. } => Self::Beat { term, number, lease },
            other => other,
        }
    }

    /// The number that a lease may rest on.
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Election { number, .. }
            | Self::Beat { number, .. }
            | Self::Vote { number, .. }
            | Self::Ack { number, .. } => Some(number),
            Self::Release { .. } | Self::Inquire { .. } | Self::Report { .. } => None,
        }
    }
}
