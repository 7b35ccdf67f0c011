//! Addresses of Tailscale with real processes: names that only it knows, and addresses that come after the start.
//!
//! The program `tailscale` is played by a script, first in the path, that prints what is in a file. The text has the
//! documented form; it is not recorded.

use crate::support::NAMES;
use crate::support::cluster::{Timing, on_loopback};
use crate::support::http::Client;
use crate::support::net::Net;
use crate::support::process::{Process, program};
use crate::support::wait_for;
use core::fmt::Write as _;
use core::time::Duration;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use tempfile::TempDir;

/// Long enough that a busy machine costs no leader its lease.
const TIMING: Timing = Timing { heartbeat_ms: 100, lease_ms: 1_000 };

const DOMAIN: &str = "tailnet-example.ts.net";

/// A machine as `tailscale status --json` has it.
fn machine(name: &str, addresses: &[String]) -> Value {
    json!({
        "HostName": "localhost",
        "DNSName": format!("{name}.{DOMAIN}."),
        "TailscaleIPs": addresses,
        "Online": true,
    })
}

/// What `tailscale status --json` says on a machine of these addresses, which knows these others.
fn status(state: &str, own: &[String], others: &[(&str, Vec<String>)]) -> String {
    let others = others.iter().map(|(name, all)| (format!("nodekey:{name}"), machine(name, all)));
    let others: serde_json::Map<String, Value> = others.collect();
    let said = json!({
        "TUN": true,
        "BackendState": state,
        "TailscaleIPs": own,
        "Self": machine("this", own),
        "Health": [],
        "MagicDNSSuffix": DOMAIN,
        "Peer": others,
    });
    said.to_string()
}

/// A folder with a program `tailscale`, which runs this script in it.
fn fake(dir: &Path, script: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let path = dir.join("tailscale");
    fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{script}\n", dir.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    dir.to_owned()
}

/// Lets a command find that folder first.
fn finds(command: &mut Command, dir: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", dir.display()));
}

#[test]
fn voters_whose_names_only_tailscale_knows_find_each_other_by_both_families() {
    let Some(mut cluster) = on_loopback(TIMING) else { return };
    let v4 = |n: usize| format!("100.64.0.{n}");
    let v6 = |n: usize| format!("fd7a:115c:a1e0::{n}");
    for n in 1..=NAMES.len() {
        cluster.net(0).ip(&format!("address add {}/32 dev lo", v4(n)));
        cluster.net(0).ip(&format!("address add {}/128 dev lo nodad", v6(n)));
    }
    // Everybody has both; they bind the second, and must leave the first aside.
    let mut text = fs::read_to_string(&cluster.config).unwrap();
    text.truncate(text.find("hosts:").unwrap());
    text.push_str("hosts:\n");
    for (n, name) in (1..).zip(NAMES) {
        let full = if n % 2 == 0 { format!("vpn-{n}.{DOMAIN}") } else { format!("vpn-{n}") };
        let http = format!("http: {{bind: {}}}", cluster.address(n - 1));
        writeln!(text, "  {name}: {{address: {full}, bind: '{}', {http}}}", v6(n)).unwrap();
    }
    fs::write(&cluster.config, text).unwrap();
    let names: Vec<_> = (1..=NAMES.len()).map(|n| format!("vpn-{n}")).collect();
    let all: Vec<_> =
        names.iter().zip(1..).map(|(it, n)| (it.as_str(), vec![v4(n), v6(n)])).collect();
    let script = "mkdir busy || touch together\nsleep 0.2\nrmdir busy\ncat status.json";
    for node in 0..NAMES.len() {
        let dir = fake(&cluster.dir.path().join(format!("bin-{node}")), script);
        fs::write(dir.join("status.json"), status("Running", &[], &all)).unwrap();
        let mut command = cluster.command(node);
        finds(&mut command, &dir);
        cluster.start_as(node, command);
    }
    cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    cluster.wait_settled();
    let address = cluster.status(0).0["voters"][NAMES[1]]["address"].clone();
    assert_eq!(address.as_str(), Some("[fd7a:115c:a1e0::2]:8770"), "the family that it speaks");
    for node in 0..NAMES.len() {
        let together = cluster.dir.path().join(format!("bin-{node}/together"));
        assert!(!together.exists(), "one program at a time");
    }
}

/// One node alone in a namespace, whose entry in the file is this.
struct Alone {
    net: Net,
    dir: TempDir,
    entry: String,
}

