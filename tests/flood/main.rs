//! What strangers can do to a cluster at the rate of a whole core, and with a thousand connections: nothing.
//!
//! One flood at a time: each takes a core by itself. What is demanded is counted in heartbeats and datagrams,
//! never in time.

mod busy;
mod datagrams;
mod http;
#[expect(dead_code, reason = "tests/daemon and tests/netns use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::cluster::{Cluster, Timing, on_loopback};

/// Every node.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// Long enough for a machine that has one core less and runs other tests as well.
const TIMING: Timing = Timing { heartbeat_ms: 250, lease_ms: 1_500 };

/// The byte that the cluster's key consists of.
const KEY: u8 = 0x11;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for the other tests.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Five voters that seal their gossip, none of them started.
fn sealed_five() -> Option<Cluster> {
    let cluster = on_loopback(TIMING)?;
    let ring = cluster.dir.path().join("keys");
    fs::write(&ring, format!("{KEY:02x}").repeat(32)).expect("a file");
    fs::set_permissions(&ring, Permissions::from_mode(0o600)).expect("our own file");
    configure(&cluster, &format!("gossip: {{key_file: {}}}\n", ring.display()));
    Some(cluster)
}

/// Adds this to the configuration of nodes that start from now on.
fn configure(cluster: &Cluster, more: &str) {
    let text = fs::read_to_string(&cluster.config).expect("the configuration");
    fs::write(&cluster.config, text + more).expect("a file");
}

/// How many heartbeats of whoever led have been acknowledged.
fn acknowledged(cluster: &Cluster, leader: usize) -> f64 {
    cluster.metric(leader, "ringrift_p2p_leader_heartbeats_acknowledged_total")
}
