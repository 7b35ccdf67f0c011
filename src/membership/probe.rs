//! Probe rounds: one member each interval, directly, then through others [SWIM §3.1].
//!
//! Decides whom to ping and when a round has failed. What a failed round leads to is decided by
//! `check`.
//!
//! ```text
//! this node   target              relays
//!   | -- ping --> |                  |     at the start of the interval
//!   | -- ping --> |                  |     after the probe timeout, and
//!   | -- ping-req -----------------> |     through three others
//!   |             | <---- ping ----- |
//!   |             | ----- ack -----> |
//!   | <-- relayed ack, or nack ----- |
//! ```
//!
//! Invariants
//! 1. One round at a time; it is decided before the next begins.
//! 2. Each node sends one first ping an interval, whatever the number of members; a voter sends
//!    every second one to a voter.
//! 3. The lost are called at most one an interval, two where most are lost, each at most once in up to
//!    [`CALL_SPACING`] intervals, the fewer the members the oftener. Configured members that have left are
//!    called where no lost one is, each [`AWAY_SPACING`] times more rarely; others that have left are not.

use core::net::SocketAddr;
use core::ops::Bound;
use core::time::Duration;
use ringrift_wire::{Ack, MemberState, Message, NodeId, Ping, Update};

use super::pings::{Purpose, Waiting};
use super::rumour::HIGHEST_INCARNATION;
use super::{Health, Member, Membership, Output};
use crate::time::Instant;

/// The largest ring that is searched for the member not heard of for longest. In a larger one each member
/// is heard of so rarely that many have been silent for longer than one that has just died.
const MAX_STALEST: usize = 8;
/// The most intervals between two calls of one lost member.
const CALL_SPACING: u32 = 4;
/// How much more rarely a configured member that has left is called than a lost one: it greets the voters
/// itself when it is back, and only where those have all been away, too, does nobody hear of it.
const AWAY_SPACING: u32 = 4;
/// Lost members looked at for one call.
const MAX_LOOKED_AT: usize = 32;
/// Lost members called when one of them has come back.
pub(super) const CALLS_AFTER_RETURN: usize = 8;
/// Seeds other than voters that are greeted within the first interval; the rest are called.
const MAX_GREETINGS: usize = 64;
/// Intervals for which the answer to a ping is still of use.
pub(super) const PATIENCE: u32 = 20;
/// Rounds between two looks for members to reap.
const REAP_EVERY: u64 = 60;
/// How long the dead and the left are remembered when they are not configured: longer than any rumour
/// about them lives.
const REAP_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// A running round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    target: NodeId,
    first_ping: u32,
    began: Instant,
    answered_directly: bool,
    /// When to go indirect; `None` once done.
    indirect_at: Option<Instant>,
    ends: Instant,
    asked: usize,
    nacks: usize,
}

impl Round {
    pub(super) fn due(&self) -> Instant {
        self.indirect_at.unwrap_or(self.ends)
    }

    pub(super) fn is_of(&self, member: NodeId) -> bool {
        self.target == member
    }

    /// A relay has said that it has no answer yet.
    pub(super) const fn note_nack(&mut self) {
        self.nacks += 1;
    }
}

impl Membership {
    /// How long to wait for a direct answer of a member: adapts to its round trip, within 1/20 and
    /// 1/2 of the interval, stretched by local health.
    pub(super) fn probe_timeout(&self, member: &Member) -> Duration {
        let interval = self.params.probe_interval;
        let timeout = self.params.probe_timeout.unwrap_or_else(|| {
            let measured = member.round_trip.map_or(interval / 4, |estimate| estimate.timeout());
            measured.clamp(interval / 20, interval / 2)
        });
        timeout * self.awareness.factor()
    }

    pub(super) fn ping(
        &mut self,
        now: Instant,
        member: NodeId,
        to: SocketAddr,
        purpose: Purpose,
    ) -> Option<u32> {
        let patience = self.interval() * PATIENCE;
        let Some(number) = self.pings.add(now, member, to, purpose, patience, &mut self.rng) else {
            self.counters.overflows += 1;
            return None;
        };
        // Whoever is asked for a proof may be nobody: it gets no more than it has to answer.
        let stranger = purpose == Purpose::Address;
        let updates = if stranger { Vec::new() } else { self.updates_for(member) };
        let digest = if stranger { 0 } else { self.digest() };
        let ping = Ping { number, digest, wants_beacon: false, beacon: None, updates };
        self.send(to, member, Message::Ping(ping));
        Some(number)
    }

