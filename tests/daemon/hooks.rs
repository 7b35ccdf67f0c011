//! Hooks of real nodes: in their order, in their time, and never of two leaders at once.

use rustix::process::Signal;
use std::process::Command;

use crate::ALL;
use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::journal::Journal;
use crate::support::process::program;
use crate::support::{NAMES, wait_for, within};

/// Short, with room for a hook.
const TIMING: Timing = Timing { heartbeat_ms: 200, lease_ms: 1_500 };

/// Five voters with hooks, none started.
fn with_hooks(hooks: &[(&str, &str)], more: &str) -> Option<(Cluster, Journal)> {
    with_hooks_at(TIMING, hooks, more)
}

/// Likewise with other timings.
fn with_hooks_at(timing: Timing, hooks: &[(&str, &str)], more: &str) -> Option<(Cluster, Journal)> {
    let cluster = on_loopback(timing)?;
    let journal = Journal::of(&cluster);
    journal.hook(&cluster, hooks, more);
    Some((cluster, journal))
}

/// The command of a guarded node that knows the journal.
fn command(cluster: &Cluster, journal: &Journal, node: usize) -> Command {
    let mut command = cluster.guarded_command(node);
    command.env("JOURNAL", journal.path());
    command
}

fn start_all(cluster: &mut Cluster, journal: &Journal) {
    for node in ALL {
        let command = command(cluster, journal, node);
        cluster.start_as(node, command);
    }
}

#[test]
fn gain_and_lose_alternate_with_rising_terms_over_kills_and_stops() {
    let Some((mut cluster, journal)) = with_hooks(&[("on_gain", ":"), ("on_lose", ":")], "") else {
        return;
    };
    let watch = cluster.watch();
    start_all(&mut cluster, &journal);
    for round in 0..6 {
        let (leader, _) = cluster.wait_agreed(&ALL);
        // Not its present term: that may have been raised since.
        let term = wait_for("the gain", || {
            let last = journal.lines().into_iter().rfind(|line| line.what != "change")?;
            let gained = (last.how.as_str(), last.what.as_str()) == ("end", "gain");
            (gained && last.node == NAMES[leader]).then_some(last.term)
        });
        if round % 2 == 0 {
            cluster.signal_node(leader, Signal::KILL);
            assert_eq!(cluster.ended(leader), Some(137));
        } else {
            cluster.signal(leader, Signal::TERM);
            assert_eq!(cluster.ended(leader), Some(0));
        }
        let lost = journal.lines().iter().filter(|l| l.what == "lose" && l.term == term).count();
        assert_eq!(lost, 2, "begin and end of the lose of {term}");
        let again = command(&cluster, &journal, leader);
        cluster.wait_agreed(&cluster.running());
        cluster.start_as(leader, again);
    }
    let gains = journal.judge();
    assert!(gains.len() >= 6, "{gains:?}");
    for line in journal.lines() {
        let own = NAMES.iter().any(|name| line.rest.starts_with(&format!("leader={name} ")));
        assert_eq!(own, line.what == "gain", "{line:?}");
    }
    watch.judge(false);
}

#[test]
fn a_lose_hook_that_hangs_is_killed_before_another_leads() {
    let hooks = [("on_gain", ":"), ("on_lose", "exec sleep 1000")];
    let Some((mut cluster, journal)) = with_hooks(&hooks, "") else { return };
    start_all(&mut cluster, &journal);
    let (leader, term) = cluster.wait_agreed(&ALL);
    wait_for("the gain", || (journal.count("end", "gain") == 1).then_some(()));
    cluster.signal(leader, Signal::TERM);
    assert_eq!(cluster.ended(leader), Some(0), "the node itself is well");
    let (_, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next_term > term);
    wait_for("the next gain", || (journal.count("end", "gain") == 2).then_some(()));
    assert_eq!(journal.count("begin", "lose"), 1);
    assert_eq!(journal.count("end", "lose"), 0, "it was killed");
    journal.judge();
    let log = std::fs::read_to_string(cluster.dir.path().join(format!("{}.log", NAMES[leader])));
    assert!(log.expect("a log").contains("its time was up"));
}

#[test]
fn a_gain_hook_that_fails_gives_the_lead_up_and_says_why() {
    // On the first two nodes it fails.
    let fails = r#"test "$RINGRIFT_NODE_ID" != nebius-backbone-1 -a "$RINGRIFT_NODE_ID" != vultr-a100-20gb"#;
    let Some((mut cluster, journal)) = with_hooks(&[("on_gain", fails), ("on_lose", ":")], "")
    else {
        return;
    };
    start_all(&mut cluster, &journal);
    let well = |line: &crate::support::journal::Line| {
        line.what == "gain" && ![NAMES[0], NAMES[1]].contains(&line.node.as_str())
    };
    wait_for("a node on which it works", || journal.lines().iter().any(well).then_some(()));
    let gains = journal.judge();
    let failed = journal.lines().iter().find(|line| line.what == "gain" && !well(line)).cloned();
    if let Some(failed) = failed {
        assert!(gains.len() > 1, "{gains:?}");
        let node = NAMES.iter().position(|name| *name == failed.node).expect("a node");
        let shown = wait_for("the reason in /status", || {
            let status = cluster.try_status(node)?;
            Some(status.0["work"]["last_failure"].as_str()?.to_owned())
        });
        assert!(shown.contains("on_gain hook ended with 1"), "{shown}");
    }
}

