//! The simulator: production nodes under virtual time.
//!
//! One seed draws everything: how many voters there are, how their clocks run, how the network and
//! the disks misbehave, and when. Until a moment anything may break and only safety is demanded; then
//! one quorum is healed and must have a leader within a stated time. Every hop takes the binary form
//! of the wire.
//!
//! `SIM_RUNS=10000 cargo test --release --test sim sweep -- --nocapture` runs that many seeds,
//! `SIM_FIRST` says where to begin, `SIM_SEED=0x2a` runs one seed and prints what happened in it.

mod checkers;
mod faults;
mod gray;
mod guardian;
mod host;
mod inject;
mod liar;
mod mutations;
mod network;
mod node;
mod operator;
mod options;
mod process;
mod run;
mod scenarios;
mod script;
mod sometimes;
mod through_wire;
mod timeline;
mod transcript;
mod voters;
mod watch;
mod work;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use liar::Lie;
use run::{Report, Shrunk, Worst, run_seed, run_without, shrink};
use sometimes::{Hits, PATHS};

/// Seeds of a sweep when nobody says otherwise.
const DEFAULT_RUNS: u64 = 40;

/// From how many seeds on every path must have been hit.
const ENOUGH_RUNS: u64 = 1_000;

/// The most failed seeds that are listed.
const SHOWN: usize = 40;

/// A whole number from the environment, decimal or after `0x`.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs one seed and prints what happened in it: when a rule did not hold, with only those faults that
/// it takes.
fn tell(seed: u64) -> Report {
    let whole = run_seed(seed, Lie::None, false);
    println!("{:#?}", whole.options);
    let shrunk = match &whole.violation {
        Some(violation) => shrink(seed, violation.rule),
        None => Shrunk::whole(whole.options),
    };
    println!("{} of {} faults left out", shrunk.without.len(), whole.faults);
    println!("made quieter: {:?}", shrunk.quieter);
    let report = run_without(shrunk.options, Lie::None, true, &shrunk.without);
    for line in &report.timeline {
        println!("{line}");
    }
    report
}

/// What a sweep found.
#[derive(Default)]
struct Swept {
    hits: Hits,
    failed: BTreeMap<u64, String>,
    passed: u64,
    steps: u64,
    /// The nearest to each bound, and in which seed.
    worst: [(u64, u64); 3],
}

/// Runs seeds on all cores.
fn sweep_seeds(first: u64, runs: u64) -> Swept {
    let next = AtomicU64::new(0);
    let swept = Mutex::new(Swept::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs {
                        return;
                    }
                    let seed = first + number;
                    // A node that panics is a failed run too, and must not hide its seed.
                    let run = std::panic::catch_unwind(|| run_seed(seed, Lie::None, false));
                    let mut swept = swept.lock().expect("no run panics with the lock");
                    match run {
                        Ok(report) => {
                            swept.hits.add(&report.hits);
                            swept.passed += report.passed;
                            swept.steps += report.steps;
                            let Worst { leader, agreement, sends } = report.worst;
                            for (worst, near) in
                                swept.worst.iter_mut().zip([leader, agreement, sends])
                            {
                                *worst = (*worst).max((near, seed));
                            }
                            if let Some(violation) = report.violation {
                                let text = format!("{}: {}", violation.rule, violation.what);
                                swept.failed.insert(seed, text);
                            }
                        }
                        Err(_) => {
                            swept.failed.insert(seed, "a node panicked".to_owned());
                        }
                    }
                }
            });
        }
    });
    swept.into_inner().expect("no run panics with the lock")
}

/// I1 to I6, I10 and I11 under anything, I7, I8 and I9 once a quorum is healed.
#[test]
fn sweep() {
    if let Some(seed) = number("SIM_SEED") {
        let report = tell(seed);
        let violations = usize::from(report.violation.is_some());
        println!("runs=1 violations={violations}");
        assert_eq!(report.violation, None, "seed {seed:#x}");
        return;
    }
    let runs = number("SIM_RUNS").unwrap_or(DEFAULT_RUNS);
    let first = number("SIM_FIRST").unwrap_or(1);
    let began = Instant::now();
    let swept = sweep_seeds(first, runs);
    for (path, name) in PATHS {
        println!("{:>12}  {name}", swept.hits.of(path));
    }
    println!(
        "{} virtual seconds, {} events, {:.1} seconds",
        swept.passed / options::SECOND,
        swept.steps,
        began.elapsed().as_secs_f64(),
    );
    let bounds = ["time without a leader", "time until all see all", "datagrams of one process"];
    for ((near, seed), bound) in swept.worst.iter().zip(bounds) {
        println!("nearest to the bound of {bound}: {near} permille of it, in seed {seed:#x}");
    }
    println!("runs={runs} violations={}", swept.failed.len());
    for (seed, text) in swept.failed.iter().take(SHOWN) {
        println!("seed {seed:#x} breaks {text}");
    }
    if let Some((&seed, _)) = swept.failed.first_key_value() {
        println!("reproduce: SIM_SEED={seed:#x} cargo test --test sim sweep -- --nocapture");
        let report = tell(seed);
        panic!("seed {seed:#x}: {:?}", report.violation);
    }
    let missing = swept.hits.missing();
    assert!(runs < ENOUGH_RUNS || missing.is_empty(), "never happened: {missing:?}");
}
