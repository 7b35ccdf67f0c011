//! Sealed gossip between real processes: keys changed under way, strangers kept out.

use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::journal::{Journal, TICKER};
use crate::support::process::{Process, program};
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

/// A key of the same digit all over.
fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// Five voters whose configuration names a key ring; the ring does not exist yet.
fn sealed_five(unsealed: &str) -> Option<Cluster> {
    let cluster = five()?;
    seal(&cluster, unsealed);
    Some(cluster)
}

/// Has the configuration name a key ring.
fn seal(cluster: &Cluster, unsealed: &str) {
    let ring = ring_file(cluster);
    let mut text = fs::read_to_string(&cluster.config).expect("the configuration");
    text.push_str(&format!("gossip: {{key_file: {}, unsealed: {unsealed}}}\n", ring.display()));
    fs::write(&cluster.config, text).expect("a file");
}

fn ring_file(cluster: &Cluster) -> PathBuf {
    cluster.dir.path().join("keys")
}

fn write_ring(cluster: &Cluster, keys: &[char]) {
    let lines: String = keys.iter().map(|&digit| key(digit) + "\n").collect();
    let path = ring_file(cluster);
    fs::write(&path, lines).expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("our own file");
}

/// How many keys a node has, and what it does with unsealed datagrams.
fn in_use(cluster: &Cluster, node: usize) -> (usize, String) {
    let gossip = cluster.status(node).0["gossip"].clone();
    let keys = gossip["keys"].as_array().map_or(0, Vec::len);
    (keys, gossip["unsealed"].as_str().unwrap_or("nothing").to_owned())
}

#[test]
fn a_key_is_changed_under_way_and_the_leader_stays() {
    let Some(mut cluster) = sealed_five("refuse") else { return };
    write_ring(&cluster, &['1']);
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let watch = cluster.watch();
    for keys in [&['1', '2'][..], &['2', '1'], &['2']] {
        write_ring(&cluster, keys);
        let first = cluster.status(0).0["gossip"]["keys"].clone();
        for node in ALL {
            if node % 2 == 0 {
                cluster.signal(node, Signal::HUP);
            } else {
                let answer = cluster.ask(node, "POST", "/keys/reload").expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
        }
        for node in ALL {
            wait_for("the new ring", || {
                let keys_now = cluster.status(node).0["gossip"]["keys"].clone();
                (keys_now != first && in_use(&cluster, node).0 == keys.len()).then_some(())
            });
        }
        assert_eq!(cluster.wait_agreed(&ALL), before);
    }
    for node in ALL {
        let rejected = cluster.metric(node, "ringrift_p2p_datagrams_rejected_total");
        assert!(rejected.abs() < 0.5, "{} lost {rejected} datagrams", NAMES[node]);
    }
    watch.judge(true);
}

#[test]
fn sealing_is_switched_on_under_way_and_the_leader_stays() {
    let Some(mut cluster) = sealed_five("send") else { return };
    write_ring(&cluster, &['1']);
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let watch = cluster.watch();
    for (old, new) in [("send", "accept"), ("accept", "refuse")] {
        let text = fs::read_to_string(&cluster.config).expect("the configuration");
        let text = text.replace(&format!("unsealed: {old}"), &format!("unsealed: {new}"));
        fs::write(&cluster.config, text).expect("a file");
        for node in ALL {
            cluster.signal(node, Signal::HUP);
            wait_for("the next step", || (in_use(&cluster, node).1 == new).then_some(()));
        }
        assert_eq!(cluster.wait_agreed(&ALL), before);
    }
    watch.judge(true);
}

#[test]
fn a_node_with_another_key_or_none_is_not_heard_and_both_sides_count_it() {
    let Some(mut cluster) = sealed_five("refuse") else { return };
    write_ring(&cluster, &['1']);
    (0..3).for_each(|node| cluster.start(node));
    let before = cluster.wait_agreed(&[0, 1, 2]);
    write_ring(&cluster, &['2']);
    cluster.start(3);
    assert_eq!(in_use(&cluster, 3).0, 1);
    let text = fs::read_to_string(&cluster.config).expect("the configuration");
    let (plain, _) = text.split_once("gossip:").expect("our line");
    fs::write(&cluster.config, plain).expect("a file");
    cluster.start(4);
    for (reason, node) in [("seal", 0), ("unsealed", 0), ("seal", 3), ("sealed", 4)] {
        let counted = format!("ringrift_p2p_datagrams_rejected_total{{reason=\"{reason}\"}}");
        wait_for(&format!("{reason} at {node}"), || {
            (cluster.metric(node, &counted) > 3.0).then_some(())
        });
    }
    cluster.wait_leaderless(&[3]);
    cluster.wait_leaderless(&[4]);
    assert_eq!(cluster.wait_agreed(&[0, 1, 2]), before);
    for node in [0, 1, 2] {
        assert_eq!(cluster.status(node).number("alive_peers"), 2);
    }
}

#[test]
fn a_bad_ring_ends_a_start_and_leaves_a_running_node_as_it_is() {
    let Some(mut cluster) = sealed_five("refuse") else { return };
    let output = cluster.command(0).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be read"));
    write_ring(&cluster, &['1']);
    fs::set_permissions(ring_file(&cluster), Permissions::from_mode(0o644)).expect("our own file");
    let output = cluster.command(0).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));

    write_ring(&cluster, &['1']);
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    fs::write(ring_file(&cluster), key('2') + "\nnonsense-secret\n").expect("a file");
    let answer = cluster.ask(1, "POST", "/keys/reload").expect("an answer");
    assert_eq!(answer.status, 409);
    assert!(answer.body.contains("line 2"), "{}", answer.body);
    assert!(!answer.body.contains("secret"), "{}", answer.body);
    assert_eq!(in_use(&cluster, 1), (1, "refuse".to_owned()));
    assert_eq!(cluster.wait_agreed(&ALL), before);
    let log = fs::read_to_string(cluster.dir.path().join(format!("{}.log", NAMES[1])));
    let log = log.expect("a log");
    assert!(log.contains("the keys stay what they are"));
    assert!(!log.contains("secret") && !log.contains(&key('2')) && !log.contains(&key('1')));
}

