//! Whole nodes on a network in memory, under virtual time: what is sent arrives after one to three
//! milliseconds, what is written is written at once.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_p2p::config::{self, Config, node_params};
use ringrift_p2p::election::record::{Restored, RestoredPromise, VoteRecord};
use ringrift_p2p::node::{Command, Event, Input, Node, Output, Persisted, Write};
use ringrift_p2p::rng::Rng;
use ringrift_p2p::time::Instant;
use ringrift_wire::{Boot, Envelope, Message, NodeId};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// L of [`voters`].
pub(crate) const LEASE: Duration = Duration::from_secs(4);

/// A name.
pub(crate) fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// An address.
pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Voters `v1` to `v5` on 10.0.0.1 to 10.0.0.5 with a heartbeat of one second; `more` follows.
pub(crate) fn voters(more: &str) -> Config {
    let hosts = (1..=5).map(|n| format!("  v{n}: {{address: 10.0.0.{n}}}\n")).collect::<String>();
    let text = format!(
        "voters: [v1, v2, v3, v4, v5]\nelection: {{heartbeat_interval: 1s, lease: 4s, \
         peer_timeout: 10s, election_timeout: 2s}}\nhosts:\n{hosts}{more}"
    );
    config::parse(&text).unwrap().config
}

/// One process.
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) boot: Boot,
    /// Where its datagrams come from and arrive.
    pub(crate) address: SocketAddr,
    pub(crate) record: Option<VoteRecord>,
    /// It stands still, and what arrives is lost.
    pub(crate) stopped: bool,
    pub(crate) events: Vec<(Instant, Event)>,
}

/// All processes and what is under way.
pub(crate) struct Net {
    pub(crate) now: Instant,
    rng: Rng,
    /// That of processes that start from now on.
    pub(crate) config: Config,
    pub(crate) processes: Vec<Process>,
    under_way: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Envelope)>,
    sent: u64,
    /// From and to: nothing passes.
    pub(crate) cut: BTreeSet<(SocketAddr, SocketAddr)>,
    boots: u64,
    /// Moments at which two nodes led.
    pub(crate) double: Vec<Instant>,
}

