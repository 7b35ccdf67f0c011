//! Who is alive: SWIM [Das, Gupta, Motivala, DSN 2002] with Lifeguard [Dadgar, Phillips, Currey,
//! arXiv 1707.00788].
//!
//! Decides which members are alive, suspect, dead or left, as this node sees it. It does not know
//! who leads, and nothing about leading rests on it: suspicion only says when to try.
//!
//! | file | decides |
//! |---|---|
//! | `interface` | nothing: what goes in and comes out |
//! | `precedence` | which of two rumours wins |
//! | `member` | what is kept of a member |
//! | `table` | the record of all members and its digest |
//! | `reach` | which addresses are never used |
//! | `contact` | whether a datagram's sender is who it says, at which address |
//! | `conflict` | when the second process of a name is told, and believes it |
//! | `rumour` | what follows from a rumour that wins |
//! | `probe` | whom to ping each interval, and when a round has failed |
//! | `relay` | whom to ask for pings, and how to answer who asks |
//! | `check` | the examination of a suspect, and when it is dead |
//! | `flap` | when a member that comes and goes is believed again |
//! | `suspicion` | how long a suspicion lasts |
//! | `awareness` | how far this node trusts itself |
//! | `lateness` | when this node has been late itself, and what it then forgets |
//! | `dissemination` | which rumours a message carries |
//! | `repair` | when tables are compared |
//!
//! Invariants
//! 1. The same inputs give the same outputs.
//! 2. No input of a peer panics, and none makes a table or queue grow beyond its named limit.
//! 3. Nobody but the member itself raises its incarnation; nobody is reachable again after a death
//!    without an answer of its own.
//! 4. A node whose own loop was late accuses nobody until it has caught up.
//! 5. No address is used for a member before the configuration gave it or the member answered a
//!    random number from there.

mod awareness;
mod check;
mod conflict;
mod contact;
mod dissemination;
mod flap;
mod interface;
mod lateness;
mod member;
mod params;
mod pings;
mod precedence;
mod probe;
mod reach;
mod relay;
mod repair;
mod ring;
mod rumour;
mod suspicion;
mod table;

#[cfg(test)]
mod alone;
#[cfg(test)]
mod gray;
#[cfg(test)]
mod network;
#[cfg(test)]
mod tests;

pub use conflict::Rival;
pub use contact::MAX_ADDRESSES;
pub use interface::{Counters, Event, Myself, Output, Refutation, Seed};
pub use member::{Health, Member};
pub use params::Params;
pub use reach::{Unusable, unusable};

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, Gossip, MemberState, Message, NodeId, Update, Updates};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::rng::Rng;
use crate::time::{Deadline, Instant};
use awareness::Awareness;
use check::{Answers, Check};
use conflict::Word;
use contact::{Proof, Standing};
use dissemination::Dissemination;
use pings::Pings;
use probe::Round;
use repair::Repair;
use ring::Ring;
use rumour::HIGHEST_INCARNATION;
use table::Table;

/// The most outputs that wait to be taken.
const MAX_OUTPUTS: usize = 4_096;
/// The shortest probe interval; a shorter one is taken for this.
const MIN_PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// The most members that are told of a leave.
const MAX_FAREWELLS: usize = 64;
/// How many members hear at once of an accusation, a death or a refutation.
const FANOUT: usize = 3;
/// The most datagrams that carry such news at once, per probe interval.
const MAX_EAGER: u32 = 24;

