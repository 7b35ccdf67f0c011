//! Bytes as a sequence of inputs of one production node, with an independent account of what it may
//! do after each.
//!
//! The account is kept from what went in and what came out alone:
//! - drains end, deadlines advance, tables and outputs are bounded, every message fits a datagram;
//! - the durable term never falls and holds one vote;
//! - a vote leaves after its record, and promises to different processes never overlap;
//! - it leads only under a quorum of answers to its own sends, and never again in a released term.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_p2p::election::record::{Promise, Restored, RestoredPromise, VoteRecord};
use ringrift_p2p::election::{
    self, Event as Elect, HandoverOutcome, Hysteresis, LossCause, Place, VoterSet, lease,
};
use ringrift_p2p::membership;
use ringrift_p2p::node::{Command, Event, Input, Node, Output, Params, Peer, Persisted, Write};
use ringrift_p2p::time::Instant;
use ringrift_wire::{
    Ack, Acknowledge, Answer, Beacon, Boot, Canvass, CanvassReply, Conflict, Coordinator, Election,
    Envelope, Go, Gossip, Hearing, Inquire, MAX_DATAGRAM, MemberState, Message, Nack, NodeId,
    Offer, Opinion, Ping, PingReq, Priority, Pull, Ready, Record, Refusal, RelayedAck, Release,
    Report, StepDown, Unready, Update, Verdict, decode, encode,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::bytes::Bytes;
use super::decode::{CLUSTER, mend};

const VOTERS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The other voters, two observers that are configured, a stranger, and the node's own name.
const SENDERS: [&str; 8] = ["b", "c", "d", "e", "o1", "o2", "x", "a"];
const LEASE: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(200);
const DRIFT: u32 = 10_000;
/// How long the leader's work may take to end, where it has any.
const GRACE: Duration = Duration::from_millis(300);
const MAX_MEMBERS: usize = 12;
const OWN: Boot = Boot { sequence: 1_000, nonce: 0xa0a0 };
/// More outputs for one input than any may cause.
const MAX_OUTPUTS: usize = 600;
/// More timeouts at one moment than any may need.
const MAX_REPEATS: usize = 16;
/// Bytes from here on stand for messages and commands that came later than the first corpus.
const FIRST_LATER: u8 = 248;
/// The most inputs of one run.
const MAX_STEPS: usize = 2_000;

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn address(name: &str) -> SocketAddr {
    let last = name.bytes().fold(1, |sum: u8, byte| sum.wrapping_mul(7).wrapping_add(byte));
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 8_770))
}

/// A message of the node that may be answered.
#[derive(Clone, Debug)]
struct Sent {
    to: SocketAddr,
    message: Message,
}

/// A vote or acknowledgement that was asked of the node.
#[derive(Clone, Copy, Debug)]
struct Asked {
    is_vote: bool,
    from: SocketAddr,
    holder: (NodeId, u64),
    number: u64,
    term: u64,
    lease: Duration,
    at: Instant,
    /// When the answer left.
    granted_at: Option<Instant>,
    released: bool,
}

impl Asked {
    fn until(&self) -> Instant {
        self.at + self.lease
    }
}

struct Account {
    node: Node,
    now: Instant,
    pending: VecDeque<(u64, Write)>,
    durable: Option<VoteRecord>,
    written: VoteRecord,
    sent: VecDeque<Sent>,
    asked: Vec<Asked>,
    /// The sends that others granted: voter, number, term.
    credits: BTreeSet<(NodeId, u64, u64)>,
    /// Own requests: number and term, with when they were sent.
    requests: BTreeMap<(u64, u64), Instant>,
    released: BTreeSet<u64>,
    /// No vote before this.
    abstains_until: Instant,
    stopped_at: Option<Instant>,
    /// Until when its work may take to end.
    work_by: Instant,
    /// It led at this moment before the present input.
    led: bool,
    paths: BTreeSet<&'static str>,
}

