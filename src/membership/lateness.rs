//! This node's own pauses: a loop that was late by more than a probe interval.
//!
//! Decides when this node has been late, and that it then starts all examinations anew and takes no
//! answer to an earlier question for a slow one.

use ringrift_wire::NodeId;

use super::Membership;
use crate::time::Instant;

impl Membership {
    pub(super) fn is_catching_up(&self, now: Instant) -> bool {
        now < self.catching_up_until
    }

    /// Invariant 4: after a pause of its own this node has no evidence against anybody.
    pub(super) fn notice_lateness(&mut self, now: Instant) {
        let Some(due) = self.poll_timeout() else { return };
        // Of inputs that piled up meanwhile only the first finds the loop late.
        let late = now.since(due.at.max(self.last_input));
        self.last_input = now;
        if late <= self.params.probe_interval {
            return;
        }
        self.counters.late_loops += 1;
        self.awareness.worsen();
        self.round = None;
        self.checks.clear();
        let suspects: Vec<NodeId> = self.table.suspects().iter().copied().collect();
        for suspect in suspects {
            self.table.edit(suspect, |member| {
                if let Some(suspicion) = &mut member.suspicion {
                    suspicion.started = suspicion.started + late;
                }
            });
        }
        self.late_until = now;
        self.catching_up_until = now + self.params.probe_interval * 2;
        self.next_round = now;
    }
}
