//! Handing the lead over: the leader's side.
//!
//! Step down, transfer, drain, takeover, stopping and giving up are one mechanism: the leader offers
//! the lead (OFFER) to one voter after the other until one is READY, ends its work, releases its term,
//! and says so to all with the name of its successor (GO). It decides whom to ask, how long to wait, and
//! what the operator is told. That nobody leads twice is not its business but the core's: GO leaves when
//! the core has resigned, and frees no more than RELEASE does.
//!
//! 1. Until a voter is ready nothing changes: the leader leads on, and renews, undisturbed. Only where
//!    leading has to end anyway (a trigger, a stop, failed work) does it end without a successor.
//! 2. The work of the leader is told to end before the term is released, and is given no longer than
//!    its lease.
//! 3. A leader that has told its work to end leads no longer than its lease, whatever happens. Until the work has
//!    ended it releases nobody; past the time for it, it does not renew the lease either.

use ::core::time::Duration;
use ringrift_wire::{Go, Message, NodeId, Offer, Ready, Unready};
use std::collections::BTreeMap;

use super::core::Core;
use super::operator::outcome_note;
use super::{Event, LossCause, Machine, Output, Reply, Standing};
use crate::time::Instant;

/// How long one voter is given to get ready.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long all of them are given, and how long a successor is waited for.
const MAX_SEARCH: Duration = Duration::from_secs(4);
/// How long a stopping leader looks for a successor, and how long its work may then take to end.
const STOP_SEARCH: Duration = Duration::from_millis(100);
/// The longest time in which a stopping leader's work ends.
const STOP_WORK: Duration = Duration::from_millis(700);
/// How long a successor is left alone beyond four deltas: time for its disk.
const HEAD_START: Duration = Duration::from_millis(100);
/// Between two offers of a drained leader that found nobody ready.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// How a handover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandoverOutcome {
    /// A ready voter was told to stand.
    Handed,
    /// The term was released without a successor.
    Released,
    /// Nobody was ready; the leader leads on.
    NoTarget,
    /// The lease ended first.
    LeaseExpired,
}

impl HandoverOutcome {
    /// Every outcome, for labels.
    pub const ALL: [Self; 4] = [Self::Handed, Self::Released, Self::NoTarget, Self::LeaseExpired];

    /// The word for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handed => "handed",
            Self::Released => "released",
            Self::NoTarget => "no_target",
            Self::LeaseExpired => "lease_expired",
        }
    }
}

/// A handover under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) cause: LossCause,
    /// The term that ends.
    term: u64,
    reply_to: Option<u64>,
    /// Nobody but this voter.
    named: Option<NodeId>,
    /// Who was asked, and why not; `None` for no answer.
    tried: BTreeMap<NodeId, Option<Unready>>,
    /// No offer after this.
    search_ends: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A voter is asked.
    Offering { to: NodeId, number: u64, gap: Duration, next_at: Instant, until: Instant },
    /// The work of the leader is ending.
    Ending { to: Option<NodeId>, by: Instant },
    /// The time for that is over, and it has not ended.
    Overdue { to: Option<NodeId> },
    /// The term is released: the successor is waited for, and told again.
    Handed { to: Option<NodeId>, gap: Duration, next_at: Instant, until: Instant },
}

impl Handover {
    pub(super) const fn next_at(&self) -> Instant {
        match self.stage {
            Stage::Offering { next_at, until, .. } | Stage::Handed { next_at, until, .. } => {
                if next_at.as_nanos() < until.as_nanos() {
                    next_at
                } else {
                    until
                }
            }
            Stage::Ending { by, .. } => by,
            // The lease ends of its own accord.
            Stage::Overdue { .. } => Instant::NEVER,
        }
    }

    /// Whether the lead will end, whatever is said from now on.
    const fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. } | Stage::Overdue { .. })
    }
}

/// Whether leading ends even where nobody is ready.
const fn ends_anyway(cause: LossCause) -> bool {
    match cause {
        LossCause::Triggered
        | LossCause::Stopped
        | LossCause::WorkFailed
        | LossCause::LeaseThin
        | LossCause::LeaseExpired => true,
        LossCause::SteppedDown
        | LossCause::Transferred
        | LossCause::Drained
        | LossCause::TakenOver
        | LossCause::StoreFailed => false,
    }
}

/// Whether the voter that leaves ranks last for a while.
const fn blocks(cause: LossCause) -> bool {
    match cause {
        LossCause::SteppedDown
        | LossCause::Transferred
        | LossCause::WorkFailed
        | LossCause::LeaseThin
        | LossCause::StoreFailed => true,
        LossCause::Triggered
        | LossCause::Stopped
        | LossCause::Drained
        | LossCause::TakenOver
        | LossCause::LeaseExpired => false,
    }
}

