//! The voters of one test: their configuration, their processes, and what they say.
//!
//! A node is named by its index in [`NAMES`], so 0 is the best voter and 4 the last.

use core::fmt::Write as _;
use core::time::Duration;
use ringrift_p2p::config::{Surroundings, promise_file};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

use super::http::{Answer, Client};
use super::net::Net;
use super::process::{Process, program};
use super::watch::Watch;
use super::{NAMES, PATIENCE, wait_for, within};

/// Both ports of every node.
pub const PORT: u16 = 8770;

/// How long a node has for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The timings of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// h, in milliseconds.
    pub heartbeat_ms: u64,
    /// L, in milliseconds.
    pub lease_ms: u64,
}

impl Timing {
    /// Those of `config/loopback.yaml`.
    pub const SHORT: Self = Self { heartbeat_ms: 100, lease_ms: 400 };

    /// L.
    pub const fn lease(self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// Where a node runs.
#[derive(Clone)]
pub struct Host {
    /// The namespace.
    pub net: Arc<Net>,
    /// Its address in the configuration.
    pub address: Ipv4Addr,
    /// Where its HTTP server answers inside the namespace.
    pub http: SocketAddr,
}

/// What a node says of itself and of the leader.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

impl Status {
    /// A text of `/status`; `None` for null.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }

    /// A whole number of `/status`.
    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_else(|| panic!("{key} is no number in {}", self.0))
    }
}

/// The voters; dropped, their processes are killed, and after a panic their logs are shown.
pub struct Cluster {
    /// Where configuration, stores and logs are.
    pub dir: TempDir,
    /// The configuration file.
    pub config: PathBuf,
    hosts: Vec<Host>,
    nodes: Vec<Option<Process>>,
}

/// Five voters on loopback addresses of one namespace, with the runbook's names in its hosts file;
/// `None` as of [`Net::new`].
pub fn on_loopback(timing: Timing) -> Option<Cluster> {
    let addresses = NAMES.map(loopback_address);
    let lines: Vec<_> = addresses.iter().map(ToString::to_string).zip(NAMES).collect();
    let net = Arc::new(Net::new(&lines)?);
    let host = |address| {
        let http = SocketAddr::new(IpAddr::V4(address), PORT);
        Host { net: Arc::clone(&net), address, http }
    };
    Some(Cluster::new(timing, addresses.map(host).to_vec()))
}

/// The address of a voter in `config/loopback.yaml`.
fn loopback_address(name: &str) -> Ipv4Addr {
    let all = include_str!("../../config/loopback.yaml");
    let after = all.split_once(&format!("\n  {name}:\n    address: ")).expect("a host").1;
    after.lines().next().and_then(|address| address.parse().ok()).expect("an address")
}

impl Cluster {
    /// Voters on these hosts, none of them started: the first so many of [`NAMES`].
    pub fn new(timing: Timing, hosts: Vec<Host>) -> Self {
        let dir = tempfile::Builder::new().prefix("ringrift-").tempdir().expect("a folder");
        let folder = dir.path().join("config");
        std::fs::create_dir(&folder).expect("a folder");
        let config = folder.join("distributed_hosts.yaml");
        std::fs::write(&config, yaml(timing, &hosts, dir.path())).expect("a file");
        let nodes = hosts.iter().map(|_| None).collect();
        Self { dir, config, hosts, nodes }
    }

    /// How many voters there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The namespace of `node`.
    pub fn net(&self, node: usize) -> &Arc<Net> {
        &self.hosts[node].net
    }

    /// The address of `node` in the configuration.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        self.hosts[node].address
    }

    /// Where `node` answers HTTP.
    pub fn http(&self, node: usize) -> SocketAddr {
        self.hosts[node].http
    }

    /// The folder of the vote store of `node`.
    pub fn store(&self, node: usize) -> PathBuf {
        self.dir.path().join("data").join(NAMES[node])
    }

    /// The command that runs `node`; it finds the configuration in its working folder.
    pub fn command(&self, node: usize) -> std::process::Command {
        let mut command = program(self.net(node));
        command.args(["run", "--node", NAMES[node]]).current_dir(self.dir.path());
        command
    }

    /// Starts `node`.
    pub fn start(&mut self, node: usize) {
        let process = Process::start(self.command(node), self.dir.path(), NAMES[node]);
        self.nodes[node] = Some(process);
    }

    /// The command that runs `node` under a guardian.
    pub fn guarded_command(&self, node: usize) -> std::process::Command {
        let mut command = self.command(node);
        command.arg("--guardian");
        command
    }

    /// Starts `node` with this command.
    pub fn start_as(&mut self, node: usize, command: std::process::Command) {
        let process = Process::start(command, self.dir.path(), NAMES[node]);
        self.nodes[node] = Some(process);
    }

