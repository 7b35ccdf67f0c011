//! Who leads, when the leader dies, stops or pauses, and when a quorum is gone.

use core::time::Duration;
use rustix::process::Signal;
use std::time::Instant;

use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::watch::{Claim, Watch};
use crate::support::{NAMES, wait_for};
use crate::{ALL, eventually, five};

/// A cluster, its watch, and who leads after a first start.
fn led() -> Option<(Cluster, Watch, usize)> {
    let mut cluster = five()?;
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&ALL);
    Some((cluster, watch, leader))
}

#[test]
fn a_first_start_gives_the_best_voter() {
    eventually(Some(0), || {
        let (_cluster, watch, leader) = led()?;
        watch.judge(false);
        Some(leader)
    });
}

#[test]
fn a_start_with_stores_gives_the_best_voter() {
    eventually(Some(0), || {
        let (mut cluster, watch, _) = led()?;
        // All are killed as one, and started again once no promise runs.
        for node in ALL {
            cluster.kill(node);
        }
        let dead = Instant::now();
        wait_for("two leases", || (dead.elapsed() > 2 * Timing::SHORT.lease()).then_some(()));
        cluster.start_all();
        let (leader, _) = cluster.wait_agreed(&ALL);
        watch.judge(false);
        Some(leader)
    });
}

#[test]
fn the_death_of_the_best_voter_gives_the_next_best() {
    eventually(Some((0, 1)), || {
        let (mut cluster, watch, first) = led()?;
        cluster.wait_settled();
        cluster.kill(first);
        let (next, _) = cluster.wait_agreed(&cluster.running());
        watch.judge(true);
        Some((first, next))
    });
}

#[test]
fn a_killed_leader_is_replaced_no_earlier_than_its_lease() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let mut last = cluster.wait_agreed(&ALL);
    for _ in 0..3 {
        let (leader, term) = last;
        cluster.kill(leader);
        last = cluster.wait_agreed(&cluster.running());
        assert_ne!(last.0, leader);
        assert!(last.1 > term, "{last:?} after {leader} in {term}");
        cluster.start(leader);
        last = cluster.wait_agreed(&ALL);
    }
    watch.judge(true);
}

#[test]
fn sigterm_hands_over_long_before_the_lease_ends() {
    let Some(mut cluster) = on_loopback(Timing { heartbeat_ms: 1_000, lease_ms: 60_000 }) else {
        return;
    };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let asked = Instant::now();
    cluster.signal(leader, Signal::TERM);
    let next = wait_for("another leader", || {
        watch.claims().into_iter().find(|claim| claim.node != leader)
    });
    assert_eq!(cluster.ended(leader), Some(0));
    assert!(next.term > term);
    let took = next.read - asked;
    assert!(took < Duration::from_secs(20), "{took:?} of a lease of 60 s: it was waited for");
    cluster.wait_agreed(&cluster.running());
    watch.judge(false);
}

#[test]
fn a_leader_paused_for_three_leases_never_leads_again_in_its_term() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let others: Vec<_> = ALL.into_iter().filter(|&node| node != leader).collect();
    cluster.signal(leader, Signal::STOP);
    let stopped = Instant::now();
    let (_, next_term) = cluster.wait_agreed(&others);
    assert!(next_term > term);
    wait_for("three leases", || (stopped.elapsed() > 3 * Timing::SHORT.lease()).then_some(()));
    let resumed = Instant::now();
    cluster.signal(leader, Signal::CONT);
    let heard = watch.answers(leader);
    cluster.wait_agreed(&ALL);
    wait_for("answers after the pause", || (watch.answers(leader) > heard + 50).then_some(()));
    let again = |claim: &Claim| claim.node == leader && claim.term == term && claim.sent > resumed;
    assert!(!watch.claims().iter().any(again), "it leads again in term {term}");
    watch.judge(true);
}

#[test]
fn a_minority_has_no_leader_and_says_who_is_missing() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (_, term) = cluster.wait_agreed(&ALL);
    for node in [0, 1, 2] {
        cluster.kill(node);
    }
    let named = wait_for("a reason that names the missing", || {
        let reasons = cluster.wait_leaderless(&[3, 4]);
        let full = |reason: &String| NAMES[..3].iter().all(|name| reason.contains(name));
        reasons.iter().all(full).then_some(reasons)
    });
    assert_eq!(named.len(), 2);
    for node in [3, 4] {
        let status = cluster.status(node);
        assert_eq!(status.0["voter_quorum_ok"], false, "{}", status.0);
        assert_eq!(status.number("voters_alive"), 2);
        assert_eq!(cluster.ask(node, "GET", "/ready").expect("an answer").status, 503);
        assert_eq!(cluster.ask(node, "GET", "/leader").expect("an answer").status, 503);
    }
    cluster.start(2);
    let (_, later) = cluster.wait_agreed(&[2, 3, 4]);
    assert!(later > term);
    watch.judge(false);
}
