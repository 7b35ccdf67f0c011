//! Several election machines, a clock of their own, a network and disks: for tests of what they do
//! together.

use ::core::time::Duration;
use ringrift_wire::{Boot, Message, NodeId};
use std::collections::{BTreeMap, BTreeSet};

use super::record::{Restored, RestoredPromise, VoteRecord, Write};
use super::{Event, Hysteresis, Machine, Output, Params, Place, Reply, Setup, Standing, VoterSet};
use crate::time::Instant;

/// One way through the network.
pub(super) const LATENCY: Duration = Duration::from_millis(1);
/// One write.
pub(super) const FSYNC: Duration = Duration::from_millis(2);
pub(super) const H: Duration = Duration::from_secs(1);
pub(super) const LEASE: Duration = Duration::from_secs(4);

enum Arrival {
    Message { from: NodeId, nonce: u64, to: NodeId, message: Message },
    Written { by: NodeId, process: u64, number: u64, done: bool },
}

/// The machines.
pub(super) struct Lab {
    pub(super) now: Instant,
    pub(super) machines: BTreeMap<NodeId, Machine>,
    /// What each told, and when.
    pub(super) events: Vec<(Instant, NodeId, Event)>,
    pub(super) replies: Vec<(Instant, NodeId, u64, Reply)>,
    /// Terms whose work was told to end, with the last moment for it.
    pub(super) work: Vec<(Instant, NodeId, u64, Instant)>,
    /// Messages for which this says yes are lost.
    pub(super) loses: fn(NodeId, NodeId, &Message) -> bool,
    pub(super) sent: Vec<(Instant, NodeId, NodeId, Message)>,
    records: BTreeMap<NodeId, VoteRecord>,
    failing: BTreeSet<NodeId>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    arrived: u64,
    params: Params,
    starts: u64,
    next_ping: Instant,
}

pub(super) fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

impl Lab {
    /// Voters in their order, all started long ago by their own clocks, none leading yet.
    pub(super) fn new(names: &[&str], change: impl FnOnce(&mut Params)) -> Self {
        let place =
            |(order, name): (u16, &&str)| (id(name), Place { order, gpu: false, never: false });
        let mut params = Params {
            heartbeat_interval: H,
            lease: LEASE,
            election_timeout: Duration::from_secs(1),
            clock_drift_ppm: 10_000,
            work_grace: Duration::ZERO,
            hysteresis: Hysteresis::default(),
            places: (1..).zip(names).map(place).collect(),
        };
        change(&mut params);
        let mut lab = Self {
            now: Instant::from_nanos(1_000_000_000_000),
            machines: BTreeMap::new(),
            events: Vec::new(),
            replies: Vec::new(),
            work: Vec::new(),
            loses: |_, _, _| false,
            sent: Vec::new(),
            records: BTreeMap::new(),
            failing: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            arrived: 0,
            params,
            starts: 0,
            next_ping: Instant::ZERO,
        };
        for name in names {
            lab.start(name);
        }
        lab
    }

    /// A cluster whose best voter leads, past all that belongs to a start.
    pub(super) fn led(names: &[&str], change: impl FnOnce(&mut Params)) -> Self {
        let mut lab = Self::new(names, change);
        lab.run(Duration::from_secs(5));
        assert_eq!(lab.leader(), Some(id(names[0])));
        lab
    }

    /// Starts a process of that voter on its record; the others know it at once.
    pub(super) fn start(&mut self, name: &str) {
        self.starts += 1;
        let me = id(name);
        let names: Vec<NodeId> = self.params.places.keys().copied().collect();
        let first = VoteRecord {
            term: 9,
            voted_for: None,
            nonce: 0,
            longest_lease: LEASE,
            set_version: 1,
            led_version: 1,
            drained: false,
        };
        let record = *self.records.entry(me).or_insert(first);
        let setup = Setup {
            me,
            boot: Boot { sequence: self.starts, nonce: self.starts },
            started_unix: 1_000,
            set: VoterSet::new(&names, 1),
            params: self.params.clone(),
            evidence_window: H * 2,
            seed: self.starts,
        };
        let promise = RestoredPromise::Exact(None);
        let restored = Restored { record: Some(record), promise, may_release: true };
        self.machines.insert(me, Machine::new(setup, restored, self.now));
        self.drain(me);
        let others: Vec<NodeId> = self.machines.keys().copied().filter(|&it| it != me).collect();
        for other in others {
            self.with(other, |machine, now| machine.standing(now, me, Standing::Well));
            self.with(me, |machine, now| machine.standing(now, other, Standing::Well));
        }
    }

    /// Ends a process without a word; the others learn it after a while.
    pub(super) fn kill(&mut self, name: &str) {
        let gone = id(name);
        self.machines.remove(&gone);
        let others: Vec<NodeId> = self.machines.keys().copied().collect();
        for other in others {
            self.with(other, |machine, now| machine.standing(now, gone, Standing::Gone(now)));
        }
    }

