//! The steps of the wall clock and the sleep of the machine, as people are told of them.
//!
//! The protocol needs neither: it runs on the boot clock, which no step moves and no suspend stops. Decides what
//! counts as a step, and says so once for each.

use core::time::Duration;
use tracing::warn;

use super::{Engine, Machine, Outgoing};
use crate::driver::clock::Clock;
use crate::time::Instant;

/// The smallest step and the shortest suspend that are told; a clock that is slewed never moves so far in a second.
const LEAST: Duration = Duration::from_millis(500);

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Readings that lie further apart say nothing: this process did not run in between.
const TOGETHER: Duration = Duration::from_millis(50);

/// What the clocks said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    next_look: Instant,
    /// Wall clock less boot clock, in nanoseconds.
    wall: i128,
    /// How long the machine has slept since its start.
    asleep: Duration,
}

impl Clocks {
    /// The clocks as they stand; `None` when they could not be read together.
    pub(super) fn read<C: Clock>(clock: &C) -> Option<Self> {
        let before = clock.now();
        let (unix, asleep) = (clock.unix(), clock.asleep());
        let now = clock.now();
        let wall = i128::try_from(unix.as_nanos()).unwrap_or(i128::MAX);
        (now.since(before) < TOGETHER).then(|| Self {
            next_look: now + LOOK,
            wall: wall.saturating_sub(i128::from(now.as_nanos())),
            asleep,
        })
    }
}

impl<M: Machine, S: Outgoing, C: Clock> Engine<M, S, C> {
    /// Looks whether the wall clock was set or the machine slept. Once a turn.
    pub(super) fn look_at_clocks(&mut self) {
        let now = self.clock.now();
        if self.clocks.is_some_and(|clocks| now < clocks.next_look) {
            return;
        }
        let Some(read) = Clocks::read(&self.clock) else { return };
        let Some(before) = self.clocks.replace(read) else { return };
        let step = read.wall.saturating_sub(before.wall);
        if step.unsigned_abs() >= LEAST.as_nanos() {
            self.outside.metrics.traffic.clock_stepped();
            let by_seconds = step as f64 / 1e9;
            warn!(by_seconds, "the wall clock was set; leases and votes do not depend on it");
        }
        let slept = read.asleep.saturating_sub(before.asleep);
        if slept >= LEAST {
            self.outside.metrics.traffic.suspended();
            let seconds = slept.as_secs_f64();
            warn!(seconds, "this machine was suspended; leases and promises went on meanwhile");
        }
    }
}

#[cfg(test)]
mod tests;
