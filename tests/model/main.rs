//! The exhaustive model of the election: every history within bounds, over the production core.
//!
//! The voters are [`ringrift_p2p::election::core::Core`] itself. Around it stand a disk, a clock and a
//! network that loses, repeats, reorders and delays as it likes: a request, once sent, may be delivered
//! again at any later time, and nothing must be. Voters stand, ask again, give up and resign whenever
//! their core lets them: when a voter should is liveness, and left to the simulator, as are priority,
//! round trips and the canvass. Time advances in ticks of a second, far above the guard of a lease; a clock that deviates
//! skips or doubles one of three ticks, under a rho of a third. States are compared in
//! their normal form: instants relative to now, sends and writes renumbered, what has run out forgotten,
//! and, where the bounds say so, voters sorted.
//!
//! Set aside, because it changes nothing that is checked: refusals, which bind nobody; a request whose
//! answer no longer counts beside a like one whose answer does; a leader that notices late that its
//! lease has run out.
//!
//! Checked are I1 to I5. Whether votes and candidacies are durable before they leave is part of I4.
//!
//! `MODEL_DEPTH=n` explores the histories of two terms to `n` steps, 0 without an end (in release, and
//! with memory and hours to spare); by default a short depth that finishes in seconds. What is
//! named exhaustive has no such bound.
//!
//! Not among the mutations: an abstaining voter that acknowledges lower terms, and a wiped one that
//! acknowledges, which need five voters; a wiped voter that counts stale answers, which is harmless here
//! while the wall clock is ahead of every term; the lease from the present L, as a core has one L for
//! life. The change of voters has a model of its own: [`change`].

#![cfg(test)]

mod change;
mod cluster;
mod mutations;
mod packet;
mod setup;
mod state;
mod voter;

use cluster::Cluster;
use setup::{Restart, Setup};
use stateright::{Checker, Model};

/// The depth of what cannot be explored to its end in seconds.
const DEPTH: usize = 8;

/// Explores to that depth; 0 is without an end.
fn explore(what: &str, setup: Setup, depth: usize) {
    let began = std::time::Instant::now();
    let mut builder = Cluster { setup }.checker().threads(2);
    if depth > 0 {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    let (states, deepest) = (checker.unique_state_count(), checker.max_depth());
    println!("{what}: {states} states, depth {deepest}, {:?}", began.elapsed());
    for invariant in ["I1", "I2", "I3", "I4", "I5"] {
        if let Some(path) = checker.discovery(invariant) {
            let steps: Vec<String> =
                path.into_actions().iter().map(|action| format!("  {action:?}")).collect();
            panic!("{what}: {invariant} does not hold after\n{}", steps.join("\n"));
        }
    }
    if depth == 0 {
        assert!(checker.discovery("somebody leads").is_some(), "{what}: nobody ever led");
    }
}

fn explore_bounded(what: &str, setup: Setup) {
    let depth = std::env::var("MODEL_DEPTH").ok().and_then(|depth| depth.parse().ok());
    explore(what, setup, depth.unwrap_or(DEPTH));
}

fn two_terms() -> Setup {
    Setup::new(3, 2, 2)
}

#[test]
fn exhaustive_one_term() {
    explore("one term", Setup::new(3, 1, 2), 0);
}

#[test]
fn exhaustive_follower_of_a_leader_loses_its_disk() {
    let setup = Setup { restarts: Vec::new(), wipes: 1, ..two_terms().crashing(1) };
    explore("a leader's follower loses its disk", setup.elected().standing(&[2]), 0);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_one_term_one_crash() {
    explore("one term, a crash", Setup::new(3, 1, 2).crashing(1), 0);
}

#[test]
fn two_terms_exact_clocks() {
    explore_bounded("two terms", two_terms());
}

#[test]
fn two_terms_one_crash() {
    let restarts = vec![Restart::SameBoot, Restart::Reboot, Restart::Moved];
    explore_bounded("two terms, a crash", Setup { restarts, ..two_terms().crashing(1) });
}

#[test]
fn two_terms_drift() {
    explore_bounded("two terms, drift", two_terms().drifting(2));
}

#[test]
fn two_terms_slow_writes_and_a_crash() {
    let setup = Setup { slow_writes: true, ..two_terms().crashing(1) };
    explore_bounded("two terms, slow writes, a crash", setup);
}

#[test]
fn two_terms_failing_write() {
    let setup = Setup { slow_writes: true, failures: 1, ..two_terms() };
    explore_bounded("two terms, a write fails", setup);
}

#[test]
fn two_terms_lost_disk() {
    let setup = Setup { restarts: Vec::new(), wipes: 1, ..two_terms().crashing(1) };
    explore_bounded("two terms, a lost disk", setup);
}

#[test]
fn leader_in_place_one_crash() {
    explore_bounded("from a leader, a crash", two_terms().elected().standing(&[0, 2]).crashing(1));
}

#[test]
fn leader_in_place_drift() {
    let setup = two_terms().drifting(2).elected().standing(&[0, 2]);
    explore_bounded("from a leader, drift", setup);
}

#[test]
fn first_start() {
    explore_bounded("first start", Setup { first_start: true, ..Setup::new(3, 1, 2) });
}
