//! The lead moved by hand, by a stop and by a better voter, with real processes and real disks.

use core::time::Duration;
use serde_json::Value;
use std::process::Output;
use std::time::Instant;

use crate::support::cluster::{Cluster, Timing};
use crate::support::watch::{Watch, tenures};
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

/// The cluster with more keys under `election`, started, and whoever leads.
fn led(keys: &str) -> Option<(Cluster, Watch, usize, u64)> {
    let mut cluster = five()?;
    let config = std::fs::read_to_string(&cluster.config).expect("a configuration");
    if !keys.is_empty() {
        let config = config.replace("  takeover_after: 3600\n", keys);
        std::fs::write(&cluster.config, config).expect("a file");
    }
    let watch = cluster.watch();
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let (leader, term) = cluster.wait_agreed(&ALL);
    Some((cluster, watch, leader, term))
}

/// A subcommand that asks `node`.
fn typed(cluster: &Cluster, node: usize, arguments: &[&str]) -> Output {
    let mut command = crate::support::process::program(cluster.net(node));
    command.args(arguments).args(["--url", &format!("http://{}", cluster.http(node))]);
    command.output().expect("the program runs")
}

/// A POST to `node` from its own machine: the status, and the answer.
fn post(cluster: &Cluster, node: usize, path: &str, body: &str) -> (String, Value) {
    let url = format!("http://{}{path}", cluster.http(node));
    let mut curl = cluster.net(node).command("curl");
    curl.args(["-s", "-X", "POST", "-d", body, "-w", "\\n%{http_code}", &url]);
    let output = curl.output().expect("curl runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (answer, code) = text.trim_end().rsplit_once('\n').expect("an answer");
    (code.to_owned(), serde_json::from_str(answer).expect("an object"))
}

#[track_caller]
fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Between the last claim of the tenure of `term` and the first of a later one: at least as long as
/// nobody led.
fn gap_after(watch: &Watch, term: u64) -> Duration {
    let all = tenures(&watch.claims());
    let old = all.iter().filter(|tenure| tenure.term == term).map(|it| it.lasted_to).max();
    let new = all.iter().filter(|tenure| tenure.term > term).map(|it| it.began_by).min();
    new.zip(old).map(|(new, old)| new.saturating_duration_since(old)).expect("two tenures")
}

#[test]
fn a_step_down_moves_the_lead_and_says_to_whom() {
    let Some((cluster, watch, leader, term)) = led("") else { return };
    let said = done(&typed(&cluster, leader, &["step-down"]));
    let (next, later) = cluster.wait_agreed(&ALL);
    assert_ne!(next, leader);
    assert_eq!(said, format!("{} leads in term {later}\n", NAMES[next]));
    assert!(later > term);
    let waited = gap_after(&watch, term);
    assert!(waited < Timing::SHORT.lease(), "{waited:?}: the lease was waited for");
    watch.judge(false);
}

#[test]
fn a_transfer_moves_the_lead_to_the_named_voter() {
    let Some((cluster, watch, leader, _)) = led("") else { return };
    let to = (leader + 3) % ALL.len();
    let said = wait_for("a voter that is ready", || {
        let output = typed(&cluster, leader, &["transfer", "--to", NAMES[to]]);
        let refused = String::from_utf8_lossy(&output.stderr).contains("NO_TARGET");
        (!refused).then(|| done(&output))
    });
    let (next, term) = cluster.wait_agreed(&ALL);
    assert_eq!((next, said), (to, format!("{} leads in term {term}\n", NAMES[to])));
    // And back, as a program asks.
    let body = format!("{{\"to\": \"{}\"}}", NAMES[leader]);
    let (code, said) = post(&cluster, to, "/election/transfer", &body);
    assert_eq!(code, "200", "{said}");
    assert_eq!((&said["accepted"], &said["leader_id"]), (&true.into(), &NAMES[leader].into()));
    assert_eq!(cluster.wait_agreed(&ALL).0, leader);
    watch.judge(false);
}

#[test]
fn a_target_that_is_dead_or_unknown_changes_nothing() {
    let Some((mut cluster, watch, leader, term)) = led("") else { return };
    let dead = (leader + 1) % ALL.len();
    cluster.kill(dead);
    for to in [NAMES[dead], "nobody"] {
        let output = typed(&cluster, leader, &["transfer", "--to", to]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert!(said.contains("NO_TARGET") && said.contains(to), "{said}");
    }
    assert_eq!(cluster.wait_agreed(&cluster.running()), (leader, term));
    watch.judge(true);
}

#[test]
fn a_verb_at_the_wrong_node_names_the_leader_and_its_address() {
    let Some((cluster, watch, leader, term)) = led("") else { return };
    let wrong = (leader + 1) % ALL.len();
    for (path, body) in
        [("/election/step_down", ""), ("/election/transfer", "{\"to\":\"hetzner-cpu1\"}")]
    {
        let (code, said) = post(&cluster, wrong, path, body);
        assert_eq!(code, "409", "{said}");
        assert_eq!(said["error_code"], "NOT_LEADER", "{said}");
        assert_eq!(said["leader_id"], NAMES[leader], "{said}");
        assert_eq!(said["address"], cluster.http(leader).to_string(), "{said}");
    }
    let output = typed(&cluster, wrong, &["step-down"]);
    assert_eq!(output.status.code(), Some(75));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("--url http://{}", cluster.http(leader))), "{said}");
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term));
    watch.judge(true);
}

