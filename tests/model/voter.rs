//! One process of a voter, its disk and its clock.

use core::time::Duration;
use ringrift_p2p::election::core::{Core, Output, Renaming, Rules};
use ringrift_p2p::election::quorum::VoterSet;
use ringrift_p2p::election::record::{Promise, Restored, RestoredPromise, VoteRecord, Write};
use ringrift_p2p::time::Instant;
use ringrift_wire::{Message, NodeId};
use std::collections::BTreeMap;

use crate::packet::{Body, PRIORITY, Packet, length};
use crate::setup::{Mutation, NOW, Restart, Setup, TICK, id};

/// How much of what was being written reaches the disk in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Torn {
    /// Nothing.
    All,
    /// The record alone was written.
    Promise,
    /// The promise alone was written.
    Record,
}

/// One process, or its remains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Voter {
    /// The production state; `None` while it is down.
    pub core: Option<Core>,
    /// The nonce of the process that runs or ran last.
    pub nonce: u8,
    /// The durable record.
    pub disk: Option<VoteRecord>,
    /// The same-boot file.
    pub file: RestoredPromise,
    /// When it crashed.
    pub died: Option<Instant>,
    /// What has been given to the disk and is not known to be written.
    pub pending: Vec<(u64, Write)>,
    /// The number of the last send whose answer still counts.
    pub last: u8,
    /// Which inquiries have left: one before the end of the wait, one after.
    pub asked: [bool; 2],
    /// For so many ticks its clock keeps time.
    pub steady: u8,
}

/// What a step of one process did besides.
#[derive(Default)]
pub struct Effects {
    pub sent: Vec<Packet>,
    pub broken: Option<&'static str>,
}

fn first_record(lease: Duration) -> VoteRecord {
    VoteRecord {
        term: 0,
        voted_for: None,
        nonce: 0,
        longest_lease: lease,
        set_version: 1,
        led_version: 0,
        drained: false,
    }
}

fn rules(setup: &Setup, process: u8, nonce: u8) -> Rules {
    let me = id(setup.names[usize::from(process)]);
    Rules {
        me,
        nonce: nonce.into(),
        set: if setup.is(Mutation::SmallQuorum) { VoterSet::new(&[me], 1) } else { setup.set() },
        lease: length(setup.lease[usize::from(process)]),
        drift_ppm: if setup.is(Mutation::NoDriftMargin) { 0 } else { setup.drift_ppm },
    }
}

impl Voter {
    /// A process at the start of the exploration.
    pub fn new(setup: &Setup, process: u8) -> Self {
        let twin = setup.names[..usize::from(process)].contains(&setup.names[usize::from(process)]);
        let rules = rules(setup, process, if twin { 11 } else { 1 });
        let record = (!setup.first_start).then(|| first_record(rules.lease));
        let promise = if setup.first_start {
            RestoredPromise::Unknown { last_possible: NOW }
        } else {
            RestoredPromise::Exact(None)
        };
        let nonce = if twin { 11 } else { 1 };
        let restored = Restored { record, promise, may_release: !setup.first_start };
        Self {
            core: Some(Core::new(rules, restored, NOW)),
            nonce,
            disk: record,
            file: promise,
            died: None,
            pending: Vec::new(),
            last: 0,
            asked: [false; 2],
            steady: 0,
        }
    }

    /// Whether it leads now, and in which term.
    pub fn leads(&self) -> Option<u8> {
        let core = self.core.as_ref().filter(|core| core.leads(NOW))?;
        core.leading_term().and_then(|term| u8::try_from(term).ok())
    }

    /// Whether its lease has run out and it has not noticed.
    pub fn is_late(&self) -> bool {
        self.core.as_ref().is_some_and(|core| core.leading_term().is_some() && !core.leads(NOW))
    }

    /// Loses its memory.
    pub fn crash(&mut self, torn: Torn) {
        for (_, write) in std::mem::take(&mut self.pending) {
            let reaches = match write {
                Write::Record(_) => torn == Torn::Promise,
                Write::Promise(_) => torn == Torn::Record,
            };
            if reaches {
                self.apply(write);
            }
        }
        self.core = None;
        self.died = Some(NOW);
        self.last = 0;
    }