impl Alone {
    fn new(entry: &str) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("ringrift-").tempdir().unwrap();
        Some(Self { net: Net::new(&[])?, dir, entry: entry.to_owned() })
    }

    /// Starts it; a program `tailscale` runs this script.
    fn start(&self, script: &str, more: &[&str]) -> Process {
        let config = self.dir.path().join("distributed_hosts.yaml");
        let timing = "election: {heartbeat_interval: 100ms, lease: 1s}";
        let entry = &self.entry;
        fs::write(&config, format!("voters: [a]\n{timing}\nhosts:\n  a: {{{entry}}}\n")).unwrap();
        let mut command = program(&self.net);
        finds(&mut command, &fake(&self.bin(), script));
        command.args(["run", "--promise-in-data-dir", "--config"]).arg(config);
        command.arg("--data-dir").arg(self.dir.path().join("data")).args(more);
        Process::start(command, self.dir.path(), "a")
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// Whether something listens for HTTP there.
    fn answers(&self, address: &str) -> bool {
        let http: SocketAddr = format!("{address}:8770").parse().unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        let ask =
            || Client::connect(http).ok()?.request("GET", "/leader", || Instant::now() > end).ok();
        self.net.within(ask).is_some_and(|answer| answer.status == 200)
    }
}

fn waits(node: &Process) {
    wait_for("a node that waits", || node.log().contains("waiting for the address").then_some(()));
}

#[test]
fn a_node_that_is_there_before_tailscale_waits_for_its_address_and_binds_nothing_else() {
    // It does not even know who it is before.
    let Some(alone) = Alone::new("tailscale_ip: 100.64.0.1, bind: tailscale") else { return };
    let node = alone.start("exit 1", &[]);
    waits(&node);
    assert!(!alone.answers("127.0.0.1"));
    alone.net.ip("address add 100.64.0.1/32 dev lo");
    wait_for("a leader", || alone.answers("100.64.0.1").then_some(()));
    assert!(!alone.answers("127.0.0.1"), "{}", node.log());
    assert!(node.log().contains("the address of this node is there"), "{}", node.log());
}

#[test]
fn an_address_that_only_the_program_knows_is_waited_for_and_bound() {
    let Some(alone) = Alone::new("address: a.example, bind: tailscale") else { return };
    let own = [String::from("100.64.0.7"), String::from("fd7a:115c:a1e0::7")];
    let file = alone.bin().join("status.json");
    fs::create_dir_all(alone.bin()).unwrap();
    fs::write(&file, status("Stopped", &own, &[])).unwrap();
    let node = alone.start("cat status.json", &["--node", "a"]);
    waits(&node);
    assert!(node.log().contains("run `tailscale up`"), "{}", node.log());
    fs::write(&file, status("Running", &own, &[])).unwrap();
    alone.net.ip("address add 100.64.0.7/32 dev lo");
    wait_for("a leader", || alone.answers("100.64.0.7").then_some(()));
    assert!(!alone.answers("127.0.0.1"), "{}", node.log());
}

#[test]
fn an_address_that_does_not_come_ends_the_start_with_69_and_what_to_do() {
    for (entry, words) in [
        ("address: 10.9.9.9, bind: 10.9.9.9", "10.9.9.9, which `bind: 10.9.9.9` names; correct it"),
        ("address: 10.9.9.9, bind: 10.9.9.9, bind_wait: 1", "after 1 s; correct it"),
        (
            "tailscale_ip: 100.64.0.1, bind: tailscale, bind_wait: 1",
            "Tailscale gives it 100.64.0.7",
        ),
        (
            "address: a.example, bind: tailscale, bind_wait: 1",
            "100.64.0.7, which `bind: tailscale`",
        ),
    ] {
        let Some(alone) = Alone::new(entry) else { return };
        fs::create_dir_all(alone.bin()).unwrap();
        let own = [String::from("100.64.0.7")];
        fs::write(alone.bin().join("status.json"), status("Running", &own, &[])).unwrap();
        let mut node = alone.start("cat status.json", &["--node", "a"]);
        let code = node.ended().code();
        assert_eq!(code, Some(69), "{entry}: {}", node.log());
        assert!(node.log().contains(words), "{entry}: {}", node.log());
        let waited = entry.contains("bind_wait");
        assert_eq!(node.log().contains("waiting for the address"), waited, "{}", node.log());
    }
}

#[test]
fn a_node_that_waits_for_its_address_can_be_stopped() {
    let Some(alone) = Alone::new("tailscale_ip: 100.64.0.1, bind: tailscale") else { return };
    for more in [&[][..], &["--guardian"]] {
        let mut node = alone.start("exit 1", more);
        waits(&node);
        node.signal(Signal::TERM);
        let end = node.ends_within(Duration::from_secs(10));
        assert!(end.is_some(), "{more:?}: {}", node.log());
        fs::remove_file(alone.dir.path().join("a.log")).unwrap();
    }
}

#[test]
fn a_program_that_hangs_keeps_no_node_from_leading() {
    let Some(alone) = Alone::new("address: a.example, bind: 127.0.0.1") else { return };
    let node = alone.start("exec sleep 1000", &["--node", "a"]);
    wait_for("a leader", || alone.answers("127.0.0.1").then_some(()));
    drop(node);
}
