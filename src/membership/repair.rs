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
//! A -- gossip (news) -------> B      what has changed at A of late, if there are more chunks
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
//! 5. A chunk that does not come is asked for again, and then of the next member whose table differs: a
//!    repair goes on where it was. Begun anew, one of many chunks would never end where datagrams are lost,
//!    or where it has more of them than are answered in an interval.
//! 6. Whoever is in its first repair tells of itself alone.
//! 7. A repair ends as soon as this table is as the other was. Where one rumour is missing of thousands of members,
//!    which is nearly always a late one, two chunks bring it; and whoever has had news of late leaves it to those
//!    that have not.

use core::net::SocketAddr;
use std::collections::VecDeque;

use ringrift_wire::{Gossip, MAX_UPDATES, MemberState, Message, NodeId, Pull, Update, Updates};

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
/// The most of them for one that has had news of late, which the other may be about to hear: one for each chunk
/// that its table has.
const MOST_LASTING: u32 = 16;
/// Intervals for which news is late news: longer than any is on its way.
const NEWS_FOR: u32 = 16;
/// Times that a chunk is asked of one member, again after a quarter and a half of an interval and then
/// each interval, before another whose table differs may be asked instead. Whoever has answered its pulls for this
/// interval does so again in the next.
const TRIES: u32 = 3;
/// Intervals after which a repair that gets no chunk is given up: what it has compared is old.
const MAX_STALL: u32 = 16;

/// Comparing tables.
#[derive(Clone, Debug)]
pub(super) struct Repair {
    running: Option<Running>,
    /// Before this, no other is begun.
    after: Instant,
    /// Differing digests in a row.
    differing: u32,
    /// Whether a repair has ever come to its end, or its table was found equal to another's: a newcomer does
    /// not wait.
    settled: bool,
    /// Whom the last rumours were about that this node took up, and when.
    news: VecDeque<(Instant, NodeId)>,
    pulls_left: u32,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    peer: NodeId,
    /// What that member's digest was.
    digest: u32,
    after: Option<NodeId>,
    /// When this chunk was first asked for.
    since: Instant,
    /// How often it was asked of that member.
    tries: u32,
    /// When it is asked for again.
    next_at: Instant,
    /// Whether what looks like its last chunk has come.
    ended: bool,
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
            news: VecDeque::new(),
            pulls_left: MAX_PULLS,
        }
    }
}

impl Repair {
    pub(super) const fn refill(&mut self) {
        self.pulls_left = MAX_PULLS;
    }

    /// A rumour was taken up. Suspicion passes, and changes no digest.
    pub(super) fn note_news(&mut self, now: Instant, update: &Update) {
        if matches!(update.state, MemberState::Suspect { .. }) {
            return;
        }
        self.news.retain(|(_, known)| *known != update.member);
        self.news.push_back((now, update.member));
        if self.news.len() > MAX_UPDATES {
            self.news.pop_front();
        }
    }

