//! The same with real processes, each test on a loopback of its own.

use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::http::Client;
use crate::support::process::{Process, program};
use crate::support::{NAMES, wait_for};
use core::time::Duration;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// Long enough that a busy machine costs no leader its lease.
const TIMING: Timing = Timing { heartbeat_ms: 100, lease_ms: 1_000 };

/// Every voter.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// Changes the configuration of a cluster that is not started.
fn configure(cluster: &Cluster, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(&cluster.config).unwrap();
    fs::write(&cluster.config, change(text)).unwrap();
}

/// A process of this name beside the voters, at an address of its own.
fn beside(cluster: &Cluster, name: &str, address: &str, store: &Path) -> Process {
    let mut command = program(cluster.net(0));
    command.args(["run", "--node", name, "--address", address, "--promise-in-data-dir"]);
    command.arg("--data-dir").arg(store).current_dir(cluster.dir.path());
    Process::start(command, cluster.dir.path(), &format!("{name}-{address}"))
}

/// An answer of a process that is none of the voters.
fn ask(cluster: &Cluster, address: &str, path: &str) -> Option<Value> {
    let http: SocketAddr = format!("{address}:8770").parse().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    let answer = cluster.net(0).within(|| {
        Client::connect(http).ok()?.request("GET", path, || Instant::now() > end).ok()
    })?;
    serde_json::from_str(&answer.body).ok()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_second_process_of_a_name_ends_with_69_and_names_the_first() {
    // Nobody is disturbed: so no lease may end because the machine is busy.
    let timing = Timing { heartbeat_ms: 500, lease_ms: 60_000 };
    let Some(mut cluster) = on_loopback(timing) else { return };
    let watch = cluster.watch();
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let follower = (leader + 1) % 5;
    for (number, voter) in [leader, follower].into_iter().enumerate() {
        for is_copy in [false, true] {
            let store = cluster.dir.path().join(format!("second-{voter}-{is_copy}"));
            if is_copy {
                copy(&cluster.store(voter), &store);
            }
            let address = format!("127.0.9.{}", number * 2 + usize::from(is_copy) + 1);
            let mut second = beside(&cluster, NAMES[voter], &address, &store);
            let code = second.ended().code();
            let said = second.log();
            assert_eq!(code, Some(69), "{said}");
            let first = cluster.status(voter).0["voters"][NAMES[voter]]["address"].clone();
            let first = first.as_str().unwrap();
            assert!(
                said.contains(&format!("is in use by another live process at {first}")),
                "{said}"
            );
        }
        let others: Vec<_> = ALL.into_iter().filter(|&other| other != voter).collect();
        // Two second processes, and each took the word of two voters; which two, chance decides.
        wait_for("the conflicts that the others count", || {
            let counted =
                |&other: &usize| cluster.metric(other, "ringrift_p2p_name_conflicts_total");
            let sum: f64 = others.iter().map(counted).sum();
            (sum >= 4.0).then_some(())
        });
    }
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term), "nobody was disturbed");
    watch.judge(false);
}

#[test]
fn a_process_that_was_killed_is_followed_by_the_next_without_a_word_of_conflict() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    for round in 0..3 {
        cluster.kill(round);
        cluster.start(round);
        cluster.wait_agreed(&ALL);
    }
    cluster.wait_settled();
    for node in ALL {
        assert!((cluster.metric(node, "ringrift_p2p_name_conflicts_total")).abs() < 0.5);
    }
}

#[test]
fn ten_strangers_join_an_open_cluster_and_see_the_leader_change() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    configure(&cluster, |text| text + "membership:\n  open: true\n");
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&ALL);
    let addresses: Vec<String> = (1..=10).map(|n| format!("127.0.8.{n}")).collect();
    let strangers: Vec<Process> = addresses
        .iter()
        .map(|address| {
            let name = format!("stranger-{}", address.replace('.', "-"));
            let store = cluster.dir.path().join(&name);
            beside(&cluster, &name, address, &store)
        })
        .collect();
    let all_follow = |cluster: &Cluster, name: &str| {
        let follows = |address: &String| {
            ask(cluster, address, "/status").is_some_and(|status| status["leader_id"] == name)
        };
        addresses.iter().all(follows)
    };
    wait_for("ten observers that follow", || all_follow(&cluster, NAMES[leader]).then_some(()));
    wait_for("voters that know them all", || {
        (cluster.status(leader).number("alive_peers") == 14).then_some(())
    });
    cluster.kill(leader);
    let rest: Vec<_> = ALL.into_iter().filter(|&voter| voter != leader).collect();
    let (next, _) = cluster.wait_agreed(&rest);
    wait_for("ten observers that follow the next", || {
        all_follow(&cluster, NAMES[next]).then_some(())
    });
    drop(strangers);
}

/// The hosts file of the namespace, as its processes see it.
fn hosts_file(cluster: &Cluster) -> std::path::PathBuf {
    Path::new("/etc/netns").join(cluster.net(0).name()).join("hosts")
}

#[test]
fn voters_on_ipv6_elect_and_see_each_other() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    for n in 1..=5 {
        cluster.net(0).ip(&format!("address add fd77::{n}/128 dev lo nodad"));
    }
    configure(&cluster, |text| {
        let lines = text.lines().map(|line| match line.split_once("tailscale_ip: 127.0.0.") {
            Some((_, n)) => format!(
                "    address: fd77::{n}\n    bind: fd77::{n}\n    http:\n      bind: 127.0.0.{n}\n"
            ),
            None => format!("{line}\n"),
        });
        lines.collect()
    });
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let address = cluster.status(0).0["voters"][NAMES[1]]["address"].clone();
    assert!(address.as_str().unwrap().starts_with("[fd77::"), "{address}");
}

#[test]
fn voters_find_each_other_by_name_and_again_when_a_wrong_name_is_put_right() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    // Every address becomes the name of its host.
    configure(&cluster, |text| {
        let mut name = String::new();
        let lines = text.lines().map(|line| {
            if let Some(host) = line.strip_prefix("  ").and_then(|it| it.strip_suffix(':')) {
                name = host.trim().to_owned();
            }
            match line.split_once("tailscale_ip: ") {
                Some((before, _)) => format!("{before}address: {name}\n"),
                None => format!("{line}\n"),
            }
        });
        lines.collect()
    });
    let right = fs::read_to_string(hosts_file(&cluster)).unwrap();
    // The last voter is nowhere, for the others; the wildcard is what a bad resolver says.
    let wrong: String = right
        .lines()
        .map(|line| {
            let is_last = line.ends_with(NAMES[4]);
            if is_last { format!("0.0.0.0 {}\n", NAMES[4]) } else { format!("{line}\n") }
        })
        .collect();
    fs::write(hosts_file(&cluster), wrong).unwrap();
    (0..4).for_each(|node| cluster.start(node));
    cluster.wait_agreed(&[0, 1, 2, 3]);
    let detail = wait_for("the reason for a refused address", || {
        let members: Value = serde_json::from_str(&cluster.ask(0, "GET", "/members")?.body).ok()?;
        let last = members["members"].as_array()?.iter().find(|it| it["node_id"] == NAMES[4])?;
        last["address_refused"].as_str().map(ToOwned::to_owned)
    });
    assert!(detail.contains("0.0.0.0:8770 is the wildcard address"), "{detail}");
    fs::write(hosts_file(&cluster), right).unwrap();
    cluster.start(4);
    cluster.wait_agreed(&ALL);
    cluster.wait_settled();
}