    /// Pings a member beside the probe rounds, for what its ack carries along.
    pub fn ask(&mut self, now: Instant, member: NodeId) {
        if !self.has_left {
            self.ping_home(now, member);
        }
    }

    /// Time between two probe rounds of a node that trusts itself.
    #[must_use]
    pub const fn probe_interval(&self) -> Duration {
        self.params.probe_interval
    }

    fn ping_home(&mut self, now: Instant, member: NodeId) -> Option<u32> {
        let to = self.table.get(member)?.address?;
        self.ping(now, member, to, Purpose::Life)
    }

    /// Voters are greeted at once and, as long as they are silent, twice more within the first
    /// interval; other seeds once, spread over it.
    pub(super) fn plan_greetings(&mut self, now: Instant) {
        let interval = self.params.probe_interval;
        let (voters, mut others): (Vec<_>, Vec<_>) =
            self.table.iter().map(|member| (member.voter, member.id)).partition(|one| one.0);
        for (_, voter) in voters {
            let times = [now, now + interval / 4, now + interval / 2];
            self.greetings.extend(times.map(|at| (at, voter)));
        }
        self.rng.shuffle(&mut others);
        for (_, other) in others.into_iter().take(MAX_GREETINGS) {
            self.greetings.push((now + self.rng.duration_below(interval), other));
        }
        self.greetings.sort_unstable_by(|one, other| other.cmp(one));
    }

    pub(super) fn greet(&mut self, now: Instant) {
        while self.greetings.last().is_some_and(|&(at, _)| at <= now) {
            let Some((_, member)) = self.greetings.pop() else { return };
            self.call(now, member, Duration::ZERO);
        }
    }

    /// Pings a member that is not reachable, if the last call is so long ago.
    pub(super) fn call(&mut self, now: Instant, member: NodeId, spacing: Duration) -> bool {
        let due = self.table.get(member).is_some_and(|member| {
            (matches!(member.health, Health::Unknown | Health::Dead) || member.is_away())
                && member.address.is_some()
                && member.called_at.is_none_or(|called| now.since(called) >= spacing)
        });
        if due {
            self.table.edit(member, |member| {
                // Of several addresses, another each time; one that is put off answers where it is.
                if member.called_at.is_some() && !member.is_held_off() {
                    member.try_next_address();
                }
                member.called_at = Some(now);
            });
            self.ping_home(now, member);
        }
        due
    }

    /// When the next lost member is due to be called; never while nobody is lost or away.
    pub(super) fn calls_at(&self) -> Option<Instant> {
        let anybody = !self.table.lost().is_empty() || !self.table.away().is_empty();
        anybody.then_some(self.next_call)
    }

    /// Calls a lost member when one is due. Local health does not stretch this: a node that was cut
    /// off has the worst, and should be the first to notice that it is back.
    pub(super) fn call_on(&mut self, now: Instant) {
        if self.calls_at().is_none_or(|at| now < at) {
            return;
        }
        let most = self.table.lost().len() > self.table.reachable();
        self.next_call = now + self.params.probe_interval / if most { 2 } else { 1 };
        self.call_held(now);
        if self.call_lost(now, 1) == 0 {
            self.call_away(now);
        }
    }

    /// Between two calls of one lost member: where few could call, each does it more often.
    fn call_spacing(&self) -> Duration {
        let callers = (self.table.reachable() / 4).clamp(1, CALL_SPACING as usize) as u32;
        self.params.probe_interval * callers
    }

    /// Invariant 3: calls one configured member that has left.
    fn call_away(&mut self, now: Instant) {
        let spacing = self.call_spacing() * AWAY_SPACING;
        let away = self.table.away().iter().filter_map(|&id| self.table.get(id));
        let longest = away.min_by_key(|member| member.called_at.max(Some(member.since)));
        let long_enough = longest.filter(|member| now.since(member.since) >= spacing);
        if let Some(member) = long_enough.map(|member| member.id) {
            self.call(now, member, spacing);
        }
    }

