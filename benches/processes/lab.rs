//! The nodes of one bench: hosts, configuration, processes.

use core::fmt::Write as _;
use core::time::Duration;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

use super::support::http::{Answer, Client};
use super::support::net::Net;
use super::support::{NAMES, wait_for};

const PORT: u16 = 8770;

/// The names of nodes: the voters, best first, then an observer.
const ALL: [&str; 6] = [NAMES[0], NAMES[1], NAMES[2], NAMES[3], NAMES[4], "observer"];

/// How many of [`ALL`] are voters.
pub const VOTERS: usize = 5;

/// The timings of a configuration, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// h.
    pub heartbeat_ms: u32,
    /// L.
    pub lease_ms: u32,
    /// Of membership.
    pub probe_ms: u32,
}

impl Timing {
    /// L in seconds.
    pub fn lease(self) -> f64 {
        f64::from(self.lease_ms) / 1e3
    }
}

struct Host {
    net: Option<Arc<Net>>,
    address: Ipv4Addr,
}

/// Hosts and their nodes; dropped, the processes are killed.
pub struct Lab {
    dir: TempDir,
    hosts: Vec<Host>,
    nodes: Vec<Option<Child>>,
    /// Where the far ends of the hosts' links are.
    hub: Option<Net>,
    /// The namespace that the bench was started in.
    home: Option<File>,
    /// Whether nodes are started under a guardian.
    pub guarded: bool,
}

impl Lab {
    /// Hosts on loopback addresses: the voters, and an observer if asked for.
    pub fn on_loopback(timing: Timing, with_observer: bool) -> Self {
        let net = if geteuid().is_root() { Net::new(&[]).map(Arc::new) } else { None };
        if net.is_none() {
            println!("no namespaces: 127.0.0.1 to 127.0.0.6 of this machine, port {PORT}");
        }
        let host = |last| Host { net: net.clone(), address: Ipv4Addr::new(127, 0, 0, last) };
        let hosts = (1..=if with_observer { 6 } else { 5 }).map(host).collect();
        Self::new(timing, hosts, None)
    }

