//! What happened in an election, in the past tense.

use core::time::Duration;
use ringrift_wire::{NodeId, Refusal};

use super::HandoverOutcome;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
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
        /// Why, in a word of a closed set: `refused`, `timeout`, `yielded`, `leader_appeared`.
        why: &'static str,
    },
    /// This node leads.
    LeadershipGained {
        /// The term.
        term: u64,
        /// From the need of a leader to the winning vote.
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
    /// This node knows of another leader than before; `None` when there is none.
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
        /// The term that it votes above.
        term: u64,
    },
    /// A voter counts with other voters than this node does.
    VoterSetMismatch {
        /// Which voter.
        voter: NodeId,
        /// Its `voters_version`.
        theirs: u32,
        /// The own one.
        ours: u32,
    },
    /// A handover of this leader ended.
    HandoverEnded {
        /// The term that ended, or was to end.
        term: u64,
        /// What it was for.
        cause: LossCause,
        /// Who was told to stand.
        to: Option<NodeId>,
        /// How it ended.
        outcome: HandoverOutcome,
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
    /// This node led and its lease ended.
    LeaseExpired,
    /// A worse voter canvassed.
    Canvassed,
    /// An operator asked.
    Triggered,
    /// A voter's term is above the leader's.
    HigherTerm,
    /// The leader handed over to this voter.
    HandedOver,
}

impl ElectionCause {
    /// Every cause, for labels.
    pub const ALL: [Self; 9] = [
        Self::NoLeader,
        Self::LeaderSuspected,
        Self::LeaderReleased,
        Self::LeaderSilent,
        Self::LeaseExpired,
        Self::Canvassed,
        Self::Triggered,
        Self::HigherTerm,
        Self::HandedOver,
    ];

    /// The word for logs, labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoLeader => "no_leader",
            Self::LeaderSuspected => "leader_suspected",
            Self::LeaderReleased => "leader_released",
            Self::LeaderSilent => "leader_silent",
            Self::LeaseExpired => "lease_expired",
            Self::Canvassed => "canvassed",
            Self::Triggered => "triggered",
            Self::HigherTerm => "higher_term",
            Self::HandedOver => "handed_over",
        }
    }
}

/// How leading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossCause {
    /// No quorum acknowledged in time.
    LeaseExpired,
    /// The process was asked to stop.
    Stopped,
    /// An operator asked for a fresh election.
    Triggered,
    /// An operator asked this node to step down.
    SteppedDown,
    /// An operator asked for another, named leader.
    Transferred,
    /// An operator drained this node.
    Drained,
    /// A better voter takes over.
    TakenOver,
    /// The work that a leader does failed here: a gain hook or the command.
    WorkFailed,
    /// The work that a leader does had to be ended because the lease ran thin.
    LeaseThin,
    /// The vote store of the leader failed or does not answer, and another voter was ready.
    StoreFailed,
}

impl LossCause {
    /// Every cause, for labels.
    pub const ALL: [Self; 10] = [
        Self::LeaseExpired,
        Self::Stopped,
        Self::Triggered,
        Self::SteppedDown,
        Self::Transferred,
        Self::Drained,
        Self::TakenOver,
        Self::WorkFailed,
        Self::LeaseThin,
        Self::StoreFailed,
    ];

    /// The word for logs, labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeaseExpired => "lease_expired",
            Self::Stopped => "stopped",
            Self::Triggered => "triggered",
            Self::SteppedDown => "step_down",
            Self::Transferred => "transfer",
            Self::Drained => "drain",
            Self::TakenOver => "takeover",
            Self::WorkFailed => "work_failed",
            Self::LeaseThin => "lease_thin",
            Self::StoreFailed => "store_failed",
        }
    }
}
