//! Every core taken by others, and what a node asks of the system against that.
//!
//! `BURN_SECONDS=600 cargo test --release --test flood ten_minutes -- --ignored --nocapture`

use core::time::Duration;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::process::program;
use crate::support::{NAMES, wait_for};
use crate::{ALL, TIMING, acknowledged, alone, configure};

/// Computes on twice as many threads as there are cores while `work` lasts.
fn burning<T>(work: impl FnOnce() -> T) -> T {
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
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

#[test]
fn the_leader_stays_while_others_take_every_core() {
    let _alone = alone();
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let watch = cluster.watch();
    burning(|| {
        let heard = acknowledged(&cluster, before.0);
        // Five leases.
        let more = || (acknowledged(&cluster, before.0) > heard + 120.0).then_some(());
        wait_for("heartbeats on a busy machine", more);
    });
    assert_eq!(cluster.wait_agreed(&ALL), before);
    watch.judge(true);
}

#[test]
#[ignore = "ten minutes of every core"]
fn ten_minutes_of_burning_at_a_lease_of_a_second_change_no_leader() {
    let timing = Timing { heartbeat_ms: 250, lease_ms: 1_000 };
    let Some(mut cluster) = on_loopback(timing) else { return };
    if let Ok(nice) = std::env::var("BURN_NICE") {
        configure(&cluster, &format!("scheduling: {{nice: {nice}, lock_memory: true}}\n"));
    }
    let seconds = std::env::var("BURN_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(600));
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let watch = cluster.watch();
    let mut changes = 0;
    let mut leader = before;
    burning(|| {
        while Instant::now() < end {
            thread::sleep(Duration::from_secs(1));
            let now = cluster.wait_agreed(&ALL);
            changes += usize::from(now != leader);
            leader = now;
        }
    });
    let late: Vec<_> = ALL.map(|node| cluster.late_loops(node)).to_vec();
    println!("{changes} changes; loops late by more than 0.1 s, by node: {late:?}");
    watch.judge(true);
    assert_eq!(changes, 0);
}

/// The nice values of the threads of a process; the name of a thread may hold spaces.
fn nices(pid: u64) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").filter_map(Result::ok);
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let nice = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok();
    stats.filter_map(nice).collect()
}

fn field(pid: u64, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
    line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
fn a_node_asks_for_its_own_threads_and_not_for_the_work_that_it_starts() {
    let asks = |cluster: &Cluster| {
        let file = cluster.dir.path().join("nice");
        fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))
    };
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    configure(&cluster, "scheduling: {nice: -7, lock_memory: true}\n");
    for node in ALL {
        let mut command = program(cluster.net(node));
        command.args(["exec", "--node", NAMES[node], "--", "/bin/sh", "-c"]);
        command.arg("nice > nice; exec sleep 1000").current_dir(cluster.dir.path());
        cluster.start_as(node, command);
    }
    let (leader, _) = cluster.wait_agreed(&ALL);
    let own = std::process::Command::new("nice").output().expect("a program").stdout;
    let said = wait_for("the work", || asks(&cluster));
    assert_eq!(said, String::from_utf8_lossy(&own), "the work runs as this test does");
    let pid = cluster.status(leader).number("pid");
    let nices = nices(pid);
    // The loop, the disk, HTTP.
    assert!(nices.iter().filter(|nice| **nice == -7).count() >= 3, "{nices:?}");
    assert!(field(pid, "VmLck:") > 0);
    assert!(cluster.status(leader).0["warnings"].as_array().is_none_or(Vec::is_empty));
}