impl Machine {
    /// Whether a handover is under way that has not ended the lead yet.
    pub(super) fn hands_over(&self) -> bool {
        self.handover.as_ref().is_some_and(|it| !matches!(it.stage, Stage::Handed { .. }))
    }

    /// Whether the lease is no longer renewed: the work was to have ended, and has not.
    pub(super) fn lets_lapse(&self) -> bool {
        self.handover.as_ref().is_some_and(|it| matches!(it.stage, Stage::Overdue { .. }))
    }

    /// Starts to look for a successor; only `named` is asked where there is one. Harmless on a node that
    /// does not lead.
    pub(super) fn hand_over(
        &mut self,
        now: Instant,
        cause: LossCause,
        named: Option<NodeId>,
        reply_to: Option<u64>,
    ) {
        let Some(term) = self.core.as_ref().and_then(Core::leading_term) else { return };
        let search = if cause == LossCause::Stopped { STOP_SEARCH } else { MAX_SEARCH };
        if let Some(before) = &mut self.handover {
            if before.is_ending() {
                let Stage::Ending { by, .. } = &mut before.stage else { return };
                *by = if cause == LossCause::Stopped { (*by).min(now + STOP_WORK) } else { *by };
                return;
            }
            if before.cause == LossCause::Stopped {
                // A process that ends looks for a successor once, and for no other reason.
                let why = "this process is about to end, and hands the lead over".to_owned();
                let reply = Reply::Refused { code: "IN_PROGRESS", why };
                let output = reply_to.map(|number| Output::Reply { number, reply });
                self.outputs.extend(output);
                return;
            }
            let why = format!("the lead is given up for another reason: {}", cause.as_str());
            self.answer(Reply::Refused { code: "IN_PROGRESS", why });
        }
        self.handover = Some(Handover {
            cause,
            term,
            reply_to,
            named,
            tried: BTreeMap::new(),
            search_ends: now + search,
            stage: Stage::Ending { to: None, by: now },
        });
        if cause == LossCause::Triggered {
            // The best voter is to win, perhaps this one.
            self.end_work(now, None);
        } else {
            self.offer_next(now);
        }
    }

    /// The voters that may lead next, the best first.
    pub(super) fn successors(&self, now: Instant) -> Vec<NodeId> {
        let fit = |id: NodeId| {
            let voter = self.voters.get(id)?;
            let well = matches!(voter.standing, Standing::Well | Standing::Unknown);
            (well && !voter.set_mismatch && !self.priority_of(now, id).drained).then_some(id)
        };
        self.order(now).into_iter().filter_map(|(id, _)| fit(id)).collect()
    }

    fn offer_next(&mut self, now: Instant) {
        let takeover = self.handover.as_ref().is_some_and(|it| it.cause == LossCause::TakenOver);
        let successors = if takeover { self.due_rivals(now) } else { self.successors(now) };
        let (number, delta) = (self.next_number(), self.voters.delta());
        let set = self.setup.set.tag();
        let Some(handover) = &mut self.handover else { return };
        let fit = |id: &NodeId| {
            !handover.tried.contains_key(id) && handover.named.is_none_or(|named| named == *id)
        };
        let next = successors.into_iter().find(fit).filter(|_| now < handover.search_ends);
        let Some(to) = next else {
            self.nobody_ready(now);
            return;
        };
        handover.tried.insert(to, None);
        let until = (now + PATIENCE).min(handover.search_ends);
        handover.stage = Stage::Offering { to, number, gap: delta, next_at: now + delta, until };
        let term = handover.term;
        self.send(to, Message::Offer(Offer { set, number, term }));
    }

    fn nobody_ready(&mut self, now: Instant) {
        let Some(handover) = &self.handover else { return };
        if ends_anyway(handover.cause) {
            self.end_work(now, None);
            return;
        }
        let why = self.why_nobody(now, handover);
        self.handover_ended(handover.term, handover.cause, None, HandoverOutcome::NoTarget);
        let drained = self.handover.as_ref().is_some_and(|it| it.cause == LossCause::Drained);
        self.next_move = now + DRAIN_RETRY.max(self.setup.params.heartbeat_interval);
        if drained {
            let term = self.led(now).1;
            let note = format!(
                "drained, and still leading because nobody else is ready: {why}; it hands over as soon as \
                 somebody is"
            );
            self.answer(Reply::Done { leader: Some(self.setup.me), term, note: Some(note) });
        } else {
            let why = format!("nothing has changed, this node leads on: {why}");
            self.answer(Reply::Refused { code: "NO_TARGET", why });
        }
        self.handover = None;
    }

