//! The soak: hours of random faults on a real cluster, and nothing grows.
//!
//! Five voters on hosts of their own are killed, stopped, terminated, cut off and split at random. The watch
//! judges throughout that never two lead; after every fault everything is healed, and all must agree on
//! a leader in bounded time. Two of the voters are only ever cut off or paused, never ended: their resident
//! memory and open files are what must not grow.
//!
//! `SOAK_SECONDS=3600 SOAK_SEED=7 cargo test --release --test netns soak -- --ignored --nocapture`

use core::fmt;
use core::time::Duration;
use ringrift_p2p::rng::Rng;
use rustix::process::Signal;
use std::fs;
use std::thread;
use std::time::Instant;

use super::network::{Links, Network};
use super::support::cluster::Cluster;
use super::{SLACK, TIMING, wait_for, within};

const VOTERS: usize = 5;
/// These are never ended.
const LASTING: [usize; 2] = [3, 4];
/// Rounds between two samples of what a process holds.
const SAMPLED: usize = 5;
/// The longest that a fault lasts.
const LONGEST: Duration = Duration::from_secs(4);
/// How much more memory than in the second tenth of the soak a process may hold at its end: the
/// allocator keeps what a burst needed.
const GROWTH_KB: u64 = 2_048;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Sample {
    node: usize,
    at: Duration,
    resident_kb: u64,
    files: usize,
}

