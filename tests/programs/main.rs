//! Programs beside a node: load balancers, clients of `/events`, the library's own, and what the README
//! tells their authors to type.
//!
//! Real programs and real processes, each test on a loopback of its own.

mod balancers;
mod chapter;
mod follow;
mod leadership;
#[expect(dead_code, reason = "tests/daemon and tests/netns use the rest")]
#[path = "../support/mod.rs"]
mod support;

use support::cluster::{Cluster, Timing, on_loopback};

/// Every node.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// Five voters with a lease that a busy machine sits out, none of them started.
fn five() -> Option<Cluster> {
    on_loopback(Timing { heartbeat_ms: 250, lease_ms: 2_000 })
}
