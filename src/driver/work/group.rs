//! One program with its process group: started, waited for, ended with all that is in the group.

use core::time::Duration;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};

use crate::driver::clock::{Clock as _, SystemClock};
use crate::driver::guardian::Job;
use crate::driver::service;
use crate::time::Instant;

/// Between two looks at a group that is ending.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long a killed group may take to be gone before that is given up.
const GONE_PATIENCE: Duration = Duration::from_secs(1);

/// So often it is looked who of it lives, which takes longer.
const CLOSER_LOOK: u128 = 5;

/// How programs are started.
#[derive(Clone, Debug)]
pub(super) struct Starter {
    /// This program: it starts others so that they die with it. `None` starts them plainly.
    pub(super) program: Option<PathBuf>,
}

/// A running program and its group.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    id: Pid,
}

impl Starter {
    /// Starts a job in a process group of its own, unless the time is past `before`.
    pub(super) fn start(&self, job: &Job, before: Option<Instant>) -> io::Result<Group> {
        let words = &job.command;
        let empty = || io::Error::new(io::ErrorKind::InvalidInput, "there is no program to start");
        let (program, arguments) = words.split_first().ok_or_else(empty)?;
        let mut command = match &self.program {
            Some(this) => {
                let mut command = Command::new(this);
                command.args(["work", "--parent", &std::process::id().to_string()]);
                if let Some(before) = before {
                    command.args(["--before", &before.as_nanos().to_string()]);
                }
                command.arg("--").arg(program);
                command
            }
            None => Command::new(program),
        };
        for name in service::VARIABLES {
            command.env_remove(name);
        }
        command.args(arguments).envs(job.environment.iter().map(|(key, value)| (key, value)));
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Group { child, id: id.ok_or_else(empty)? })
    }
}

impl Group {
    /// Waits for the end of the program itself.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks all of the group to end.
    pub(super) fn ask(&self) {
        // There may be nobody left.
        let _ = kill_process_group(self.id, Signal::TERM);
    }

    /// Waits until all of the group are gone, until then at most; tells whether they are.
    pub(super) async fn gone_by(&mut self, until: Instant) -> bool {
        // The program first: until it is waited for, the id of the group is its own.
        while SystemClock.now() < until {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) && self.is_gone() {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Kills all of the group.
    pub(super) fn kill_at_once(&self) {
        // There may be nobody left.
        let _ = kill_process_group(self.id, Signal::KILL);
    }

    /// Kills all of the group, and waits until it is gone.
    pub(super) async fn kill(mut self) {
        self.kill_at_once();
        let patience = GONE_PATIENCE.as_millis() / LOOK_EVERY.as_millis();
        for look in 1..=patience {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
            if ended && (self.is_gone() || (look % CLOSER_LOOK == 0 && !self.has_living())) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_gone(&self) -> bool {
        test_kill_process_group(self.id) == Err(Errno::SRCH)
    }

    /// Whether somebody in the group lives. The dead whom nobody collects, as in containers whose first process
    /// does not, stay in it for ever.
    fn has_living(&self) -> bool {
        let Ok(all) = fs::read_dir("/proc") else { return true };
        let stats = all.flatten().filter_map(|it| fs::read_to_string(it.path().join("stat")).ok());
        let group = self.id.as_raw_nonzero().to_string();
        stats.into_iter().any(|stat| {
            // The name may contain anything; state, parent and group follow its last bracket.
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            let state = fields.next();
            fields.nth(1) == Some(&group) && !matches!(state, Some("Z" | "X"))
        })
    }
}

/// The exit code of a program, or 128 and the signal that ended it.
pub(super) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