    /// Invariant 3: calls up to `count` lost members, so that a healed partition becomes one cluster. Returns
    /// how many.
    pub(super) fn call_lost(&mut self, now: Instant, count: usize) -> usize {
        let interval = self.params.probe_interval;
        let spacing = if count > 1 { interval / 8 } else { self.call_spacing() };
        let lost = self.table.lost();
        let after = self.last_called.map_or(Bound::Unbounded, Bound::Excluded);
        let around = lost.range((after, Bound::Unbounded)).chain(lost.iter());
        let looked_at: Vec<NodeId> = around.copied().take(MAX_LOOKED_AT.min(lost.len())).collect();
        let mut called = 0;
        for member in looked_at {
            if called == count {
                break;
            }
            self.last_called = Some(member);
            called += usize::from(self.call(now, member, spacing));
        }
        called
    }

    pub(super) fn start_round(&mut self, now: Instant) {
        if self.steps.is_multiple_of(REAP_EVERY) {
            self.reap(now);
        }
        self.steps += 1;
        let Some(target) = self.draw() else { return };
        let Some(first_ping) = self.ping_home(now, target) else { return };
        let Some(member) = self.table.get(target) else { return };
        let timeout = self.probe_timeout(member);
        let length = (self.interval() * 2 / 5).max(timeout * 6).min(self.interval());
        self.round = Some(Round {
            target,
            first_ping,
            began: now,
            answered_directly: false,
            indirect_at: Some(now + timeout),
            ends: now + length,
            asked: 0,
            nacks: 0,
        });
    }

    /// Invariant 2: the next to probe; a voter goes through the voters and the others in turn.
    fn draw(&mut self) -> Option<NodeId> {
        let voters_first = self.me.voter && self.steps.is_multiple_of(2);
        self.draw_from(voters_first).or_else(|| self.draw_from(!voters_first))
    }

    fn draw_from(&mut self, voters: bool) -> Option<NodeId> {
        if let Some(stalest) = self.draw_stalest(voters) {
            return Some(stalest);
        }
        // An observer has one ring with everybody in it.
        let is_in = |member: &&Member| (self.me.voter && member.voter) == voters;
        let ring = if voters { &mut self.voters } else { &mut self.others };
        for refilled in [false, true] {
            while let Some(drawn) = ring.draw() {
                let healthy = self.table.get(drawn).is_some_and(|m| m.health.is_reachable());
                if healthy && !self.checks.contains_key(&drawn) {
                    return Some(drawn);
                }
            }
            if !refilled {
                let members = self.table.iter().filter(|m| m.health.is_reachable()).filter(is_in);
                ring.refill(members.map(|member| member.id), &mut self.rng);
            }
        }
        None
    }

    /// In a small ring, three times of four: the member that was not heard of for longest.
    /// The ring alone has each member probed in time; this finds a crash sooner, because the dead are
    /// those who do not send.
    fn draw_stalest(&mut self, voters: bool) -> Option<NodeId> {
        let length = if voters { self.voters.len() } else { self.others.len() };
        if length > MAX_STALEST || self.rng.below(4) == 0 {
            return None;
        }
        self.table
            .iter()
            .filter(|member| (self.me.voter && member.voter) == voters)
            .filter(|m| m.health.is_reachable() && m.address.is_some())
            .filter(|m| !self.checks.contains_key(&m.id))
            .min_by_key(|member| member.last_heard)
            .map(|member| member.id)
    }

    /// Has a member probed from now on; `never` where no process of that name was known before.
    pub(super) fn admit(&mut self, member: NodeId, never: bool) {
        let voter = self.table.get(member).is_some_and(|member| member.voter);
        let ring = if self.me.voter && voter { &mut self.voters } else { &mut self.others };
        ring.insert(member, never, &mut self.rng);
    }

    pub(super) fn advance_round(&mut self, now: Instant) {
        let Some(round) = &self.round else { return };
        let target = round.target;
        if round.ends <= now {
            self.end_round(now, false);
        } else if round.indirect_at.is_some_and(|at| at <= now) {
            let left = now.until(round.ends);
            self.ping_home(now, target);
            let asked = self.ask_others(now, target, left);
            if let Some(round) = &mut self.round {
                round.indirect_at = None;
                round.asked = asked;
            }
        }
    }

    /// Ends the round; one that failed is evidence against the target and against this node.
    fn end_round(&mut self, now: Instant, answered: bool) {
        let Some(round) = self.round.take() else { return };
        let mut in_good_standing = false;
        self.table.edit(round.target, |member| {
            in_good_standing = member.health == Health::Alive;
            let lost = if round.answered_directly { 0 } else { 1_000 };
            member.loss_permille = ((u32::from(member.loss_permille) * 7 + lost) / 8) as u16;
            if answered {
                member.probes_answered += 1;
            } else {
                member.probes_failed += 1;
            }
        });
        if in_good_standing {
            self.awareness.pinged(round.answered_directly);
        }
        if answered {
            self.trust_more(now);
            return;
        }
        if round.nacks < round.asked {
            // Not even all relays answered: perhaps it is this node [Lifeguard §IV-A].
            self.awareness.worsen();
        }
        self.accuse_silent(now, round.target, round.began);
        self.start_check(now, round.target, 2, round.began);
    }

