//! Nodes that ask others over HTTP, as they ship: followers without UDP, and shadows beside the process that they are to
//! replace.

#![cfg(test)]

mod proxy;
#[expect(dead_code, reason = "tests/daemon and tests/netns use the rest")]
#[path = "../support/mod.rs"]
mod support;

use core::time::Duration;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use support::cluster::{Cluster, Timing, on_loopback};
use support::http::{Answer, Client};
use support::net::Net;
use support::old::Old;
use support::process::{Process, program};
use support::{NAMES, wait_for};

/// Leases that a busy machine does not miss.
const TIMING: Timing = Timing { heartbeat_ms: 500, lease_ms: 2_500 };

/// Where the follower answers.
const AT: &str = "127.0.0.77:8770";

/// A node that follows over HTTP.
struct Follower {
    net: Arc<Net>,
    process: Process,
}

impl Follower {
    fn start(cluster: &Cluster, net: &Arc<Net>, name: &str, arguments: &[&str]) -> Self {
        let dir = cluster.dir.path();
        let mut command = program(net);
        command.args(["run", "--node", name, "--address", AT]).args(arguments).current_dir(dir);
        Self { net: Arc::clone(net), process: Process::start(command, dir, name) }
    }

    fn ask(&self, method: &str, path: &str) -> Option<Answer> {
        let end = Instant::now() + Duration::from_secs(5);
        let at: SocketAddr = AT.parse().expect("an address");
        self.net.within(|| {
            Client::connect(at).ok()?.request(method, path, || Instant::now() > end).ok()
        })
    }

    fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.ask("GET", "/status")?.body).ok()
    }

    /// Its status, once it is so.
    #[track_caller]
    fn wait(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let found = support::within(support::PATIENCE, || self.status().filter(|it| so(it)));
        found.unwrap_or_else(|| panic!("not {what}: {:?}\n{}", self.status(), self.process.log()))
    }
}

fn url(cluster: &Cluster, node: usize) -> String {
    format!("http://{}", cluster.http(node))
}

/// How many UDP sockets a process has.
fn udp_sockets(pid: &Value) -> usize {
    let folder = Path::new("/proc").join(pid.to_string());
    let tables = ["udp", "udp6"]
        .map(|it| fs::read_to_string(folder.join("net").join(it)).unwrap_or_default());
    let inode =
        |line: &str| line.split_whitespace().nth(9).map(|inode| format!("socket:[{inode}]"));
    let known: Vec<String> =
        tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(inode).collect();
    let open = fs::read_dir(folder.join("fd")).expect("it runs").filter_map(Result::ok);
    let links = open.filter_map(|it| fs::read_link(it.path()).ok());
    links.filter(|it| known.iter().any(|inode| Path::new(inode) == it)).count()
}

