//! Disks that are full, read-only, taken away, slow, failing or hanging under real processes, and vote stores that are
//! not what they should be.
//!
//! What is claimed of all of them: the protocol's loop goes on, the lead is where a disk works or where it was,
//! nobody leads twice, and the node says what is wrong and what to do. File systems are mounted in namespaces of the
//! test's own; disks that fail or hang are real ones, whose system calls are tampered with by strace.

mod files;
mod mounted;
mod mounts;
mod removed;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod tampered;
mod tracer;

use serde_json::Value;
use support::cluster::{Cluster, Timing, on_loopback};
use support::{NAMES, wait_for};

/// Every node.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// A lease that a busy machine does not outlast: what moves the lead here is the disk.
const STEADY: Timing = Timing { heartbeat_ms: 250, lease_ms: 2_500 };

/// Five voters, none of them started.
fn five() -> Option<Cluster> {
    five_with(STEADY)
}

/// The same with other timings; `None` where a tool is missing.
fn five_with(timing: Timing) -> Option<Cluster> {
    let missing: Vec<_> = TOOLS.into_iter().filter(|tool| !has(tool)).collect();
    if !missing.is_empty() {
        let lack = format!("this test needs {}", missing.join(", "));
        assert!(std::env::var_os("CI").is_none(), "{lack}");
        eprintln!("not run: {lack}");
        return None;
    }
    on_loopback(timing)
}

/// What these tests call, beside what all tests of the daemon do.
const TOOLS: [&str; 5] = ["strace", "mkfs.ext4", "findmnt", "unshare", "nsenter"];

/// Whether there is a program of that name.
fn has(tool: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(tool).exists())
}

/// What `node` says of its vote store.
fn store_of(cluster: &Cluster, node: usize) -> Value {
    cluster.status(node).0["vote_store"].clone()
}

/// Waits until `node` says that its vote store fails, and returns why.
#[track_caller]
fn wait_failed(cluster: &Cluster, node: usize) -> String {
    wait_for("a vote store that fails", || {
        let store = store_of(cluster, node);
        (store["works"] == false).then(|| store["problem"].as_str().unwrap_or_default().to_owned())
    })
}

/// Waits until the vote store of `node` works.
#[track_caller]
fn wait_works(cluster: &Cluster, node: usize) {
    wait_for("a vote store that works", || {
        let store = store_of(cluster, node);
        (store["works"] == true && store["problem"].is_null()).then_some(())
    });
    assert!(cluster.metric(node, "ringrift_p2p_store_works") > 0.5);
}

/// Waits until another than `node` leads, as all say.
#[track_caller]
fn wait_moved(cluster: &Cluster, node: usize) -> usize {
    wait_for("another leader", || {
        cluster.agreed(&cluster.running()).map(|(leader, _)| leader).filter(|&now| now != node)
    })
}

/// What a node has logged.
fn log_of(cluster: &Cluster, node: usize) -> String {
    let path = cluster.dir.path().join(format!("{}.log", NAMES[node]));
    std::fs::read_to_string(path).expect("a log")
}
