//! From the start of the first of five processes to the first 200 of `GET /leader` of any of them.
//!
//! With empty stores, with those of a clean stop, and with those of five processes killed at once while a
//! lease ran: then the promises still bind, and the new leader has to wait for their end.

use core::time::Duration;
use rustix::process::Signal;
use std::time::Instant;

use super::lab::{Lab, Timing, VOTERS, sleep_a_share};
use super::sampler::Sampler;
use super::{SPREAD, add};
use crate::report::{Report, setting};

const TIMING: Timing = Timing { heartbeat_ms: 250, lease_ms: 1_000, probe_ms: 250 };

/// Runs the bench.
pub fn run() {
    let runs = setting("BENCH_RUNS", 20);
    let mut report = Report::new("coldstart", &SPREAD);
    println!("five voters, heartbeat {} ms, lease {} ms", TIMING.heartbeat_ms, TIMING.lease_ms);
    let mut lab = Lab::on_loopback(TIMING, false);
    for (what, end, wipe) in [
        ("empty stores", Signal::KILL, true),
        ("stores of a clean stop", Signal::TERM, false),
        ("stores of five killed leading", Signal::KILL, false),
    ] {
        let mut taken = Vec::new();
        // The first start of a series finds what the series before has left.
        for run in 0..=runs {
            if wipe {
                lab.wipe();
            }
            let seconds = once(&mut lab, run, end);
            if wipe || run > 0 {
                println!("{what} {run}: {:.1} ms", seconds * 1e3);
                taken.push(seconds);
            }
        }
        taken.truncate(runs);
        add(&mut report, what, "s", taken);
    }
    report.hand_over();
}

/// One start and one end; seconds.
fn once(lab: &mut Lab, run: usize, end: Signal) -> f64 {
    let began = Instant::now();
    (0..VOTERS).for_each(|node| lab.start(node));
    let claim = Sampler::new(lab, (0..VOTERS).collect()).first(Duration::from_millis(1));
    lab.wait_settled();
    sleep_a_share(run, Duration::from_millis(u64::from(TIMING.heartbeat_ms)));
    (0..VOTERS).for_each(|node| lab.signal(node, end));
    (0..VOTERS).for_each(|node| lab.ended(node));
    claim.at.duration_since(began).as_secs_f64()
}
