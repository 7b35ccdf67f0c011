//! The exhaustive model of the election: every history within bounds, over the production core.
//!
//! The voters are [`ringrift_p2p::election::core::Core`] itself. Around it stand a disk, a clock and a
//! network that loses, repeats, reorders and delays as it likes: a request, once sent, may be delivered
//! again at any later time, and nothing must be. Voters stand, in any term above their own, give up and
//! resign whenever their core lets them: when a voter should is liveness, and left to the simulator, as are
//! priority, round trips and the canvass. Checked are I1 to I5 after every step. Whether votes and candidacies
//! are durable before they leave is part of I4.
//!
//! Time advances in ticks of a second, far above the guard of a lease. Clocks keep time, or are *uneven*:
//! in every tick each clock advances by one or by two as it likes, under a rho of a third: the drift is as
//! large as the rules allow at every moment. A promise of three ticks may then be over after two, and the
//! lease under it ends before two.
//!
//! [`explorer`] goes to the end: of three voters, two terms, one crash of every kind at every moment, and uneven
//! clocks together, among others. Its module says what it leaves out and why nothing is lost. [`cluster`]
//! leaves next to nothing out, in a second checker: it also has writes that take time and fail, and holds the
//! first one's reductions against it for one term.
//!
//! `MODEL_TERMS`, `MODEL_LEASE` (ticks), `MODEL_CRASHES` and `MODEL_VOTERS` set the bounds of
//! `as_large_as_asked`, and `MODEL_DEPTH` how deep the second checker looks into two terms (0: to the end).
//!
//! Not among the mutations: a wiped voter that counts stale answers, which is harmless here
//! while the wall clock is ahead of every term; the lease from the present L, as a core has one L for
//! life. The change of voters has a model of its own: [`change`].

#![cfg(test)]

mod change;
mod cluster;
mod explorer;
mod local;
mod mutations;
mod packet;
mod seen;
mod setup;
mod state;
mod voter;

use std::time::Instant;

use cluster::Cluster;
use explorer::{Explorer, Found};
use setup::{Restart, Setup};
use stateright::{Checker, Model};

/// The depth of the second checker where it does not end in seconds.
const DEPTH: usize = 8;

/// Explores to the end.
fn exhaust(what: &str, setup: Setup) -> Found {
    let (began, lease) = (Instant::now(), setup.longest());
    let found = Explorer::new(setup).explore(usize::MAX);
    println!("{what}: {} states, depth {}, {:?}", found.states, found.depth, began.elapsed());
    if let Some((invariant, steps)) = &found.broken {
        panic!("{what}: {invariant} does not hold after {steps:#?}");
    }
    assert!(found.somebody_led, "{what}: nobody ever led");
    assert!(found.led_on || lease <= 2, "{what}: nobody led on after a tick");
    found
}

/// With every kind of restart.
fn all_restarts(setup: Setup) -> Setup {
    Setup { restarts: vec![Restart::SameBoot, Restart::Reboot, Restart::Moved], ..setup }
}

/// The requests of what has ended are lost.
fn prompt(setup: Setup) -> Setup {
    Setup { late: false, ..setup }
}

/// With leases of two ticks, under drift the shortest: no leader lives through a tick.
fn short(setup: Setup) -> Setup {
    Setup { lease: vec![2; 3], ..setup }
}

/// Answers take their time, and whoever stands or leads need not ask again.
fn free(setup: Setup) -> Setup {
    Setup { slow_answers: true, idle: true, ..setup }
}

fn two_terms() -> Setup {
    all_restarts(Setup::new(3, 2, 2))
}

fn three_terms() -> Setup {
    all_restarts(Setup::new(3, 3, 2))
}

