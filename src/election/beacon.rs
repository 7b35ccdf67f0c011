//! The beacon: what a node passes on of the leader, and when it would like to hear of one.

use ringrift_wire::Beacon;

use super::{Machine, core};
use crate::time::Instant;

impl Machine {
    /// What this node passes on of the leader.
    #[must_use]
    pub fn to_beacon(&self, now: Instant) -> Option<Beacon> {
        if !self.leads(now) {
            return self.follow.to_beacon(now);
        }
        let upkeep = self.upkeep.as_ref()?;
        Some(Beacon {
            leader: self.setup.me,
            nonce: self.setup.boot.nonce,
            term: self.core.as_ref()?.leading_term()?,
            number: 0,
            age_ms: core::millis(now.since(upkeep.beat_at)).saturating_add(1),
            lease_ms: core::millis(self.setup.params.lease),
        })
    }

    /// Whether a beacon would be news here: none is known, or it is older than a heartbeat.
    #[must_use]
    pub fn wants_beacon(&self, now: Instant) -> bool {
        let h = self.setup.params.heartbeat_interval;
        !self.leads(now)
            && self.follow.leader(now).is_none_or(|known| now.since(known.heard_at) > h + h / 4)
    }
}
