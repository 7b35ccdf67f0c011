//! Gray failures with real processes: something works by halves, and the leader keeps its quorum.
//!
//! The last voter is ill. Demanded each time: the leader leads one term without a gap (I7), no healthy
//! node declares another healthy one dead, and the ill one is not declared dead again and again.
//! Heartbeat and probe interval are a second. `GRAY_SECONDS` is how long each illness lasts (10); what is
//! said of growing times shows only in a minute or more. A node whose own loop was late by a tenth of
//! a second may be declared dead: on a machine that busy it was.
//!
//! The same illnesses under virtual time, longer and under many seeds, are in `tests/sim/gray.rs`.

use core::time::Duration;
use rustix::process::Signal;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::network::Links;
use super::support::NAMES;
use super::support::cluster::Timing;
use super::{Scene, wait_for};

const VOTERS: usize = 5;
/// A loss of 40 % in both directions leaves a third of the round trips: eight tries fit into the lease.
const TIMING: Timing = Timing { heartbeat_ms: 1_000, lease_ms: 8_000 };
/// The probe interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an illness lasts.
fn length() -> Duration {
    let set = std::env::var("GRAY_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(set.unwrap_or(10))
}

/// A cluster whose last voter falls ill.
struct Ward {
    scene: Scene,
    ill: usize,
}

impl Ward {
    fn open() -> Option<Self> {
        let scene = Scene::whole(VOTERS, TIMING)?;
        let [.., ill] = scene.others::<4>();
        Some(Self { scene, ill })
    }

    /// Does something again and again for as long as an illness lasts; the leader is undisturbed.
    fn lasts(&mut self, mut turn: impl FnMut(&mut Self)) {
        let from = Instant::now();
        while from.elapsed() < length() {
            turn(self);
        }
        let since = self.scene.watch.claims().into_iter().filter(|claim| claim.sent >= from);
        let (mut times, mut others) = (0, Vec::new());
        for claim in since {
            times += 1;
            if (claim.node, claim.term) != (self.scene.leader, self.scene.term) {
                others.push(claim);
            }
        }
        let views = || self.scene.cluster.views();
        assert!(times > 10, "the leader does not lead:\n{}", views());
        assert!(others.is_empty(), "{others:?} beside the leader:\n{}", views());
    }

    /// Waits until every healthy node has declared the ill one dead.
    fn found(&self) {
        wait_for("all to find the ill one", || {
            self.deaths_of(self.ill).into_iter().all(|deaths| deaths > 0).then_some(())
        });
    }

    /// How often each healthy node has declared `of` dead.
    fn deaths_of(&self, of: usize) -> Vec<usize> {
        let dead = format!("member=\"{}\"", NAMES[of]);
        let count = |by: &str| {
            let log = fs::read_to_string(self.scene.cluster.dir.path().join(format!("{by}.log")));
            let log = log.unwrap_or_default();
            log.lines().filter(|line| line.contains("member died") && line.contains(&dead)).count()
        };
        let healthy = (0..VOTERS).filter(|&by| by != self.ill && by != of);
        healthy.map(|by| count(NAMES[by])).collect()
    }

    /// The network heals; the same leader leads the same term, no healthy node was declared dead by
    /// another, and the ill one by each at most so often.
    fn closes(mut self, times: usize) {
        let of_ill = self.deaths_of(self.ill);
        assert!(of_ill.iter().all(|&deaths| deaths <= times), "{of_ill:?} is above {times}");
        for of in (0..VOTERS).filter(|&of| of != self.ill) {
            let excused = self.scene.cluster.late_loops(of) > 0;
            assert!(excused || self.deaths_of(of) == [0; 3], "{} was healthy", NAMES[of]);
        }
        self.scene.cluster.signal(self.ill, Signal::CONT);
        let before = (self.scene.leader, self.scene.term);
        let tenures = self.scene.ends_with(before.0);
        assert!(tenures.iter().all(|it| (it.node, it.term) == before), "{tenures:?}");
    }
}

fn a_while() {
    thread::sleep(INTERVAL);
}

#[test]
fn a_deaf_follower_is_found_and_disturbs_nobody() {
    let Some(mut ward) = Ward::open() else { return };
    let ill = ward.ill;
    ward.scene.network.set(&Links::whole(VOTERS).but(|hears, _| hears == ill));
    ward.lasts(|_| a_while());
    ward.found();
    ward.closes(1);
}

#[test]
fn a_mute_follower_is_found_and_disturbs_nobody() {
    let Some(mut ward) = Ward::open() else { return };
    let ill = ward.ill;
    ward.scene.network.set(&Links::whole(VOTERS).but(|_, sends| sends == ill));
    ward.lasts(|_| a_while());
    ward.found();
    ward.closes(1);
}

#[test]
fn a_follower_that_loses_most_of_what_it_sends_does_not_flap() {
    let Some(mut ward) = Ward::open() else { return };
    ward.scene.network.set(&Links::whole(VOTERS).muffled(ward.ill, 80));
    ward.lasts(|_| a_while());
    ward.closes(1);
}

#[test]
fn a_pair_that_cannot_talk_is_no_death() {
    let Some(mut ward) = Ward::open() else { return };
    let pair = (ward.scene.leader, ward.ill);
    let cut = |hears, sends| pair == (hears, sends) || pair == (sends, hears);
    ward.scene.network.set(&Links::whole(VOTERS).but(cut));
    ward.lasts(|_| a_while());
    ward.closes(0);
}

#[test]
fn loss_everywhere_is_no_death_and_no_change_of_leader() {
    let Some(mut ward) = Ward::open() else { return };
    for percent in [20, 40] {
        ward.scene.network.set(&Links::whole(VOTERS).lossy(percent));
        ward.lasts(|_| a_while());
    }
    ward.closes(0);
}

#[test]
fn a_link_that_bounces_disturbs_nobody() {
    let Some(mut ward) = Ward::open() else { return };
    ward.lasts(|ward| {
        for state in ["down", "up"] {
            ward.scene.network.link(ward.ill, state);
            thread::sleep(INTERVAL);
        }
    });
    // Waits of 8, 16, 32 intervals leave room for no more.
    ward.closes(2 + usize::try_from(length().as_secs() / 8).expect("a short test"));
}

#[test]
fn a_follower_that_is_paused_most_of_the_time_is_held_off() {
    let Some(mut ward) = Ward::open() else { return };
    ward.lasts(|ward| {
        ward.scene.cluster.signal(ward.ill, Signal::STOP);
        thread::sleep(INTERVAL * 8);
        ward.scene.cluster.signal(ward.ill, Signal::CONT);
        thread::sleep(INTERVAL * 2);
    });
    ward.closes(2);
}

#[test]
fn a_busy_machine_is_no_death_and_no_change_of_leader() {
    let Some(mut ward) = Ward::open() else { return };
    let burners = Burners::on_all_cores();
    ward.lasts(|_| a_while());
    drop(burners);
    ward.closes(0);
}

/// A thread for each core that does nothing for as long as it can.
struct Burners(Arc<AtomicBool>);

impl Burners {
    fn on_all_cores() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    number = black_box(number.wrapping_add(1));
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
