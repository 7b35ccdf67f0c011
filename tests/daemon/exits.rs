//! How a node ends: exit codes, and what it says to whom it cannot serve.

use rustix::process::Signal;
use std::fs;
use std::sync::Arc;

use crate::five;
use crate::support::cluster::{Cluster, PORT};
use crate::support::net::Net;
use crate::support::process::{Process, program};

/// Runs `node` until it ends by itself; returns its exit code and its log.
#[track_caller]
fn end_of(cluster: &mut Cluster, node: usize) -> (Option<i32>, String) {
    cluster.start(node);
    let code = cluster.process(node).ended().code();
    (code, cluster.process(node).log())
}

#[test]
fn sigterm_and_sigint_end_with_0_also_without_a_quorum() {
    let Some(mut cluster) = five() else { return };
    for (node, signal) in [(0, Signal::TERM), (1, Signal::INT)] {
        cluster.start(node);
        cluster.status(node);
        cluster.signal(node, signal);
        // Once more changes nothing.
        cluster.signal(node, signal);
        assert_eq!(cluster.ended(node), Some(0));
    }
}

#[test]
fn sighup_does_not_end_a_node() {
    let Some(mut cluster) = five() else { return };
    cluster.start(0);
    cluster.status(0);
    cluster.signal(0, Signal::HUP);
    let uptime = |cluster: &Cluster| cluster.status(0).0["uptime_seconds"].as_f64();
    let before = uptime(&cluster);
    assert!(before.is_some() && uptime(&cluster) >= before);
    cluster.signal(0, Signal::TERM);
    assert_eq!(cluster.ended(0), Some(0));
}

#[test]
fn a_taken_port_ends_with_69_and_names_who_has_it() {
    let Some(mut cluster) = five() else { return };
    let net = Arc::clone(cluster.net(0));
    let held = net.within(|| std::net::TcpListener::bind(("127.0.0.1", PORT)).expect("it is free"));
    let (code, log) = end_of(&mut cluster, 0);
    assert_eq!(code, Some(69), "{log}");
    assert!(log.contains("TCP 127.0.0.1:8770 is taken by process"), "{log}");
    assert!(log.contains(&std::process::id().to_string()), "{log}");
    drop(held);
    let held = net.within(|| std::net::UdpSocket::bind(("127.0.0.1", PORT)).expect("it is free"));
    let (code, log) = end_of(&mut cluster, 0);
    assert_eq!(code, Some(69), "{log}");
    assert!(log.contains("UDP 127.0.0.1:8770 is taken by process"), "{log}");
    drop(held);
}

#[test]
fn a_wrong_configuration_ends_with_64_and_all_its_errors() {
    let Some(mut cluster) = five() else { return };
    let good = fs::read_to_string(&cluster.config).expect("it was written");
    let bad = good
        .replace("lease: 400ms", "lease: 150ms")
        .replace("election_timeout: 500ms", "election_timeuot: 500ms")
        .replace("priority: 2", "priority: 1");
    fs::write(&cluster.config, bad).expect("it can be written");
    let (code, log) = end_of(&mut cluster, 0);
    assert_eq!(code, Some(64), "{log}");
    for part in ["lease", "election_timeuot", "election_timeout", "priority"] {
        assert!(log.contains(part), "no {part} in: {log}");
    }
}

#[test]
fn wrong_arguments_end_with_64() {
    let Some(cluster) = five() else { return };
    for words in [["run", "--node", "nobody"], ["run", "--nod", "x"], ["walk", "--node", "x"]] {
        let mut command = program(cluster.net(0));
        command.args(words).current_dir(cluster.dir.path());
        let mut process = Process::start(command, cluster.dir.path(), "wrong");
        assert_eq!(process.ended().code(), Some(64), "{words:?}: {}", process.log());
    }
}

#[test]
fn a_damaged_vote_store_ends_with_74() {
    let Some(mut cluster) = five() else { return };
    cluster.start(0);
    cluster.status(0);
    cluster.kill(0);
    let votes = cluster.store(0).join("votes");
    let length = fs::metadata(&votes).expect("it was written").len();
    fs::write(&votes, vec![0x5a; usize::try_from(length).expect("a small file")]).expect("a file");
    let (code, log) = end_of(&mut cluster, 0);
    assert_eq!(code, Some(74), "{log}");
    assert!(log.contains("is damaged"), "{log}");
}

#[test]
fn a_vote_store_that_is_no_folder_ends_with_74() {
    let Some(mut cluster) = five() else { return };
    let store = cluster.store(0);
    fs::create_dir_all(store.parent().expect("it has one")).expect("a folder");
    fs::write(&store, "no folder").expect("a file");
    let (code, log) = end_of(&mut cluster, 0);
    assert_eq!(code, Some(74), "{log}");
}

#[test]
fn a_vote_store_in_use_ends_with_74_and_names_the_user() {
    let Some(mut cluster) = five() else { return };
    cluster.start(0);
    cluster.status(0);
    // On another host the port is free.
    let Some(net) = Net::new(&[]) else { return };
    let mut command = program(&net);
    command.args(["run", "--node", "nebius-backbone-1"]).current_dir(cluster.dir.path());
    let mut second = Process::start(command, cluster.dir.path(), "second");
    assert_eq!(second.ended().code(), Some(74), "{}", second.log());
    assert!(second.log().contains("in use by process"), "{}", second.log());
    assert!(cluster.process(0).ends_within(core::time::Duration::ZERO).is_none());
}
