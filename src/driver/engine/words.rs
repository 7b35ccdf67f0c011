//! The words of a closed set that datagrams are counted under.

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