#[test]
fn a_node_without_udp_shows_what_others_say_and_for_no_longer_than_the_lease() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    cluster.wait_settled();
    // Nobody listens at the first; the second may go.
    let urls = format!(
        "http://127.0.0.78:8770,{},{}",
        url(&cluster, leader),
        url(&cluster, (leader + 1) % 5)
    );
    let net = Arc::clone(cluster.net(0));
    let follower = Follower::start(&cluster, &net, "watcher", &["--follow", &urls]);
    let said =
        follower.wait("following", |it| it["leader_id"] == NAMES[leader] && it["alive_peers"] == 5);
    assert_eq!(said["role"], "observer");
    assert_eq!((&said["is_leader"], &said["self"]["is_voter"]), (&false.into(), &false.into()));
    assert_eq!((&said["voters_alive"], &said["voter_quorum_ok"]), (&5.into(), &true.into()));
    assert_eq!(said["follows_over"], "http");
    assert_eq!(said["source"]["url"], url(&cluster, leader));
    assert_eq!(said["source"]["node_id"], NAMES[leader]);
    assert_eq!(said["source"]["failing"][0]["url"], "http://127.0.0.78:8770");
    assert!(said["source"]["heard_seconds_ago"].is_f64());
    assert_eq!(said["voters"][NAMES[leader]]["detail"], "direct");
    assert_eq!(said["voters"][NAMES[(leader + 1) % 5]]["detail"], "indirect");
    assert_eq!(udp_sockets(&said["pid"]), 0);
    wait_for("it to read the events", || {
        (cluster.metric(leader, "ringrift_p2p_event_readers ") > 0.5).then_some(())
    });
    let voter = cluster.status(leader);
    assert!(udp_sockets(&voter.0["pid"]) > 0, "and a voter has some");
    assert_eq!(voter.0["follows_over"], "gossip");
    assert_eq!(voter.number("alive_peers"), 4, "nobody counts the follower");

    assert_eq!(follower.ask("GET", "/health").map(|it| it.status), Some(200));
    assert_eq!(follower.ask("GET", "/ready").map(|it| it.status), Some(200));
    let answer = follower.ask("GET", "/leader").expect("an answer");
    assert_eq!((answer.status, answer.header("x-leader-id")), (503, Some(NAMES[leader])));
    assert_eq!(answer.header("x-leader-address"), Some(cluster.http(leader).to_string().as_str()));
    let refused = follower.ask("POST", "/election/trigger").expect("an answer");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("NOT_A_VOTER"), "{}", refused.body);
    let metrics = follower.ask("GET", "/metrics").expect("an answer").body;
    for line in [
        "ringrift_p2p_follows_over_http 1",
        "ringrift_p2p_is_leader 0",
        "ringrift_p2p_alive_peers 5",
    ] {
        assert!(metrics.lines().any(|it| it == line), "no {line} in {metrics}");
    }

    // The source is the leader; the next takes its place, and tells who leads now.
    cluster.kill(leader);
    let next = url(&cluster, (leader + 1) % 5);
    let said = follower.wait("at the next", |it| {
        it["source"]["url"] == *next
            && it["leader_id"].is_string()
            && it["leader_id"] != NAMES[leader]
    });
    let (new, _) = cluster.wait_agreed(&cluster.running());
    assert_eq!(said["leader_id"], NAMES[new]);

    // Nobody is left to say anything.
    for node in cluster.running() {
        cluster.kill(node);
    }
    let said =
        follower.wait("leaderless", |it| it["leader_id"].is_null() && it["alive_peers"] == 0);
    let reason = said["no_leader_reason"].as_str().expect("a reason");
    assert!(reason.contains("no followed node answers"), "{reason}");
    assert_eq!(said["source"]["failing"].as_array().map(Vec::len), Some(3));
    assert_eq!(follower.ask("GET", "/ready").map(|it| it.status), Some(503));
    follower.process.signal(Signal::HUP);
    follower.wait("running", |_| true);
    let mut process = follower.process;
    process.signal(Signal::TERM);
    assert_eq!(process.ended().code(), Some(0));
}

/// A host whose only way out is a proxy: the names of the nodes are known at its far end alone.
#[test]
fn a_proxy_is_the_only_way_out() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    let Some(near) = Net::new(&[]).map(Arc::new) else { return };
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let far = Arc::clone(cluster.net(0));
    let asked = proxy::start(&near, "127.0.0.1:1055".parse().unwrap(), &far, cluster.http(0));
    let wait = |follower: &Follower| {
        let said = follower.wait("following", |it| it["leader_id"] == NAMES[leader]);
        assert_eq!(said["source"]["url"], format!("http://{}:8770", proxy::NAME));
        said
    };
    for (scheme, word) in [("socks5", "socks"), ("http", "connect")] {
        let through = format!("{scheme}://{}@127.0.0.1:1055", proxy::LOGIN);
        let arguments = ["--follow", proxy::NAME, "--proxy", &through];
        let follower = Follower::start(&cluster, &near, &format!("by-{word}"), &arguments);
        let said = wait(&follower);
        assert_eq!(said["source"]["proxy"], format!("{scheme}://127.0.0.1:1055"));
        assert!(!follower.process.log().contains("pass"), "{}", follower.process.log());
        let seen = asked.lock().unwrap().clone();
        let wanted = format!("{word} {}:8770", proxy::NAME);
        assert!(seen.contains(&wanted), "{seen:?}");
        wait_for("it to read the events", || {
            (cluster.metric(0, "ringrift_p2p_event_readers ") > 0.5).then_some(())
        });
    }
    // Without the proxy there is no way.
    let follower = Follower::start(&cluster, &near, "alone", &["--follow", &url(&cluster, 0)]);
    let said = follower.wait("alone", |it| it["source"]["failing"][0]["url"] == url(&cluster, 0));
    assert_eq!((&said["leader_id"], &said["alive_peers"]), (&Value::Null, &0.into()));
}

