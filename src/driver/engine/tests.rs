//! The engine around a machine that does what the test says.

use super::*;
use crate::driver::clock::tests::SteppedClock;
use crate::election::Event as Elect;
use crate::election::record::Promise;
use crate::node::Deadline;
use crate::node::Write;
use crate::telemetry::fixtures;
use ringrift_wire::{Coordinator, DecodeError, Kind, Ping, Refusal, Release, VoterSetTag, decode};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, sync_channel};

pub(super) const CLUSTER: u32 = 7;

/// Gives, for each input, the outputs that stand next in the script.
pub(super) struct Scripted {
    script: VecDeque<Vec<Output>>,
    outputs: VecDeque<Output>,
    pub(super) inputs: Vec<Input>,
    deadline: Option<Instant>,
    status: Status,
    /// The status after the next input.
    next: Option<Status>,
    /// How long taking a status lasts.
    slow: Option<(Arc<SteppedClock>, Duration)>,
}

impl Machine for Scripted {
    fn handle_input(&mut self, _: Instant, input: Input) {
        self.inputs.push(input);
        self.outputs.extend(self.script.pop_front().unwrap_or_default());
        if let Some(next) = self.next.take() {
            self.status = next;
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.deadline.map(|at| Deadline { at, reason: "test" })
    }

    fn status(&self, _: Instant) -> Status {
        if let Some((clock, length)) = &self.slow {
            clock.advance(*length);
        }
        self.status.clone()
    }
}

/// Remembers what was sent, and whether the outside saw a leader at that moment.
pub(super) struct Wire {
    status: Arc<ArcSwap<Status>>,
    sent: RefCell<Vec<(SocketAddr, Envelope, bool)>>,
    fails: RefCell<Option<i32>>,
    /// Whether what is sent must be sealed.
    sealed: Cell<bool>,
}

impl Wire {
    /// Nothing was sent yet.
    pub(super) fn of(status: &Arc<ArcSwap<Status>>) -> Self {
        Self {
            status: Arc::clone(status),
            sent: RefCell::default(),
            fails: RefCell::default(),
            sealed: Cell::default(),
        }
    }

    /// What was sent since, and to whom.
    pub(super) fn take(&self) -> Vec<(SocketAddr, Envelope)> {
        self.sent.take().into_iter().map(|(to, envelope, _)| (to, envelope)).collect()
    }
}

impl Outgoing for Rc<Wire> {
    fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        if let Some(errno) = self.fails.borrow_mut().take() {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let leads = self.status.load().lease.is_some();
        assert_eq!(ringrift_wire::is_sealed(datagram), self.sealed.get());
        if self.sealed.get() {
            let ping = received(ping(0)).1;
            self.sent.borrow_mut().push((to, ping, leads));
            return Ok(());
        }
        self.sent.borrow_mut().push((to, decode(datagram, CLUSTER).unwrap(), leads));
        Ok(())
    }
}

pub(super) struct Bench {
    pub(super) engine: Engine<Scripted, Rc<Wire>, Arc<SteppedClock>>,
    pub(super) clock: Arc<SteppedClock>,
    wire: Rc<Wire>,
    disk: Receiver<worker::Request>,
}

/// A follower, whose storage queue has this much room.
pub(super) fn bench(room: usize) -> Bench {
    let clock = Arc::new(SteppedClock::default());
    clock.advance(fixtures::NOW.since(Instant::ZERO));
    let status = Arc::new(ArcSwap::from_pointee(fixtures::follower()));
    let wire = Rc::new(Wire::of(&status));
    let (storage, disk) = sync_channel(room);
    let id = fixtures::follower().node;
    let config = fixtures::config();
    let metrics = Metrics::new(id, &config, &kind_words(), &reason_words(), None).unwrap();
    let machine = Scripted {
        script: VecDeque::new(),
        outputs: VecDeque::new(),
        inputs: Vec::new(),
        deadline: None,
        status: fixtures::follower(),
        next: None,
        slow: None,
    };
    let speaker = Speaker { id, boot: Boot { sequence: 1, nonce: 2 }, cluster_tag: CLUSTER };
    let (events, _tap) = http::feed();
    let (metrics, names, work) = (Arc::new(metrics), Names::default(), Arc::default());
    let outside = Outside { status, metrics, storage, names, events, work };
    let engine = Engine::new(machine, Rc::clone(&wire), Arc::clone(&clock), speaker, outside);
    Bench { engine, clock, wire, disk }
}

impl Bench {
    fn script(&mut self, outputs: impl IntoIterator<Item = Output>) {
        self.engine.machine.script.push_back(outputs.into_iter().collect());
    }

