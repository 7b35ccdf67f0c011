//! Heartbeats while others take every core, at the same priority as the nodes, with and without
//! `scheduling.nice`.

use serde_json::json;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::lab::{Lab, VOTERS};
use super::load::{TIMING, counts, length, metrics};
use crate::report::{Report, asked_for};

/// The bounds of lateness that are told, in seconds, as the histogram writes them.
const BOUNDS: [&str; 3] = ["0.01", "0.1", "0.5"];

/// Runs it.
pub fn run() {
    let columns = [
        "nodes, beside two burners a core",
        "leader changes",
        "suspicions",
        "heartbeats acknowledged, ratio",
        "deadlines late by > 10 ms, per mille",
        "> 100 ms",
        "> 500 ms",
    ];
    let mut report = Report::new("burning", &columns);
    for (name, more) in [
        ("as they are", ""),
        ("scheduling.nice -20, memory locked", "scheduling: {nice: -20, lock_memory: true}\n"),
    ] {
        if asked_for(name) {
            series(&mut report, name, more);
        }
    }
    report.hand_over();
}

fn series(report: &mut Report, name: &str, more: &str) {
    let mut lab = Lab::on_loopback(TIMING, false);
    lab.reconfigure("cluster: bench\n", &format!("cluster: bench\n{more}"));
    (0..VOTERS).for_each(|node| lab.start(node));
    lab.wait_settled();
    let before = counts(&lab);
    thread::sleep(length());
    let calm = counts(&lab).acknowledged - before.acknowledged;
    let (late_before, before) = (lateness(&lab), counts(&lab));
    burn(|| thread::sleep(length()));
    let (late, after) = (lateness(&lab), counts(&lab));
    let all = late[0] - late_before[0];
    let beyond = |at: usize| (all - (late[at] - late_before[at])) / all * 1e3;
    let ratio = (after.acknowledged - before.acknowledged) / calm;
    let changes = after.changes - before.changes;
    let suspicions = after.suspicions - before.suspicions;
    report.line(json!({
        "nodes": name, "leader_changes": changes, "suspicions": suspicions,
        "acknowledged_ratio": ratio, "late_10_ms": beyond(1), "late_100_ms": beyond(2),
        "late_500_ms": beyond(3),
    }));
    report.row([
        name.to_owned(),
        format!("{changes:.0}"),
        format!("{suspicions:.0}"),
        format!("{ratio:.2}"),
        format!("{:.2}", beyond(1)),
        format!("{:.2}", beyond(2)),
        format!("{:.2}", beyond(3)),
    ]);
}

/// Deadlines of all nodes so far: all, and those that were met within each of [`BOUNDS`].
fn lateness(lab: &Lab) -> [f64; 4] {
    let texts: Vec<String> = (0..VOTERS).map(|node| metrics(lab, node)).collect();
    let sum = |name: &str| -> f64 {
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).sum()
    };
    let within =
        BOUNDS.map(|it| sum(&format!("ringrift_p2p_loop_delay_seconds_bucket{{le=\"{it}\"}}")));
    [sum("ringrift_p2p_loop_delay_seconds_count"), within[0], within[1], within[2]]
}

fn burn(work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..2 * cores {
            scope.spawn(|| {
                let mut number = 1_u64;
                while !over.load(Ordering::Relaxed) {
                    number = black_box(number.wrapping_mul(6_364_136_223_846_793_005));
                }
            });
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
}
