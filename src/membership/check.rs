//! The examination of a suspect: repeated pings by whoever hears of the suspicion.
//!
//! Decides when this node accuses somebody and when somebody is dead. An accusation is evidence, not
//! hearsay: this node confirms one only after pings of its own went unanswered, and declares a death
//! only after as many as a live member would hardly ever leave unanswered at the loss that this
//! node sees.
//!
//! Invariants
//! 1. This node accuses only who left [`ACCUSE_AFTER`] pings of its own unanswered, or a whole round.
//! 2. Every ping of a suspect tells it first that it is suspected.
//! 3. An answer of the suspect takes this node's own accusation back.
//! 4. At most [`MAX_CHECKS`] members are examined at once, and in a large cluster only about
//!    [`WITNESSES`] nodes examine one suspect.
//! 5. While this node catches up after a pause it neither accuses nor declares anybody dead.

use core::time::Duration;
use ringrift_wire::{MemberState, NodeId};

use super::dissemination::magnitude;
use super::pings::Purpose;
use super::suspicion::{Bounds, Suspicion};
use super::{Event, Health, Member, Membership};
use crate::time::Instant;

/// Pings in a row that go unanswered before this node accuses.
const ACCUSE_AFTER: u32 = 3;
/// After so many pings a suspect is pinged once an interval only.
const MAX_QUICK_PINGS: u32 = 64;
/// The most members examined at once.
const MAX_CHECKS: usize = 16;
/// How many nodes examine one suspect.
const WITNESSES: u64 = 8;
/// Pings of a suspect are no closer than this, and no closer than 1/16 of the interval.
const MIN_SPACING: Duration = Duration::from_millis(25);
/// Intervals that a suspicion without second witness lasts, times ceil(log10(n + 1)).
const LONE_INTERVALS: u32 = 6;

/// An examination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// Pings sent and not answered.
    sent: u32,
    next_at: Instant,
}

impl Check {
    pub(super) const fn due(&self) -> Instant {
        self.next_at
    }
}

/// What becomes of a suspect, and when.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// Nobody has come to an end with it: this node has to look for itself.
    Examine(Instant),
    Dead(Instant),
}

impl Verdict {
    const fn at(self) -> Instant {
        match self {
            Self::Examine(at) | Self::Dead(at) => at,
        }
    }
}

impl Membership {
    /// Whether this node should examine a suspect it has heard of (invariant 4).
    pub(super) fn is_witness(&mut self) -> bool {
        self.rng.below(self.table.reachable() as u64) < WITNESSES
    }

    /// Examines a member from now on; `sent` pings have gone unanswered already.
    pub(super) fn start_check(&mut self, now: Instant, member: NodeId, sent: u32) {
        let reachable = self.table.get(member).is_some_and(|member| member.health.is_reachable());
        if !reachable || self.checks.contains_key(&member) || self.is_catching_up(now) {
            return;
        }
        if self.checks.len() >= MAX_CHECKS {
            self.counters.overflows += 1;
            return;
        }
        self.checks.insert(member, Check { sent, next_at: now });
        self.advance_checks(now);
    }

    pub(super) fn advance_checks(&mut self, now: Instant) {
        let due: Vec<NodeId> = self
            .checks
            .iter()
            .filter(|(_, check)| check.next_at <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            self.advance_check(now, id);
        }
    }

    fn advance_check(&mut self, now: Instant, id: NodeId) {
        let Some(sent) = self.checks.get(&id).map(|check| check.sent) else { return };
        let Some(member) = self.table.get(id).filter(|member| member.health.is_reachable()) else {
            self.checks.remove(&id);
            return;
        };
        let Some(to) = member.address else {
            self.checks.remove(&id);
            return;
        };
        let spacing = self.spacing(member);
        if sent >= ACCUSE_AFTER {
            self.accuse(now, id);
        }
        self.ping(now, id, to, Purpose::Life);
        if sent == 1 {
            self.ask_others(now, id, spacing * 4);
        }
        let wait = if sent < MAX_QUICK_PINGS { spacing } else { self.interval().max(spacing) };
        self.checks.insert(id, Check { sent: sent.saturating_add(1), next_at: now + wait });
    }

    /// Between two pings of a suspect.
    fn spacing(&self, member: &Member) -> Duration {
        let least = (self.params.probe_interval / 16).max(MIN_SPACING);
        self.probe_timeout(member).max(least * self.awareness.factor())
    }

