//! Where a peer is: names, changes of address, and addresses that mean nothing.

use crate::net::{LEASE, Net, SECOND, at, id, voters};
use core::net::SocketAddr;
use ringrift_p2p::config::Config;
use ringrift_p2p::membership::{self, Health, Unusable};
use ringrift_p2p::node::{Command, Event};
use ringrift_wire::{Envelope, Gossip, Message};

fn address_at(net: &Net, node: usize, name: &str) -> Option<SocketAddr> {
    net.node(node).status(net.now).member(id(name)).and_then(|member| member.address)
}

/// Every other voter has `name` there.
fn all_have(net: &Net, name: &str, address: SocketAddr) -> bool {
    let others = (0..5).filter(|&n| net.node(n).status(net.now).node != id(name));
    let mut others = others.filter(|&n| !net.processes[n].stopped);
    others.all(|n| address_at(net, n, name) == Some(address))
}

#[test]
fn a_voter_behind_a_router_is_followed_to_a_new_port_and_its_votes_count_there() {
    for moved in [0, 2] {
        let mut net = Net::of_voters(voters(""), 1);
        let leader = net.settle();
        assert_eq!(leader, 0, "the best leads, so one of the two is the leader");
        net.run(SECOND * 5);
        let name = format!("v{}", moved + 1);
        let (before, now) = (net.processes[moved].address, at("10.0.0.99:40000"));
        net.processes[moved].address = now;
        let took = net.run_until(SECOND * 20, |net| all_have(net, &name, now));
        assert!(took.is_some_and(|took| took <= SECOND * 5), "{took:?}");
        // Two others fall, so that a leader needs its vote.
        net.settle();
        let leader = net.leaders()[0];
        let fall: Vec<usize> = (0..5).filter(|&n| n != moved && n != leader).take(2).collect();
        fall.into_iter().for_each(|number| net.kill(number));
        net.run(LEASE * 3);
        assert_eq!(net.leaders().len(), 1, "moved {moved}");
        // And back.
        net.processes[moved].address = before;
        let took = net.run_until(SECOND * 20, |net| all_have(net, &name, before));
        assert!(took.is_some(), "moved {moved}");
        net.run(LEASE * 3);
        assert_eq!(net.leaders().len(), 1);
        assert!(net.double.is_empty());
    }
}

#[test]
fn a_forged_datagram_moves_nobody() {
    let mut net = Net::of_voters(voters(""), 2);
    let leader = net.settle();
    let (boot, thief) = (net.processes[2].boot, at("10.0.6.6:8770"));
    for _ in 0..50 {
        for to in [0, 1, 3, 4] {
            let message = Message::Gossip(Gossip { beacon: None, updates: Vec::new() });
            net.forge(to, thief, Envelope { sender: id("v3"), boot, message });
        }
        net.run(SECOND / 5);
        assert!(all_have(&net, "v3", at("10.0.0.3:8770")));
    }
    assert_eq!(net.leaders(), [leader]);
}

#[test]
fn a_process_that_never_spoke_from_its_configured_address_has_no_vote() {
    // Everybody else is configured where they are; v3 comes from elsewhere from the start.
    let mut net = Net::new(voters(""), 3);
    for (name, address) in [("v1", "10.0.0.1"), ("v2", "10.0.0.2"), ("v3", "10.0.4.4")] {
        net.start(name, at(&format!("{address}:8770")), None);
    }
    net.run(SECOND * 60);
    assert!(net.leaders().is_empty());
    let status = net.node(0).status(net.now);
    assert_eq!(status.member(id("v3")).unwrap().health, Health::Alive);
    assert!(
        net.says(0, |event| matches!(event, Event::ForeignAddress { voter } if *voter == id("v3")))
    );
}

/// The voters with `v3` by a name that nobody has resolved yet.
fn named() -> Config {
    let mut config = voters("");
    let host = config.hosts.get_mut(&id("v3")).unwrap();
    host.address = ringrift_p2p::config::Address::Name("v3.example".to_owned());
    config
}

fn resolve(net: &mut Net, node: usize, addresses: &[&str]) {
    let addresses = addresses.iter().map(|text| at(text)).collect();
    net.command(node, Command::Resolved { peer: id("v3"), addresses });
}

