//! `check --net` between hosts: which direction fails, what passes, and that it changes nothing.

use serde_json::Value;
use std::path::Path;

use crate::network::Network;
use crate::support::cluster::{Cluster, Timing};
use crate::support::net::feed;
use crate::support::process::{Process, program};
use crate::support::{NAMES, wait_for};

/// A lease that no busy machine costs, and no disk or clock of one is too slow for.
const TIMING: Timing = Timing { heartbeat_ms: 1_000, lease_ms: 60_000 };

/// Drops at `host` what a rule of nft matches.
fn drops(cluster: &Cluster, host: usize, rule: &str) {
    let rules = format!(
        "add table inet cut\nadd chain inet cut input {{ type filter hook input priority 0; }}\n\
         add rule inet cut input {rule} drop\n"
    );
    feed("ip", &["netns", "exec", cluster.net(host).name(), "nft", "-f", "-"], &rules);
}

/// A check on a host that only answers.
fn listening(cluster: &Cluster, host: usize, config: &Path) -> Process {
    let mut command = program(cluster.net(host));
    command.args(["check", "--net", "--listen", "--node", NAMES[host], "--config"]).arg(config);
    let process = Process::start(command, cluster.dir.path(), &format!("check{host}"));
    wait_for("a check that answers", || process.out().contains("answers checks").then_some(()));
    process
}

/// The exit code of a check on the first host, and what it found.
fn check(cluster: &Cluster, more: &[&str]) -> (Option<i32>, Value) {
    let mut command = program(cluster.net(0));
    command.args(["check", "--net", "--json", "--node", NAMES[0], "--config"]).arg(&cluster.config);
    let output = command.args(more).output().expect("the program runs");
    let found = serde_json::from_slice(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), found.unwrap_or_else(|_| panic!("no JSON: {said}")))
}

