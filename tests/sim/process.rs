//! What a process does with an input: handle it, drain the outputs, carry them out, arm the timer, as
//! the driver does; and what its disk does with a write.

use ringrift_p2p::node::event::Event;
use ringrift_p2p::node::{Command, Input, Output, Persisted, Write};
use ringrift_wire::{Envelope, Message, Opinion, Refusal, Verdict};

use crate::checkers::Violation;
use crate::host::{Disk, SOCKET_BUFFER, host_at};
use crate::liar::Lie;
use crate::node::Node;
use crate::options::{MS, Nanos, between, chance};
use crate::sometimes::Path;
use crate::through_wire::through_wire;
use crate::timeline::describe;
use crate::world::{What, World};

/// The most timeouts in a row that may ask for another at once.
const MAX_SPINS: u32 = 100;

/// How many datagrams of the past are kept, and which part of all.
const PAST: usize = 64;
const KEPT_PERMILLE: u64 = 20;

impl World {
    /// Gives a process an input and carries out what it asks for.
    pub(crate) fn feed(&mut self, host: usize, input: Input) {
        let now = self.hosts[host].clock.local(self.now);
        let Some(process) = &mut self.hosts[host].process else { return };
        if process.paused {
            let is_datagram = matches!(input, Input::Datagram { .. });
            if !is_datagram || (!process.asleep && process.inbox.len() < SOCKET_BUFFER) {
                process.inbox.push_back(input);
            }
            return;
        }
        let was_timeout = input == Input::Timeout;
        let mut by_guardian = false;
        if let Input::Datagram { from, envelope } = &input {
            self.hears(host, host_at(*from), envelope);
            // Only a guardian says of the process whose name it uses that it is dead.
            by_guardian = matches!(&envelope.message,
                Message::Release(m) if m.dead && m.nonce == envelope.boot.nonce);
        }
        let freed = self.hits.of(Path::PromiseReleased);
        let Some(process) = &mut self.hosts[host].process else { return };
        let before = self.liar.has(Lie::ResumesAfterGo).then(|| process.node.clone());
        process.node.handle_input(now, input);
        self.drain_after(host, before);
        if by_guardian && self.hits.of(Path::PromiseReleased) > freed {
            self.hits.hit(Path::FreedByGuardian);
        }
        self.spin(host, was_timeout);
    }

    /// What a process takes in that lets it stand; it counts when it came from a process that a host
    /// runs or ran.
    fn hears(&mut self, host: usize, from: Option<usize>, envelope: &Envelope) {
        let real = |from: &usize| !self.forging && self.ran[*from].contains(&envelope.boot.nonce);
        let Some(from) = from.filter(real) else { return };
        if let Message::Go(m) = &envelope.message
            && m.takeover
            && self.hosts[host].voter_set.contains(envelope.sender)
        {
            self.hears_takeover(host, envelope.sender, envelope.boot.nonce, m.term);
        }
        let minority = &mut self.checkers.minority;
        match &envelope.message {
            Message::CanvassReply(m) => match m.opinion {
                Opinion::Yes { .. } => minority.opinion(self.now, host, from, true),
                Opinion::Better(_) | Opinion::No(Refusal::LeaderAlive { .. }) => {
                    minority.opinion(self.now, host, from, false);
                }
                Opinion::No(_) => {}
            },
            Message::Go(m) if m.successor == self.hosts[host].id => {
                minority.told(self.now, host, from);
            }
            Message::Report(_) => minority.report(host, from),
            _ => {}
        }
    }

    /// Drains a process; with a planted bug, one that has just said GO is as it was before.
    fn drain_after(&mut self, host: usize, before: Option<Node>) {
        if let (Some(before), Some(term)) = (before, self.leading[host])
            && let Some(process) = &mut self.hosts[host].process
        {
            let first = process.outputs.len();
            while let Some(output) = process.node.poll_output() {
                process.outputs.push_back(output);
            }
            let go = |it: &Output| matches!(it, Output::Send { message: Message::Go(_), .. });
            if process.outputs.iter().skip(first).any(go) {
                process.node = before;
                self.carry_out(host);
                self.leading[host] = Some(term);
            }
        }
        self.drain(host);
    }

