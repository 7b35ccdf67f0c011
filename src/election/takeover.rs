//! Takeover: a better voter leads again, but not at once and not often.
//!
//! The leader decides. A voter takes over once it was better for `takeover_after`, the leader has led
//! for as long, the voter acknowledged the last ten heartbeats, and the last takeover is long enough ago.
//! How the lead then moves is the handover's business.
//!
//! 1. Between two takeovers lies `takeover_every` at least; twice as long after each that did not last,
//!    up to an hour.
//! 2. A voter that at one heartbeat is not better, or does not acknowledge, has not been better before.
//! 3. The next best is asked where a better one is not ready or does not acknowledge, and waits for one that
//!    only has not been there for long enough: a voter that cannot lead keeps no other from it.

use ::core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;

use super::{Machine, Standing};
use crate::time::Instant;

/// How many heartbeats in a row a voter must have acknowledged.
const HEARTBEATS: u32 = 10;
/// The longest time between two takeovers that flapping leads to.
const LONGEST_GAP: Duration = Duration::from_secs(3_600);

/// The takeovers that this node has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Takeovers {
    last: Option<Instant>,
    doublings: u32,
    flapped: bool,
    leader: Option<NodeId>,
    /// The next change of leader is that of the takeover.
    moving: bool,
}

impl Takeovers {
    fn gap(self, every: Duration) -> Duration {
        every.saturating_mul(2u32.saturating_pow(self.doublings)).min(LONGEST_GAP.max(every))
    }

    /// When the next one may be.
    fn free_at(self, every: Duration) -> Instant {
        self.last.map_or(Instant::ZERO, |last| last + self.gap(every))
    }

    /// The lead moves by a takeover.
    pub(super) fn note(&mut self, now: Instant, every: Duration) {
        if self.last.is_some_and(|last| now.since(last) >= self.gap(every) * 2) {
            self.doublings = 0;
        }
        *self = Self { last: Some(now), flapped: false, moving: true, ..*self };
    }

    /// Another voter leads. Where it is not the one that took over, and the takeover is no older than its
    /// gap, that takeover has not lasted.
    pub(super) fn led_by(&mut self, now: Instant, leader: NodeId, every: Duration) {
        if self.leader.replace(leader) == Some(leader) || ::core::mem::take(&mut self.moving) {
            return;
        }
        let young = self.last.is_some_and(|last| now < last + self.gap(every));
        if young && !self.flapped {
            self.flapped = true;
            self.doublings = (self.doublings + 1).min(16);
        }
    }
}

/// How the other voters compare to this leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rivals(BTreeMap<NodeId, Rival>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rival {
    better_since: Option<Instant>,
    /// Heartbeats acknowledged in a row.
    acknowledged: u32,
    /// It acknowledged the present one.
    present: bool,
}

impl Rivals {
    /// It acknowledged the present heartbeat.
    pub(super) fn acknowledged(&mut self, id: NodeId) {
        self.0.entry(id).or_default().present = true;
    }
}

/// What a takeover waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeoverBlock {
    /// The voter is suspected or worse.
    Unreachable,
    /// The voter has not acknowledged ten heartbeats in a row; so many are missing.
    Heartbeats(u32),
    /// The voter has not been better for long enough.
    BetterTooBriefly,
    /// The leader has not led for long enough.
    LeaderTooNew,
    /// The last takeover is too recent.
    Rate,
    /// The voter was not ready when it was offered the lead.
    NotReady,
    /// Nothing: the lead is moving.
    UnderWay,
}

impl TakeoverBlock {
    /// The word for JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Heartbeats(_) => "heartbeats",
            Self::BetterTooBriefly => "better_too_briefly",
            Self::LeaderTooNew => "leader_too_new",
            Self::Rate => "rate",
            Self::NotReady => "not_ready",
            Self::UnderWay => "under_way",
        }
    }
}

/// A better voter than the leader, and what its takeover waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// The best of those that are better.
    pub candidate: NodeId,
    /// What it waits for longest.
    pub blocked_by: TakeoverBlock,
    /// When that ends, where it is known.
    pub until: Option<Instant>,
}

