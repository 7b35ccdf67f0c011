//! What this node knows of each other voter: round trips, priority, term, standing.

use core::time::Duration;
use ringrift_wire::{NodeId, Priority, Release};
use std::collections::BTreeMap;

use crate::time::Instant;

const DELTA_MIN: Duration = Duration::from_millis(5);
const DELTA_MAX: Duration = Duration::from_secs(1);
const DELTA_UNKNOWN: Duration = Duration::from_millis(50);
/// A process that was stopped answers late what it was asked meanwhile. That says nothing of its
/// network, and must not slow down the next elections; a network that became slow is believed
/// after some samples.
const MOST_OF_SMOOTHED: u32 = 4;

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
    /// Smoothed round trip [RFC 6298, alpha 1/8]; one sample counts for at most
    /// [`MOST_OF_SMOOTHED`] times what was smoothed before, and [`DELTA_MIN`].
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
    /// What it was told when this process started, and may not have heard.
    pub farewell: Option<Release>,
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
            farewell: None,
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
        voter.smoothed = Some(voter.smoothed.map_or(took, |old| {
            let counts = took.min(old.saturating_mul(MOST_OF_SMOOTHED) + DELTA_MIN);
            (old * 7 + counts) / 8
        }));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples_ms: impl IntoIterator<Item = u64>) -> Duration {
        let id = "b".parse().unwrap();
        let mut voters = Voters::new([id].into_iter());
        for took in samples_ms {
            voters.round_trip(Instant::ZERO, id, Duration::from_millis(took));
        }
        voters.delta()
    }

    #[test]
    fn late_answers_of_a_stopped_process_hardly_slow_elections_down() {
        let stopped = [1, 1, 4_000, 3_750, 3_500, 3_250, 3_000, 2_750];
        assert!(after(stopped) < Duration::from_millis(50), "{:?}", after(stopped));
    }

    #[test]
    fn a_network_that_is_slow_from_the_start_is_believed_at_once() {
        assert_eq!(after([300]), Duration::from_millis(600));
    }

    #[test]
    fn a_network_that_becomes_slow_is_believed_after_some_samples() {
        let slow = core::iter::repeat_n(400, 30);
        assert!(after([1].into_iter().chain(slow)) > Duration::from_millis(600));
    }
}