    fn seen(&self) -> Arc<Status> {
        self.engine.outside.status.load_full()
    }

    fn datagram(&mut self, message: Message) {
        self.engine.datagrams(&mut vec![received(message)]);
    }
}

fn peer() -> SocketAddr {
    "127.0.0.2:8770".parse().unwrap()
}

fn set() -> VoterSetTag {
    VoterSetTag { version: 1, hash: 1 }
}

fn ping(number: u32) -> Message {
    Message::Ping(Ping {
        number,
        digest: 0,
        wants_beacon: false,
        beacon: None,
        updates: Default::default(),
    })
}

fn release() -> Message {
    Message::Release(Release { set: set(), nonce: 1, term: 1, dead: false })
}

fn received(message: Message) -> (SocketAddr, Envelope) {
    let boot = Boot { sequence: 9, nonce: 9 };
    (peer(), Envelope { sender: fixtures::id("hetzner-cpu1"), boot, message })
}

fn send(message: Message) -> Output {
    Output::Send { to: peer(), message }
}

fn persist(number: u64) -> Output {
    let until = Instant::NEVER;
    let to = fixtures::id("hetzner-cpu1");
    Output::Persist {
        number,
        write: Write::Promise(Some(Promise { to, nonce: 1, term: 1, until })),
    }
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }
    fn unix(&self) -> Duration {
        (**self).unix()
    }
    fn asleep(&self) -> Duration {
        (**self).asleep()
    }
}

/// Invariant 4.
#[test]
fn a_status_counts_the_events_that_it_includes() {
    let mut bench = bench(1);
    let events = bench.engine.outside.events.clone();
    let (member, by) = (fixtures::id("peer"), fixtures::id("self"));
    let suspected = membership::Event::MemberSuspected { member, by };
    bench.script([Output::Notify(Event::Member(suspected))]);
    bench.engine.command(Command::Trigger, None);
    assert_eq!((events.told(), events.includes()), (1, 0));
    bench.clock.advance(PUBLISH_EVERY);
    bench.engine.tick();
    assert_eq!((events.told(), events.includes()), (1, 1));
    // Who leads is seen before it is told.
    bench.script([
        Output::Notify(Event::Election(Elect::LeaderChanged { leader: None, term: 8 })),
        Output::Notify(Event::Election(Elect::TermRaised { term: 9 })),
    ]);
    bench.engine.command(Command::Trigger, None);
    assert_eq!((events.told(), events.includes()), (3, 3));
}

#[test]
fn no_release_leaves_while_the_outside_still_sees_a_leader() {
    let mut bench = bench(1);
    bench.engine.outside.status.store(Arc::new(fixtures::leader()));
    // Just published, so that nothing but the rule makes it publish again.
    bench.engine.tick();
    bench.engine.machine.status = fixtures::leader();
    bench.engine.outside.status.store(Arc::new(fixtures::leader()));
    bench.engine.machine.next = Some(fixtures::follower());
    bench.script([send(ping(1)), send(release())]);
    bench.datagram(ping(9));
    let sent = bench.wire.sent.borrow();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|(_, _, leads)| !leads));
}