fn params(bytes: &mut Bytes<'_>) -> Params {
    let voters = VOTERS.map(id);
    let size = [5, 3, 1, 2][bytes.below(4)];
    let observer = bytes.below(8) == 7;
    let flags = bytes.byte();
    let set = VoterSet::new(&voters[usize::from(observer)..size.max(2 * usize::from(observer))], 1);
    let peers = SENDERS.iter().filter(|name| !matches!(**name, "x" | "a"));
    let place =
        |(order, id): (u16, &NodeId)| (*id, Place { order, gpu: order == 2, never: order == 5 });
    Params {
        id: id("a"),
        boot: OWN,
        started_unix: 1_000,
        address: address("a"),
        voter_set: set,
        peers: peers
            .map(|name| Peer { id: id(name), address: (*name != "o2").then(|| address(name)) })
            .collect(),
        election: election::Params {
            heartbeat_interval: BEAT,
            lease: LEASE,
            election_timeout: Duration::from_millis(500),
            clock_drift_ppm: DRIFT,
            work_grace: if flags & 2 == 2 { GRACE } else { Duration::ZERO },
            hysteresis: Hysteresis::default(),
            places: (1..).zip(&voters).map(place).collect(),
        },
        membership: membership::Params {
            probe_interval: Duration::from_millis(500),
            probe_timeout: None,
            peer_timeout: Duration::from_secs(3),
            open: flags & 1 == 1,
            max_members: MAX_MEMBERS,
        },
        seed: u64::from(bytes.byte()),
    }
}

fn restored(bytes: &mut Bytes<'_>, now: Instant) -> Restored {
    let voted_for = bytes.pick(&[None, Some("a"), Some("b"), Some("c")]).flatten().map(id);
    let record = VoteRecord {
        term: 1_000 + u64::from(bytes.byte() % 4),
        voted_for,
        nonce: if voted_for.is_some() { 0xb0 } else { 0 },
        longest_lease: LEASE * (1 + u32::from(bytes.byte() % 3)),
        set_version: 1,
        led_version: 1,
        drained: bytes.below(16) == 15,
    };
    let to = bytes.pick(&["a", "b", "c"]).map_or_else(|| id("a"), id);
    let kept = Promise { to, nonce: 0xb0, term: record.term, until: now + LEASE };
    let promise = match bytes.below(4) {
        0 => RestoredPromise::Exact(None),
        1 => RestoredPromise::Exact(Some(kept)),
        2 => RestoredPromise::Unknown { last_possible: Instant::ZERO },
        _ => RestoredPromise::Unknown { last_possible: now },
    };
    match bytes.below(4) {
        0 => Restored {
            record: None,
            promise: RestoredPromise::Unknown { last_possible: now },
            may_release: false,
        },
        1 => Restored { record: Some(record), promise, may_release: false },
        _ => Restored { record: Some(record), promise, may_release: true },
    }
}

/// What the histories of a good corpus come to.
pub(crate) const PATHS: [&str; 10] = [
    "abstained",
    "acknowledged",
    "adopted a record",
    "asked for the end of its work",
    "handed over",
    "led",
    "lost the lead",
    "raised its term while leading",
    "store failed",
    "voted for another",
];

/// Runs one node through the inputs that the bytes stand for; gives what it came to of [`PATHS`].
pub(crate) fn one_node_keeps_its_word(input: &[u8]) -> BTreeSet<&'static str> {
    let mut bytes = Bytes::new(input);
    let now = Instant::from_nanos(60_000_000_000);
    let (params, restored) = (params(&mut bytes), restored(&mut bytes, now));
    let mut account = Account::new(params, restored, now);
    for _ in 0..MAX_STEPS {
        if bytes.is_empty() {
            break;
        }
        account.step(&mut bytes);
    }
    let _ = account.node.status(account.now);
    // Whatever was said to it, time goes on: deadlines lead to later ones.
    let end = account.now + Duration::from_secs(3);
    for _ in 0..4_000 {
        match account.node.poll_timeout() {
            Some(deadline) if deadline.at < end => account.wake(deadline.at),
            _ => return account.paths,
        }
    }
    panic!("{:?} of 3 s are not over after 4,000 timeouts", end.since(account.now));
}

