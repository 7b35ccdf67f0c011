//! Gray failures: what membership says while something works by halves.

use core::time::Duration;

use super::network::{Network, SECOND, name, params};
use super::{Event, Health};

fn five(seed: u64) -> Network {
    let mut network = Network::new(5, 5, params(), seed);
    network.run(SECOND * 20 + Duration::from_millis(seed * 37));
    network
}

/// How often each node has declared `of` dead.
fn deaths_of(network: &Network, of: usize) -> Vec<usize> {
    let died = |at: usize| {
        network
            .events(at)
            .filter(|(_, e)| matches!(e, Event::MemberDied { member, .. } if *member == name(of)))
            .count()
    };
    (0..network.len()).map(died).collect()
}

#[test]
fn probe_flap() {
    for (down, up) in [(6, 3), (8, 2)] {
        for seed in 0..5 {
            let mut network = five(seed);
            for _ in 0..120 / (down + up) {
                network.stop_for(4, SECOND * down);
                network.run(SECOND * down);
                let h: Vec<_> = (0..4).map(|at| network.node(at).member(name(4)).map(|m| (m.health, m.loss_permille))).collect();
                network.run(SECOND * up);
                let h2: Vec<_> = (0..4).map(|at| network.health(at, 4)).collect();
                if seed == 0 { println!("{h:?} {h2:?} {}", network.node(4).local_health()); }
            }
            println!("flap {down}/{up} seed {seed}: of it {:?}, all {}", deaths_of(&network, 4), network.deaths());
        }
    }
}

#[test]
fn probe_mute() {
    for seed in 0..10 {
        let mut network = five(seed);
        network.mute.insert(2, 800);
        network.run(SECOND * 120);
        println!("mute80 seed {seed}: of it {:?}, all {}", deaths_of(&network, 2), network.deaths());
    }
}

#[test]
fn probe_jump() {
    for delay in [500, 1000, 2000, 3000] {
        for seed in 0..4 {
            let mut network = five(seed);
            network.delay = Duration::from_millis(delay);
            network.run(SECOND * 60);
            let jump = network.deaths();
            let susp: u64 = (0..5).map(|n| network.node(n).counters().suspicions_raised).sum();
            network.run(SECOND * 120);
            let susp2: u64 = (0..5).map(|n| network.node(n).counters().suspicions_raised).sum();
            println!("jump {delay}-{} one way seed {seed}: deaths {jump} then {} suspicions {susp} then {}", delay * 2, network.deaths() - jump, susp2 - susp);
        }
    }
}

#[test]
fn probe_stop_and_link() {
    let mut known = Vec::new();
    let mut link = Vec::new();
    let mut back = Vec::new();
    let mut kills = Vec::new();
    for seed in 0..100 {
        let mut network = five(seed);
        network.stop_for(3, SECOND * 60);
        let dead = |n: &Network| [0, 1, 2, 4].iter().all(|&at| n.health(at, 3) == Some(Health::Dead));
        known.push(network.run_until(SECOND * 30, dead).unwrap());
        let mut network = five(seed + 1000);
        network.split(&[3], &[0, 1, 2, 4]);
        link.push(network.run_until(SECOND * 30, dead).unwrap());
        network.run(SECOND * 30);
        network.cut.clear();
        back.push(network.run_until(SECOND * 30, |n| n.all_alive()).unwrap());
        let mut network = five(seed + 2000);
        network.kill(3);
        kills.push(network.run_until(SECOND * 30, dead).unwrap());
    }
    for (what, mut times) in [("kill", kills), ("stop", known), ("link", link), ("back", back)] {
        times.sort();
        println!("{what}: median {:?} p95 {:?} max {:?}", times[50], times[95], times[99]);
    }
}
