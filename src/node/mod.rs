//! The one machine that driver and simulator hold: membership and election, coupled.
//!
//! The two machines do not know each other. This is the one address of "suspicion feeds the election":
//! what membership says of a voter becomes its standing in the election, what the election measures
//! becomes a round trip in membership, and the leader's beacon rides on membership's messages.
//!
//! The driver's duty: feed one input at a time with the present moment, drain the outputs to `None`
//! after each, carry them out in order, and wake the node at its deadline. Early, late and repeated
//! timeouts are harmless.
//!
//! Invariants
//! 1. An election message counts only from a voter, and only from where the configuration has that
//!    voter, or from where the same process has proved to be after it had spoken from there.
//! 2. At any moment one process of a voter is heard by the election: the one that membership knows.
//! 3. A node whose name another live process has hears and says nothing any more.

mod beacons;
pub mod event;
mod farewell;
mod hearing;
mod io;
mod report;
pub mod status;
mod why;

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, Envelope, Kind, Message, NodeId};
use std::collections::{BTreeMap, VecDeque};

pub use crate::election::Reply;
pub use crate::election::record::Write;
pub use crate::time::Deadline;
pub use event::Event;
pub use farewell::Farewell;
pub use io::{Command, Input, Output, Params, Peer, Persisted};
pub use status::Status;
pub use why::Why;

use self::beacons::Beacons;
use self::hearing::Hearings;
use crate::election::core::Core;
use crate::election::record::Restored;
use crate::election::{self, Machine, Setup, Standing, VoterSet};
use crate::membership::{self, Health, Membership, Myself, Seed};
use crate::time::Instant;

/// Between two events about one voter's name under a foreign address; all are counted.
const FOREIGN_SPACING: Duration = Duration::from_secs(10);

/// The most outputs that wait for the driver; datagrams beyond it are dropped and counted.
const MAX_OUTPUTS: usize = 16_384;

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    id: NodeId,
    boot: Boot,
    started_at: Instant,
    started_unix: u64,
    set: VoterSet,
    membership: Membership,
    machine: Machine,
    beacons: Beacons,
    hearings: Hearings,
    /// When the use of a voter's name from a foreign address was last told of.
    foreign_told: BTreeMap<NodeId, Instant>,
    /// Another live process has this node's name: it says and hears nothing any more.
    name_taken: bool,
    /// It has been told to stop, and still leads.
    leaving: bool,
    outputs: VecDeque<Output>,
    now: Instant,
    foreign_addresses: u64,
    overflows: u64,
    /// Late loops that the election knows of.
    late_loops: u64,
}

impl Node {
    /// A node at the start of its process, with what its stores say.
    #[must_use]
    pub fn new(params: Params, restored: Restored, now: Instant) -> Self {
        let Params { id, boot, started_unix, address, voter_set: set, peers, .. } = params;
        let interval = params.membership.probe_interval;
        let voters = u32::try_from(set.len()).unwrap_or(u32::MAX);
        let h = params.election.heartbeat_interval;
        let setup = Setup {
            me: id,
            boot,
            started_unix,
            set: set.clone(),
            params: params.election,
            evidence_window: (h * 2).max(interval.saturating_mul(voters.saturating_mul(2))),
            seed: params.seed,
        };
        let seed =
            |peer: &Peer| Seed { id: peer.id, address: peer.address, voter: set.contains(peer.id) };
        let me = Myself { id, boot, address, incarnation: 0, voter: set.contains(id) };
        let seeds = peers.iter().map(seed).collect();
        let mut node = Self {
            id,
            boot,
            started_at: now,
            started_unix,
            foreign_told: BTreeMap::new(),
            name_taken: false,
            leaving: false,
            membership: Membership::new(params.membership, me, seeds, params.seed ^ 0x5eed, now),
            machine: Machine::new(setup, restored, now),
            beacons: Beacons::default(),
            hearings: Hearings::new(id, &set, interval),
            outputs: VecDeque::new(),
            now,
            foreign_addresses: 0,
            overflows: 0,
            late_loops: 0,
            set,
        };
        node.drain();
        node
    }

    /// Tells the node, at its start, at which Unix seconds it started after an end that was not clean; 0
    /// says nothing. Those of the last hour count against its stability.
    pub fn remember_unclean_starts(&mut self, now: Instant, starts: &[u64]) {
        self.machine.remember_unclean_starts(now, starts);
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = now;
        if self.name_taken {
            return;
        }
        match input {
            Input::Datagram { from, envelope } => self.on_datagram(now, from, &envelope),
            Input::Timeout => {
                self.membership.handle_timeout(now);
                self.ask_voters(now);
                self.drain_membership();
                self.machine.handle_timeout(now);
                self.review(now);
            }
            Input::Command { number, command } => self.on_command(now, number, command),
            Input::Persisted(Persisted { number, done }) => {
                self.machine.persisted(now, number, done);
            }
        }
        self.drain();
    }

