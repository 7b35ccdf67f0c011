//! The processes of the membership bench: a cluster in one network namespace.

use core::fmt::Write as _;
use core::time::Duration;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

use super::support::http::Client;
use super::support::net::{Net, feed};

pub const PORT: u16 = 8770;
const VOTERS: usize = 5;
/// Of UDP and of IPv4, on each datagram.
const HEADERS: f64 = 28.0;
const LONGEST: Duration = Duration::from_secs(180);
/// The kinds of datagrams that are membership's.
const KINDS: [&str; 8] =
    ["ping", "ack", "ping_req", "nack", "relayed_ack", "gossip", "pull", "hearing"];

/// What idle nodes cost, one value for each.
pub struct Idle {
    pub bytes: Vec<f64>,
    pub all_bytes: Vec<f64>,
    pub cpu: Vec<f64>,
    pub resident: Vec<f64>,
}

pub struct Herd {
    dir: TempDir,
    net: Net,
    nodes: Vec<Option<Child>>,
    clients: Vec<Option<Client>>,
}

impl Herd {
    pub fn start(size: usize) -> Option<Self> {
        let net = Net::new(&[])?;
        let keeps = std::env::var_os("BENCH_KEEP").is_some();
        let dir = tempfile::Builder::new()
            .prefix("bench-")
            .disable_cleanup(keeps)
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("target/ is ours");
        if keeps {
            println!("the nodes' logs stay in {}", dir.path().display());
        }
        let nodes = (0..size).map(|_| None).collect();
        let clients = (0..size).map(|_| None).collect();
        let mut herd = Self { dir, net, nodes, clients };
        fs::write(herd.dir.path().join("config.yaml"), herd.yaml()).expect("a file");
        herd.net.enter();
        for node in 0..size {
            herd.spawn(node);
        }
        herd.wait_settled();
        Some(herd)
    }

    fn yaml(&self) -> String {
        let mut text = String::from("cluster: bench\nvoters:\n");
        for node in 0..VOTERS {
            let _infallible = writeln!(text, "  - {}", name(node));
        }
        text.push_str("election:\n  heartbeat_interval: 15\n  lease: 60\n  takeover_after: 3600\n");
        text.push_str("membership:\n  probe_interval: 1\nhosts:\n");
        for node in 0..self.nodes.len() {
            let _infallible =
                writeln!(text, "  {}:\n    address: {}", name(node), self.address(node));
        }
        text
    }

    pub fn address(&self, node: usize) -> Ipv4Addr {
        let [high, low] = (node as u16 + 1).to_be_bytes();
        Ipv4Addr::new(127, 0, high, low)
    }