    /// Starts again.
    pub fn restart(&mut self, setup: &Setup, process: u8, how: Restart) {
        let died = self.died.take().unwrap_or(NOW);
        self.nonce += 1;
        let rules = rules(setup, process, self.nonce);
        let unknown = |last_possible| RestoredPromise::Unknown { last_possible };
        self.file = match how {
            Restart::SameBoot => self.file,
            Restart::Reboot => unknown(died),
            Restart::Moved | Restart::Wiped => unknown(NOW),
        };
        if how == Restart::Wiped {
            self.disk = None;
        }
        if setup.is(Mutation::NoAbstention) {
            self.file = RestoredPromise::Exact(None);
        }
        let record = self.disk.map(|record| match setup.mutation {
            Some(Mutation::OwnLeaseAbstained) => {
                VoteRecord { longest_lease: rules.lease, ..record }
            }
            Some(Mutation::AbstainerAcknowledgesLower) => VoteRecord { term: 0, ..record },
            _ => record,
        });
        let record = match setup.mutation {
            Some(Mutation::WipedAcknowledges) => Some(first_record(rules.lease)),
            _ => record,
        };
        let may_release = matches!(how, Restart::SameBoot | Restart::Reboot);
        let restored = Restored { record, promise: self.file, may_release };
        let since = match setup.mutation {
            Some(Mutation::WipedAsksEarly) => NOW - rules.lease,
            _ => NOW,
        };
        self.asked = [false; 2];
        self.core = Some(Core::new(rules, restored, since));
        if setup.ends_waiting() {
            // Where nothing is left of the wait there is nothing that it could do wrong.
            self.end_waiting();
        }
    }

    /// Ends for good when its abstention does.
    pub fn end_waiting(&mut self) {
        let waits = |core: &Core| core.abstains_until(NOW).is_some();
        if self.nonce > 1 && self.core.as_ref().is_some_and(|core| !waits(core)) {
            self.core = None;
            self.died = None;
        }
    }

    /// What a second process would send that was started on a copy of the store and believed it.
    pub fn copied(&self, setup: &Setup, process: u8) -> Option<Core> {
        let promise = RestoredPromise::Unknown { last_possible: NOW };
        let restored = Restored { record: Some(self.disk?), promise, may_release: true };
        Some(Core::new(rules(setup, process, self.nonce + 50), restored, NOW))
    }

    /// Runs on as if the disk had held a record of that term, with the promises forgotten.
    pub fn take_record(&mut self, setup: &Setup, process: u8, term: u64) {
        let rules = rules(setup, process, self.nonce);
        let record = VoteRecord { term, ..first_record(rules.lease) };
        let promise = RestoredPromise::Unknown { last_possible: NOW };
        let restored = Restored { record: Some(record), promise, may_release: false };
        self.disk = Some(record);
        self.core = Some(Core::new(rules, restored, NOW));
    }

    /// Breaks off the promise that it has given to another process, as nobody may.
    pub fn forget_promise(&mut self, me: NodeId) {
        let Some(core) = &mut self.core else { return };
        let Some(promise) = core.promise(NOW).filter(|promise| promise.to != me) else { return };
        let release = ringrift_wire::Release {
            set: VoterSet::new(&[me], 1).tag(),
            nonce: promise.nonce,
            term: promise.term,
            dead: false,
        };
        core.release(NOW, promise.to, &release);
    }

    /// The remains of a voter that crashed while it wrote what receiving the packet asks for: only one
    /// of the record and the promise reached the disk, and nothing was sent. `None` where there
    /// are not two things to write.
    pub fn torn(&self, setup: &Setup, process: u8, packet: Packet, torn: Torn) -> Option<Self> {
        let mut voter = self.clone();
        voter.core.as_mut()?.expire(NOW);
        voter.receive(setup, process, packet, &mut Effects::default());
        let mut writes = Vec::new();
        while let Some(output) = voter.core.as_mut().and_then(Core::poll_output) {
            if let Output::Persist { number, write } = output {
                writes.push((number, write));
            }
        }
        let records = writes.iter().filter(|(_, write)| matches!(write, Write::Record(_))).count();
        if records == 0 || records == writes.len() {
            return None;
        }
        voter.pending = writes;
        voter.crash(torn);
        Some(voter)
    }

