//! Voters on hosts of their own, whose network is cut in every way that has brought clusters down.
//!
//! Throughout, the watch sees to it that never two lead, and that nobody leads within a lease that was
//! not given up. A leader must be there in time wherever a voter reaches a quorum, must not change
//! where it keeps one, and in the end every node must know the truth.
//!
//! The nodes of a test are named by their part in it: [`Scene::leader`] and [`Scene::others`].

mod gray;
mod network;
mod preflight;
mod relay;
mod soak;
#[expect(dead_code, reason = "tests/daemon uses the rest")]
#[path = "../support/mod.rs"]
mod support;

use core::time::Duration;
use rustix::process::Signal;
use std::time::Instant;

use network::{Links, Network};
use support::cluster::{Cluster, Timing};
use support::watch::{Tenure, Watch};
use support::{wait_for, within};

/// Long enough that a busy machine costs no leader its lease.
const TIMING: Timing = Timing { heartbeat_ms: 100, lease_ms: 1_000 };

/// For leaders that cannot spare a single voter: one that is starved for a second costs the lease above.
const PATIENT: Timing = Timing { heartbeat_ms: 200, lease_ms: 4_000 };

/// What a busy machine may add to any bound.
const SLACK: Duration = Duration::from_secs(10);

/// A cluster that has a leader, on a whole network, under watch.
struct Scene {
    // Dropped in this order: processes end before their hosts.
    watch: Watch,
    cluster: Cluster,
    network: Network,
    timing: Timing,
    leader: usize,
    term: u64,
}

impl Scene {
    fn new(voters: usize) -> Option<Self> {
        Self::whole(voters, TIMING)
    }

    fn whole(voters: usize, timing: Timing) -> Option<Self> {
        let mut scene = Self::on(Network::new(voters)?, voters, timing);
        scene.cluster.wait_settled();
        (scene.leader, scene.term) = scene.cluster.wait_agreed(&scene.all());
        Some(scene)
    }

    fn on(network: Network, voters: usize, timing: Timing) -> Self {
        let mut cluster = network.cluster(timing);
        let watch = cluster.watch();
        cluster.start_all();
        let all: Vec<_> = (0..voters).collect();
        let (leader, term) = cluster.wait_agreed(&all);
        Self { watch, cluster, network, timing, leader, term }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.cluster.len()).collect()
    }

    /// All but the leader, best first.
    fn others<const N: usize>(&self) -> [usize; N] {
        let others: Vec<_> = self.all().into_iter().filter(|&node| node != self.leader).collect();
        others.try_into().expect("as many voters as the scene was made with")
    }

    /// Waits for the first other leader after `cut`, which must come within the bound of `leases`
    /// leases, the waits of all voters, and slack.
    #[track_caller]
    fn replaced_within(&self, leases: u32, cut: Instant) -> usize {
        let bound =
            (self.timing.lease() * leases).mul_f64(1.02) + Duration::from_millis(500) + SLACK;
        let replaced = || self.watch.claims().into_iter().find(|claim| claim.node != self.leader);
        let first = within(bound, replaced);
        let Some(first) = first else {
            panic!("no other leader {:?} after the cut:\n{}", cut.elapsed(), self.cluster.views());
        };
        first.node
    }

    /// For so many leases nobody leads but `leader`, and it does.
    #[track_caller]
    fn steady(&self, leader: usize, leases: u32) {
        let from = Instant::now();
        let end = self.timing.lease() * leases;
        wait_for("some leases", || (from.elapsed() > end).then_some(()));
        let since: Vec<_> =
            self.watch.claims().into_iter().filter(|claim| claim.sent >= from).collect();
        assert!(since.len() > 10, "{leader} does not lead:\n{}", self.cluster.views());
        let other = since.iter().find(|claim| claim.node != leader);
        assert!(other.is_none(), "{other:?} instead of {leader}:\n{}", self.cluster.views());
    }

    /// These have no leader, say why, and have raised no term since they had one.
    #[track_caller]
    fn powerless(&self, nodes: &[usize]) {
        self.cluster.wait_leaderless(nodes);
        for &node in nodes {
            let term = self.cluster.status(node).number("term");
            assert_eq!(term, self.term, "{node} raised its term in a minority");
        }
    }

    /// Heals the network and ends the scene: `leader` leads then, everybody knows it and sees
    /// everybody, and all that was claimed of leading was right.
    #[track_caller]
    fn ends_with(self, leader: usize) -> Vec<Tenure> {
        self.network.heal();
        self.cluster.wait_settled();
        let (last, _) = self.cluster.wait_agreed(&self.all());
        assert_eq!(last, leader, "the healing changed the leader:\n{}", self.cluster.views());
        self.watch.judge(true)
    }

    /// Like [`Scene::ends_with`] the leader of the beginning, which never lost its place.
    #[track_caller]
    fn ends_unchanged(self) {
        let leader = self.leader;
        let tenures = self.ends_with(leader);
        assert!(tenures.iter().all(|tenure| tenure.node == leader), "{tenures:?}");
    }
}

