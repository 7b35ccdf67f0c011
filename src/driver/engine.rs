//! The engine: one protocol machine, and what has to happen after each of its inputs.
//!
//! Decides the order in which outputs are carried out and when the rest of the process sees a new
//! status. It waits for nothing: the loop in [`super`] does.
//!
//! 1. Outputs are drained after every input and carried out in their order.
//! 2. A batch of outputs that changes who leads is preceded by its status: no RELEASE leaves while
//!    `GET /leader` still answers 200. So is one with a reply: whoever was told that something is done
//!    sees it when asking again.
//! 3. Other changes are seen within [`PUBLISH_EVERY`], or 50 times what taking a status costs if that
//!    is longer, but in time for a renewed lease to be seen before the last one seen ends; the last
//!    change is always seen. One status that took long, because the process was stopped or starved
//!    meanwhile, makes none of them late.
//! 4. Events are told in their order, without waiting, and the published status says how many of them
//!    it includes.
//! 5. Queues are bounded: what the storage thread has no room for is answered as failed, a command
//!    beyond [`MAX_COMMANDS`] is refused.

mod checking;
mod clocks;
mod guarded;
mod kinds;
mod machine;
mod newer;
mod working;

use arc_swap::ArcSwap;
use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, DecodeError, Envelope, MAX_DATAGRAM, Message, NodeId, encode};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use tokio::sync::oneshot;
use tracing::{debug, error, trace, warn};

use super::Error;
use super::clock::Clock;
use super::peers::Names;
use super::sealing::Sealing;
use super::store::worker::{self, Answer};
use super::udp::{Class, classify};
use super::work::{Step, Work};
use crate::http;
use crate::membership;
use crate::node::{Command, Event, Input, Output, Persisted, Reply, Status};
use crate::telemetry::Metrics;
use crate::telemetry::events::is_told;
use crate::telemetry::logs::{Context, log_event};
use crate::time::Instant;
use checking::Checking;
pub use checking::STORE_PATIENCE;
use clocks::Clocks;
use guarded::Guarded;
use kinds::{changes_leadership, is_election, kind_index, reason_index};
pub use kinds::{kind_words, reason_words};
pub use machine::{Machine, Outgoing};
use newer::Newer;

/// The longest time for which a change is not seen outside, unless taking a status is expensive.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(10);
/// A cost of a status that is believed at once; a higher one only when it comes again and again.
const LEAST_COST: Duration = Duration::from_millis(1);

/// The most commands that wait for the node's reply.
pub const MAX_COMMANDS: usize = 256;

/// How long a stopping node waits for its disk before it ends without it.
pub const STOP_GRACE: Duration = Duration::from_millis(500);

/// The most that it waits when the work of a leader has to end first: longer than that is given.
pub const LONGEST_STOP: Duration = Duration::from_millis(950);

/// Who speaks, in every datagram.
#[derive(Clone, Copy, Debug)]
pub struct Speaker {
    /// This node.
    pub id: NodeId,
    /// This process start.
    pub boot: Boot,
    /// Of which cluster.
    pub cluster_tag: u32,
}

/// What the engine shares with other threads.
#[derive(Clone, Debug)]
pub struct Outside {
    /// What HTTP shows.
    pub status: Arc<ArcSwap<Status>>,
    /// What Prometheus shows.
    pub metrics: Arc<Metrics>,
    /// What HTTP shows of the work of a leader.
    pub work: Arc<ArcSwap<http::Work>>,
    /// The way to the storage thread.
    pub storage: SyncSender<worker::Request>,
    /// The names of peers that are looked up.
    pub names: Names,
    /// What `GET /events` tells.
    pub events: http::Feed,
}

