//! What this node knows of each other voter: round trips, priority, term, standing.

use core::time::Duration;
use ringrift_wire::{NodeId, Priority, Release};
use std::collections::BTreeMap;

use super::{Said, VoterSet};
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
    /// `MOST_OF_SMOOTHED` times what was smoothed before, and `DELTA_MIN`.
    pub smoothed: Option<Duration>,
    /// Its priority, as it last said.
    pub priority: Option<Priority>,
    /// Its term, as it last said.
    pub term: Option<u64>,
    /// For whom it voted, as far as this node saw.
    pub voted_for: Option<NodeId>,
    /// Counts with other voters than this node.
    pub set_mismatch: bool,
    /// `voters_version` that it last named.
    pub set_version: Option<u32>,
    /// Whom it last called leader.
    pub reports_leader: Option<NodeId>,
    /// What it last said about leading, and when.
    pub said: Option<(Instant, Said)>,
    /// What it was told when this process started, and may not have heard.
    pub farewell: Option<Release>,
}

/// The other voters, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters {
    all: BTreeMap<NodeId, Voter>,
    longest_delta: Duration,
}

impl Voters {
    /// The voters of a set but `me`, of whom nothing is known.
    pub fn new(set: &VoterSet, me: NodeId, heartbeat_interval: Duration) -> Self {
        let unknown = Voter {
            standing: Standing::Unknown,
            round_trip_at: None,
            smoothed: None,
            priority: None,
            term: None,
            voted_for: None,
            set_mismatch: false,
            set_version: None,
            reports_leader: None,
            said: None,
            farewell: None,
        };
        let others = set.ids().iter().filter(|&&id| id != me);
        let all = others.map(|&id| (id, unknown.clone())).collect();
        // Round trips beyond that leave a leader no time for its heartbeats anyway.
        let longest_delta = (heartbeat_interval / 2).clamp(DELTA_MIN, DELTA_MAX);
        Self { all, longest_delta }
    }

    /// One voter.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Voter> {
        self.all.get(&id)
    }

    /// One voter, to note what was heard.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Voter> {
        self.all.get_mut(&id)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Voter)> {
        self.all.iter().map(|(id, voter)| (*id, voter))
    }

    /// Their names, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.all.keys().copied().collect()
    }

    /// A question to a voter was answered after `took`.
    pub fn round_trip(&mut self, now: Instant, id: NodeId, took: Duration) {
        let Some(voter) = self.all.get_mut(&id) else { return };
        voter.round_trip_at = Some(now);
        voter.smoothed = Some(voter.smoothed.map_or(took, |old| {
            let counts = took.min(old.saturating_mul(MOST_OF_SMOOTHED) + DELTA_MIN);
            (old * 7 + counts) / 8
        }));
    }

    /// No earlier round trip is evidence any more.
    pub fn forget_round_trips(&mut self) {
        for voter in self.all.values_mut() {
            voter.round_trip_at = None;
        }
    }

    /// How many voters, this node included, answered it within `window`.
    #[must_use]
    pub fn in_touch(&self, now: Instant, window: Duration) -> usize {
        let recent = |voter: &&Voter| voter.round_trip_at.is_some_and(|at| now.since(at) <= window);
        1 + self.all.values().filter(recent).count()
    }

    /// delta: twice the largest smoothed round trip to a voter, 50 ms before any is known; at least
    /// 5 ms, and at most 1 s or half a heartbeat.
    #[must_use]
    pub fn delta(&self) -> Duration {
        let largest = self.all.values().filter_map(|voter| voter.smoothed).max();
        largest.map_or(DELTA_UNKNOWN, |rtt| rtt * 2).clamp(DELTA_MIN, self.longest_delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(heartbeat_ms: u64, samples_ms: impl IntoIterator<Item = u64>) -> Duration {
        let [me, other] = ["a", "b"].map(|name| name.parse().unwrap());
        let set = VoterSet::new(&[me, other], 1);
        let mut voters = Voters::new(&set, me, Duration::from_millis(heartbeat_ms));
        for took in samples_ms {
            voters.round_trip(Instant::ZERO, other, Duration::from_millis(took));
        }
        voters.delta()
    }

    #[test]
    fn late_answers_of_a_stopped_process_hardly_slow_elections_down() {
        let stopped = [1, 1, 4_000, 3_750, 3_500, 3_250, 3_000, 2_750];
        let delta = after(15_000, stopped);
        assert!(delta < Duration::from_millis(50), "{delta:?}");
    }

    #[test]
    fn delta_leaves_time_for_heartbeats() {
        assert_eq!(after(60, []), Duration::from_millis(30));
        assert_eq!(after(60, [9_000]), Duration::from_millis(30));
        assert_eq!(after(15_000, [9_000]), Duration::from_secs(1));
    }

    #[test]
    fn a_network_that_is_slow_from_the_start_is_believed_at_once() {
        assert_eq!(after(15_000, [300]), Duration::from_millis(600));
    }

    #[test]
    fn a_network_that_becomes_slow_is_believed_after_some_samples() {
        let slow = core::iter::repeat_n(400, 30);
        assert!(after(15_000, [1].into_iter().chain(slow)) > Duration::from_millis(600));
    }
}
