//! One rule at a time, in a quiet cluster: heartbeat 100 ms, lease 400 ms, links of at most 1 ms.
//!
//! Host 0 is the best voter, host 1 the next, and so on. The checkers watch here as in a sweep.

use core::ops::{Deref, DerefMut};
use ringrift_p2p::election::VoterSet;
use ringrift_p2p::node::status::Health;
use ringrift_p2p::node::{Command, Input};
use ringrift_wire::{Envelope, Gossip, MemberState, Message, Update};

use crate::host::{Ending, address};
use crate::liar::Lie;
use crate::network::Shape;
use crate::options::{MS, Nanos, Options, SECOND};
use crate::sometimes::Path;
use crate::world::{What, World};

/// The lease of these clusters.
const LEASE: Nanos = 400 * MS;

/// By when a lost leader is replaced: its lease by the slowest clock, the stagger of five voters, two
/// round trips and two writes.
const REPLACED: Nanos = LEASE + LEASE / 50 + 5 * 50 * MS + 4 * MS + 4 * MS;

/// A world that tells what happened in it when its test fails.
pub(crate) struct Scene(World);

impl Deref for Scene {
    type Target = World;
    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.0.timeline.lines() {
                println!("{line}");
            }
        }
    }
}

impl Scene {
    /// Hosts without processes.
    fn empty(options: Options) -> Self {
        Self(World::new(options, Lie::None, true))
    }

    /// Hosts whose processes have all just started.
    pub(crate) fn started(options: Options) -> Self {
        let mut scene = Self::empty(options);
        for host in 0..scene.hosts.len() {
            scene.at(0, What::Start { host });
        }
        scene
    }

    /// A cluster of that many voters with host 0 as its leader, as it would be after a while.
    fn led(voters: usize) -> Self {
        let mut scene = Self::started(Options::quiet(voters));
        scene.wait(4 * LEASE, "the best voter leads", |world| world.leader() == Some(0));
        scene.go(10 * LEASE);
        assert_eq!(scene.leader(), Some(0));
        scene
    }

    /// Lets time pass; nothing may be violated.
    pub(crate) fn go(&mut self, length: Nanos) {
        self.0.run_for(length);
        assert_eq!(self.violation, None);
    }

    /// Lets time pass until something holds; gives how long it took.
    pub(crate) fn wait(
        &mut self,
        limit: Nanos,
        what: &str,
        holds: impl Fn(&World) -> bool,
    ) -> Nanos {
        let began = self.now;
        while !holds(self) {
            assert!(self.now < began + limit, "not within {limit} ns: {what}");
            self.go(MS);
        }
        self.now - began
    }

    /// Lets time pass while something holds all the time.
    pub(crate) fn hold(&mut self, length: Nanos, what: &str, holds: impl Fn(&World) -> bool) {
        let end = self.now + length;
        while self.now < end {
            self.go(MS);
            assert!(holds(self), "no longer at {} ns: {what}", self.now);
        }
    }

    /// The term that is led at present.
    pub(crate) fn term(&self) -> Option<u64> {
        self.checkers.leases.leader(self.now).map(|(_, held)| held.term)
    }

    /// The durable term of a host.
    fn durable_term(&self, host: usize) -> u64 {
        self.hosts[host].disk.record.map_or(0, |record| record.term)
    }

    pub(crate) fn cut(&mut self, shape: &Shape) {
        self.timeline_note(format!("{shape:?}"));
        self.network.shape(shape);
    }

    fn timeline_note(&mut self, text: String) {
        let now = self.now;
        self.0.timeline.note(now, "!!", || text);
    }
}

#[test]
fn cold_start_of_new_stores_picks_the_best_voter_without_waiting() {
    let mut scene = Scene::started(Options { first_start: true, ..Options::quiet(5) });
    let took = scene.wait(LEASE, "somebody leads", |world| world.leader().is_some());
    assert!(took < LEASE, "a first start of all voters waits {took} ns");
    assert_eq!(scene.leader(), Some(0));
    scene.hold(10 * LEASE, "host 0 leads", |world| world.leader() == Some(0));
}

