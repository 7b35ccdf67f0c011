//! Membership by itself under virtual time: what growing from 5 to 5,000 members costs each of them.
//!
//! Each member is the machine of production with a table of all others: 5,000 take 18 GB of memory and
//! more than half an hour. Bytes are those of the wire format, with IPv4 and UDP headers. Links take 1 to 2 ms
//! and lose nothing.
//!
//! All start at the same moment, each with the names and addresses of all others in its configuration:
//! the worst case of joining. Of 5,000 each is then told of all others, as by one that has been there for long: to find
//! all from nothing takes much longer to compute. Then one of them restarts with an empty table.
//!
//! `BENCH_MEMBERS` is the largest size and `BENCH_LEAST` the smallest, `BENCH_KILLS` how many members are killed of
//! each size.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_p2p::membership::{Event, Health, Member, Membership, Myself, Output, Params, Seed};
use ringrift_p2p::rng::Rng;
use ringrift_p2p::time::Instant;
use ringrift_wire::{
    Boot, Envelope, Gossip, MAX_DATAGRAM, MAX_UPDATES, MemberState, Message, NodeId, Update, encode,
};
use serde_json::json;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs;

use crate::report::{Report, Spread, setting};

const SECOND: Duration = Duration::from_secs(1);
/// Of UDP and of IPv4, on each datagram.
const HEADERS: usize = 28;
const VOTERS: usize = 5;

const SIZES: [usize; 5] = [5, 32, 200, 1_000, 5_000];
/// More members than this are told of each other when they start.
const MOST_FROM_NOTHING: usize = 1_000;

/// Runs the bench.
pub fn run() {
    let kills = setting("BENCH_KILLS", 20);
    let columns = [
        "members",
        "first to know, s",
        "median",
        "max",
        "last to know, s",
        "median",
        "max",
        "all know all after, s",
        "KB sent for it, each",
        "a restart: known to all after, s",
        "KB sent by it",
        "B sent for it by each other",
        "B/s each",
        "datagrams/s each",
        "KB of memory a table",
        "CPU ms a member-minute",
        "false deaths",
        "kills",
    ];
    let mut report = Report::new("membership-scale", &columns);
    let wanted = setting("BENCH_LEAST", 0)..=setting("BENCH_MEMBERS", 5_000);
    for count in SIZES.into_iter().filter(|size| wanted.contains(size)) {
        let measured = measure(count, kills);
        let spread = |values: &[f64]| {
            let spread = Spread::of(values.to_vec());
            let text = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
            [
                text(spread.as_ref().map(Spread::min)),
                text(spread.as_ref().map(Spread::median)),
                text(spread.as_ref().map(Spread::max)),
            ]
        };
        report.line(json!({
            "members": count, "start_s": measured.start.0, "start_kb": measured.start.1,
            "restart_s": measured.restart.0, "restart_kb": measured.restart.1,
            "restart_bytes_of_others": measured.restart.2, "first_to_know_s": measured.first,
            "last_to_know_s": measured.last, "bytes_per_second": measured.bytes,
            "datagrams_per_second": measured.datagrams, "table_kilobytes": measured.kilobytes,
            "cpu_ms_per_member_minute": measured.cpu_ms, "false_deaths": measured.false_deaths,
            "not_known_within_60_s": measured.missed,
        }));
        let mut row = vec![count.to_string()];
        row.extend(spread(&measured.first));
        row.extend(spread(&measured.last));
        row.extend([
            format!("{:.1}", measured.start.0),
            format!("{:.1}", measured.start.1),
            format!("{:.1}", measured.restart.0),
            format!("{:.1}", measured.restart.1),
            format!("{:.0}", measured.restart.2),
            format!("{:.0}", measured.bytes),
            format!("{:.2}", measured.datagrams),
            format!("{:.1}", measured.kilobytes),
            format!("{:.1}", measured.cpu_ms),
            measured.false_deaths.to_string(),
            format!("{} ({} missed)", measured.last.len() + measured.missed, measured.missed),
        ]);
        println!("{}", row.join(" | "));
        report.row(row);
    }
    report.hand_over();
}