    /// Handles what arrives; what comes of it is still in the core.
    pub fn receive(&mut self, setup: &Setup, process: u8, packet: Packet, effects: &mut Effects) {
        let from = id(setup.names[usize::from(packet.from)]);
        let me = id(setup.names[usize::from(process)]);
        let nonce = u64::from(packet.nonce);
        let mut body = packet.body;
        if let Body::Release { term, .. } = &mut body
            && setup.is(Mutation::ReleaseWithoutTerm)
            && let Some(promise) = self.core.as_ref().and_then(|core| core.promise(NOW))
        {
            *term = u8::try_from(promise.term).expect("few terms");
        }
        if setup.is(Mutation::OwnLeasePromised) {
            body = body.with_lease(setup.lease[usize::from(process)]);
        }
        if setup.is(Mutation::LeaseFromLastSend) && body.is_answer() {
            body = body.with_number(self.last);
        }
        let election = matches!(body, Body::Election { .. });
        let beat = matches!(body, Body::Beat { .. });
        if (election && setup.is(Mutation::VoteIgnoresPromise))
            || (beat && setup.is(Mutation::HeartbeatOverPromise))
            || ((election || beat) && setup.is(Mutation::ShortenedPromise))
        {
            self.forget_promise(me);
        }
        let known = self.last;
        let Some(core) = &mut self.core else { return };
        if setup.is(Mutation::LeaseFromArrival) && body.is_answer() {
            let sent = match core.beat(NOW, &[]) {
                Some((number, _)) => Some(number),
                None => core.solicit(NOW, &[], PRIORITY).map(|_| u64::from(known) + 1),
            };
            if let Some(number) = sent {
                body = body.with_number(u8::try_from(number).expect("few sends"));
            }
        }
        match body.message(&setup.set()) {
            Message::Election(asked) => {
                let granted = core.vote(NOW, from, nonce, &asked).is_ok();
                if granted && setup.is(Mutation::VoteWithoutPromise) {
                    self.carry_out(setup, process, effects);
                    self.forget_promise(me);
                }
            }
            Message::Answer(answer) => {
                core.on_answer(NOW, from, &answer);
            }
            Message::Coordinator(asked) => {
                let _ = core.acknowledge(NOW, from, nonce, &asked, PRIORITY);
                if let Some(genesis) = core.genesis_mut() {
                    let lease = u64::from(asked.lease_ms);
                    genesis.hear(Duration::from_millis(lease), asked.term);
                }
            }
            Message::Acknowledge(answer) => {
                core.on_acknowledge(from, &answer);
            }
            Message::Release(release) => {
                core.release(NOW, from, &release);
            }
            Message::Inquire(asked) => {
                let report = core.report(from, nonce, &asked);
                if let Some(body) = Body::of(&Message::Report(report)) {
                    let (from, nonce) = (process, self.nonce);
                    effects.sent.push(Packet { from, to: packet.from, nonce, body });
                }
            }
            Message::Report(report) => core.on_report(from, nonce, &report),
            _ => {}
        }
    }

