//! What a voter must not forget: the durable record and the promise of the same kernel boot.

use core::time::Duration;
use ringrift_wire::NodeId;

use crate::time::Instant;

/// The durable part of a voter. Observers keep one too, for boot sequence and incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VoteRecord {
    /// The voter's term; it never falls.
    pub term: u64,
    /// For whom it voted, or whose lead it acknowledged, in that term.
    pub voted_for: Option<NodeId>,
    /// The nonce of the process that was voted for; 0 without one.
    pub nonce: u64,
    /// The longest lease that any promise was ever asked for, or its own.
    pub longest_lease: Duration,
    /// `voters_version` that it has taken part under: it promises nothing to a lower one.
    pub set_version: u32,
    /// The highest voter-set version that it knows to have led.
    pub led_version: u32,
    /// Refuses to lead until resumed.
    pub drained: bool,
}

/// A voter's word not to vote for or acknowledge another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Promise {
    /// To whom.
    pub to: NodeId,
    /// To which process of that name.
    pub nonce: u64,
    /// In which term it was last given.
    pub term: u64,
    /// Until when.
    pub until: Instant,
}

/// What the stores of a starting process say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Restored {
    /// The durable record; `None` when the store is empty.
    pub record: Option<VoteRecord>,
    /// What it promised.
    pub promise: RestoredPromise,
    /// Whether promises given to the record's own candidacy may be released: the store is locked,
    /// lies where it was written and on the machine that wrote it, so its process is dead.
    pub may_release: bool,
}

/// What a starting process knows of its predecessor's promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestoredPromise {
    /// The same-boot file is of this kernel boot: this is the last promise, if there was one.
    Exact(Option<Promise>),
    /// It is not known; the last one can have been given at this moment (the start of the kernel
    /// when the predecessor ran before it).
    Unknown {
        /// The last moment of a promise.
        last_possible: Instant,
    },
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The durable record, into the next slot, with fdatasync.
    Record(VoteRecord),
    /// The promise of this kernel boot, or that there is none, without; where it cannot be written
    /// it is removed.
    Promise(Option<Promise>),
}