    /// The voters on hosts of their own, each with one link to a bridge; `None` without root.
    pub fn on_links(timing: Timing) -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let hub = Net::new(&[])?;
        hub.ip("link add hub type bridge");
        hub.ip("link set hub up");
        let mut hosts = Vec::new();
        for last in 1..=5 {
            let net = Net::new(&[])?;
            let name = net.name().to_owned();
            hub.ip(&format!("link add far{last} type veth peer name near netns {name}"));
            hub.ip(&format!("link set far{last} master hub up"));
            net.ip(&format!("address add 10.77.0.{last}/24 dev near"));
            net.ip("link set near up");
            hosts.push(Host { net: Some(Arc::new(net)), address: Ipv4Addr::new(10, 77, 0, last) });
        }
        Some(Self::new(timing, hosts, Some(hub)))
    }

    fn new(timing: Timing, hosts: Vec<Host>, hub: Option<Net>) -> Self {
        // Beside the sources, not in a folder that may lie in memory: stores are to meet a disk.
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let dir = dir.expect("target/ is ours");
        fs::write(dir.path().join("config.yaml"), yaml(timing, &hosts)).expect("a file");
        let nodes = hosts.iter().map(|_| None).collect();
        let entered = hosts.iter().any(|host| host.net.is_some());
        let home = entered.then(|| File::open("/proc/thread-self/ns/net").expect("a namespace"));
        Self { dir, hosts, nodes, hub, home, guarded: false }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// The namespace of `node`; `None` without root.
    pub fn net(&self, node: usize) -> Option<Arc<Net>> {
        self.hosts[node].net.clone()
    }

    /// Moves the calling thread to the host of `node`, for good.
    pub fn enter(&self, node: usize) {
        if let Some(net) = &self.hosts[node].net {
            net.enter();
        }
    }

    /// Starts `node`, which ends with the calling thread.
    pub fn start(&mut self, node: usize) {
        self.enter(node);
        let log = File::create(self.path(&format!("{}.log", ALL[node]))).expect("a file");
        let mut command = Command::new(super::program());
        command.args(["run", "--promise-in-data-dir", "--node", ALL[node], "--config"]);
        command.arg(self.path("config.yaml")).arg("--data-dir").arg(self.path(ALL[node]));
        command.arg("--die-with-parent").arg(std::process::id().to_string());
        if self.guarded {
            command.arg("--guardian");
        }
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RINGRIFT_") && text != "RINGRIFT_LOG" {
                command.env_remove(name);
            }
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.nodes[node] = Some(child.expect("the program starts"));
    }

    /// Starts `node` if it has ended or never was started.
    pub fn start_unless_running(&mut self, node: usize) {
        if self.nodes[node].is_none() {
            self.start(node);
        }
    }

    /// Ends every node that runs, forgets what they keep, and starts them all.
    pub fn start_anew(&mut self) {
        for node in 0..self.len() {
            if self.nodes[node].is_some() {
                self.signal(node, Signal::TERM);
                self.ended(node);
            }
        }
        self.wipe();
        (0..self.len()).for_each(|node| self.start(node));
    }

    /// Changes the configuration of nodes that start from now on.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let path = self.path("config.yaml");
        let text = fs::read_to_string(&path).expect("a file");
        fs::write(path, text.replace(from, to)).expect("a file");
    }

    /// The process id of a node that was started.
    pub fn pid(&self, node: usize) -> Pid {
        let child = self.nodes[node].as_ref().expect("the node was started");
        Pid::from_child(child)
    }

    /// Sends `node` a signal.
    pub fn signal(&self, node: usize, signal: Signal) {
        kill_process(self.pid(node), signal).expect("a child may be signalled");
    }

    /// Waits for the end of `node`.
    pub fn ended(&mut self, node: usize) {
        let child = self.nodes[node].take();
        child.expect("the node was started").wait().expect("a child can be waited for");
    }

    /// Forgets all that the nodes keep; none of them runs.
    pub fn wipe(&self) {
        for name in ALL {
            // It may never have been started.
            let _gone = fs::remove_dir_all(self.path(name));
        }
    }

    /// Plugs the link of `node` in or out, at the far end: it loses its carrier, not its address.
    pub fn link(&self, node: usize, up: bool) {
        let hub = self.hub.as_ref().expect("the hosts have links");
        hub.ip(&format!("link set far{} {}", node + 1, if up { "up" } else { "down" }));
    }

    /// Where `node` answers HTTP.
    pub fn http(&self, node: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.hosts[node].address), PORT)
    }

    /// One request to `node`; `None` if there is no answer.
    pub fn ask(&self, node: usize, path: &str) -> Option<Answer> {
        self.enter(node);
        Client::connect(self.http(node)).ok()?.request("GET", path, || true).ok()
    }

    /// Waits until every node follows one leader and sees all others alive; the leader.
    pub fn wait_settled(&self) -> usize {
        wait_for("a leader that all follow", || {
            let said = |node| {
                let answer = self.ask(node, "/status")?;
                let status: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
                let all = status["alive_peers"] == self.len() - 1 && status["suspect_peers"] == 0;
                let leader = ALL.iter().position(|name| status["leader_id"] == *name);
                leader.filter(|_| all)
            };
            let all: Option<Vec<_>> = (0..self.len()).map(said).collect();
            all.filter(|all| all.iter().all(|&leader| leader == all[0])).map(|all| all[0])
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            // A namespace that ends takes along whoever is in it.
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(home.as_fd(), network).expect("root may return");
        }
        for (node, child) in self.nodes.iter_mut().enumerate() {
            let Some(child) = child else { continue };
            // It may have ended by itself.
            let _gone = child.kill().and_then(|()| child.wait());
            if thread::panicking() {
                let log = fs::read_to_string(self.dir.path().join(format!("{}.log", ALL[node])));
                eprintln!("-- {}\n{}", ALL[node], log.unwrap_or_default());
            }
        }
    }
}

/// Sleeps for a share of `whole` that differs from run to run and covers it evenly.
pub fn sleep_a_share(run: usize, whole: Duration) {
    let steps = u32::try_from(run).unwrap_or(0);
    thread::sleep(whole.mul_f64((f64::from(steps) * 0.618_034).fract()));
}

fn yaml(timing: Timing, hosts: &[Host]) -> String {
    let Timing { heartbeat_ms, lease_ms, probe_ms } = timing;
    let mut text = String::from("cluster: bench\nvoters:\n");
    let mut add = |line: String| {
        let _infallible = writeln!(text, "{line}");
    };
    for name in &ALL[..VOTERS] {
        add(format!("  - {name}"));
    }
    add(format!("election:\n  heartbeat_interval: {heartbeat_ms}ms\n  lease: {lease_ms}ms"));
    // Only faults change the leader here.
    add(String::from("  takeover_after: 3600"));
    add(format!("membership:\n  probe_interval: {probe_ms}ms\nhosts:"));
    for (name, host) in ALL.iter().zip(hosts) {
        add(format!("  {name}:\n    address: {}", host.address));
    }
    text
}
