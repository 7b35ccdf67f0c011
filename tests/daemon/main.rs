//! The program as it ships: real processes and real sockets, each test on a loopback of its own.
//!
//! What is claimed here of the protocol is claimed of everything together: codec, driver, store,
//! clocks, HTTP and command line. Which voter wins also depends on the machine: a voter that is not given
//! a processor for tens of milliseconds is passed over, rightly. So tests of the *order* may try
//! again on a noisy machine ([`eventually`]); the watch's verdict on *never two* holds at every try.

mod cluster_command;
mod elections;
mod exec;
mod exits;
mod garbage;
mod guardian;
mod handover;
mod hooks;
mod judge;
mod operators;
mod restarts;
mod runbook;
mod sealing;
#[expect(dead_code, reason = "tests/netns uses the rest")]
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod voters;

use core::fmt::Debug;
use support::cluster::{Cluster, Timing, on_loopback};

/// Every node.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// Tries of a test of the order of voters.
const TRIES: usize = 8;

/// Five voters, none of them started.
fn five() -> Option<Cluster> {
    on_loopback(Timing::SHORT)
}

/// One of a few tries must give what is `wanted`; `None` is a machine that cannot try at all.
#[track_caller]
fn eventually<T: PartialEq + Debug>(wanted: Option<T>, attempt: impl FnMut() -> Option<T>) {
    let tries = core::iter::repeat_with(attempt).take(TRIES);
    let missed: Vec<_> = tries.take_while(|given| given.is_some() && *given != wanted).collect();
    assert!(missed.len() < TRIES, "wanted {wanted:?}, and was given {missed:?}");
}
