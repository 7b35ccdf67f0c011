//! Rumours: what follows from an update that another member passed on.
//!
//! Decides what a winning rumour does to the table, and how this node answers rumours about itself.
//!
//! Invariants
//! 1. A death heard of never ends a member that was reachable here: it is an accusation with full
//!    confirmation, which takes effect after the floor and only without an answer. So two halves of
//!    a healed partition do not bury each other.
//! 2. Every rumour about this node's own boot that denies its life is answered at once with a higher
//!    incarnation. [`HIGHEST_INCARNATION`] is beyond what refutations can reach: what is said against
//!    it is no rumour and counts nowhere, so whoever has been driven there is judged by everybody's
//!    own pings alone.
//! 3. A rumour about an unknown name brings nobody into the table before that name has answered.
//! 4. A rumour about another process elsewhere changes nothing while the known one is heard from where
//!    the configuration has it.
//! 4. Whoever is dead here is not believed about the living: a node that hears nobody accuses
//!    everybody.

use ringrift_wire::{MAX_UPDATES, MemberState, NodeId, Update};

use super::precedence::{Claim, Worth, weigh};
use super::probe::CALLS_AFTER_RETURN;
use super::suspicion::Suspicion;
use super::{Event, Health, Member, Membership, Refutation};
use crate::time::Instant;

/// An incarnation that nobody reaches by answering: one accusation a millisecond takes 24 days.
pub(super) const HIGHEST_INCARNATION: u32 = 1 << 31;

impl Membership {
    pub(super) fn on_updates(&mut self, now: Instant, sender: NodeId, updates: &[Update]) {
        for update in updates.iter().take(MAX_UPDATES) {
            if !is_answerable(update) {
                self.counters.rumours_refused += 1;
            } else if update.member == self.me.id {
                self.on_own_name(sender, update);
            } else if self.is_believed(sender, update) {
                self.on_update(now, update);
            }
        }
    }

    /// Invariant 4.
    fn is_believed(&self, sender: NodeId, update: &Update) -> bool {
        let is_dead = |id| self.table.get(id).is_some_and(|m| m.health == Health::Dead);
        let accuses_the_living =
            || self.table.get(update.member).is_some_and(|m| m.health == Health::Alive);
        match update.state {
            MemberState::Alive | MemberState::Left => true,
            MemberState::Suspect { by } => {
                !((is_dead(sender) || is_dead(by)) && accuses_the_living())
            }
            MemberState::Dead { .. } => !(is_dead(sender) && accuses_the_living()),
        }
    }

    /// Invariant 2.
    fn on_own_name(&mut self, sender: NodeId, update: &Update) {
        if update.sequence != self.me.boot.sequence {
            self.counters.rumours_of_another_boot +=
                u64::from(update.sequence > self.me.boot.sequence);
            return;
        }
        let accuser = match update.state {
            // Said by an earlier process of the same sequence, or by nobody: outbid it.
            MemberState::Alive if update.incarnation > self.me.incarnation => None,
            MemberState::Alive => return,
            MemberState::Suspect { .. } | MemberState::Dead { .. } | MemberState::Left
                if update.incarnation < self.me.incarnation =>
            {
                // Answered already; whoever still says so has missed it.
                self.gossip_own(sender);
                return;
            }
            MemberState::Suspect { by } | MemberState::Dead { by } => Some(by),
            MemberState::Left => Some(sender),
        };
        self.me.incarnation = update.incarnation.saturating_add(1).min(HIGHEST_INCARNATION);
        let own = self.own_update();
        if let Some(accuser) = accuser {
            self.counters.own_refutations += 1;
            self.awareness.worsen();
            self.announce(own);
            self.gossip_own(sender);
            if accuser != sender {
                self.gossip_own(accuser);
            }
        } else {
            self.spread(own);
        }
    }

    fn gossip_own(&mut self, member: NodeId) {
        if self.eager_left == 0 {
            self.counters.overflows += 1;
            return;
        }
        self.eager_left -= 1;
        let own = self.own_update();
        self.gossip_to(member, Some(own));
    }

