//! Gray failures: something works by halves, the leader keeps its quorum, and nobody healthy suffers.
//!
//! Heartbeat 1 s, lease 4 s, probe interval 1 s unless a test says otherwise. Host 0 leads; host 4 is
//! the one that is ill. Demanded each time: the leader leads without a gap (I7), no host declares a
//! healthy member dead, and the ill one is not declared dead again and again.

use core::ops::RangeInclusive;

use crate::network::{Flap, Shape};
use crate::options::{MS, Nanos, Options, Quality, SECOND};
use crate::scenarios::Scene;
use crate::world::World;

/// The host that is ill.
const ILL: usize = 4;

/// A cluster with the timings of hosts on a real network, led by host 0.
fn led(seed: u64, heartbeat: Nanos, lease: Nanos) -> Scene {
    let mut scene = Scene::started(Options {
        seed,
        heartbeat,
        lease,
        election_timeout: lease,
        probe: SECOND,
        silence: 60 * SECOND,
        ..Options::quiet(5)
    });
    scene.wait(2 * lease, "the best voter leads", |world| world.leader() == Some(0));
    scene.go(20 * SECOND + seed * 137 * MS);
    scene
}

fn seconds(seed: u64) -> Scene {
    led(seed, SECOND, 4 * SECOND)
}

/// Deaths that hosts other than `except` have declared, of the ill one by each, and of others in all.
fn deaths(world: &World, except: Option<usize>) -> (Vec<usize>, usize) {
    let ill = world.hosts[ILL].id;
    let by = |host| world.deaths.get(&(host, ill)).copied().unwrap_or(0);
    let told = world.deaths.iter().filter(|((host, of), _)| Some(*host) != except && *of != ill);
    ((0..ILL).map(by).collect(), told.map(|(_, times)| times).sum())
}

/// Host 0 leads one term all the time, healthy members live, and each declares the ill one dead that
/// often.
fn undisturbed(
    scene: &mut Scene,
    length: Nanos,
    times: RangeInclusive<usize>,
    except: Option<usize>,
) {
    let term = scene.term();
    scene.hold(length, "host 0 leads", |world| world.leader() == Some(0));
    assert_eq!(scene.term(), term);
    let (of_ill, of_others) = deaths(scene, except);
    assert_eq!(of_others, 0, "a healthy member was declared dead");
    assert!(of_ill.iter().all(|deaths| times.contains(deaths)), "{of_ill:?} is not in {times:?}");
}

#[test]
fn a_follower_that_hears_nothing_is_found_and_disturbs_nobody() {
    for seed in 0..3 {
        let mut scene = seconds(seed);
        scene.cut(&Shape::Deaf(ILL));
        undisturbed(&mut scene, 60 * SECOND, 1..=1, Some(ILL));
    }
}

#[test]
fn a_follower_that_nobody_hears_is_found_and_disturbs_nobody() {
    for seed in 0..3 {
        let mut scene = seconds(seed);
        scene.cut(&Shape::Mute(ILL));
        undisturbed(&mut scene, 60 * SECOND, 1..=1, Some(ILL));
    }
}

#[test]
fn a_follower_that_loses_most_of_what_it_sends_does_not_flap() {
    for seed in 0..3 {
        let mut scene = seconds(seed);
        scene.network.muffle(ILL, 800);
        undisturbed(&mut scene, 120 * SECOND, 0..=1, None);
    }
}

#[test]
fn a_pair_that_cannot_talk_changes_nothing() {
    for other in [0, 1] {
        let mut scene = seconds(1);
        scene.cut(&Shape::Links(vec![(other, ILL), (ILL, other)]));
        undisturbed(&mut scene, 120 * SECOND, 0..=0, None);
    }
}

#[test]
fn loss_everywhere_kills_nobody_and_changes_no_leader() {
    for loss in [200, 400] {
        for seed in 0..3 {
            let mut scene = seconds(seed);
            scene.network.become_quality(Quality { loss, ..Quality::calm(MS) });
            undisturbed(&mut scene, 120 * SECOND, 0..=0, None);
        }
    }
}

#[test]
fn delays_that_become_seconds_kill_nobody_and_change_no_leader() {
    for seed in 0..3 {
        let mut scene = led(seed, 15 * SECOND, 60 * SECOND);
        let (delay_min, delay_max) = (2 * SECOND, 5 * SECOND);
        scene.network.become_quality(Quality { delay_min, delay_max, ..Quality::calm(MS) });
        undisturbed(&mut scene, 300 * SECOND, 0..=0, None);
    }
}

#[test]
fn a_link_that_bounces_every_second_disturbs_nobody() {
    for seed in 0..3 {
        let mut scene = seconds(seed);
        for other in 0..ILL {
            for (from, to) in [(other, ILL), (ILL, other)] {
                scene.network.flap(Flap { from, to, period: SECOND });
            }
        }
        undisturbed(&mut scene, 120 * SECOND, 0..=5, Some(ILL));
    }
}

#[test]
fn a_follower_paused_for_eight_of_ten_seconds_dies_twice_at_most_and_accuses_nobody() {
    for seed in 0..3 {
        let mut scene = seconds(seed);
        for _ in 0..12 {
            scene.pause(ILL, 8 * SECOND);
            undisturbed(&mut scene, 10 * SECOND, 0..=2, None);
        }
    }
}

#[test]
fn a_node_that_was_stopped_does_not_campaign_before_it_has_heard_the_others() {
    for seed in 0..8 {
        let mut scene = seconds(seed);
        let before = scene.canvasses[1];
        // Nothing waits in its socket when it goes on, and its lease on the leader's word has ended.
        scene.cut(&Shape::Deaf(1));
        scene.pause(1, 20 * SECOND);
        scene.go(20 * SECOND - MS);
        scene.cut(&Shape::Whole);
        scene.hold(30 * SECOND, "host 0 leads", |world| world.leader() == Some(0));
        assert_eq!(scene.canvasses[1], before, "seed {seed}");
    }
}

/// A process that a busy machine does not let run for up to a second is dead to nobody.
#[test]
fn followers_that_are_late_now_and_then_under_loss_die_to_nobody_and_kill_nobody() {
    for seed in 0..6 {
        let mut scene = seconds(seed);
        scene.network.become_quality(Quality { loss: 200, ..Quality::calm(MS) });
        for turn in 0..60 {
            let late = usize::try_from(turn % 4 + 1).expect("a host");
            scene.pause(late, (turn * 7 % 10 + 1) * 100 * MS);
            undisturbed(&mut scene, 1_500 * MS, 0..=0, None);
        }
    }
}
