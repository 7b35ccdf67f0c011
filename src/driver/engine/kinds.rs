//! The kinds of datagrams and of outputs: which come first, and the words that they are counted under.

use ringrift_wire::{DecodeError, Kind, Message};

use crate::election::Event as Elect;
use crate::node::{Event, Output};

/// The words of all kinds of datagrams, in the order of the indices that metrics are counted by.
#[must_use]
pub fn kind_words() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.as_str()).collect()
}

/// The words of all reasons to reject a datagram, likewise.
#[must_use]
pub fn reason_words() -> Vec<&'static str> {
    DecodeError::ALL.iter().map(|reason| reason.as_str()).collect()
}

pub(super) fn kind_index(kind: Kind) -> usize {
    Kind::ALL.iter().position(|one| *one == kind).unwrap_or(usize::MAX)
}

pub(super) fn reason_index(reason: DecodeError) -> usize {
    let word = reason.as_str();
    DecodeError::ALL.iter().position(|one| one.as_str() == word).unwrap_or(usize::MAX)
}

/// Whether a message is one on which leases and votes wait.
pub(super) const fn is_election(kind: Kind) -> bool {
    match kind {
        Kind::Coordinator
        | Kind::Acknowledge
        | Kind::Release
        | Kind::Election
        | Kind::Answer
        | Kind::Canvass
        | Kind::CanvassReply
        | Kind::Inquire
        | Kind::Report
        | Kind::Offer
        | Kind::Ready
        | Kind::Go
        | Kind::StepDown => true,
        Kind::Ping
        | Kind::Ack
        | Kind::PingReq
        | Kind::Nack
        | Kind::RelayedAck
        | Kind::Gossip
        | Kind::Pull
        | Kind::Hearing
        | Kind::Conflict => false,
    }
}

/// Whether this output belongs to a change that must be seen before it: who leads, or in which term.
pub(super) const fn changes_leadership(output: &Output) -> bool {
    match output {
        Output::Notify(Event::Election(event)) => match event {
            Elect::LeadershipGained { .. }
            | Elect::LeadershipLost { .. }
            | Elect::LeaderChanged { .. }
            | Elect::TermRaised { .. } => true,
            // Most of these a datagram of anybody can cause, as often as it is sent.
            Elect::CanvassStarted { .. }
            | Elect::ElectionStarted { .. }
            | Elect::ElectionLost { .. }
            | Elect::VoteGranted { .. }
            | Elect::VoteRefused { .. }
            | Elect::PromiseReleased { .. }
            | Elect::RecordAdopted { .. }
            | Elect::VoterSetMismatch { .. }
            | Elect::HandoverEnded { .. }
            | Elect::StoreHealth { .. } => false,
        },
        // Members come and go without a change of leader, and in a large cluster often.
        Output::Notify(Event::Member(_) | Event::ForeignAddress { .. }) => false,
        Output::Send { message: Message::Release(_), .. } => true,
        Output::Persist { .. }
        | Output::Send { .. }
        | Output::EndWork { .. }
        | Output::Reply { .. } => false,
    }
}