    fn on_update(&mut self, now: Instant, update: &Update) {
        let Some(member) = self.table.get(update.member) else {
            self.on_unknown_name(now, update);
            return;
        };
        let replaced = member.rare().superseded.is_some_and(|gone| update.sequence <= gone);
        if replaced && member.sequence != Some(update.sequence) {
            return;
        }
        let heard = Claim::from(update);
        match member.claim().map_or(Worth::Wins, |known| weigh(known, heard)) {
            Worth::Stale => {}
            Worth::Confirms => self.on_confirmation(now, update),
            Worth::Wins => self.on_news(now, update),
        }
    }

    /// Invariant 3.
    fn on_unknown_name(&mut self, now: Instant, update: &Update) {
        let alive = matches!(update.state, MemberState::Alive | MemberState::Suspect { .. });
        if alive {
            let open = self.params.open;
            let asked = open && self.start_proof(now, update.member, update.address, Some(*update));
            self.counters.names_refused += u64::from(!asked);
        }
    }

    fn on_confirmation(&mut self, now: Instant, update: &Update) {
        let MemberState::Suspect { by } = update.state else { return };
        if by == self.me.id {
            return;
        }
        let new = self.table.edit(update.member, |member| {
            member.suspicion.as_mut().is_some_and(|suspicion| suspicion.confirm(by, now))
        });
        if new == Some(true) {
            self.counters.updates_applied += 1;
            self.tell(Event::SuspicionConfirmed { member: update.member, by });
            self.spread_if_addressed(update);
            if self.is_witness() {
                self.start_check(now, update.member, 0, now);
            }
        }
    }

    fn on_news(&mut self, now: Instant, update: &Update) {
        let id = update.member;
        let Some(before) = self.table.get(id).cloned() else { return };
        if before.sequence != Some(update.sequence)
            && before.address != Some(update.address)
            && self.speaks_from_its_seat(now, &before)
        {
            // Perhaps a second process of that name: it is asked, and displaces nobody who is heard.
            self.on_new_address(now, &before, update);
            return;
        }
        let answered = matches!(update.state, MemberState::Alive | MemberState::Suspect { .. });
        if before.health == Health::Dead
            && before.sequence == Some(update.sequence)
            && answered
            && self.puts_off(now, update)
        {
            return;
        }
        if before.sequence != Some(update.sequence) || update.state == MemberState::Left {
            self.let_go(id);
        }
        if before.address.is_none() || before.sequence.is_none_or(|known| known < update.sequence) {
            self.on_new_address(now, &before, update);
        }
        match update.state {
            // An accusation of this node's own that it took back, or never made.
            MemberState::Suspect { by } if by == self.me.id => return,
            MemberState::Alive => self.on_life(now, &before, update),
            MemberState::Suspect { by } => self.on_accusation(now, &before, update, by),
            MemberState::Dead { by } if before.health.is_reachable() => {
                self.on_death_of_living(now, update, by);
                return;
            }
            MemberState::Dead { by } => {
                self.adopt(now, update, Health::Dead);
                self.table.edit(id, |member| member.rare_mut().buried_by = Some(by));
                self.note_loss(now, id);
                if before.health != Health::Dead {
                    self.tell(Event::MemberDied { member: id, by });
                }
                self.spread_if_addressed(update);
            }
            MemberState::Left => {
                self.checks.remove(&id);
                self.adopt(now, update, Health::Left);
                self.tell(Event::MemberLeft { member: id });
                self.spread_if_addressed(update);
            }
        }
        self.counters.updates_applied += 1;
    }

    /// A newer boot, or one with no known address, says where it is: it has to answer from there.
    fn on_new_address(&mut self, now: Instant, before: &Member, update: &Update) {
        if before.address != Some(update.address) && update.state != MemberState::Left {
            self.start_proof(now, update.member, update.address, None);
        }
    }

    /// Takes sequence, incarnation and state of a rumour over.
    fn adopt(&mut self, now: Instant, update: &Update, health: Health) {
        self.table.edit(update.member, |member| {
            if member.sequence != Some(update.sequence) {
                member.sequence = Some(update.sequence);
                member.nonce = None;
                member.boot_since = now;
                // Where the process before it has spoken from says nothing of this one.
                member.rooted = false;
            }
            member.incarnation = update.incarnation;
            if health == Health::Suspect {
                member.suspicion = None;
            }
            member.become_health(now, health);
        });
    }

