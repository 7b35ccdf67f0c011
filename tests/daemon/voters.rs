//! The change of voters by the README's procedure: `voters plan`, its files, and restarts one at a time.

use core::time::Duration;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

use rustix::process::Signal;

use crate::support::http::Client;
use crate::support::net::Net;
use crate::support::process::{Process, program};
use crate::support::watch::Watch;
use crate::support::{wait_for, within};

/// Five voters, and five hosts to replace them by.
const HOSTS: [&str; 10] = ["a", "b", "c", "d", "e", "v", "w", "x", "y", "z"];

/// By when there is a leader again: a lease, and time for a machine that has much to do.
const REPLACED: Duration = Duration::from_secs(20);

/// How long a node has for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Hosts on one loopback; each has a configuration file of its own.
struct Site {
    dir: TempDir,
    net: Arc<Net>,
    nodes: Vec<Option<Process>>,
}

fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, u8::try_from(host + 1).expect("few hosts")], 8770))
}

fn host(name: &str) -> usize {
    HOSTS.iter().position(|host| *host == name).expect("a host")
}

impl Site {
    fn new() -> Option<Self> {
        let lines: Vec<(String, &str)> =
            (0..).zip(HOSTS).map(|(at, name)| (address(at).ip().to_string(), name)).collect();
        let net = Arc::new(Net::new(&lines)?);
        let dir = tempfile::Builder::new().prefix("ringrift-").tempdir().expect("a folder");
        Some(Self { dir, net, nodes: HOSTS.iter().map(|_| None).collect() })
    }

    /// A configuration of all hosts with these voters.
    fn file(&self, name: &str, voters: &[&str], version: u32) -> PathBuf {
        let mut text = format!(
            "# kept\ncluster: test\ndata_dir: {}\nvoters:\n",
            self.dir.path().join("data").display()
        );
        let mut add = |line: &str| writeln!(text, "{line}").expect("a text takes it");
        voters.iter().for_each(|voter| add(&format!("  - {voter}")));
        add(&format!("voters_version: {version}"));
        add("election:\n  heartbeat_interval: 100ms\n  lease: 400ms\n  peer_timeout: 2s");
        add("  election_timeout: 500ms\nhosts:");
        for (at, name) in (0..).zip(HOSTS) {
            add(&format!("  {name}: {{address: {}}}", address(at).ip()));
        }
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn config_of(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("{}.yaml", HOSTS[node]))
    }

    fn install(&self, file: &Path) {
        for node in 0..HOSTS.len() {
            std::fs::copy(file, self.config_of(node)).expect("a copy");
        }
    }

    fn start(&mut self, node: usize) {
        let mut command = program(&self.net);
        command.args(["run", "--promise-in-data-dir", "--node", HOSTS[node], "--config"]);
        command.arg(self.config_of(node)).current_dir(self.dir.path());
        self.nodes[node] = Some(Process::start(command, self.dir.path(), HOSTS[node]));
    }

    fn stop(&mut self, node: usize) {
        let process = self.nodes[node].as_mut().expect("it runs");
        process.signal(Signal::TERM);
        assert_eq!(process.ended().code(), Some(0), "{}", HOSTS[node]);
        self.nodes[node] = None;
    }

    fn get(&self, node: usize, path: &str) -> Option<(u16, Value)> {
        let end = Instant::now() + ANSWER;
        let answer = self.net.within(|| {
            Client::connect(address(node)).ok()?.request("GET", path, || Instant::now() > end).ok()
        })?;
        Some((answer.status, serde_json::from_str(&answer.body).ok()?))
    }

    fn leader(&self) -> Option<usize> {
        let leads = |&node: &usize| {
            self.nodes[node].is_some()
                && self.get(node, "/leader").is_some_and(|(status, _)| status == 200)
        };
        (0..HOSTS.len()).find(leads)
    }

    #[track_caller]
    fn wait_leader(&self, what: &str) -> usize {
        let found = within(REPLACED, || self.leader());
        found.unwrap_or_else(|| panic!("no leader {what}:\n{}", self.views()))
    }

    fn views(&self) -> String {
        let keys =
            ["voter_config_version", "voter_config_led", "leader_id", "term", "no_leader_reason"];
        let view = |node: usize| {
            let said = self
                .get(node, "/status")
                .map(|(_, status)| keys.map(|key| format!("{key} {}", status[key])).join(", "));
            format!("{}: {}\n", HOSTS[node], said.unwrap_or_default())
        };
        (0..HOSTS.len()).map(view).collect()
    }

    /// The procedure's wait after a restart.
    #[track_caller]
    fn wait_ready(&self, node: usize, voter: bool) {
        let ready = || {
            let known = self.get(node, "/ready")?.0 == 200;
            let led = self.get(node, "/status")?.1["voter_config_led"].is_u64();
            (known && (led || !voter)).then_some(())
        };
        if within(REPLACED, ready).is_none() {
            panic!("{} is not ready:\n{}", HOSTS[node], self.views());
        }
    }

    /// The command of the README, with these files.
    fn plan(&self, old: &Path, new: &Path, json: bool) -> std::process::Output {
        let readme = include_str!("../../README.md");
        let line = readme.lines().find(|line| line.starts_with("ringrift-p2p voters plan"));
        let line = line.expect("the README has the command");
        let mut words = line.split_whitespace().skip(1).map(|word| match word {
            "new.yaml" => new.display().to_string(),
            "/etc/ringrift/distributed_hosts.yaml" => old.display().to_string(),
            "steps" => self.dir.path().join("steps").display().to_string(),
            other => other.to_owned(),
        });
        let mut command = program(&self.net);
        command.args(&mut words).args(json.then_some("--json"));
        command.output().expect("the program runs")
    }

