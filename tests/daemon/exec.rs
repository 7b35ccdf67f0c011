//! `exec`: one command in the whole cluster, ended before another begins.

use rustix::process::Signal;
use std::process::Command;
use std::time::Instant;

use crate::ALL;
use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::journal::{Journal, TICKER};
use crate::support::{NAMES, wait_for};

const TIMING: Timing = Timing { heartbeat_ms: 200, lease_ms: 1_500 };

/// Five voters, none started.
fn five() -> Option<(Cluster, Journal)> {
    let cluster = on_loopback(TIMING)?;
    let journal = Journal::of(&cluster);
    Some((cluster, journal))
}

/// `exec` of a shell text on a node.
fn exec(
    cluster: &Cluster,
    journal: &Journal,
    node: usize,
    options: &[&str],
    text: &str,
) -> Command {
    let mut command = crate::support::process::program(cluster.net(node));
    command.args(["exec", "--node", NAMES[node]]).args(options);
    command.args(["--", "/bin/sh", "-c", text]).current_dir(cluster.dir.path());
    command.env("JOURNAL", journal.path());
    command
}

fn start_all(cluster: &mut Cluster, journal: &Journal, text: &str) {
    for node in ALL {
        let command = exec(cluster, journal, node, &[], text);
        cluster.start_as(node, command);
    }
}

/// Waits until the command writes on a node.
fn wait_ticks(journal: &Journal, node: usize) {
    let ticks = || journal.lines().iter().filter(|line| line.node == NAMES[node]).count();
    let before = ticks();
    wait_for("the command", || (ticks() > before).then_some(()));
}

#[test]
fn exactly_one_command_runs_in_the_cluster_over_kills_and_stops() {
    let Some((mut cluster, journal)) = five() else { return };
    let watch = cluster.watch();
    // It hears SIGTERM not at all, and a child of its own does the work.
    let deaf = format!("trap '' TERM; ({TICKER}) & wait");
    start_all(&mut cluster, &journal, &deaf);
    let mut last = 0;
    for round in 0..4 {
        let (leader, term) = cluster.wait_agreed(&ALL);
        assert!(term > last);
        last = term;
        wait_ticks(&journal, leader);
        if round % 2 == 0 {
            cluster.signal_node(leader, Signal::KILL);
            assert_eq!(cluster.ended(leader), Some(137));
        } else {
            cluster.signal(leader, Signal::TERM);
            assert_eq!(cluster.ended(leader), Some(0));
        }
        cluster.wait_agreed(&cluster.running());
        let again = exec(&cluster, &journal, leader, &[], &deaf);
        cluster.start_as(leader, again);
    }
    journal.judge();
    watch.judge(false);
    cluster.wait_agreed(&ALL);
    for node in ALL {
        cluster.signal(node, Signal::TERM);
    }
    for node in ALL {
        assert_eq!(cluster.ended(node), Some(0));
    }
    wait_for("the end of all", || cluster.net(0).pids().is_empty().then_some(()));
}

#[test]
fn the_command_of_a_leader_that_was_stopped_in_its_tracks_is_dead_before_another_leads() {
    let Some((mut cluster, journal)) = five() else { return };
    let watch = cluster.watch();
    start_all(&mut cluster, &journal, TICKER);
    let (leader, term) = cluster.wait_agreed(&ALL);
    wait_ticks(&journal, leader);
    cluster.signal_node(leader, Signal::STOP);
    // Its guardian kills it, which cannot end its work any more.
    assert_eq!(cluster.ended(leader), Some(137));
    let (next, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next_term > term);
    wait_ticks(&journal, next);
    journal.judge();
    watch.judge(false);
}

#[test]
fn the_command_of_a_node_killed_with_its_guardian_is_dead_before_another_leads() {
    let Some((mut cluster, journal)) = five() else { return };
    start_all(&mut cluster, &journal, TICKER);
    let (leader, term) = cluster.wait_agreed(&ALL);
    wait_ticks(&journal, leader);
    let node = cluster.status(leader).number("pid");
    cluster.signal(leader, Signal::STOP);
    let pid = i32::try_from(node).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
    cluster.kill(leader);
    let (next, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next_term > term);
    wait_ticks(&journal, next);
    journal.judge();
}

#[test]
fn the_exit_code_of_a_command_is_passed_on_and_the_lead_handed_over() {
    let Some((mut cluster, journal)) = five() else { return };
    let text = "exit 7";
    for node in ALL {
        let restart = if node % 2 == 0 { "never" } else { "on-failure" };
        let text = if node % 2 == 0 { text } else { "exit 0" };
        let command = exec(&cluster, &journal, node, &["--restart", restart], text);
        cluster.start_as(node, command);
    }
    // Each leads in its turn while there is a quorum, and ends with the code of its command.
    for _ in 0..3 {
        let (node, code) = wait_for("the end of one", || {
            cluster.running().into_iter().find_map(|node| {
                let status = cluster.process(node).ends_within(core::time::Duration::ZERO)?;
                Some((node, status.code()))
            })
        });
        assert_eq!(cluster.ended(node), code);
        assert_eq!(code, Some(if node % 2 == 0 { 7 } else { 0 }));
    }
}

#[test]
fn a_command_that_fails_is_started_again_in_the_same_term() {
    let Some((mut cluster, journal)) = five() else { return };
    let text = r#"echo "tick exec $RINGRIFT_TERM $RINGRIFT_NODE_ID" >> "$JOURNAL"; exit 1"#;
    start_all(&mut cluster, &journal, text);
    let began = Instant::now();
    wait_for("three starts", || (journal.lines().len() >= 3).then_some(()));
    assert!(began.elapsed().as_millis() > 0);
    journal.judge();
}

/// The code blocks of the README's section on this, by their language.
fn blocks(language: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let section =
        readme.split("## A worker that runs once in the cluster").nth(1).expect("it is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let fence = format!("```{language}\n");
    let blocks = section.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_commands_of_the_readme_work() {
    let Some((mut cluster, journal)) = five() else { return };
    let dir = cluster.dir.path().to_owned();
    let worker = format!("#!/bin/sh\ntest \"$1\" = --all-queues || exit 1\n{TICKER}\n");
    let worker_path = dir.join("worker");
    std::fs::write(&worker_path, worker).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&worker_path, mode).expect("a file of ours");
    std::fs::copy(&cluster.config, dir.join("distributed_hosts.yaml")).expect("a file");
    let [typed] = <[String; 1]>::try_from(blocks("sh")).expect("one command");
    for node in ALL {
        let mut words = typed.split_whitespace();
        assert_eq!(words.next(), Some("ringrift-p2p"));
        let mut command = crate::support::process::program(cluster.net(node));
        command.args(words).current_dir(&dir).env("JOURNAL", journal.path());
        command.env("RINGRIFT_NODE_ID", NAMES[node]);
        cluster.start_as(node, command);
    }
    let (leader, _) = cluster.wait_agreed(&ALL);
    wait_ticks(&journal, leader);
    assert_eq!(cluster.status(leader).0["work"]["state"], "running");
    journal.judge();
    // The hooks beside it are what a file may say.
    let [hooks] = <[String; 1]>::try_from(blocks("yaml")).expect("one example");
    let file = std::fs::read_to_string(&cluster.config).expect("it was written");
    let loaded = ringrift_p2p::config::parse(&format!("{file}{hooks}")).expect("it is right");
    assert!(loaded.config.hooks.work());
}
