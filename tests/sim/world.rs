//! Virtual time: one heap of events ordered by (time, sequence), and what each event does.
//!
//! Everything random comes from one generator, so that a seed gives the same run for ever. The
//! production machine is only ever called the way the driver calls it: one input, then all outputs.

use ringrift_p2p::node::{Command, Input, Output, Persisted};
use ringrift_p2p::rng::Rng;
use ringrift_wire::{Boot, Envelope, Message, NodeId, Verdict};
use std::collections::BTreeMap;

use crate::checkers::Violation;
use crate::checkers::calm::Calm;
use crate::checkers::leases::{Held, Leases};
use crate::checkers::liveness::Liveness;
use crate::checkers::terms::Terms;
use crate::faults::Fault;
use crate::host::{Disk, Ending, Host, SOCKET_BUFFER, address, host_at};
use crate::liar::{Liar, Lie};
use crate::network::Network;
use crate::options::{MS, Nanos, Options, between, chance};
use crate::sometimes::{Hits, Path};
use crate::through_wire::{damaged, through_wire};
use crate::timeline::{Timeline, describe};

/// The most timeouts in a row that may ask for another at once.
const MAX_SPINS: u32 = 100;

/// The status of a process that does not lead is looked at after one of so many events.
const FOLLOWER_STATUS: u64 = 16;

/// Something to come.
pub(crate) enum What {
    /// A datagram reaches a host.
    Arrive { from: usize, to: usize, sent: Nanos, envelope: Box<Envelope>, damaged: bool },
    /// A process's deadline.
    Wake { host: usize, epoch: u64, wake: u64 },
    /// The write under way is done.
    Written { host: usize, epoch: u64 },
    /// A standing process goes on.
    Resume { host: usize, epoch: u64 },
    /// A host starts its process.
    Start { host: usize },
    /// A process that was asked to stop ends.
    End { host: usize, epoch: u64, down: Nanos },
    /// Something goes wrong.
    Fault(Fault),
}

/// The hosts, their network, and what is known of them.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) now: Nanos,
    sequence: u64,
    heap: BTreeMap<(Nanos, u64), What>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) boots: Vec<Option<Boot>>,
    pub(crate) network: Network,
    pub(crate) liar: Liar,
    pub(crate) leases: Leases,
    pub(crate) terms: Terms,
    pub(crate) liveness: Option<Liveness>,
    pub(crate) calm: Option<Calm>,
    pub(crate) healed_at: Option<(Nanos, Nanos)>,
    /// When somebody last led, unless that gap is counted.
    pub(crate) led_until: Option<Nanos>,
    /// The term that each host's process says it leads.
    pub(crate) leading: Vec<Option<u64>>,
    pub(crate) wipes: u64,
    /// How often each host has begun to canvass.
    pub(crate) canvasses: Vec<usize>,
    /// How often each host has declared each member dead.
    pub(crate) deaths: BTreeMap<(usize, NodeId), usize>,
    pub(crate) hits: Hits,
    pub(crate) timeline: Timeline,
    pub(crate) violation: Option<Violation>,
    pub(crate) steps: u64,
}

impl World {
    /// A world at time zero in which nothing runs yet.
    pub(crate) fn new(options: Options, lie: Lie, keep_timeline: bool) -> Self {
        let mut rng = Rng::new(options.seed ^ 0x0005_eed0_fa11);
        let hosts = Self::draw_hosts(&options, &mut rng);
        let count = hosts.len();
        let mut terms = Terms::new(count);
        for (host, state) in hosts.iter().enumerate() {
            terms.found(host, state.disk.record.map_or(0, |record| record.term));
        }
        Self {
            network: Network::new(count, options.quality),
            options,
            rng,
            now: 0,
            sequence: 0,
            heap: BTreeMap::new(),
            hosts,
            boots: vec![None; count],
            liar: Liar::new(lie),
            leases: Leases::new(count),
            terms,
            liveness: None,
            calm: None,
            healed_at: None,
            led_until: Some(0),
            leading: vec![None; count],
            wipes: 0,
            deaths: BTreeMap::new(),
            canvasses: vec![0; count],
            hits: Hits::default(),
            timeline: Timeline::new(keep_timeline),
            violation: None,
            steps: 0,
        }
    }

    /// Lets something happen at a true time.
    pub(crate) fn at(&mut self, at: Nanos, what: What) {
        self.sequence += 1;
        self.heap.insert((at.max(self.now), self.sequence), what);
    }

    /// Runs until a true time, or until a rule does not hold.
    pub(crate) fn run_until(&mut self, end: Nanos) {
        while self.violation.is_none() {
            match self.heap.first_entry() {
                Some(next) if next.key().0 <= end => {
                    let ((at, _), what) = next.remove_entry();
                    self.now = at;
                    self.steps += 1;
                    self.handle(what);
                    self.look();
                }
                _ => {
                    self.now = end;
                    self.look();
                    return;
                }
            }
        }
    }

