//! What happens to hosts: starts, ends, pauses, broken disks, and the healing of a quorum.

use ringrift_p2p::election::record::{Restored, RestoredPromise, VoteRecord};
use ringrift_p2p::election::{self, Hysteresis, Place, VoterSet};
use ringrift_p2p::membership;
use ringrift_p2p::node::{self, Command, Peer};
use ringrift_p2p::rng::Rng;
use ringrift_p2p::time::Instant;
use ringrift_wire::{Boot, NodeId};
use std::collections::VecDeque;

use crate::checkers::agreement::Agreement;
use crate::checkers::liveness::{self, Liveness};
use crate::checkers::minority;
use crate::faults::{Fault, Target};
use crate::host::{Armed, Clock, Disk, Ending, Host, Process, address, duration};
use crate::liar::Liar;
use crate::network::Shape;
use crate::node::Node;
use crate::options::{MS, Nanos, Options, OtherSet, Quality, SECOND, between, chance};
use crate::sometimes::Path;
use crate::world::{What, World};

/// Unix seconds at the start of a run.
pub(crate) const UNIX: u64 = 1_765_000_000;

/// How much later by the wall clock a host with a lost disk comes back, in seconds: a cluster holds
/// fewer elections than seconds pass, which is what makes the clock a floor for terms.
const REPAIR_S: u64 = 3_600;

impl World {
    /// The hosts of a run, none of them with a process.
    pub(crate) fn draw_hosts(options: &Options, liar: &Liar, rng: &mut Rng) -> Vec<Host> {
        let voters: Vec<NodeId> = (0..options.voters).map(|host| name(options, host)).collect();
        let single = options.voters + options.observers;
        (0..options.hosts())
            .map(|host| {
                let twin = options.twin.filter(|_| host == single);
                let name_of = twin.unwrap_or(host);
                let id = name(options, name_of);
                let second = if twin.is_some() { "'" } else { "" };
                let record = (!options.first_start).then(|| VoteRecord {
                    term: UNIX - 1_000 + rng.below(3),
                    voted_for: None,
                    nonce: 0,
                    longest_lease: duration(options.lease),
                    set_version: 1,
                    led_version: 1,
                    drained: false,
                });
                let sequence = if record.is_some() { UNIX - 1_000 } else { 0 };
                let uptime = between(rng, 100 * options.lease, 1_000_000 * SECOND);
                Host {
                    id,
                    name: format!("{id}{second}"),
                    name_of,
                    voter_set: VoterSet::new(&voters, 1),
                    lease: options.lease,
                    clock: Clock::new(0, uptime, liar.rate(rate(options, rng))),
                    wall_ahead_s: between(rng, 0, options.wall_spread_s) as i64,
                    kernel: 1,
                    ran_in_kernel: false,
                    disk: Disk { record, sequence, ..Disk::default() },
                    process: None,
                    starts: 0,
                    retired: false,
                }
            })
            .collect()
    }

    fn params(&self, host: usize, boot: Boot, unix: u64, seed: u64) -> node::Params {
        let options = &self.options;
        let places = (0..options.voters)
            .map(|voter| {
                let order = u16::try_from(voter + 1).unwrap_or(u16::MAX);
                let never = voter + options.never >= options.voters;
                (self.hosts[voter].id, Place { order, gpu: false, never })
            })
            .collect();
        let name_of = self.hosts[host].name_of;
        // Nobody is configured with the second of a name, nor with observers that join by themselves.
        let known = if options.open { options.voters } else { options.voters + options.observers };
        node::Params {
            id: self.hosts[host].id,
            boot,
            started_unix: unix,
            address: address(host),
            voter_set: self.hosts[host].voter_set.clone(),
            peers: (0..known)
                .filter(|&peer| peer != name_of)
                .map(|peer| Peer { id: self.hosts[peer].id, address: Some(address(peer)) })
                .collect(),
            election: election::Params {
                heartbeat_interval: duration(options.heartbeat),
                lease: duration(self.hosts[host].lease),
                election_timeout: duration(options.election_timeout),
                clock_drift_ppm: options.drift_ppm,
                work_grace: duration(options.work_grace),
                hysteresis: self.hysteresis(),
                places,
            },
            membership: membership::Params {
                probe_interval: duration(options.probe),
                probe_timeout: None,
                peer_timeout: duration(options.silence),
                open: options.open,
                max_members: 256,
            },
            seed,
        }
    }