struct Measured {
    /// Seconds until all know all, kilobytes that each has sent once the rumours have died away.
    start: (f64, f64),
    /// Of one restart: seconds until all know it and it knows all, kilobytes that it sent, bytes that
    /// each other sent for it.
    restart: (f64, f64, f64),
    first: Vec<f64>,
    last: Vec<f64>,
    missed: usize,
    false_deaths: usize,
    bytes: f64,
    datagrams: f64,
    kilobytes: f64,
    cpu_ms: f64,
}

fn measure(count: usize, kills: usize) -> Measured {
    let before = resident();
    let mut herd = Herd::new(count, 7);
    let began = herd.now;
    if count > MOST_FROM_NOTHING {
        herd.introduce();
    }
    let start_s = herd.until_all_know_all(began).unwrap_or(f64::INFINITY);
    println!("{count} members: all know all after {start_s:.1} s");
    // Until the rumours of the start have been carried as often as they are.
    herd.run(SECOND * if count >= 1_000 { 240 } else { 60 });
    let start = (start_s, herd.bytes as f64 / 1e3 / count as f64);
    let kilobytes = resident().saturating_sub(before) as f64 / count as f64;
    let (bytes, datagrams) = (herd.bytes, herd.datagrams);
    let cpu = cpu_seconds();
    let idle = SECOND * 60;
    herd.run(idle);
    let each = count as f64 * idle.as_secs_f64();
    let per_second = (herd.bytes - bytes) as f64 / idle.as_secs_f64();
    let mut measured = Measured {
        start,
        restart: (0.0, 0.0, 0.0),
        first: Vec::new(),
        last: Vec::new(),
        missed: 0,
        false_deaths: 0,
        bytes: (herd.bytes - bytes) as f64 / each,
        datagrams: (herd.datagrams - datagrams) as f64 / each,
        kilobytes,
        cpu_ms: (cpu_seconds() - cpu) * 1e3 / count as f64 * 60.0 / idle.as_secs_f64(),
    };
    println!("{count} members: {:.0} B/s each", measured.bytes);
    measured.restart = restart(&mut herd, per_second);
    measured.false_deaths += herd.deaths.len();
    for kill in 0..kills {
        // Never a voter: those are probed more often.
        let victim = if count == VOTERS { kill % VOTERS } else { VOTERS + kill % (count - VOTERS) };
        herd.deaths.clear();
        herd.kill(victim);
        let began = herd.now;
        let mut all = false;
        while !all && herd.now.since(began) < SECOND * 60 {
            herd.run(Duration::from_millis(10));
            all = herd.all_know(victim);
        }
        let of_it = |(_, of, at): &(usize, usize, Instant)| {
            (*of == victim).then(|| at.since(began).as_secs_f64())
        };
        let times: Vec<f64> = herd.deaths.iter().filter_map(of_it).collect();
        measured.false_deaths += herd.deaths.len() - times.len();
        if all {
            measured.first.extend(times.iter().copied().min_by(f64::total_cmp));
            measured.last.extend(times.iter().copied().max_by(f64::total_cmp));
        } else {
            measured.missed += 1;
        }
        println!(
            "{count} members: kill {kill}: {:?}, {:?}",
            measured.first.last(),
            measured.last.last()
        );
        herd.restart(victim);
        herd.run(SECOND * 20 + Duration::from_millis(137 * kill as u64));
    }
    measured
}

/// One member restarts with an empty table, in a cluster that sends so many bytes a second.
fn restart(herd: &mut Herd, per_second: f64) -> (f64, f64, f64) {
    let newcomer = herd.count - 1;
    let (began, bytes, own) = (herd.now, herd.bytes, herd.sent[newcomer]);
    herd.restart(newcomer);
    let known = herd.until_all_know_all(began).unwrap_or(f64::INFINITY);
    herd.run(SECOND * 60);
    let seconds = herd.now.since(began).as_secs_f64();
    let usual = per_second / herd.count as f64 * seconds;
    let own = (herd.sent[newcomer] - own) as f64;
    let others = (herd.bytes - bytes) as f64 - own - usual * (herd.count - 1) as f64;
    (known, (own - usual) / 1e3, others / (herd.count - 1) as f64)
}

