//! What tests of real processes share: hosts of their own, the program on them, and a watch that never sleeps.
//!
//! Every test has network namespaces of its own ([`net`]), so the fixed port 8770 never collides and
//! nothing of the machine is touched. The program runs in them as it ships ([`process`]). Whoever says
//! that it leads is noted all the time by [`watch`], which is the judge of "never two".
//!
//! It waits for conditions, never for a length of time: a slow machine makes a test slow, not wrong.

pub mod cluster;
pub mod flood;
pub mod http;
pub mod journal;
pub mod net;
pub mod old;
pub mod process;
pub mod watch;

use core::time::Duration;
use std::thread;
use std::time::Instant;

/// How long a test waits for something that must happen, before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The runbook's voters, best first: its "current priority order".
pub const NAMES: [&str; 5] =
    ["nebius-backbone-1", "vultr-a100-20gb", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2"];

/// Waits until `found` finds something; `None` after `patience`.
pub fn within<T>(patience: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(it) = found() {
            return Some(it);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `found` finds something that must come.
#[track_caller]
pub fn wait_for<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, found).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}
