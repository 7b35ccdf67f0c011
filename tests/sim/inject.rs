//! What happens to hosts: starts, ends, pauses, broken disks, and the healing of a quorum.

use ringrift_p2p::election::record::{RestoredPromise, VoteRecord};
use ringrift_p2p::election::{self, Hysteresis, Place, VoterSet};
use ringrift_p2p::election::{Event as Told, LossCause};
use ringrift_p2p::membership;
use ringrift_p2p::node::event::Event;
use ringrift_p2p::node::{self, Command, Peer};
use ringrift_p2p::rng::Rng;
use ringrift_wire::{Boot, NodeId, Refusal};
use std::collections::VecDeque;

use crate::checkers::liveness::Liveness;
use crate::faults::{Fault, Target};
use crate::host::{Armed, Clock, Disk, Ending, Host, Process, address, duration};
use crate::network::Shape;
use crate::node::Node;
use crate::options::{MS, Nanos, Options, Quality, SECOND, between, chance};
use crate::sometimes::Path;
use crate::world::{What, World};

/// Unix seconds at the start of a run.
const UNIX: u64 = 1_765_000_000;

/// How much later by the wall clock a host with a lost disk comes back, in seconds: a cluster holds
/// fewer elections than seconds pass, which is what makes the clock a floor for terms.
const REPAIR_S: u64 = 3_600;