    /// From now on its writes fail.
    pub(super) fn fail_store(&mut self, name: &str) {
        self.failing.insert(id(name));
    }

    /// Does something to a machine, and carries out what it wants.
    pub(super) fn with(&mut self, who: NodeId, act: impl FnOnce(&mut Machine, Instant)) {
        let now = self.now;
        if let Some(machine) = self.machines.get_mut(&who) {
            act(machine, now);
            self.drain(who);
        }
    }

    fn drain(&mut self, who: NodeId) {
        while let Some(output) = self.machines.get_mut(&who).and_then(Machine::poll_output) {
            let machine = &self.machines[&who];
            let process = machine.setup.boot.nonce;
            match output {
                Output::Persist { number, write } => {
                    let done = !self.failing.contains(&who);
                    if let (Write::Record(record), true) = (write, done) {
                        self.records.insert(who, record);
                    }
                    let arrival = Arrival::Written { by: who, process, number, done };
                    self.arrive(self.now + FSYNC, arrival);
                }
                Output::Send { to, message } => {
                    self.sent.push((self.now, who, to, message.clone()));
                    if !(self.loses)(who, to, &message) {
                        let arrival = Arrival::Message { from: who, nonce: process, to, message };
                        self.arrive(self.now + LATENCY, arrival);
                    }
                }
                Output::Notify(event) => self.events.push((self.now, who, event)),
                Output::RoundTrip { .. } => {}
                Output::Reply { number, reply } => {
                    self.replies.push((self.now, who, number, reply));
                }
                Output::EndWork { term, by, .. } => self.work.push((self.now, who, term, by)),
            }
        }
        let leaders = self.machines.values().filter(|machine| machine.leads(self.now)).count();
        assert!(leaders <= 1, "two leaders at {:?}", self.now);
    }

    fn arrive(&mut self, at: Instant, arrival: Arrival) {
        self.arrived += 1;
        self.arrivals.insert((at, self.arrived), arrival);
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until something is so; returns how long it took.
    #[track_caller]
    pub(super) fn wait(&mut self, what: &str, so: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        assert!(self.run_until(began + Duration::from_secs(7_200), so), "in vain: {what}");
        self.now.since(began)
    }

    fn run_until(&mut self, end: Instant, so: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..10_000_000 {
            if so(self) {
                return true;
            }
            let arrival = self.arrivals.keys().next().copied();
            let timers = self.machines.iter().filter_map(|(id, machine)| {
                Some((machine.poll_timeout(self.now)?.at.max(self.now), *id))
            });
            let timer = timers.min();
            let ping = Some(self.next_ping.max(self.now));
            let next = [arrival.map(|(at, _)| at), timer.map(|(at, _)| at), ping];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                self.now = end;
                return so(self);
            };
            self.now = next;
            if next >= self.next_ping {
                self.next_ping = next + H;
                self.ping();
                continue;
            }
            match arrival.filter(|(at, _)| *at == next) {
                Some(key) => self.take(key),
                None => {
                    let who = timer.map(|(_, id)| id).unwrap();
                    self.with(who, Machine::handle_timeout);
                }
            }
        }
        panic!("time stands still");
    }

    /// What membership does: everybody has round trips with everybody.
    fn ping(&mut self) {
        let all: Vec<NodeId> = self.machines.keys().copied().collect();
        for &from in &all {
            for &to in all.iter().filter(|&&to| to != from) {
                self.with(from, |machine, now| machine.round_trip(now, to, LATENCY * 2));
            }
        }
    }

    fn take(&mut self, key: (Instant, u64)) {
        match self.arrivals.remove(&key).unwrap() {
            Arrival::Message { from, nonce, to, message } => {
                self.with(to, |machine, now| machine.on_message(now, from, nonce, &message));
            }
            Arrival::Written { by, process, number, done } => self.with(by, |machine, now| {
                if machine.setup.boot.nonce == process {
                    machine.persisted(now, number, done);
                }
            }),
        }
    }

    /// Who leads.
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.machines.iter().find(|(_, machine)| machine.leads(self.now)).map(|(id, _)| *id)
    }

    pub(super) fn term(&self) -> u64 {
        self.machines.values().map(Machine::term).max().unwrap_or(0)
    }

    /// Waits for another leader than this; returns how long nobody led.
    #[track_caller]
    pub(super) fn wait_moved(&mut self, from: &str) -> Duration {
        let from = id(from);
        self.wait("the leader stops", |lab| lab.leader() != Some(from));
        self.wait("another leader", |lab| lab.leader().is_some_and(|leader| leader != from))
    }

    /// The reply to that command.
    #[track_caller]
    pub(super) fn reply(&self, number: u64) -> &Reply {
        let found = self.replies.iter().find(|(_, _, of, _)| *of == number);
        &found.expect("a reply").3
    }

    /// Whether anybody sent such a message.
    pub(super) fn has_sent(&self, what: impl Fn(&Message) -> bool) -> bool {
        self.sent.iter().any(|(.., message)| what(message))
    }
}