/// Somebody else led the second term.
fn exhaust_two(what: &str, setup: Setup) {
    assert!(exhaust(what, setup).another_led, "{what}: nobody was ever replaced");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_one_crash_drift() {
    exhaust_two("two terms, a crash, drift", prompt(two_terms().uneven().crashing(1)));
}

#[test]
#[ignore = "many minutes, and gigabytes"]
fn exhaustive_two_terms_one_crash_drift_late() {
    exhaust_two("two terms, a crash, drift, late", two_terms().uneven().crashing(1));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_one_crash_drift_late_short() {
    exhaust_two("two terms, a crash, drift, late, short", short(two_terms().uneven().crashing(1)));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_one_crash_drift_free_short() {
    exhaust_two(
        "two terms, a crash, drift, free, short",
        short(prompt(free(two_terms().uneven().crashing(1)))),
    );
}

#[test]
fn exhaustive_two_terms_drift() {
    exhaust_two("two terms, drift", prompt(two_terms().uneven()));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_drift_late() {
    exhaust_two("two terms, drift, late", two_terms().uneven());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_drift_late_free_short() {
    exhaust_two("two terms, drift, late, free, short", short(free(two_terms().uneven())));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_drift_long() {
    exhaust_two(
        "two terms, drift, long",
        Setup { lease: vec![4; 3], ..prompt(two_terms().uneven()) },
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_one_crash_drift_long() {
    exhaust_two(
        "two terms, a crash, drift, long",
        Setup { lease: vec![4; 3], ..prompt(two_terms().uneven().crashing(1)) },
    );
}

#[test]
fn exhaustive_two_terms_exact_clocks() {
    exhaust_two("two terms", prompt(two_terms()));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_exact_clocks_late() {
    exhaust_two("two terms, late", two_terms());
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_two_terms_one_crash_exact_clocks() {
    exhaust_two("two terms, a crash", prompt(two_terms().crashing(1)));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_three_terms_drift() {
    exhaust_two("three terms, drift", prompt(three_terms().uneven()));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn exhaustive_one_term_lost_disk_drift() {
    let setup = Setup::new(3, 1, 2).uneven().crashing(1);
    exhaust(
        "one term, a lost disk, drift",
        prompt(Setup { restarts: Vec::new(), wipes: 1, ..setup }),
    );
}

#[test]
#[ignore = "as long as asked"]
fn as_large_as_asked() {
    let asked = |name: &str, otherwise: u8| {
        let text = std::env::var(format!("MODEL_{name}")).ok();
        text.map_or(otherwise, |text| text.parse().expect("a small number"))
    };
    let setup = Setup::new(asked("VOTERS", 3), asked("TERMS", 2).into(), asked("LEASE", 3));
    let wipes = asked("WIPES", 0);
    let setup = Setup {
        late: asked("LATE", 1) > 0,
        slow_answers: asked("FREE", 1) > 0,
        idle: asked("FREE", 1) > 0,
        wipes,
        first_start: asked("FIRST_START", 0) > 0,
        ..all_restarts(setup.crashing(asked("CRASHES", 1).max(wipes)))
    };
    let setup = if wipes > 0 { Setup { restarts: Vec::new(), ..setup } } else { setup };
    let lease = setup.lease.clone();
    let drift = asked("DRIFT", 1) > 0;
    exhaust("as asked", if drift { Setup { lease, ..setup.uneven() } } else { setup });
}

/// Explores with the second checker to that depth; 0 is without an end.
fn explore(what: &str, setup: Setup, depth: usize) {
    let began = Instant::now();
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

#[test]
fn second_checker_one_term() {
    explore("one term", Setup::new(3, 1, 2), 0);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "minutes without optimisation")]
fn second_checker_one_term_one_crash() {
    explore("one term, a crash", Setup::new(3, 1, 2).crashing(1), 0);
}

#[test]
fn second_checker_two_terms_drift() {
    explore_bounded("two terms, drift", two_terms().drifting(2));
}

#[test]
fn second_checker_slow_writes_and_a_crash() {
    let setup = Setup { slow_writes: true, ..two_terms().crashing(1) };
    explore_bounded("two terms, slow writes, a crash", setup);
}

#[test]
fn second_checker_failing_write() {
    let setup = Setup { slow_writes: true, failures: 1, ..two_terms() };
    explore_bounded("two terms, a write fails", setup);
}

#[test]
fn second_checker_lost_disk() {
    let setup = Setup { restarts: Vec::new(), wipes: 1, ..two_terms().crashing(1) };
    explore_bounded("two terms, a lost disk", setup);
}

#[test]
fn second_checker_first_start() {
    let setup = Setup { first_start: true, ..Setup::new(3, 1, 2) };
    explore_bounded("first start", setup);
}