    fn apply(&mut self, write: Write) -> Option<&'static str> {
        match write {
            Write::Promise(promise) => {
                self.file = RestoredPromise::Exact(promise);
                None
            }
            Write::Record(record) => {
                let broken = self.disk.is_some_and(|old| {
                    let vote = |r: &VoteRecord| (r.voted_for, r.nonce);
                    record.term < old.term
                        || (record.term == old.term
                            && old.voted_for.is_some()
                            && vote(&old) != vote(&record))
                });
                self.disk = Some(record);
                broken.then_some("I4")
            }
        }
    }

    /// Ends the writes that are under way.
    pub fn written(&mut self, done: bool) -> Option<&'static str> {
        let mut broken = None;
        for (number, write) in std::mem::take(&mut self.pending) {
            if done {
                broken = broken.or(self.apply(write));
            } else if matches!(write, Write::Promise(_)) {
                // What cannot be written is removed.
                self.file = RestoredPromise::Unknown { last_possible: NOW };
            }
            if let Some(core) = &mut self.core {
                core.persisted(number, done);
            }
        }
        broken
    }

    /// Takes what the core wants done: writes at once where writes take no time, and sends.
    pub fn carry_out(&mut self, setup: &Setup, process: u8, effects: &mut Effects) {
        while let Some(output) = self.core.as_mut().and_then(Core::poll_output) {
            match output {
                Output::Persist { number, write } => {
                    let hasty = match write {
                        Write::Promise(_) => setup.is(Mutation::AnswerBeforePromiseFile),
                        Write::Record(_) => setup.is(Mutation::VoteBeforeRecord),
                    };
                    if hasty {
                        // The core believes it at once; no number of its own is waited for.
                        self.pending.push((u64::MAX, write));
                        self.core.iter_mut().for_each(|core| {
                            core.persisted(number, true);
                        });
                    } else if setup.slow_writes {
                        self.pending.push((number, write));
                    } else {
                        let broken = self.apply(write);
                        effects.broken = effects.broken.or(broken);
                        self.core.iter_mut().for_each(|core| {
                            core.persisted(number, true);
                        });
                    }
                }
                Output::Send { to, message } => {
                    let Some(body) = Body::of(&message) else { continue };
                    if !self.may_leave(body, to) {
                        effects.broken = effects.broken.or(Some("I4"));
                    }
                    for to in setup.processes(to) {
                        let nonce = self.nonce;
                        effects.sent.push(Packet { from: process, to, nonce, body });
                    }
                }
            }
        }
    }

    /// Whether what a vote or a candidacy says is durable.
    fn may_leave(&self, body: Body, to: NodeId) -> bool {
        let (Body::Vote { term, .. } | Body::Election { term, .. }) = body else { return true };
        let is_vote = matches!(body, Body::Vote { .. });
        self.disk.is_some_and(|disk| {
            disk.term > u64::from(term)
                || (disk.term == u64::from(term) && (!is_vote || disk.voted_for == Some(to)))
        })
    }

    /// The normal form after so many ticks of its clock. Returns the new numbers of its sends.
    pub fn normalise(
        &mut self,
        setup: &Setup,
        ticks: u8,
        name: &dyn Fn(NodeId) -> NodeId,
    ) -> BTreeMap<u64, u64> {
        let now = NOW + length(ticks);
        let pending = if setup.slow_writes { self.pending.len() as u64 } else { 0 };
        let by = Renaming { now, then: NOW, pending, name };
        // Whatever was promised so long ago has run out.
        let oldest = NOW - length(setup.longest());
        self.file = match self.file {
            RestoredPromise::Exact(promise) => {
                RestoredPromise::Exact(promise.and_then(|promise| by.promise(&promise)))
            }
            RestoredPromise::Unknown { last_possible } => {
                let last_possible = by.instant(last_possible).max(oldest);
                RestoredPromise::Unknown { last_possible }
            }
        };
        self.died = self.died.map(|at| by.instant(at).max(oldest));
        for (_, write) in &mut self.pending {
            *write = match *write {
                Write::Record(record) => Write::Record(named(record, name)),
                Write::Promise(promise) => Write::Promise(promise.map(|promise| {
                    let until = by.instant(promise.until).max(NOW);
                    Promise { to: name(promise.to), until, ..promise }
                })),
            };
        }
        if setup.slow_writes {
            for (index, (number, _)) in self.pending.iter_mut().enumerate() {
                *number = index as u64 + 1;
            }
        }
        self.disk = self.disk.map(|record| named(record, name));
        let Some(core) = &mut self.core else { return BTreeMap::new() };
        let numbers = core.normalise(by);
        let last = numbers.values().copied().max().unwrap_or(0);
        self.last = u8::try_from(last).expect("few sends");
        numbers
    }
}

fn named(record: VoteRecord, name: &dyn Fn(NodeId) -> NodeId) -> VoteRecord {
    VoteRecord { voted_for: record.voted_for.map(name), ..record }
}

const _: () = assert!(TICK.as_secs() == 1, "a promise is asked for in whole ticks");
