//! The kinds of datagrams: which come first, and the words that they are counted under.

use ringrift_wire::{DecodeError, Kind};

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
