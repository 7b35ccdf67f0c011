//! The numbers of membership.

use core::time::Duration;

/// Timings and bounds of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Time between two probe rounds; at least 10 ms, a shorter one is taken for that.
    pub probe_interval: Duration,
    /// A fixed wait for the direct ack; `None` adapts to the measured round trip, between 1/20 and
    /// 1/2 of the probe interval.
    pub probe_timeout: Option<Duration>,
    /// Longest silence before a member is dead, whatever suspicion says.
    pub peer_timeout: Duration,
    /// May a name that is not configured join, as observer.
    pub open: bool,
    /// The most members that the table takes.
    pub max_members: usize,
}