impl Machine {
    /// Compares the others with this leader: once a heartbeat, before the next one leaves.
    pub(super) fn compare(&mut self, now: Instant) {
        let own = (self.own_priority(now), self.setup.me);
        let others = self.voters.ids();
        let better: Vec<bool> =
            others.iter().map(|&id| (self.priority_of(now, id), id) < own).collect();
        let Some(upkeep) = &mut self.upkeep else { return };
        for (id, better) in others.into_iter().zip(better) {
            let rival = upkeep.rivals.0.entry(id).or_default();
            rival.acknowledged =
                if rival.present { rival.acknowledged.saturating_add(1) } else { 0 };
            rival.present = false;
            // Whoever is not there cannot be better.
            let better = better && rival.acknowledged > 0;
            rival.better_since = better.then(|| rival.better_since.unwrap_or(now));
        }
    }

    /// The better voter that would take over, and what keeps it; `None` on a node that does not lead,
    /// and on the best.
    #[must_use]
    pub fn takeover(&self, now: Instant) -> Option<Takeover> {
        let upkeep = self.upkeep.as_ref().filter(|_| self.leads(now))?;
        let own = (self.own_priority(now), self.setup.me);
        let candidate = self.order(now).into_iter().find_map(|(id, priority)| {
            let voter = self.voters.get(id)?;
            let gone = matches!(voter.standing, Standing::Gone(_));
            let fit = !gone && !voter.set_mismatch && !priority.drained;
            (fit && (priority, id) < own).then_some(id)
        })?;
        let blocked = |blocked_by, until| Some(Takeover { candidate, blocked_by, until });
        let (h, rules) = (self.setup.params.heartbeat_interval, self.setup.params.hysteresis);
        let standing = self.voters.get(candidate).map(|voter| voter.standing);
        if matches!(standing, Some(Standing::Suspected(_))) {
            return blocked(TakeoverBlock::Unreachable, None);
        }
        let rival = upkeep.rivals.0.get(&candidate).copied().unwrap_or_default();
        let missing = HEARTBEATS.saturating_sub(rival.acknowledged);
        // What ends last is told.
        let waits = [
            (upkeep.next_beat + h * missing.saturating_sub(1), TakeoverBlock::Heartbeats(missing)),
            (
                rival.better_since.unwrap_or(upkeep.next_beat) + rules.takeover_after,
                TakeoverBlock::BetterTooBriefly,
            ),
            (upkeep.since + rules.takeover_after, TakeoverBlock::LeaderTooNew),
            (self.takeovers.free_at(rules.takeover_every), TakeoverBlock::Rate),
            (self.next_move, TakeoverBlock::NotReady),
        ];
        let open = |(until, why): &(Instant, TakeoverBlock)| match why {
            TakeoverBlock::Heartbeats(missing) => *missing > 0,
            _ => now < *until,
        };
        let last = waits.into_iter().filter(open).max_by_key(|(until, _)| *until);
        match last {
            Some((until, why)) => blocked(why, Some(until)),
            None => blocked(TakeoverBlock::UnderWay, None),
        }
    }

    /// Whether there is a voter whose takeover waits for nothing.
    pub(super) fn is_takeover_due(&self, now: Instant) -> bool {
        let rules = self.setup.params.hysteresis;
        let since = self.upkeep.as_ref().map_or(Instant::NEVER, |upkeep| upkeep.since);
        let free = (since + rules.takeover_after)
            .max(self.takeovers.free_at(rules.takeover_every))
            .max(self.next_move);
        now >= free && !self.due_rivals(now).is_empty()
    }

    /// The voters that may take over as far as it is up to them, the best first (invariant 3).
    pub(super) fn due_rivals(&self, now: Instant) -> Vec<NodeId> {
        let Some(upkeep) = self.upkeep.as_ref().filter(|_| self.leads(now)) else {
            return Vec::new();
        };
        let own = (self.own_priority(now), self.setup.me);
        let after = self.setup.params.hysteresis.takeover_after;
        let better = self.successors(now).into_iter();
        let better = better.filter(|&id| (self.priority_of(now, id), id) < own);
        let heard = better.filter_map(|id| {
            let rival = upkeep.rivals.0.get(&id)?;
            (rival.acknowledged >= HEARTBEATS).then_some((id, rival.better_since?))
        });
        heard.take_while(|(_, since)| now >= *since + after).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests;
