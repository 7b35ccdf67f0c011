//! `work`: becomes a program that dies with the node that has started it.
//!
//! The kernel sends it SIGKILL when the node is killed, guardian or not. What it starts in turn is
//! ended by the guardian, or by the node's next process.

use clap::Args;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::exit::{Exit, Failure};
use crate::driver::clock::{Clock as _, SystemClock};
use crate::time::Instant;

/// The arguments of `work`.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// The node that starts it
    #[arg(long, value_name = "PID")]
    pub parent: i32,
    /// Start nothing after this moment of the boot clock
    #[arg(long, value_name = "NANOSECONDS")]
    pub before: Option<u64>,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Becomes the program; returns why not.
#[must_use]
pub fn become_program(args: &WorkArgs) -> Failure {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
            return Failure::new(Exit::Unavailable, error.to_string());
        }
    }
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != Some(args.parent) {
        return Failure::new(Exit::Unavailable, "the node that wanted this is gone");
    }
    if args.before.is_some_and(|before| Instant::from_nanos(before) <= SystemClock.now()) {
        return Failure::new(Exit::Unavailable, "it is too late for this");
    }
    let Some((program, arguments)) = args.command.split_first() else {
        return Failure::new(Exit::Usage, "there is no command");
    };
    let error = Command::new(program).args(arguments).exec();
    // As shells say it.
    let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    let message = format!("cannot run {}: {error}", program.display());
    Failure::new(Exit::PassedOn(code), message)
}