    fn hysteresis(&self) -> Hysteresis {
        let block_after_step_down = duration(self.options.block);
        match self.options.takeover {
            // Far beyond a run, however long one is.
            None => Hysteresis {
                takeover_after: duration(86_400 * SECOND),
                block_after_step_down,
                ..Hysteresis::default()
            },
            Some((after, every)) => Hysteresis {
                takeover_after: duration(self.liar.takeover_after(after)),
                takeover_every: duration(self.liar.takeover_every(every)),
                block_after_step_down,
            },
        }
    }

    /// Starts a process on what the host's disk holds.
    pub(crate) fn start(&mut self, host: usize) {
        let unix = (UNIX + self.now / SECOND + REPAIR_S * self.wipes)
            .saturating_add_signed(self.hosts[host].wall_ahead_s);
        let nonce = self.rng.next_u64();
        let seed = self.rng.next_u64();
        let state = &mut self.hosts[host];
        state.disk.sequence = unix.max(state.disk.sequence + 1);
        let boot = Boot { sequence: state.disk.sequence, nonce };
        state.starts += 1;
        let epoch = state.starts;
        let local = state.clock.local(self.now);
        let restored = self.liar.restored(state.restored(local));
        state.ran_in_kernel = true;
        let id = state.id;
        self.checkers.minority.started(host);
        self.checkers.returns.started(host, id, boot.sequence);
        self.leftover_ends(host);
        self.checkers.takeovers.started(host);
        self.unsound(host, 0);
        let params = self.params(host, boot, unix, seed);
        if restored.record.is_some() {
            self.hits.hit(match restored.promise {
                RestoredPromise::Exact(_) => Path::RestartWithExactPromise,
                RestoredPromise::Unknown { .. } => Path::RestartAbstaining,
            });
        }
        if let Some(transcript) = &mut self.transcript {
            transcript.says(self.now, &self.hosts[host].name, starts(&restored));
        }
        self.note(host, || format!("starts: boot {boot:x?}, local {local}, {restored:?}"));
        self.boots[host] = Some(boot);
        self.ran[host].insert(boot.nonce);
        self.leading[host] = None;
        self.hosts[host].process = Some(Process {
            node: Node::new(params, restored, local),
            boot,
            epoch,
            outputs: VecDeque::new(),
            paused: false,
            asleep: false,
            highest_term: restored.record.map(|record| record.term),
            inbox: VecDeque::new(),
            crash: None,
            pause: None,
            wake: 0,
            wake_at: 0,
            wake_for: Instant::ZERO,
            spins: 0,
            stopping: false,
        });
        self.drain(host);
    }

    /// Ends a process at once; what it was doing is left as it is.
    pub(crate) fn crash(&mut self, host: usize, ending: Ending) {
        if let Some(process) = self.hosts[host].process.take() {
            self.note(host, || format!("ends: {ending:?}"));
            self.checkers.endings.ended(self.now, process.boot.nonce);
            self.guard_executes(host, ending);
        }
        self.checkers.replies.ended(host);
        self.checkers.leases.ended(self.now, host);
        self.checkers.honesty.ended(host);
        self.unsound(host, 0);
        self.leading[host] = None;
        let keep = chance(&mut self.rng, 500);
        let now = self.now;
        let state = &mut self.hosts[host];
        let kernel = state.kernel;
        state.disk.queue.clear();
        if let Some(torn) = state.disk.busy.take() {
            self.hits.hit(if keep { Path::TornWriteKept } else { Path::TornWriteLost });
            if keep {
                state.disk.apply(torn.write, kernel);
            }
        }
        self.liar.comes_back(host, &mut self.hosts[host].disk.record);
        self.look_at_disk(host);
        let rate = self.liar.rate(rate(&self.options, &mut self.rng));
        let state = &mut self.hosts[host];
        match ending {
            Ending::Killed => {}
            Ending::Reboot => {
                self.hits.hit(Path::KernelRebooted);
                state.kernel += 1;
                state.ran_in_kernel = false;
                state.clock = Clock::new(now, 0, rate);
            }
            Ending::Wiped => {
                self.hits.hit(Path::DiskWiped);
                // What an observer has on its disk decides nothing.
                self.wipes += u64::from(host < self.options.voters || self.options.changes);
                state.disk = Disk::default();
                self.checkers.terms.found(host, 0);
            }
        }
        self.cover(host);
    }

