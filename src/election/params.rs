//! The numbers of an election.

use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;

/// What the configuration says of one voter's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Configured order, 1 is best.
    pub order: u16,
    /// Whether it has a GPU.
    pub gpu: bool,
    /// Votes and never leads.
    pub never: bool,
}

/// What keeps the lead from moving too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hysteresis {
    /// How long a voter must be better, and the leader must have led, before it takes over; 60 s.
    pub takeover_after: Duration,
    /// The shortest time between two takeovers, 5 min; it doubles while they do not last.
    pub takeover_every: Duration,
    /// How long a voter that gave the lead up on request ranks last, 10 min.
    pub block_after_step_down: Duration,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self {
            takeover_after: Duration::from_secs(60),
            takeover_every: Duration::from_secs(300),
            block_after_step_down: Duration::from_secs(600),
        }
    }
}

/// Timings and order of an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// h, between two heartbeats of a leader.
    pub heartbeat_interval: Duration,
    /// L, at least two heartbeats.
    pub lease: Duration,
    /// Bound of one election round.
    pub election_timeout: Duration,
    /// Rho, the largest difference of clock rates, in parts per million; below 1,000,000.
    pub clock_drift_ppm: u32,
    /// How long ending the leader's work may take, on leaving the lead by choice; zero when nothing has
    /// to end before leadership does.
    pub work_grace: Duration,
    /// When the lead moves of its own accord, and when not.
    pub hysteresis: Hysteresis,
    /// Every voter's configured place.
    pub places: BTreeMap<NodeId, Place>,
}
