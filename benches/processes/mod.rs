//! The benches of real processes; each is a file here and a target of its own.
//!
//! The program runs as it ships, built for release; `BENCH_PROGRAM` names another build of it, such as the static one
//! of the package. As root the nodes have network namespaces of their
//! own, so that port 8770 never collides; otherwise they use this machine's loopback addresses.

mod burning;
mod coldstart;
mod failover;
mod guardian;
mod handover;
mod herd;
mod idle;
mod lab;
mod load;
mod membership;
mod questions;
mod sampler;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/support/mod.rs"]
mod support;

use serde_json::json;

use crate::report::{Report, Spread, other_program};

/// The columns of [`add`].
const SPREAD: [&str; 6] = ["measure", "unit", "min", "median", "max", "runs"];

/// The program that is measured.
fn program() -> String {
    other_program().unwrap_or_else(|| env!("CARGO_BIN_EXE_ringrift-p2p").to_owned())
}

/// Adds the row and the line of one measure, repeated.
fn add(report: &mut Report, what: &str, unit: &str, values: Vec<f64>) {
    let Some(spread) = Spread::of(values) else { return };
    let (min, median, max) = (spread.min(), spread.median(), spread.max());
    report.line(json!({
        "what": what, "unit": unit, "count": spread.values().len(), "min": min, "median": median,
        "max": max, "values": spread.values(),
    }));
    let digits = if median < 10.0 { 3 } else { 1 };
    let cell = |value: f64| format!("{value:.digits$}");
    let runs = spread.values().len().to_string();
    report.row([what.to_owned(), unit.to_owned(), cell(min), cell(median), cell(max), runs]);
}

/// Runs the bench of that name.
pub fn main(name: &str) {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("to be run with cargo bench");
        return;
    }
    match name {
        "coldstart" => coldstart::run(),
        "failover" => failover::run(),
        "handover" => handover::run(),
        "idle" => idle::run(),
        "load" => load::run(),
        "membership" => membership::run(),
        _ => unreachable!("no bench is called {name}"),
    }
}