    /// A host sleeps: its process stands still and nothing waits for it.
    fn suspend(&mut self, host: usize, lasting: Nanos) {
        self.pause(host, lasting);
        if let Some(process) = &mut self.hosts[host].process {
            process.asleep = true;
            process.inbox.retain(|input| !matches!(input, node::Input::Datagram { .. }));
            self.hits.hit(Path::HostSlept);
        }
    }

    /// Ends a process, changes its host's configuration, and starts it again.
    fn reconfigure(&mut self, host: usize, down: Nanos, change: impl FnOnce(&mut Host)) {
        self.crash(host, Ending::Killed);
        change(&mut self.hosts[host]);
        self.at(self.now + down, What::Start { host });
    }

    /// The voter list that a host's configuration names, the right one or the wrong one.
    fn voters(&self, wrong: bool) -> VoterSet {
        let mut voters: Vec<NodeId> =
            (0..self.options.voters).map(|host| name(&self.options, host)).collect();
        match self.options.other_set.filter(|_| wrong) {
            Some(OtherSet::Without(voter)) => {
                voters.remove(voter);
            }
            Some(OtherSet::WithObserver) => {
                voters.push(name(&self.options, self.options.voters));
            }
            None => {}
        }
        VoterSet::new(&voters, 1)
    }

    /// The second process of a name starts again, on a copy of the first one's store or on none.
    fn start_twin(&mut self, copy: bool) {
        let Some(first) = self.options.twin else { return };
        let host = self.options.voters + self.options.observers;
        if self.hosts[host].process.is_some() || self.hosts[host].retired {
            return;
        }
        let disk = &self.hosts[first].disk;
        let (record, sequence) = if copy { (disk.record, disk.sequence) } else { (None, 0) };
        let copied = record.map(|record| (record.term, record.nonce));
        self.hosts[host].disk = Disk { record, sequence, copied, ..Disk::default() };
        self.checkers.terms.found(host, record.map_or(0, |record| record.term));
        self.hits.hit(Path::TwinStarted);
        self.start(host);
    }

    /// Some datagrams of the past arrive again.
    fn replay(&mut self, count: u64) {
        for _ in 0..count.min(self.past.len() as u64) {
            let place = self.rng.below(self.past.len() as u64) as usize;
            let (from, to, envelope) = self.past[place].clone();
            self.hits.hit(Path::DatagramReplayed);
            if self.boots[from] != Some(envelope.boot) {
                self.hits.hit(Path::OlderBootReplayed);
            }
            let at = self.now + between(&mut self.rng, 0, self.options.heartbeat);
            self.at(at, What::Arrive { from, to, sent: at, envelope, damaged: false });
        }
    }

    /// Lets a process stand still for a while.
    pub(crate) fn pause(&mut self, host: usize, lasting: Nanos) {
        let Some(process) = &mut self.hosts[host].process else { return };
        if process.paused {
            return;
        }
        process.paused = true;
        let epoch = process.epoch;
        self.unsound(host, lasting);
        self.note(host, || format!("stands still for {lasting} ns"));
        if let Some((leader, held)) = self.checkers.leases.leader(self.now)
            && leader == host
            && self.now + lasting > held.until
        {
            self.hits.hit(Path::LeaderPausedBeyondLease);
        }
        self.at(self.now + lasting, What::Resume { host, epoch });
    }

    /// A standing process goes on where it stopped.
    pub(crate) fn resume(&mut self, host: usize) {
        let Some(process) = &mut self.hosts[host].process else { return };
        if !core::mem::replace(&mut process.paused, false) {
            return;
        }
        process.asleep = false;
        let mut inbox = core::mem::take(&mut process.inbox);
        self.unsound(host, 0);
        self.note(host, || "goes on".to_owned());
        self.checkers.bounds.goes_on(self.now, host, inbox.len());
        // The timer is due as well; which of the two the loop sees first is chance.
        if chance(&mut self.rng, 500) {
            inbox.push_front(node::Input::Timeout);
        } else {
            inbox.push_back(node::Input::Timeout);
        }
        self.carry_out(host);
        self.begin_write(host);
        for input in inbox {
            self.feed(host, input);
        }
    }

