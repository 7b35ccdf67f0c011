//! What membership promises whatever its peers say: one node and scripted datagrams.

use core::time::Duration;
use ringrift_wire::{
    Ack, Boot, Gossip, MemberState, Message, Nack, Ping, PingReq, Pull, RelayedAck, Update,
};

use super::network::{SECOND, address, at_ms, gossip, name, params, suspicion_of};
use super::{Health, Membership, Myself, Output, Seed};
use crate::rng::Rng;

/// Invariant 5.
#[test]
fn a_new_address_counts_after_it_answered_and_the_old_one_is_silent() {
    let mut node = lone_node();
    let boot = Boot { sequence: 1_000, nonce: 1 };
    let elsewhere = address(77);
    let beginning = at_ms(1_000_000);
    node.heard_from(beginning, address(1), name(1), boot);
    node.heard_from(beginning + SECOND, elsewhere, name(1), boot);
    assert_eq!(node.member(name(1)).and_then(|m| m.address), Some(address(1)));
    let proofs = |node: &mut Membership, at| {
        core::iter::from_fn(|| node.poll_output())
            .filter_map(|output| match output {
                Output::Send { to, message: Message::Ping(ping), .. } if to == at => {
                    Some(ping.number)
                }
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let ack = |number| {
        let (digest, beacon, updates) = (0, None, Vec::new());
        Message::Ack(Ack { number, digest, beacon, updates })
    };
    let numbers = proofs(&mut node, elsewhere);
    assert_eq!(numbers.len(), 1);
    // A guess proves nothing; the right number does not while the old address is in use.
    let soon = beginning + Duration::from_millis(1_010);
    node.handle_message(soon, elsewhere, name(1), boot, &ack(numbers[0].wrapping_add(1)));
    node.handle_message(soon, elsewhere, name(1), boot, &ack(numbers[0]));
    assert_eq!(node.member(name(1)).and_then(|m| m.address), Some(address(1)));
    let mut now = soon;
    // Moved, and back where the configuration has it: there it is asked for as long as it is away.
    for (at, strays) in [(elsewhere, true), (address(1), false)] {
        for _ in 0..80 {
            now = now + Duration::from_millis(200);
            node.handle_timeout(now);
            node.heard_from(now, at, name(1), boot);
            for number in proofs(&mut node, at) {
                node.handle_message(now, at, name(1), boot, &ack(number));
            }
        }
        let member = node.member(name(1)).expect("it is known");
        assert_eq!((member.address, member.is_stray()), (Some(at), strays));
    }
}

fn lone_node() -> Membership {
    let me = Myself {
        id: name(0),
        boot: Boot { sequence: 1_000, nonce: 0 },
        address: address(0),
        incarnation: 0,
        voter: true,
    };
    let seeds = (1..5).map(|n| Seed { id: name(n), address: Some(address(n)), voter: true });
    Membership::new(params(), me, seeds.collect(), 1, at_ms(1_000_000))
}

/// Any message, mostly about names that exist, with numbers at both ends of their range.
fn any_message(rng: &mut Rng) -> Message {
    let any_u32 = |rng: &mut Rng| match rng.below(4) {
        0 => u32::MAX,
        1 => rng.below(3) as u32,
        _ => rng.next_u64() as u32,
    };
    let any_update = |rng: &mut Rng| {
        let by = name(rng.below(12) as usize);
        let state = match rng.below(4) {
            0 => MemberState::Alive,
            1 => MemberState::Suspect { by },
            2 => MemberState::Dead { by },
            _ => MemberState::Left,
        };
        Update {
            member: name(rng.below(12) as usize),
            address: address(rng.below(12) as usize),
            sequence: [0, 999, 1_000, 1_001, u64::MAX][rng.below(5) as usize],
            incarnation: any_u32(rng),
            state,
        }
    };
    let updates: Vec<Update> = (0..rng.below(40)).map(|_| any_update(rng)).collect();
    let target = name(rng.below(12) as usize);
    let boot = Boot { sequence: 1_000, nonce: rng.below(5) };
    let (number, digest, beacon) = (any_u32(rng), any_u32(rng), None);
    match rng.below(7) {
        0 => Message::Ping(Ping { number, digest, wants_beacon: false, beacon, updates }),
        1 => Message::Ack(Ack { number, digest, beacon, updates }),
        2 => {
            let (address, nack_after_ms) = (address(3), any_u32(rng));
            Message::PingReq(PingReq { number, target, address, nack_after_ms, updates })
        }
        3 => Message::Nack(Nack { number, target }),
        4 => Message::RelayedAck(RelayedAck { number, target, boot }),
        5 => Message::Gossip(Gossip { beacon, updates }),
        _ => Message::Pull(Pull { after: Some(target) }),
    }
}

/// Invariant 2.
#[test]
fn no_input_of_a_peer_panics_or_has_the_node_wake_for_nothing() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut node = lone_node();
        let mut now = at_ms(1_000_000);
        for _ in 0..2_000 {
            let longest = Duration::from_millis(50 << rng.below(8));
            now = now + rng.duration_below(longest);
            let sender = rng.below(12) as usize;
            let from = address(if rng.below(8) == 0 { 11 } else { sender });
            let sequence = [1_000, 1_000, 1_001, 7, u64::MAX][rng.below(5) as usize];
            let boot = Boot { sequence, nonce: rng.below(2) };
            node.handle_message(now, from, name(sender), boot, &any_message(&mut rng));
            let due = |node: &Membership| node.poll_timeout().map(|deadline| deadline.at);
            for _ in 0..8 {
                if due(&node).is_some_and(|at| at <= now) {
                    node.handle_timeout(now);
                }
            }
            assert!(
                due(&node).is_some_and(|at| at > now),
                "seed {seed}: {:?}",
                node.poll_timeout()
            );
            while node.poll_output().is_some() {}
        }
        assert!(node.members().count() <= 11);
    }
}

#[test]
fn a_silent_suspect_dies_after_the_peer_timeout_whatever_suspicion_says() {
    let mut node = lone_node();
    let beginning = at_ms(1_000_000);
    node.params.peer_timeout = Duration::from_millis(400);
    let [one, two] = [1, 2].map(|nonce| Boot { sequence: 1_000, nonce });
    node.heard_from(beginning, address(1), name(1), one);
    node.heard_from(beginning, address(2), name(2), two);
    let accusation = gossip(suspicion_of(2, 0, 1));
    node.handle_message(beginning, address(1), name(1), one, &accusation);
    let health = |node: &Membership| node.member(name(2)).map(|member| member.health);
    let mut now = beginning;
    while health(&node) == Some(Health::Suspect) {
        now = node.poll_timeout().expect("a deadline").at;
        node.handle_timeout(now);
    }
    assert_eq!(
        (health(&node), now.since(beginning)),
        (Some(Health::Dead), Duration::from_millis(400))
    );
}

/// The numbers of the pings that go to an address now.
fn asked(node: &mut Membership, at: core::net::SocketAddr) -> Vec<u32> {
    let outputs = core::iter::from_fn(|| node.poll_output());
    let number = |output| match output {
        Output::Send { to, message: Message::Ping(ping), .. } if to == at => Some(ping.number),
        _ => None,
    };
    outputs.filter_map(number).collect()
}

fn answer(number: u32) -> Message {
    Message::Ack(Ack { number, digest: 0, beacon: None, updates: Vec::new() })
}

/// A second process of the first member's name, as a rumour has it.
fn second_of_the_name() -> Update {
    Update {
        member: name(1),
        address: address(77),
        sequence: 2_000,
        incarnation: 0,
        state: MemberState::Alive,
    }
}

#[test]
fn a_rumour_of_a_second_process_displaces_nobody_who_is_heard() {
    let mut node = lone_node();
    let [boot, teller] = [1, 2].map(|nonce| Boot { sequence: 1_000, nonce });
    let beginning = at_ms(1_000_000);
    node.heard_from(beginning, address(1), name(1), boot);
    node.heard_from(beginning, address(2), name(2), teller);
    asked(&mut node, address(77));
    let rumour = gossip(second_of_the_name());
    node.handle_message(beginning + SECOND, address(2), name(2), teller, &rumour);
    assert_eq!(node.member(name(1)).and_then(|member| member.nonce), Some(1));
    assert_eq!(asked(&mut node, address(77)).len(), 1, "it is asked");
    // When the first is silent, the news counts.
    let later = beginning + SECOND * 4;
    node.handle_message(later, address(2), name(2), teller, &rumour);
    assert_eq!(node.member(name(1)).and_then(|member| member.sequence), Some(2_000));
}

#[test]
fn whoever_speaks_from_its_seat_does_not_wait_for_a_second_process() {
    let mut node = lone_node();
    let [boot, teller] = [1, 2].map(|nonce| Boot { sequence: 1_000, nonce });
    let beginning = at_ms(1_000_000);
    node.heard_from(beginning, address(1), name(1), boot);
    node.heard_from(beginning, address(2), name(2), teller);
    let later = beginning + SECOND * 4;
    let rumour = gossip(second_of_the_name());
    node.handle_message(later, address(2), name(2), teller, &rumour);
    assert_eq!(asked(&mut node, address(77)).len(), 1, "the second process is asked");
    node.heard_from(later, address(1), name(1), boot);
    let numbers = asked(&mut node, address(1));
    assert_eq!(numbers.len(), 1, "the first is asked at once");
    node.handle_message(later, address(1), name(1), boot, &answer(numbers[0]));
    assert_eq!(node.member(name(1)).and_then(|member| member.nonce), Some(1));
}

#[test]
fn the_late_answer_of_a_process_that_was_replaced_proves_nothing() {
    let mut node = lone_node();
    let [first, older, newer] =
        [(1_000, 1), (900, 9), (2_000, 2)].map(|(sequence, nonce)| Boot { sequence, nonce });
    let beginning = at_ms(1_000_000);
    node.heard_from(beginning, address(1), name(1), first);
    asked(&mut node, address(1));
    node.heard_from(beginning, address(1), name(1), older);
    let numbers = asked(&mut node, address(1));
    assert_eq!(numbers.len(), 1, "a process of a lower sequence has to answer");
    node.heard_from(beginning + Duration::from_millis(1), address(1), name(1), newer);
    let late = beginning + Duration::from_millis(20);
    node.handle_message(late, address(1), name(1), older, &answer(numbers[0]));
    assert_eq!(node.member(name(1)).and_then(|member| member.nonce), Some(2));
}

#[test]
fn whoever_was_asked_in_vain_is_asked_at_once_when_it_is_heard_from_its_seat() {
    let mut node = lone_node();
    let [boot, teller] = [1, 2].map(|nonce| Boot { sequence: 1_000, nonce });
    let beginning = at_ms(1_000_000);
    node.heard_from(beginning, address(1), name(1), boot);
    node.heard_from(beginning, address(2), name(2), teller);
    let later = beginning + SECOND * 4;
    let rumour = gossip(second_of_the_name());
    node.handle_message(later, address(2), name(2), teller, &rumour);
    node.heard_from(later, address(1), name(1), boot);
    let mut now = later;
    for _ in 0..12 {
        now = now + Duration::from_millis(100);
        node.handle_timeout(now);
    }
    asked(&mut node, address(1));
    node.heard_from(now, address(1), name(1), boot);
    let numbers = asked(&mut node, address(1));
    assert!(!numbers.is_empty(), "there is no pause for whoever is heard");
    node.handle_message(now, address(1), name(1), boot, &answer(numbers[0]));
    assert_eq!(node.member(name(1)).and_then(|member| member.nonce), Some(1));
}
