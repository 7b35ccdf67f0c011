//! The order among voters: what speaks for this one, and who may stand.
//!
//! Decides a voter's priority from its own record, and from what the others say of it. What the value
//! is used for, and when it is frozen, is the business of `pursue` and `campaign`.

use ::core::time::Duration;
use ringrift_wire::{NodeId, Priority};

use super::{MAX_LOSSES, Machine};
use crate::time::Instant;

/// Uptime below which a voter ranks behind those that have been up for longer.
const YOUNG: Duration = Duration::from_secs(600);
/// How long a lost lease, or a start after an end that was not clean, counts against a voter.
const LOSS_MEMORY: Duration = Duration::from_secs(3_600);

impl Machine {
    /// The bucket of this voter's centrality. It does not change within an attempt to lead.
    pub fn set_centrality(&mut self, bucket: u8) {
        let attempts = self.campaign.is_some()
            || self.core.as_ref().is_some_and(|core| core.tally().is_some());
        if !attempts {
            self.centrality = bucket;
        }
    }

    /// The voter started after an end that was not clean at these Unix seconds; 0 says nothing.
    pub fn remember_unclean_starts(&mut self, now: Instant, starts: &[u64]) {
        let unix_now = self.unix_now(now);
        for &start in starts.iter().filter(|&&start| start > 0).take(MAX_LOSSES) {
            let ago = Duration::from_secs(unix_now.saturating_sub(start));
            if ago < LOSS_MEMORY {
                self.losses.push_front(now - ago);
            }
        }
        self.losses.truncate(MAX_LOSSES);
    }

    /// This voter's priority at `now`; a campaign freezes the value of its start.
    #[must_use]
    pub fn own_priority(&self, now: Instant) -> Priority {
        let place = self.setup.params.places.get(&self.setup.me);
        let losses = self.losses.iter().filter(|&&at| now.since(at) < LOSS_MEMORY).count();
        let bucket = match losses {
            0 => 0,
            1 | 2 => 2,
            _ => 4,
        };
        let young = now.since(self.started_at) < YOUNG;
        let drained = self.core.as_ref().is_some_and(|core| core.record().drained);
        Priority {
            drained: drained || place.is_some_and(|place| place.never) || now < self.setback.until,
            last: now < self.last_until.max(self.blocked_until),
            stability: bucket + u8::from(young),
            centrality: self.centrality,
            gpu: u8::from(!place.is_some_and(|place| place.gpu)),
            order: place.map_or(u16::MAX, |place| place.order),
        }
    }

    /// Another voter's priority: as it last said, else as configured and as stable as this one.
    #[must_use]
    pub fn priority_of(&self, now: Instant, id: NodeId) -> Priority {
        if id == self.setup.me {
            return self.own_priority(now);
        }
        if let Some(said) = self.voters.get(id).and_then(|voter| voter.priority) {
            return said;
        }
        let place = self.setup.params.places.get(&id);
        Priority {
            drained: place.is_some_and(|place| place.never),
            last: false,
            stability: self.own_priority(now).stability,
            centrality: 0,
            gpu: u8::from(!place.is_some_and(|place| place.gpu)),
            order: place.map_or(u16::MAX, |place| place.order),
        }
    }

    /// The present order of the voters, best first.
    #[must_use]
    pub fn order(&self, now: Instant) -> Vec<(NodeId, Priority)> {
        let ids = self.setup.set.ids().iter();
        let mut order: Vec<_> = ids.map(|&id| (id, self.priority_of(now, id))).collect();
        order.sort_by_key(|&(id, priority)| (priority, id));
        order
    }

    /// Whether this voter may stand, and may call itself better: it has a working record, is free
    /// to lead, and has round-trip evidence of a quorum.
    #[must_use]
    pub fn is_eligible(&self, now: Instant) -> bool {
        let Some(core) = &self.core else { return false };
        core.genesis().is_none()
            && core.has_evidence()
            && self.store_works()
            && !self.stopping
            && core.abstains_until(now).is_none()
            && !self.own_priority(now).drained
            && self.reaches_quorum(now)
    }

    /// Whether a quorum, this voter included, has answered it of late.
    pub(super) fn reaches_quorum(&self, now: Instant) -> bool {
        self.voters.in_touch(now, self.setup.evidence_window) >= self.setup.set.quorum()
    }
}
