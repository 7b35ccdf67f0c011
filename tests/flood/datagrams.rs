//! Floods of datagrams against the leader and against a follower.

use std::fs;
use std::net::SocketAddrV4;
use std::sync::Arc;

use crate::support::cluster::{Cluster, PORT};
use crate::support::flood::{self, Flood};
use crate::support::{NAMES, wait_for};
use crate::{ALL, KEY, acknowledged, alone, sealed_five};

/// The least that a flood sends.
const DATAGRAMS: u64 = 200_000;

/// How many heartbeats of four voters must be acknowledged under it: more than a lease's worth.
const HEARTBEATS: f64 = 4.0 * 8.0;

/// How many of them are overheard to be sent again.
const OVERHEARD: usize = 100;

/// What a node may hold more after a flood, in kilobytes: the allocator keeps what a burst needed.
const GROWTH_KB: u64 = 4_096;

/// Kilobytes that a node holds.
fn resident(cluster: &Cluster, node: usize) -> u64 {
    let pid = cluster.status(node).number("pid");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("a number")
}

/// Floods the leader, then a follower, and demands that nothing comes of it; `also` is asked under the flood.
fn withstand(
    start: impl Fn(&Cluster, SocketAddrV4) -> Flood,
    also: impl Fn(&Cluster, usize, &Flood),
) {
    let _alone = alone();
    let Some(mut cluster) = sealed_five() else { return };
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let watch = cluster.watch();
    for node in [before.0, (before.0 + 1) % ALL.len()] {
        let (held, heard) = (resident(&cluster, node), acknowledged(&cluster, before.0));
        let members = |node| cluster.status(node).number("total_peers");
        let known = members(node);
        let flood = start(&cluster, SocketAddrV4::new(cluster.address(node), PORT));
        wait_for("heartbeats to be acknowledged under the flood", || {
            let more = acknowledged(&cluster, before.0) - heard;
            (more >= HEARTBEATS && flood.sent() >= DATAGRAMS).then_some(())
        });
        also(&cluster, node, &flood);
        assert_eq!(cluster.agreed(&[before.0]), Some(before), "{}", cluster.views());
        drop(flood);
        assert_eq!(cluster.wait_agreed(&ALL), before);
        assert_eq!(members(node), known);
        let grown = resident(&cluster, node).saturating_sub(held);
        assert!(grown < GROWTH_KB, "{} holds {grown} kB more", NAMES[node]);
    }
    watch.judge(true);
}

fn rejected(cluster: &Cluster, node: usize) -> f64 {
    cluster.metric(node, "ringrift_p2p_datagrams_rejected_total")
}

/// What begins wrong is dropped before the node is woken for it.
fn is_not_even_read(cluster: &Cluster, node: usize, flood: &Flood) {
    let (sent, counted) = (flood.sent(), rejected(cluster, node));
    wait_for("more of the flood", || (flood.sent() > sent + DATAGRAMS).then_some(()));
    let read = rejected(cluster, node) - counted;
    assert!(read < 0.1 * DATAGRAMS as f64, "{} has read {read}", NAMES[node]);
}

#[test]
fn garbage_costs_a_node_nothing() {
    let start = |cluster: &Cluster, to| {
        Flood::of_stranger(Arc::clone(cluster.net(0)), to, flood::garbage())
    };
    withstand(start, is_not_even_read);
}

#[test]
fn datagrams_of_another_cluster_cost_a_node_nothing() {
    let start = |cluster: &Cluster, to| {
        let foreign = flood::sealed_heartbeats("another", KEY);
        Flood::of_stranger(Arc::clone(cluster.net(0)), to, foreign)
    };
    withstand(start, is_not_even_read);
}

#[test]
fn datagrams_sealed_with_another_key_crowd_out_no_heartbeat() {
    let start = |cluster: &Cluster, to| {
        let foreign = flood::sealed_heartbeats("test", !KEY);
        Flood::of_stranger(Arc::clone(cluster.net(0)), to, foreign)
    };
    withstand(start, |_, _, _| {});
}

#[test]
fn datagrams_sent_again_crowd_out_no_heartbeat() {
    let start = |cluster: &Cluster, to| {
        let net = Arc::clone(cluster.net(0));
        let heard = flood::overhear(&net, to, OVERHEARD);
        Flood::of_stranger(net, to, heard.into_iter().map(|(_, datagram)| datagram).collect())
    };
    withstand(start, |_, _, _| {});
}

#[test]
fn datagrams_sent_again_under_their_senders_addresses_change_no_leader() {
    let start = |cluster: &Cluster, to| {
        let net = Arc::clone(cluster.net(0));
        let heard = flood::overhear(&net, to, OVERHEARD);
        Flood::of_liar(net, to, &heard)
    };
    withstand(start, |_, _, _| {});
}
