//! The examination of a suspect: repeated pings by whoever hears of the suspicion.
//!
//! Decides when this node accuses somebody and when somebody is dead. An accusation is evidence, not
//! hearsay: this node confirms one only after pings of its own went unanswered, and declares a death
//! only after as many as a live member would hardly ever leave unanswered at the loss that this
//! node sees.
//!
//! Invariants
//! 1. This node accuses only who left [`ACCUSE_AFTER`] pings of its own unanswered, or a whole round,
//!    and for longer than its slowest answers take.
//! 2. Every ping of a suspect tells it first that it is suspected.
//! 3. An answer of the suspect takes this node's own accusation back.
//! 4. At most [`MAX_CHECKS`] members are examined at once, and in a large cluster only about
//!    [`WITNESSES`] nodes examine one suspect.
//! 5. While this node catches up after a pause it neither accuses nor declares anybody dead.
//! 6. Silence of one is evidence only beside an answer of another to a later question; where nobody
//!    answers it may be this node or the whole network, and only [`ALONE_INTERVALS`] of it count. So a
//!    node that has become deaf is dead to the others before it accuses one of them.

use core::time::Duration;
use ringrift_wire::{MemberState, NodeId};

use super::dissemination::magnitude;
use super::pings::Purpose;
use super::suspicion::{Bounds, Suspicion};
use super::{Event, Health, Member, Membership, Refutation};
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
/// Intervals of silence of everybody before it is evidence: links may have become slow at once.
const ALONE_INTERVALS: u32 = 12;
/// By how much slower than another's answer one may be before its silence is evidence.
const MUCH_SLOWER: u32 = 3;
/// Pings of one examination between two requests to others.
const ASK_EVERY: u32 = 16;

/// An examination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// Pings sent and not answered.
    sent: u32,
    /// When the first of them was sent.
    since: Instant,
    next_at: Instant,
}

impl Check {
    pub(super) const fn due(&self) -> Instant {
        self.next_at
    }
}

/// An answered question: of whom, when it was asked and how long the answer took.
#[derive(Clone, Copy, Debug)]
struct Answered {
    by: NodeId,
    asked: Instant,
    took: Duration,
}

/// The latest answered questions of this node, of two different members: beside the silence of one
/// there is the answer of another.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers([Option<Answered>; 2]);

impl Answers {
    /// Takes note of an answer to a question that was asked at `asked`.
    pub(super) fn note(&mut self, by: NodeId, asked: Instant, took: Duration) {
        let new = Some(Answered { by, asked, took });
        let [newest, second] = &mut self.0;
        match newest {
            Some(known) if known.by == by => {
                if known.asked <= asked {
                    *newest = new;
                }
            }
            Some(known) if known.asked > asked => *second = new,
            _ => *second = core::mem::replace(newest, new),
        }
    }

    /// How long the answer of anybody but `suspect` took to a question asked after `since`.
    fn control(&self, suspect: NodeId, since: Instant) -> Option<Duration> {
        let others = self.0.iter().flatten();
        let later = others.filter(|other| other.by != suspect && other.asked >= since);
        later.map(|other| other.took).max()
    }

    /// How long the faster of them took: the other may be word of a relay that waited.
    fn faster(&self) -> Option<Duration> {
        self.0.iter().flatten().map(|answered| answered.took).min()
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

    /// Examines a member from now on; `sent` pings have gone unanswered already, since `since`.
    pub(super) fn start_check(&mut self, now: Instant, member: NodeId, sent: u32, since: Instant) {
        let reachable = self.table.get(member).is_some_and(|member| member.health.is_reachable());
        if !reachable || self.checks.contains_key(&member) || self.is_catching_up(now) {
            return;
        }
        if self.checks.len() >= MAX_CHECKS {
            self.counters.overflows += 1;
            return;
        }
        self.checks.insert(member, Check { sent, since, next_at: now });
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
        let Some(Check { sent, since, .. }) = self.checks.get(&id).copied() else { return };
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
            self.accuse_silent(now, id, since);
        }
        let pinged = self.ping(now, id, to, Purpose::Life).is_some();
        if sent % ASK_EVERY == 1 {
            self.ask_others(now, id, spacing * 4);
        }
        let wait = if sent < MAX_QUICK_PINGS { spacing } else { self.interval().max(spacing) };
        let sent = sent.saturating_add(u32::from(pinged));
        self.checks.insert(id, Check { sent, since, next_at: now + wait });
    }