    /// Takes all outputs, compares what is seen with the truth, then carries the outputs out.
    pub(crate) fn drain(&mut self, host: usize) {
        let Some(process) = &mut self.hosts[host].process else { return };
        let first = process.outputs.len();
        while let Some(output) = process.node.poll_output() {
            process.outputs.push_back(output);
        }
        let caused = process.outputs.len() - first;
        let mut told: Vec<Event> = Vec::new();
        let mut records = Vec::new();
        let mut replies = Vec::new();
        let mut changes = false;
        for output in process.outputs.iter().skip(first) {
            match output {
                Output::Notify(event) => told.push(*event),
                Output::Persist { write: Write::Record(record), .. } => records.push(*record),
                Output::Send { message: Message::Release(_), .. } => changes = true,
                Output::Reply { number, reply } => replies.push((*number, reply.clone())),
                Output::Persist { .. } | Output::Send { .. } | Output::EndWork { .. } => {}
            }
        }
        let result = self.checkers.bounds.caused(self.now, host, caused);
        self.check(result);
        for event in told {
            changes |= crate::watch::changes_leadership(&event);
            self.told(host, &event);
        }
        for record in records {
            self.writes(host, record);
        }
        self.observe(host, changes);
        for (number, reply) in replies {
            self.replied(host, number, reply);
        }
        self.tell_guardian(host);
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

    /// Carries out a process's outputs in order, unless a fault that waits for this strikes.
    pub(crate) fn carry_out(&mut self, host: usize) {
        for _ in 0..self.liar.carries_out(host) {
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
                Some(Output::EndWork { term, by, .. }) => self.end_work(host, term, by),
                Some(Output::Notify(_)) | None => {}
            }
        }
        let left = self.hosts[host].process.as_ref().map_or(0, |process| process.outputs.len());
        let result = self.checkers.bounds.left_over(self.now, host, left);
        self.check(result);
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
        let result = self.checkers.bounds.sent(self.now, from);
        self.check(result);
        match &message {
            Message::Election(m) => {
                let result = self.checkers.terms.voted(self.now, from, m.term, (id, nonce), disk);
                self.check(result);
            }
            Message::Answer(m) if m.verdict == Verdict::Granted => {
                // The candidate's nonce is what the durable record says it was given to. A vote
                // that is repeated after the record has gone on was compared when it first left.
                if let Some(record) = disk.filter(|record| record.term <= m.term) {
                    let candidate = (self.hosts[to].id, record.nonce);
                    let result = self.checkers.terms.voted(self.now, from, m.term, candidate, disk);
                    self.check(result);
                }
            }
            _ => {}
        }
        if matches!(&message, Message::Release(m) if m.dead) {
            self.hits.hit(Path::ReleasedByNextProcess);
        }
        let ended = match &message {
            Message::Release(m) => Some((m.nonce, m.term)),
            Message::Go(m) => Some((nonce, m.term)),
            _ => None,
        };
        if let Some((nonce, term)) = ended {
            let name = self.hosts[from].name.clone();
            let result = self.checkers.endings.released(self.now, nonce, term, &name);
            self.check(result);
        }
        if self.timeline.is_kept()
            && let Some(text) = describe(&message)
        {
            let receiver = self.hosts[to].id;
            self.note(from, || format!("-> {receiver} {text}"));
        }
        self.liar.sends(from, to, &message);
        self.put_on_the_wire(from, to, Envelope { sender: id, boot, message });
    }