fn name(number: usize) -> NodeId {
    NodeId::from_bytes(format!("member-{number:04}").as_bytes()).expect("a good name")
}

/// The number of a member.
fn of(name: NodeId) -> usize {
    name.as_str().trim_start_matches("member-").parse().unwrap_or(0)
}

fn address(number: usize) -> SocketAddr {
    let [_, _, high, low] = (number as u32 + 1).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), 8770)
}

fn number_of(address: SocketAddr) -> usize {
    let IpAddr::V4(ip) = address.ip() else { return usize::MAX };
    ((ip.to_bits() & 0xffff) as usize).wrapping_sub(1)
}

/// A datagram under way, or a deadline; the earliest first.
type Due = core::cmp::Reverse<(Instant, u64)>;

enum What {
    Arrives { from: usize, to: usize, message: Message },
    Wakes { member: usize },
}

struct Herd {
    now: Instant,
    rng: Rng,
    count: usize,
    members: Vec<Option<Membership>>,
    boots: Vec<Boot>,
    wakes: Vec<Instant>,
    heap: BinaryHeap<Due>,
    what: BTreeMap<u64, What>,
    sequence: u64,
    bytes: usize,
    /// Bytes that each member has sent.
    sent: Vec<usize>,
    datagrams: usize,
    /// Who declared whom dead, and when.
    deaths: Vec<(usize, usize, Instant)>,
    buffer: [u8; MAX_DATAGRAM],
}

impl Herd {
    fn new(count: usize, seed: u64) -> Self {
        let mut herd = Self {
            now: Instant::ZERO + SECOND * 1_000,
            rng: Rng::new(seed),
            count,
            members: (0..count).map(|_| None).collect(),
            boots: (0..count).map(|n| Boot { sequence: 1_000, nonce: n as u64 }).collect(),
            wakes: vec![Instant::NEVER; count],
            heap: BinaryHeap::new(),
            what: BTreeMap::new(),
            sequence: 0,
            bytes: 0,
            sent: vec![0; count],
            datagrams: 0,
            deaths: Vec::new(),
            buffer: [0; MAX_DATAGRAM],
        };
        for member in 0..count {
            herd.start(member);
        }
        herd
    }

    fn start(&mut self, member: usize) {
        let seeds = (0..self.count).filter(|&seed| seed != member);
        let seeds = seeds.map(|seed| Seed {
            id: name(seed),
            address: Some(address(seed)),
            voter: seed < VOTERS,
        });
        let me = Myself {
            id: name(member),
            boot: self.boots[member],
            address: address(member),
            incarnation: 0,
            voter: member < VOTERS,
        };
        let params = Params {
            probe_interval: SECOND,
            probe_timeout: None,
            peer_timeout: SECOND * 60,
            open: false,
            max_members: 10_000,
        };
        let seed = self.rng.next_u64();
        let now = self.now;
        self.members[member] = Some(Membership::new(params, me, seeds.collect(), seed, now));
        self.drain(member);
    }

    /// Tells each of all others.
    fn introduce(&mut self) {
        for member in 0..self.count {
            let teller = usize::from(member == 0);
            let updates: Vec<Update> = (0..self.count)
                .filter(|&other| other != member)
                .map(|other| Update {
                    member: name(other),
                    address: address(other),
                    sequence: self.boots[other].sequence,
                    incarnation: 0,
                    state: MemberState::Alive,
                })
                .collect();
            for chunk in updates.chunks(MAX_UPDATES) {
                let gossip = Gossip { beacon: None, updates: chunk.to_vec() };
                self.arrive(teller, member, &Message::Gossip(gossip));
            }
        }
    }

    fn kill(&mut self, member: usize) {
        self.members[member] = None;
        self.wakes[member] = Instant::NEVER;
    }