#[test]
fn what_cannot_be_followed_so_ends_with_64() {
    let Some(cluster) = on_loopback(TIMING) else { return };
    let net = cluster.net(0);
    let ends = |name: &str, arguments: &[&str]| {
        let mut follower = Follower::start(&cluster, net, name, arguments);
        let code = wait_for("its end", || follower.process.ends_within(Duration::from_secs(20)));
        (code.code(), follower.process.log())
    };
    let (code, log) = ends(NAMES[1], &["--follow", "a"]);
    assert_eq!(code, Some(64), "{log}");
    assert!(log.contains("is in `voters`"), "{log}");
    for arguments in [
        &["--follow", "https://a"][..],
        &["--follow", "a", "--proxy", "socks4://a:1"],
        &["--follow", "a", "--guardian"],
        &["--proxy", "http://a:1"],
    ] {
        let (code, log) = ends("watcher", arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {log}");
    }
}

/// How the shadow of one voter compares a field.
fn compared(said: &Value, field: &str) -> Value {
    let field = &said["shadow"]["fields"][field];
    json!([field["ours"], field["theirs"], field["agrees"]])
}

/// The old process of every host is a voter of the usual port.
#[test]
fn shadows_see_each_other_never_lead_and_tell_what_differs() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    cluster.wait_settled();
    let net = Arc::clone(cluster.net(0));
    let start = |node: usize| {
        let dir = cluster.dir.path();
        let mut command = program(&net);
        command.args([
            "run",
            "--node",
            NAMES[node],
            "--port",
            "8771",
            "--shadow",
            &url(&cluster, node),
        ]);
        command.arg("--data-dir").arg(dir.join(format!("shadow-{node}"))).current_dir(dir);
        Process::start(command, dir, &format!("shadow-{node}"))
    };
    let mut shadows: Vec<_> = (0..5).map(start).collect();
    let ask = |cluster: &Cluster, node: usize, method: &str, path: &str| {
        let end = Instant::now() + Duration::from_secs(5);
        let at = SocketAddr::new(cluster.address(node).into(), 8_771);
        cluster.net(node).within(|| {
            Client::connect(at).ok()?.request(method, path, || Instant::now() > end).ok()
        })
    };
    let status = |cluster: &Cluster, node: usize| -> Option<Value> {
        serde_json::from_str(&ask(cluster, node, "GET", "/status")?.body).ok()
    };
    for node in 0..5 {
        wait_for("agreement", || {
            let said = status(&cluster, node)?;
            let agrees = compared(&said, "alive_peers") == json!([4, 4, true])
                && compared(&said, "voters_alive") == json!([5, 5, true])
                && compared(&said, "leader_id") == json!([null, NAMES[leader], true]);
            agrees.then_some(())
        });
    }
    // One process less on one side.
    let gone = (leader + 1) % 5;
    let seen = (leader + 2) % 5;
    cluster.kill(gone);
    wait_for("a disagreement", || {
        let said = status(&cluster, seen)?;
        let differs = json!([4, 3, false]);
        (compared(&said, "alive_peers") == differs && said["leader_id"].is_null()).then_some(())
    });
    let metrics = ask(&cluster, seen, "GET", "/metrics").expect("an answer").body;
    let line = "ringrift_p2p_shadow_disagreement{field=\"alive_peers\"} 1";
    assert!(metrics.lines().any(|it| it == line), "no {line} in {metrics}");
    shadows[gone].kill();
    wait_for("agreement again", || {
        let said = status(&cluster, seen)?;
        (compared(&said, "alive_peers") == json!([3, 3, true])).then_some(())
    });
    // The shadow of the process that is gone would say so; those that are left were never leaders, and cannot be made one.
    for node in (0..5).filter(|&node| node != gone) {
        let refused = ask(&cluster, node, "POST", "/election/trigger").expect("an answer");
        assert_eq!(refused.status, 409, "{}", refused.body);
        let said = status(&cluster, node).expect("an answer");
        assert_eq!((&said["is_leader"], &said["leader_changes"]), (&false.into(), &0.into()));
    }
}

