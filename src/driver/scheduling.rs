//! Scheduling: asks the system for what keeps the node in time on a busy machine.
//!
//! Decides what a refusal means: a warning, since leases hold without any of it.
//!
//! 1. Threads that are started before keep what they have, and so does what they start: the work of a leader runs
//!    as if nothing had been asked.

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use std::io;

use crate::config::Scheduling;

/// How many files a node may have open, where the system allows that many: connections are most of them.
const OPEN_FILES: u64 = 4_096;

/// Asks for what is configured, for the calling thread and those that it starts. Gives a sentence for each thing
/// that was refused.
#[must_use]
pub fn ask(wanted: Scheduling) -> Vec<String> {
    let mut refused = Vec::new();
    if let Some(nice) = wanted.nice
        && let Err(error) = setpriority_process(None, i32::from(nice))
    {
        let remedy = "grant CAP_SYS_NICE, or LimitNICE= in the unit file";
        refused.push(format!("the system refuses scheduling.nice {nice}: {error}; {remedy}"));
    }
    if wanted.lock_memory
        && let Err(error) = lock_memory()
    {
        let remedy = "grant CAP_IPC_LOCK, or LimitMEMLOCK=infinity in the unit file";
        refused.push(format!("the system refuses scheduling.lock_memory: {error}; {remedy}"));
    }
    refused
}

/// Locks what is in use now and later; stacks mostly are not.
#[cfg(target_os = "linux")]
fn lock_memory() -> io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Ok(mlockall(flags)?)
}

#[cfg(not(target_os = "linux"))]
fn lock_memory() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Raises the number of files that may be open, and gives how many that are.
pub fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = OPEN_FILES.min(limit.maximum.unwrap_or(OPEN_FILES));
    match limit.current {
        None => OPEN_FILES,
        Some(now) if now >= wanted => now,
        Some(now) => {
            let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
            if setrlimit(Resource::Nofile, raised).is_ok() { wanted } else { now }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_unless_configured_and_a_refusal_says_what_to_do() {
        assert!(ask(Scheduling::default()).is_empty());
        // Whether this is granted depends on who runs the tests; it is asked on a thread that ends.
        let asked = std::thread::spawn(|| ask(Scheduling { nice: Some(-1), lock_memory: false }));
        for refusal in asked.join().unwrap() {
            assert!(refusal.contains("CAP_SYS_NICE"), "{refusal}");
        }
    }

    #[test]
    fn open_files_are_never_lowered() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(open_files() >= before.min(OPEN_FILES));
        let after = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(after >= before);
    }
}
