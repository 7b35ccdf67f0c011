//! What floods of datagrams, crowds of clients and busy cores cost a cluster: five voters, heartbeat 250 ms,
//! lease 1 s. `BENCH_ONLY=floods`, `questions` or `burning` runs one of the three.
//!
//! Each goes on for `BENCH_SECONDS` (10), a flood against the leader and then against a follower, from
//! `BENCH_SENDERS` (1) threads. A ratio is to the same cluster, just before, with nobody attacking.

use core::time::Duration;
use ringrift_wire::Key;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Instant;

use super::lab::{Lab, Timing, VOTERS};
use super::support::PATIENCE;
use super::support::flood::{self, Flood};
use super::support::http::Client;
use crate::report::{Report, asked_for, setting};

pub const TIMING: Timing = Timing { heartbeat_ms: 250, lease_ms: 1_000, probe_ms: 250 };

/// The name of the cluster of a [`Lab`].
const CLUSTER: &str = "bench";

/// How many datagrams are overheard to be sent again.
const OVERHEARD: usize = 200;

/// The sorts of floods, and whether the cluster seals its gossip.
const FLOODS: [(&str, bool); 8] = [
    ("garbage", true),
    ("another cluster", true),
    ("wrong key", true),
    ("wrong key under voters' addresses", true),
    ("replays", true),
    ("replays under voters' addresses", true),
    ("forged, without a key", false),
    ("replays, without a key", false),
];

/// How long each measurement takes.
pub fn length() -> Duration {
    Duration::from_secs(u64::try_from(setting("BENCH_SECONDS", 10)).unwrap_or(10))
}

/// Runs the bench.
pub fn run() {
    let only = std::env::var("BENCH_ONLY").ok();
    let parts: [(&str, fn()); 3] = [
        ("floods", all_floods),
        ("questions", super::questions::run),
        ("burning", super::burning::run),
    ];
    for (name, part) in parts {
        if only.as_deref().is_none_or(|only| only == name) {
            part();
        }
    }
}

fn all_floods() {
    let columns = [
        "flood",
        "at",
        "sent /s",
        "leader changes",
        "heartbeats acknowledged, ratio",
        "suspicions",
        "CPU of the node, cores",
        "dropped by the kernel /s",
        "resident growth, MB",
        "/status, ms (ratio)",
    ];
    let mut report = Report::new("load", &columns);
    for (name, sealed) in FLOODS {
        if asked_for(name) {
            floods(&mut report, name, sealed);
        }
    }
    report.hand_over();
}

/// What the nodes count, summed over all.
pub struct Counts {
    pub acknowledged: f64,
    pub changes: f64,
    pub suspicions: f64,
}

fn floods(report: &mut Report, name: &str, sealed: bool) {
    let length = length();
    let mut lab = Lab::on_loopback(TIMING, false);
    let Some(net) = lab.net(0) else {
        println!("not run: floods need root, for network namespaces");
        return;
    };
    let ring = tempfile::NamedTempFile::new().expect("a file");
    fs::write(ring.path(), "11".repeat(Key::LEN)).expect("a file");
    fs::set_permissions(ring.path(), fs::Permissions::from_mode(0o600)).expect("our own file");
    if sealed {
        let key = format!("cluster: bench\ngossip: {{key_file: {}}}\n", ring.path().display());
        lab.reconfigure("cluster: bench\n", &key);
    }
    (0..VOTERS).for_each(|node| lab.start(node));
    let leader = lab.wait_settled();
    for (who, node) in [("leader", leader), ("follower", (leader + 1) % VOTERS)] {
        lab.wait_settled();
        let IpAddr::V4(ip) = lab.http(node).ip() else { continue };
        let to = SocketAddrV4::new(ip, lab.http(node).port());
        let overheard = || flood::overhear(&net, to, OVERHEARD);
        let senders = || overheard().into_iter().map(|(from, _)| from);
        let plain = |said: Vec<(_, Vec<u8>)>| said.into_iter().map(|(_, it)| it).collect();
        let wrong = || flood::sealed_heartbeats(CLUSTER, 0x22);
        let calm = measure(&lab, node, length, || 0);
        let start = || match name {
            "garbage" => Flood::of_stranger(net.clone(), to, flood::garbage()),
            "another cluster" => {
                Flood::of_stranger(net.clone(), to, flood::sealed_heartbeats("another", 0x11))
            }
            "wrong key" => Flood::of_stranger(net.clone(), to, wrong()),
            "wrong key under voters' addresses" => {
                let said: Vec<_> = senders().cycle().zip(wrong()).collect();
                Flood::of_liar(net.clone(), to, &said)
            }
            "forged, without a key" => {
                Flood::of_stranger(net.clone(), to, flood::heartbeats(CLUSTER))
            }
            "replays" | "replays, without a key" => {
                Flood::of_stranger(net.clone(), to, plain(overheard()))
            }
            _ => Flood::of_liar(net.clone(), to, &overheard()),
        };
        let started: Vec<Flood> = (0..setting("BENCH_SENDERS", 1)).map(|_| start()).collect();
        let sent = || started.iter().map(Flood::sent).sum();
        let busy = measure(&lab, node, length, sent);
        drop(started);
        let ratio = busy.counts.acknowledged / calm.counts.acknowledged;
        let slower = busy.answer_ms / calm.answer_ms;
        report.line(json!({
            "flood": name, "at": who, "sent_per_second": busy.sent, "leader_changes":
            busy.counts.changes, "acknowledged_ratio": ratio, "suspicions": busy.counts.suspicions,
            "cpu_cores": busy.cpu, "dropped_per_second": busy.dropped, "resident_growth_megabytes": busy.grown,
            "status_milliseconds": busy.answer_ms, "status_ratio": slower,
        }));
        report.row([
            name.to_owned(),
            who.to_owned(),
            format!("{:.0}", busy.sent),
            format!("{:.0}", busy.counts.changes),
            format!("{ratio:.2}"),
            format!("{:.0}", busy.counts.suspicions),
            format!("{:.2}", busy.cpu),
            format!("{:.0}", busy.dropped),
            format!("{:.1}", busy.grown),
            format!("{:.1} ({slower:.1})", busy.answer_ms),
        ]);
    }
}