/// Who is alive, as this node sees it.
#[derive(Clone, Debug)]
pub struct Membership {
    params: Params,
    me: Myself,
    has_left: bool,
    rng: Rng,
    table: Table,
    queue: Dissemination,
    awareness: Awareness,
    pings: Pings,
    voters: Ring,
    others: Ring,
    steps: u64,
    next_round: Instant,
    round: Option<Round>,
    checks: BTreeMap<NodeId, Check>,
    answers: Answers,
    proofs: BTreeMap<NodeId, Proof>,
    /// Which voters say that this node's name is taken.
    words: BTreeMap<NodeId, Word>,
    /// First pings to seeds, the earliest last.
    greetings: Vec<(Instant, NodeId)>,
    /// When a lost member is called next.
    next_call: Instant,
    /// Members whose return is put off.
    held: BTreeSet<NodeId>,
    /// When a member last returned from the dead at once.
    last_return: Option<Instant>,
    /// Where the search for lost members goes on.
    last_called: Option<NodeId>,
    repair: Repair,
    /// When anything last came in.
    last_input: Instant,
    /// When this node last ran again after a pause of its own.
    late_until: Instant,
    /// Until then nobody is accused.
    catching_up_until: Instant,
    eager_left: u32,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Membership {
    /// A node that knows nobody but `seeds`, and greets the voters among them at once.
    #[must_use]
    pub fn new(
        mut params: Params,
        me: Myself,
        seeds: Vec<Seed>,
        rng_seed: u64,
        now: Instant,
    ) -> Self {
        params.probe_interval = params.probe_interval.max(MIN_PROBE_INTERVAL);
        let mut rng = Rng::new(rng_seed);
        let pings = Pings::new(&mut rng);
        let next_round = now + rng.duration_below(params.probe_interval);
        let mut membership = Self {
            params,
            me,
            has_left: false,
            rng,
            table: Table::default(),
            queue: Dissemination::default(),
            awareness: Awareness::default(),
            pings,
            voters: Ring::default(),
            others: Ring::default(),
            steps: 0,
            next_round,
            round: None,
            checks: BTreeMap::new(),
            answers: Answers::default(),
            next_call: now,
            held: BTreeSet::new(),
            last_return: None,
            proofs: BTreeMap::new(),
            words: BTreeMap::new(),
            greetings: Vec::new(),
            last_called: None,
            repair: Repair::default(),
            last_input: now,
            late_until: Instant::ZERO,
            catching_up_until: Instant::ZERO,
            eager_left: MAX_EAGER,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        };
        for seed in seeds.into_iter().filter(|seed| seed.id != me.id) {
            let mut member = Member::new(seed.id, seed.address, now);
            member.voter = seed.voter;
            member.seed = true;
            membership.table.insert(member);
        }
        membership.queue.spread(membership.own_update());
        membership.plan_greetings(now);
        membership
    }

    /// Takes a datagram in that was decoded; election messages are only evidence of contact.
    pub fn handle_message(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: NodeId,
        boot: Boot,
        message: &Message,
    ) {
        if self.has_left {
            return;
        }
        self.notice_lateness(now);
        if let Message::Ack(ack) = message {
            self.on_proof(now, from, sender, boot, ack.number);
            self.on_holder_ack(from, sender, boot, ack.number);
        }
        let standing = self.contact(now, from, sender, boot);
        match message {
            Message::Ping(ping) => match standing {
                Standing::Known => {
                    self.on_updates(now, sender, &ping.updates);
                    self.on_ping(now, from, sender, ping);
                }
                Standing::Unproven => self.answer_stranger(from, sender, ping.number),
                Standing::Refused => {}
            },
            _ if standing != Standing::Known => {}
            Message::Ack(ack) => {
                self.on_updates(now, sender, &ack.updates);
                self.on_ack(now, sender, ack);
            }
            Message::PingReq(request) => {
                self.on_updates(now, sender, &request.updates);
                self.on_ping_req(now, from, sender, request);
            }
            Message::Nack(nack) => self.on_nack(now, sender, nack),
            Message::RelayedAck(ack) => self.on_relayed_ack(now, ack),
            Message::Gossip(gossip) => {
                self.on_updates(now, sender, &gossip.updates);
                self.on_chunk(now, sender, &gossip.updates);
            }
            Message::Pull(pull) => self.on_pull(now, from, sender, pull),
            Message::Conflict(said) => self.on_conflict(now, from, sender, boot, said),
            Message::Canvass(_)
            | Message::CanvassReply(_)
            | Message::Election(_)
            | Message::Answer(_)
            | Message::Coordinator(_)
            | Message::Acknowledge(_)
            | Message::Release(_)
            | Message::Inquire(_)
            | Message::Report(_)
            | Message::StepDown(_)
            | Message::Offer(_)
            | Message::Ready(_)
            | Message::Go(_)
            | Message::Hearing(_) => {}
        }
    }

    /// Takes note of any other valid datagram: contact, not a round trip.
    pub fn heard_from(&mut self, now: Instant, from: SocketAddr, sender: NodeId, boot: Boot) {
        if !self.has_left {
            self.notice_lateness(now);
            self.contact(now, from, sender, boot);
        }
    }

    /// Takes note of a round trip with a member that was measured elsewhere.
    pub fn round_trip(&mut self, now: Instant, member: NodeId, took: Duration) {
        if !self.has_left {
            self.notice_lateness(now);
            if now.since(self.late_until) >= took {
                self.table.edit(member, |member| member.add_round_trip(took));
            }
            self.on_answer(now, member);
        }
    }

    /// The time of a deadline has come; harmless when early, late or repeated.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.has_left {
            return;
        }
        self.notice_lateness(now);
        self.greet(now);
        self.send_nacks(now);
        self.retry_proofs(now);
        self.pull_again(now);
        self.advance_round(now);
        self.advance_checks(now);
        self.judge_suspects(now);
        if now >= self.next_round {
            self.next_round = now + self.interval();
            self.eager_left = MAX_EAGER;
            self.pings.forget_old(now);
            self.repair.refill();
            self.call_strays(now);
            self.forget_rivals(now);
            self.start_round(now);
        }
        self.call_on(now);
    }

    /// The next thing to do, `None` when there is nothing more at this moment.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to be woken next; `None` after a leave.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.has_left {
            return None;
        }
        let deadline = |at: Option<Instant>, reason| at.map(|at| Deadline { at, reason });
        let all = [
            deadline(Some(self.next_round), "probe"),
            deadline(self.round.as_ref().map(Round::due), "probe_round"),
            deadline(self.calls_at(), "call"),
            deadline(self.checks.values().map(Check::due).min(), "check"),
            deadline(self.next_verdict(), "suspicion"),
            deadline(self.proofs.values().map(Proof::due).min(), "address_proof"),
            deadline(self.repair.due(), "repair"),
            deadline(self.pings.next_nack(), "nack"),
            deadline(self.greetings.last().map(|greeting| greeting.0), "greeting"),
        ];
        all.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    /// Says `left` to the members and falls silent: later inputs are ignored.
    pub fn leave(&mut self, now: Instant) {
        if self.has_left {
            return;
        }
        self.notice_lateness(now);
        // One incarnation more, so that nothing said of this boot before outranks the leave.
        self.me.incarnation = self.me.incarnation.saturating_add(1).min(HIGHEST_INCARNATION);
        self.has_left = true;
        let update = self.own_update();
        self.queue.spread(update);
        let mut told: Vec<(bool, NodeId)> = self
            .table
            .iter()
            .filter(|member| member.health.is_reachable())
            .map(|member| (!member.voter, member.id))
            .collect();
        told.sort_unstable();
        for (_, member) in told.into_iter().take(MAX_FAREWELLS) {
            self.gossip_to(member, Some(update));
        }
    }

    /// The member of that name.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.table.get(id)
    }

    /// Every other node of the table, in the order of names.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.table.iter()
    }

    /// Lifeguard's score: 0 when this node trusts itself, 8 at worst.
    #[must_use]
    pub const fn local_health(&self) -> u32 {
        self.awareness.score()
    }

    /// Counters since the start of the process.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// This node's own incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.me.incarnation
    }

    /// Digest of this node's view: equal on nodes that hold the same members for reachable, under
    /// the same boots and incarnations.
    #[must_use]
    pub fn digest(&self) -> u32 {
        self.table.digest(table::mark(self.me.id, self.me.boot.sequence, self.me.incarnation))
    }

    fn own_update(&self) -> Update {
        Update {
            member: self.me.id,
            address: self.me.address,
            sequence: self.me.boot.sequence,
            incarnation: self.me.incarnation,
            state: if self.has_left { MemberState::Left } else { MemberState::Alive },
        }
    }

    /// The probe interval, stretched by local health [Lifeguard §IV-A].
    fn interval(&self) -> Duration {
        self.params.probe_interval * self.awareness.factor()
    }

    /// Reachable members and this node.
    const fn size(&self) -> usize {
        self.table.reachable() + 1
    }

    /// Takes news up, and tells some members at once.
    fn announce(&mut self, update: Update) {
        self.spread(update);
        for member in self.pick(FANOUT, &[update.member]) {
            self.gossip_eagerly(member);
        }
    }

    fn spread(&mut self, update: Update) {
        self.repair.note_news(self.last_input, &update);
        if !self.queue.spread(update) {
            self.counters.overflows += 1;
        }
    }

    /// Somebody new is there (see `dissemination`, invariant 4).
    fn spread_arrival(&mut self, update: Update) {
        if !self.queue.is_crowded() {
            self.spread(update);
        }
    }

    fn gossip_eagerly(&mut self, member: NodeId) {
        if self.eager_left == 0 {
            self.counters.overflows += 1;
            return;
        }
        self.eager_left -= 1;
        let first = self.news_about(member);
        self.gossip_to(member, first);
    }

    fn gossip_to(&mut self, member: NodeId, first: Option<Update>) {
        let Some(to) = self.table.get(member).and_then(|member| member.address) else { return };
        let updates = self.queue.fill(member, first, self.size());
        self.send(to, member, Message::Gossip(Gossip { beacon: None, updates }));
    }

    /// What is said of a member that it should answer: it is told before anything else.
    fn news_about(&self, member: NodeId) -> Option<Update> {
        let member = self.table.get(member)?;
        match member.health {
            Health::Suspect | Health::Dead | Health::Left => member.update(),
            Health::Unknown | Health::Alive => None,
        }
    }

    /// The rumours for a message to `member`.
    fn updates_for(&mut self, member: NodeId) -> Updates {
        let first = self.news_about(member);
        self.queue.fill(member, first, self.size())
    }

    /// Up to `count` reachable members in good standing, at random, none of `except`.
    fn pick(&mut self, count: usize, except: &[NodeId]) -> Vec<NodeId> {
        let total = self.voters.len() + self.others.len();
        let start = self.rng.below(total as u64) as usize;
        let table = &self.table;
        let rings = self.voters.iter().chain(self.others.iter());
        rings
            .clone()
            .skip(start)
            .chain(rings.take(start))
            .filter(|id| !except.contains(id))
            .filter(|&id| table.get(id).is_some_and(|member| member.health == Health::Alive))
            .take(count)
            .collect()
    }

    fn send(&mut self, to: SocketAddr, member: NodeId, message: Message) {
        self.push(Output::Send { to, member, message });
    }

    fn tell(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    fn push(&mut self, output: Output) {
        if self.outputs.len() >= MAX_OUTPUTS {
            self.counters.overflows += 1;
        } else {
            self.outputs.push_back(output);
        }
    }
}