#[test]
fn first_start_with_three_of_five_waits_a_lease() {
    let mut scene = Scene::empty(Options { first_start: true, ..Options::quiet(5) });
    for host in [1, 2, 3] {
        scene.at(0, What::Start { host });
    }
    scene.hold(LEASE * 98 / 100, "nobody leads", |world| world.leader().is_none());
    scene.wait(REPLACED, "the best of them leads", |world| world.leader() == Some(1));
}

#[test]
fn one_voter_leads_alone_and_two_need_both() {
    let mut alone = Scene::started(Options { first_start: true, ..Options::quiet(1) });
    alone.wait(LEASE, "the only voter leads", |world| world.leader() == Some(0));
    alone.hold(10 * LEASE, "it goes on", |world| world.leader() == Some(0));

    let mut two = Scene::led(2);
    two.crash(1, Ending::Killed);
    two.wait(LEASE, "one of two leads no longer", |world| world.leader().is_none());
    two.hold(10 * LEASE, "nobody leads", |world| world.leader().is_none());
    two.start(1);
    two.wait(3 * LEASE, "both are back", |world| world.leader().is_some());
}

#[test]
fn the_next_best_leads_when_the_leader_is_lost() {
    let mut scene = Scene::led(5);
    let term = scene.term();
    scene.crash(0, Ending::Killed);
    scene.wait(REPLACED, "the next best leads", |world| world.leader() == Some(1));
    assert!(scene.term() > term);
    scene.start(0);
    scene.hold(10 * LEASE, "the old leader returns and disturbs nobody", |world| {
        world.leader() == Some(1)
    });
}

#[test]
fn a_leader_that_is_asked_to_stop_is_replaced_at_once() {
    let mut scene = Scene::led(5);
    scene.command(0, Command::Stop);
    scene.go(5 * MS);
    scene.crash(0, Ending::Killed);
    let took = scene.wait(LEASE, "somebody leads", |world| world.leader().is_some());
    assert!(took < LEASE / 4, "a voluntary stop takes {took} ns");
    assert_eq!(scene.leader(), Some(1));
}

#[test]
fn a_leader_killed_and_restarted_at_once_is_released_by_its_next_process() {
    let mut scene = Scene::led(5);
    scene.crash(0, Ending::Killed);
    scene.start(0);
    scene.wait(LEASE / 2, "somebody leads", |world| world.leader().is_some());
    assert!(scene.hits.of(Path::ReleasedByNextProcess) > 0);
}

#[test]
fn a_deaf_leader_is_replaced() {
    let mut scene = Scene::led(5);
    scene.cut(&Shape::Deaf(0));
    scene.wait(REPLACED + LEASE, "another leads", |world| world.leader() == Some(1));
    scene.hold(10 * LEASE, "it goes on", |world| world.leader() == Some(1));
}

#[test]
fn a_mute_leader_is_replaced() {
    let mut scene = Scene::led(5);
    scene.cut(&Shape::Mute(0));
    scene.wait(REPLACED + LEASE, "another leads", |world| world.leader() == Some(1));
    scene.hold(10 * LEASE, "it goes on", |world| world.leader() == Some(1));
}

#[test]
fn in_a_star_the_hub_leads() {
    let mut scene = Scene::led(5);
    scene.cut(&Shape::Star(3));
    scene.wait(REPLACED + 2 * LEASE, "the hub leads", |world| world.leader() == Some(3));
    scene.hold(10 * LEASE, "it goes on", |world| world.leader() == Some(3));
}

#[test]
fn in_a_chain_one_of_the_middle_leads() {
    let mut scene = Scene::led(5);
    scene.cut(&Shape::Chain(vec![0, 1, 2, 3, 4]));
    scene.wait(REPLACED + 2 * LEASE, "one of the middle leads", |world| {
        matches!(world.leader(), Some(1..=3))
    });
    let leader = scene.leader();
    scene.hold(10 * LEASE, "it goes on", |world| world.leader() == leader);
}

