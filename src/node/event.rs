//! What happened, in the past tense: the node's account of itself for logs, metrics and history.

use core::time::Duration;
use ringrift_wire::{NodeId, Refusal};

use crate::membership;

/// Something that happened in this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member changed state.
    Member(membership::Event),
    /// This node began to canvass for votes.
    CanvassStarted {
        /// Why there is need of a leader.
        cause: ElectionCause,
    },
    /// This node stands in a term.
    ElectionStarted {
        /// The term.
        term: u64,
        /// Why there is need of a leader.
        cause: ElectionCause,
    },
    /// The round ended without a quorum.
    ElectionLost {
        /// The term.
        term: u64,
        /// In a word of a closed set, for people and labels.
        why: &'static str,
    },
    /// This node leads.
    LeadershipGained {
        /// The term.
        term: u64,
        /// From the first canvass to the winning vote.
        took: Duration,
    },
    /// This node leads on in a higher term.
    TermRaised {
        /// The new term.
        term: u64,
    },
    /// This node leads no longer.
    LeadershipLost {
        /// The term.
        term: u64,
        /// How it ended.
        cause: LossCause,
    },
    /// This node has heard of another leader than before; `None` when there is none.
    LeaderChanged {
        /// Who leads now.
        leader: Option<NodeId>,
        /// In which term.
        term: u64,
    },
    /// This voter granted its vote.
    VoteGranted {
        /// To whom.
        candidate: NodeId,
        /// In which term.
        term: u64,
    },
    /// This voter refused its vote or its acknowledgement.
    VoteRefused {
        /// To whom.
        candidate: NodeId,
        /// In which term.
        term: u64,
        /// Why.
        why: Refusal,
    },
    /// A promise was freed before its end.
    PromiseReleased {
        /// Whose it was.
        holder: NodeId,
        /// In which term.
        term: u64,
    },
    /// The empty store of this voter got its first record.
    RecordAdopted {
        /// The term it starts above.
        term: u64,
    },
    /// A voter counts with other voters than this node does.
    VoterSetMismatch {
        /// Which voter.
        voter: NodeId,
    },
    /// An election message came under a voter's name from an address that is not that voter's.
    ForeignAddress {
        /// The name.
        voter: NodeId,
    },
    /// The vote store failed or works again.
    StoreHealth {
        /// Whether it works.
        works: bool,
    },
}

/// Why there is need of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElectionCause {
    /// No leader is known.
    NoLeader,
    /// The known leader is suspected.
    LeaderSuspected,
    /// The known leader said that it leads no longer.
    LeaderReleased,
    /// The known leader was silent for its lease.
    LeaderSilent,
    /// A worse voter canvassed.
    Canvassed,
    /// An operator asked.
    Triggered,
    /// A voter's term is above the leader's.
    HigherTerm,
}

impl ElectionCause {
    /// The word for logs, labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoLeader => "no_leader",
            Self::LeaderSuspected => "leader_suspected",
            Self::LeaderReleased => "leader_released",
            Self::LeaderSilent => "leader_silent",
            Self::Canvassed => "canvassed",
            Self::Triggered => "triggered",
            Self::HigherTerm => "higher_term",
        }
    }
}

/// How leading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossCause {
    /// No quorum acknowledged in time.
    LeaseExpired,
    /// The process was asked to stop.
    Stopped,
    /// An operator asked for a fresh election.
    Triggered,
    /// The vote store failed.
    StoreFailed,
}

impl LossCause {
    /// The word for logs, labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseExpired => "lease_expired",
            Self::Stopped => "stopped",
            Self::Triggered => "triggered",
            Self::StoreFailed => "store_failed",
        }
    }
}
