//! A network of memberships in memory, under virtual time: the stage of this room's tests.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_wire::{Boot, Gossip, MemberState, Message, NodeId, Update};
use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Health, Membership, Myself, Output, Params, Seed};
use crate::rng::Rng;
use crate::time::Instant;

/// One way of every hop, before jitter of as much again.
const DELAY: Duration = Duration::from_millis(2);

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn at_ms(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

pub(super) fn name(number: usize) -> NodeId {
    NodeId::from_bytes(format!("node-{number:04}").as_bytes()).expect("a good name")
}

pub(super) fn address(number: usize) -> SocketAddr {
    let [_, _, high, low] = (number as u32 + 1).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), 8770)
}

pub(super) fn params() -> Params {
    Params {
        probe_interval: SECOND,
        probe_timeout: None,
        peer_timeout: SECOND * 60,
        open: false,
        max_members: 5_000,
    }
}

pub(super) fn suspicion_of(number: usize, incarnation: u32, by: usize) -> Update {
    let state = MemberState::Suspect { by: name(by) };
    Update { member: name(number), address: address(number), sequence: 1_000, incarnation, state }
}

pub(super) fn gossip(update: Update) -> Message {
    Message::Gossip(Gossip { beacon: None, updates: vec![update] })
}

/// From where, by whom, in which boot, and what it says.
type Datagram = (SocketAddr, usize, Boot, Message);

struct Host {
    /// `None` while it is down.
    node: Option<Membership>,
    boot: Boot,
    /// Until then it does nothing: a stopped process. Datagrams wait for it.
    stopped_until: Instant,
    backlog: Vec<Datagram>,
    /// When the node wants to be woken.
    due: Instant,
    events: Vec<(Instant, Event)>,
}

impl Host {
    fn new(number: usize) -> Self {
        Self {
            node: None,
            boot: Boot { sequence: 1_000, nonce: number as u64 },
            stopped_until: Instant::ZERO,
            backlog: Vec::new(),
            due: Instant::NEVER,
            events: Vec::new(),
        }
    }
}

/// Several memberships and the links between them.
pub(super) struct Network {
    pub(super) now: Instant,
    rng: Rng,
    params: Params,
    voters: usize,
    hosts: Vec<Host>,
    queue: BTreeMap<(Instant, u64), (usize, Datagram)>,
    sent: u64,
    /// Every link loses so many of 1,000.
    pub(super) loss: u64,
    /// Hosts whose outward datagrams are lost, so many of 1,000.
    pub(super) mute: BTreeMap<usize, u64>,
    /// Directed links that lose everything.
    pub(super) cut: BTreeSet<(usize, usize)>,
    /// One way of every hop, before jitter of as much again.
    pub(super) delay: Duration,
    pub(super) datagrams: u64,
    /// How many of them asked for a chunk of a table.
    pub(super) pulls: u64,
    pub(super) largest: usize,
}

impl Network {
    /// `count` hosts that all know each other from the configuration, the first `voters` as voters.
    pub(super) fn new(count: usize, voters: usize, params: Params, seed: u64) -> Self {
        let mut network = Self {
            now: Instant::ZERO + SECOND * 100,
            rng: Rng::new(seed),
            params,
            voters,
            hosts: Vec::new(),
            queue: BTreeMap::new(),
            sent: 0,
            loss: 0,
            mute: BTreeMap::new(),
            cut: BTreeSet::new(),
            delay: DELAY,
            datagrams: 0,
            pulls: 0,
            largest: 0,
        };
        network.hosts = (0..count).map(Host::new).collect();
        for number in 0..count {
            let seeds = (0..count).collect::<Vec<_>>();
            network.boot(number, &seeds);
        }
        network
    }

    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// A host that is not in the configuration of the others.
    pub(super) fn add_stranger(&mut self, seeds: &[usize]) -> usize {
        let number = self.hosts.len();
        self.hosts.push(Host::new(number));
        self.boot(number, seeds);
        number
    }

    fn boot(&mut self, number: usize, seeds: &[usize]) {
        let seeds = seeds.iter().map(|&seed| Seed {
            id: name(seed),
            address: Some(address(seed)),
            voter: seed < self.voters,
        });
        let me = Myself {
            id: name(number),
            boot: self.hosts[number].boot,
            address: address(number),
            incarnation: 0,
            voter: number < self.voters,
        };
        let seed = self.rng.next_u64();
        let node = Membership::new(self.params.clone(), me, seeds.collect(), seed, self.now);
        self.hosts[number].node = Some(node);
        self.hosts[number].stopped_until = Instant::ZERO;
    }

    pub(super) fn kill(&mut self, number: usize) {
        self.hosts[number].node = None;
        self.hosts[number].backlog.clear();
    }

    /// A new process of that name, on the same address.
    pub(super) fn restart(&mut self, number: usize, boot: Boot) {
        let seeds = (0..self.len()).collect::<Vec<_>>();
        self.restart_knowing(number, boot, &seeds);
    }

    /// The same, with only those in its configuration.
    pub(super) fn restart_knowing(&mut self, number: usize, boot: Boot, seeds: &[usize]) {
        self.kill(number);
        self.hosts[number].boot = boot;
        self.boot(number, seeds);
    }

    pub(super) fn stop_for(&mut self, number: usize, length: Duration) {
        self.hosts[number].stopped_until = self.now + length;
    }