    /// This node accuses a member on evidence of its own (invariant 1).
    pub(super) fn accuse(&mut self, now: Instant, id: NodeId) {
        if self.is_catching_up(now) {
            return;
        }
        let me = self.me.id;
        let Some((new, first)) = self.table.edit(id, |member| match &mut member.suspicion {
            Some(suspicion) => (suspicion.confirm(me), false),
            None if member.health == Health::Alive => {
                member.become_health(now, Health::Suspect);
                member.suspicion = Some(Suspicion::new(me, now));
                (true, true)
            }
            None => (false, false),
        }) else {
            return;
        };
        if !new {
            return;
        }
        self.counters.suspicions_raised += 1;
        if first {
            self.tell(Event::MemberSuspected { member: id, by: me });
        }
        if let Some(mut update) = self.table.get(id).and_then(Member::update) {
            update.state = MemberState::Suspect { by: me };
            self.announce(update);
        }
    }

    /// The member answered: invariant 3. The word of others stands until it is refuted.
    pub(super) fn withdraw(&mut self, now: Instant, id: NodeId) {
        let me = self.me.id;
        let cleared = self.table.edit(id, |member| {
            let Some(suspicion) = &mut member.suspicion else { return false };
            suspicion.started = now;
            suspicion.claimed_by = None;
            let accused = suspicion.withdraw(me);
            if !accused {
                member.become_health(now, Health::Alive);
            }
            !accused
        });
        if cleared == Some(true) {
            self.counters.suspicions_refuted += 1;
            self.tell(Event::MemberRefuted { member: id });
        }
    }

    /// When the next suspect is dead or has to be examined, as things stand.
    pub(super) fn next_verdict(&self) -> Option<Instant> {
        let verdicts = self.table.suspects().iter().filter_map(|&id| self.verdict_of(id));
        let next = verdicts.map(|verdict| verdict.at()).min()?;
        Some(next.max(self.catching_up_until))
    }

    fn verdict_of(&self, id: NodeId) -> Option<Verdict> {
        let member = self.table.get(id)?;
        let suspicion = member.suspicion.as_ref()?;
        let pings = self.awareness.evidence(member.loss_permille);
        let check = self.checks.get(&id);
        let slowest = member.round_trip.map_or(Duration::ZERO, |estimate| estimate.timeout() * 2);
        let factor = self.awareness.factor() * magnitude(self.size());
        let bounds = Bounds {
            floor: (self.spacing(member) * pings).max(slowest),
            ceiling: self.params.probe_interval * LONE_INTERVALS * factor,
            witnesses: self.size() - self.table.suspects().len(),
            own_evidence: check.is_some_and(|check| check.sent > pings)
                && suspicion.by().contains(&self.me.id),
        };
        let silent = suspicion.started.max(member.evidence) + self.params.peer_timeout;
        let dead = suspicion.ends(bounds).unwrap_or(Instant::NEVER).min(silent);
        let examine = suspicion.started.max(suspicion.looked_at) + bounds.ceiling;
        Some(if check.is_none() && examine < dead {
            Verdict::Examine(examine)
        } else {
            Verdict::Dead(dead)
        })
    }

    /// Invariant 5.
    pub(super) fn judge_suspects(&mut self, now: Instant) {
        if self.is_catching_up(now) {
            return;
        }
        let due: Vec<(NodeId, Verdict)> = self
            .table
            .suspects()
            .iter()
            .filter_map(|&id| Some((id, self.verdict_of(id)?)))
            .filter(|(_, verdict)| verdict.at() <= now)
            .collect();
        for (id, verdict) in due {
            match verdict {
                Verdict::Examine(_) => {
                    // Should there be no room for it now, it has to wait as long again.
                    self.table.edit(id, |member| {
                        if let Some(suspicion) = &mut member.suspicion {
                            suspicion.looked_at = now;
                        }
                    });
                    self.start_check(now, id, 0);
                }
                Verdict::Dead(_) => {
                    let suspicion = self.table.get(id).and_then(|member| member.suspicion.as_ref());
                    let claimed_by = suspicion.and_then(|suspicion| suspicion.claimed_by);
                    self.bury(now, id, claimed_by.unwrap_or(self.me.id));
                }
            }
        }
    }

    /// Declares a member dead.
    pub(super) fn bury(&mut self, now: Instant, id: NodeId, by: NodeId) {
        self.checks.remove(&id);
        self.table.edit(id, |member| {
            member.become_health(now, Health::Dead);
            member.buried_by = Some(by);
            // Its first call comes after the usual spacing.
            member.called_at = Some(now);
        });
        self.counters.suspicions_confirmed += 1;
        self.tell(Event::MemberDied { member: id, by });
        if let Some(update) = self.table.get(id).and_then(Member::update) {
            self.announce(update);
        }
    }
}
