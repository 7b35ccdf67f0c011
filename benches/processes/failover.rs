//! How long nobody leads after the leader is killed, asked to stop, cut off or stopped in its tracks.
//!
//! Five voters. Each fault is repeated `BENCH_RUNS` times, at moments spread over a heartbeat, healed
//! after each, and finds a cluster that has been whole and calm for two leases: within one, a voter that
//! was restarted may still be bound by what its process before had promised. Two times are taken to the first 200 of `GET /leader` of another node: from the fault, and
//! from the end of the lease that the old leader had named just before it.

use core::time::Duration;
use rustix::process::Signal;
use std::thread;
use std::time::Instant;

use super::lab::{Lab, Timing, VOTERS, sleep_a_share};
use super::sampler::Sampler;
use super::{SPREAD, add};
use crate::report::{Report, asked_for, setting};

const TIMING: Timing = Timing { heartbeat_ms: 250, lease_ms: 1_000, probe_ms: 250 };

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Kill,
    Terminate,
    LinkDown,
    Stop,
}

/// Runs the bench.
pub fn run() {
    let runs = setting("BENCH_RUNS", 20);
    let mut report = Report::new("failover", &SPREAD);
    println!("five voters, heartbeat {} ms, lease {} ms", TIMING.heartbeat_ms, TIMING.lease_ms);
    for (fault, name) in
        [(Fault::Kill, "kill -9"), (Fault::Stop, "SIGSTOP"), (Fault::Terminate, "SIGTERM")]
    {
        if asked_for(name) {
            series(&mut report, Lab::on_loopback(TIMING, false), fault, name, runs);
        }
    }
    super::guardian::series(&mut report, TIMING, runs);
    if asked_for("link down") {
        match Lab::on_links(TIMING) {
            Some(links) => series(&mut report, links, Fault::LinkDown, "link down", runs),
            None => println!("not run: link down needs root, for network namespaces"),
        }
    }
    report.hand_over();
}

fn series(report: &mut Report, mut lab: Lab, fault: Fault, name: &str, runs: usize) {
    let (mut from_fault, mut from_end) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let (fault_to_claim, end_to_claim) = once(&mut lab, fault, run);
        from_fault.push(fault_to_claim);
        from_end.push(end_to_claim);
        println!("{name} {}: {:.1} ms", run + 1, fault_to_claim * 1e3);
    }
    let scaled = |values: Vec<f64>, scale: f64| values.iter().map(|value| value * scale).collect();
    if fault == Fault::Terminate {
        add(report, name, "ms", scaled(from_fault, 1e3));
    } else {
        add(report, name, "lease", scaled(from_fault, 1.0 / TIMING.lease()));
        let what = format!("{name}, from the end of the old lease");
        add(report, &what, "ms", scaled(from_end, 1e3));
    }
}

/// One fault, healed; seconds to the first claim of another, from the fault and from the old lease's end.
fn once(lab: &mut Lab, fault: Fault, run: usize) -> (f64, f64) {
    for node in 0..VOTERS {
        lab.start_unless_running(node);
    }
    lab.wait_settled();
    thread::sleep(Duration::from_millis(u64::from(TIMING.lease_ms)) * 2);
    let old = lab.wait_settled();
    sleep_a_share(run, Duration::from_millis(u64::from(TIMING.heartbeat_ms)));
    let mut sampler = Sampler::new(lab, (0..VOTERS).collect());
    let before = sampler.ask(old).expect("the leader leads");
    sampler.forget(old);
    let at = Instant::now();
    match fault {
        Fault::Kill => lab.signal(old, Signal::KILL),
        Fault::Terminate => lab.signal(old, Signal::TERM),
        Fault::Stop => lab.signal(old, Signal::STOP),
        Fault::LinkDown => lab.link(old, false),
    }
    let pause = match fault {
        Fault::Terminate => Duration::ZERO,
        Fault::Kill | Fault::Stop | Fault::LinkDown => Duration::from_millis(1),
    };
    let claim = sampler.first(pause);
    drop(sampler);
    match fault {
        Fault::Kill | Fault::Terminate => lab.ended(old),
        Fault::Stop => lab.signal(old, Signal::CONT),
        Fault::LinkDown => lab.link(old, true),
    }
    let end_to_claim = claim.at.duration_since(before.at).as_secs_f64() - before.left.as_secs_f64();
    (claim.at.duration_since(at).as_secs_f64(), end_to_claim)
}