    pub fn spawn(&mut self, node: usize) {
        let path = |name: &str| self.dir.path().join(name);
        let log = File::options().create(true).append(true).open(path(&format!("{node}.log")));
        let mut command = Command::new(super::program());
        command.args(["run", "--promise-in-data-dir", "--node", &name(node), "--config"]);
        command.arg(path("config.yaml")).arg("--data-dir").arg(path(&name(node)));
        command.arg("--die-with-parent").arg(std::process::id().to_string());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RINGRIFT_") {
                command.env_remove(name);
            }
        }
        let log = log.expect("a file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.nodes[node] = Some(child.expect("the program starts"));
    }

    /// New processes: the returns of the earlier ones do not count against them.
    pub fn renew(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.kill(node));
        (0..self.nodes.len()).for_each(|node| self.spawn(node));
        self.wait_settled();
    }

    fn pid(&self, node: usize) -> Pid {
        Pid::from_child(self.nodes[node].as_ref().expect("it runs"))
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        kill_process(self.pid(node), signal).expect("a child may be signalled");
    }

    pub fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node].take().expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("a child can be killed");
        self.clients[node] = None;
    }

    /// Replaces the rules of the receiving side.
    pub fn rules(&self, rules: &str) {
        let text = format!(
            "table inet bench\nflush table inet bench\ntable inet bench {{ chain in {{ \
             type filter hook input priority 0; policy accept;\n{rules}\n}}\n}}\n"
        );
        feed("ip", &["netns", "exec", self.net.name(), "nft", "-f", "-"], &text);
    }

    /// Cuts these from the others, in both directions.
    pub fn cut(&self, side: &[usize]) {
        let list = |nodes: &mut dyn Iterator<Item = usize>| {
            let texts: Vec<String> = nodes.map(|node| self.address(node).to_string()).collect();
            texts.join(", ")
        };
        let one = list(&mut side.iter().copied());
        let other = list(&mut (0..self.nodes.len()).filter(|node| !side.contains(node)));
        let rule = |from: &str, to: &str| {
            format!("ip saddr {{ {from} }} ip daddr {{ {to} }} udp dport {PORT} drop\n")
        };
        self.rules(&(rule(&one, &other) + &rule(&other, &one)));
    }

    fn ask(&mut self, node: usize, path: &str) -> Option<String> {
        // A connection that was idle for long has been closed: a second try is on a new one.
        self.try_ask(node, path).or_else(|| self.try_ask(node, path))
    }

    fn try_ask(&mut self, node: usize, path: &str) -> Option<String> {
        let host = SocketAddr::new(IpAddr::V4(self.address(node)), PORT);
        if self.clients[node].is_none() {
            self.clients[node] = Client::connect(host).ok();
        }
        let began = Instant::now();
        let patient = || began.elapsed() > Duration::from_millis(200);
        let answer = self.clients[node].as_mut()?.request("GET", path, patient);
        if answer.is_err() {
            self.clients[node] = None;
        }
        answer.ok().map(|answer| answer.body)
    }

    /// The states that a node gives the others, by name.
    fn states(&mut self, node: usize) -> Option<BTreeMap<String, String>> {
        let body: Value = serde_json::from_str(&self.ask(node, "/members")?).ok()?;
        let members = body["members"].as_array()?.iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(members.map(|m| (text(&m["node_id"]), text(&m["state"]))).collect())
    }

    /// Seconds until every other node has declared `of` dead, counted from `began`, by the times in their logs: to ask
    /// hundreds of nodes for hundreds of members each would take the processors from them.
    pub fn until_all_bury(&self, of: usize, began: Timestamp) -> Option<f64> {
        let waited = Instant::now();
        let mut left: Vec<usize> = (0..self.nodes.len()).filter(|&node| node != of).collect();
        let mut last = began;
        while !left.is_empty() && waited.elapsed() < LONGEST {
            thread::sleep(Duration::from_millis(100));
            left.retain(|&node| match self.buried(node, of, began) {
                Some(at) => {
                    last = last.max(at);
                    false
                }
                None => true,
            });
        }
        left.is_empty().then(|| last.duration_since(began).as_secs_f64())
    }

    /// When `node` first declared `of` dead after `began`.
    fn buried(&self, node: usize, of: usize, began: Timestamp) -> Option<Timestamp> {
        let log = self.log(node);
        let tag = tag(of);
        let lines = log.lines().rev().take_while(|line| at(line).is_none_or(|at| at >= began));
        let died = lines.filter(|line| line.contains("member died") && line.contains(&tag));
        died.filter_map(at).last()
    }

    /// Seconds until every node gives every other the state alive.
    pub fn until_settled(&mut self) -> Option<f64> {
        let began = Instant::now();
        let size = self.nodes.len();
        while began.elapsed() < LONGEST {
            let all = (0..size).all(|node| {
                let states = self.states(node);
                states.is_some_and(|s| s.len() == size && s.values().all(|state| state == "alive"))
            });
            if all {
                return Some(began.elapsed().as_secs_f64());
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn wait_settled(&mut self) {
        let settled = self.until_settled();
        assert!(settled.is_some(), "not all see all alive after {LONGEST:?}");
        // The rumours die away.
        thread::sleep(Duration::from_secs(2));
    }

    /// What a node has logged, of all its processes.
    fn log(&self, node: usize) -> String {
        fs::read_to_string(self.dir.path().join(format!("{node}.log"))).unwrap_or_default()
    }

    fn log_lines(&self, wanted: &str) -> f64 {
        let count =
            |node: usize| self.log(node).lines().filter(|line| line.contains(wanted)).count();
        (0..self.nodes.len()).map(count).sum::<usize>() as f64
    }

    /// How often the nodes have said that another was suspected, or dead.
    pub fn disturbed(&self, except: usize) -> f64 {
        let count = |node: usize| {
            let said = |line: &&str| {
                (line.contains("member died") || line.contains("member suspected"))
                    && !line.contains(&tag(except))
            };
            self.log(node).lines().filter(said).count()
        };
        (0..self.nodes.len()).filter(|&node| node != except).map(count).sum::<usize>() as f64
    }

    /// How often the nodes' own loops were late by more than a tenth of a second: what such a machine
    /// shows is not the protocol's doing.
    pub fn late(&mut self) -> f64 {
        let mut late = 0.0;
        for node in 0..self.nodes.len() {
            let text = self.ask(node, "/metrics").unwrap_or_default();
            let value = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
            };
            late += value("ringrift_p2p_loop_delay_seconds_count ")
                - value("ringrift_p2p_loop_delay_seconds_bucket{le=\"0.1\"} ");
        }
        late
    }

    /// Deaths that the nodes have declared.
    pub fn deaths(&self) -> f64 {
        self.log_lines("member died")
    }

    pub fn deaths_of(&self, of: usize) -> f64 {
        let count = |node: usize| {
            let died = |line: &&str| line.contains("member died") && line.contains(&tag(of));
            self.log(node).lines().filter(died).count()
        };
        (0..self.nodes.len()).map(count).sum::<usize>() as f64
    }

    pub fn idle(&mut self, length: Duration) -> Idle {
        // The rumours of the start have been carried as often as they are.
        thread::sleep(Duration::from_secs(60));
        let size = self.nodes.len();
        let before: Vec<_> =
            (0..size).map(|node| (Instant::now(), self.sent(node), self.cpu(node))).collect();
        thread::sleep(length);
        let mut idle = Idle {
            bytes: Vec::new(),
            all_bytes: Vec::new(),
            cpu: Vec::new(),
            resident: Vec::new(),
        };
        let cpus: Vec<(Instant, f64)> =
            (0..size).map(|node| (Instant::now(), self.cpu(node))).collect();
        for (node, (at, sent, cpu)) in before.into_iter().enumerate() {
            let now = Instant::now();
            let after = self.sent(node);
            let passed = now.duration_since(at).as_secs_f64();
            idle.bytes.push((after.0 - sent.0) / passed);
            idle.all_bytes.push((after.1 - sent.1) / passed);
            let ran = cpus[node].0.duration_since(at).as_secs_f64();
            idle.cpu.push((cpus[node].1 - cpu) / ran * 60.0);
            idle.resident.push(self.resident(node));
        }
        idle
    }

    /// Bytes with headers that membership has sent, and all.
    fn sent(&mut self, node: usize) -> (f64, f64) {
        let text = (0..50).find_map(|_| self.ask(node, "/metrics"));
        let text = text.expect("an answer of /metrics");
        let (mut ours, mut all) = (0.0, 0.0);
        for line in text.lines() {
            let Some((key, value)) = line.rsplit_once(' ') else { continue };
            let value: f64 = value.parse().unwrap_or(0.0);
            let weight = if key.starts_with("ringrift_p2p_sent_bytes_total") {
                1.0
            } else if key.starts_with("ringrift_p2p_datagrams_sent_total") {
                HEADERS
            } else {
                continue;
            };
            all += value * weight;
            if KINDS.iter().any(|kind| key.contains(&format!("\"{kind}\""))) {
                ours += value * weight;
            }
        }
        (ours, all)
    }

    fn cpu(&self, node: usize) -> f64 {
        let tasks = format!("/proc/{}/task", self.pid(node).as_raw_nonzero());
        let tasks = fs::read_dir(tasks).expect("the node runs").filter_map(Result::ok);
        let ran = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        ran.sum::<f64>() / 1e9
    }

    fn resident(&self, node: usize) -> f64 {
        let status = format!("/proc/{}/status", self.pid(node).as_raw_nonzero());
        let status = fs::read_to_string(status).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            // It may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
        }
    }
}

fn name(node: usize) -> String {
    format!("member-{node:03}")
}

/// How the log names the member that something happened to.
fn tag(node: usize) -> String {
    format!("member=\"{}\"", name(node))
}

/// The time at the beginning of a line of the log.
fn at(line: &str) -> Option<Timestamp> {
    line.split(' ').next()?.parse().ok()
}