impl Account {
    fn new(params: Params, restored: Restored, now: Instant) -> Self {
        let abstains_until = match (restored.promise, restored.record) {
            (RestoredPromise::Unknown { last_possible }, Some(record)) => {
                last_possible + record.longest_lease
            }
            _ => Instant::ZERO,
        };
        let mut asked = Vec::new();
        if let RestoredPromise::Exact(Some(kept)) = restored.promise
            && restored.record.is_some()
            && kept.to != params.id
        {
            asked.push(Asked {
                is_vote: true,
                from: address(kept.to.as_str()),
                holder: (kept.to, kept.nonce),
                number: u64::MAX,
                term: kept.term,
                lease: LEASE,
                at: now,
                granted_at: Some(Instant::ZERO),
                released: false,
            });
        }
        let nothing = VoteRecord {
            term: 0,
            voted_for: None,
            nonce: 0,
            longest_lease: Duration::ZERO,
            set_version: 0,
            led_version: 0,
            drained: false,
        };
        let mut account = Self {
            node: Node::new(params, restored, now),
            now,
            pending: VecDeque::new(),
            durable: restored.record,
            written: restored.record.unwrap_or(nothing),
            sent: VecDeque::new(),
            asked,
            credits: BTreeSet::new(),
            requests: BTreeMap::new(),
            released: BTreeSet::new(),
            abstains_until,
            stopped_at: None,
            work_by: Instant::ZERO,
            led: false,
            paths: BTreeSet::new(),
        };
        account.drain();
        account
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(16) {
            0 => {
                let from = self.source(bytes);
                let length = 22 + bytes.below(120);
                let datagram = mend(bytes.take(length)).and_then(|it| decode(&it, CLUSTER).ok());
                if let Some(envelope) = datagram {
                    self.datagram(from, envelope);
                }
            }
            1..=5 => {
                let sender = bytes.pick(&SENDERS).unwrap_or("b");
                let from = if bytes.below(8) == 7 { self.source(bytes) } else { address(sender) };
                let boot = self.boot(bytes);
                let message = self.message(bytes);
                self.datagram(from, Envelope { sender: id(sender), boot, message });
            }
            6..=9 => self.answer(bytes),
            10 => {
                let now = self.now + Duration::from_micros(1 << bytes.below(24));
                self.wake(now);
            }
            11 | 12 => {
                let Some(deadline) = self.node.poll_timeout() else { return };
                self.wake(deadline.at.max(self.now).min(self.now + Duration::from_secs(30)));
            }
            13 | 14 => {
                let done = bytes.below(8) != 7;
                for _ in 0..=bytes.below(4) {
                    self.persisted(done);
                }
            }
            _ => self.command(bytes),
        }
    }

    fn command(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let command = match if choice < FIRST_LATER { choice % 16 } else { choice } {
            248 => Command::StepDown,
            249 => Command::Transfer { to: Self::name(bytes) },
            250 => Command::Drain,
            251 => Command::Resume,
            252 | 253 => Command::GiveUp { cause: LossCause::SteppedDown },
            254 | 255 => Command::WorkEnded { term: self.written.term },
            0..=7 => Command::Trigger,
            8..=14 => {
                let peer = bytes.pick(&SENDERS).unwrap_or("b");
                let address = if bytes.bool() { address(peer) } else { address("elsewhere") };
                Command::Resolved { peer: id(peer), addresses: vec![address] }
            }
            _ => {
                self.stopped_at.get_or_insert(self.now);
                Command::Stop
            }
        };
        self.feed(Input::Command { number: u64::from(bytes.byte()), command });
    }

    fn source(&self, bytes: &mut Bytes<'_>) -> SocketAddr {
        let odd = [SocketAddr::from(([0; 4], 0)), SocketAddr::from(([0xff; 8], 1))];
        match bytes.below(4) {
            0 => odd[bytes.below(2)],
            1 => address("elsewhere"),
            _ => address(bytes.pick(&SENDERS).unwrap_or("b")),
        }
    }

    fn boot(&self, bytes: &mut Bytes<'_>) -> Boot {
        match bytes.below(16) {
            0 => Boot { sequence: 0, nonce: 0 },
            1 => Boot { sequence: u64::MAX, nonce: 0xb1 },
            2 => Boot { sequence: 900, nonce: 0xb1 },
            3 => Boot { sequence: 901, nonce: 0xb2 },
            4 => OWN,
            _ => Boot { sequence: 900, nonce: 0xb0 },
        }
    }