    fn target(&self, target: Target) -> usize {
        match target {
            Target::Host(host) => host,
            Target::Leader(host) => self.leader().unwrap_or(host),
        }
    }

    /// Carries out one fault of the schedule.
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.timeline.note(self.now, "!!", || format!("{fault:?}"));
        match fault {
            Fault::Shape(shape) => self.network.shape(&shape),
            Fault::Deafen(target) => self.network.shape(&Shape::Deaf(self.target(target))),
            Fault::Silence(target) => self.network.shape(&Shape::Mute(self.target(target))),
            Fault::Flap(flap) => self.network.flap(flap),
            Fault::Settle => self.network.settle(),
            Fault::Crash { target, ending, after: 0, down } => {
                let host = self.target(target);
                self.crash(host, ending);
                self.at(self.now + down, What::Start { host });
            }
            Fault::Crash { target, ending, after, down } => {
                let host = self.target(target);
                if let Some(process) = &mut self.hosts[host].process {
                    process.crash = Some(Armed { after, what: (ending, down) });
                }
            }
            Fault::CrashAll { ending, down } => {
                for host in 0..self.hosts.len() {
                    self.crash(host, ending);
                    let down = between(&mut self.rng, 0, down);
                    self.at(self.now + down, What::Start { host });
                }
            }
            Fault::Stop { target, down } => {
                let host = self.target(target);
                self.unsound(host, down);
                if let Some(process) = &mut self.hosts[host].process {
                    process.stopping = true;
                }
                self.command(host, Command::Stop);
                if let Some(process) = &self.hosts[host].process {
                    let epoch = process.epoch;
                    self.at(self.now + 10 * MS, What::End { host, epoch, down });
                }
            }
            Fault::Pause { target, after: 0, lasting } => self.pause(self.target(target), lasting),
            Fault::Pause { target, after, lasting } => {
                let host = self.target(target);
                if let Some(process) = &mut self.hosts[host].process {
                    process.pause = Some(Armed { after, what: lasting });
                }
            }
            Fault::SlowDisk { target, up_to, lasting } => {
                let host = self.target(target);
                self.hosts[host].disk.slow = Some((self.now + lasting, up_to));
                self.unsound(host, lasting + up_to);
            }
            Fault::FailDisk { target, lasting } => {
                let host = self.target(target);
                self.hosts[host].disk.failing_until = self.now + lasting;
                self.unsound(host, lasting);
            }
            Fault::Trigger(target) => {
                self.command(self.target(target), Command::Trigger);
            }
            Fault::Operator { target, verb } => self.operate(self.target(target), verb),
            Fault::Suspend { target, lasting } => self.suspend(self.target(target), lasting),
            Fault::WallStep { host, ahead_s } => {
                self.hits.hit(Path::WallClockSet);
                self.hosts[host].wall_ahead_s = ahead_s;
            }
            Fault::Replay { count } => self.replay(count),
            Fault::Twin { copy } => self.start_twin(copy),
            Fault::TwinEnds => {
                if self.options.twin.is_some() {
                    self.crash(self.hosts.len() - 1, Ending::Killed);
                }
            }
            Fault::Voters { host, wrong, down } => {
                let set = self.voters(wrong);
                self.reconfigure(host, down, |host| host.voter_set = set);
            }
            Fault::Lease { host, permille, down } => {
                self.hits.hit(Path::LeaseConfigured);
                let lease = self.options.lease * permille / 1_000;
                self.reconfigure(host, down, |host| host.lease = lease);
            }
        }
    }

    /// Heals one quorum for good: all links among it, its processes and their disks, and some
    /// observers. What is left of the others is drawn: gone, cut off, half-connected, or as the faults
    /// left them.
    pub(crate) fn heal(&mut self, one_way: Nanos) -> Vec<usize> {
        let voters = self.options.voters;
        let mut order: Vec<usize> = (0..voters).collect();
        self.rng.shuffle(&mut order);
        let quorum = voters / 2 + 1;
        let size = between(&mut self.rng, quorum as u64, voters as u64) as usize;
        let mut healed: Vec<usize> = order[..size].to_vec();
        for observer in voters..voters + self.options.observers {
            if chance(&mut self.rng, 500) {
                healed.push(observer);
            }
        }
        let style = self.rng.below(5);
        self.network.settle();
        for host in (0..self.hosts.len()).filter(|host| !healed.contains(host)) {
            for &member in &healed {
                let (sends, hears) = match style {
                    0 | 1 => (false, false),
                    2 => (true, false),
                    3 => (false, true),
                    _ => continue,
                };
                self.network.link(host, member, sends);
                self.network.link(member, host, hears);
            }
            if style == 0 {
                self.hosts[host].retired = true;
                self.crash(host, Ending::Killed);
            }
        }
        self.network.heal(&healed, Quality::calm(one_way));
        self.healed = Some((self.now, healed.clone(), one_way));
        let stands = |host: &Host| {
            let core = host.process.as_ref().and_then(|process| process.node.core());
            core.is_some_and(|core| core.tally().is_some())
        };
        let standing = self.hosts.iter().any(stands);
        let bound = liveness::bound(&self.options, one_way, style >= 2);
        let ready = liveness::ready_bound(&self.options, one_way);
        let fresh = minority::freshness(&self.options) + 2 * one_way;
        let mut liveness =
            Liveness::new(self.now, ready, bound).with_round(liveness::round(&self.options), fresh);
        if standing {
            liveness.stands(self.now);
        }
        self.checkers.liveness = Some(liveness);
        self.checkers.agreement = Some(Agreement::new(self.now, &self.options, one_way));
        self.timeline.note(self.now, "!!", || format!("heals {healed:?}, others: style {style}"));
        for host in 0..self.hosts.len() {
            if let Some(process) = &mut self.hosts[host].process {
                process.crash = None;
                process.pause = None;
            }
            self.hosts[host].disk.slow = None;
            self.hosts[host].disk.failing_until = 0;
        }
        let right = self.voters(false);
        for &host in &healed {
            self.hosts[host].retired = false;
            let stopping = self.hosts[host].process.as_ref().is_some_and(|it| it.stopping);
            let drained = self.is_drained(host);
            if stopping || drained || self.hosts[host].voter_set != right {
                self.crash(host, Ending::Killed);
                self.hosts[host].voter_set = right.clone();
                // Whoever is drained leads no quorum, however healthy it is.
                if let Some(record) = &mut self.hosts[host].disk.record {
                    record.drained = false;
                }
            }
            if self.hosts[host].process.is_none() {
                self.start(host);
            }
            self.resume(host);
        }
        healed
    }
}

