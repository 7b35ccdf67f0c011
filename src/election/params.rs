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
    /// Every voter's configured place.
    pub places: BTreeMap<NodeId, Place>,
}