    fn term(&self, bytes: &mut Bytes<'_>) -> u64 {
        let known = self.written.term;
        match bytes.below(16) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => 0,
            3 => bytes.word(),
            4..=6 => known,
            7 => known.saturating_sub(1),
            8..=12 => known.saturating_add(1),
            more => known.saturating_add(more as u64),
        }
    }

    fn number(&self, bytes: &mut Bytes<'_>) -> u64 {
        match bytes.below(4) {
            0 => bytes.word(),
            1 => u64::MAX,
            _ => u64::from(bytes.byte()),
        }
    }

    fn millis(bytes: &mut Bytes<'_>) -> u32 {
        bytes.pick(&[1_000, 1_000, 1_000, 0, 1, 500, 2_000, 10_000, 10_001, u32::MAX]).unwrap_or(0)
    }

    fn micros(bytes: &mut Bytes<'_>) -> u64 {
        bytes.pick(&[0, 1, 1_000, 400_000, 2_000_000, u64::MAX]).unwrap_or(0)
    }

    fn name(bytes: &mut Bytes<'_>) -> NodeId {
        match bytes.below(4) {
            // Strangers, to fill tables with.
            0 => id(&format!("s{}", bytes.byte())),
            _ => id(bytes.pick(&SENDERS).unwrap_or("b")),
        }
    }

    fn priority(bytes: &mut Bytes<'_>) -> Priority {
        let flags = bytes.byte();
        Priority {
            drained: flags & 7 == 7,
            last: flags & 0x38 == 0x38,
            stability: flags >> 6,
            centrality: 0,
            gpu: bytes.byte() & 1,
            order: u16::from(bytes.byte() % 6),
        }
    }

    fn refusal(bytes: &mut Bytes<'_>) -> Refusal {
        let free_in_us = Self::micros(bytes);
        match bytes.below(9) {
            0 => Refusal::VoterSet,
            1 => Refusal::Term,
            2 => Refusal::Voted,
            3 => Refusal::Promised { free_in_us },
            4 => Refusal::Abstaining { free_in_us },
            5 => Refusal::Empty,
            6 => Refusal::Store,
            7 => Refusal::LeaderAlive { free_in_us },
            _ => Refusal::Lease,
        }
    }

    fn beacon(&self, bytes: &mut Bytes<'_>) -> Option<Beacon> {
        (bytes.below(3) == 0).then(|| Beacon {
            leader: Self::name(bytes),
            nonce: 0xb0,
            term: self.term(bytes),
            number: self.number(bytes),
            age_ms: Self::millis(bytes),
            lease_ms: Self::millis(bytes),
        })
    }

    fn updates(bytes: &mut Bytes<'_>) -> Vec<Update> {
        let count = bytes.below(4);
        let update = |_| {
            let member = Self::name(bytes);
            let by = Self::name(bytes);
            Update {
                member,
                address: address(if bytes.below(4) == 0 { "elsewhere" } else { member.as_str() }),
                sequence: bytes.pick(&[900, 901, 0, u64::MAX, 1_000]).unwrap_or(0),
                incarnation: bytes.pick(&[0, 1, 2, u32::MAX]).unwrap_or(0),
                state: match bytes.below(4) {
                    0 => MemberState::Alive,
                    1 => MemberState::Suspect { by },
                    2 => MemberState::Dead { by },
                    _ => MemberState::Left,
                },
            }
        };
        (0..count).map(update).collect()
    }

    fn message(&self, bytes: &mut Bytes<'_>) -> Message {
        let kind = bytes.byte();
        let mut set = VoterSet::new(&VOTERS.map(id), 1).tag();
        if let Some(own) = self.set() {
            set = own;
        }
        if bytes.below(16) == 15 {
            set.hash ^= 1;
        }
        let number32 = u32::from(bytes.byte());
        // From here on for kinds that came later: what older inputs say stays the same.
        if kind >= FIRST_LATER {
            return match kind - FIRST_LATER {
                0..=2 => {
                    let row = (0..bytes.below(8)).map(|_| bytes.byte()).collect();
                    Message::Hearing(Hearing { set, row })
                }
                4 => Message::Offer(Offer {
                    set,
                    number: self.number(bytes),
                    term: self.term(bytes),
                }),
                5 => Message::Ready(Ready {
                    set,
                    number: self.number(bytes),
                    term: self.term(bytes),
                    unready: bytes.bool().then_some(Unready::NoQuorum),
                }),
                6 | 7 => Message::Go(Go {
                    set,
                    term: self.term(bytes),
                    successor: Self::name(bytes),
                    takeover: bytes.bool(),
                }),
                _ => Message::Conflict(Conflict {
                    refused: self.boot(bytes).nonce,
                    holder: self.boot(bytes),
                    address: self.source(bytes),
                }),
            };
        }
        match kind % 20 {
            0 => Message::Ping(Ping {
                number: number32,
                digest: bytes.byte().into(),
                wants_beacon: bytes.bool(),
                beacon: self.beacon(bytes),
                updates: Self::updates(bytes),
            }),
            1 => Message::Ack(Ack {
                number: number32,
                digest: bytes.byte().into(),
                beacon: self.beacon(bytes),
                updates: Self::updates(bytes),
            }),
            2 => {
                let target = Self::name(bytes);
                Message::PingReq(PingReq {
                    number: number32,
                    target,
                    address: address(target.as_str()),
                    nack_after_ms: Self::millis(bytes),
                    updates: Self::updates(bytes),
                })
            }
            3 => Message::Nack(Nack { number: number32, target: Self::name(bytes) }),
            4 => Message::RelayedAck(RelayedAck {
                number: number32,
                target: Self::name(bytes),
                boot: self.boot(bytes),
            }),
            5 | 6 => {
                let beacon = self.beacon(bytes);
                Message::Gossip(Gossip { beacon, updates: Self::updates(bytes) })
            }
            7 => Message::Pull(Pull { after: bytes.bool().then(|| Self::name(bytes)) }),
            8 => Message::Canvass(Canvass {
                set,
                number: self.number(bytes),
                term: self.term(bytes),
                priority: Self::priority(bytes),
            }),
            9 => Message::CanvassReply(CanvassReply {
                set,
                number: self.number(bytes),
                term: self.term(bytes),
                opinion: Opinion::Yes { free_in_us: 0 },
            }),
            10..=12 => Message::Election(Election {
                set,
                term: self.term(bytes),
                number: self.number(bytes),
                lease_ms: Self::millis(bytes),
                priority: Self::priority(bytes),
            }),
            13..=15 => Message::Coordinator(Coordinator {
                set,
                term: self.term(bytes),
                number: self.number(bytes),
                lease_ms: Self::millis(bytes),
            }),
            16 | 17 => Message::Release(Release {
                set,
                nonce: self.boot(bytes).nonce,
                term: self.term(bytes),
                dead: bytes.bool(),
            }),
            18 => Message::Inquire(Inquire { set, number: self.number(bytes) }),
            _ => Message::StepDown(StepDown { set, term: self.term(bytes) }),
        }
    }

    fn set(&self) -> Option<ringrift_wire::VoterSetTag> {
        Some(self.node.status(self.now).voter_set)
    }

    /// Answers one of the node's latest messages as its receiver may.
    fn answer(&mut self, bytes: &mut Bytes<'_>) {
        let back = bytes.below(self.sent.len());
        let Some(sent) = self.sent.iter().rev().nth(back).cloned() else { return };
        let sender = SENDERS.iter().find(|name| address(name) == sent.to);
        let Some(sender) = sender.map(|name| id(name)) else { return };
        let willing = bytes.below(4) != 3;
        let verdict =
            if willing { Verdict::Granted } else { Verdict::Refused(Self::refusal(bytes)) };
        let message = match sent.message {
            Message::Ping(ping) => Message::Ack(Ack {
                number: ping.number,
                digest: bytes.byte().into(),
                beacon: self.beacon(bytes),
                updates: Self::updates(bytes),
            }),
            Message::PingReq(request) if willing => Message::RelayedAck(RelayedAck {
                number: request.number,
                target: request.target,
                boot: self.boot(bytes),
            }),
            Message::PingReq(request) => {
                Message::Nack(Nack { number: request.number, target: request.target })
            }
            Message::Canvass(asked) => Message::CanvassReply(CanvassReply {
                set: asked.set,
                number: asked.number,
                term: if willing { asked.term } else { self.term(bytes) },
                opinion: match bytes.below(8) {
                    0 => Opinion::No(Self::refusal(bytes)),
                    1 => Opinion::Better(Self::priority(bytes)),
                    2 => Opinion::Yes { free_in_us: Self::micros(bytes) },
                    _ => Opinion::Yes { free_in_us: 0 },
                },
            }),
            Message::Election(asked) => Message::Answer(Answer {
                set: asked.set,
                term: if willing { asked.term } else { self.term(bytes) },
                number: asked.number,
                verdict,
            }),
            Message::Coordinator(beat) => Message::Acknowledge(Acknowledge {
                set: beat.set,
                term: if willing { beat.term } else { self.term(bytes) },
                number: beat.number,
                priority: Self::priority(bytes),
                verdict,
            }),
            Message::Inquire(asked) => Message::Report(Report {
                set: asked.set,
                number: asked.number,
                record: bytes.bool().then(|| Record { term: self.term(bytes), led_version: 1 }),
                met_as_new: bytes.bool(),
                longest_lease_ms: Self::millis(bytes),
            }),
            Message::Offer(asked) => Message::Ready(Ready {
                set: asked.set,
                number: asked.number,
                term: asked.term,
                unready: (!willing).then_some(Unready::NotFollowing),
            }),
            _ => return,
        };
        let boot = if bytes.below(8) == 7 {
            self.boot(bytes)
        } else {
            Boot { sequence: 900, nonce: 0xb0 }
        };
        self.datagram(sent.to, Envelope { sender, boot, message });
    }

    fn datagram(&mut self, from: SocketAddr, envelope: Envelope) {
        let Envelope { sender, boot, message } = &envelope;
        let holder = (*sender, boot.nonce);
        let mut ask = |is_vote, number, term, lease_ms: u32| {
            self.asked.push(Asked {
                is_vote,
                from,
                holder,
                number,
                term,
                lease: Duration::from_millis(u64::from(lease_ms)),
                at: self.now,
                granted_at: None,
                released: false,
            });
        };
        match message {
            Message::Election(it) => ask(true, it.number, it.term, it.lease_ms),
            Message::Coordinator(it) => ask(false, it.number, it.term, it.lease_ms),
            Message::Release(it) => {
                let releases = (*sender, it.nonce);
                // Whoever releases the highest term that it was granted leads in no lower one.
                let of_it = |asked: &&Asked| asked.holder == releases && asked.granted_at.is_some();
                let highest = self.asked.iter().filter(of_it).map(|asked| asked.term).max();
                let all = it.dead || highest == Some(it.term);
                let freed = |asked: &&mut Asked| {
                    asked.holder == releases
                        && (asked.term == it.term || all && asked.term <= it.term)
                };
                self.asked.iter_mut().filter(freed).for_each(|asked| asked.released = true);
            }
            Message::Go(it) => {
                let freed = |asked: &&mut Asked| asked.holder == holder && asked.term == it.term;
                self.asked.iter_mut().filter(freed).for_each(|asked| asked.released = true);
            }
            Message::Answer(it) if it.verdict == Verdict::Granted => {
                self.credits.insert((*sender, it.number, it.term));
            }
            Message::Acknowledge(it) if it.verdict == Verdict::Granted => {
                self.credits.insert((*sender, it.number, it.term));
            }
            _ => {}
        }
        self.feed(Input::Datagram { from, envelope });
    }

    fn persisted(&mut self, done: bool) {
        let Some((number, write)) = self.pending.pop_front() else { return };
        if let (true, Write::Record(record)) = (done, write) {
            self.durable = Some(record);
        }
        self.feed(Input::Persisted(Persisted { number, done }));
    }

    /// Lets time pass and wakes the node until it has nothing more to do at that moment.
    fn wake(&mut self, at: Instant) {
        self.now = self.now.max(at);
        for _ in 0..MAX_REPEATS {
            self.feed(Input::Timeout);
            if self.node.poll_timeout().is_none_or(|deadline| deadline.at > self.now) {
                return;
            }
        }
        panic!(
            "woken {MAX_REPEATS} times at {} and still {:?}",
            self.now,
            self.node.poll_timeout()
        );
    }

    fn feed(&mut self, input: Input) {
        self.led = self.node.is_leader(self.now);
        self.node.handle_input(self.now, input);
        self.drain();
        self.check_lease();
    }

    fn drain(&mut self) {
        for count in 0.. {
            assert!(count < MAX_OUTPUTS, "one input caused {count} outputs");
            match self.node.poll_output() {
                None => break,
                Some(Output::Persist { number, write }) => self.on_persist(number, write),
                Some(Output::Send { to, message }) => self.on_send(to, message),
                Some(Output::Notify(event)) => self.on_event(event),
                Some(Output::EndWork { by, .. }) => {
                    let before = by - Duration::from_nanos(1);
                    assert!(self.node.is_leader(before), "work may last to {by}, beyond the lease");
                    self.work_by = by;
                    self.paths.insert("asked for the end of its work");
                }
                Some(Output::Reply { .. }) => {}
            }
        }
        let members = self.node.status(self.now).members.len();
        assert!(members <= MAX_MEMBERS + SENDERS.len(), "{members} members");
    }

    fn on_event(&mut self, event: Event) {
        let Event::Election(event) = event else { return };
        self.paths.extend(match event {
            Elect::LeadershipGained { .. } => Some("led"),
            Elect::LeadershipLost { .. } => Some("lost the lead"),
            Elect::HandoverEnded { outcome: HandoverOutcome::Handed, .. } => Some("handed over"),
            Elect::TermRaised { .. } => Some("raised its term while leading"),
            Elect::RecordAdopted { .. } => Some("adopted a record"),
            Elect::StoreHealth { works: false } => Some("store failed"),
            Elect::VoteRefused { why: Refusal::Abstaining { .. }, .. } => Some("abstained"),
            _ => None,
        });
    }

    fn on_persist(&mut self, number: u64, write: Write) {
        if let Write::Record(record) = write {
            let old = self.written;
            assert!(record.term >= old.term, "the term falls from {} to {}", old.term, record.term);
            assert!(record.longest_lease >= old.longest_lease, "the longest lease is forgotten");
            assert!(
                record.term > old.term
                    || record.voted_for == old.voted_for && record.nonce == old.nonce,
                "a second vote in one term: {old:?}, then {record:?}"
            );
            self.written = record;
        }
        self.pending.push_back((number, write));
    }

    fn on_send(&mut self, to: SocketAddr, message: Message) {
        let envelope = Envelope { sender: id("a"), boot: OWN, message };
        let mut buffer = [0; MAX_DATAGRAM];
        let length = encode(&envelope, CLUSTER, &mut buffer)
            .unwrap_or_else(|error| panic!("{error}: {envelope:?}"));
        assert_eq!(decode(&buffer[..length], CLUSTER).as_ref(), Ok(&envelope));
        let message = envelope.message;
        match &message {
            Message::Answer(it) if it.verdict == Verdict::Granted => {
                assert!(self.now >= self.abstains_until, "a vote while abstaining: {it:?}");
                self.granted(true, to, it.number, it.term);
            }
            Message::Acknowledge(it) if it.verdict == Verdict::Granted => {
                self.granted(false, to, it.number, it.term);
            }
            Message::Election(it) => {
                let vote = self.durable.map(|record| (record.term, record.voted_for, record.nonce));
                let own = Some((it.term, Some(id("a")), OWN.nonce));
                assert_eq!(vote, own, "its own vote is durable before it asks for others");
                assert!(!self.released.contains(&it.term), "it stands in a released term");
                self.requests.insert((it.number, it.term), self.now);
            }
            Message::Coordinator(it) => {
                // What the same input ended may have been led on before that.
                let leads = self.led || self.node.is_leader(self.now);
                assert!(leads, "a heartbeat without a lease: {it:?}");
                assert!(!self.released.contains(&it.term), "it leads in a released term");
                self.requests.insert((it.number, it.term), self.now);
            }
            Message::Release(it) if it.nonce == OWN.nonce => {
                self.released.insert(it.term);
            }
            _ => {}
        }
        if matches!(message, Message::Hearing(_)) {
            // Nobody answers it.
            return;
        }
        if self.sent.len() == 32 {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { to, message });
    }

    /// A vote or acknowledgement has left.
    fn granted(&mut self, is_vote: bool, to: SocketAddr, number: u64, term: u64) {
        let now = self.now;
        self.paths.insert(if is_vote { "voted for another" } else { "acknowledged" });
        // An answer goes to where its receiver has proved to be, which need not be where it asked
        // from.
        let of = |asked: &Asked| (asked.is_vote, asked.number, asked.term);
        let same = |asked: &Asked| of(asked) == (is_vote, number, term);
        let at_home = self.asked.iter().any(|asked| same(asked) && asked.from == to);
        let is = |asked: &Asked| same(asked) && (!at_home || asked.from == to);
        // The same question of two processes under one address is told apart by nobody: both
        // count as granted only when there is one holder.
        let holders: BTreeSet<_> =
            self.asked.iter().filter(|a| is(a)).map(|asked| asked.holder).collect();
        assert!(!holders.is_empty(), "granted to {to} what it did not ask for");
        let durable = self.durable.expect("a grant rests on a durable record");
        assert!(durable.term >= term, "a grant in term {term} before its record: {durable:?}");
        if holders.len() > 1 {
            return;
        }
        // Nor is the one that has moved to where the other asked from.
        let voted_for = durable.voted_for.map(|voted_for| (voted_for, durable.nonce));
        let moved = |asked: &&Asked| same(asked) && Some(asked.holder) == voted_for;
        if is_vote && at_home && self.asked.iter().any(|asked| moved(&asked) && asked.from != to) {
            return;
        }
        let Some(&holder) = holders.first() else { return };
        if is_vote && durable.term == term {
            assert_eq!((durable.voted_for, durable.nonce), (Some(holder.0), holder.1));
        }
        // One number with two leases is no question of an honest process; the shorter one is certain.
        let lease = self.asked.iter().filter(|asked| is(asked)).map(|asked| asked.lease).min();
        let is = |asked: &Asked| is(asked) && Some(asked.lease) == lease;
        // What comes again under its number was sent when it first came, and counts from then.
        let first = self.asked.iter().filter(|asked| is(asked)).map(|asked| asked.at).min();
        let is = |asked: &Asked| is(asked) && Some(asked.at) == first;
        for asked in self.asked.iter_mut().filter(|asked| is(asked)) {
            asked.granted_at.get_or_insert(now);
        }
        let mine = self.asked.iter().filter(|a| is(a) && !a.released).map(Asked::until).max();
        let Some(mine) = mine.filter(|until| now < *until) else { return };
        let other = |asked: &&Asked| {
            asked.granted_at.is_some()
                && asked.holder != holder
                && !asked.released
                && now < asked.until()
        };
        if let Some(other) = self.asked.iter().find(other) {
            panic!("promised to {holder:?} until {mine} over {other:?}");
        }
        assert!(
            !self.node.is_leader(now),
            "a leader promised {holder:?}, and its own promise is to itself"
        );
    }

    fn check_lease(&mut self) {
        if !self.node.is_leader(self.now) {
            return;
        }
        if let Some(stopped_at) = self.stopped_at {
            // It may look for a successor, for as long as it is woken when it wants to be.
            let late = self.node.poll_timeout().is_some_and(|deadline| deadline.at <= self.now);
            let searches = self.now.since(stopped_at) < Duration::from_millis(500);
            // Work that does not end in time lets the lease run out, unrenewed.
            let soon = searches || self.now < self.work_by + LEASE;
            assert!(soon || late, "it leads after its stop");
        }
        let status = self.node.status(self.now);
        let voters: BTreeSet<NodeId> = status.voters.iter().map(|voter| voter.id).collect();
        let quorum = voters.len() / 2 + 1;
        let runs = |at: &Instant| self.now < *at + lease::under_drift(LEASE, DRIFT);
        let mut backing: BTreeSet<NodeId> = BTreeSet::from([id("a")]);
        for (voter, number, term) in &self.credits {
            if voters.contains(voter) && self.requests.get(&(*number, *term)).is_some_and(runs) {
                backing.insert(*voter);
            }
        }
        assert!(backing.len() >= quorum, "leads with {backing:?} of {voters:?}");
        if self.requests.len() > 4_096 {
            let requests: BTreeMap<_, _> =
                self.requests.iter().filter(|(_, at)| runs(at)).map(|(k, v)| (*k, *v)).collect();
            self.requests = requests;
            let known: BTreeSet<(u64, u64)> = self.requests.keys().copied().collect();
            self.credits.retain(|(_, number, term)| known.contains(&(*number, *term)));
        }
    }
}