    /// One who was silent has answered: so may the others, and they are asked at once.
    pub(super) fn stir(&mut self, now: Instant) {
        let soon = now + self.params.probe_interval / 16;
        for check in self.checks.values_mut() {
            check.next_at = check.next_at.min(soon);
        }
    }

    /// Between two pings of a suspect. Of one that was hardly measured, which in a large cluster is
    /// nearly everybody, it goes by what others take where that is less: an interval passes in any case,
    /// and twice what its slowest answer would take.
    fn spacing(&self, member: &Member) -> Duration {
        let interval = self.params.probe_interval;
        let least = (interval / 16).max(MIN_SPACING) * self.awareness.factor();
        let unknown = member.is_little_known() && self.params.probe_timeout.is_none();
        let others = self.answers.faster().filter(|_| unknown);
        let others = others.map(|took| (took * MUCH_SLOWER).min(interval / 2));
        let timeout = match others.map(|timeout| timeout * self.awareness.factor()) {
            Some(timeout) if member.round_trip.is_none() => timeout,
            others => others.unwrap_or(Duration::MAX).min(self.probe_timeout(member)),
        };
        timeout.max(least)
    }

    /// Accuses a member that has answered nothing since then, if that is evidence (invariants 1, 6).
    pub(super) fn accuse_silent(&mut self, now: Instant, id: NodeId, since: Instant) {
        let patience = self
            .table
            .get(id)
            .map_or(Duration::ZERO, |m| m.slowest_answer(self.params.probe_interval));
        let alone = self.params.probe_interval * ALONE_INTERVALS;
        let silence = now.since(since);
        let answered = !self.has_others() || self.answers.control(id, since).is_some();
        if silence >= patience && (answered || silence >= alone) {
            self.accuse(now, id);
        }
    }

    /// Whether somebody could answer in a suspect's place.
    const fn has_others(&self) -> bool {
        self.table.reachable() > 1
    }

    /// This node accuses a member on evidence of its own.
    fn accuse(&mut self, now: Instant, id: NodeId) {
        if self.is_catching_up(now) {
            return;
        }
        let me = self.me.id;
        let Some((new, first)) = self.table.edit(id, |member| match &mut member.suspicion {
            Some(suspicion) => (suspicion.confirm(me, now), false),
            None if member.health == Health::Alive => {
                member.become_health(now, Health::Suspect);
                member.suspicion = Some(Box::new(Suspicion::new(me, now)));
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
        self.tell(if first {
            Event::MemberSuspected { member: id, by: me }
        } else {
            Event::SuspicionConfirmed { member: id, by: me }
        });
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
                member.note_refutation(now, Refutation::Answered, &[me]);
            }
            !accused
        });
        if cleared == Some(true) {
            self.counters.suspicions_refuted += 1;
            self.tell(Event::MemberRefuted { member: id, how: Refutation::Answered });
            self.stir(now);
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
        let slowest = member.slowest_answer(self.params.probe_interval) * 2;
        let own_evidence =
            |check: &Check| check.sent > pings && suspicion.by().contains(&self.me.id);
        let factor = self.awareness.factor() * magnitude(self.size());
        let bounds = Bounds {
            // A process that a busy machine does not let run for a second has not ended: with the ping that it
            // did not answer it has more than an interval.
            floor: (self.spacing(member) * pings)
                .max(slowest)
                .max(self.params.probe_interval * 5 / 6),
            ceiling: self.params.probe_interval * LONE_INTERVALS * factor,
            witnesses: self.size() - self.table.suspects().len(),
            own_evidence: check.is_some_and(own_evidence),
        };
        let silent = suspicion.started.max(member.evidence) + self.params.peer_timeout;
        // Invariant 6: not before somebody else has answered, and well after that took.
        let least = check.filter(|_| self.has_others()).map_or(Instant::ZERO, |check| {
            let alone = (self.params.probe_interval * ALONE_INTERVALS).max(slowest);
            let took = self.answers.control(id, check.since).map(|took| took * MUCH_SLOWER);
            check.since + took.unwrap_or(alone)
        });
        let dead = suspicion.ends(bounds).unwrap_or(Instant::NEVER).max(least).min(silent);
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
                    self.start_check(now, id, 0, now);
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
            member.rare_mut().buried_by = Some(by);
            // Its first call comes after the usual spacing.
            member.called_at = Some(now);
        });
        self.note_loss(now, id);
        self.counters.suspicions_confirmed += 1;
        self.tell(Event::MemberDied { member: id, by });
        if let Some(update) = self.table.get(id).and_then(Member::update) {
            self.announce(update);
        }
    }
}
