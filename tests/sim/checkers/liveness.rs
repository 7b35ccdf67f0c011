//! I8: once a quorum is healed, somebody leads within a stated time.
//!
//! 1. A quorum of the healed voters is ready within a time of its own: their abstentions end, their
//!    empty stores learn what they may have forgotten, their stores are tried again.
//! 2. From then on there is never a time without a leader that is longer than
//!    `L(1+2rho) + n*delta + 2D + fsync` of the protocol; one L more where the broken rest is
//!    half-connected, so that a leader or a candidate of it may have to be outlasted first; and one
//!    election timeout more where somebody stood when the quorum was healed: the late datagrams of before
//!    may have split the votes of that round, and it has to end before the next.
//! 3. Time in which nobody may lead, because operators or failed work keep all from it, does not count.

use super::Violation;
use crate::options::{Kind, MS, Nanos, Options, SECOND};

/// Between two attempts to write a record that failed, and the longest pause of a voter with an empty
/// store between two questions.
const RETRY: Nanos = SECOND;

/// For how long after the healing a voter may hold its store for broken.
pub(crate) fn store_retry(options: &Options) -> Nanos {
    if options.kinds.contains(&Kind::Disk) { RETRY } else { 0 }
}

/// A length by the slowest clock, as it seems to the fastest.
pub(crate) fn drifted(length: Nanos, options: &Options) -> Nanos {
    length + 2 * length * u64::from(options.drift_ppm) / 1_000_000
}

/// From ping to ack, when the answer is as late as it may be.
pub(crate) fn round_trip(options: &Options, one_way: Nanos) -> Nanos {
    2 * (one_way + options.loop_lag)
}

/// The longest turn of a better voter: at most half a heartbeat however long round trips were before,
/// and at least 50 ms at a cold start.
fn delta(options: &Options) -> Nanos {
    (options.heartbeat / 2).clamp(5 * MS, SECOND).max(50 * MS)
}

/// Within what time after the healing a quorum of voters is ready.
pub(crate) fn ready_bound(options: &Options, one_way: Nanos) -> Nanos {
    let written = options.fsync_max + options.loop_lag;
    drifted(options.leases().1, options)
        + RETRY
        + store_retry(options)
        + 2 * round_trip(options, one_way)
        + written
}

/// Within what time somebody leads, once a quorum is ready.
pub(crate) fn bound(
    options: &Options,
    one_way: Nanos,
    half_connected: bool,
    standing: bool,
) -> Nanos {
    let lease = drifted(options.leases().1, options);
    // A candidate's own vote is written before it asks, and a voter's before it answers.
    let written = 2 * (options.fsync_max + options.loop_lag);
    let outlasted = if half_connected { lease } else { 0 };
    let round = if standing { drifted(options.election_timeout, options) } else { 0 };
    lease
        + options.voters as u64 * delta(options)
        + 2 * round_trip(options, one_way)
        + written
        + outlasted
        + round
}

/// The checker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Liveness {
    began: Nanos,
    ready_bound: Nanos,
    bound: Nanos,
    ready: bool,
    since: Nanos,
    worst: Nanos,
}

impl Liveness {
    /// The quorum is healed now.
    pub(crate) const fn new(now: Nanos, ready_bound: Nanos, bound: Nanos) -> Self {
        Self { began: now, ready_bound, bound, ready: false, since: now, worst: 0 }
    }

    /// Nobody may lead at present, however healthy all are: the time for it begins later.
    pub(crate) const fn wait(&mut self, now: Nanos) {
        self.since = now;
    }

    /// By when somebody must have led.
    pub(crate) const fn due(&self) -> Nanos {
        self.began + self.ready_bound + self.bound
    }

    /// The longest time without a leader so far, in thousandths of the bound.
    pub(crate) const fn worst_permille(&self) -> u64 {
        self.worst * 1_000 / self.bound
    }

    /// Time has passed; whether somebody leads at present, and whether a quorum of the healed voters
    /// is ready, asked only when nobody leads.
    pub(crate) fn observe(
        &mut self,
        now: Nanos,
        led: bool,
        ready: impl FnOnce() -> bool,
    ) -> Result<(), Violation> {
        let broken = |what| Err(Violation { at: now, rule: "I8", what });
        if led {
            self.since = now;
            return Ok(());
        }
        if !self.ready {
            self.ready = ready();
            self.since = now;
            let waited = now - self.began;
            if !self.ready && waited > self.ready_bound {
                return broken(format!("no quorum is ready {waited} ns after the healing"));
            }
            return Ok(());
        }
        let gap = now.saturating_sub(self.since);
        self.worst = self.worst.max(gap);
        if gap > self.bound {
            return broken(format!("nobody leads for {gap} ns; the bound is {} ns", self.bound));
        }
        Ok(())
    }
}