#[test]
fn a_drain_survives_kill_9_and_ends_with_resume() {
    let Some((mut cluster, watch, leader, _)) = led("  takeover_after: 500ms\n") else { return };
    let said = done(&typed(&cluster, leader, &["drain"]));
    assert!(said.starts_with(&format!("{} is drained; ", NAMES[leader])), "{said}");
    let (next, _) = cluster.wait_agreed(&ALL);
    assert_ne!(next, leader);
    cluster.kill(leader);
    cluster.start(leader);
    cluster.wait_agreed(&ALL);
    let drained = |cluster: &Cluster| {
        let answer = cluster.ask(leader, "GET", "/election/status").expect("an answer");
        serde_json::from_str::<Value>(&answer.body).expect("an object")["drained"].clone()
    };
    assert_eq!(drained(&cluster), true);
    done(&typed(&cluster, leader, &["resume"]));
    assert_eq!(drained(&cluster), false);
    watch.judge(false);
}

#[test]
fn a_better_voter_that_returns_takes_over_once_and_not_at_once() {
    let keys = "  takeover_after: 3s\n  takeover_every: 1h\n";
    let Some((mut cluster, watch, ..)) = led(keys) else { return };
    // It has to be the best one that restarts; the first leader may be another on a busy machine.
    cluster.make_lead(0);
    let stopped = Instant::now();
    cluster.signal(0, rustix::process::Signal::TERM);
    assert_eq!(cluster.ended(0), Some(0));
    cluster.wait_agreed(&cluster.running());
    cluster.start(0);
    let back = wait_for("the takeover", || {
        cluster.agreed(&ALL).filter(|&(now, _)| now == 0).map(|(_, term)| term)
    });
    assert!(stopped.elapsed() >= Duration::from_secs(3), "not at once");
    // The second return finds the rate used up, and says so.
    cluster.signal(0, rustix::process::Signal::TERM);
    cluster.ended(0);
    cluster.start(0);
    let (second, _) = cluster.wait_agreed(&ALL);
    assert_ne!(second, 0);
    let why = wait_for("the reason that is left", || {
        let answer = cluster.ask(second, "GET", "/election/status")?;
        let said: Value = serde_json::from_str(&answer.body).ok()?;
        (said["takeover"]["blocked_by"] == "rate").then(|| said["takeover"].clone())
    });
    assert_eq!(why["candidate"], NAMES[0], "{why}");
    assert!(why["in_seconds"].as_f64() > Some(60.0), "{why}");
    assert!(cluster.wait_agreed(&ALL).1 > back);
    watch.judge(false);
}