    /// Carries out one step of a plan.
    fn carry_out(&mut self, step: &Value) {
        let name = |value: &Value| host(value.as_str().expect("a name"));
        let file = step["file"].as_str().expect("a file");
        let version = step["version"].as_u64().expect("a number");
        let (leaves, voter) = (step["change"] == "remove", name(&step["voter"]));
        self.install(&self.dir.path().join("steps").join(file));
        if leaves && self.wait_leader("before the change") == voter {
            let end = Instant::now() + ANSWER;
            let drained = self.net.within(|| {
                let mut client = Client::connect(address(voter)).expect("it listens");
                client.request("POST", "/election/drain", || Instant::now() > end)
            });
            assert_eq!(drained.expect("an answer").status, 200);
            wait_for("another leader", || self.leader().filter(|&leader| leader != voter));
        }
        let restart = step["restart"].as_array().expect("a list");
        let mut left: Vec<usize> = restart.iter().map(name).collect();
        while !left.is_empty() {
            let leader = self.wait_leader("between two restarts");
            let next = left.iter().position(|&node| node != leader && !(leaves && node == voter));
            let at = next.or_else(|| left.iter().position(|&node| node == leader)).unwrap_or(0);
            let node = left.remove(at);
            self.stop(node);
            self.start(node);
            self.wait_leader("after a restart");
            self.wait_ready(node, !(leaves && node == voter));
        }
        let voters: Vec<usize> =
            step["voters"].as_array().expect("a list").iter().map(name).collect();
        let done = || {
            let led = |&node: &usize| {
                Some(self.get(node, "/status")?.1["voter_config_led"].as_u64()? == version)
            };
            voters.iter().all(|node| led(node) == Some(true)).then_some(())
        };
        if within(REPLACED, done).is_none() {
            panic!("version {version} is not done:\n{}", self.views());
        }
        std::fs::copy(self.config_of(0), self.dir.path().join("old.yaml")).expect("a copy");
    }
}

#[test]
fn all_five_voters_are_replaced_one_after_the_other() {
    let Some(mut site) = Site::new() else { return };
    let old = site.file("old.yaml", &HOSTS[..5], 1);
    let new = site.file("new.yaml", &HOSTS[5..], 11);
    site.install(&old);
    let watch = Watch::start((0..HOSTS.len()).map(|node| (Arc::clone(&site.net), address(node))));
    (0..HOSTS.len()).for_each(|node| site.start(node));
    for node in 0..HOSTS.len() {
        site.wait_ready(node, node < 5);
    }
    let plan = site.plan(&old, &new, true);
    assert!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let steps = plan["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 10);
    for step in steps {
        site.carry_out(step);
    }
    let leader = site.wait_leader("at the end");
    assert!(leader >= 5, "{} leads", HOSTS[leader]);
    let text = std::fs::read_to_string(site.config_of(leader)).expect("a file");
    assert!(text.starts_with("# kept\ncluster: test\n"), "{text}");
    let tenures = watch.judge(false);
    assert!(tenures.len() > 5, "{tenures:?}");
}

#[test]
fn a_file_that_does_not_follow_is_refused_with_64_and_what_to_do() {
    let Some(mut site) = Site::new() else { return };
    let old = site.file("old.yaml", &HOSTS[..3], 4);
    site.install(&old);
    (0..3).for_each(|node| site.start(node));
    (0..3).for_each(|node| site.wait_ready(node, true));
    site.stop(2);
    let mut refused = |voters: &[&str], version, expected: &str| {
        let file = site.file("other.yaml", voters, version);
        std::fs::copy(file, site.config_of(2)).expect("a copy");
        site.start(2);
        let process = site.nodes[2].as_mut().expect("it was started");
        let code = process.ended().code();
        let log = process.log();
        assert_eq!(code, Some(64), "{log}");
        assert!(log.contains(expected), "{expected} is not in\n{log}");
    };
    refused(&["a", "c", "e"], 5, "one voter a version");
    refused(&["a", "b", "d", "c"], 4, "still 4");
    refused(&["a", "b", "c"], 3, "older than 4");
    // An empty store knows no better: such a voter takes no part, and both sides say so.
    let file = site.file("other.yaml", &["a", "b", "c", "d"], 4);
    std::fs::copy(file, site.config_of(2)).expect("a copy");
    std::fs::remove_dir_all(site.dir.path().join("data/c")).expect("it has a store");
    site.start(2);
    wait_for("the mismatch", || {
        let here = site.get(2, "/status")?.1;
        let there = site.get(0, "/status")?.1;
        let names = |status: &Value| status["voter_config_mismatch"].clone();
        let told = names(&here) == json!(["a", "b"]) && names(&there) == json!(["c"]);
        (told && here["voter_config_led"].is_null()).then_some(())
    });
}

#[test]
fn a_change_that_cannot_be_made_is_refused_by_the_plan() {
    let Some(site) = Site::new() else { return };
    let old = site.file("old.yaml", &HOSTS[..3], 1);
    let new = site.file("new.yaml", &["a", "b", "d", "e"], 2);
    let plan = site.plan(&old, &new, false);
    let said = String::from_utf8_lossy(&plan.stderr);
    assert_eq!(plan.status.code(), Some(64), "{said}");
    assert!(said.contains("needs voters_version 4"), "{said}");
    let new = site.file("new.yaml", &["a", "b", "d"], 3);
    let plan = site.plan(&old, &new, false);
    let said = String::from_utf8_lossy(&plan.stdout);
    assert!(plan.status.success() && said.contains("Version 3: c leaves. 3 voters"), "{said}");
}