    /// Runs for a length of true time.
    pub(crate) fn run_for(&mut self, length: Nanos) {
        self.run_until(self.now + length);
    }

    /// Who is inside its lease.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.leases.leader(self.now).map(|(host, _)| host)
    }

    /// Keeps the first rule that did not hold.
    pub(crate) fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && self.violation.is_none()
        {
            let text = format!("VIOLATION of {}: {}", violation.rule, violation.what);
            self.timeline.note(self.now, "", || text);
            self.violation = Some(violation);
        }
    }

    /// Notes something about a host.
    pub(crate) fn note(&mut self, host: usize, text: impl FnOnce() -> String) {
        self.timeline.note(self.now, &self.hosts[host].name, text);
    }

    /// What can be seen from outside after each event.
    fn look(&mut self) {
        let leader = self.leases.leader(self.now);
        if leader.is_some() {
            self.led_until = Some(self.now);
        } else if self.led_until.is_some_and(|at| self.now - at > 2 * self.options.lease) {
            self.led_until = None;
            self.hits.hit(Path::NoQuorum);
        }
        if let Some(liveness) = &mut self.liveness {
            let result = liveness.observe(self.now, leader.is_some());
            self.check(result);
        }
        if let Some(calm) = &mut self.calm {
            let result = calm.observe(self.now, leader.map(|(host, held)| (host, held.nonce)));
            self.check(result);
        }
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Arrive { from, to, sent, envelope, damaged } => {
                self.arrive(from, to, sent, *envelope, damaged);
            }
            What::Wake { host, epoch, wake } => {
                let current = self.process_is(host, epoch)
                    && self.hosts[host].process.as_ref().is_some_and(|p| p.wake == wake);
                if current {
                    self.feed(host, Input::Timeout);
                }
            }
            What::Written { host, epoch } => self.written(host, epoch),
            What::Resume { host, epoch } => {
                if self.process_is(host, epoch) {
                    self.resume(host);
                }
            }
            What::Start { host } => {
                if self.hosts[host].process.is_none() && !self.hosts[host].retired {
                    self.start(host);
                }
            }
            What::End { host, epoch, down } => {
                if self.process_is(host, epoch) {
                    self.crash(host, Ending::Killed);
                    self.at(self.now + down, What::Start { host });
                }
            }
            What::Fault(fault) => self.inject(fault),
        }
    }

    fn process_is(&self, host: usize, epoch: u64) -> bool {
        self.hosts[host].process.as_ref().is_some_and(|process| process.epoch == epoch)
    }

    fn arrive(&mut self, from: usize, to: usize, sent: Nanos, envelope: Envelope, broken: bool) {
        if let Some((healed_at, one_way)) = self.healed_at
            && sent < healed_at
            && self.now > healed_at + one_way
        {
            return;
        }
        if self.now - sent > self.options.lease {
            self.hits.hit(Path::DatagramLate);
        }
        let envelope = if broken {
            self.hits.hit(Path::DatagramDamaged);
            let Some(envelope) = damaged(&envelope, &mut self.rng) else { return };
            envelope
        } else {
            envelope
        };
        if let Some(text) = describe(&envelope.message) {
            let sender = envelope.sender;
            self.note(to, || format!("<- {sender} {text}"));
        }
        let voters: Vec<(usize, Boot)> =
            (0..self.options.voters).filter_map(|v| self.boots[v].map(|boot| (v, boot))).collect();
        for (from, mut envelope) in self.liar.hears(to, from, envelope, &voters) {
            envelope.sender = self.hosts[from].id;
            self.feed(to, Input::Datagram { from: address(from), envelope });
        }
    }

    /// Gives a process an input and carries out what it asks for.
    pub(crate) fn feed(&mut self, host: usize, input: Input) {
        let now = self.hosts[host].clock.local(self.now);
        let Some(process) = &mut self.hosts[host].process else { return };
        if process.paused {
            let is_datagram = matches!(input, Input::Datagram { .. });
            if !is_datagram || process.inbox.len() < SOCKET_BUFFER {
                process.inbox.push_back(input);
            }
            return;
        }
        let was_timeout = input == Input::Timeout;
        process.node.handle_input(now, input);
        self.drain(host);
        self.spin(host, was_timeout);
    }

    /// Takes all outputs, looks at the status, then carries the outputs out.
    pub(crate) fn drain(&mut self, host: usize) {
        let Some(process) = &mut self.hosts[host].process else { return };
        let first = process.outputs.len();
        while let Some(output) = process.node.poll_output() {
            process.outputs.push_back(output);
        }
        let told: Vec<_> = process
            .outputs
            .iter()
            .skip(first)
            .filter_map(|output| match output {
                Output::Notify(event) => Some(*event),
                _ => None,
            })
            .collect();
        for event in told {
            self.told(host, &event);
        }
        self.observe(host);
        self.carry_out(host);
        self.arm(host);
    }

    /// A machine whose timeout always asks for another at once would never let time pass.
    fn spin(&mut self, host: usize, was_timeout: bool) {
        let now = self.now;
        let Some(process) = &mut self.hosts[host].process else { return };
        if !was_timeout || process.wake_at > now + 2_000 {
            process.spins = 0;
            return;
        }
        process.spins += 1;
        if process.spins > MAX_SPINS {
            let reason = process.node.poll_timeout().map_or("none", |deadline| deadline.reason);
            let what = format!("host {host} asks for a timeout at once for ever: {reason}");
            self.check(Err(Violation { at: now, rule: "progress", what }));
        }
    }

    /// Compares what a process says of itself with the truth.
    fn observe(&mut self, host: usize) {
        let local = self.hosts[host].clock.local(self.now);
        let Some(process) = &self.hosts[host].process else { return };
        let leader = process.node.is_leader(local);
        if !leader {
            self.leases.ended(self.now, host);
            // A follower's status costs more than handling its input does.
            if !self.steps.is_multiple_of(FOLLOWER_STATUS) {
                return;
            }
        }
        let status = process.node.status(local);
        let nonce = process.boot.nonce;
        let leads = status.is_leader(local);
        let by_role = status.role_at(local) == ringrift_p2p::node::status::Role::Leader;
        let by_name = status.leader_at(local) == Some(status.node);
        if leads != leader || leads != by_role || leads != by_name {
            let what = format!(
                "host {host}: leads {leader}, is_leader {leads}, role {by_role}, leader_at {by_name}: {:?}",
                status.lease
            );
            self.check(Err(Violation { at: self.now, rule: "I10", what }));
        }
        let Some(lease) = status.lease.filter(|_| leads) else { return };
        let until = self.hosts[host].clock.real(lease.ends_at);
        let Some(term) = self.leading[host] else {
            let what = format!("host {host} leads and never said in which term");
            self.check(Err(Violation { at: self.now, rule: "I10", what }));
            return;
        };
        let result = self.leases.leads(self.now, host, Held { nonce, term, until });
        self.check(result);
    }

    /// Carries out a process's outputs in order, unless a fault that waits for this strikes.
    pub(crate) fn carry_out(&mut self, host: usize) {
        loop {
            let Some(process) = &mut self.hosts[host].process else { return };
            if process.paused || process.outputs.is_empty() {
                return;
            }
            let left = process.outputs.len();
            if let Some(armed) = &mut process.crash {
                let (ending, down) = armed.what;
                if armed.after == 0 {
                    self.hits.hit(Path::CrashInsideDrain);
                    self.note(host, || format!("dies with {left} outputs left"));
                    self.crash(host, ending);
                    self.at(self.now + down, What::Start { host });
                    return;
                }
                armed.after -= 1;
            }
            let Some(process) = &mut self.hosts[host].process else { return };
            if let Some(armed) = &mut process.pause {
                let lasting = armed.what;
                if armed.after == 0 {
                    process.pause = None;
                    self.hits.hit(Path::PausedInsideDrain);
                    self.pause(host, lasting);
                    return;
                }
                armed.after -= 1;
            }
            let Some(process) = &mut self.hosts[host].process else { return };
            match process.outputs.pop_front() {
                Some(Output::Persist { number, write }) => {
                    let coalesce = self.options.coalesce;
                    self.hosts[host].disk.ask(number, write, coalesce);
                    self.begin_write(host);
                }
                Some(Output::Send { to, message }) => self.send(host, to, message),
                Some(Output::Reply { number, reply }) => {
                    self.note(host, || format!("reply #{number}: {reply:?}"));
                }
                Some(Output::EndWork { .. } | Output::Notify(_)) | None => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: core::net::SocketAddr, message: Message) {
        let Some(process) = &self.hosts[from].process else { return };
        let boot = process.boot;
        let nonce = boot.nonce;
        let id = self.hosts[from].id;
        let disk = self.hosts[from].disk.record;
        let Some(to) = host_at(to).filter(|to| *to < self.hosts.len()) else {
            let what = format!("host {from} sends to the unknown address {to}");
            self.check(Err(Violation { at: self.now, rule: "address", what }));
            return;
        };
        match &message {
            Message::Election(m) => {
                let result = self.terms.voted(self.now, from, m.term, (id, nonce), disk);
                self.check(result);
            }
            Message::Answer(m) if m.verdict == Verdict::Granted => {
                // The candidate's nonce is what the durable record says it was given to. A vote
                // that is repeated after the record has gone on was compared when it first left.
                if let Some(record) = disk.filter(|record| record.term <= m.term) {
                    let candidate = (self.hosts[to].id, record.nonce);
                    let result = self.terms.voted(self.now, from, m.term, candidate, disk);
                    self.check(result);
                }
            }
            _ => {}
        }
        if matches!(&message, Message::Release(m) if m.dead) {
            self.hits.hit(Path::ReleasedByNextProcess);
        }
        if let Some(text) = describe(&message) {
            let receiver = self.hosts[to].id;
            self.note(from, || format!("-> {receiver} {text}"));
        }
        self.liar.sends(from, to, &message);
        let carried = self.network.carry(&mut self.rng, self.now, from, to);
        let envelope = through_wire(&Envelope { sender: id, boot, message });
        let sent = self.now;
        if let Some(delay) = self.liar.holds_back(&envelope.message, self.options.lease) {
            let envelope = Box::new(envelope.clone());
            self.at(sent + delay, What::Arrive { from, to, sent, envelope, damaged: false });
        }
        if let Some(delay) = carried.second {
            self.hits.hit(Path::DatagramDuplicated);
            let envelope = Box::new(envelope.clone());
            self.at(sent + delay, What::Arrive { from, to, sent, envelope, damaged: false });
        }
        if let Some(delay) = carried.first {
            let damaged = carried.damaged;
            let envelope = Box::new(envelope);
            self.at(sent + delay, What::Arrive { from, to, sent, envelope, damaged });
        }
    }

    /// Arms the one timer of a process.
    pub(crate) fn arm(&mut self, host: usize) {
        let clock = self.hosts[host].clock;
        let lag = between(&mut self.rng, 0, self.options.loop_lag);
        let early = chance(&mut self.rng, 5);
        let now = self.now;
        let Some(process) = &mut self.hosts[host].process else { return };
        let Some(deadline) = process.node.poll_timeout() else { return };
        // The time that handling anything takes at least.
        let due = clock.real(deadline.at).saturating_add(lag).max(now + 1_000);
        let due = if early { now + (due - now) / 2 } else { due };
        process.wake += 1;
        process.wake_at = due;
        let (epoch, wake) = (process.epoch, process.wake);
        if due < Nanos::MAX / 2 {
            self.at(due, What::Wake { host, epoch, wake });
        }
    }

    /// Starts the next write of a host when none is under way.
    pub(crate) fn begin_write(&mut self, host: usize) {
        let Some(process) = &self.hosts[host].process else { return };
        if process.paused {
            return;
        }
        let epoch = process.epoch;
        let (now, fsync_max) = (self.now, self.options.fsync_max);
        let disk = &mut self.hosts[host].disk;
        if disk.busy.is_some() {
            return;
        }
        let Some(pending) = disk.queue.pop_front() else { return };
        let longest = match disk.slow {
            Some((until, up_to)) if now < until => up_to,
            _ if pending.is_durable() => fsync_max,
            _ => MS / 10,
        };
        disk.busy = Some(pending);
        let took = between(&mut self.rng, 10_000, longest.max(10_000));
        self.at(now + took, What::Written { host, epoch });
    }

    fn written(&mut self, host: usize, epoch: u64) {
        if !self.process_is(host, epoch) {
            return;
        }
        let kernel = self.hosts[host].kernel;
        let now = self.now;
        let disk: &mut Disk = &mut self.hosts[host].disk;
        let Some(pending) = disk.busy.take() else { return };
        let done = now >= disk.failing_until;
        if done {
            disk.apply(pending.write, kernel);
        } else {
            self.hits.hit(Path::WriteFailed);
            let kept = chance(&mut self.rng, 500);
            self.hosts[host].disk.fail(pending.write, kept);
        }
        self.look_at_disk(host);
        self.note(host, || format!("written {:?} done {done}", pending.write));
        for number in pending.stands_for.into_iter().chain([pending.number]) {
            self.feed(host, Input::Persisted(Persisted { number, done }));
        }
        self.begin_write(host);
    }

    /// The record on a disk may have changed.
    pub(crate) fn look_at_disk(&mut self, host: usize) {
        if let Some(record) = self.hosts[host].disk.record {
            let result = self.terms.written(self.now, host, record.term);
            self.check(result);
        }
    }

    /// A command of an operator.
    pub(crate) fn command(&mut self, host: usize, command: Command) {
        self.note(host, || format!("command {command:?}"));
        self.feed(host, Input::Command { number: self.sequence, command });
    }
}
