//! Observers, named in the configuration and not.

use crate::net::{LEASE, MILLISECOND, Net, SECOND, at, id, voters};
use core::time::Duration;
use ringrift_p2p::membership::Health;

/// Five voters and so many observers, all of them configured.
fn with_observers(count: usize, seed: u64) -> Net {
    let more: String = (1..=count).map(|n| format!("  o{n}: {{address: 10.0.1.{n}}}\n")).collect();
    let mut net = Net::of_voters(voters(&more), seed);
    for n in 1..=count {
        net.start(&format!("o{n}"), at(&format!("10.0.1.{n}:8770")), None);
    }
    net
}

#[test]
fn forty_observers_see_a_change_of_leader_within_two_probe_rounds_and_outlive_no_lease() {
    let mut net = with_observers(40, 7);
    let first = net.settle();
    net.run(SECOND * 20);
    let name = net.node(first).status(net.now).node;
    net.kill(first);
    let killed = net.now;
    let mut changed = None;
    while net.now.since(killed) < SECOND * 12 {
        net.run(MILLISECOND * 50);
        let since = net.now.since(killed);
        changed = changed.or(Some(net.now).filter(|_| !net.leaders().is_empty()));
        for observer in 5..45 {
            let seen = net.seen_by(observer);
            let stale = seen == Some(name) && since > LEASE + MILLISECOND * 3;
            assert!(!stale, "observer {observer} still names {name} after {since:?}");
            let late = changed.is_some_and(|at| net.now.since(at) > SECOND * 2);
            assert!(!late || seen.is_some_and(|it| it != name), "observer {observer}: {seen:?}");
        }
    }
    assert!(changed.is_some() && net.double.is_empty());
}

#[test]
fn without_a_quorum_no_observer_names_a_leader_after_its_lease() {
    let mut net = with_observers(40, 8);
    net.settle();
    net.run(SECOND * 5);
    (0..3).for_each(|voter| net.kill(voter));
    // The last heartbeat may have been under way for three milliseconds.
    net.run(LEASE + MILLISECOND * 3);
    let stale = (3..45).filter_map(|node| net.node(node).status(net.now).follows);
    assert_eq!(stale.collect::<Vec<_>>(), []);
}

#[test]
fn five_and_forty_know_each_other() {
    let mut net = with_observers(40, 9);
    let all = |net: &Net| {
        (0..45).all(|node| {
            let status = net.node(node).status(net.now);
            status.members.iter().all(|member| member.health == Health::Alive)
        })
    };
    let took = net.run_until(SECOND * 10, all);
    assert!(took.is_some());
}

fn open(max: usize) -> ringrift_p2p::config::Config {
    voters(&format!("membership: {{open: true, max_members: {max}}}\n"))
}

/// Whether every voter has the node of that name alive.
fn known_to_voters(net: &Net, name: &str) -> bool {
    (0..5).all(|voter| {
        let status = net.node(voter).status(net.now);
        status.member(id(name)).is_some_and(|member| member.health == Health::Alive)
    })
}

#[test]
fn a_name_that_is_not_configured_joins_an_open_cluster_only_and_follows() {
    for (config, joins) in [(open(100), true), (voters(""), false)] {
        let mut net = Net::of_voters(config, 3);
        net.settle();
        let stranger = net.start("stranger", at("10.0.9.9:8770"), None);
        let known = |net: &Net| known_to_voters(net, "stranger");
        assert_eq!(net.run_until(SECOND * 10, known).is_some(), joins);
        let follows = |net: &Net| net.seen_by(stranger).is_some();
        assert_eq!(net.run_until(SECOND * 3, follows).is_some(), joins);
    }
}

#[test]
fn a_stranger_is_known_by_where_it_answers_and_not_by_what_it_says() {
    for says in ["127.0.0.1:8770", "0.0.0.0:8770", "224.0.0.1:8770", "10.0.7.7:8770"] {
        let mut net = Net::of_voters(open(100), 4);
        net.settle();
        net.start_saying("stranger", at("10.0.9.9:8770"), at(says), None);
        let known = |net: &Net| known_to_voters(net, "stranger");
        assert!(net.run_until(SECOND * 10, known).is_some(), "{says}");
        net.run(SECOND * 10);
        for voter in 0..5 {
            let status = net.node(voter).status(net.now);
            assert_eq!(status.member(id("stranger")).unwrap().address, Some(at("10.0.9.9:8770")));
        }
    }
}

#[test]
fn a_full_table_takes_no_stranger() {
    let mut net = Net::of_voters(open(6), 5);
    for n in 1..=8 {
        net.start(&format!("s{n}"), at(&format!("10.0.9.{n}:8770")), None);
    }
    net.run(SECOND * 20);
    assert!((0..5).all(|voter| net.node(voter).status(net.now).members.len() == 6));
}

/// A stranger whose address changes with its boot, as behind a router that translates.
#[test]
fn a_stranger_that_restarts_at_another_address_has_its_name_again_within_intervals() {
    let mut net = Net::of_voters(open(100), 6);
    net.settle();
    let first = net.start("stranger", at("10.0.9.9:1000"), None);
    net.run(SECOND * 20);
    net.kill(first);
    let second = net.start("stranger", at("10.0.9.9:2000"), None);
    let nonce = net.processes[second].boot.sequence;
    let known = |net: &Net| {
        (0..5).all(|voter| {
            let status = net.node(voter).status(net.now);
            status.member(id("stranger")).is_some_and(|member| {
                member.sequence == Some(nonce) && member.address == Some(at("10.0.9.9:2000"))
            })
        })
    };
    let took = net.run_until(SECOND * 30, known);
    assert!(took.is_some_and(|took| took < Duration::from_secs(6)), "{took:?}");
    assert!(!net.says(second, |event| format!("{event:?}").contains("NameTaken")));
}