    /// Gives a datagram of a host to the network.
    pub(crate) fn put_on_the_wire(&mut self, from: usize, to: usize, envelope: Envelope) {
        let carried = self.network.carry(&mut self.rng, self.now, from, to);
        let took = carried.first.filter(|_| !carried.damaged);
        self.checkers.undisturbed.carried(self.now, from, to, took);
        if carried.first.is_none() && carried.second.is_none() {
            return;
        }
        let envelope = Box::new(through_wire(&envelope));
        self.remember(from, to, &envelope);
        let sent = self.now;
        if let Some(delay) = self.liar.holds_back(&envelope.message, self.options.lease) {
            let envelope = envelope.clone();
            self.at(sent + delay, What::Arrive { from, to, sent, envelope, damaged: false });
        }
        if let Some(delay) = carried.second {
            self.hits.hit(Path::DatagramDuplicated);
            let envelope = envelope.clone();
            self.at(sent + delay, What::Arrive { from, to, sent, envelope, damaged: false });
        }
        if let Some(delay) = carried.first {
            let damaged = carried.damaged;
            self.at(sent + delay, What::Arrive { from, to, sent, envelope, damaged });
        }
    }

    /// Keeps some datagrams of all ages, when any are to arrive again.
    fn remember(&mut self, from: usize, to: usize, envelope: &Envelope) {
        if !self.options.replays() || !chance(&mut self.rng, KEPT_PERMILLE) {
            return;
        }
        let kept = (from, to, Box::new(envelope.clone()));
        if self.past.len() < PAST {
            self.past.push(kept);
        } else {
            let place = self.rng.below(PAST as u64) as usize;
            self.past[place] = kept;
        }
    }

    /// Arms the one timer of a process, unless it is armed for the same deadline.
    pub(crate) fn arm(&mut self, host: usize) {
        let clock = self.hosts[host].clock;
        let now = self.now;
        let Some(process) = &mut self.hosts[host].process else { return };
        let Some(deadline) = process.node.poll_timeout() else { return };
        if process.wake_for == deadline.at && process.wake_at > now {
            return;
        }
        let lag = between(&mut self.rng, 0, self.options.loop_lag);
        let early = chance(&mut self.rng, 5);
        // The time that handling anything takes at least.
        let due = clock.real(deadline.at).saturating_add(lag).max(now + 1_000);
        let due = if early { now + (due - now) / 2 } else { due };
        process.wake += 1;
        process.wake_at = due;
        process.wake_for = deadline.at;
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

    /// The write under way is done, or has failed.
    pub(crate) fn written(&mut self, host: usize) {
        let kernel = self.hosts[host].kernel;
        let now = self.now;
        let disk: &mut Disk = &mut self.hosts[host].disk;
        let Some(pending) = disk.busy.take() else { return };
        let done = now >= disk.failing_until;
        if !done {
            self.hits.hit(Path::WriteFailed);
            let kept = chance(&mut self.rng, 500);
            self.hosts[host].disk.fail(pending.write, kept);
        } else if !self.liar.drops(&pending.write) {
            let before = disk.record;
            disk.apply(pending.write, kernel);
            if disk.record != before {
                self.liar.overwrites(host, before);
            }
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
            let result = self.checkers.terms.written(self.now, host, record.term);
            self.check(result);
        }
    }

    /// A command of an operator or of the own host; gives the number that an answer names.
    pub(crate) fn command(&mut self, host: usize, command: Command) -> u64 {
        self.sequence += 1;
        let number = self.sequence;
        self.note(host, || format!("command #{number} {command:?}"));
        self.asks(host, number, &command);
        if command == Command::Stop
            && let Some(process) = &self.hosts[host].process
        {
            let (name, sequence) = (self.hosts[host].id, process.boot.sequence);
            // Two processes of one name number their boots each for itself.
            if self.hosts.iter().filter(|other| other.id == name).count() == 1 {
                self.checkers.returns.leaves(name, sequence);
            }
        }
        self.feed(host, Input::Command { number, command });
        number
    }
}
