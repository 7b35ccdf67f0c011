//! Whether this voter's store can be relied on: its writes, and what a check between them found.
//!
//! A store is written when votes are given, which is rarely. So whoever has the disk checks it now and
//! then, and tells the machine what is wrong with it. That only moves the lead to where the disk is well, and keeps
//! a voter from standing: a vote is tried whatever the check has found, and leaves only when it is written.

use ::core::time::Duration;

use super::{Event, Machine};
use crate::time::Instant;

/// How long after its own store a leader believes the other voters to know of theirs, beyond one lease: they check
/// once a lease, and wait for the answer.
const OTHERS_KNOW: Duration = Duration::from_secs(6);

impl Machine {
    /// A check of the vote store has ended, or does not end in time: what is wrong, if anything.
    pub fn store_checked(&mut self, now: Instant, problem: Option<String>) {
        let worked = self.store_works();
        self.store_problem = problem;
        self.tell_store_health(now, worked);
        self.settle(now);
    }

    /// Whether the last write and the last check succeeded; an observer has nothing to write.
    #[must_use]
    pub fn store_works(&self) -> bool {
        let Some(core) = &self.core else { return true };
        core.store_works() && self.store_problem.is_none()
    }

    /// What the last check of the vote store found wrong.
    #[must_use]
    pub fn store_problem(&self) -> Option<&str> {
        self.store_problem.as_deref()
    }

    /// Whether the store has failed for so long that a voter which is ready now has a disk that works. What hangs
    /// one disk may hang them all, and a lead that is handed to a dead disk is lost; a renewal needs none.
    pub(super) fn store_moves_lead(&self, now: Instant) -> bool {
        let wait = self.setup.params.lease + OTHERS_KNOW;
        self.store_failed_at.is_some_and(|at| now >= at + wait)
    }

    pub(super) fn tell_store_health(&mut self, now: Instant, worked: bool) {
        let works = self.store_works();
        if works != worked {
            self.store_failed_at = (!works).then_some(now);
            self.notify(Event::StoreHealth { works });
        }
    }
}