    /// Sends the node's own process, which a guardian watches, a signal.
    #[track_caller]
    pub fn signal_node(&self, node: usize, signal: Signal) {
        let pid = i32::try_from(self.status(node).number("pid")).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it runs");
    }

    /// Starts every node.
    pub fn start_all(&mut self) {
        (0..self.len()).for_each(|node| self.start(node));
    }

    /// The process of a node that was started.
    #[track_caller]
    pub fn process(&mut self, node: usize) -> &mut Process {
        self.nodes[node].as_mut().expect("the node was started")
    }

    /// Kills `node` as `kill -9` does.
    pub fn kill(&mut self, node: usize) {
        self.process(node).kill();
        self.nodes[node] = None;
    }

    /// Sends `node` a signal.
    pub fn signal(&mut self, node: usize, signal: Signal) {
        self.process(node).signal(signal);
    }

    /// Waits until `node` has ended by itself, and returns its exit code.
    #[track_caller]
    pub fn ended(&mut self, node: usize) -> Option<i32> {
        let code = self.process(node).ended().code();
        self.nodes[node] = None;
        code
    }

    /// The nodes that were started and neither killed nor ended.
    pub fn running(&self) -> Vec<usize> {
        (0..self.len()).filter(|&node| self.nodes[node].is_some()).collect()
    }

    /// One request to `node`; `None` if there is no answer.
    pub fn ask(&self, node: usize, method: &str, path: &str) -> Option<Answer> {
        self.ask_with(node, method, path, "")
    }

    /// The same with more header lines, each with its end.
    pub fn ask_with(&self, node: usize, method: &str, path: &str, more: &str) -> Option<Answer> {
        let Host { net, http, .. } = &self.hosts[node];
        let end = Instant::now() + ANSWER;
        net.within(|| {
            let mut client = Client::connect(*http).ok()?;
            client.request_with(method, path, more, || Instant::now() > end).ok()
        })
    }

    /// The command that runs this program beside `node`, with the commonest option of a command that asks it.
    pub fn asking(&self, node: usize, words: &[&str]) -> std::process::Command {
        let mut command = program(self.net(node));
        command.args(words).args(["--url", &format!("http://{}", self.http(node))]);
        command
    }

    /// The `/status` of `node`, if it answers.
    pub fn try_status(&self, node: usize) -> Option<Status> {
        let answer = self.ask(node, "GET", "/status")?;
        serde_json::from_str(&answer.body).ok().map(Status)
    }

    /// The `/status` of `node`.
    #[track_caller]
    pub fn status(&self, node: usize) -> Status {
        wait_for("an answer of /status", || self.try_status(node))
    }