impl World {
    /// The hosts of a run, none of them with a process.
    pub(crate) fn draw_hosts(options: &Options, rng: &mut Rng) -> Vec<Host> {
        let name = |host: usize| match host.checked_sub(options.voters) {
            None => format!("v{}", host + 1),
            Some(observer) => format!("o{}", observer + 1),
        };
        let id = |host: usize| NodeId::from_bytes(name(host).as_bytes()).expect("a valid name");
        let voters: Vec<NodeId> = (0..options.voters).map(id).collect();
        let count = options.voters + options.observers;
        (0..count)
            .map(|host| {
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
                    id: id(host),
                    name: name(host),
                    voter_set: VoterSet::new(&voters, 1),
                    clock: Clock::new(0, uptime, rate(options, rng)),
                    wall_ahead_s: between(rng, 0, options.wall_spread_s),
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
        node::Params {
            id: self.hosts[host].id,
            boot,
            started_unix: unix,
            address: address(host),
            voter_set: self.hosts[host].voter_set.clone(),
            peers: (0..self.hosts.len())
                .filter(|&peer| peer != host)
                .map(|peer| Peer { id: self.hosts[peer].id, address: Some(address(peer)) })
                .collect(),
            election: election::Params {
                heartbeat_interval: duration(options.heartbeat),
                lease: duration(options.lease),
                election_timeout: duration(options.election_timeout),
                clock_drift_ppm: options.drift_ppm,
                work_grace: core::time::Duration::ZERO,
                hysteresis: Hysteresis::default(),
                places,
            },
            membership: membership::Params {
                probe_interval: duration(options.probe),
                probe_timeout: None,
                peer_timeout: duration(options.silence),
                open: false,
                max_members: 64,
            },
            seed,
        }
    }

    /// Starts a process on what the host's disk holds.
    pub(crate) fn start(&mut self, host: usize) {
        let unix = UNIX + self.hosts[host].wall_ahead_s + self.now / SECOND + REPAIR_S * self.wipes;
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
        let params = self.params(host, boot, unix, seed);
        if restored.record.is_some() {
            self.hits.hit(match restored.promise {
                RestoredPromise::Exact(_) => Path::RestartWithExactPromise,
                RestoredPromise::Unknown { .. } => Path::RestartAbstaining,
            });
        }
        self.note(host, || format!("starts: boot {boot:x?}, local {local}, {restored:?}"));
        self.boots[host] = Some(boot);
        self.leading[host] = None;
        self.hosts[host].process = Some(Process {
            node: Node::new(params, restored, local),
            boot,
            epoch,
            outputs: VecDeque::new(),
            paused: false,
            inbox: VecDeque::new(),
            crash: None,
            pause: None,
            wake: 0,
            wake_at: 0,
            spins: 0,
            stopping: false,
        });
        self.drain(host);
    }

    /// Ends a process at once; what it was doing is left as it is.
    pub(crate) fn crash(&mut self, host: usize, ending: Ending) {
        if self.hosts[host].process.take().is_some() {
            self.note(host, || format!("ends: {ending:?}"));
        }
        self.leases.ended(self.now, host);
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
        self.look_at_disk(host);
        let rate = rate(&self.options, &mut self.rng);
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
                self.wipes += 1;
                state.disk = Disk::default();
                self.terms.found(host, 0);
            }
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
        self.note(host, || format!("stands still for {lasting} ns"));
        if let Some((leader, held)) = self.leases.leader(self.now)
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
        let mut inbox = core::mem::take(&mut process.inbox);
        self.note(host, || "goes on".to_owned());
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

    /// Counts what a process tells of itself.
    pub(crate) fn told(&mut self, host: usize, event: &Event) {
        self.note(host, || format!("** {event:?}"));
        let event = match event {
            Event::Election(event) => event,
            Event::Member(membership::Event::MemberSuspected { .. }) => {
                return self.hits.hit(Path::MemberSuspected);
            }
            Event::Member(membership::Event::MemberDied { member, .. }) => {
                *self.deaths.entry((host, *member)).or_default() += 1;
                return self.hits.hit(Path::MemberDied);
            }
            Event::Member(_) | Event::ForeignAddress { .. } => return,
        };
        if matches!(event, Told::CanvassStarted { .. }) {
            self.canvasses[host] += 1;
        }
        let path = match event {
            Told::LeadershipGained { term, .. } => {
                self.leading[host] = Some(*term);
                Path::LeaderElected
            }
            Told::TermRaised { term } => {
                self.leading[host] = Some(*term);
                Path::TermRaisedWhileLeading
            }
            Told::LeadershipLost { cause, .. } => {
                self.leading[host] = None;
                if *cause == LossCause::Triggered {
                    // An operator's wish may take a while and outlive the healing.
                    self.calm = None;
                }
                match cause {
                    LossCause::LeaseExpired => Path::LeaseLapsed,
                    _ => Path::LeaderStopped,
                }
            }
            Told::ElectionLost { .. } => Path::ElectionLost,
            Told::VoteRefused { why, .. } => match why {
                Refusal::Promised { .. } => Path::RefusedPromised,
                Refusal::Voted => Path::RefusedVoted,
                Refusal::Term => Path::RefusedTerm,
                Refusal::Abstaining { .. } => Path::RefusedAbstaining,
                Refusal::Empty => Path::RefusedEmpty,
                _ => return,
            },
            Told::PromiseReleased { .. } => Path::PromiseReleased,
            Told::RecordAdopted { .. } => Path::RecordAdopted,
            Told::StoreHealth { works: false } => Path::StoreFailedEvent,
            _ => return,
        };
        self.hits.hit(path);
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
                self.command(host, Command::Stop);
                if let Some(process) = &mut self.hosts[host].process {
                    process.stopping = true;
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
            }
            Fault::FailDisk { target, lasting } => {
                let host = self.target(target);
                self.hosts[host].disk.failing_until = self.now + lasting;
            }
            Fault::Trigger(target) => self.command(self.target(target), Command::Trigger),
        }
    }

    /// Heals one quorum for good: all links among it, its processes and their disks. What is left
    /// of the others is drawn: gone, cut off, half-connected, or as the faults left them.
    pub(crate) fn heal(&mut self, one_way: Nanos, bound: Nanos) -> Vec<usize> {
        let voters = self.options.voters;
        let mut order: Vec<usize> = (0..voters).collect();
        self.rng.shuffle(&mut order);
        let quorum = voters / 2 + 1;
        let size = between(&mut self.rng, quorum as u64, voters as u64) as usize;
        let healed: Vec<usize> = order[..size].to_vec();
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
        self.healed_at = Some((self.now, one_way));
        self.liveness = Some(Liveness::new(self.now, bound));
        self.timeline.note(self.now, "!!", || format!("heals {healed:?}, others: style {style}"));
        for host in 0..self.hosts.len() {
            if let Some(process) = &mut self.hosts[host].process {
                process.crash = None;
                process.pause = None;
            }
            self.hosts[host].disk.slow = None;
            self.hosts[host].disk.failing_until = 0;
        }
        for &host in &healed {
            self.hosts[host].retired = false;
            if self.hosts[host].process.as_ref().is_some_and(|process| process.stopping) {
                self.crash(host, Ending::Killed);
            }
            if self.hosts[host].process.is_none() {
                self.start(host);
            }
            self.resume(host);
        }
        healed
    }
}

/// Whether a leader's heartbeats, each as late as its loop may be, are answered before a lease ends.
pub(crate) fn is_timely(options: &Options, one_way: Nanos) -> bool {
    let part = |of: Nanos| of * u64::from(options.drift_ppm) / 1_000_000;
    let guard = (2 * MS).max(options.lease / 100);
    let answered = 2 * options.loop_lag + options.heartbeat + 2 * one_way + MS;
    answered + part(2 * answered) < options.lease - part(3 * options.lease) - guard
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