/// Beside the Python process, whose `/status` has fewer fields and other habits.
#[test]
fn the_old_process_is_compared_with_and_not_followed() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    let net = Arc::clone(cluster.net(0));
    let place: SocketAddr = "127.0.0.66:8770".parse().expect("an address");
    let old = Old::start(&net, place, NAMES[1]);
    let at = format!("http://{place}");
    for node in 0..5 {
        let mut command = cluster.command(node);
        command.args(["--shadow", &at]);
        cluster.start_as(node, command);
    }
    let until = |fields: [Value; 3]| {
        wait_for("what was compared", || {
            let said = cluster.try_status(0)?.0;
            let names = ["leader_id", "alive_peers", "voters_alive"];
            (names.map(|name| compared(&said, name)) == fields).then_some(())
        });
    };
    let peers = json!([4, 4, true]);
    let voters = json!([5, 5, true]);
    until([json!([null, NAMES[1], true]), peers.clone(), voters.clone()]);
    old.say("leader_id", json!("gone-since-december"));
    until([json!([null, "gone-since-december", false]), peers.clone(), voters.clone()]);
    old.say("leader_id", json!(""));
    old.say("voters_alive", json!(2));
    until([json!([null, "", true]), peers, json!([5, 2, false])]);
    let disagrees = "ringrift_p2p_shadow_disagreement{field=\"voters_alive\"}";
    wait_for("the metric", || (cluster.metric(0, disagrees) > 0.5).then_some(()));
    old.fail();
    let error = wait_for("the error", || {
        cluster.try_status(0)?.0["shadow"]["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("500"), "{error}");

    let old = Old::start(&net, "127.0.0.67:8770".parse().expect("an address"), NAMES[1]);
    old.say("role", json!("leader"));
    let follower =
        Follower::start(&cluster, &net, "watcher", &["--follow", "http://127.0.0.67:8770"]);
    let said = follower.wait("asking", |it| it["source"]["failing"][0]["error"].is_string());
    let why = said["source"]["failing"][0]["error"].as_str().expect("a reason");
    assert!(why.contains("not that of a node of this program"), "{why}");
    assert_eq!((&said["leader_id"], &said["voters_alive"]), (&Value::Null, &0.into()));
}

#[test]
fn without_a_file_a_follower_takes_voters_and_lease_from_those_that_it_follows() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let net = Arc::clone(cluster.net(0));
    let dir = cluster.dir.path().to_owned();
    let empty = dir.join("empty");
    fs::create_dir(&empty).expect("a folder");
    let start = |name: &str, urls: &str| {
        let mut command = program(&net);
        command.args(["run", "--node", name, "--address", AT, "--follow", urls]);
        command.env("RINGRIFT_CONFIG", empty.join("none.yaml")).current_dir(&empty);
        Follower { net: Arc::clone(&net), process: Process::start(command, &dir, name) }
    };
    let urls = format!("http://127.0.0.78:8770,{}", url(&cluster, 1));
    let follower = start("watcher", &urls);
    let said = follower.wait("following", |it| it["leader_id"] == NAMES[leader]);
    assert_eq!((&said["voters_alive"], &said["voter_config_mismatch"]), (&5.into(), &json!([])));
    assert_eq!((&said["cluster"], &said["lease_length"]), (&"test".into(), &json!(2.5)));
    assert_eq!(said["voter_config_hash"], cluster.status(0).0["voter_config_hash"]);
    assert_eq!(said["config_version"]["path"], Value::Null);
    for node in 0..5 {
        cluster.kill(node);
    }
    follower.wait("leaderless", |it| it["leader_id"].is_null() && it["alive_peers"] == 0);
    drop(follower);
    // A voter is none, whoever says so.
    cluster.start_all();
    cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let mut voter = start(NAMES[2], &url(&cluster, 1));
    let code = wait_for("its end", || voter.process.ends_within(Duration::from_secs(20)));
    assert_eq!(code.code(), Some(64), "{}", voter.process.log());
}