    /// The sum of all samples of a metric at `node`.
    #[track_caller]
    pub fn metric(&self, node: usize, name: &str) -> f64 {
        let text = self.ask(node, "GET", "/metrics").expect("an answer of /metrics").body;
        let samples = text.lines().filter(|line| line.starts_with(name));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// How often the loop of `node` was late by more than a tenth of a second; 0 if it does not answer.
    pub fn late_loops(&self, node: usize) -> u64 {
        let text = self.ask(node, "GET", "/metrics").map(|answer| answer.body).unwrap_or_default();
        let count = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        let all = count("ringrift_p2p_loop_delay_seconds_count ");
        all - count("ringrift_p2p_loop_delay_seconds_bucket{le=\"0.1\"} ").min(all)
    }

    /// Whom all of `nodes` call leader in one and the same term, the leader included.
    pub fn agreed(&self, nodes: &[usize]) -> Option<(usize, u64)> {
        let said: Vec<_> =
            nodes.iter().map(|&node| self.try_status(node)).collect::<Option<_>>()?;
        let first = said.first()?;
        let leader = NAMES.iter().position(|name| first.text("leader_id") == Some(name))?;
        let term = first.number("term");
        let of_one_mind = said.iter().all(|it| {
            let leads = it.text("node_id") == first.text("leader_id");
            it.text("leader_id") == first.text("leader_id")
                && it.number("term") == term
                && it.0["is_leader"] == leads
                && it.text("no_leader_reason").is_none()
        });
        let leads = nodes.contains(&leader) && self.ask(leader, "GET", "/leader")?.status == 200;
        (of_one_mind && leads).then_some((leader, term))
    }

    /// Waits until all of `nodes` agree on a leader, and returns it with its term.
    #[track_caller]
    pub fn wait_agreed(&self, nodes: &[usize]) -> (usize, u64) {
        match within(PATIENCE, || self.agreed(nodes)) {
            Some(agreed) => agreed,
            None => panic!("{nodes:?} agree on no leader:\n{}", self.views()),
        }
    }

    /// Has the lead moved to `node`, as often as that is refused: a voter may not be ready yet on a busy machine.
    #[track_caller]
    pub fn make_lead(&self, node: usize) {
        wait_for("the lead where it is wanted", || {
            let (leader, _) = self.agreed(&self.running())?;
            if leader != node {
                let _again = self.asking(leader, &["transfer", "--to", NAMES[node]]).output();
            }
            (leader == node).then_some(())
        });
    }

    /// Waits until every one of `nodes` knows of no leader and says why; returns the reasons.
    #[track_caller]
    pub fn wait_leaderless(&self, nodes: &[usize]) -> Vec<String> {
        let reason = |&node: &usize| {
            let status = self.try_status(node)?;
            let reason = status.text("no_leader_reason").filter(|reason| !reason.is_empty());
            reason.filter(|_| status.text("leader_id").is_none()).map(ToOwned::to_owned)
        };
        let reasons = within(PATIENCE, || nodes.iter().map(reason).collect());
        reasons.unwrap_or_else(|| panic!("{nodes:?} have a leader or no reason:\n{}", self.views()))
    }

    /// Waits until every running node sees exactly the running ones alive.
    #[track_caller]
    pub fn wait_settled(&self) {
        let running = self.running();
        let settled = || {
            let seen = |&node: &usize| {
                let status = self.try_status(node)?;
                let alive = |&(other, name): &(usize, &str)| {
                    status.0["voters"][name]["alive"] == running.contains(&other)
                };
                let all = NAMES.iter().copied().enumerate().take(self.len());
                (all.filter(alive).count() == self.len()
                    && status.number("alive_peers") as usize + 1 == running.len()
                    && status.number("suspect_peers") == 0)
                    .then_some(())
            };
            running.iter().map(seen).collect::<Option<()>>()
        };
        if within(PATIENCE, settled).is_none() {
            panic!("{running:?} do not see each other:\n{}", self.views());
        }
    }

    /// A watch over all hosts.
    pub fn watch(&self) -> Watch {
        Watch::start(self.hosts.iter().map(|host| (Arc::clone(&host.net), host.http)))
    }

    /// What every node says now, for a message of failure.
    pub fn views(&self) -> String {
        let keys = ["leader_id", "term", "role", "alive_peers", "no_leader_reason"];
        let mut text = String::new();
        for (node, name) in NAMES.iter().enumerate().take(self.len()) {
            let said = self
                .try_status(node)
                .map(|status| keys.map(|key| format!("{key} {}", status.0[key])).join(", "));
            let said = said.as_deref().unwrap_or("no answer");
            let late = self.late_loops(node);
            let _infallible = writeln!(text, "{node} {name}: {said}, loop late {late} times");
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        let around = Surroundings::of_process();
        for (node, name) in NAMES.iter().enumerate().take(self.len()) {
            if thread::panicking() {
                show_log(&self.dir.path().join(format!("{name}.log")));
            }
            let id = name.parse().expect("a name");
            let _gone = std::fs::remove_file(promise_file(&self.store(node), id, &around));
        }
    }
}

/// The last lines of a log.
fn show_log(path: &Path) {
    let Ok(log) = std::fs::read_to_string(path) else { return };
    let lines: Vec<_> = log.lines().collect();
    eprintln!("-- {}", path.display());
    lines[lines.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("{line}"));
}

/// The configuration, with the keys and the order of the runbook's.
fn yaml(timing: Timing, hosts: &[Host], dir: &Path) -> String {
    let mut listed: Vec<usize> = (0..hosts.len()).collect();
    listed.sort_by_key(|&node| hosts[node].address);
    let Timing { heartbeat_ms, lease_ms } = timing;
    let mut text = format!("cluster: test\ndata_dir: {}\nvoters:\n", dir.join("data").display());
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for &node in &listed {
        add(format!("  - {}", NAMES[node]));
    }
    add(format!("election:\n  heartbeat_interval: {heartbeat_ms}ms\n  lease: {lease_ms}ms"));
    add(format!("  peer_timeout: {}ms", lease_ms.max(2_000)));
    add(format!("  election_timeout: {}ms", lease_ms.clamp(500, 30_000)));
    // A slow test is no takeover's time.
    add(String::from("  takeover_after: 3600"));
    add(String::from("hosts:"));
    for &node in &listed {
        add(format!("  {}:\n    tailscale_ip: {}", NAMES[node], hosts[node].address));
        add(format!("    priority: {}", node + 1));
        if node < 3 {
            add(String::from("    gpu: yes, one"));
        }
    }
    text
}
