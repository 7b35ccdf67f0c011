//! What membership is told and what it says: plain values.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, Message, NodeId};

use super::reach::Unusable;

/// This node, as membership needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Myself {
    /// Its name.
    pub id: NodeId,
    /// This process start.
    pub boot: Boot,
    /// Where it takes datagrams, as it tells others.
    pub address: SocketAddr,
    /// The incarnation it starts with.
    pub incarnation: u32,
    /// Whether it is a configured voter.
    pub voter: bool,
}

/// Another configured host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Its name.
    pub id: NodeId,
    /// Where it takes datagrams; `None` until its name is resolved.
    pub address: Option<SocketAddr>,
    /// Whether it is a configured voter.
    pub voter: bool,
}

/// How an accusation came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refutation {
    /// The member answered this node, which had been the only accuser.
    Answered,
    /// The member raised its incarnation.
    Incarnation,
    /// The member had been declared dead, and raised its incarnation.
    Returned,
}

impl Refutation {
    /// The word for logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Incarnation => "incarnation",
            Self::Returned => "returned",
        }
    }
}

/// Something that happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was heard of for the first time in this boot of it.
    MemberJoined {
        /// Who.
        member: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// It is accused.
    MemberSuspected {
        /// Who.
        member: NodeId,
        /// By whom.
        by: NodeId,
    },
    /// Another member accuses it, too.
    SuspicionConfirmed {
        /// Who.
        member: NodeId,
        /// By whom.
        by: NodeId,
    },
    /// It answers again, and is counted as dead until it has done so for long, because it comes and goes.
    MemberHeldOff {
        /// Who.
        member: NodeId,
        /// For how long it has to answer without a break.
        length: Duration,
    },
    /// It answered an accusation, or came back from the dead.
    MemberRefuted {
        /// Who.
        member: NodeId,
        /// How.
        how: Refutation,
    },
    /// It was declared dead.
    MemberDied {
        /// Who.
        member: NodeId,
        /// By whom.
        by: NodeId,
    },
    /// It said that it leaves.
    MemberLeft {
        /// Who.
        member: NodeId,
    },
    /// A new process of that name was heard of.
    MemberRestarted {
        /// Who.
        member: NodeId,
    },
    /// It answered from a new address, and its old one is silent or no longer configured.
    MemberMoved {
        /// Who.
        member: NodeId,
        /// Where it is now.
        address: SocketAddr,
    },
    /// Its name resolves to an address, or it gives one for itself, that is never used.
    AddressRefused {
        /// Who.
        member: NodeId,
        /// The address.
        address: SocketAddr,
        /// Why.
        why: Unusable,
    },
    /// A second live process uses its name, and is refused.
    NameInConflict {
        /// Who.
        member: NodeId,
        /// Where the first process is.
        address: SocketAddr,
        /// Where the second is.
        second: SocketAddr,
    },
    /// This node is itself the second process of its name: it is heard by nobody and must end.
    NameTaken {
        /// Where the first process is.
        address: SocketAddr,
    },
}

impl Event {
    /// Whom it happened to; `None` for this node itself.
    #[must_use]
    pub const fn member(&self) -> Option<NodeId> {
        match *self {
            Self::MemberJoined { member, .. }
            | Self::MemberSuspected { member, .. }
            | Self::SuspicionConfirmed { member, .. }
            | Self::MemberHeldOff { member, .. }
            | Self::MemberRefuted { member, .. }
            | Self::MemberDied { member, .. }
            | Self::MemberLeft { member }
            | Self::MemberRestarted { member }
            | Self::MemberMoved { member, .. }
            | Self::AddressRefused { member, .. }
            | Self::NameInConflict { member, .. } => Some(member),
            Self::NameTaken { .. } => None,
        }
    }
}

/// What comes out; to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// Where to.
        to: SocketAddr,
        /// To whom, as far as this node knows.
        member: NodeId,
        /// What.
        message: Message,
    },
    /// Something happened to a member.
    Event(Event),
    /// A member has answered a ping of this node.
    RoundTrip {
        /// Who.
        member: NodeId,
        /// From ping to ack.
        took: Duration,
    },
}

/// Counters since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Accusations of this node's own.
    pub suspicions_raised: u64,
    /// Suspicions that ended in an answer of their subject.
    pub suspicions_refuted: u64,
    /// Suspicions that ended in a death.
    pub suspicions_confirmed: u64,
    /// Returns from the dead that were put off.
    pub returns_held_off: u64,
    /// Accusations of this node itself that it answered.
    pub own_refutations: u64,
    /// Rumours applied to the member table.
    pub updates_applied: u64,
    /// Rumours about this node under a sequence above its own, which it cannot answer.
    pub rumours_of_another_boot: u64,
    /// Rumours of an incarnation that nobody reaches.
    pub rumours_refused: u64,
    /// Datagrams and rumours about names that may not join.
    pub names_refused: u64,
    /// Datagrams under a member's name from another process than the one known.
    pub boots_doubted: u64,
    /// Second live processes under a member's name.
    pub name_conflicts: u64,
    /// Addresses refused because they mean nothing here.
    pub addresses_refused: u64,
    /// Times that this node's own loop was late by more than a probe interval.
    pub late_loops: u64,
    /// Comparisons of tables that this node began.
    pub repairs: u64,
    /// Things dropped because a queue or table was full or a rate was used up.
    pub overflows: u64,
}
