//! Anti-entropy: comparing tables by digest, and pulling what is missing in datagrams.
//!
//! Decides when tables are compared and what a chunk carries. What a pulled rumour does is decided
//! by `rumour`.
//!
//! ```text
//! A -- ping (digest of A) --> B      the digests differ
//! A <-- ack (digest of B) --- B
//! A <-- pull after nobody --- B      and A pulls from B in the same way
//! A -- gossip (a .. m) -----> B
//! A <-- pull after m -------- B
//! A -- gossip (n .. z) -----> B      the chunk is short: done
//! ```
//!
//! Invariants
//! 1. One repair at a time, in chunks of one datagram each.
//! 2. A repair that brought nothing doubles the time to the next with that member, up to
//!    [`MAX_PAUSE`] intervals: tables that cannot become equal cause no steady traffic.
//! 3. At most [`MAX_PULLS`] pulls are answered in an interval.
//! 4. After a repair of many chunks this node begins none for as many intervals: comparing tables costs
//!    it about a chunk an interval, however large they are and however often they change.

use core::net::SocketAddr;
use ringrift_wire::{Gossip, MAX_UPDATES, Message, NodeId, Pull, Update, Updates};

use super::dissemination::{MAX_UPDATE, UPDATES_BUDGET, size_of};
use super::{Member, Membership};
use crate::time::Instant;

/// Pulls answered in one interval.
const MAX_PULLS: u32 = 64;
/// Chunks of one repair: enough for the largest table.
const MAX_CHUNKS: u32 = 1_024;
/// Intervals between two repairs with one member.
const MIN_PAUSE: u32 = 4;
/// The same at most, when they bring nothing.
const MAX_PAUSE: u32 = 256;
/// Differing digests in a row that are no longer put down to rumours under way.
const LASTING: u32 = 3;
/// Intervals that a repair waits for its next chunk.
const CHUNK_PATIENCE: u32 = 2;

/// Comparing tables.
#[derive(Clone, Debug)]
pub(super) struct Repair {
    running: Option<Running>,
    /// Before this, no other is begun.
    after: Instant,
    /// Differing digests in a row.
    differing: u32,
    /// Whether a repair has ever come to its end: a newcomer does not wait.
    settled: bool,
    pulls_left: u32,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    peer: NodeId,
    after: Option<NodeId>,
    last: Instant,
    chunks: u32,
    /// Rumours applied when it began.
    applied: u64,
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            running: None,
            after: Instant::ZERO,
            differing: 0,
            settled: false,
            pulls_left: MAX_PULLS,
        }
    }
}

impl Repair {
    pub(super) const fn refill(&mut self) {
        self.pulls_left = MAX_PULLS;
    }
}

impl Membership {
    /// Compares a member's digest with this node's, and starts a repair when they differ for long.
    /// Says whether they differ.
    pub(super) fn compare(&mut self, now: Instant, peer: NodeId, digest: u32) -> bool {
        if digest == 0 {
            return false;
        }
        let Some(member) = self.table.get(peer) else { return false };
        if digest == self.digest() {
            self.repair.differing = 0;
            if member.vain_repairs > 0 {
                self.table.edit(peer, |member| member.vain_repairs = 0);
            }
            return false;
        }
        self.repair.differing = self.repair.differing.saturating_add(1);
        let lasting =
            !self.repair.settled || self.queue.is_idle() || self.repair.differing >= LASTING;
        let patience = self.params.probe_interval * CHUNK_PATIENCE;
        let busy = self.repair.running.is_some_and(|run| now.since(run.last) < patience);
        let may = now >= self.repair.after.max(member.repair_after);
        if lasting && !busy && may && member.health.is_reachable() {
            self.counters.repairs += 1;
            let applied = self.counters.updates_applied;
            let running = Running { peer, after: None, last: now, chunks: 0, applied };
            // Should it come to no end, the pause counts from here.
            let pause = self.params.probe_interval * MIN_PAUSE;
            self.table.edit(peer, |member| member.repair_after = now + pause);
            self.pull(running);
        }
        true
    }

    fn pull(&mut self, running: Running) {
        self.repair.running = Some(running);
        if let Some(to) = self.table.get(running.peer).and_then(|member| member.address) {
            self.send(to, running.peer, Message::Pull(Pull { after: running.after }));
        }
    }

    pub(super) fn on_pull(&mut self, from: SocketAddr, sender: NodeId, pull: &Pull) {
        if self.repair.pulls_left == 0 {
            self.counters.overflows += 1;
            return;
        }
        self.repair.pulls_left -= 1;
        let updates = self.chunk(pull.after);
        self.send(from, sender, Message::Gossip(Gossip { beacon: None, updates }));
    }

    /// What this node knows of the members after `after`, itself included, as much as fits.
    fn chunk(&self, after: Option<NodeId>) -> Updates {
        let me = self.me.id;
        let mut own = Some(self.own_update()).filter(|_| after.is_none_or(|after| after < me));
        let mut updates = Updates::new();
        for member in self.table.after(after) {
            if member.id > me {
                updates.extend(own.take());
            }
            updates.extend(member.update());
            // One more than can be sent is enough.
            if updates.len() > MAX_UPDATES {
                break;
            }
        }
        updates.extend(own);
        updates.truncate(fitting(&updates));
        updates
    }

    /// Gossip from the member that a repair pulls from: the next chunk, if it looks like one.
    pub(super) fn on_chunk(&mut self, now: Instant, sender: NodeId, updates: &[Update]) {
        let Some(running) = self.repair.running.filter(|running| running.peer == sender) else {
            return;
        };
        let names = || updates.iter().map(|update| Some(update.member));
        let in_order = core::iter::once(running.after).chain(names()).zip(names());
        if !in_order.into_iter().all(|(one, next)| one < next) {
            return;
        }
        if is_full(updates) && running.chunks < MAX_CHUNKS {
            let after = updates.last().map(|update| update.member);
            self.pull(Running { after, last: now, chunks: running.chunks + 1, ..running });
            return;
        }
        self.repair.running = None;
        self.repair.settled = true;
        let chunks = running.chunks + 1;
        if chunks > MIN_PAUSE {
            self.repair.after = now + self.params.probe_interval * chunks;
        }
        let vain = self.counters.updates_applied == running.applied;
        let interval = self.params.probe_interval;
        self.table.edit(sender, |member: &mut Member| {
            member.vain_repairs = if vain { member.vain_repairs.saturating_add(1) } else { 0 };
            let doubled = MIN_PAUSE << member.vain_repairs.min(6);
            member.repair_after = now + interval * doubled.min(MAX_PAUSE);
        });
    }
}

/// How many of these fit into one datagram.
fn fitting(updates: &[Update]) -> usize {
    let mut room = UPDATES_BUDGET;
    let fits = updates.iter().take_while(|update| {
        let size = size_of(update);
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    });
    fits.count().min(MAX_UPDATES)
}

/// Whether more may follow: the largest rumour would not have fitted any more.
fn is_full(updates: &[Update]) -> bool {
    let size: usize = updates.iter().map(size_of).sum();
    updates.len() >= MAX_UPDATES || size + MAX_UPDATE > UPDATES_BUDGET
}