    /// When a chunk that has not come is asked for again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.running.map(|running| running.next_at)
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
            self.repair.settled = true;
            if member.vain_repairs > 0 {
                self.table.edit(peer, |member| member.vain_repairs = 0);
            }
            return false;
        }
        self.repair.differing = self.repair.differing.saturating_add(1);
        let rumours = if self.queue.is_idle() { 1 } else { LASTING };
        let late = self.late_news(now).next().map_or(0, |_| self.repair_chunks().min(MOST_LASTING));
        let lasting = !self.repair.settled || self.repair.differing >= rumours.max(late);
        let busy = self.repair.running.is_some_and(|running| running.tries <= TRIES);
        let may = now >= self.repair.after.max(member.repair_after);
        if lasting && !busy && may && member.health.is_reachable() {
            let interval = self.params.probe_interval;
            // Should it come to no end, the pause counts from here.
            let pause = interval * MIN_PAUSE;
            self.table.edit(peer, |member| member.repair_after = now + pause);
            let stalled = self.repair.running;
            self.counters.repairs += u64::from(stalled.is_none());
            let fresh = Running {
                peer,
                digest,
                after: None,
                since: now,
                tries: 0,
                next_at: now,
                ended: false,
                chunks: 0,
                applied: self.counters.updates_applied,
            };
            self.pull(
                now,
                Running { peer, digest, tries: 0, ended: false, ..stalled.unwrap_or(fresh) },
            );
        }
        true
    }

    fn pull(&mut self, now: Instant, mut running: Running) {
        running.next_at = now + self.params.probe_interval * (1 << running.tries.min(2)) / 4;
        running.tries += 1;
        self.repair.running = Some(running);
        if let Some(to) = self.table.get(running.peer).and_then(|member| member.address) {
            self.send(to, running.peer, Message::Pull(Pull { after: running.after }));
        }
    }

    /// Invariant 5: asks again for a chunk that has not come.
    pub(super) fn pull_again(&mut self, now: Instant) {
        let Some(running) = self.repair.running.filter(|running| running.next_at <= now) else {
            return;
        };
        if now.since(running.since) < self.params.probe_interval * MAX_STALL {
            self.pull(now, running);
        } else {
            self.repair.running = None;
        }
    }

    /// About how many chunks this table has.
    fn repair_chunks(&self) -> u32 {
        u32::try_from(self.table.len() / MAX_UPDATES).unwrap_or(u32::MAX)
    }

    /// Whom late rumours were about, the latest first.
    fn late_news(&self, now: Instant) -> impl Iterator<Item = NodeId> {
        let since = self.params.probe_interval * NEWS_FOR;
        let late = move |(at, _): &&(Instant, NodeId)| now.since(*at) < since;
        self.repair.news.iter().rev().filter(late).map(|(_, member)| *member)
    }

    pub(super) fn on_pull(&mut self, now: Instant, from: SocketAddr, sender: NodeId, pull: &Pull) {
        if self.repair.pulls_left == 0 {
            self.counters.overflows += 1;
            return;
        }
        self.repair.pulls_left -= 1;
        let learns = self.repair.running.is_some() && !self.repair.settled;
        let updates = if learns { self.own_chunk(pull.after) } else { self.chunk(pull.after) };
        // Of what is in this chunk, or in one before it, nobody needs to be told twice.
        let last = updates.last().map(|update| update.member);
        let tell_news = pull.after.is_none() && is_full(&updates);
        self.send(from, sender, Message::Gossip(Gossip { beacon: None, updates }));
        if tell_news {
            let news = self.late_news(now).filter(|member| Some(*member) > last);
            let told = |member| match self.table.get(member) {
                None if member == self.me.id => Some(self.own_update()),
                known => known.and_then(Member::update),
            };
            let news = news.filter_map(told);
            let mut updates: Updates = news.collect();
            updates.truncate(fitting(&updates));
            if !updates.is_empty() {
                self.send(from, sender, Message::Gossip(Gossip { beacon: None, updates }));
            }
        }
    }

    /// This node alone, if it comes after `after`. One that just learns of the others has nothing else to tell:
    /// a newcomer among thousands would have its half table pulled by everybody that it speaks to.
    fn own_chunk(&self, after: Option<NodeId>) -> Updates {
        let own = Some(self.own_update());
        own.filter(|own| after.is_none_or(|after| after < own.member)).into_iter().collect()
    }

    /// What this node knows of the members after `after`, itself included, as much as fits.
    fn chunk(&self, after: Option<NodeId>) -> Updates {
        let me = self.me.id;
        let mut own = self.own_chunk(after).pop();
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
        let chunks = running.chunks + 1;
        let equal = self.digest() == running.digest;
        if is_full(updates) && chunks < MAX_CHUNKS && !equal {
            let after = updates.last().map(|update| update.member);
            self.pull(
                now,
                Running { after, since: now, tries: 0, ended: false, chunks, ..running },
            );
            return;
        }
        if running.after.is_some() && !running.ended && !equal {
            // Of many chunks the last is asked for twice: other gossip of that member looks the same.
            self.pull(now, Running { since: now, tries: 0, ended: true, ..running });
            return;
        }
        self.repair.running = None;
        self.repair.settled = true;
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

#[cfg(test)]
mod tests {
    use super::super::network::{Network, SECOND, address, gossip, name, params};
    use super::super::{Health, Output, Params};
    use super::*;
    use ringrift_wire::Boot;

    /// Two members that have heard of so many others, and one that has them all in its configuration, as those
    /// do, and has just started.
    fn newcomer_among(others: usize, loss: u64) -> Network {
        let params = Params { max_members: 10_000, ..params() };
        let mut network = Network::new(3, 2, params, 3);
        network.kill(2);
        let boot = |at| Boot { sequence: 1_000, nonce: at as u64 };
        let all = || 10..10 + others;
        let configure = |node: &mut Membership, now| {
            for number in all() {
                let mut member = Member::new(name(number), Some(address(number)), now);
                member.seed = true;
                node.table.insert(member);
            }
        };
        for (at, teller) in [(0, 1), (1, 0)] {
            network.with(at, configure);
            for number in all() {
                let (sequence, incarnation, state) = (1_000, 0, MemberState::Alive);
                let (member, address) = (name(number), address(number));
                let alive = gossip(Update { member, address, sequence, incarnation, state });
                network.with(at, |node, now| {
                    node.handle_message(
                        now,
                        self::address(teller),
                        name(teller),
                        boot(teller),
                        &alive,
                    );
                });
            }
        }
        network.run_until(SECOND * 60, |n| n.node(0).repair.settled && n.node(1).repair.settled);
        network.restart(2, boot(2));
        network.with(2, configure);
        network.loss = loss;
        network
    }

    fn known(network: &Network) -> usize {
        network.node(2).members().filter(|member| member.health != Health::Unknown).count()
    }

    /// Invariant 5. It knew the first 1,200 for ever: each repair was begun anew when one member had answered its
    /// pulls of an interval, and of 5,000 members 24 MB were sent in vain within ten minutes.
    #[test]
    fn a_newcomer_among_thousands_knows_them_all_within_seconds() {
        let mut network = newcomer_among(3_000, 0);
        let all = network.run_until(SECOND * 60, |n| known(n) == 3_002);
        assert!(all.is_some_and(|after| after < SECOND * 8), "{all:?}, {} known", known(&network));
    }

    /// Invariant 5: begun anew at each loss, a repair of thirty chunks would come to its end once in a million.
    #[test]
    fn a_newcomer_knows_hundreds_soon_though_a_fifth_is_lost() {
        let mut network = newcomer_among(600, 200);
        let all = network.run_until(SECOND * 120, |n| known(n) == 602);
        assert!(all.is_some_and(|after| after < SECOND * 40), "{all:?}, {} known", known(&network));
    }

    /// Invariant 6.
    #[test]
    fn a_newcomer_that_still_learns_tells_of_itself_alone() {
        let mut network = newcomer_among(1_000, 0);
        network.run_until(SECOND * 10, |n| known(n) > 500).expect("half of them is known");
        let boot = Boot { sequence: 1_000, nonce: 0 };
        let pull = Message::Pull(Pull { after: None });
        let told = |network: &mut Network| {
            let mut told = Vec::new();
            network.with(2, |node, now| {
                while node.poll_output().is_some() {}
                node.handle_message(now, address(0), name(0), boot, &pull);
                while let Some(output) = node.poll_output() {
                    if let Output::Send { message: Message::Gossip(gossip), .. } = output {
                        told.extend(gossip.updates.iter().map(|update| update.member));
                    }
                }
            });
            told
        };
        assert_eq!(told(&mut network), [name(2)]);
        network.run_until(SECOND * 60, |n| n.node(2).repair.settled).expect("it knows them all");
        assert!(told(&mut network).len() > 10);
    }

    /// Invariant 7. Each of 5,000 members pulled a fifth of a table whenever one of them restarted.
    #[test]
    fn one_late_rumour_that_is_missing_among_thousands_costs_a_few_chunks() {
        let mut network = newcomer_among(2_000, 0);
        network.kill(2);
        let (sequence, incarnation, state) = (1_000, 1, MemberState::Alive);
        let (member, address) = (name(1_500), address(1_500));
        let news = Update { member, address, sequence, incarnation, state };
        let pulls = network.pulls;
        // One member has heard it, and tells nobody of its own accord.
        network.with(0, |node, now| {
            let boot = Boot { sequence: 1_000, nonce: 1 };
            node.handle_message(now, self::address(1), name(1), boot, &gossip(news));
            node.queue = super::super::dissemination::Dissemination::default();
        });
        let heard = |n: &Network| n.node(1).member(member).is_some_and(|m| m.incarnation == 1);
        network.run_until(SECOND * 60, heard).expect("the other hears it");
        network.run(SECOND);
        assert!(network.pulls - pulls <= 3, "{} pulls", network.pulls - pulls);
    }

    #[test]
    fn gossip_that_looks_like_the_last_chunk_does_not_end_a_repair() {
        let mut network = newcomer_among(1_000, 0);
        let underway = |n: &Network| n.node(2).repair.running.filter(|run| run.chunks == 3);
        network.run_until(SECOND * 10, |n| underway(n).is_some()).expect("a repair of many chunks");
        let peer = underway(&network).expect("as waited for").peer;
        let teller = usize::from(peer == name(1));
        let boot = Boot { sequence: 1_000, nonce: teller as u64 };
        let last =
            network.node(teller).members().last().and_then(Member::update).expect("one that lives");
        network.with(2, |node, now| {
            node.handle_message(now, address(teller), peer, boot, &gossip(last));
            assert!(node.repair.running.is_some());
        });
        let all = network.run_until(SECOND * 60, |n| known(n) == 1_002);
        assert!(all.is_some_and(|after| after < SECOND * 4), "{all:?}, {} known", known(&network));
    }
}