/// One machine and its surroundings.
pub struct Engine<M, S, C> {
    machine: M,
    socket: S,
    clock: C,
    speaker: Speaker,
    outside: Outside,
    sealing: Sealing,
    buffer: [u8; MAX_DATAGRAM],
    replies: BTreeMap<u64, oneshot::Sender<Reply>>,
    commands: u64,
    /// Answers to writes that found the queue full.
    refused: VecDeque<Persisted>,
    /// Writes whose answer has not come.
    writing: usize,
    /// What is run while this node leads.
    work: Option<Work>,
    /// What the work asks for, and was not done yet.
    steps: VecDeque<Step>,
    /// Nothing was published since the last change.
    dirty: bool,
    publish_after: Instant,
    /// What taking a status costs, as far as the last ones agree.
    publish_cost: Duration,
    stopping_since: Option<Instant>,
    /// Why there is no going on.
    end: Option<Error>,
    /// What the guardian, if there is one, is told.
    guarded: Option<Guarded>,
    /// The checks of the vote store; none on an observer.
    checking: Option<Checking>,
    /// What the clocks said last.
    clocks: Option<Clocks>,
    /// The later versions of the datagrams' format that were met.
    newer: Newer,
}

impl<M: Machine, S: Outgoing, C: Clock> Engine<M, S, C> {
    /// An engine for a machine that has had no input yet.
    pub fn new(machine: M, socket: S, clock: C, speaker: Speaker, outside: Outside) -> Self {
        Self {
            machine,
            socket,
            clock,
            speaker,
            outside,
            sealing: Sealing::default(),
            buffer: [0; MAX_DATAGRAM],
            replies: BTreeMap::new(),
            commands: 0,
            refused: VecDeque::new(),
            writing: 0,
            work: None,
            steps: VecDeque::new(),
            dirty: true,
            publish_after: Instant::ZERO,
            publish_cost: Duration::ZERO,
            stopping_since: None,
            end: None,
            guarded: None,
            checking: None,
            clocks: None,
            newer: Newer::default(),
        }
    }

    /// The sealing of datagrams; without a key until it is given one.
    pub const fn sealing(&mut self) -> &mut Sealing {
        &mut self.sealing
    }

    /// What is due: the machine's deadline, answers of a full queue, the status. Once a turn.
    pub fn tick(&mut self) {
        let now = self.clock.now();
        if let Some(deadline) = self.machine.poll_timeout().filter(|deadline| deadline.at <= now) {
            let late = now.since(deadline.at);
            self.outside.metrics.traffic.loop_delayed(late);
            trace!(reason = deadline.reason, late_us = late.as_micros(), "deadline");
            self.feed(Input::Timeout);
        }
        // As many as there are now: each may cause another.
        for _ in 0..self.refused.len() {
            if let Some(persisted) = self.refused.pop_front() {
                self.feed(Input::Persisted(persisted));
            }
        }
        self.tend();
        self.look_at_store();
        self.look_at_clocks();
        let now = self.clock.now();
        if self.dirty && self.publish_after <= now {
            self.publish(now, 0);
        }
    }