    pub(super) fn node(&self, number: usize) -> &Membership {
        self.hosts[number].node.as_ref().expect("it is up")
    }

    /// Does something to a node, and carries out what it wants.
    pub(super) fn with(&mut self, number: usize, act: impl FnOnce(&mut Membership, Instant)) {
        let now = self.now;
        if let Some(node) = &mut self.hosts[number].node {
            act(node, now);
        }
        self.drain(number);
    }

    pub(super) fn events(&self, number: usize) -> impl Iterator<Item = (Instant, Event)> {
        self.hosts[number].events.iter().copied()
    }

    pub(super) fn deaths(&self) -> usize {
        let died = |host: &Host| {
            host.events
                .iter()
                .filter(|(_, event)| matches!(event, Event::MemberDied { .. }))
                .count()
        };
        self.hosts.iter().map(died).sum()
    }

    pub(super) fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(|&number| self.hosts[number].node.is_some())
    }

    pub(super) fn health(&self, at: usize, of: usize) -> Option<Health> {
        self.node(at).member(name(of)).map(|member| member.health)
    }

    /// Whether every node that is up has this opinion of `of`.
    pub(super) fn all_say(&self, of: usize, health: Health) -> bool {
        self.up().filter(|&at| at != of).all(|at| self.health(at, of) == Some(health))
    }

    pub(super) fn all_alive(&self) -> bool {
        self.up().all(|of| self.all_say(of, Health::Alive))
    }

    pub(super) fn same_digests(&self) -> bool {
        let digests: BTreeSet<u32> = self.up().map(|at| self.node(at).digest()).collect();
        digests.len() == 1
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, length: Duration) {
        self.run_until(length, |_| false);
    }

    /// Runs until the condition holds, and says after how long; `None` if it does not within `length`.
    pub(super) fn run_until(
        &mut self,
        length: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        for number in 0..self.len() {
            self.drain(number);
        }
        loop {
            if done(self) {
                return Some(self.now.since(start));
            }
            let timer = (0..self.len()).filter_map(|number| self.wakes(number)).min();
            let arrival = self.queue.keys().next().map(|key| key.0);
            let next = timer.into_iter().chain(arrival).min().unwrap_or(Instant::NEVER);
            if next > start + length {
                self.now = start + length;
                return None;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn wakes(&self, number: usize) -> Option<Instant> {
        let host = &self.hosts[number];
        host.node.as_ref().map(|_| host.due.max(host.stopped_until))
    }

    fn step(&mut self) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, datagram) = entry.remove();
            self.hosts[to].backlog.push(datagram);
            self.deliver(to);
        }
        for number in 0..self.len() {
            if self.wakes(number).is_some_and(|at| at <= self.now) {
                self.deliver(number);
                self.with(number, |node, now| node.handle_timeout(now));
            }
        }
    }

    fn deliver(&mut self, to: usize) {
        if self.hosts[to].node.is_none() {
            self.hosts[to].backlog.clear();
        }
        if self.hosts[to].stopped_until > self.now {
            return;
        }
        for (from, sender, boot, message) in core::mem::take(&mut self.hosts[to].backlog) {
            self.with(to, |node, now| {
                node.handle_message(now, from, name(sender), boot, &message);
            });
        }
    }

    fn drain(&mut self, number: usize) {
        loop {
            let host = &mut self.hosts[number];
            let Some(node) = &mut host.node else { return };
            let Some(output) = node.poll_output() else {
                host.due = node.poll_timeout().map_or(Instant::NEVER, |deadline| deadline.at);
                return;
            };
            match output {
                Output::Event(event) => host.events.push((self.now, event)),
                Output::RoundTrip { .. } => {}
                Output::Send { to, message, .. } => self.carry(number, to, message),
            }
        }
    }

    fn carry(&mut self, from: usize, to: SocketAddr, message: Message) {
        self.datagrams += 1;
        self.pulls += u64::from(matches!(message, Message::Pull(_)));
        self.largest = self.largest.max(updates_of(&message));
        let IpAddr::V4(to) = to.ip() else { return };
        let to = (to.to_bits() & 0xffff) as usize - 1;
        if to >= self.len() {
            return;
        }
        let mute = self.mute.get(&from).copied().unwrap_or(0);
        let lost = self.rng.below(1_000) < self.loss || self.rng.below(1_000) < mute;
        if lost || self.cut.contains(&(from, to)) {
            return;
        }
        self.sent += 1;
        let arrives = self.now + self.delay + self.rng.duration_below(self.delay);
        let boot = self.hosts[from].boot;
        self.queue.insert((arrives, self.sent), (to, (address(from), from, boot, message)));
    }

    /// Cuts every link between the two sides.
    pub(super) fn split(&mut self, one: &[usize], other: &[usize]) {
        for &a in one {
            for &b in other {
                self.cut.insert((a, b));
                self.cut.insert((b, a));
            }
        }
    }
}

/// Upper bound of the bytes that a message's rumours take.
fn updates_of(message: &Message) -> usize {
    let updates = match message {
        Message::Ping(ping) => &ping.updates,
        Message::Ack(ack) => &ack.updates,
        Message::PingReq(request) => &request.updates,
        Message::Gossip(gossip) => &gossip.updates,
        _ => return 0,
    };
    updates.iter().map(super::dissemination::size_of).sum()
}