    /// Who was not asked or not ready, in words.
    fn why_nobody(&self, now: Instant, handover: &Handover) -> String {
        let others = self.voters.iter().filter(|(id, _)| handover.named.is_none_or(|it| it == *id));
        let said = others.map(|(id, voter)| {
            let why = match (handover.tried.get(&id), voter.standing) {
                (Some(Some(why)), _) => why.as_str(),
                (Some(None), _) => "no answer",
                (None, Standing::Suspected(_) | Standing::Gone(_)) => "unreachable",
                (None, _) if self.priority_of(now, id).drained => {
                    "drained, never to lead, or its work failed"
                }
                (None, _) if voter.set_mismatch => "another voter list",
                (None, _) => "not asked",
            };
            format!("{id} ({why})")
        });
        let said: Vec<String> = said.collect();
        if said.is_empty() { "there is no other voter".to_owned() } else { said.join(", ") }
    }

    /// The answer to an offer.
    pub(super) fn on_ready(&mut self, now: Instant, from: NodeId, ready: &Ready) {
        self.expire(now);
        if !self.same_set(from, ready.set) || !self.leads(now) {
            return;
        }
        let Some(handover) = &mut self.handover else { return };
        let Stage::Offering { to, number, .. } = handover.stage else { return };
        if to != from || number != ready.number {
            return;
        }
        match ready.unready {
            None => self.end_work(now, Some(to)),
            Some(why) => {
                handover.tried.insert(to, Some(why));
                self.offer_next(now);
            }
        }
    }

    /// Tells the leader's work to end, where there is any; then the term is released.
    fn end_work(&mut self, now: Instant, to: Option<NodeId>) {
        let grace = self.setup.params.work_grace;
        let lease_end = self.core.as_ref().and_then(Core::lease).map_or(now, |(end, _)| end);
        let Some(handover) = &mut self.handover else { return };
        let most = if handover.cause == LossCause::Stopped { STOP_WORK } else { grace };
        let by = (now + grace.min(most)).min(lease_end);
        handover.stage = Stage::Ending { to, by };
        if grace.is_zero() {
            self.let_go(now);
            return;
        }
        let (term, cause) = (handover.term, handover.cause);
        self.outputs.push_back(Output::EndWork { term, cause, by });
    }

    /// The leader's work of that term has ended.
    pub fn work_ended(&mut self, now: Instant, term: u64) {
        self.expire(now);
        if self.handover.as_ref().is_some_and(|it| it.is_ending() && it.term == term) {
            self.let_go(now);
        }
        self.settle(now);
    }

    /// Releases the term, and tells who stands next.
    fn let_go(&mut self, now: Instant) {
        let Some(handover) = &self.handover else { return };
        let (Stage::Ending { to, .. } | Stage::Overdue { to }) = handover.stage else { return };
        let cause = handover.cause;
        let Some(term) = self.core.as_mut().and_then(Core::resign) else { return };
        let takeover = cause == LossCause::TakenOver;
        if let Some(successor) = to {
            // Ahead of RELEASE, which makes whoever hears it first stand.
            self.say_go(Go { set: self.setup.set.tag(), term, successor, takeover });
        }
        self.ended(now, term, cause, super::ElectionCause::Triggered);
        let params = &self.setup.params;
        if blocks(cause) {
            self.blocked_until = now + params.hysteresis.block_after_step_down;
        }
        self.setback.note(now, cause, params.election_timeout.min(params.lease));
        if takeover {
            self.takeovers.note(now, params.hysteresis.takeover_every);
        }
        self.quiet_until = match (to, cause) {
            (Some(_), _) => now + self.head_start(),
            // Where the work fails again at once, leading again at once would help nobody.
            (None, LossCause::WorkFailed | LossCause::LeaseThin) => {
                now + params.election_timeout.min(params.lease)
            }
            (None, _) => now,
        };
        let outcome =
            if to.is_some() { HandoverOutcome::Handed } else { HandoverOutcome::Released };
        self.handover_ended(term, cause, to, outcome);
        let gap = self.voters.delta();
        let stage = Stage::Handed { to, gap, next_at: now + gap, until: now + MAX_SEARCH };
        match &mut self.handover {
            Some(handover) if to.is_some() || handover.reply_to.is_some() => {
                handover.term = term;
                handover.stage = stage;
            }
            _ => self.handover = None,
        }
    }

    /// To all: whoever has not heard of the release cannot vote.
    fn say_go(&mut self, go: Go) {
        for to in self.voters.ids() {
            self.send(to, Message::Go(go));
        }
    }

    /// How long others leave a successor alone.
    pub(super) fn head_start(&self) -> Duration {
        (HEAD_START + self.voters.delta() * 4).min(self.setup.params.lease / 2)
    }