    /// Until when there is nothing to do of its own accord.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let machine = self.machine.poll_timeout().map(|deadline| deadline.at);
        let publish = self.dirty.then_some(self.publish_after);
        let refused = (!self.refused.is_empty()).then_some(Instant::ZERO);
        let stop = self.stopping_since.map(|since| since + self.stop_grace());
        let thin = self.work.as_ref().and_then(|it| it.next_deadline(self.machine.lease_end()));
        let check = self.checking.as_ref().map(Checking::next_deadline);
        [machine, publish, refused, stop, thin, check].into_iter().flatten().min()
    }

    /// Takes a batch of received datagrams; elections and heartbeats first.
    pub fn datagrams(&mut self, batch: &mut Vec<(SocketAddr, Envelope)>) {
        batch.sort_by_key(|(_, envelope)| !is_election(envelope.message.kind()));
        for (from, envelope) in batch.drain(..) {
            self.feed(Input::Datagram { from, envelope });
        }
    }

    /// Decodes a datagram, or counts why it is none. The buffer holds nothing of use afterwards.
    ///
    /// # Errors
    /// Why it is none.
    pub fn decode(
        &mut self,
        datagram: &mut [u8],
        from: SocketAddr,
    ) -> Result<Envelope, DecodeError> {
        let traffic = &self.outside.metrics.traffic;
        let read = self.sealing.read(datagram, self.speaker.cluster_tag);
        match &read {
            Ok(envelope) => {
                traffic.received(kind_index(envelope.message.kind()), datagram.len());
                trace!(%from, kind = envelope.message.kind().as_str(), "received");
            }
            Err(error) => {
                traffic.rejected(reason_index(*error));
                self.newer.seen(*error, from);
                debug!(%from, reason = error.as_str(), "datagram rejected");
            }
        }
        read
    }

    /// Takes the answer of the storage thread.
    pub fn stored(&mut self, answer: Answer) {
        self.writing = self.writing.saturating_sub(1);
        if let Some(took) = answer.took {
            self.outside.metrics.traffic.record_written(took);
        }
        if let Some(error) = answer.error {
            error!(%error, "the vote store cannot be written");
        }
        self.feed(Input::Persisted(answer.persisted));
    }

    /// Takes a command and where to reply.
    pub fn command(&mut self, command: Command, reply: Option<oneshot::Sender<Reply>>) {
        if self.replies.len() >= MAX_COMMANDS {
            // Those who no longer wait for a reply make room first.
            self.replies.retain(|_, waiting| !waiting.is_closed());
        }
        if let Some(reply) = reply {
            if self.replies.len() >= MAX_COMMANDS {
                let why = "too many commands wait for the node".to_owned();
                let _ = reply.send(Reply::Refused { code: "TIMEOUT", why });
                return;
            }
            self.replies.insert(self.commands, reply);
        }
        let number = self.commands;
        self.commands += 1;
        self.feed(Input::Command { number, command });
    }

    /// Begins to stop; a repeated call changes nothing.
    pub fn stop(&mut self) {
        if self.stopping_since.is_none() {
            self.stopping_since = Some(self.clock.now());
            self.command(Command::Stop, None);
        }
    }

    /// Whether a stopping node has nothing left to wait for.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stopping_since.is_some_and(|since| {
            let works = self.work.as_ref().is_some_and(Work::is_busy) || !self.machine.has_left();
            let waiting = self.writing > 0 || !self.refused.is_empty() || works;
            !waiting || self.clock.now().since(since) >= self.stop_grace()
        })
    }

    /// How long stopping may take: the work of a leader ends first.
    fn stop_grace(&self) -> Duration {
        let grace = self.work.as_ref().map_or(Duration::ZERO, Work::grace);
        (STOP_GRACE + grace).min(LONGEST_STOP)
    }

    /// The status that was published last.
    #[must_use]
    pub fn shown(&self) -> arc_swap::Guard<Arc<Status>> {
        self.outside.status.load()
    }

    /// Why there is no going on, if that is so.
    pub const fn take_end(&mut self) -> Option<Error> {
        self.end.take()
    }

    /// Counts an error of the socket, or keeps it if there is no going on.
    pub fn socket_failed(&mut self, error: io::Error, at: Option<SocketAddr>) {
        match classify(&error) {
            Class::Fatal => self.end = Some(Error::Descriptor(error)),
            Class::Later | Class::Transient(_) => debug!(?at, %error, "datagram lost"),
        }
    }

    fn feed(&mut self, input: Input) {
        let now = self.clock.now();
        self.machine.handle_input(now, input);
        let outputs: Vec<Output> = core::iter::from_fn(|| self.machine.poll_output()).collect();
        self.dirty = true;
        if outputs.iter().any(|it| changes_leadership(it) || matches!(it, Output::Reply { .. })) {
            let told = |it: &&Output| matches!(it, Output::Notify(event) if is_told(event));
            self.publish(now, outputs.iter().filter(told).count() as u64);
        }
        if outputs.iter().any(guarded::changes_farewell) {
            self.tell_farewell();
        }
        for output in outputs {
            self.carry_out(now, output);
        }
        self.take_steps();
    }

    fn carry_out(&mut self, now: Instant, output: Output) {
        self.concerns_work(now, &output);
        match output {
            Output::Persist { number, write } => {
                match self.outside.storage.try_send(worker::Request { number, write }) {
                    Ok(()) => self.writing += 1,
                    Err(TrySendError::Full(_)) => {
                        warn!("the vote store does not keep up; a write is given up");
                        self.refused.push_back(Persisted { number, done: false });
                    }
                    Err(TrySendError::Disconnected(_)) => {
                        self.refused.push_back(Persisted { number, done: false });
                    }
                }
            }
            Output::Send { to, message } => self.send(to, message),
            // Seen to above.
            Output::EndWork { .. } => {}
            Output::Notify(event) => {
                self.outside.metrics.record(&event, now);
                log_event(&event, &Context { node: self.speaker.id });
                self.outside.events.tell(now, event);
                if let Event::Member(event) = event {
                    self.on_member(event);
                }
            }
            Output::Reply { number, reply } => {
                if let Some(waiting) = self.replies.remove(&number) {
                    // A client that has gone away needs no reply.
                    let _ = waiting.send(reply);
                }
            }
        }
    }

    /// What the driver itself does about an event of a member.
    fn on_member(&mut self, event: membership::Event) {
        use membership::Event;
        let names = &self.outside.names;
        match event {
            Event::MemberSuspected { member, .. } | Event::MemberDied { member, .. } => {
                names.lost(member);
            }
            Event::MemberJoined { member, .. }
            | Event::MemberRefuted { member, .. }
            | Event::MemberRestarted { member }
            | Event::MemberMoved { member, .. } => names.found(member),
            Event::NameTaken { address } => {
                self.end = Some(Error::NameTaken { name: self.speaker.id, address });
            }
            Event::MemberLeft { .. }
            | Event::SuspicionConfirmed { .. }
            | Event::MemberHeldOff { .. }
            | Event::AddressRefused { .. }
            | Event::NameInConflict { .. } => {}
        }
    }

    fn send(&mut self, to: SocketAddr, message: Message) {
        let kind = message.kind();
        let Speaker { id, boot, cluster_tag } = self.speaker;
        let envelope = Envelope { sender: id, boot, message };
        let encoded = encode(&envelope, cluster_tag, &mut self.buffer);
        let closed = encoded.and_then(|length| self.sealing.close(&mut self.buffer, length));
        let length = match closed {
            Ok(length) => length,
            Err(error) => {
                self.outside.metrics.traffic.unsent();
                debug!(%to, kind = kind.as_str(), %error, "message does not fit a datagram");
                return;
            }
        };
        match self.socket.send(self.buffer.get(..length).unwrap_or_default(), to) {
            Ok(()) => {
                self.outside.metrics.traffic.sent(kind_index(kind), length);
                trace!(%to, kind = kind.as_str(), "sent");
            }
            Err(error) => {
                self.outside.metrics.traffic.unsent();
                self.socket_failed(error, Some(to));
            }
        }
    }

    /// Lets the outside see the status, which includes what was told and the `coming` events.
    fn publish(&mut self, now: Instant, coming: u64) {
        let told = self.outside.events.told().saturating_add(coming);
        let status = self.machine.status(now);
        let lease = status.lease.map(|lease| lease.ends_at);
        let ends = lease.or_else(|| status.follows.map(|leader| leader.valid_until));
        self.outside.status.store(Arc::new(status));
        self.outside.events.covered(told);
        let done = self.clock.now();
        // A busy machine makes one status look expensive; what it says of the leader must not run
        // out meanwhile.
        let lasts = ends.map_or(Duration::MAX, |end| done.until(end) / 4);
        let believed = (self.publish_cost * 2).max(LEAST_COST);
        self.publish_cost = done.since(now).min(believed);
        self.publish_after = done + (self.publish_cost * 50).min(lasts).max(PUBLISH_EVERY);
        self.dirty = false;
    }
}

#[cfg(test)]
mod tests;
