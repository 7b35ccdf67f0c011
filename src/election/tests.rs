//! The machine around the core: when it tries, and whom it believes.

use ::core::time::Duration;
use ringrift_wire::{Beacon, Boot, Canvass, Inquire, Message, NodeId, Opinion, Priority, Refusal};
use std::collections::BTreeMap;

use super::core::{Core, Rules};
use super::record::{Restored, RestoredPromise, VoteRecord};
use super::{Hysteresis, Machine, Output, Params, Place, Setup, Standing, VoterSet};
use crate::time::Instant;

const NOW: Instant = Instant::from_nanos(100_000_000_000);

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// The voter `b` of three with a record; `a` is better and `c` is worse.
fn second_best() -> Machine {
    voter(Some(VoteRecord {
        term: 9,
        voted_for: None,
        nonce: 0,
        longest_lease: Duration::from_secs(4),
        set_version: 1,
        led_version: 1,
        drained: false,
    }))
}

fn voter(record: Option<VoteRecord>) -> Machine {
    let place = |(order, name): (u16, &str)| (id(name), Place { order, gpu: false, never: false });
    let setup = Setup {
        me: id("b"),
        boot: Boot { sequence: 2, nonce: 2 },
        started_unix: 1_000,
        set: VoterSet::new(&["a", "b", "c"].map(id), 1),
        params: Params {
            heartbeat_interval: Duration::from_secs(1),
            lease: Duration::from_secs(4),
            election_timeout: Duration::from_secs(1),
            clock_drift_ppm: 10_000,
            work_grace: Duration::ZERO,
            hysteresis: Hysteresis::default(),
            places: (1..).zip(["a", "b", "c"]).map(place).collect::<BTreeMap<_, _>>(),
        },
        evidence_window: Duration::from_secs(10),
        seed: 1,
    };
    let promise = RestoredPromise::Exact(None);
    Machine::new(setup, Restored { record, promise, may_release: true }, NOW)
}

fn canvasses(machine: &mut Machine) -> usize {
    let outputs = ::core::iter::from_fn(|| machine.poll_output());
    outputs.filter(|it| matches!(it, Output::Send { message: Message::Canvass(_), .. })).count()
}

#[test]
fn a_better_voter_has_its_turn_and_one_that_leaves_has_none() {
    let mut machine = second_best();
    machine.standing(NOW, id("a"), Standing::Well);
    assert_eq!(canvasses(&mut machine), 0, "the better one's turn");
    machine.standing(NOW, id("a"), Standing::Gone(NOW));
    assert_eq!(canvasses(&mut machine), 2);
}

/// What a node that was stopped knows is old: the better voter may have led all the time.
#[test]
fn a_voter_whose_own_loop_was_late_tries_nothing_before_another_was_heard() {
    let mut machine = second_best();
    machine.resumed(NOW);
    machine.standing(NOW, id("a"), Standing::Gone(NOW));
    assert_eq!(canvasses(&mut machine), 0);
    machine.round_trip(NOW, id("c"), Duration::from_millis(1));
    assert_eq!(canvasses(&mut machine), 2);
}

#[test]
fn a_leader_with_a_lease_far_beyond_ones_own_is_not_believed() {
    let mut machine = second_best();
    let mut hear = |lease_ms| {
        let beacon = Beacon { leader: id("a"), nonce: 7, term: 9, number: 1, age_ms: 1, lease_ms };
        machine.on_beacon(NOW, NOW, id("c"), &beacon);
        machine.leader(NOW)
    };
    assert_eq!(hear(u32::MAX), None);
    assert_eq!(hear(40_000), Some(id("a")));
}

/// What a voter of version 2 with that record says to a canvass of a voter of another version.
fn opinion(set_version: u32, asker: &str, under: u32) -> Opinion {
    let mut machine = second_best();
    machine.setup.set = VoterSet::new(&["a", "b", "c"].map(id), 2);
    let core = machine.core.take().unwrap();
    let record = VoteRecord { set_version, ..*core.record() };
    let rules = Rules {
        me: id("b"),
        nonce: 2,
        set: machine.setup.set.clone(),
        lease: Duration::from_secs(4),
        drift_ppm: 0,
    };
    let promise = RestoredPromise::Exact(None);
    let restored = Restored { record: Some(record), promise, may_release: true };
    machine.core = Some(Core::new(rules, restored, NOW));
    for voter in ["a", "c"] {
        machine.round_trip(NOW, id(voter), Duration::from_millis(1));
    }
    let set = VoterSet::new(&["a", "b", "c"].map(id), under).tag();
    let priority = machine.own_priority(NOW);
    let priority = Priority { order: 9, ..priority };
    let asked = Canvass { set, number: 77, term: 9, priority };
    machine.on_message(NOW, id(asker), 7, &Message::Canvass(asked));
    let outputs = ::core::iter::from_fn(|| machine.poll_output());
    let reply = outputs.filter_map(|output| match output {
        Output::Send { message: Message::CanvassReply(reply), .. } => Some(reply.opinion),
        _ => None,
    });
    reply.last().unwrap()
}

#[test]
fn between_two_versions_no_voter_outranks_the_other() {
    assert!(matches!(opinion(1, "c", 2), Opinion::Better(_)));
    assert!(matches!(opinion(1, "c", 1), Opinion::Yes { .. }));
    assert!(matches!(opinion(1, "c", 3), Opinion::Yes { .. }));
    assert_eq!(opinion(2, "c", 1), Opinion::No(Refusal::VoterSet), "there is no way back");
    assert_eq!(opinion(1, "c", 4), Opinion::No(Refusal::VoterSet), "no neighbour");
}

/// Two empty voters with files of neighbouring versions asked each other as fast as the network carried it.
#[test]
fn an_empty_voter_asks_back_only_who_counts_with_the_same_voters() {
    let asks_back = |version| {
        let mut machine = voter(None);
        while machine.poll_output().is_some() {}
        let set = VoterSet::new(&["a", "b", "c"].map(id), version).tag();
        machine.on_message(NOW, id("a"), 7, &Message::Inquire(Inquire { set, number: 1 }));
        let outputs = ::core::iter::from_fn(|| machine.poll_output());
        let messages = outputs.filter_map(|output| match output {
            Output::Send { to, message } if to == id("a") => Some(message),
            _ => None,
        });
        let messages: Vec<Message> = messages.collect();
        assert!(messages.iter().any(|it| matches!(it, Message::Report(_))), "{messages:?}");
        messages.iter().any(|it| matches!(it, Message::Inquire(_)))
    };
    assert!(asks_back(1));
    assert!(!asks_back(2));
}
