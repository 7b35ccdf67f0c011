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
    end_all(|| marked(mark.as_bytes()))
}

/// Kills whoever a look finds, until looks find nobody.
fn end_all(look: impl Fn() -> Vec<Pid>) -> Result<usize, usize> {
    let (mut most, mut clean) = (0, 0);
    for _ in 0..LOOKS {
        let left = look();
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
    Err(look().len())
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
    use std::cell::Cell;
    use std::process::{Child, Command, Stdio};

    /// A program that runs long, and ends with the test.
    struct Sleep(Child);

    impl Sleep {
        fn start(mark: &Path) -> Self {
            let mut command = Command::new("sleep");
            command.arg("1000").env(MARK, mark).stdout(Stdio::null()).stderr(Stdio::null());
            let child = Self(command.spawn().unwrap());
            // It runs before its environment can be read.
            let environment = format!("/proc/{}/environ", child.0.id());
            while fs::read(&environment).unwrap().is_empty() {
                thread::yield_now();
            }
            child
        }
    }

    impl Drop for Sleep {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn what_bears_the_mark_of_the_store_is_ended_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut ours = Sleep::start(dir.path());
        let mut other = Sleep::start(&dir.path().join("other"));
        // The child is not collected while it is looked for: it must not count once it is dead.
        assert_eq!(end(dir.path()), Ok(1));
        assert!(!ours.0.wait().unwrap().success());
        assert!(other.0.try_wait().unwrap().is_none());
        assert_eq!(end(dir.path()), Ok(0));
    }

    #[test]
    fn what_is_just_being_started_at_the_first_look_is_ended_at_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Sleep::start(dir.path());
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            let seen = Pid::from_raw(child.0.id().cast_signed()).filter(|_| looks.get() == 2);
            seen.into_iter().collect()
        };
        assert_eq!(end_all(look), Ok(1));
        assert_eq!(looks.get(), 4, "and it was looked for twice again");
        assert!(!child.0.wait().unwrap().success());
    }
}