    fn handover_ended(
        &mut self,
        term: u64,
        cause: LossCause,
        to: Option<NodeId>,
        outcome: HandoverOutcome,
    ) {
        self.notify(Event::HandoverEnded { term, cause, to, outcome });
    }

    /// Answers whoever asked for the handover under way, if anybody did.
    fn answer(&mut self, reply: Reply) {
        if let Some(number) = self.handover.as_mut().and_then(|it| it.reply_to.take()) {
            self.outputs.push_back(Output::Reply { number, reply });
        }
    }

    /// The voter is resumed: a drain that has not ended yet is called off, or, where the lead ends in any
    /// case, no longer called done.
    pub(super) fn call_off_drain(&mut self) {
        let Some(handover) = self.handover.as_ref().filter(|it| it.cause == LossCause::Drained)
        else {
            return;
        };
        let (term, offering) = (handover.term, matches!(handover.stage, Stage::Offering { .. }));
        let why = "this voter was resumed before the drain was done".to_owned();
        self.answer(Reply::Refused { code: "RESUMED", why });
        if offering {
            self.handover_ended(term, LossCause::Drained, None, HandoverOutcome::NoTarget);
            self.handover = None;
        }
    }

    /// Work that was to have ended by now: the lease is renewed no more.
    pub(super) fn notice_overdue(&mut self, now: Instant) {
        let Some(handover) = &mut self.handover else { return };
        let Stage::Ending { to, by } = handover.stage else { return };
        if now < by {
            return;
        }
        handover.stage = Stage::Overdue { to };
        // Nor does a re-election under way renew it: its votes would.
        if let Some(core) = &mut self.core {
            core.give_up(now);
        }
    }

    /// Does what has become due of a handover.
    pub(super) fn pursue_handover(&mut self, now: Instant) {
        let leading = self.core.as_ref().and_then(Core::leading_term);
        let Some(handover) = &mut self.handover else {
            self.move_on(now);
            return;
        };
        let (term, cause, set) = (handover.term, handover.cause, self.setup.set.tag());
        match &mut handover.stage {
            Stage::Offering { .. } | Stage::Ending { .. } | Stage::Overdue { .. }
                if leading.is_none() =>
            {
                self.handover_ended(term, cause, None, HandoverOutcome::LeaseExpired);
                let leader = self.follow.leader(now).map(|known| known.id);
                self.answer(Reply::NotLeader { leader });
                self.handover = None;
            }
            Stage::Offering { to, number, gap, next_at, until } => {
                let gone = self.voters.get(*to).map(|voter| voter.standing);
                if leading != Some(term) {
                    // The term was raised meanwhile: the offers were of the old one.
                    handover.term = leading.unwrap_or(term);
                    handover.tried.clear();
                    self.offer_next(now);
                } else if now >= *until || matches!(gone, Some(Standing::Gone(_))) {
                    self.offer_next(now);
                } else if now >= *next_at {
                    *gap *= 2;
                    *next_at = now + *gap;
                    let (to, number) = (*to, *number);
                    self.send(to, Message::Offer(Offer { set, number, term }));
                }
            }
            Stage::Ending { .. } | Stage::Overdue { .. } => {}
            Stage::Handed { to, gap, next_at, until } => {
                let known = self.follow.leader(now).filter(|known| known.term > term);
                let led = known.map(|known| (known.id, known.term));
                let led = led.or_else(|| leading.map(|term| (self.setup.me, term)));
                if led.is_some() || now >= *until {
                    let (leader, term) = led.map_or((None, term), |(id, term)| (Some(id), term));
                    let note = outcome_note(leader, handover.named);
                    self.answer(Reply::Done { leader, term, note });
                    self.handover = None;
                } else if now >= *next_at {
                    *gap *= 2;
                    *next_at = now + *gap;
                    if let Some(successor) = *to {
                        let takeover = cause == LossCause::TakenOver;
                        self.say_go(Go { set, term, successor, takeover });
                    }
                }
            }
        }
    }

    /// A leader that is drained, cannot write its votes, or is no longer the best voter, looks for a
    /// successor.
    fn move_on(&mut self, now: Instant) {
        if !self.leads(now) || self.stopping || self.draining.is_some() || now < self.next_move {
            return;
        }
        if self.own_priority(now).drained {
            self.hand_over(now, LossCause::Drained, None, None);
        } else if self.store_moves_lead(now) {
            self.hand_over(now, LossCause::StoreFailed, None, None);
        } else if self.is_takeover_due(now) {
            self.hand_over(now, LossCause::TakenOver, None, None);
        }
    }
}

#[cfg(test)]
mod tests;