impl Net {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self {
            now: Instant::ZERO + SECOND * 1_000,
            rng: Rng::new(seed),
            config,
            processes: Vec::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            boots: 0,
            double: Vec::new(),
        }
    }

    /// The five voters, started, and an hour of theirs not yet begun.
    pub(crate) fn of_voters(config: Config, seed: u64) -> Self {
        let mut net = Self::new(config, seed);
        for n in 1..=5 {
            net.start(&format!("v{n}"), at(&format!("10.0.0.{n}:8770")), None);
        }
        net
    }

    /// A process of that name at that address, which says the same of itself.
    pub(crate) fn start(
        &mut self,
        name: &str,
        address: SocketAddr,
        record: Option<VoteRecord>,
    ) -> usize {
        self.start_saying(name, address, address, record)
    }

    /// The same, which says another address of itself.
    pub(crate) fn start_saying(
        &mut self,
        name: &str,
        address: SocketAddr,
        says: SocketAddr,
        record: Option<VoteRecord>,
    ) -> usize {
        self.boots += 1;
        let unix = 1_766_000_000 + self.now.as_nanos() / 1_000_000_000;
        let boot = Boot { sequence: unix + self.boots, nonce: self.rng.next_u64() };
        let seed = self.rng.next_u64();
        let params = node_params(&self.config, id(name), boot, unix, says, seed);
        let promise = RestoredPromise::Unknown { last_possible: self.now };
        let restored = Restored { record, promise, may_release: record.is_some() };
        let node = Node::new(params, restored, self.now);
        let (stopped, events) = (false, Vec::new());
        self.processes.push(Process { node, boot, address, record, stopped, events });
        let number = self.processes.len() - 1;
        self.drain(number);
        number
    }

    pub(crate) fn node(&self, number: usize) -> &Node {
        &self.processes[number].node
    }

    /// Ends a process as `kill -9` does; its number stays taken.
    pub(crate) fn kill(&mut self, number: usize) {
        self.processes[number].stopped = true;
    }

    pub(crate) fn leaders(&self) -> Vec<usize> {
        let leads = |&number: &usize| {
            !self.processes[number].stopped && self.node(number).is_leader(self.now)
        };
        (0..self.processes.len()).filter(leads).collect()
    }

    /// Who leads, in the view of a node.
    pub(crate) fn seen_by(&self, number: usize) -> Option<NodeId> {
        self.node(number).status(self.now).leader_at(self.now)
    }

    pub(crate) fn says(&self, number: usize, is: impl Fn(&Event) -> bool) -> bool {
        self.processes[number].events.iter().any(|(_, event)| is(event))
    }

    pub(crate) fn command(&mut self, number: usize, command: Command) {
        let now = self.now;
        self.processes[number].node.handle_input(now, Input::Command { number: 0, command });
        self.drain(number);
    }

    /// Hands a node a datagram that nobody of the network has sent.
    pub(crate) fn forge(&mut self, to: usize, from: SocketAddr, envelope: Envelope) {
        let now = self.now;
        self.processes[to].node.handle_input(now, Input::Datagram { from, envelope });
        self.drain(to);
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.processes[number].node.poll_output() {
            match output {
                Output::Persist { number: request, write } => {
                    if let Write::Record(record) = write {
                        self.processes[number].record = Some(record);
                    }
                    let done = Persisted { number: request, done: true };
                    let now = self.now;
                    self.processes[number].node.handle_input(now, Input::Persisted(done));
                }
                Output::Send { to, message } => self.carry(number, to, message),
                Output::Notify(event) => {
                    let now = self.now;
                    self.processes[number].events.push((now, event));
                }
                Output::EndWork { .. } | Output::Reply { .. } => {}
            }
        }
        if self.leaders().len() > 1 {
            self.double.push(self.now);
        }
    }

    fn carry(&mut self, number: usize, to: SocketAddr, message: Message) {
        let Process { node: _, boot, address, .. } = self.processes[number];
        let sender = self.node(number).status(self.now).node;
        self.sent += 1;
        if self.cut.contains(&(address, to)) {
            return;
        }
        let arrives = self.now + MILLISECOND + self.rng.duration_below(MILLISECOND * 2);
        let envelope = Envelope { sender, boot, message };
        self.under_way.insert((arrives, self.sent), (to, address, envelope));
    }

    fn step(&mut self, until: Instant) -> bool {
        let running = self.processes.iter().enumerate().filter(|(_, process)| !process.stopped);
        let due = running.filter_map(|(n, p)| Some((p.node.poll_timeout()?.at, n))).min();
        let next = self.under_way.first_key_value().map(|(key, _)| key.0);
        let timer = due.filter(|(at, _)| next.is_none_or(|next| *at <= next));
        if let Some((at, number)) = timer {
            if at > until {
                return false;
            }
            self.now = self.now.max(at);
            let now = self.now;
            self.processes[number].node.handle_input(now, Input::Timeout);
            self.drain(number);
            return true;
        }
        if next.is_none_or(|next| next > until) {
            return false;
        }
        let Some(((at, _), (to, from, envelope))) = self.under_way.pop_first() else {
            return false;
        };
        self.now = self.now.max(at);
        let target = self.processes.iter().position(|it| it.address == to && !it.stopped);
        if let Some(target) = target {
            self.forge(target, from, envelope);
        }
        true
    }

    pub(crate) fn run(&mut self, length: Duration) {
        let until = self.now + length;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until something holds, looked at every 10 ms; says how long it took, `None` if it did not
    /// come.
    pub(crate) fn run_until(
        &mut self,
        patience: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !holds(self) {
            if self.now.since(start) >= patience {
                return None;
            }
            self.run(MILLISECOND * 10);
        }
        Some(self.now.since(start))
    }

    /// Runs until one leads and everybody else sees it.
    pub(crate) fn settle(&mut self) -> usize {
        let agreed = |net: &Self| {
            let leader = net.leaders();
            let [leader] = leader.as_slice() else { return false };
            let name = net.node(*leader).status(net.now).node;
            let mut up = (0..net.processes.len()).filter(|&n| !net.processes[n].stopped);
            up.all(|n| net.seen_by(n) == Some(name))
        };
        assert!(self.run_until(SECOND * 60, agreed).is_some(), "no leader for all");
        self.leaders()[0]
    }
}