/// A stretch of time in figures.
struct Stretch {
    counts: Counts,
    sent: f64,
    cpu: f64,
    dropped: f64,
    grown: f64,
    answer_ms: f64,
}

fn measure(lab: &Lab, node: usize, length: Duration, sent: impl Fn() -> u64) -> Stretch {
    let (before, began) = (counts(lab), Instant::now());
    let (sent_before, (cpu_before, resident)) = (sent(), costs(lab, node));
    let dropped = kernel_drops(lab, node);
    let mut answers = Vec::new();
    while began.elapsed() < length {
        let asked = Instant::now();
        let _may_fail = lab.ask(node, "/status");
        answers.push(asked.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(100));
    }
    let seconds = began.elapsed().as_secs_f64();
    let dropped = kernel_drops(lab, node) - dropped;
    let (sent_after, (cpu, resident_after)) = (sent(), costs(lab, node));
    let after = counts(lab);
    answers.sort_by(f64::total_cmp);
    Stretch {
        counts: Counts {
            acknowledged: after.acknowledged - before.acknowledged,
            changes: after.changes - before.changes,
            suspicions: after.suspicions - before.suspicions,
        },
        sent: (sent_after - sent_before) as f64 / seconds,
        cpu: (cpu - cpu_before) / seconds,
        dropped: dropped / seconds,
        grown: resident_after - resident,
        answer_ms: answers[answers.len() / 2],
    }
}

/// What the nodes have counted so far.
pub fn counts(lab: &Lab) -> Counts {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for node in 0..VOTERS {
        let text = metrics(lab, node);
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let name = name.split('{').next().unwrap_or_default();
            *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or(0.0);
        }
    }
    let of = |name: &str| sums.get(name).copied().unwrap_or(0.0);
    Counts {
        acknowledged: of("ringrift_p2p_leader_heartbeats_acknowledged_total"),
        changes: of("ringrift_p2p_leader_changes_total"),
        suspicions: of("ringrift_p2p_suspicions_raised_total"),
    }
}

/// Datagrams that the kernel has dropped before the sockets of a node, for want of room or by a filter.
fn kernel_drops(lab: &Lab, node: usize) -> f64 {
    lab.enter(node);
    let IpAddr::V4(ip) = lab.http(node).ip() else { return 0.0 };
    let own = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), lab.http(node).port());
    let table = fs::read_to_string("/proc/thread-self/net/udp").unwrap_or_default();
    let of_node = table.lines().filter(|line| line.split_whitespace().nth(1) == Some(own.as_str()));
    of_node.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok()).sum()
}

/// What a node counts; the answer may be long in coming.
pub fn metrics(lab: &Lab, node: usize) -> String {
    lab.enter(node);
    let began = Instant::now();
    let patient = || began.elapsed() > PATIENCE;
    let asked = Client::connect(lab.http(node));
    let answer = asked.and_then(|mut client| client.request("GET", "/metrics", patient));
    answer.expect("an answer of /metrics").body
}

/// Processor seconds of a node so far, and the megabytes that it holds.
fn costs(lab: &Lab, node: usize) -> (f64, f64) {
    let folder = format!("/proc/{}", lab.pid(node).as_raw_nonzero());
    let tasks = fs::read_dir(format!("{folder}/task")).expect("the node runs");
    let ran = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    let status = fs::read_to_string(format!("{folder}/status")).expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    (ran.sum::<f64>() / 1e9, kilobytes.unwrap_or(0.0) / 1024.0)
}
