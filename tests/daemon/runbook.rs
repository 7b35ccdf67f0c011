//! The runbook's commands, word for word, typed at a running cluster.
//!
//! Each constant is the text of a command as the runbook has it, typed into bash on the host of a voter.

use std::sync::Arc;

use crate::support::cluster::Cluster;
use crate::support::net::Net;
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

const CHECK_LEADER: &str = "curl -s http://localhost:8770/status | jq '.leader_id'";
const CHECK_VOTERS: &str = "curl -s http://localhost:8770/status | jq '.voters'";
const CHECK_PEERS: &str = "curl -s http://localhost:8770/status | jq '.alive_peers'";
const FORCE_CHECK: &str = "curl -s http://localhost:8770/election/status";

const CONNECTIVITY: &str = r#"
for host in nebius-backbone-1 nebius-h100-3 hetzner-cpu1 hetzner-cpu2 vultr-a100-20gb; do
  echo -n "$host: "
  curl -s --connect-timeout 3 "http://$host:8770/health" && echo "OK" || echo "UNREACHABLE"
done
"#;

const LEADER_HEALTH: &str = "curl -s --connect-timeout 5 http://LEADER_HOST:8770/health";

const TRIGGER: &str = "curl -X POST http://localhost:8770/election/trigger";

const CLAIMED_LEADERS: &str = r#"
for node in $(cat config/distributed_hosts.yaml | grep "tailscale_ip" | awk '{print $2}'); do
  leader=$(curl -s --connect-timeout 3 "http://$node:8770/status" | jq -r '.leader_id // "none"')
  echo "$node claims leader: $leader"
done
"#;

const METRICS: &str =
    r#"curl -s http://localhost:8770/metrics/prometheus | grep -E "p2p_leader|p2p_election""#;

/// The runbook's Python prints these four lines; its text escapes quotes inside an f-string, which
/// no Python before 3.12 reads, and with a backslash none at all. This is the same without.
const LEADER_SUMMARY: &str = r#"curl -s http://localhost:8770/status | python3 -c '
import sys, json
d = json.load(sys.stdin)
leader, role, peers = d.get("leader_id", "NONE"), d.get("role", "unknown"), d.get("alive_peers", 0)
voters = len([v for v in d.get("voters", {}).values() if v.get("alive")])
print(f"Leader: {leader}")
print(f"Role: {role}")
print(f"Alive peers: {peers}")
print(f"Voters reachable: {voters}/5")
'"#;

/// The runbook's priority order is that of `NAMES`; its loops go by this one.
const LISTED: [&str; 5] =
    ["nebius-backbone-1", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2", "vultr-a100-20gb"];

/// What a command prints on the host of the cluster.
#[track_caller]
fn typed(cluster: &Cluster, command: &str) -> String {
    let net: &Arc<Net> = cluster.net(0);
    let mut bash = net.command("bash");
    bash.args(["-c", command]).current_dir(cluster.dir.path());
    let output = bash.output().expect("bash runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn quick_commands_answer() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    assert_eq!(typed(&cluster, CHECK_LEADER), format!("\"{}\"\n", NAMES[leader]));
    assert_eq!(typed(&cluster, CHECK_PEERS), "4\n");
    let voters: serde_json::Value =
        serde_json::from_str(&typed(&cluster, CHECK_VOTERS)).expect("an object");
    for name in NAMES {
        assert_eq!(voters[name]["alive"], true, "{voters:#}");
    }
    let election: serde_json::Value =
        serde_json::from_str(&typed(&cluster, FORCE_CHECK)).expect("an object");
    assert_eq!(election["leader_id"], NAMES[leader]);
    assert_eq!(election["term"], term);
    assert_eq!(election["quorum_size"], 3);
    assert_eq!(election["voters_alive"], 5);
    assert_eq!(election["quorum_ok"], true);
    assert_eq!(election["election_in_progress"], false);
    // A voter that the machine lets answer late for a while is less central for a while.
    wait_for("the configured order", || {
        let election = serde_json::from_str::<serde_json::Value>(&typed(&cluster, FORCE_CHECK));
        let election = election.expect("an object");
        let ranked = election["priority"].as_array().expect("a list").iter();
        let ranked: Vec<_> = ranked.filter_map(|voter| voter["node_id"].as_str()).collect();
        (ranked == NAMES).then_some(())
    });
}

