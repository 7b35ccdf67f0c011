//! Disks that fail to make a write durable, take seconds for it, or hang for ever.

use crate::support::cluster::{Cluster, Timing};
use crate::support::wait_for;
use crate::tracer::Tracer;
use crate::{ALL, five, five_with, log_of, wait_failed, wait_moved, wait_works};

const HANG: &str = "delay_enter=1000000000";

/// A node whose disk hangs answers, hears and is heard.
#[track_caller]
fn is_well_otherwise(cluster: &Cluster, node: usize) {
    for path in ["/health", "/status", "/metrics", "/election/status"] {
        let answer = cluster.ask(node, "GET", path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
    }
    let received = |cluster: &Cluster| {
        let kind = |kind: &str| format!("ringrift_p2p_datagrams_{kind}");
        [
            kind("received_total{kind=\"coordinator\"}"),
            kind("received_total{kind=\"ping\"}"),
            kind("sent_total{kind=\"ack\"}"),
        ]
        .map(|name| cluster.metric(node, &name))
    };
    let before = received(cluster);
    wait_for("heartbeats and pings", || {
        let now = received(cluster);
        now.iter().zip(before).all(|(now, before)| *now >= before + 3.0).then_some(())
    });
}

#[test]
fn a_leader_whose_disk_hangs_hands_over_and_neither_its_loop_nor_its_http_stands_still() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let hung = Tracer::of(&cluster, leader, HANG);
    let why = wait_failed(&cluster, leader);
    assert!(why.contains("has not answered for 5 s"), "{why}");
    let next = wait_moved(&cluster, leader);
    is_well_otherwise(&cluster, leader);
    cluster.wait_settled();
    assert!(log_of(&cluster, leader).contains("store_failed"));
    drop(hung);
    wait_works(&cluster, leader);
    assert_eq!(cluster.wait_agreed(&ALL).0, next);
    watch.judge(false);
}

#[test]
fn where_all_disks_hang_the_leader_leads_on_and_its_loss_is_made_good_when_they_answer() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let mut hung = ALL.map(|node| Some(Tracer::of(&cluster, node, HANG)));
    for node in ALL {
        wait_failed(&cluster, node);
    }
    wait_for("an attempt to hand over", || {
        log_of(&cluster, leader).contains("no_target").then_some(())
    });
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term));
    // A process that is traced does not end before its tracer lets go.
    hung[leader] = None;
    cluster.kill(leader);
    let running = cluster.running();
    let reasons = cluster.wait_leaderless(&running);
    assert!(reasons.iter().any(|reason| reason.contains("vote store")), "{reasons:?}");
    drop(hung);
    let (next, later) = cluster.wait_agreed(&running);
    assert!(next != leader && later > term);
    watch.judge(true);
}

#[test]
fn a_voter_whose_disk_hangs_is_not_needed_for_an_election() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let hanging = (leader + 1) % ALL.len();
    let hung = Tracer::of(&cluster, hanging, HANG);
    cluster.kill(leader);
    let (next, later) = cluster.wait_agreed(&cluster.running());
    assert!(next != hanging && later > term);
    is_well_otherwise(&cluster, hanging);
    wait_failed(&cluster, hanging);
    drop(hung);
    wait_works(&cluster, hanging);
    watch.judge(true);
}

#[test]
fn writes_that_fail_cost_the_leader_its_lead_and_a_voter_its_vote_and_nobody_votes_twice() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let other = (leader + 1) % ALL.len();
    let failing = [leader, other].map(|node| Tracer::of(&cluster, node, "error=EIO"));
    for node in [leader, other] {
        let why = wait_failed(&cluster, node);
        assert!(why.contains("Input/output error") || why.is_empty(), "{why}");
    }
    let next = wait_moved(&cluster, leader);
    assert_ne!(next, other);
    assert!(log_of(&cluster, leader).contains("store_failed"));
    // The check tells of the disk; that no vote left is the word of the write itself.
    wait_for("a vote that could not be written", || {
        log_of(&cluster, other).contains("the vote store cannot be written").then_some(())
    });
    // Three can write: a quorum. With one of them gone nobody leads.
    cluster.kill(next);
    cluster.wait_leaderless(&cluster.running());
    drop(failing);
    for node in [leader, other] {
        wait_works(&cluster, node);
    }
    let (_, later) = cluster.wait_agreed(&cluster.running());
    assert!(later > term);
    watch.judge(false);
}

#[test]
fn disks_that_take_seconds_make_an_election_slow_and_no_lease_shorter() {
    let timing = Timing { heartbeat_ms: 500, lease_ms: 8_000 };
    let Some(mut cluster) = five_with(timing) else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let slow = ALL.map(|node| Tracer::of(&cluster, node, "delay_enter=1500000"));
    // Checks pass, and heartbeats are acknowledged meanwhile.
    let acknowledged = |cluster: &Cluster| {
        cluster.metric(leader, "ringrift_p2p_leader_heartbeats_acknowledged_total")
    };
    let before = acknowledged(&cluster);
    wait_for("two leases of heartbeats", || {
        (acknowledged(&cluster) > before + 100.0).then_some(())
    });
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term));
    let given = cluster.asking(leader, &["step-down"]).output().expect("it runs");
    drop(given);
    let next = wait_moved(&cluster, leader);
    assert!(cluster.wait_agreed(&ALL).1 > term);
    for node in ALL {
        assert_eq!(crate::store_of(&cluster, node)["works"], true, "{node}");
    }
    is_well_otherwise(&cluster, leader);
    assert_ne!(next, leader);
    drop(slow);
    watch.judge(false);
}
