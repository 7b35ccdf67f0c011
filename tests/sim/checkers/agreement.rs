//! Agreement and completeness of membership, once some hosts are healed.
//!
//! 1. Within a stated time every healed host has every other healed host for reachable, under the boot
//!    that it really runs; from then on it stays so.
//! 2. From then on every healed host names the leader that leads.
//!
//! A member that came and went several times is let in later, after up to 128 probe intervals: while it
//! is held off it is not missed.

use super::Violation;
use crate::options::{MS, Nanos, Options};

/// Within what time after the healing.
///
/// Lost members are called one each probe interval, by nodes whose own interval is stretched up to
/// ninefold while they distrust themselves; each call and its answer is a round trip.
pub(crate) fn bound(options: &Options, one_way: Nanos) -> Nanos {
    let probe = options.probe.max(10 * MS);
    let round_trip = 2 * (one_way + options.loop_lag);
    let calls = options.hosts() as u64 + 8;
    (calls * (probe + round_trip)).max(12 * probe) + 2 * options.leases().1
}

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    began: Nanos,
    bound: Nanos,
    worst: Nanos,
}

impl Agreement {
    /// The hosts are healed now.
    pub(crate) const fn new(now: Nanos, bound: Nanos) -> Self {
        Self { began: now, bound, worst: 0 }
    }

    /// From when on everybody must agree.
    pub(crate) const fn due(&self) -> Nanos {
        self.began + self.bound
    }

    /// When somebody last did not, in thousandths of the bound.
    pub(crate) const fn worst_permille(&self) -> u64 {
        self.worst * 1_000 / self.bound
    }

    /// What the process of a healed host says differs from the truth in that.
    pub(crate) fn differs(&mut self, now: Nanos, host: usize, what: &str) -> Result<(), Violation> {
        self.worst = self.worst.max(now.saturating_sub(self.began));
        if now <= self.due() {
            return Ok(());
        }
        let what = format!("host {host} {what}, {} ns after the healing", now - self.began);
        Err(Violation { at: now, rule: "agreement", what })
    }
}