/// One way of doing harm.
#[derive(Clone, Debug)]
enum Fault {
    Kill(usize),
    Terminate(usize),
    Stop(usize),
    Unplug(usize),
    Split(Vec<usize>),
    Deaf(usize),
    Mute(usize),
    Lossy(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

fn seconds() -> Duration {
    let text = std::env::var("SOAK_SECONDS").unwrap_or_else(|_| String::from("3600"));
    Duration::from_secs(text.parse().expect("SOAK_SECONDS is a whole number"))
}

fn seed() -> u64 {
    let text = std::env::var("SOAK_SEED").unwrap_or_else(|_| String::from("1"));
    text.parse().expect("SOAK_SEED is a whole number")
}

fn draw(rng: &mut Rng, leader: usize) -> Fault {
    let below = |rng: &mut Rng, bound: usize| rng.below(bound as u64) as usize;
    // As often the leader as all others together.
    let any = |rng: &mut Rng| if rng.below(2) == 0 { leader } else { below(rng, VOTERS) };
    let mortal = |rng: &mut Rng| {
        let node = any(rng);
        if LASTING.contains(&node) { below(rng, LASTING[0]) } else { node }
    };
    match rng.below(8) {
        0 => Fault::Kill(mortal(rng)),
        1 => Fault::Terminate(mortal(rng)),
        2 => Fault::Stop(any(rng)),
        3 => Fault::Unplug(any(rng)),
        4 => Fault::Split((0..VOTERS).map(|_| below(rng, 3)).collect()),
        5 => Fault::Deaf(any(rng)),
        6 => Fault::Mute(any(rng)),
        _ => Fault::Lossy(u8::try_from(10 + rng.below(60)).expect("a percentage")),
    }
}

fn harm(cluster: &mut Cluster, network: &Network, fault: &Fault) {
    let whole = Links::whole(VOTERS);
    match fault {
        Fault::Kill(node) => cluster.kill(*node),
        Fault::Terminate(node) => {
            cluster.signal(*node, Signal::TERM);
            let code = cluster.ended(*node);
            assert_eq!(code, Some(0), "{node} did not end well");
        }
        Fault::Stop(node) => cluster.signal(*node, Signal::STOP),
        Fault::Unplug(node) => network.link(*node, "down"),
        Fault::Split(group) => network.set(&whole.but(|a, b| group[a] != group[b])),
        Fault::Deaf(node) => network.set(&whole.but(|hears, _| hears == *node)),
        Fault::Mute(node) => network.set(&whole.but(|_, sends| sends == *node)),
        Fault::Lossy(percent) => network.set(&whole.lossy(*percent)),
    }
}

fn heal(cluster: &mut Cluster, network: &Network, fault: &Fault) {
    match fault {
        Fault::Kill(node) | Fault::Terminate(node) => cluster.start(*node),
        Fault::Stop(node) => cluster.signal(*node, Signal::CONT),
        Fault::Unplug(node) => network.link(*node, "up"),
        _ => network.heal(),
    }
}

fn sample(cluster: &Cluster, node: usize, at: Duration) -> Option<Sample> {
    let pid = *cluster.net(node).pids().first()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kb = line.split_whitespace().next()?.parse().ok()?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Sample { node, at, resident_kb, files })
}

/// Of one process: what it held in the second tenth of the soak at most, and in the last.
fn flat(samples: &[Sample], whole: Duration) {
    for node in LASTING {
        let most = |from: f64, to: f64| {
            let (from, to) = (whole.mul_f64(from), whole.mul_f64(to));
            let those = samples.iter().filter(|it| it.node == node && it.at >= from && it.at <= to);
            let those: Vec<&Sample> = those.collect();
            let resident = those.iter().map(|it| it.resident_kb).max();
            resident.zip(those.iter().map(|it| it.files).max())
        };
        let (Some(early), Some(late)) = (most(0.1, 0.2), most(0.9, 2.0)) else {
            println!("voter {node}: too short a soak to compare");
            continue;
        };
        println!(
            "voter {node}: {} kB and {} files early, {} kB and {} files late",
            early.0, early.1, late.0, late.1
        );
        assert!(late.0 <= early.0 + GROWTH_KB, "the memory of {node} grows: {samples:?}");
        assert!(late.1 <= early.1 + 4, "the open files of {node} grow: {samples:?}");
    }
}

#[test]
#[ignore = "an hour"]
fn soak() {
    let (whole, seed) = (seconds(), seed());
    let Some(network) = Network::new(VOTERS) else { return };
    let mut cluster = network.cluster(TIMING);
    let watch = cluster.watch();
    cluster.start_all();
    let all: Vec<usize> = (0..VOTERS).collect();
    let (mut leader, _) = cluster.wait_agreed(&all);
    println!("soak of {whole:?}, seed {seed}");
    let (mut rng, began) = (Rng::new(seed), Instant::now());
    let (mut samples, mut slowest, mut rounds) = (Vec::new(), Duration::ZERO, 0);
    // A leader that hears too few, an abstention, and the waits of all voters.
    let bound = TIMING.lease().mul_f64(3.1) + Duration::from_millis(500) + SLACK;
    while began.elapsed() < whole {
        let fault = draw(&mut rng, leader);
        println!("{:>8.1} s: {fault}", began.elapsed().as_secs_f64());
        harm(&mut cluster, &network, &fault);
        // The fault is to last so long; nothing waits for anything here.
        thread::sleep(rng.duration_below(LONGEST));
        heal(&mut cluster, &network, &fault);
        let healed = Instant::now();
        let agreed = within(bound, || cluster.agreed(&all));
        let Some(agreed) = agreed else {
            panic!("no leader {bound:?} after {fault}:\n{}", cluster.views());
        };
        (leader, slowest) = (agreed.0, slowest.max(healed.elapsed()));
        rounds += 1;
        if rounds % SAMPLED == 0 {
            let now = began.elapsed();
            for node in 0..VOTERS {
                let taken = wait_for("a process", || sample(&cluster, node, now));
                println!("{:>8.1} s: {taken:?}", now.as_secs_f64());
                samples.push(taken);
            }
        }
    }
    cluster.wait_settled();
    let tenures = watch.judge(false);
    println!("{rounds} faults, {} leaderships, slowest agreement {slowest:?}", tenures.len());
    flat(&samples, whole);
}