#[test]
fn a_name_that_is_not_resolved_is_shown_and_its_peer_is_heard_once_it_is() {
    let mut net = Net::of_voters(named(), 4);
    net.kill(3);
    net.kill(4);
    net.run(SECOND * 20);
    assert!(net.leaders().is_empty(), "the vote of an unresolved name does not count");
    resolve(&mut net, 0, &["10.0.0.3:8770"]);
    resolve(&mut net, 1, &["10.0.0.3:8770"]);
    assert!(net.run_until(SECOND * 20, |net| net.leaders().len() == 1).is_some());

    let mut alone = Net::new(named(), 4);
    alone.start("v1", at("10.0.0.1:8770"), None);
    alone.run(SECOND);
    let status = alone.node(0).status(alone.now);
    let member = status.member(id("v3")).unwrap();
    assert_eq!((member.address, member.health), (None, Health::Unknown));
}

#[test]
fn of_several_addresses_of_a_name_the_next_is_tried_and_all_of_them_count() {
    let mut net = Net::of_voters(named(), 5);
    net.kill(3);
    net.kill(4);
    // The first leads nowhere; v3 sends from the third.
    let all = ["10.0.7.1:8770", "[fd7a::3]:8770", "10.0.0.3:8770"];
    resolve(&mut net, 0, &all);
    resolve(&mut net, 1, &all);
    assert!(net.run_until(SECOND * 20, |net| net.leaders().len() == 1).is_some());
    assert_eq!(address_at(&net, 0, "v3"), Some(at("10.0.0.3:8770")));
}

#[test]
fn a_lost_peer_whose_name_has_a_new_address_is_found_there() {
    let mut net = Net::of_voters(named(), 6);
    for node in [0, 1, 3, 4] {
        resolve(&mut net, node, &["10.0.0.3:8770"]);
    }
    net.settle();
    let record = net.processes[2].record;
    net.kill(2);
    net.run(SECOND * 20);
    net.start("v3", at("10.0.5.5:8770"), record);
    for node in [0, 1, 3, 4] {
        resolve(&mut net, node, &["10.0.5.5:8770"]);
    }
    assert!(net.run_until(SECOND, |net| all_have(net, "v3", at("10.0.5.5:8770"))).is_some());
    net.settle();
    // Its vote counts there.
    (3..5).for_each(|node| net.kill(node));
    net.run(LEASE * 3);
    assert_eq!(net.leaders().len(), 1);
}

#[test]
fn a_resolver_that_talks_nonsense_takes_no_address_away_and_is_named() {
    let mut net = Net::of_voters(voters(""), 7);
    let leader = net.settle();
    for (address, why) in [
        ("127.0.0.1:8770", Unusable::Loopback),
        ("0.0.0.0:8770", Unusable::Wildcard),
        ("224.0.0.5:8770", Unusable::Multicast),
        ("10.0.0.3:0", Unusable::NoPort),
        ("[fe80::1%3]:8770", Unusable::LinkLocal),
        ("10.0.0.1:8770", Unusable::Own),
    ] {
        resolve(&mut net, 0, &[address]);
        assert_eq!(address_at(&net, 0, "v3"), Some(at("10.0.0.3:8770")), "{address}");
        let status = net.node(0).status(net.now);
        assert_eq!(status.member(id("v3")).unwrap().refused, Some((at(address), why)));
        let refused = Event::Member(membership::Event::AddressRefused {
            member: id("v3"),
            address: at(address),
            why,
        });
        assert!(net.says(0, |event| *event == refused), "{address}");
    }
    // A wrong answer that is nobody's address: v3 stays where it answers.
    resolve(&mut net, 0, &["10.0.7.7:8770"]);
    net.run(SECOND * 20);
    assert_eq!(address_at(&net, 0, "v3"), Some(at("10.0.0.3:8770")));
    resolve(&mut net, 0, &["10.0.0.3:8770"]);
    assert_eq!(net.node(0).status(net.now).member(id("v3")).unwrap().refused, None);
    assert_eq!(net.leaders(), [leader]);
}