#[test]
fn four_only_through_two_and_five_only_through_three_changes_nothing() {
    let mut scene = Scene::led(5);
    let term = scene.term();
    scene.cut(&Shape::OnlyThrough(vec![(3, 1), (4, 2)]));
    scene.hold(20 * LEASE, "host 0 leads", |world| world.leader() == Some(0));
    assert_eq!(scene.term(), term);
}

#[test]
fn a_minority_raises_no_term_and_returns_without_a_change() {
    let mut scene = Scene::led(5);
    let before = scene.durable_term(1);
    scene.cut(&Shape::Split(vec![0, 0, 1, 1, 1]));
    scene.wait(REPLACED, "the majority has a leader", |world| world.leader() == Some(2));
    scene.hold(20 * LEASE, "it goes on", |world| world.leader() == Some(2));
    assert_eq!([scene.durable_term(0), scene.durable_term(1)], [before, before]);
    let term = scene.term();
    scene.cut(&Shape::Whole);
    scene.hold(20 * LEASE, "nothing changes", |world| world.leader() == Some(2));
    assert_eq!(scene.term(), term);
}

#[test]
fn no_side_of_two_two_one_has_a_leader() {
    let mut scene = Scene::led(5);
    scene.cut(&Shape::Split(vec![0, 0, 1, 1, 2]));
    scene.wait(LEASE, "nobody leads", |world| world.leader().is_none());
    scene.hold(20 * LEASE, "nobody leads", |world| world.leader().is_none());
    scene.cut(&Shape::Whole);
    scene.wait(REPLACED + LEASE, "the best leads", |world| world.leader().is_some());
}

#[test]
fn a_rolling_restart_of_followers_costs_no_leader() {
    let mut scene = Scene::led(5);
    let term = scene.term();
    for host in 1..5 {
        scene.crash(host, Ending::Killed);
        scene.hold(10 * MS, "host 0 leads", |world| world.leader() == Some(0));
        scene.start(host);
        scene.hold(LEASE / 2, "host 0 leads", |world| world.leader() == Some(0));
    }
    assert_eq!(scene.term(), term);
}

#[test]
fn a_leader_paused_for_three_leases_never_leads_that_term_again() {
    let mut scene = Scene::led(5);
    let term = scene.term();
    scene.pause(0, 3 * LEASE);
    scene.wait(REPLACED, "the next best leads", |world| world.leader() == Some(1));
    scene.hold(10 * LEASE, "it goes on", |world| world.leader() == Some(1));
    assert!(scene.term() > term);
    assert!(scene.hits.of(Path::LeaderPausedBeyondLease) > 0);
}

#[test]
fn a_restarted_voter_keeps_its_vote() {
    let mut scene = Scene::led(3);
    let record = scene.hosts[1].disk.record;
    assert!(record.is_some_and(|record| record.voted_for == Some(scene.hosts[0].id)));
    scene.crash(1, Ending::Reboot);
    scene.go(LEASE / 4);
    scene.start(1);
    scene.hold(10 * LEASE, "host 0 leads", |world| world.leader() == Some(0));
    assert_eq!(scene.hosts[1].disk.record, record);
}

#[test]
fn a_wiped_voter_waits_a_lease_before_it_takes_part() {
    let mut scene = Scene::led(5);
    scene.crash(4, Ending::Wiped);
    scene.start(4);
    scene.hold(LEASE * 98 / 100, "the store stays empty", |world| {
        world.leader() == Some(0) && world.hosts[4].disk.record.is_none()
    });
    scene.wait(LEASE, "it adopts a record", |world| world.hosts[4].disk.record.is_some());
    scene.hold(10 * LEASE, "host 0 leads", |world| world.leader() == Some(0));
}

