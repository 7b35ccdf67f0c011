//! What strangers send changes nothing, and is counted.

use ringrift_p2p::election::VoterSet;
use ringrift_wire::{
    Boot, Coordinator, Envelope, MAX_DATAGRAM, Message, NodeId, cluster_tag, encode,
};
use std::net::{Ipv4Addr, UdpSocket};

use crate::support::cluster::PORT;
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

/// How many datagrams of each sort every node gets.
const ROUNDS: usize = 200;

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let rejected = |node| cluster.metric(node, "ringrift_p2p_datagrams_rejected_total");
    let foreign = |node| cluster.metric(node, "ringrift_p2p_foreign_addresses_total");
    let counted = ALL.map(|node| (rejected(node), foreign(node)));
    let watch = cluster.watch();
    let other_cluster = heartbeat("another");
    let forged = heartbeat("test");
    cluster.net(0).within(|| {
        let socket = UdpSocket::bind("127.0.0.9:0").expect("a socket");
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..ROUNDS {
            // Now noise from the first byte on, now behind a header that looks right.
            let mut bytes = forged.clone();
            bytes.resize(round * 8, 0);
            for byte in bytes.iter_mut().skip(if round % 2 == 0 { 0 } else { 20 }) {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte ^= noise.to_be_bytes()[0];
            }
            for last in 1..=5 {
                let address = Ipv4Addr::new(127, 0, 0, last);
                for datagram in [&bytes, &other_cluster, &forged] {
                    socket.send_to(datagram, (address, PORT)).expect("room to send");
                }
            }
        }
    });
    for node in ALL {
        // A few may be lost in a full buffer.
        let enough = 1.5 * f64::from(u32::try_from(ROUNDS).expect("a small number"));
        wait_for("the garbage to be counted", || {
            (rejected(node) > counted[node].0 + enough).then_some(())
        });
        wait_for("the forged to be counted", || {
            (foreign(node) > counted[node].1 + enough / 2.0).then_some(())
        });
    }
    let after = cluster.wait_agreed(&ALL);
    assert!(after.1 < u64::MAX / 2, "the forged term was believed: {after:?}");
    assert_eq!(after, before);
    watch.judge(true);
}

/// A heartbeat in a term beyond all others, under a voter's name.
fn heartbeat(cluster: &str) -> Vec<u8> {
    let voters: Vec<NodeId> = NAMES.iter().map(|name| name.parse().expect("a name")).collect();
    let set = VoterSet::new(&voters, 1).tag();
    let message =
        Message::Coordinator(Coordinator { set, term: u64::MAX - 1, number: 1, lease_ms: 400 });
    let boot = Boot { sequence: u64::MAX, nonce: 1 };
    let envelope = Envelope { sender: voters[1], boot, message };
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(&envelope, cluster_tag(cluster), &mut buffer).expect("it fits");
    buffer[..length].to_vec()
}