#[test]
fn the_leaders_health_is_summed_up() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let role = if leader == 0 { "leader" } else { "follower" };
    let summary =
        format!("Leader: {}\nRole: {role}\nAlive peers: 4\nVoters reachable: 5/5\n", NAMES[leader]);
    assert_eq!(typed(&cluster, LEADER_SUMMARY), summary);
    let health = typed(&cluster, &LEADER_HEALTH.replace("LEADER_HOST", NAMES[leader]));
    let health: serde_json::Value = serde_json::from_str(&health).expect("an object");
    assert_eq!((&health["status"], &health["healthy"]), (&"healthy".into(), &true.into()));
    assert_eq!(health["node_id"], NAMES[leader]);
    assert_eq!(health["role"], "leader");
}

#[test]
fn connectivity_is_checked_by_name() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    let said = typed(&cluster, CONNECTIVITY);
    let mut told = said.split_inclusive("OK\n");
    for name in LISTED {
        let told = told.next().unwrap_or_default();
        assert!(told.starts_with(&format!("{name}: {{")) && told.ends_with("OK\n"), "{said}");
        assert!(told.contains("\"healthy\":true"), "{said}");
    }
    assert_eq!(told.next(), None);
    cluster.kill(1);
    let said = typed(&cluster, CONNECTIVITY);
    assert!(said.contains("vultr-a100-20gb: UNREACHABLE\n"), "{said}");
    assert_eq!(said.matches("OK\n").count(), 4, "{said}");
}

#[test]
fn all_claim_the_same_leader() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let claimed = |cluster: &Cluster, leader: &str| {
        let line = |last| format!("127.0.0.{last} claims leader: {leader}\n");
        assert_eq!(typed(cluster, CLAIMED_LEADERS), (1..=5).map(line).collect::<String>());
    };
    let (leader, _) = cluster.wait_agreed(&ALL);
    claimed(&cluster, NAMES[leader]);
    // Scenario 4: the leader is stopped, and the best of the rest takes over by itself.
    cluster.kill(leader);
    let (next, _) = cluster.wait_agreed(&cluster.running());
    cluster.start(leader);
    cluster.wait_agreed(&ALL);
    claimed(&cluster, NAMES[next]);
}

#[test]
fn with_too_few_voters_nobody_is_claimed() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    for node in [1, 2, 3] {
        cluster.kill(node);
    }
    cluster.wait_leaderless(&[0, 4]);
    assert_eq!(typed(&cluster, CHECK_LEADER), "null\n");
    wait_for("the dead to be found dead", || (typed(&cluster, CHECK_PEERS) == "1\n").then_some(()));
    assert_eq!(typed(&cluster, LEADER_SUMMARY).lines().last(), Some("Voters reachable: 2/5"));
    let said = typed(&cluster, CLAIMED_LEADERS);
    assert_eq!(said.lines().filter(|line| line.ends_with("claims leader: none")).count(), 2);
}

#[test]
fn a_trigger_holds_an_election_that_the_best_voter_wins() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (_, term) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let said = typed(&cluster, TRIGGER);
    let answer: serde_json::Value = serde_json::from_str(&said).expect("an object");
    assert_eq!(answer["accepted"], true, "{said}");
    assert_eq!(answer["started"], true, "{said}");
    assert_eq!(answer["node_id"], NAMES[0]);
    wait_for("a leader in a new term", || cluster.agreed(&ALL).filter(|&(_, later)| later > term));
    // Again at once is refused, and says so.
    let said = typed(&cluster, TRIGGER);
    let answer: serde_json::Value = serde_json::from_str(&said).expect("an object");
    assert_eq!(answer["accepted"], false, "{said}");
    assert_eq!(answer["error_code"], "COOLDOWN", "{said}");
    watch.judge(false);
}

#[test]
fn metrics_are_found_by_the_runbooks_pattern() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&ALL);
    let said = typed(&cluster, METRICS);
    let number = |name: &str| {
        let sample = said.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        sample.and_then(|value| value.parse::<f64>().ok())
    };
    assert!(number("ringrift_p2p_election_count") >= Some(1.0), "{said}");
    assert!(number("ringrift_p2p_leader_changes_total") >= Some(1.0), "{said}");
    let mut sorted = NAMES;
    sorted.sort_unstable();
    let index = sorted.iter().position(|&name| name == NAMES[leader]).expect("a voter");
    let index = u32::try_from(index + 1).expect("a small number");
    assert_eq!(number("ringrift_p2p_leader_id"), Some(f64::from(index)), "{said}");
    for node in ALL {
        let leads = f64::from(u8::from(node == leader));
        assert_eq!(cluster.metric(node, "ringrift_p2p_is_leader "), leads);
        assert_eq!(cluster.metric(node, "ringrift_is_leader "), leads);
    }
    cluster.wait_settled();
    assert_eq!(cluster.metric(0, "ringrift_p2p_alive_peers "), 4.0);
}
