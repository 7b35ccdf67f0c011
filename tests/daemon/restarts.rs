//! Restarts with and without what was stored, and a first start that is not complete.

use rustix::process::Signal;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::support::cluster::{Timing, on_loopback};
use crate::support::wait_for;
use crate::{ALL, five};

#[test]
fn terms_only_rise_when_all_are_killed_and_started_again() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    let mut last = 0;
    for _ in 0..3 {
        cluster.start_all();
        let (_, term) = cluster.wait_agreed(&ALL);
        assert!(term > last, "term {term} after {last}");
        last = ALL.map(|node| cluster.status(node).number("term")).into_iter().max().unwrap_or(0);
        for node in ALL {
            cluster.kill(node);
        }
    }
    // The next process of a leader releases what its predecessor held.
    watch.judge(false);
}

#[test]
fn terms_only_rise_when_every_disk_is_lost() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (_, term) = cluster.wait_agreed(&ALL);
    // Without any disk only the clock says what was: a term is at least its seconds at the first start.
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    wait_for("the clock to pass the term", || (clock() > term).then_some(()));
    for node in ALL {
        cluster.kill(node);
        std::fs::remove_dir_all(cluster.store(node)).expect("it has a store");
    }
    cluster.start_all();
    let (_, later) = cluster.wait_agreed(&ALL);
    assert!(later > term, "{later} after {term}");
    watch.judge(false);
}

#[test]
fn a_voter_whose_disk_is_lost_comes_back_and_votes() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let others: Vec<_> = ALL.into_iter().filter(|&node| node != leader).collect();
    let (wiped, dying) = (others[0], &others[1..3]);
    cluster.kill(wiped);
    std::fs::remove_dir_all(cluster.store(wiped)).expect("it has a store");
    cluster.start(wiped);
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term), "its return changed something");
    // Now its vote is needed: with the leader and another gone, three are left.
    cluster.wait_settled();
    cluster.kill(dying[0]);
    cluster.kill(leader);
    let (_, later) = cluster.wait_agreed(&cluster.running());
    assert!(later > term);
    watch.judge(true);
}

#[test]
fn a_first_start_with_a_bare_quorum_waits_a_lease_and_elects() {
    let timing = Timing { heartbeat_ms: 500, lease_ms: 3_000 };
    let Some(mut cluster) = on_loopback(timing) else { return };
    let watch = cluster.watch();
    let started = Instant::now();
    let first = [1, 2, 4];
    for node in first {
        cluster.start(node);
    }
    let reasons = cluster.wait_leaderless(&first);
    assert!(started.elapsed() < timing.lease(), "the machine is too slow to see the wait");
    assert!(reasons.iter().all(|reason| reason.len() > 10), "{reasons:?}");
    let (_, term) = cluster.wait_agreed(&first);
    for node in [0, 3] {
        cluster.start(node);
    }
    let (_, later) = cluster.wait_agreed(&ALL);
    assert!(later >= term);
    // Of the two that are still missing when they are asked, both may have voted before.
    let claims = watch.claims();
    let earliest = claims.iter().map(|claim| claim.read).min().expect("a leader was seen");
    let waited = earliest.saturating_duration_since(started);
    assert!(waited >= timing.lease().mul_f64(0.98), "a leader after {waited:?}");
    let tenures = watch.judge(false);
    assert!(tenures.iter().all(|tenure| first.contains(&tenure.node)), "{tenures:?}");
}

#[test]
fn sigterm_of_all_ends_all_and_terms_rise_at_the_next_start() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (_, term) = cluster.wait_agreed(&ALL);
    for node in ALL {
        cluster.signal(node, Signal::TERM);
    }
    for node in ALL {
        assert_eq!(cluster.ended(node), Some(0));
    }
    cluster.start_all();
    let (_, later) = cluster.wait_agreed(&ALL);
    assert!(later > term, "{later} after {term}");
    watch.judge(false);
}
