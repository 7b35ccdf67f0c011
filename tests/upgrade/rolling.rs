//! Five voters go from one release to the next, one after the other, under load.
//!
//! `RINGRIFT_OLD_BINARY` is the program of the release before; without it the present one stands for both, which
//! tests the procedure and not the formats.

use core::time::Duration;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::ALL;
use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::http::Client;
use crate::support::{NAMES, wait_for};

/// A lease that a busy machine does not outlast: a change of leader is a planned one.
const STEADY: Timing = Timing { heartbeat_ms: 250, lease_ms: 4_000 };

/// The program of the release before.
fn old_program() -> PathBuf {
    std::env::var_os("RINGRIFT_OLD_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ringrift-p2p")), PathBuf::from)
}

/// The command that runs `node` as the release before.
fn old(cluster: &Cluster, node: usize) -> Command {
    let mut command = cluster.net(node).command(old_program());
    command.args(["run", "--node", NAMES[node]]).current_dir(cluster.dir.path());
    command
}

/// Asks a node for all kinds of answers until told to stop; counts those that came.
fn load(http: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) {
    let stopped = || stop.load(Ordering::Relaxed);
    while !stopped() {
        for path in ["/status", "/members", "/metrics", "/election/status"] {
            let answer = Client::connect(http).and_then(|mut it| it.request("GET", path, stopped));
            answered.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends the load, also when the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Restarts `node` as the present release, and waits until the documented signs are there.
#[track_caller]
fn replace(cluster: &mut Cluster, node: usize) {
    cluster.signal(node, Signal::TERM);
    assert_eq!(cluster.ended(node), Some(0));
    cluster.start(node);
    wait_for("the node to be ready", || {
        cluster.ask(node, "GET", "/ready").filter(|answer| answer.status == 200).map(drop)
    });
    cluster.wait_settled();
}

#[test]
fn five_voters_are_replaced_one_by_one_with_one_change_of_leader_and_never_two() {
    let Some(mut cluster) = on_loopback(STEADY) else { return };
    let watch = cluster.watch();
    for node in ALL {
        let command = old(&cluster, node);
        cluster.start_as(node, command);
    }
    let (leader, term) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let hosts: Vec<_> =
        ALL.iter().map(|&node| (cluster.net(node).clone(), cluster.http(node))).collect();
    let (moved, changed) = thread::scope(|scope| {
        let _stopped = Stops(&stop);
        for (net, http) in &hosts {
            scope.spawn(|| net.within(|| load(*http, &stop, &answered)));
        }
        for node in ALL.into_iter().filter(|&node| node != leader) {
            replace(&mut cluster, node);
            assert_eq!(
                cluster.wait_agreed(&ALL),
                (leader, term),
                "a follower's restart moved the lead"
            );
        }
        // The leader last: it gives the lead up while everybody is there, and is replaced as a follower.
        let given = cluster.asking(leader, &["step-down"]).output().expect("it runs");
        assert!(given.status.success(), "{}", String::from_utf8_lossy(&given.stderr));
        let moved = cluster.wait_agreed(&ALL);
        replace(&mut cluster, leader);
        let changed = cluster.wait_agreed(&ALL);
        (moved, changed)
    });
    assert_eq!(moved, changed, "the return of the old leader moved the lead");
    assert!(moved.0 != leader && moved.1 == term + 1, "{moved:?} after {:?}", (leader, term));
    assert!(answered.load(Ordering::Relaxed) > 100);
    let tenures = watch.judge(false);
    assert_eq!(tenures.len(), 2, "one planned change: {tenures:?}");
}
