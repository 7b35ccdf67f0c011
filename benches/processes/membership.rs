//! Membership with real processes: how soon failures are known, what is wrongly believed, what it costs.
//!
//! `BENCH_MEMBERS` nodes (5, then 32), the first five of them voters, share a network namespace, each on a
//! loopback address of its own; cuts and loss are rules of nftables at the receiver. Heartbeat 15 s,
//! probe interval 1 s. When a failure is known, and how many deaths are declared, is read in the nodes' logs; when all
//! see all again is asked of every node's `/members`, some milliseconds apart. `BENCH_RUNS` (20) repeats each fault, `BENCH_SECONDS` (120) is the length of
//! each split and of each gray failure; loss everywhere lasts five times as long.
//!
//! Four clusters of each size, in namespaces of their own: one for faults, one for each rate of loss, one for the
//! member that is ill; `BENCH_PARTS` runs only those named, of `faults`, `loss-20`, `loss-40` and `ill`, and with
//! `BENCH_KEEP` the nodes' logs stay. Up to [`FEW`] members all run side by side, above it the one for faults comes first, and above
//! [`MANY`] there is no other.

use core::time::Duration;
use jiff::Timestamp;
use rustix::process::{Signal, geteuid};
use std::thread;

use super::herd::{Herd, PORT};
use super::lab::sleep_a_share;
use super::{SPREAD, add};
use crate::report::{Report, setting};

/// More members than this share the machine with nobody while their faults are timed.
const FEW: usize = 8;
/// More members than this are too many for a second cluster.
const MANY: usize = 64;

