//! One node against datagrams of the test's making.

use super::*;
use crate::election::record::RestoredPromise;
use crate::election::{Hysteresis, Params as ElectionParams, Place};
use crate::membership::Params as MembershipParams;
use core::net::Ipv4Addr;
use ringrift_wire::{Coordinator, Message, Report};

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const NAMES: [&str; 3] = ["a", "b", "c"];

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn address(name: &str) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, name.as_bytes()[0]), 8_770).into()
}

/// The voter `a` of three with an empty store.
fn new_voter(nonce: u64) -> Node {
    let place = |(order, name): (u16, &str)| (id(name), Place { order, gpu: false, never: false });
    let params = Params {
        id: id("a"),
        boot: Boot { sequence: 1, nonce },
        started_unix: 1,
        address: address("a"),
        voter_set: VoterSet::new(&NAMES.map(id), 1),
        peers: ["b", "c"].map(|name| Peer { id: id(name), address: Some(address(name)) }).into(),
        election: ElectionParams {
            heartbeat_interval: Duration::from_millis(200),
            lease: Duration::from_secs(1),
            election_timeout: Duration::from_millis(500),
            clock_drift_ppm: 10_000,
            work_grace: Duration::ZERO,
            hysteresis: Hysteresis::default(),
            places: (1..).zip(NAMES).map(place).collect(),
        },
        membership: MembershipParams {
            probe_interval: Duration::from_millis(500),
            probe_timeout: None,
            peer_timeout: Duration::from_secs(3),
            open: false,
            max_members: 10,
        },
        seed: 1,
    };
    let promise = RestoredPromise::Unknown { last_possible: NOW };
    Node::new(params, Restored { record: None, promise, may_release: false }, NOW)
}

fn outputs(node: &mut Node) -> Vec<Output> {
    core::iter::from_fn(|| node.poll_output()).collect()
}

fn datagram(from: SocketAddr, sender: &str, message: Message) -> Input {
    let boot = Boot { sequence: 1, nonce: 0xb0 };
    Input::Datagram { from, envelope: Envelope { sender: id(sender), boot, message } }
}

/// The numbers of the inquiries that left within a while.
fn inquiries(node: &mut Node) -> Vec<u64> {
    let mut numbers = Vec::new();
    for turn in 1..=10 {
        node.handle_input(NOW + Duration::from_millis(50) * turn, Input::Timeout);
        numbers.extend(outputs(node).into_iter().filter_map(|output| match output {
            Output::Send { message: Message::Inquire(asked), .. } => Some(asked.number),
            _ => None,
        }));
    }
    numbers
}

/// Found by reading: the numbers of two processes shared all but 16 bits of the nonce.
#[test]
fn a_report_to_an_earlier_process_does_not_answer_this_one() {
    let late = inquiries(&mut new_voter(0x0001_0007));
    let mut node = new_voter(0x0002_0007);
    assert!(!late.is_empty() && !inquiries(&mut node).is_empty());
    let now = NOW + Duration::from_millis(600);
    for name in ["b", "c"] {
        for &number in &late {
            let set = node.status(now).voter_set;
            let report =
                Report { set, number, record: None, met_as_new: true, longest_lease_ms: 1_000 };
            node.handle_input(now, datagram(address(name), name, Message::Report(report)));
        }
    }
    let writes = outputs(&mut node).into_iter().any(|it| matches!(it, Output::Persist { .. }));
    assert!(!writes, "a first record before the wait, on the word of an earlier start");
}

/// Found by flooding a voter with another's heartbeats from elsewhere: a line of the log for each.
#[test]
fn a_flood_from_a_foreign_address_is_counted_and_seldom_told() {
    let mut node = new_voter(1);
    outputs(&mut node);
    let set = node.status(NOW).voter_set;
    let mut told = 0;
    for number in 0..1_000 {
        let now = NOW + Duration::from_millis(number);
        let beat = Coordinator { set, term: 1, number, lease_ms: 1_000 };
        node.handle_input(now, datagram(address("x"), "b", Message::Coordinator(beat)));
        let is = |it: &Output| matches!(it, Output::Notify(Event::ForeignAddress { .. }));
        told += outputs(&mut node).iter().filter(|it| is(it)).count();
    }
    assert_eq!(told, 1);
    assert_eq!(node.status(NOW).counters.foreign_addresses, 1_000);
}