    /// An answer has come in time: local health improves, and the next round is as soon as it would
    /// have been. Else a node that was cut off would be slow for as long as the longest intervals.
    fn trust_more(&mut self, now: Instant) {
        self.awareness.improve();
        let running = self.round.as_ref().map_or(now, |round| round.ends);
        self.next_round = self.next_round.min((now + self.interval()).max(running));
    }

    pub(super) fn on_ping(&mut self, now: Instant, from: SocketAddr, sender: NodeId, ping: &Ping) {
        let differs = self.compare(now, sender, ping.digest);
        let digest = if differs { self.digest() } else { 0 };
        let updates = self.updates_for(sender);
        let ack = Ack { number: ping.number, digest, beacon: None, updates };
        self.send(from, sender, Message::Ack(ack));
    }

    pub(super) fn on_ack(&mut self, now: Instant, sender: NodeId, ack: &Ack) {
        self.compare(now, sender, ack.digest);
        if self.pings.get(ack.number).is_none_or(|waiting| waiting.member != sender) {
            return;
        }
        let Some(waiting) = self.pings.take(ack.number) else { return };
        // What was asked before a pause of this node says that the member lives, not how slow it is.
        if waiting.sent >= self.late_until {
            self.note_answer(now, sender, ack.number, &waiting);
        }
        if let Purpose::Relay(relay) = waiting.purpose {
            self.relay_back(sender, relay);
        }
        if let Some(round) = self.round.as_mut().filter(|round| round.first_ping == ack.number) {
            round.answered_directly = true;
        }
        self.on_answer(now, sender);
    }

    /// How long an answer took, and what follows for the member and for this node's trust in itself.
    fn note_answer(&mut self, now: Instant, sender: NodeId, number: u32, waiting: &Waiting) {
        let took = now.since(waiting.sent);
        self.answers.note(sender, waiting.sent, took);
        let interval = self.params.probe_interval;
        self.push(Output::RoundTrip { member: sender, took });
        let in_time = self.round.as_ref().is_some_and(|round| round.first_ping == number);
        let late = !in_time && took > interval / 2;
        self.table.edit(sender, |member| {
            member.add_answer(now, waiting.sent, interval);
            if late {
                // Its round was counted as lost, and was only slow.
                member.late_answers += 1;
                member.loss_permille = (u32::from(member.loss_permille) * 7 / 8) as u16;
            }
        });
        if late {
            self.awareness.pinged(true);
        } else if !in_time && waiting.purpose == Purpose::Life {
            // A call or an examination: timely answers are as good a sign as those of the rounds.
            self.trust_more(now);
        }
    }

    /// The member has answered this node, directly or through others.
    pub(super) fn on_answer(&mut self, now: Instant, member: NodeId) {
        if self.round.as_ref().is_some_and(|round| round.target == member) {
            self.end_round(now, true);
        }
        self.checks.remove(&member);
        self.table.edit(member, |member| member.evidence = now);
        self.withdraw(now, member);
        self.take_back(now, member);
    }

    /// A member at the highest incarnation cannot say that it is back: its answer does.
    fn take_back(&mut self, now: Instant, id: NodeId) {
        let Some(before) = self.table.get(id).filter(|member| {
            member.health == Health::Dead && member.incarnation >= HIGHEST_INCARNATION
        }) else {
            return;
        };
        let (before, update) = (before.clone(), before.update());
        if let Some(update) = update {
            self.on_life(now, &before, &Update { state: MemberState::Alive, ..update });
        }
    }

    /// Forgets the dead and the left that are not configured, a day later.
    fn reap(&mut self, now: Instant) {
        let old: Vec<NodeId> = self
            .table
            .iter()
            .filter(|member| matches!(member.health, Health::Dead | Health::Left))
            .filter(|member| !member.seed && now.since(member.since) >= REAP_AFTER)
            .map(|member| member.id)
            .collect();
        for member in old {
            self.let_go(member);
            self.table.remove(member);
        }
    }
}