    /// Once an interval: what this voter hears is told when it has changed, and what the others hear of
    /// it becomes its centrality.
    fn review(&mut self, now: Instant) {
        let Some(row) = self.hearings.review(now, &self.membership) else {
            self.machine.set_centrality(self.hearings.centrality());
            return;
        };
        let others = self.set.ids().iter().filter(|&&id| id != self.id);
        let others: Vec<SocketAddr> = others.filter_map(|&id| self.address_of(id)).collect();
        for to in others {
            self.push(Output::Send { to, message: row.clone() });
        }
        self.machine.set_centrality(self.hearings.centrality());
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the node wants to be woken.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.name_taken {
            return None;
        }
        let deadlines = [self.membership.poll_timeout(), self.machine.poll_timeout(self.now)];
        deadlines.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }

    /// Whether this node leads at `now`.
    #[must_use]
    pub fn is_leader(&self, now: Instant) -> bool {
        self.machine.leads(now)
    }

    /// What decides safety here, for whoever checks it; `None` on an observer.
    #[must_use]
    pub const fn core(&self) -> Option<&Core> {
        self.machine.core()
    }

    /// Whether a node that was told to stop has said its last word.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        !self.leaving
    }

    fn on_command(&mut self, now: Instant, number: u64, command: Command) {
        match command {
            Command::Trigger => self.machine.trigger(now, number),
            Command::StepDown => self.machine.step_down(now, number),
            Command::Transfer { to } => self.machine.transfer(now, number, to),
            Command::Drain => self.machine.drain(now, number),
            Command::Resume => self.machine.resume(now, number),
            Command::WorkEnded { term } => self.machine.work_ended(now, term),
            Command::GiveUp { cause } => self.machine.give_up(now, cause),
            Command::StoreChecked { problem } => self.machine.store_checked(now, problem),
            Command::Resolved { peer, addresses } => {
                self.membership.resolved(now, peer, &addresses);
            }
            Command::Stop => {
                self.machine.stop(now);
                self.leaving = true;
            }
        }
    }

    fn on_datagram(&mut self, now: Instant, from: SocketAddr, envelope: &Envelope) {
        let Envelope { sender, boot, message } = envelope;
        if *sender == self.id {
            // An echo, or another process under this name: neither is a peer.
            self.foreign_addresses += u64::from(*boot != self.boot);
            return;
        }
        if is_membership(message.kind()) {
            self.on_membership(now, from, envelope);
            return;
        }
        if !self.set.contains(*sender) {
            self.foreign_addresses += 1;
            return;
        }
        self.membership.heard_from(now, from, *sender, *boot);
        self.drain_membership();
        let member = self.membership.member(*sender);
        if member.is_some_and(|member| member.speaks_for_itself(from, boot.nonce)) {
            match message {
                Message::Hearing(hearing) => self.hearings.hear(now, *sender, hearing),
                _ => self.machine.on_message(now, *sender, boot.nonce, message),
            }
        } else {
            self.on_foreign_address(now, *sender);
        }
    }

    /// An election message that does not count (invariants 1 and 2).
    fn on_foreign_address(&mut self, now: Instant, voter: NodeId) {
        self.foreign_addresses += 1;
        let told = self.foreign_told.get(&voter);
        if told.is_none_or(|&told| now.since(told) >= FOREIGN_SPACING) {
            self.foreign_told.insert(voter, now);
            self.push(Output::Notify(Event::ForeignAddress { voter }));
        }
    }

    fn on_membership(&mut self, now: Instant, from: SocketAddr, envelope: &Envelope) {
        let Envelope { sender, boot, message } = envelope;
        self.beacons.heard(*sender, message);
        self.membership.handle_message(now, from, *sender, *boot, message);
        self.drain_membership();
        self.beacons.answered();
        let beacon = match message {
            Message::Ping(ping) => ping.beacon,
            Message::Ack(ack) => ack.beacon,
            Message::Gossip(gossip) => gossip.beacon,
            _ => None,
        };
        if let Some(beacon) = beacon
            && self.membership.member(*sender).is_some_and(|m| m.nonce == Some(boot.nonce))
        {
            let own = (beacon.leader, beacon.nonce) == (*sender, boot.nonce);
            let asked_at = self.beacons.asked_at(*sender, message);
            if let Some(asked_at) = asked_at.or_else(|| own.then_some(now)) {
                self.machine.on_beacon(now, asked_at, *sender, &beacon);
            } else if self.machine.follows(now).is_none_or(|known| known.term < beacon.term)
                && !self.machine.leads(now)
                && self.beacons.takes_hint(now, self.membership.probe_interval())
            {
                self.membership.ask(now, *sender);
                self.drain_membership();
            }
        }
    }

    // ---- Handing on ---------------------------------------------------------------------------

    fn drain(&mut self) {
        self.drain_membership();
        self.drain_machine();
        if self.leaving && self.machine.core().is_none_or(|core| core.leading_term().is_none()) {
            self.leaving = false;
            self.membership.leave(self.now);
        }
        self.drain_membership();
    }

    fn push(&mut self, output: Output) {
        let droppable = matches!(output, Output::Send { .. } | Output::Notify(_));
        if droppable && self.outputs.len() >= MAX_OUTPUTS {
            self.overflows += 1;
            return;
        }
        self.outputs.push_back(output);
    }

    fn drain_membership(&mut self) {
        let late_loops = self.membership.counters().late_loops;
        if late_loops > self.late_loops {
            self.late_loops = late_loops;
            self.machine.resumed(self.now);
        }
        while let Some(output) = self.membership.poll_output() {
            match output {
                membership::Output::Send { to, member, mut message } => {
                    let wants = self.machine.wants_beacon(self.now);
                    let beacon = self.machine.to_beacon(self.now);
                    self.beacons.decorate(self.now, member, &mut message, wants, beacon);
                    self.push(Output::Send { to, message });
                }
                membership::Output::Event(event) => {
                    self.push(Output::Notify(Event::Member(event)));
                    match event.member() {
                        Some(member) => self.retell(member),
                        None => self.end(),
                    }
                }
                membership::Output::RoundTrip { member, took } => {
                    self.machine.round_trip(self.now, member, took);
                }
            }
        }
    }

    /// Tells the election what membership now says of a voter.
    fn retell(&mut self, id: NodeId) {
        let Some(member) = self.membership.member(id).filter(|_| self.set.contains(id)) else {
            return;
        };
        if member.health == Health::Alive {
            self.hearings.tell_again();
        }
        let standing = match member.health {
            Health::Unknown => Standing::Unknown,
            Health::Alive => Standing::Well,
            Health::Suspect => Standing::Suspected(member.since),
            Health::Dead | Health::Left => Standing::Gone(member.since),
        };
        self.machine.standing(self.now, id, standing);
    }

    fn drain_machine(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                election::Output::Persist { number, write } => {
                    self.push(Output::Persist { number, write });
                }
                election::Output::Send { to, message } => {
                    if let Some(to) = self.address_of(to) {
                        self.push(Output::Send { to, message });
                    }
                }
                election::Output::Notify(event) => {
                    self.push(Output::Notify(Event::Election(event)));
                    self.spread(event);
                }
                election::Output::EndWork { term, cause, by } => {
                    self.push(Output::EndWork { term, cause, by });
                }
                election::Output::RoundTrip { voter, took } => {
                    self.membership.round_trip(self.now, voter, took);
                }
                election::Output::Reply { number, reply } => {
                    self.push(Output::Reply { number, reply });
                }
            }
        }
    }

    /// Another process has this node's name (invariant 3). What it led or stood for ends.
    fn end(&mut self) {
        self.machine.halt(self.now);
        self.drain_machine();
        self.name_taken = true;
    }

    fn address_of(&self, voter: NodeId) -> Option<SocketAddr> {
        self.membership.member(voter).and_then(membership::Member::seat)
    }

    /// Nothing was heard of a leader for half its lease: voters are asked. Membership wakes the node
    /// every probe interval, so this needs no deadline of its own.
    fn ask_voters(&mut self, now: Instant) {
        let known = self.machine.follows(now);
        let fresh = known.is_some_and(|known| now.since(known.heard_at) < known.lease / 2);
        if self.machine.leads(now) || (fresh && !self.machine.leader_suspected(now)) {
            return;
        }
        let voters = self.membership.members().filter(|m| m.voter && m.health.is_reachable());
        let voters: Vec<NodeId> = voters.map(|member| member.id).collect();
        for voter in self.beacons.whom_to_ask(now, self.membership.probe_interval(), &voters) {
            self.membership.ask(now, voter);
        }
    }

    /// A change of leader rides on the next messages; a new leader tells the observers itself.
    fn spread(&mut self, event: election::Event) {
        match event {
            election::Event::LeaderChanged { .. } | election::Event::TermRaised { .. } => {
                self.beacons.news(self.membership.members().count());
                let leads = self.machine.leads(self.now);
                let Some(beacon) = self.machine.to_beacon(self.now).filter(|_| leads) else {
                    return;
                };
                let observer = |m: &&membership::Member| !m.voter && m.health.is_reachable();
                let observers = self.membership.members().filter(observer);
                let told: Vec<SocketAddr> = observers.filter_map(|m| m.address).collect();
                for to in told.into_iter().take(beacons::MAX_TOLD_AT_ONCE) {
                    self.push(Output::Send { to, message: beacons::gossip(beacon) });
                }
            }
            _ => {}
        }
    }
}

/// Whether a kind of message is membership's.
const fn is_membership(kind: Kind) -> bool {
    match kind {
        Kind::Ping
        | Kind::Ack
        | Kind::PingReq
        | Kind::Nack
        | Kind::RelayedAck
        | Kind::Gossip
        | Kind::Pull
        | Kind::Conflict => true,
        Kind::Canvass
        | Kind::CanvassReply
        | Kind::Election
        | Kind::Answer
        | Kind::Coordinator
        | Kind::Acknowledge
        | Kind::Release
        | Kind::Inquire
        | Kind::Report
        | Kind::StepDown
        | Kind::Offer
        | Kind::Ready
        | Kind::Go
        | Kind::Hearing => false,
    }
}

#[cfg(test)]
mod tests;
