//! Members that come and go: a return from the dead is put off for growing times.
//!
//! Decides when a member that was declared dead and has answered is reachable again. A first return
//! takes effect at once, so that a healed network is whole within a round trip; whoever dies again
//! soon after has to answer without a break before it is believed. A new process is never put off.
//!
//! Invariants
//! 1. [`FREE_RETURNS`] returns within [`FORGET_INTERVALS`] take effect at once; each further one waits
//!    twice as long as the one before it, from [`FIRST_HOLD`] up to [`LONGEST_HOLD`] intervals.
//! 2. Returns of several members together are one of the network or of this node, and not counted; nor
//!    are those of members that were lost together.
//! 3. Whoever answers for the whole wait is let in: what is put off is never refused for good.

use core::time::Duration;
use ringrift_wire::{MemberState, NodeId, Update};

use super::precedence::{Claim, Worth, weigh};
use super::{Event, Health, Membership};
use crate::time::Instant;

/// Returns that take effect at once.
const FREE_RETURNS: u32 = 1;
/// Intervals after which a return is forgotten.
const FORGET_INTERVALS: u32 = 120;
/// Intervals of the first wait.
const FIRST_HOLD: u32 = 8;
/// Intervals of the longest wait.
const LONGEST_HOLD: u32 = 128;
/// Half intervals of silence that make a wait begin anew: it is asked each interval.
const SILENCE: u32 = 3;
/// Intervals within which returns are together.
const TOGETHER: u32 = 2;
/// Intervals within which losses are together.
const LOST_TOGETHER: u32 = 8;
/// Members put off that are called each interval.
const MAX_CALLS: usize = 8;

/// A return that is put off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// What the member said last.
    said: Update,
    /// Since when it has answered without a break.
    since: Instant,
    last_sign: Instant,
    length: Duration,
}

impl Hold {
    /// When it is believed, should it go on answering.
    pub(super) fn ends(&self) -> Instant {
        self.since + self.length
    }
}

/// The returns of one member.
#[derive(Clone, Debug)]
pub(super) struct Returns {
    count: u32,
    last: Option<Instant>,
    /// It was lost together with others.
    in_company: bool,
    /// Apart from the member, since it is rare.
    pub(super) hold: Option<Box<Hold>>,
}

impl Returns {
    /// Of a member that was never lost.
    pub(super) const NONE: Self = Self { count: 0, last: None, in_company: false, hold: None };
}

impl Membership {
    /// A member is dead from now on: whether others are since about the same time.
    pub(super) fn note_loss(&mut self, now: Instant, id: NodeId) {
        let near = self.params.probe_interval * LOST_TOGETHER;
        let mut lost = self.table.lost().iter().filter(|&&other| other != id);
        let company = lost.find(|&&other| {
            self.table
                .get(other)
                .is_some_and(|m| m.health == Health::Dead && now.since(m.since) < near)
        });
        let company = company.copied();
        for one in company.into_iter().chain([id]) {
            self.table.edit(one, |m| m.rare_mut().returns.in_company = company.is_some());
        }
    }

    /// A rumour says that a member that is dead here has answered: whether its return is put off.
    pub(super) fn puts_off(&mut self, now: Instant, update: &Update) -> bool {
        let interval = self.params.probe_interval;
        let near = |then: Instant| now.since(then) < interval * TOGETHER;
        let together =
            self.last_return.is_some_and(near) || self.table.lost().len() > self.table.reachable();
        let mut begins = None;
        let put_off = self.table.edit(update.member, |member| {
            let returns = &mut member.rare_mut().returns;
            if let Some(hold) = &mut returns.hold {
                if weigh(Claim::from(&hold.said), Claim::from(update)) == Worth::Wins {
                    hold.said = *update;
                }
                return true;
            }
            if returns.last.is_none_or(|last| now.since(last) >= interval * FORGET_INTERVALS) {
                returns.count = 0;
            }
            returns.last = Some(now);
            if together || returns.in_company {
                return false;
            }
            returns.count = returns.count.saturating_add(1);
            let Some(doubled) = returns.count.checked_sub(FREE_RETURNS + 1) else { return false };
            let intervals = (FIRST_HOLD << doubled.min(8)).min(LONGEST_HOLD);
            let length = interval * intervals;
            let hold = Hold { said: *update, since: now, last_sign: now, length };
            returns.hold = Some(Box::new(hold));
            begins = Some(length);
            true
        }) == Some(true);
        if let Some(length) = begins {
            self.held.insert(update.member);
            self.counters.returns_held_off += 1;
            self.tell(Event::MemberHeldOff { member: update.member, length });
        }
        if !put_off {
            self.last_return = Some(now);
        }
        put_off
    }

    /// A datagram of a member has come: it is let in when it has answered for long enough.
    pub(super) fn sign_of_life(&mut self, now: Instant, id: NodeId) {
        if !self.held.contains(&id) {
            return;
        }
        let turns = u32::try_from(self.held.len().div_ceil(MAX_CALLS)).unwrap_or(u32::MAX);
        let longest = self.params.probe_interval / 2 * SILENCE.saturating_mul(turns);
        let Some(before) = self.table.get(id).cloned() else { return };
        let done = self.table.edit(id, |member| {
            let hold = member.rare_if_any()?.returns.hold.as_mut()?;
            if now.since(hold.last_sign) > longest {
                hold.since = now;
            }
            hold.last_sign = now;
            (now >= hold.ends()).then_some(hold.said)
        });
        let Some(said) = done.flatten() else { return };
        self.let_go(id);
        self.table.edit(id, |member| member.rare_mut().returns.last = Some(now));
        // Whatever was said of it meanwhile, it was this that it answered.
        let said = Update { state: MemberState::Alive, ..said };
        let newer = before.claim().is_none_or(|c| weigh(c, Claim::from(&said)) == Worth::Wins);
        if before.health == Health::Dead && newer {
            self.on_life(now, &before, &said);
        }
    }

    /// Nothing is put off any more: it has a new process, has left or is forgotten.
    pub(super) fn let_go(&mut self, id: NodeId) {
        if self.held.remove(&id) {
            self.table.edit(id, |member| member.rare_mut().returns.hold = None);
        }
    }

    /// Those whose return is put off are asked each interval, since their answers count.
    pub(super) fn call_held(&mut self, now: Instant) {
        let called: Vec<NodeId> = match self.held.len() {
            0 => return,
            1..=MAX_CALLS => self.held.iter().copied().collect(),
            many => {
                let start = self.rng.below(many as u64) as usize;
                self.held.iter().chain(&self.held).copied().skip(start).take(MAX_CALLS).collect()
            }
        };
        for id in called {
            self.call(now, id, self.params.probe_interval / 2);
        }
    }
}