    fn restart(&mut self, member: usize) {
        self.boots[member].sequence += 1;
        self.start(member);
    }

    /// Whether every member that is up has declared `of` dead.
    fn all_know(&self, of: usize) -> bool {
        let id = name(of);
        let mut up = self.members.iter().flatten();
        up.all(|member| member.member(id).is_some_and(|m| m.health == Health::Dead))
    }

    /// Seconds from `began` until every member has held all others for reachable, in their present
    /// boots; `None` after ten minutes.
    fn until_all_know_all(&mut self, began: Instant) -> Option<f64> {
        // Whoever has known all is not looked at again: of 5,000 that would take longer than all else.
        let mut known = 0;
        while self.now.since(began) < SECOND * 600 {
            self.run(SECOND / 10);
            known += (known..self.count).take_while(|&member| self.knows_all(member)).count();
            if known == self.count {
                return Some(self.now.since(began).as_secs_f64());
            }
        }
        None
    }

    /// Whether a member, if it is up, holds all others for reachable, in their present boots.
    fn knows_all(&self, member: usize) -> bool {
        let Some(member) = &self.members[member] else { return true };
        let is_present = |one: &&Member| {
            one.health.is_reachable()
                && one.sequence.is_some_and(|known| known >= self.boots[of(one.id)].sequence)
        };
        member.members().filter(is_present).count() + 1 == self.count
    }

    fn push(&mut self, at: Instant, what: What) {
        self.sequence += 1;
        self.what.insert(self.sequence, what);
        self.heap.push(core::cmp::Reverse((at, self.sequence)));
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(core::cmp::Reverse((at, sequence))) = self.heap.peek().copied() {
            if at > end {
                break;
            }
            self.heap.pop();
            self.now = self.now.max(at);
            match self.what.remove(&sequence) {
                Some(What::Arrives { from, to, message }) => self.arrive(from, to, &message),
                Some(What::Wakes { member }) if self.wakes[member] <= self.now => {
                    let now = self.now;
                    self.wakes[member] = Instant::NEVER;
                    if let Some(node) = &mut self.members[member] {
                        node.handle_timeout(now);
                    }
                    self.drain(member);
                }
                Some(What::Wakes { .. }) | None => {}
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, from: usize, to: usize, message: &Message) {
        let now = self.now;
        if let Some(node) = &mut self.members[to] {
            node.handle_message(now, address(from), name(from), self.boots[from], message);
            self.drain(to);
        }
    }

    fn drain(&mut self, member: usize) {
        while let Some(output) = self.members[member].as_mut().and_then(Membership::poll_output) {
            match output {
                Output::Send { to, message, .. } => {
                    let to = number_of(to);
                    let envelope =
                        Envelope { sender: name(member), boot: self.boots[member], message };
                    let length = encode(&envelope, 1, &mut self.buffer).expect("it fits");
                    self.bytes += length + HEADERS;
                    self.sent[member] += length + HEADERS;
                    self.datagrams += 1;
                    self.carry(member, to, envelope.message);
                }
                Output::Event(Event::MemberDied { member: whom, .. }) => {
                    self.deaths.push((member, of(whom), self.now));
                }
                Output::Event(_) | Output::RoundTrip { .. } => {}
            }
        }
        let due = self.members[member].as_ref().and_then(Membership::poll_timeout);
        let Some(due) = due.map(|deadline| deadline.at.max(self.now)) else { return };
        if due < self.wakes[member] {
            self.wakes[member] = due;
            self.push(due, What::Wakes { member });
        }
    }

    fn carry(&mut self, from: usize, to: usize, message: Message) {
        if to < self.count {
            let delay = Duration::from_millis(1) + self.rng.duration_below(SECOND / 1_000);
            let at = self.now + delay;
            self.push(at, What::Arrives { from, to, message });
        }
    }
}

/// Kilobytes in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Processor seconds of this process.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ran = text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    ran.unwrap_or(0.0) / 1e9
}