/// What was found of a voter, and what to do about it.
fn of(found: &Value, host: usize) -> (Value, String) {
    let voters = found["voters"].as_array().expect("a list");
    let voter = voters.iter().find(|voter| voter["node_id"] == NAMES[host]).expect("every voter");
    let advice = found["advice"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let own: Vec<&str> = advice.filter(|text| text.starts_with(NAMES[host])).collect();
    (voter.clone(), own.join("\n"))
}

#[test]
fn between_two_checks_the_direction_that_fails_is_told() {
    let Some(network) = Network::new(4) else { return };
    let cluster = network.cluster(TIMING);
    drops(&cluster, 1, &format!("ip saddr {} udp dport 8770", cluster.address(0)));
    drops(&cluster, 0, &format!("ip saddr {} udp dport 8770", cluster.address(2)));
    let _checks = [1, 2, 3].map(|host| listening(&cluster, host, &cluster.config));
    let (code, found) = check(&cluster, &[]);
    assert_eq!(code, Some(69), "{found:#}");
    let (there, advice) = of(&found, 1);
    assert_eq!(
        (&there["udp_arrived"], &there["udp_answered"]),
        (&0.into(), &0.into()),
        "{found:#}"
    );
    assert!(advice.contains("from here do not arrive there: let UDP 8770 in there"), "{advice}");
    let (back, advice) = of(&found, 2);
    assert_eq!(
        (&back["udp_arrived"], &back["udp_comes"]),
        (&10.into(), &false.into()),
        "{found:#}"
    );
    assert!(advice.contains("those from there do not here: let UDP 8770 in here"), "{advice}");
    let (well, advice) = of(&found, 3);
    assert_eq!((advice.as_str(), &well["longest_bytes"]), ("", &1_200.into()), "{found:#}");
    assert!(well["rtt_ms"].as_f64().is_some() && well["clock_rate"].as_f64().is_some(), "{well}");
}

/// Of the three addresses of a name, one leads here, one of IPv6 nowhere, and the last to the host.
#[test]
fn of_several_addresses_of_a_name_the_one_that_answers_is_checked_and_the_others_are_named() {
    let Some(network) = Network::new(2) else { return };
    let cluster = network.cluster(TIMING);
    let text = std::fs::read_to_string(&cluster.config).expect("a file");
    let (right, wrong) = (cluster.address(1).to_string(), "127.0.0.99");
    let line = text.lines().find(|line| line.ends_with(&format!(": {right}"))).expect("its host");
    let named = text.replace(line, "    address: second.example");
    std::fs::write(&cluster.config, named).expect("a file");
    let names = Path::new("/etc/netns").join(cluster.net(0).name()).join("hosts");
    let known: String =
        [wrong, "fd99::9", &right].map(|ip| format!("{ip} second.example\n")).concat();
    std::fs::write(names, format!("127.0.0.1 localhost\n{known}")).expect("a file");
    let _check = listening(&cluster, 1, &cluster.config);
    let (_, found) = check(&cluster, &[]);
    let (second, advice) = of(&found, 1);
    assert_eq!(second["address"], format!("{right}:8770"), "{found:#}");
    assert_eq!((&second["udp_answered"], &second["answers"]), (&10.into(), &"check".into()));
    let silent = second["silent_addresses"].as_array().expect("a list");
    assert!(silent.contains(&wrong.into()) && silent.contains(&"fd99::9".into()), "{found:#}");
    assert!(advice.contains(wrong) && advice.contains("which its name has, too"), "{advice}");
}

#[test]
fn what_passes_in_part_is_told() {
    let Some(network) = Network::new(4) else { return };
    let cluster = network.cluster(TIMING);
    // 28 bytes are of IP and UDP.
    drops(&cluster, 1, "ip protocol udp meta length > 1028");
    drops(&cluster, 2, "tcp dport 8770");
    let newer = cluster.dir.path().join("newer.yaml");
    let text = std::fs::read_to_string(&cluster.config).expect("the configuration");
    std::fs::write(&newer, format!("voters_version: 2\n{text}")).expect("a file");
    let _checks = [
        listening(&cluster, 1, &cluster.config),
        listening(&cluster, 2, &cluster.config),
        listening(&cluster, 3, &newer),
    ];
    let (code, found) = check(&cluster, &["--wait", "0"]);
    assert_eq!(code, Some(69), "{found:#}");
    let (mtu, advice) = of(&found, 1);
    assert_eq!(mtu["longest_bytes"], 1_000, "{found:#}");
    assert!(advice.contains("raise the MTU"), "{advice}");
    let (_, advice) = of(&found, 2);
    assert!(advice.contains("datagrams pass, and TCP 8770 does not"), "{advice}");
    let (_, advice) = of(&found, 3);
    assert!(advice.contains("its voter list has version 2, here it is 1"), "{advice}");
}

#[test]
fn running_nodes_are_asked_and_nothing_changes_there() {
    let Some(network) = Network::new(4) else { return };
    let mut cluster = network.cluster(Timing { heartbeat_ms: 1_000, lease_ms: 8_000 });
    drops(&cluster, 2, &format!("ip saddr {} udp dport 8770", cluster.address(0)));
    (1..4).for_each(|node| cluster.start(node));
    let before = cluster.wait_agreed(&[1, 2, 3]);
    let (_, found) = check(&cluster, &[]);
    let (well, advice) = of(&found, 1);
    let expected = ("node", 10, 1_200);
    let seen = (
        well["answers"].as_str().unwrap_or_default(),
        well["udp_arrived"].as_u64().unwrap_or_default(),
        well["longest_bytes"].as_u64().unwrap_or_default(),
    );
    assert_eq!((seen, advice.as_str()), (expected, ""), "{found:#}");
    assert!(found["unknown"].as_array().is_some_and(|ids| ids.contains(&NAMES[1].into())));
    let (_, advice) = of(&found, 2);
    assert!(advice.contains("from here do not arrive there"), "{advice}");
    // Nobody has taken the check for the voter that it was run for.
    assert_eq!(cluster.wait_agreed(&[1, 2, 3]), before);
    for node in 1..4 {
        let status = cluster.status(node);
        assert_eq!(status.0["voters"][NAMES[0]]["alive"], false, "{}", status.0);
        assert_eq!(cluster.metric(node, "ringrift_p2p_name_conflicts_total"), 0.0);
    }
    // And nobody is there at all: the ports are free, and it says how to go on.
    cluster.kill(3);
    let (_, found) = check(&cluster, &["--wait", "0"]);
    let (gone, advice) = of(&found, 3);
    assert_eq!(gone["answers"], "closed", "{found:#}");
    assert!(advice.contains("ringrift-p2p check --net --listen --port 8770"), "{advice}");
}