    pub(super) fn on_life(&mut self, now: Instant, before: &Member, update: &Update) {
        let id = update.member;
        self.checks.remove(&id);
        self.adopt(now, update, Health::Alive);
        self.table.edit(id, |member| member.evidence = now);
        let restarted = before.sequence.is_some_and(|sequence| sequence != update.sequence);
        match before.health {
            Health::Unknown => {
                let address = before.address.unwrap_or(update.address);
                self.tell(Event::MemberJoined { member: id, address });
            }
            Health::Alive | Health::Suspect | Health::Dead | Health::Left if restarted => {
                self.tell(Event::MemberRestarted { member: id });
            }
            Health::Alive => {}
            Health::Suspect | Health::Dead | Health::Left => {
                self.counters.suspicions_refuted += u64::from(before.health == Health::Suspect);
                let how = match before.health {
                    Health::Suspect => Refutation::Incarnation,
                    _ => Refutation::Returned,
                };
                let accusers = match before.rare().buried_by {
                    Some(by) => vec![by],
                    None => before.suspected_by().to_vec(),
                };
                self.table.edit(id, |member| member.note_refutation(now, how, &accusers));
                self.tell(Event::MemberRefuted { member: id, how });
                self.stir(now);
            }
        }
        if !before.health.is_reachable() {
            self.admit(id, before.sequence.is_none());
        }
        if before.health == Health::Dead {
            // One lost member is back: the others may be, too, and those that hear it may not know.
            self.call_lost(now, CALLS_AFTER_RETURN);
            self.announce_if_addressed(update);
        } else if before.health == Health::Unknown && self.queue.is_crowded() {
            // Left to the comparing of tables.
        } else {
            self.spread_if_addressed(update);
        }
    }

    fn on_accusation(&mut self, now: Instant, before: &Member, update: &Update, by: NodeId) {
        let id = update.member;
        self.adopt(now, update, Health::Suspect);
        self.table.edit(id, |member| member.suspicion = Some(Box::new(Suspicion::new(by, now))));
        if !before.health.is_reachable() {
            self.admit(id, before.sequence.is_none());
        }
        if before.health != Health::Suspect {
            self.tell(Event::MemberSuspected { member: id, by });
        }
        self.announce_if_addressed(update);
        // Evidence gathered against an earlier incarnation is no evidence against this one.
        self.checks.remove(&id);
        if self.is_witness() {
            self.start_check(now, id, 0, now);
        }
    }

    /// Invariant 1.
    fn on_death_of_living(&mut self, now: Instant, update: &Update, by: NodeId) {
        let id = update.member;
        let claimed = |member: &Member| {
            member.suspicion.as_ref().is_some_and(|suspicion| suspicion.claimed_by.is_some())
                && (member.sequence, member.incarnation)
                    == (Some(update.sequence), update.incarnation)
        };
        if self.table.get(id).is_some_and(claimed) {
            return;
        }
        let accused = self.table.get(id).is_some_and(|member| {
            member.suspicion.is_some()
                && (member.sequence, member.incarnation)
                    == (Some(update.sequence), update.incarnation)
        });
        if !accused {
            self.adopt(now, update, Health::Suspect);
            self.table
                .edit(id, |member| member.suspicion = Some(Box::new(Suspicion::new(by, now))));
            self.tell(Event::MemberSuspected { member: id, by });
        }
        self.table.edit(id, |member| {
            if let Some(suspicion) = &mut member.suspicion {
                suspicion.claimed_by = Some(by);
            }
        });
        self.counters.updates_applied += 1;
        if self.is_witness() {
            self.start_check(now, id, 0, now);
        }
    }

    /// Passes a rumour on with the address that this node knows.
    fn spread_if_addressed(&mut self, update: &Update) {
        if let Some(address) = self.table.get(update.member).and_then(|member| member.address) {
            self.spread(Update { address, ..*update });
        }
    }

    fn announce_if_addressed(&mut self, update: &Update) {
        if let Some(address) = self.table.get(update.member).and_then(|member| member.address) {
            self.announce(Update { address, ..*update });
        }
    }
}

/// Invariant 2: whether its subject could answer it.
const fn is_answerable(update: &Update) -> bool {
    match update.state {
        MemberState::Alive => update.incarnation <= HIGHEST_INCARNATION,
        MemberState::Suspect { .. } | MemberState::Dead { .. } | MemberState::Left => {
            update.incarnation < HIGHEST_INCARNATION
        }
    }
}