#[test]
fn gaining_the_lead_is_seen_before_the_first_heartbeat_leaves() {
    let mut bench = bench(1);
    bench.engine.tick();
    bench.engine.machine.next = Some(fixtures::leader());
    let gained = Elect::LeadershipGained { term: 1, took: Duration::ZERO };
    bench.script([Output::Notify(Event::Election(gained)), send(ping(1))]);
    bench.datagram(ping(9));
    assert!(bench.wire.sent.borrow()[0].2);
}

#[test]
fn what_a_stranger_can_cause_at_will_publishes_no_status() {
    let mut bench = bench(1);
    bench.engine.tick();
    bench.engine.machine.next = Some(fixtures::leader());
    let voter = fixtures::id("hetzner-cpu1");
    let refused = Elect::VoteRefused { candidate: voter, term: 1, why: Refusal::Term };
    let told = [Event::ForeignAddress { voter }, Event::Election(refused)];
    bench.script(told.map(Output::Notify));
    bench.datagram(ping(9));
    assert_eq!(bench.seen().lease, None, "it waits for its turn");
}

#[test]
fn a_status_taken_slowly_is_renewed_before_the_lease_in_it_ends() {
    let mut bench = bench(1);
    let length = Duration::from_millis(200);
    bench.engine.machine.slow = Some((Arc::clone(&bench.clock), length));
    bench.engine.publish_cost = length;
    bench.engine.machine.status = fixtures::leader();
    bench.engine.machine.status.lease.as_mut().unwrap().ends_at =
        bench.clock.now() + Duration::from_secs(1);
    bench.engine.tick();
    bench.datagram(ping(9));
    // 50 times its cost would be 10 s; a quarter of the 800 ms that are left of the lease is sooner.
    let due = bench.engine.next_deadline().unwrap();
    assert_eq!(bench.clock.now().until(due), length);
}

/// A process that was stopped while it took a status showed an old one for many seconds.
#[test]
fn one_status_that_took_long_makes_the_next_no_later() {
    let mut bench = bench(1);
    bench.engine.machine.slow = Some((Arc::clone(&bench.clock), Duration::from_secs(6)));
    bench.engine.tick();
    bench.datagram(ping(9));
    let due = bench.engine.next_deadline().unwrap();
    assert_eq!(bench.clock.now().until(due), LEAST_COST * 50);
}

#[test]
fn other_changes_are_seen_within_ten_milliseconds_and_the_last_one_always() {
    let mut bench = bench(1);
    bench.engine.tick();
    let term = |term| Status { term, ..fixtures::follower() };
    for (number, next) in (1..).zip([term(101), term(102)]) {
        bench.engine.machine.next = Some(next);
        bench.datagram(ping(number));
        bench.engine.tick();
        assert_eq!(bench.seen().term, fixtures::follower().term);
    }
    let due = bench.engine.next_deadline().unwrap();
    assert_eq!(bench.clock.now().until(due), PUBLISH_EVERY);
    bench.clock.advance(PUBLISH_EVERY);
    bench.engine.tick();
    assert_eq!(bench.seen().term, 102);
    assert_eq!(bench.engine.next_deadline(), None);
}

#[test]
fn outputs_are_carried_out_in_order_and_to_the_last() {
    let mut bench = bench(4);
    bench.script([send(ping(1)), persist(1), send(ping(2)), persist(2)]);
    bench.datagram(ping(9));
    let numbers: Vec<Message> =
        bench.wire.sent.borrow().iter().map(|(_, envelope, _)| envelope.message.clone()).collect();
    assert_eq!(numbers, [ping(1), ping(2)]);
    let written: Vec<u64> = bench.disk.try_iter().map(|request| request.number).collect();
    assert_eq!(written, [1, 2]);
    assert!(bench.engine.machine.outputs.is_empty());
}