#[test]
fn split_3_2_with_the_leader_among_the_two() {
    let Some(scene) = Scene::new(5) else { return };
    let [b, c, d, e] = scene.others();
    scene.network.set(&Links::groups(&[&[scene.leader, b], &[c, d, e]]));
    let next = scene.replaced_within(1, Instant::now());
    assert_eq!(scene.cluster.wait_agreed(&[c, d, e]).0, next);
    scene.powerless(&[scene.leader, b]);
    scene.ends_with(next);
}

#[test]
fn split_3_2_with_the_leader_among_the_three() {
    let Some(scene) = Scene::new(5) else { return };
    let [b, c, d, e] = scene.others();
    scene.network.set(&Links::groups(&[&[scene.leader, b, c], &[d, e]]));
    scene.powerless(&[d, e]);
    scene.steady(scene.leader, 4);
    scene.powerless(&[d, e]);
    scene.ends_unchanged();
}

#[test]
fn split_2_2_1_has_no_leader_until_it_heals() {
    let Some(scene) = Scene::new(5) else { return };
    let [b, c, d, e] = scene.others();
    scene.network.set(&Links::groups(&[&[scene.leader, b], &[c, d], &[e]]));
    scene.powerless(&scene.all());
    scene.network.heal();
    let (leader, term) = scene.cluster.wait_agreed(&scene.all());
    assert!(term > scene.term);
    scene.ends_with(leader);
}

#[test]
fn a_deaf_leader_is_replaced() {
    let Some(scene) = Scene::new(5) else { return };
    scene.network.set(&Links::whole(5).but(|hears, _| hears == scene.leader));
    let next = scene.replaced_within(2, Instant::now());
    scene.powerless(&[scene.leader]);
    scene.steady(next, 4);
    scene.ends_with(next);
}

#[test]
fn a_mute_leader_is_replaced() {
    let Some(scene) = Scene::new(5) else { return };
    scene.network.set(&Links::whole(5).but(|_, sends| sends == scene.leader));
    let next = scene.replaced_within(1, Instant::now());
    // The mute one hears who leads now.
    assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, next);
    scene.steady(next, 4);
    scene.ends_with(next);
}

#[test]
fn in_a_star_the_hub_leads_and_all_know_it() {
    let Some(scene) = Scene::new(5) else { return };
    let [b, c, d, hub] = scene.others();
    let rays = [(hub, scene.leader), (hub, b), (hub, c), (hub, d)];
    scene.network.set(&Links::only(5, &rays));
    assert_eq!(scene.replaced_within(2, Instant::now()), hub);
    assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, hub);
    scene.steady(hub, 4);
    scene.ends_with(hub);
}

#[test]
fn in_a_chain_one_of_the_middle_leads() {
    let Some(scene) = Scene::new(5) else { return };
    let [b, c, d, e] = scene.others();
    scene.network.set(&Links::only(5, &[(scene.leader, b), (b, c), (c, d), (d, e)]));
    let next = scene.replaced_within(2, Instant::now());
    assert!([b, c, d].contains(&next), "{next} reaches no quorum");
    scene.steady(next, 4);
    scene.ends_with(next);
}

#[test]
fn the_leader_keeps_two_that_are_reached_only_through_others() {
    let Some(scene) = Scene::whole(5, PATIENT) else { return };
    let (a, [b, c, d, e]) = (scene.leader, scene.others());
    scene.network.set(&Links::only(5, &[(a, b), (a, c), (b, c), (b, d), (c, e)]));
    scene.steady(a, 2);
    // They hear of it through b and c.
    assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, a);
    scene.ends_unchanged();
}

