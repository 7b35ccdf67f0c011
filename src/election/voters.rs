//! What this node knows of each other voter: round trips, priority, term, standing.

use core::time::Duration;
use ringrift_wire::{NodeId, Priority};
use std::collections::BTreeMap;

use crate::time::Instant;

const DELTA_MIN: Duration = Duration::from_millis(5);
const DELTA_MAX: Duration = Duration::from_secs(1);
const DELTA_UNKNOWN: Duration = Duration::from_millis(50);

/// What membership says of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet: it may be about to come.
    Unknown,
    /// It answers.
    Well,
    /// It is accused, since then.
    Suspected(Instant),
    /// It is dead, has left, or never came; since then.
    Gone(Instant),
}

/// One other voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Membership's word.
    pub standing: Standing,
    /// The end of the last round trip of any kind.
    pub round_trip_at: Option<Instant>,
    /// Smoothed round trip [RFC 6298, alpha 1/8].
    pub smoothed: Option<Duration>,
    /// Its priority, as it last said.
    pub priority: Option<Priority>,
    /// Its term, as it last said.
    pub term: Option<u64>,
    /// For whom it voted, as far as this node saw.
    pub voted_for: Option<NodeId>,
    /// Counts with other voters than this node.
    pub set_mismatch: bool,
    /// Whom it last called leader.
    pub reports_leader: Option<NodeId>,
}

/// The other voters, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters(BTreeMap<NodeId, Voter>);

impl Voters {
    /// Voters of whom nothing is known.
    pub fn new(ids: impl Iterator<Item = NodeId>) -> Self {
        let unknown = Voter {
            standing: Standing::Unknown,
            round_trip_at: None,
            smoothed: None,
            priority: None,
            term: None,
            voted_for: None,
            set_mismatch: false,
            reports_leader: None,
        };
        Self(ids.map(|id| (id, unknown.clone())).collect())
    }

    /// One voter.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Voter> {
        self.0.get(&id)
    }

    /// One voter, to note what was heard.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Voter> {
        self.0.get_mut(&id)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Voter)> {
        self.0.iter().map(|(id, voter)| (*id, voter))
    }

    /// Their names, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.0.keys().copied().collect()
    }

    /// A question to a voter was answered after `took`.
    pub fn round_trip(&mut self, now: Instant, id: NodeId, took: Duration) {
        let Some(voter) = self.0.get_mut(&id) else { return };
        voter.round_trip_at = Some(now);
        let smoothed = voter.smoothed.map_or(took, |old| (old * 7 + took) / 8);
        voter.smoothed = Some(smoothed);
    }

    /// How many voters, this node included, answered it within `window`.
    #[must_use]
    pub fn in_touch(&self, now: Instant, window: Duration) -> usize {
        let recent = |voter: &&Voter| voter.round_trip_at.is_some_and(|at| now.since(at) <= window);
        1 + self.0.values().filter(recent).count()
    }

    /// delta: twice the largest smoothed round trip to a voter, within 5 ms and 1 s; 50 ms before
    /// any is known.
    #[must_use]
    pub fn delta(&self) -> Duration {
        let largest = self.0.values().filter_map(|voter| voter.smoothed).max();
        largest.map_or(DELTA_UNKNOWN, |rtt| (rtt * 2).clamp(DELTA_MIN, DELTA_MAX))
    }
}