/// A measure: what it is, its unit, its values.
type Row = (String, &'static str, Vec<f64>);

/// One cluster and what is done to it.
type Part = Box<dyn Fn() -> Vec<Row> + Sync>;

/// Runs the bench.
pub fn run() {
    if !geteuid().is_root() {
        println!("not run: needs root for a network namespace");
        return;
    }
    let mut report = Report::new("membership", &SPREAD);
    let sizes = match setting("BENCH_MEMBERS", 0) {
        0 => vec![5, 32],
        one => vec![one],
    };
    for size in sizes {
        for (what, unit, values) in of_size(size) {
            add(&mut report, &what, unit, values);
        }
    }
    report.hand_over();
}

fn of_size(size: usize) -> Vec<Row> {
    let seconds = setting("BENCH_SECONDS", 120) as u64;
    let wanted = std::env::var("BENCH_PARTS").unwrap_or_default();
    let part = |name: &str, run: Part| -> Part {
        let runs = wanted.is_empty() || wanted.split(',').any(|one| one == name);
        if runs { run } else { Box::new(Vec::new) }
    };
    let parts = [
        part("faults", Box::new(move || faults(size, seconds))),
        part("loss-20", Box::new(move || loss(size, 20, seconds * 5))),
        part("loss-40", Box::new(move || loss(size, 40, seconds * 5))),
        part("ill", Box::new(move || ill(size, seconds))),
    ];
    let alone = usize::from(size > FEW);
    let together = if size > MANY { alone } else { parts.len() };
    let side_by_side = |parts: &[Part]| -> Vec<Row> {
        thread::scope(|scope| {
            let running: Vec<_> = parts.iter().map(|part| scope.spawn(part)).collect();
            let ended = running.into_iter().flat_map(|part| part.join().expect("a part ends"));
            ended.collect()
        })
    };
    let mut rows = side_by_side(&parts[..alone]);
    rows.extend(side_by_side(&parts[alone..together]));
    rows
}

/// The rows of one part, printed as they come.
struct Rows {
    size: usize,
    rows: Vec<Row>,
}

impl Rows {
    const fn of(size: usize) -> Self {
        Self { size, rows: Vec::new() }
    }

    fn add(&mut self, what: &str, unit: &'static str, values: Vec<f64>) {
        let what = format!("{} members: {what}", self.size);
        println!("{what}, {unit}: {values:.2?}");
        self.rows.push((what, unit, values));
    }
}

fn faults(size: usize, seconds: u64) -> Vec<Row> {
    let mut rows = Rows::of(size);
    let runs = setting("BENCH_RUNS", 20);
    let second = Duration::from_secs(1);
    let Some(mut herd) = Herd::start(size) else { return rows.rows };

    let idle = herd.idle(second * 60);
    rows.add("idle, membership, with headers", "B/s", idle.bytes);
    rows.add("idle, all datagrams, with headers", "B/s", idle.all_bytes);
    rows.add("idle, processor", "s/min", idle.cpu);
    rows.add("idle, resident", "MB", idle.resident);

    let mut times = Vec::new();
    for run in 0..runs {
        let victim = run % size;
        sleep_a_share(run, second);
        let began = Timestamp::now();
        herd.kill(victim);
        times.extend(herd.until_all_bury(victim, began));
        herd.spawn(victim);
        herd.wait_settled();
    }
    rows.add("kill -9, last to know", "s", times);

    let (mut known, mut back) = (Vec::new(), Vec::new());
    for run in 0..runs {
        // Before any of them returns a second time: that is put off, and measured by itself.
        if run.is_multiple_of(size) {
            herd.renew();
        }
        let victim = (run * 3 + 1) % size;
        sleep_a_share(run, second);
        let began = Timestamp::now();
        herd.signal(victim, Signal::STOP);
        known.extend(herd.until_all_bury(victim, began));
        herd.signal(victim, Signal::CONT);
        back.extend(herd.until_settled());
        herd.wait_settled();
    }
    rows.add("SIGSTOP, last to know", "s", known);
    rows.add("SIGCONT, back in every view", "s", back);

    let (mut known, mut back) = (Vec::new(), Vec::new());
    for run in 0..runs {
        if run.is_multiple_of(size) {
            herd.renew();
        }
        let victim = (run * 3 + 2) % size;
        sleep_a_share(run, second);
        let began = Timestamp::now();
        herd.cut(&[victim]);
        known.extend(herd.until_all_bury(victim, began));
        thread::sleep(second * 4);
        herd.rules("");
        back.extend(herd.until_settled());
        herd.wait_settled();
    }
    rows.add("cut off, last to know", "s", known);
    rows.add("cut off, back in every view", "s", back);

    let mut healed = Vec::new();
    for _ in 0..if size > MANY { 0 } else { runs.div_ceil(10) } {
        let minority: Vec<usize> = (0..size * 2 / 5).collect();
        herd.cut(&minority);
        thread::sleep(second * seconds as u32);
        herd.rules("");
        healed.extend(herd.until_settled());
    }
    rows.add(&format!("split 2 to 3 for {seconds} s, one view again"), "s", healed);
    rows.add("cut off and split: loops late by 0.1 s", "times", vec![herd.late()]);
    rows.rows
}

fn loss(size: usize, percent: u64, seconds: u64) -> Vec<Row> {
    let mut rows = Rows::of(size);
    let Some(mut herd) = Herd::start(size) else { return rows.rows };
    herd.rules(&format!("udp dport {PORT} numgen random mod 100 < {percent} drop"));
    thread::sleep(Duration::from_secs(seconds));
    let what = format!("{percent} % loss for {seconds} s: healthy declared dead");
    rows.add(&what, "deaths", vec![herd.deaths()]);
    herd.rules("");
    rows.add(&format!("{percent} % loss: loops late by 0.1 s"), "times", vec![herd.late()]);
    let back = herd.until_settled().into_iter().collect();
    rows.add(&format!("{percent} % loss: one view again"), "s", back);
    rows.rows
}

/// One member is ill in one way after the other, each time as a new process.
fn ill(size: usize, seconds: u64) -> Vec<Row> {
    let mut rows = Rows::of(size);
    let Some(mut herd) = Herd::start(size) else { return rows.rows };
    let length = Duration::from_secs(seconds);
    let ill = size - 1;
    let others = (size - 1) as f64;
    let address = herd.address(ill);
    let counts = |herd: &Herd| (herd.deaths(), herd.deaths_of(ill));

    herd.rules(&format!("ip saddr {address} udp dport {PORT} numgen random mod 100 < 80 drop"));
    thread::sleep(length);
    let (all, of_it) = counts(&herd);
    herd.rules("");
    let what = format!("80 % loss outward for {seconds} s");
    rows.add(&format!("{what}: declared dead, by each"), "deaths", vec![of_it / others]);
    rows.add(&format!("{what}: healthy declared dead"), "deaths", vec![all - of_it]);
    herd.wait_settled();

    herd.renew();
    let before = herd.disturbed(ill);
    let began = Timestamp::now();
    herd.rules(&format!("ip daddr {address} udp dport {PORT} drop"));
    rows.add("deaf, last to know", "s", herd.until_all_bury(ill, began).into_iter().collect());
    thread::sleep(length);
    let what = format!("deaf for {seconds} s: healthy suspected or declared dead by healthy");
    rows.add(&what, "times", vec![herd.disturbed(ill) - before]);
    herd.rules("");
    herd.wait_settled();

    herd.renew();
    let before = counts(&herd);
    for _ in 0..(seconds / 9).max(1) {
        herd.signal(ill, Signal::STOP);
        thread::sleep(Duration::from_secs(6));
        herd.signal(ill, Signal::CONT);
        thread::sleep(Duration::from_secs(3));
    }
    let (all, of_it) = counts(&herd);
    let of_it = of_it - before.1;
    let what = format!("stopped 6 of 9 s for {seconds} s");
    rows.add(&format!("{what}: declared dead, by each"), "deaths", vec![of_it / others]);
    rows.add(&format!("{what}: healthy declared dead"), "deaths", vec![all - before.0 - of_it]);
    rows.add(
        &format!("{what}: back in every view"),
        "s",
        herd.until_settled().into_iter().collect(),
    );
    rows.rows
}