#[test]
fn a_datagram_names_this_node_and_this_boot() {
    let mut bench = bench(1);
    bench.script([send(ping(1))]);
    bench.datagram(ping(9));
    let sent = bench.wire.sent.borrow();
    let (to, envelope, _) = &sent[0];
    assert_eq!(*to, peer());
    let expected = (fixtures::follower().node, Boot { sequence: 1, nonce: 2 });
    assert_eq!((envelope.sender, envelope.boot), expected);
}

#[test]
fn a_deadline_is_fed_when_it_is_due_and_not_before() {
    let mut bench = bench(1);
    bench.engine.machine.deadline = Some(bench.clock.now() + Duration::from_millis(5));
    bench.engine.tick();
    assert_eq!(bench.engine.machine.inputs, []);
    bench.clock.advance(Duration::from_millis(5));
    bench.engine.tick();
    assert_eq!(bench.engine.machine.inputs, [Input::Timeout]);
}

#[test]
fn heartbeats_of_a_batch_go_before_its_gossip() {
    let mut bench = bench(1);
    let heartbeat =
        Message::Coordinator(Coordinator { set: set(), term: 1, number: 1, lease_ms: 400 });
    let mut batch = vec![received(ping(1)), received(ping(2)), received(heartbeat.clone())];
    bench.engine.datagrams(&mut batch);
    let messages: Vec<Message> = bench
        .engine
        .machine
        .inputs
        .iter()
        .filter_map(|input| match input {
            Input::Datagram { envelope, .. } => Some(envelope.message.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(messages, [heartbeat, ping(1), ping(2)]);
}

#[test]
fn a_write_without_room_is_answered_as_failed_in_the_next_turn() {
    let mut bench = bench(1);
    bench.script([persist(1), persist(2)]);
    bench.datagram(ping(9));
    assert_eq!(bench.engine.next_deadline(), Some(Instant::ZERO));
    bench.engine.tick();
    let failed = Input::Persisted(Persisted { number: 2, done: false });
    assert_eq!(bench.engine.machine.inputs.last(), Some(&failed));
    assert_eq!(bench.disk.try_iter().count(), 1);
}

#[test]
fn a_reply_reaches_the_one_who_asked() {
    let mut bench = bench(1);
    let (to_first, mut first) = oneshot::channel();
    let (to_second, mut second) = oneshot::channel();
    bench.engine.command(Command::Trigger, Some(to_first));
    bench.script([Output::Reply { number: 0, reply: Reply::AlreadyInProgress }]);
    bench.engine.command(Command::Trigger, Some(to_second));
    assert_eq!(first.try_recv(), Ok(Reply::AlreadyInProgress));
    assert!(second.try_recv().is_err());
}

#[test]
fn commands_beyond_the_bound_are_refused_and_forgotten_ones_make_room() {
    let mut bench = bench(1);
    let mut waiting = Vec::new();
    for _ in 0..MAX_COMMANDS {
        let (to, reply) = oneshot::channel();
        bench.engine.command(Command::Trigger, Some(to));
        waiting.push(reply);
    }
    let (to, mut reply) = oneshot::channel();
    bench.engine.command(Command::Trigger, Some(to));
    assert!(matches!(reply.try_recv(), Ok(Reply::Refused { code: "TIMEOUT", .. })));
    waiting.pop();
    let (to, mut reply) = oneshot::channel();
    bench.engine.command(Command::Trigger, Some(to));
    assert!(reply.try_recv().is_err());
    assert_eq!(bench.engine.machine.inputs.len(), MAX_COMMANDS + 1);
}

#[test]
fn a_stop_waits_for_the_disk_but_not_for_ever() {
    let mut bench = bench(1);
    assert!(!bench.engine.is_finished());
    bench.script([persist(1)]);
    bench.engine.stop();
    bench.engine.stop();
    assert_eq!(bench.engine.machine.inputs.len(), 1, "the second signal is ignored");
    assert!(!bench.engine.is_finished());
    bench.clock.advance(STOP_GRACE);
    assert!(bench.engine.is_finished());
}

#[test]
fn a_stop_ends_when_the_last_write_is_answered() {
    let mut bench = bench(1);
    bench.script([persist(1)]);
    bench.engine.stop();
    assert!(!bench.engine.is_finished());
    let persisted = Persisted { number: 1, done: true };
    bench.engine.stored(Answer { persisted, took: None, error: None });
    assert!(bench.engine.is_finished());
}

#[test]
fn a_lost_datagram_ends_nothing_and_a_broken_socket_does() {
    let mut bench = bench(1);
    for (errno, fatal) in [(rustix::io::Errno::HOSTUNREACH, false), (rustix::io::Errno::BADF, true)]
    {
        *bench.wire.fails.borrow_mut() = Some(errno.raw_os_error());
        bench.script([send(ping(1))]);
        bench.datagram(ping(9));
        assert_eq!(bench.engine.take_end().is_some(), fatal, "{errno}");
    }
}

#[test]
fn what_is_no_datagram_of_this_cluster_is_not_fed() {
    let mut bench = bench(1);
    assert_eq!(bench.engine.decode(&mut b"noise".to_vec(), peer()).ok(), None);
    let mut buffer = [0; MAX_DATAGRAM];
    let (_, envelope) = received(ping(1));
    let length = encode(&envelope, CLUSTER + 1, &mut buffer).unwrap();
    assert_eq!(bench.engine.decode(&mut buffer[..length], peer()).ok(), None);
    let length = encode(&envelope, CLUSTER, &mut buffer).unwrap();
    assert_eq!(bench.engine.decode(&mut buffer[..length], peer()).ok(), Some(envelope));
}

#[test]
fn with_a_key_only_what_is_sealed_leaves_and_is_fed() {
    use crate::driver::sealing::{Unsealed, ring::Ring};
    let mut bench = bench(1);
    let ring = Ring::new(vec![ringrift_wire::Key::new([1; 32])]).unwrap();
    bench.engine.sealing().replace(Arc::new(ring), Unsealed::Refuse);
    let mut buffer = [0; MAX_DATAGRAM];
    let (_, envelope) = received(ping(1));
    let length = encode(&envelope, CLUSTER, &mut buffer).unwrap();
    assert_eq!(bench.engine.decode(&mut { buffer }[..length], peer()).ok(), None);
    let length = bench.engine.sealing().close(&mut buffer, length).unwrap();
    assert_eq!(bench.engine.decode(&mut buffer[..length], peer()).ok(), Some(envelope));
    bench.wire.sealed.set(true);
    bench.script([Output::Send { to: peer(), message: ping(3) }]);
    bench.datagram(ping(2));
    assert_eq!(bench.wire.sent.borrow().len(), 1, "what left was sealed");
}

#[test]
fn every_kind_and_reason_has_its_own_counter() {
    let distinct: std::collections::BTreeSet<usize> =
        Kind::ALL.iter().map(|kind| kind_index(*kind)).collect();
    assert_eq!(distinct.len(), kind_words().len());
    assert_eq!(reason_index(DecodeError::Version(200)), reason_index(DecodeError::Version(0)));
    assert_eq!(reason_index(DecodeError::Replayed), reason_words().len() - 1);
}

/// Whoever was told that a drain has ended was shown, for some milliseconds, that it had not.
#[test]
fn who_was_told_that_something_is_done_sees_it() {
    let mut bench = bench(1);
    let (to, mut reply) = oneshot::channel();
    let done = Reply::Done { leader: None, term: 9, note: None };
    bench.script([Output::Reply { number: 0, reply: done }]);
    bench.engine.machine.next = Some(fixtures::leader());
    bench.engine.command(Command::Resume, Some(to));
    assert!(matches!(reply.try_recv(), Ok(Reply::Done { .. })));
    assert_eq!(*bench.seen(), fixtures::leader());
}
