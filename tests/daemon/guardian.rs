//! Nodes under guardians: killed, stopped in their tracks, and without their guardian.

use rustix::process::Signal;
use std::time::Instant;

use crate::support::cluster::{Cluster, PORT, Timing, on_loopback};
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

/// A lease that no test waits for.
const LONG: Timing = Timing { heartbeat_ms: 1_000, lease_ms: 60_000 };

/// Five guarded voters, started, with a leader.
fn guarded(timing: Timing) -> Option<Cluster> {
    let mut cluster = on_loopback(timing)?;
    for node in ALL {
        let command = cluster.guarded_command(node);
        cluster.start_as(node, command);
    }
    Some(cluster)
}

/// What `node` and its guardian have logged.
fn log_of(cluster: &Cluster, node: usize) -> String {
    std::fs::read_to_string(cluster.dir.path().join(format!("{}.log", NAMES[node]))).expect("a log")
}

/// The rule of the guardian. The lease is a minute, and a killed leader is replaced at once.
#[test]
fn a_killed_node_is_replaced_by_the_release_of_its_guardian_and_not_by_the_end_of_its_lease() {
    let Some(mut cluster) = guarded(LONG) else { return };
    let watch = cluster.watch();
    let (mut leader, mut term) = cluster.wait_agreed(&ALL);
    for _ in 0..5 {
        cluster.signal_node(leader, Signal::KILL);
        let killed = Instant::now();
        assert_eq!(cluster.ended(leader), Some(137), "it passes on how the node ended");
        let (next, next_term) = cluster.wait_agreed(&cluster.running());
        assert!(killed.elapsed() < LONG.lease() / 2, "the lease was waited for");
        assert!(next != leader && next_term > term);
        let freed = log_of(&cluster, next);
        let freed = freed.lines().filter(|line| line.contains("promise released"));
        let of = |line: &&str| line.contains(NAMES[leader]) && line.contains(&term.to_string());
        assert_eq!(freed.filter(of).count(), 1, "{next} was not released from its promise");
        let told = wait_for("the word of the guardian", || {
            Some(log_of(&cluster, leader)).filter(|log| log.contains("the voters are released"))
        });
        assert!(told.contains("the node was killed"), "{told}");
        let command = cluster.guarded_command(leader);
        cluster.start_as(leader, command);
        (leader, term) = cluster.wait_agreed(&ALL);
        assert_eq!(leader, next, "a restart changes no leader");
    }
    watch.judge(false);
}

#[test]
fn a_node_killed_with_its_guardian_is_replaced_no_earlier_than_its_lease() {
    let Some(mut cluster) = guarded(Timing::SHORT) else { return };
    let watch = cluster.watch();
    let (leader, term) = cluster.wait_agreed(&ALL);
    // The guardian first: the node would hand over if it were given the time.
    let node = cluster.status(leader).number("pid");
    cluster.process(leader).signal(Signal::STOP);
    let pid = i32::try_from(node).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
    cluster.kill(leader);
    let (next, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next != leader && next_term > term);
    watch.judge(true);
}

#[test]
fn a_node_whose_guardian_is_killed_hands_over_and_ends() {
    let Some(mut cluster) = guarded(LONG) else { return };
    let watch = cluster.watch();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let node = cluster.status(leader).number("pid");
    cluster.kill(leader);
    let (next, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next != leader && next_term > term);
    wait_for("the end of the node", || {
        let pids = cluster.net(leader).pids();
        (!pids.contains(&i32::try_from(node).expect("a pid"))).then_some(())
    });
    watch.judge(false);
}

#[test]
fn signals_are_passed_on_and_may_hit_both() {
    let Some(mut cluster) = guarded(LONG) else { return };
    cluster.wait_agreed(&ALL);
    for node in ALL {
        if node % 2 == 0 {
            cluster.signal_node(node, Signal::TERM);
        }
        cluster.signal(node, if node < 2 { Signal::TERM } else { Signal::INT });
        assert_eq!(cluster.ended(node), Some(0));
    }
}

#[test]
fn a_guardian_passes_on_why_its_node_did_not_start() {
    let Some(mut cluster) = five() else { return };
    let net = std::sync::Arc::clone(cluster.net(0));
    let _held =
        net.within(|| std::net::TcpListener::bind(("127.0.0.1", PORT)).expect("it is free"));
    let command = cluster.guarded_command(0);
    cluster.start_as(0, command);
    assert_eq!(cluster.ended(0), Some(69), "{}", log_of(&cluster, 0));
    assert!(log_of(&cluster, 0).contains("is taken by process"));
}
