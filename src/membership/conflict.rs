//! Two live processes under one name: the second is told so, and ends.
//!
//! Decides when a member tells a newcomer that its name is taken, and when a node that is told so
//! believes it. Which of two processes has the name is decided by `contact`.
//!
//! ```text
//! second             member              first
//!   | -- ping -------> |                   |    from an address that is not the name's
//!   | <- ping -------- |                   |    does it answer there?
//!   | -- ack --------> | -- ping --------> |    it does; and the first?
//!   |                  | <- ack ---------- |    so does that
//!   | <- ping -------- |                   |
//!   | -- ack --------> |                   |
//!   | <- conflict ---- |                   |    where the first is
//! ```
//!
//! Invariants
//! 1. Nobody is told before the first process has answered a ping that was sent after the second had
//!    proved its address: the restart of a process that is gone is refused by nobody.
//! 2. A node believes voters only, and not one of them alone: [`WITNESSES`] voters must name the same
//!    first process within [`WORD_LIFE`] intervals. Where there is no second voter to ask, one must
//!    say so [`REPEATS`] times.

use core::net::SocketAddr;
use ringrift_wire::{Boot, Conflict, Message, NodeId};

use super::{Event, Member, Membership};
use crate::time::Instant;

/// Voters that must say so.
const WITNESSES: usize = 2;
/// How often one must say so where no other voter can.
const REPEATS: u32 = 3;
/// Intervals for which a word counts.
const WORD_LIFE: u32 = 64;
/// Intervals for which a second process is shown after it was last heard of.
const RIVAL_LIFE: u32 = 32;

/// A second live process of a member's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Where it answers.
    pub address: SocketAddr,
    /// Its nonce.
    pub nonce: u64,
    /// When it last answered.
    pub at: Instant,
}

/// What a voter has said of this node's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    holder: u64,
    times: u32,
    at: Instant,
}

impl Membership {
    /// Both processes of a name have just answered: the second is told.
    pub(super) fn refuse(&mut self, now: Instant, id: NodeId, boot: Boot, from: SocketAddr) {
        let told = self.table.edit(id, |member| {
            let holder = Boot { sequence: member.sequence?, nonce: member.nonce? };
            let before = member.rival().map(|rival| rival.nonce);
            member.rare_mut().rival = Some(Rival { address: from, nonce: boot.nonce, at: now });
            Some((holder, member.address?, before != Some(boot.nonce)))
        });
        let Some((holder, address, new)) = told.flatten() else { return };
        if new {
            self.counters.name_conflicts += 1;
            self.tell(Event::NameInConflict { member: id, address, second: from });
        }
        let conflict = Conflict { refused: boot.nonce, holder, address };
        self.send(from, id, Message::Conflict(conflict));
    }

    /// Forgets second processes that have gone.
    pub(super) fn forget_rivals(&mut self, now: Instant) {
        let life = self.params.probe_interval * RIVAL_LIFE;
        let gone = |rival: Rival| now.since(rival.at) >= life;
        let of = |id: NodeId| self.table.get(id).and_then(Member::rival);
        let rivals = self.table.rivals().iter().copied();
        let old: Vec<NodeId> = rivals.filter(|&id| of(id).is_some_and(gone)).collect();
        for id in old {
            self.table.edit(id, |member| member.rare_mut().rival = None);
        }
    }

    /// A member says that another process has this node's name (invariant 2).
    pub(super) fn on_conflict(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: NodeId,
        boot: Boot,
        said: &Conflict,
    ) {
        let witness = self
            .table
            .get(sender)
            .is_some_and(|member| member.voter && member.speaks_for_itself(from, boot.nonce));
        let own = self.me.boot.nonce;
        if !witness || said.refused != own || said.holder.nonce == own {
            return;
        }
        let life = self.params.probe_interval * WORD_LIFE;
        self.words.retain(|_, word| now.since(word.at) < life);
        let (holder, address) = (said.holder.nonce, said.address);
        let before = self.words.get(&sender).filter(|word| word.holder == holder);
        let times = before.map_or(0, |word| word.times).saturating_add(1);
        self.words.insert(sender, Word { holder, times, at: now });
        let voters = self.table.iter().filter(|member| member.voter).count();
        let agree = self.words.values().filter(|word| word.holder == holder);
        if agree.count() >= WITNESSES || (voters < WITNESSES && times >= REPEATS) {
            self.has_left = true;
            self.tell(Event::NameTaken { address });
        }
    }
}
