//! When the machine wants to be woken: one moment out of everything that it waits for.

use super::Machine;
use super::core::Core;
use crate::time::{Deadline, Instant};

impl Machine {
    /// When the machine wants to be woken.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Deadline> {
        let mut first: Option<Deadline> = None;
        let mut want = |at: Instant, reason: &'static str| {
            if first.is_none_or(|first| at < first.at) {
                first = Some(Deadline { at, reason });
            }
        };
        if let Some(known) = self.follow.leader(now) {
            want(known.valid_until(), "leader silent");
        }
        if let Some(pending) = &self.pending {
            want(pending.next_at.min(pending.until), "trigger");
        }
        if let Some(handover) = &self.handover {
            want(handover.next_at(), "handover");
        }
        if let Some(invited) = &self.invited {
            want(invited.next_at(), "offer");
        }
        if let Some(core) = &self.core {
            self.core_deadlines(now, core, &mut want);
        }
        first
    }

    fn core_deadlines(
        &self,
        now: Instant,
        core: &Core,
        want: &mut dyn FnMut(Instant, &'static str),
    ) {
        if core.genesis().is_some() && !self.stopping {
            want(self.next_inquiry, "inquiry");
        }
        if !core.store_works() {
            want(self.next_store_retry, "store retry");
        }
        if let (Some((end, _)), Some(upkeep)) = (core.lease(), &self.upkeep) {
            want(end, "lease end");
            if self.lets_lapse() {
                return;
            }
            want(upkeep.next_beat, "heartbeat");
            if !upkeep.silent.is_empty() {
                want(upkeep.next_retry, "heartbeat retry");
            }
            if let Some(raise) = upkeep.raise {
                // The deadline is that of an attempt under way; without one, next_at starts it.
                let under_way = core.tally().is_some_and(|tally| tally.term() > raise.above);
                let deadline = if under_way { raise.deadline } else { Instant::NEVER };
                want(raise.next_at.min(deadline), "re-election");
            }
            return;
        }
        if !self.deferred.is_empty() {
            want(core.free_at(now, self.setup.me, 0).max(now), "promise end");
        }
        match &self.campaign {
            None => {
                if now < self.unheard_until {
                    want(self.unheard_until, "campaign");
                }
                if now < self.setback.until {
                    want(self.setback.until, "campaign");
                }
                if !self.stopping && core.genesis().is_none() && self.need(now).is_some() {
                    want(self.quiet_until, "campaign");
                }
            }
            Some(campaign) => match &campaign.stand {
                Some(stand) => want(stand.next_at.min(stand.deadline), "election"),
                None => {
                    let pace = self.pace();
                    want(campaign.next_at(now, &self.voters.ids(), pace), "canvass");
                    let own = core.free_at(now, self.setup.me, self.setup.boot.nonce);
                    let quorum = self.setup.set.quorum();
                    if !campaign.outranked(now, pace)
                        && let Some(free) = campaign.quorum_free_at(now, own, quorum, pace)
                        && free > now
                    {
                        want(free, "promise end");
                    }
                }
            },
        }
    }
}
