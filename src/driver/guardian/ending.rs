//! Ending what a dead node has left behind.
//!
//! A guardian adopts every process that the node has started and not outlived, however deep: it is their
//! subreaper. So what it has to end are its own children, whose ids cannot be anybody else's before it has
//! collected them.

use core::time::Duration;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, kill_process, kill_process_group, wait,
};
use std::fs;

/// Between two looks at what is left.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What became of the children of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// There is none.
    Nothing,
    /// Some run, or only have not been looked at.
    Some,
}

/// Collects every child that has ended and tells of each.
pub(super) fn collect(mut ended: impl FnMut(Pid, WaitStatus)) -> Left {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended(pid, status),
            Ok(None) => return Left::Some,
            Err(Errno::INTR) => {}
            Err(_) => return Left::Nothing,
        }
    }
}

/// Kills every child of this process with its process group, and those that become its children by
/// that, until none is left or patience ends. Tells whether none is left.
pub(super) async fn end_all(patience: Duration) -> bool {
    let looks = patience.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        if collect(|_, _| {}) == Left::Nothing {
            return true;
        }
        children().into_iter().for_each(kill_with_group);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    collect(|_, _| {}) == Left::Nothing
}

/// Kills a process that is not collected yet, and the group that it leads or is in.
pub(super) fn kill_with_group(pid: Pid) {
    // Whatever has ended meanwhile needs no signal.
    if let Ok(group) = getpgid(Some(pid))
        && group != getpgrp()
    {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = kill_process(pid, Signal::KILL);
}

/// The processes that have this one as their parent.
fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let text: String = lists.collect::<Vec<_>>().join(" ");
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
