//! What a quiet cluster costs: five voters and an observer, heartbeat 1 s, over `BENCH_SECONDS`.
//!
//! Datagrams and bytes come from the nodes' own counters, and are held against what the kernel of their
//! namespace counted. Processor time is that of the scheduler, to the nanosecond; nobody asks the nodes
//! anything meanwhile.

use core::time::Duration;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Instant;

use super::lab::{Lab, Timing, VOTERS};
use crate::report::{Report, setting};

const TIMING: Timing = Timing { heartbeat_ms: 1_000, lease_ms: 4_000, probe_ms: 1_000 };

/// Of UDP and of IPv4, on each datagram.
const HEADERS: f64 = 28.0;

/// Rumours of the start have died away by then.
const SETTLE: Duration = Duration::from_secs(10);

/// What is counted of a node since its start.
struct Counts {
    at: Instant,
    metrics: BTreeMap<String, f64>,
    cpu_seconds: f64,
    wakeups: f64,
}

/// Runs the bench.
pub fn run() {
    let seconds = setting("BENCH_SECONDS", 60);
    let columns = [
        "role",
        "payload out B/s",
        "with headers B/s",
        "datagrams out /s",
        "in /s",
        "CPU s/min",
        "wake-ups /s",
        "resident MB",
        "of it own MB",
    ];
    let mut report = Report::new("idle", &columns);
    let mut lab = Lab::on_loopback(TIMING, true);
    (0..lab.len()).for_each(|node| lab.start(node));
    lab.wait_settled();
    thread::sleep(SETTLE);
    let leader = lab.wait_settled();
    let kernel = udp_out(&lab);
    let before: Vec<Counts> = (0..lab.len()).map(|node| counts(&lab, node)).collect();
    thread::sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(60)));
    // The processes before the questions, which cost something themselves.
    let costs: Vec<(f64, f64)> = (0..lab.len()).map(|node| costs(&lab, node)).collect();
    let mut after: Vec<Counts> = (0..lab.len()).map(|node| counts(&lab, node)).collect();
    for (counts, (cpu_seconds, wakeups)) in after.iter_mut().zip(costs) {
        (counts.cpu_seconds, counts.wakeups) = (cpu_seconds, wakeups);
    }
    let kernel = udp_out(&lab) - kernel;
    assert_eq!(lab.wait_settled(), leader, "a quiet cluster keeps its leader");

    let roles = [
        ("leader", vec![leader]),
        ("voter", (0..VOTERS).filter(|&node| node != leader).collect()),
        ("observer", (VOTERS..lab.len()).collect()),
    ];
    let mut counted = 0.0;
    for (role, nodes) in roles {
        let mut sums = [0.0; 8];
        let mut kinds: BTreeMap<String, f64> = BTreeMap::new();
        for &node in &nodes {
            let (before, after) = (&before[node], &after[node]);
            let length = after.at.duration_since(before.at).as_secs_f64();
            let more = |name: &str| {
                let sum = |counts: &Counts| -> f64 {
                    let of_name = counts.metrics.iter().filter(|(key, _)| key.starts_with(name));
                    of_name.map(|(_, value)| value).sum()
                };
                sum(after) - sum(before)
            };
            let sent = more("ringrift_p2p_datagrams_sent_total");
            let bytes = more("ringrift_p2p_sent_bytes_total");
            counted += sent;
            let (resident, own) = memory(&lab, node);
            let values = [
                bytes / length,
                (bytes + HEADERS * sent) / length,
                sent / length,
                more("ringrift_p2p_datagrams_received_total") / length,
                (after.cpu_seconds - before.cpu_seconds) / length * 60.0,
                (after.wakeups - before.wakeups) / length,
                resident,
                own,
            ];
            report.line(json!({
                "role": role, "node": node, "seconds": length, "payload_bytes_per_second": values[0],
                "bytes_per_second_with_headers": values[1], "datagrams_out_per_second": values[2],
                "datagrams_in_per_second": values[3], "cpu_seconds_per_minute": values[4],
                "wakeups_per_second": values[5], "resident_megabytes": values[6],
                "anonymous_megabytes": values[7],
            }));
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value / f64::from(u32::try_from(nodes.len()).unwrap_or(1));
            }
            for (key, value) in &after.metrics {
                let Some(kind) = key.strip_prefix("ringrift_p2p_sent_bytes_total") else {
                    continue;
                };
                let more = value - before.metrics.get(key).copied().unwrap_or(0.0);
                *kinds.entry(kind.to_owned()).or_default() += more / length;
            }
        }
        kinds.retain(|_, bytes| *bytes > 0.0);
        report.line(json!({ "role": role, "payload_bytes_per_second_by_kind": kinds }));
        let [payload, whole, out, into, cpu, wakeups, resident, own] = sums;
        report.row([
            role.to_owned(),
            format!("{payload:.0}"),
            format!("{whole:.0}"),
            format!("{out:.2}"),
            format!("{into:.2}"),
            format!("{cpu:.3}"),
            format!("{wakeups:.1}"),
            format!("{resident:.1}"),
            format!("{own:.1}"),
        ]);
    }
    println!("over {seconds} s; datagrams: {counted} by the nodes, {kernel} by the kernel");
    report.line(json!({ "datagrams_by_nodes": counted, "datagrams_by_kernel": kernel }));
    report.hand_over();
}

fn counts(lab: &Lab, node: usize) -> Counts {
    let at = Instant::now();
    let text = lab.ask(node, "/metrics").expect("an answer of /metrics").body;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    let metrics = samples.filter_map(sample).collect();
    let (cpu_seconds, wakeups) = costs(lab, node);
    Counts { at, metrics, cpu_seconds, wakeups }
}

/// Processor seconds and voluntary waits of all threads.
fn costs(lab: &Lab, node: usize) -> (f64, f64) {
    let tasks = format!("/proc/{}/task", lab.pid(node).as_raw_nonzero());
    let (mut cpu, mut wakeups) = (0.0, 0.0);
    for task in fs::read_dir(tasks).expect("the node runs").filter_map(Result::ok) {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let ran = read("schedstat").split(' ').next().and_then(|text| text.parse::<f64>().ok());
        cpu += ran.unwrap_or(0.0) / 1e9;
        wakeups += field(&read("status"), "voluntary_ctxt_switches");
    }
    (cpu, wakeups)
}

/// Megabytes in memory, and those of them that are no pages of the program's file.
fn memory(lab: &Lab, node: usize) -> (f64, f64) {
    let status = format!("/proc/{}/status", lab.pid(node).as_raw_nonzero());
    let status = fs::read_to_string(status).expect("the node runs");
    let megabytes = |name| field(&status, name) / 1024.0;
    (megabytes("VmRSS"), megabytes("RssAnon"))
}

/// A number of a file of `name: number` lines.
fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0.0)
}

/// UDP datagrams that left sockets of the nodes' namespace.
fn udp_out(lab: &Lab) -> f64 {
    lab.enter(0);
    let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0.0 };
    let out = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "OutDatagrams");
    out.and_then(|(_, value)| value.parse().ok()).unwrap_or(0.0)
}
