//! The work of a process that is gone, found by the mark that it has in its environment.
//!
//! The next process of a node frees the voters of what they have promised to the one before. What that one
//! had left running must be gone by then. The store is locked by then, so whoever bears its mark is a remnant.

use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::thread;

use super::MARK;

/// Between two looks at what was killed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks before that is given up.
const LOOKS: u32 = 500;

/// Looks in a row that find nobody: a program that is just being started has no environment yet for a moment.
const CLEAN_LOOKS: u32 = 2;

/// Kills every process that bears the mark of this store, until none is left. Returns how many there were.
///
/// # Errors
/// Some could not be ended; how many.
pub fn end(store: &Path) -> Result<usize, usize> {
    let mark = format!("{MARK}={}", store.display());
    let (mut most, mut clean) = (0, 0);
    for _ in 0..LOOKS {
        let left = marked(mark.as_bytes());
        clean = if left.is_empty() { clean + 1 } else { 0 };
        if clean == CLEAN_LOOKS {
            return Ok(most);
        }
        most = most.max(left.len());
        for pid in left {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(LOOK_EVERY);
    }
    Err(marked(mark.as_bytes()).len())
}

/// The processes whose environment has this entry, as far as it can be read. One that has ended and was not
/// collected has none.
fn marked(mark: &[u8]) -> Vec<Pid> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let bears = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == mark)
    };
    pids.filter(bears).filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_bears_the_mark_of_the_store_is_ended_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        // It runs before its environment can be read.
        let start = |store: &Path| {
            let child = Command::new("sleep").arg("1000").env(MARK, store).spawn().unwrap();
            let environment = format!("/proc/{}/environ", child.id());
            while fs::read(&environment).unwrap().is_empty() {
                thread::yield_now();
            }
            child
        };
        let (mut ours, mut other) = (start(dir.path()), start(&dir.path().join("other")));
        // The child is not collected while it is looked for: it must not count once it is dead.
        assert_eq!(end(dir.path()), Ok(1));
        assert!(!ours.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        assert_eq!(end(dir.path()), Ok(0));
        other.kill().and_then(|()| other.wait()).unwrap();
    }
}
