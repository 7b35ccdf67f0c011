//! I8: once a quorum is healed, somebody leads within a stated time.
//!
//! 1. From the healing on there is never a time without a leader that is longer than the bound.

use super::Violation;
use crate::options::{Kind, MS, Nanos, Options, SECOND};

/// Within what time after the healing of a quorum somebody leads.
///
/// `L(1+2rho) + n*delta + 2D + fsync` of the protocol, and L for a half-connected leader that is to
/// be displaced first. On top of that what precedes "some eligible voter has lasting round trips":
/// the longest abstention of a restarted voter or wait of an empty store, which is at most L, and
/// the two rounds in which an empty store asks; where disks failed, the second until a voter tries to
/// write again. delta is twice the round trip, within 5 ms and 1 s,
/// and 50 ms before any is known.
pub(crate) fn bound(options: &Options, one_way: Nanos) -> Nanos {
    let round_trip = 2 * (one_way + options.loop_lag);
    let longest_seen =
        2 * (options.quality.delay_max.max(options.quality.late_max) + options.loop_lag);
    let delta = (2 * longest_seen.max(round_trip)).clamp(50 * MS, SECOND);
    let lease = options.lease + 2 * options.lease * u64::from(options.drift_ppm) / 1_000_000;
    let voters = options.voters as u64;
    lease
        + voters * delta
        + 2 * round_trip
        + 2 * options.fsync_max
        + options.lease
        + lease
        + 2 * delta
        + store_retry(options)
}

/// For how long after the healing a voter may hold its store for broken.
pub(crate) fn store_retry(options: &Options) -> Nanos {
    if options.kinds.contains(&Kind::Disk) { SECOND } else { 0 }
}

/// The checker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    bound: Nanos,
    led_until: Nanos,
    worst: Nanos,
}

impl Liveness {
    /// The quorum is healed now.
    pub(crate) const fn new(now: Nanos, bound: Nanos) -> Self {
        Self { bound, led_until: now, worst: 0 }
    }

    /// The longest time without a leader so far.
    pub(crate) const fn worst(&self) -> Nanos {
        self.worst
    }

    /// Time has passed; whether somebody leads at present.
    pub(crate) fn observe(&mut self, now: Nanos, led: bool) -> Result<(), Violation> {
        let gap = now.saturating_sub(self.led_until);
        self.worst = self.worst.max(gap);
        if gap > self.bound {
            let what = format!("nobody leads for {gap} ns; the bound is {} ns", self.bound);
            return Err(Violation { at: now, rule: "I8", what });
        }
        if led {
            self.led_until = now;
        }
        Ok(())
    }
}
