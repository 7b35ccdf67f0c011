//! One process of the program, ended with the test that started it.

use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::net::Net;
use super::{wait_for, within};

/// A running process; dropped, it is killed.
pub struct Process {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

/// The program, to be run in `net`.
pub fn program(net: &Net) -> Command {
    net.command(env!("CARGO_BIN_EXE_ringrift-p2p"))
}

impl Process {
    /// Starts `command`. Standard output and error go to files in `dir` whose names begin with `name`.
    pub fn start(mut command: Command, dir: &Path, name: &str) -> Self {
        let file = |ending: &str| {
            let path = dir.join(format!("{name}.{ending}"));
            let open = File::options().append(true).create(true).open(&path);
            (path, open.expect("a file in the test's folder"))
        };
        let ((out, stdout), (log, stderr)) = (file("out"), file("log"));
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
        Self { child: child.expect("the program starts"), out, log }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a child may be signalled");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the end of a process", || self.child.try_wait().expect("a child"))
    }

    /// Its end, if it comes in time.
    pub fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        within(patience, || self.child.try_wait().expect("a child"))
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("a child can be killed");
    }

    /// What it has written to standard output.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}