#[test]
fn a_voter_with_a_higher_term_raises_the_leaders_without_a_gap() {
    let mut scene = Scene::led(5);
    let term = scene.term();
    scene.crash(4, Ending::Killed);
    let record = scene.hosts[4].disk.record.as_mut().expect("a voter that voted");
    record.term += 5;
    record.voted_for = None;
    let raised = record.term;
    scene.checkers.terms.found(4, raised);
    scene.start(4);
    scene.hold(10 * LEASE, "host 0 leads", |world| world.leader() == Some(0));
    assert!(scene.term() > term.max(Some(raised)), "{:?} is not above {raised}", scene.term());
    assert!(scene.hits.of(Path::TermRaisedWhileLeading) > 0);
}

#[test]
fn a_voter_with_another_voter_set_neither_votes_nor_counts() {
    let mut scene = Scene::empty(Options::quiet(5));
    let others: Vec<_> = (0..4).map(|host| scene.hosts[host].id).collect();
    for host in [3, 4] {
        scene.hosts[host].voter_set = VoterSet::new(&others, 1);
    }
    for host in [0, 1, 3, 4] {
        scene.start(host);
    }
    scene.hold(10 * LEASE, "nobody leads", |world| world.leader().is_none());
    scene.start(2);
    scene.wait(3 * LEASE, "three of one mind lead", |world| world.leader().is_some());
}

#[test]
fn after_all_five_are_killed_terms_only_rise() {
    let mut scene = Scene::led(5);
    for ending in [Ending::Killed, Ending::Reboot, Ending::Wiped] {
        let term = scene.term();
        assert!(term.is_some());
        for host in 0..5 {
            scene.crash(host, ending);
        }
        scene.go(LEASE / 8);
        for host in 0..5 {
            scene.start(host);
        }
        scene.wait(3 * LEASE, "somebody leads", |world| world.leader().is_some());
        assert!(scene.term() > term, "{ending:?}: {:?} is not above {term:?}", scene.term());
    }
}

#[test]
fn a_voter_whose_store_fails_does_not_lead() {
    let mut scene = Scene::empty(Options::quiet(3));
    scene.hosts[0].disk.failing_until = Nanos::MAX;
    for host in 0..3 {
        scene.start(host);
    }
    scene.wait(4 * LEASE, "the next best leads", |world| world.leader() == Some(1));
    scene.hold(10 * LEASE, "it goes on", |world| world.leader() == Some(1));
}

#[test]
fn a_reaped_member_does_not_come_back_by_old_gossip() {
    let minutes = 60 * SECOND;
    let options = Options {
        observers: 1,
        open: true,
        heartbeat: 2 * minutes,
        lease: 8 * minutes,
        election_timeout: 8 * minutes,
        probe: 5 * minutes,
        silence: 10 * minutes,
        ..Options::quiet(3)
    };
    let mut scene = Scene::started(options);
    let name = scene.hosts[3].id;
    let known = |world: &World, host: usize| {
        let state = &world.hosts[host];
        let process = state.process.as_ref()?;
        process.node.status(state.clock.local(world.now)).member(name).map(|member| member.health)
    };
    scene.0.run_for(60 * minutes);
    assert!((0..3).all(|voter| known(&scene, voter) == Some(Health::Alive)));
    let boot = scene.boots[3].expect("a process that runs");
    scene.crash(3, Ending::Killed);
    // Forgotten a day later, at the next of the looks that come every sixty rounds.
    scene.0.run_for(31 * 60 * minutes);
    assert!((0..3).all(|voter| known(&scene, voter).is_none()), "it is not forgotten");
    let old = Update {
        member: name,
        address: address(3),
        sequence: boot.sequence,
        incarnation: 7,
        state: MemberState::Alive,
    };
    let gossip = Message::Gossip(Gossip { beacon: None, updates: vec![old] });
    let teller = scene.boots[1].expect("a process that runs");
    let envelope = Envelope { sender: scene.hosts[1].id, boot: teller, message: gossip };
    for _ in 0..10 {
        scene.feed(0, Input::Datagram { from: address(1), envelope: envelope.clone() });
        scene.0.run_for(5 * minutes);
        assert_eq!(scene.violation, None);
        assert!((0..3).all(|voter| known(&scene, voter).is_none()), "it is back");
    }
}