/// The name of a host, unless it is the second one of that name.
fn name(options: &Options, host: usize) -> NodeId {
    let name = match host.checked_sub(options.voters) {
        None => format!("v{}", host + 1),
        Some(observer) => format!("o{}", observer + 1),
    };
    NodeId::from_bytes(name.as_bytes()).expect("a valid name")
}

/// What a process finds at its start, in words.
fn starts(restored: &Restored) -> String {
    let promise = match (restored.record, restored.promise) {
        (None, _) => return "starts with an empty store".to_owned(),
        (_, RestoredPromise::Exact(Some(promise))) => {
            format!("and with its promise to {}", promise.to)
        }
        (_, RestoredPromise::Exact(None)) => "and has promised nothing".to_owned(),
        (_, RestoredPromise::Unknown { .. }) => "and does not know what it has promised".to_owned(),
    };
    format!("starts with its record {promise}")
}

/// Whether a leader's heartbeats, each as late as its loop may be, are answered before a lease ends.
pub(crate) fn is_timely(options: &Options, one_way: Nanos) -> bool {
    let (lease, longest) = options.leases();
    let part = |of: Nanos| of * u64::from(options.drift_ppm) / 1_000_000;
    let guard = (2 * MS).max(longest / 100);
    let answered = 2 * options.loop_lag + options.heartbeat + 2 * one_way + MS;
    answered + part(2 * answered) + part(3 * lease) + guard + 2 * options.work_grace < lease
}

/// A clock rate within the bound, mostly at its ends.
fn rate(options: &Options, rng: &mut Rng) -> i64 {
    let bound = i64::from(options.drift_ppm);
    match rng.below(3) {
        0 => -bound,
        1 => bound,
        _ => between(rng, 0, 2 * u64::from(options.drift_ppm)) as i64 - bound,
    }
}