#[test]
fn a_leader_that_is_reached_only_through_another_is_replaced() {
    let Some(scene) = Scene::new(5) else { return };
    let (d, [a, b, c, e]) = (scene.leader, scene.others());
    scene.network.set(&Links::only(5, &[(a, b), (a, c), (b, c), (b, d), (c, e)]));
    let next = scene.replaced_within(2, Instant::now());
    assert!([a, b, c].contains(&next), "{next} reaches no quorum");
    scene.steady(next, 4);
    scene.ends_with(next);
}

#[test]
fn of_three_two_that_cannot_see_each_other_disturb_nobody() {
    let Some(scene) = Scene::whole(3, PATIENT) else { return };
    let (a, [b, c]) = (scene.leader, scene.others());
    scene.network.set(&Links::only(3, &[(a, b), (b, c)]));
    scene.steady(a, 1);
    assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, a);
    scene.network.set(&Links::only(3, &[(a, b), (a, c)]));
    scene.steady(a, 1);
    assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, a);
    scene.ends_unchanged();
}

#[test]
fn a_follower_cut_off_twenty_times_changes_nothing() {
    let Some(scene) = Scene::new(5) else { return };
    let [.., e] = scene.others::<4>();
    for _ in 0..20 {
        scene.network.set(&Links::whole(5).but(|hears, sends| hears == e || sends == e));
        scene.powerless(&[e]);
        scene.network.heal();
        let healed = scene.cluster.wait_agreed(&scene.all());
        assert_eq!(healed, (scene.leader, scene.term));
    }
    scene.ends_unchanged();
}

#[test]
fn a_pair_that_cannot_talk_changes_nothing() {
    let Some(scene) = Scene::new(5) else { return };
    let (a, [b, .., d, e]) = (scene.leader, scene.others::<4>());
    for pair in [(a, b), (d, e)] {
        let cut = |hears, sends| pair == (hears, sends) || pair == (sends, hears);
        scene.network.set(&Links::whole(5).but(cut));
        scene.steady(a, 4);
        assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, a);
    }
    scene.ends_unchanged();
}

#[test]
fn a_link_down_under_the_leader_is_a_lost_host() {
    let Some(scene) = Scene::new(5) else { return };
    scene.network.link(scene.leader, "down");
    let next = scene.replaced_within(1, Instant::now());
    scene.powerless(&[scene.leader]);
    scene.network.link(scene.leader, "up");
    scene.ends_with(next);
}

#[test]
fn a_fifth_lost_changes_nothing() {
    let Some(scene) = Scene::new(5) else { return };
    scene.network.set(&Links::whole(5).lossy(20));
    scene.steady(scene.leader, 4);
    scene.ends_unchanged();
}

#[test]
fn with_two_fifths_lost_the_leader_is_replaced_when_it_dies() {
    let Some(mut scene) = Scene::new(5) else { return };
    scene.network.set(&Links::whole(5).lossy(40));
    let (leader, term) = (scene.leader, scene.term);
    scene.cluster.signal(leader, Signal::STOP);
    wait_for("another leader", || {
        let claims = scene.watch.claims();
        claims.iter().any(|claim| claim.node != leader && claim.term > term).then_some(())
    });
    scene.cluster.signal(leader, Signal::CONT);
    scene.network.heal();
    let (last, _) = scene.cluster.wait_agreed(&scene.all());
    scene.ends_with(last);
}

#[test]
fn a_slow_network_that_reorders_has_one_leader_and_replaces_it() {
    let ms = Duration::from_millis;
    let Some(network) = Network::slow(5, ms(100)..ms(500)) else { return };
    let mut scene = Scene::on(network, 5, Timing { heartbeat_ms: 500, lease_ms: 4_000 });
    scene.steady(scene.leader, 4);
    scene.cluster.signal(scene.leader, Signal::STOP);
    let next = scene.replaced_within(2, Instant::now());
    scene.cluster.signal(scene.leader, Signal::CONT);
    scene.network.set_delay(ms(0)..ms(1));
    assert_eq!(scene.cluster.wait_agreed(&scene.all()).0, next);
    scene.ends_with(next);
}

#[test]
fn round_trips_of_2_to_5_seconds_have_one_leader_under_a_lease_to_match() {
    let ms = Duration::from_millis;
    let Some(network) = Network::slow(5, ms(1_000)..ms(2_500)) else { return };
    let scene = Scene::on(network, 5, Timing { heartbeat_ms: 2_000, lease_ms: 20_000 });
    // Members are suspected and refute it all the time: nobody loses leadership over that.
    scene.steady(scene.leader, 2);
    scene.network.set_delay(ms(0)..ms(1));
    scene.ends_unchanged();
}