/// What `node` and its guardian have logged.
fn log_of(cluster: &Cluster, node: usize) -> String {
    fs::read_to_string(cluster.dir.path().join(format!("{}.log", NAMES[node]))).expect("a log")
}

/// Kills the node of a leader; its guardian must have released the voter that leads next.
fn killed_is_released(cluster: &mut Cluster) {
    let (leader, term) = cluster.wait_agreed(&ALL);
    cluster.signal_node(leader, Signal::KILL);
    assert_eq!(cluster.ended(leader), Some(137));
    // The lease is longer than anything is waited for: without the release there is no other leader.
    let (next, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next != leader && next_term > term);
    let log = log_of(cluster, next);
    let freed = log.lines().filter(|line| line.contains("promise released"));
    let of = |line: &&str| line.contains(NAMES[leader]) && line.contains(&term.to_string());
    assert_eq!(freed.filter(of).count(), 1, "{log}");
    assert!(log_of(cluster, leader).contains("the voters are released"));
    let command = cluster.guarded_command(leader);
    cluster.start_as(leader, command);
    assert_eq!(cluster.wait_agreed(&ALL).0, next);
}

/// The guardian holds a datagram that was sealed long ago. By then the others have taken more datagrams of
/// its node than they remember, or have another key.
#[test]
fn the_last_word_of_a_sealed_node_is_heard_however_much_it_said_since_and_under_another_key() {
    // Much is said, and the lease is longer than the patience of the tests.
    let timing = Timing { heartbeat_ms: 25, lease_ms: 3_600_000 };
    let Some(mut cluster) = on_loopback(timing) else { return };
    seal(&cluster, "refuse");
    write_ring(&cluster, &['1']);
    for node in ALL {
        let command = cluster.guarded_command(node);
        cluster.start_as(node, command);
    }
    let watch = cluster.watch();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let sent = |cluster: &Cluster| cluster.metric(leader, "ringrift_p2p_datagrams_sent_total");
    let before = sent(&cluster);
    // More than replay windows remember, all of them in the term of the last word.
    wait_for("two thousand datagrams", || (sent(&cluster) > before + 2_000.0).then_some(()));
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term));
    killed_is_released(&mut cluster);

    for keys in [&['1', '2'][..], &['2', '1'], &['2']] {
        write_ring(&cluster, keys);
        for node in ALL {
            let answer = cluster.ask(node, "POST", "/keys/reload").expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    for node in ALL {
        assert_eq!(in_use(&cluster, node).0, 1);
    }
    killed_is_released(&mut cluster);
    watch.judge(false);
}

#[test]
fn the_one_command_of_a_sealed_cluster_moves_on_when_its_node_is_killed() {
    let timing = Timing { heartbeat_ms: 1_000, lease_ms: 3_600_000 };
    let Some(mut cluster) = on_loopback(timing) else { return };
    let journal = Journal::of(&cluster);
    seal(&cluster, "refuse");
    write_ring(&cluster, &['1']);
    for node in ALL {
        let mut command = program(cluster.net(node));
        command.args(["exec", "--node", NAMES[node], "--", "/bin/sh", "-c", TICKER]);
        command.current_dir(cluster.dir.path()).env("JOURNAL", journal.path());
        cluster.start_as(node, command);
    }
    let (leader, _) = cluster.wait_agreed(&ALL);
    let ticks = |node: usize| journal.lines().iter().any(|line| line.node == NAMES[node]);
    wait_for("the command", || ticks(leader).then_some(()));
    cluster.signal_node(leader, Signal::KILL);
    assert_eq!(cluster.ended(leader), Some(137));
    let (next, _) = cluster.wait_agreed(&cluster.running());
    wait_for("the command elsewhere", || ticks(next).then_some(()));
    journal.judge();
}

#[test]
fn a_cluster_on_one_machine_seals_with_the_keys_of_its_file() {
    let Some(cluster) = sealed_five("refuse") else { return };
    write_ring(&cluster, &['1']);
    let mut command = program(cluster.net(0));
    command.arg("cluster").arg("--config").arg(&cluster.config);
    command.arg("--data-dir").arg(cluster.dir.path().join("all"));
    let mut all = Process::start(command, cluster.dir.path(), "cluster");
    cluster.wait_agreed(&ALL);
    for node in ALL {
        assert_eq!(in_use(&cluster, node), (1, "refuse".to_owned()));
    }
    all.signal(Signal::TERM);
    assert_eq!(all.ended().code(), Some(0), "{}", all.log());
}