#[test]
fn every_node_is_told_of_another_leader() {
    let Some((mut cluster, journal)) = with_hooks(&[("on_leader_change", ":")], "") else { return };
    start_all(&mut cluster, &journal);
    let (leader, _) = cluster.wait_agreed(&ALL);
    cluster.signal(leader, Signal::TERM);
    assert_eq!(cluster.ended(leader), Some(0));
    let (next, _) = cluster.wait_agreed(&cluster.running());
    let told = |node: usize| {
        let says = format!("leader={} before={}", NAMES[next], NAMES[leader]);
        let of = |line: &crate::support::journal::Line| {
            line.node == NAMES[node] && line.how == "end" && line.rest.starts_with(&says)
        };
        journal.lines().iter().any(of)
    };
    for node in cluster.running() {
        let heard = within(crate::support::PATIENCE, || told(node).then_some(()));
        assert!(heard.is_some(), "{node} was not told: {:#?}", journal.lines());
    }
}

#[test]
fn the_work_of_a_lease_that_is_not_renewed_has_ended_before_the_lease_does() {
    let hooks = [("on_gain", ":"), ("on_lose", ":")];
    let Some((mut cluster, journal)) = with_hooks(&hooks, "") else { return };
    let watch = cluster.watch();
    start_all(&mut cluster, &journal);
    let (leader, _) = cluster.wait_agreed(&ALL);
    wait_for("the gain", || (journal.count("end", "gain") >= 1).then_some(()));
    // Nobody answers the leader any more, and nobody can follow it.
    for node in ALL.into_iter().filter(|&node| node != leader) {
        cluster.signal_node(node, Signal::STOP);
    }
    let lost = wait_for("the lose", || {
        journal
            .lines()
            .into_iter()
            .find(|line| (line.how.as_str(), line.what.as_str()) == ("end", "lose"))
    });
    assert!(lost.rest.ends_with("cause=lease_thin"), "{lost:?}");
    for node in ALL.into_iter().filter(|&node| node != leader) {
        let pids = cluster.net(node).pids();
        for pid in pids.into_iter().filter_map(rustix::process::Pid::from_raw) {
            // Whoever is stopped goes on; the others do so anyway.
            let _gone = rustix::process::kill_process(pid, Signal::CONT);
        }
    }
    cluster.wait_agreed(&ALL);
    wait_for("another gain", || (journal.count("end", "gain") >= 2).then_some(()));
    journal.judge();
    watch.judge(false);
}

#[test]
fn a_step_down_waits_for_the_lose_hook() {
    let hooks = [("on_gain", ":"), ("on_lose", "sleep 0.2")];
    let Some((mut cluster, journal)) = with_hooks(&hooks, "  grace: 1s\n") else { return };
    let watch = cluster.watch();
    start_all(&mut cluster, &journal);
    for done in 1..=3 {
        cluster.wait_settled();
        let (leader, _) = cluster.wait_agreed(&ALL);
        wait_for("the gain", || (journal.count("end", "gain") == done).then_some(()));
        let answer = cluster.ask(leader, "POST", "/election/step_down").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        wait_for("the next gain", || (journal.count("end", "gain") == done + 1).then_some(()));
        assert_eq!(journal.count("end", "lose"), done, "it was waited for");
    }
    journal.judge();
    watch.judge(false);
}

#[test]
fn a_step_down_is_answered_however_long_the_work_may_take_to_end() {
    let timing = Timing { heartbeat_ms: 2_000, lease_ms: 60_000 };
    let hooks = [("on_gain", ":"), ("on_lose", "sleep 11")];
    let more = "  grace: 15s\n";
    let Some((mut cluster, journal)) = with_hooks_at(timing, &hooks, more) else { return };
    let watch = cluster.watch();
    start_all(&mut cluster, &journal);
    cluster.wait_settled();
    let (leader, _) = cluster.wait_agreed(&ALL);
    wait_for("the gain", || (journal.count("end", "gain") == 1).then_some(()));
    let url = format!("http://{}", cluster.http(leader));
    let mut command = program(cluster.net(leader));
    let ran = command.args(["step-down", "--url", &url]).output().expect("the program runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains(" leads in term "), "{said}");
    assert_eq!(journal.count("end", "lose"), 1, "it was waited for");
    journal.judge();
    watch.judge(false);
}
