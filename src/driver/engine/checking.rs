//! When the vote store is checked, and how long its answer is waited for.
//!
//! Decides that a disk which does not answer for [`STORE_PATIENCE`] is as good as one that fails. What follows for
//! the lead is the node's business.
//!
//! 1. One check at a time: while a disk hangs it is not asked again, and its late answer counts.
//! 2. Only time in which this loop ran counts as waiting: after a suspend or a pause the answer is looked for first.

use core::time::Duration;
use std::sync::mpsc::SyncSender;
use tracing::{error, info};

use super::{Engine, Machine, Outgoing};
use crate::driver::clock::{Clock, LONGEST_SLEEP};
use crate::driver::store::check::Checked;
use crate::node::Command;
use crate::time::Instant;

/// How long a durable write may take before the disk counts as hanging: longer than a busy one needs.
pub const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// The shortest time between two checks.
const OFTEN: Duration = Duration::from_secs(1);

/// The longest time between two checks.
const SELDOM: Duration = Duration::from_secs(60);

/// Between two looks at a check that has not answered.
const LOOK: Duration = Duration::from_millis(250);

/// The checks of one vote store.
#[derive(Debug)]
pub(super) struct Checking {
    ask: SyncSender<()>,
    every: Duration,
    /// When the next check begins; none before the one under way has ended.
    due: Instant,
    under_way: bool,
    /// How long that one has taken, as far as this loop has seen.
    waited: Duration,
    looked: Instant,
    /// What is wrong, as the node was told last.
    problem: Option<String>,
}

impl Checking {
    /// When there is something to do.
    pub(super) fn next_deadline(&self) -> Instant {
        if self.under_way { self.looked + LOOK } else { self.due }
    }

    /// Begins a check that is due; tells whether one has just been waited for for too long.
    fn tick(&mut self, now: Instant) -> bool {
        if !self.under_way {
            if now >= self.due && self.ask.try_send(()).is_ok() {
                (self.under_way, self.waited, self.looked) = (true, Duration::ZERO, now);
            }
            return false;
        }
        let before = self.waited;
        self.waited += now.since(self.looked).min(LONGEST_SLEEP);
        self.looked = now;
        before < STORE_PATIENCE && self.waited >= STORE_PATIENCE
    }
}

impl<M: Machine, S: Outgoing, C: Clock> Engine<M, S, C> {
    /// Has the vote store checked from now on: once a lease, no more often than every second and no more seldom than
    /// every minute.
    pub fn check_store(&mut self, ask: SyncSender<()>, lease: Duration) {
        let now = self.clock.now();
        self.checking = Some(Checking {
            ask,
            every: lease.clamp(OFTEN, SELDOM),
            due: now,
            under_way: false,
            waited: Duration::ZERO,
            looked: now,
            problem: None,
        });
    }

    /// Takes the answer of a check.
    pub fn checked(&mut self, Checked { took, error }: Checked) {
        let now = self.clock.now();
        if let Some(took) = took {
            self.outside.metrics.traffic.record_written(took);
        }
        if let Some(checking) = &mut self.checking {
            checking.under_way = false;
            checking.due = now + checking.every;
        }
        self.found(error.map(|error| error.to_string()));
    }

    /// Looks after the checks. Once a turn.
    pub(super) fn look_at_store(&mut self) {
        let now = self.clock.now();
        if self.checking.as_mut().is_some_and(|checking| checking.tick(now)) {
            let patience = STORE_PATIENCE.as_secs();
            self.found(Some(format!(
                "its disk has not answered for {patience} s; see dmesg and the load of the disk"
            )));
        }
    }

    /// Tells the node what is wrong with its store, if that is news.
    fn found(&mut self, problem: Option<String>) {
        let Some(checking) = &mut self.checking else { return };
        if checking.problem == problem {
            return;
        }
        match &problem {
            Some(problem) => error!(problem, "a check of the vote store failed"),
            None => info!("a check of the vote store succeeded again"),
        }
        checking.problem.clone_from(&problem);
        self.command(Command::StoreChecked { problem }, None);
    }
}

#[cfg(test)]
mod tests;
