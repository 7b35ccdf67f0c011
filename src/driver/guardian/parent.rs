//! The parent: starts the node, waits, and does what is left to do when it has ended.

use core::time::Duration;
use rustix::process::{Pid, Signal, WaitStatus, getpid, kill_process};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::ending::{self, Left};
use super::note::{Job, Lines, Told};
use super::release;
use crate::driver::clock::{Clock as _, SystemClock, Timer, sleep_for};
use crate::driver::service;
use crate::time::Instant;

/// How long a guardian that wakes too late gives its node to see for itself that time has passed:
/// then it was the machine that slept.
const GRACE_AFTER_SLEEP: Duration = Duration::from_millis(100);

/// A wake-up later than this is one after a sleep of the machine.
const LATE: Duration = Duration::from_millis(50);

/// How long what a dead node has left may take to go, once it is killed.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The time kept between the killing of the last work and the end of the lease.
const MARGIN: Duration = Duration::from_millis(3);

/// Between two looks at a running job.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Died {
    /// By itself, with this exit code.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

impl Died {
    fn of(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Exited(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, signal) => Self::Killed(signal.unwrap_or(0)),
        }
    }

    /// The exit code to end with: the node's own, or 128 and the signal, as shells say it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => u8::try_from(signal).unwrap_or(0).saturating_add(128),
        }
    }
}

/// Starts the program with these arguments as a node, watches it to its end, does what it has left to do, and tells
/// how it ended.
///
/// # Errors
/// The system gives no process, no socket or no timer; nothing is left running then.
pub fn watch(program: PathBuf, arguments: Vec<OsString>) -> io::Result<Died> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before there is a child whose end could be missed.
        let mut signals = Signals::listen()?;
        let timer = Timer::new()?;
        let (node, line) = start(program, arguments)?;
        let line = tokio::net::UnixStream::from_std(line)?;
        info!(pid = node.as_raw_nonzero().get(), "guarding the node");
        let mut ward =
            Ward { node, line, lines: Lines::default(), told: Told::default(), excused: false };
        let died = ward.outlive(&mut signals, &timer).await?;
        ward.execute(died).await;
        Ok(died)
    })
}

fn start(program: PathBuf, arguments: Vec<OsString>) -> io::Result<(Pid, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(OwnedFd::from(theirs));
    if std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string()) {
        // The watchdog of the service manager is fed by the node.
        command.env_remove("WATCHDOG_PID");
    }
    Ok((Pid::from_child(&command.spawn()?), ours))
}

struct Signals {
    child: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    abort: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            abort: signal(SignalKind::from_raw(Signal::ABORT.as_raw()))?,
        })
    }
}

/// A node and what it has told.
struct Ward {
    node: Pid,
    line: tokio::net::UnixStream,
    lines: Lines,
    told: Told,
    /// It has had its grace after a sleep of the machine.
    excused: bool,
}

impl Ward {
    /// Watches until the node has ended.
    async fn outlive(&mut self, signals: &mut Signals, timer: &Timer) -> io::Result<Died> {
        let mut line_open = true;
        loop {
            let mut died = None;
            ending::collect(|pid, status| {
                if pid == self.node {
                    died = Some(Died::of(status));
                }
            });
            if let Some(died) = died {
                self.listen();
                return Ok(died);
            }
            let now = SystemClock.now();
            self.enforce(now);
            let sleep = sleep_for(now, self.told.working.map(|working| working.act_at));
            tokio::select! {
                biased;
                _ = signals.child.recv() => {}
                _ = signals.terminate.recv() => self.pass_on(Signal::TERM),
                _ = signals.interrupt.recv() => self.pass_on(Signal::INT),
                _ = signals.hang_up.recv() => self.pass_on(Signal::HUP),
                _ = signals.abort.recv() => self.give_up(),
                ready = self.line.readable(), if line_open => {
                    line_open = ready.is_ok() && self.listen();
                }
                done = timer.sleep(sleep) => done?,
            }
        }
    }

    /// Takes what the node has told; tells whether there can be more.
    fn listen(&mut self) -> bool {
        let mut piece = [0; 4_096];
        loop {
            match self.line.try_read(&mut piece) {
                Ok(0) => return false,
                Ok(length) => {
                    let notes = self.lines.take(piece.get(..length).unwrap_or_default());
                    notes.into_iter().for_each(|note| self.told.note(note));
                    self.excused = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Kills a node that has not ended its work in time (invariant 4).
    fn enforce(&mut self, now: Instant) {
        let Some(working) = &mut self.told.working else { return };
        if now < working.act_at {
            return;
        }
        if now.since(working.act_at) > LATE && !self.excused {
            self.excused = true;
            working.act_at = now + GRACE_AFTER_SLEEP;
            return;
        }
        error!("the node does not end the work of its leadership in time: it is killed");
        // It is not collected yet, so the id is its own.
        let _ = kill_process(self.node, Signal::KILL);
        working.act_at = Instant::NEVER;
    }

    /// The service manager has not heard of a turn of the node's loop for too long (SIGABRT). The guardian itself is
    /// well, and has to outlive the node (invariant 6).
    fn give_up(&self) {
        error!("told that the node hangs: it is killed");
        // It is not collected yet, so the id is its own.
        let _ = kill_process(self.node, Signal::KILL);
    }

    /// A signal may have reached the node already; it takes a second one for the first.
    fn pass_on(&self, signal: Signal) {
        let _ = kill_process(self.node, signal);
    }

    /// Does what a dead node has left to do.
    async fn execute(&mut self, died: Died) {
        if !ending::end_all(END_PATIENCE).await {
            error!("what the node has started cannot be ended: its lease runs out");
            return;
        }
        match died {
            Died::Exited(code) => info!(code, "the node has ended"),
            Died::Killed(signal) => warn!(signal, "the node was killed"),
        }
        if let (Some(job), Some(working)) = (self.told.lose.take(), self.told.working) {
            run_until(&job, working.end_at).await;
        }
        let voters = release::send(&self.told).await;
        if voters > 0 {
            warn!(voters, "the voters are released from their promises to the dead node");
        }
    }
}

/// Runs a job to its end; kills what is left of it in time.
async fn run_until(job: &Job, end_at: Instant) {
    let by = end_at - MARGIN;
    let Some((program, arguments)) = job.command.split_first() else { return };
    if SystemClock.now() >= by {
        warn!(program, "there is no time left for the hook");
        return;
    }
    let mut command = Command::new(program);
    command.args(arguments).envs(job.environment.iter().map(|(key, value)| (key, value)));
    for name in service::VARIABLES {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).process_group(0);
    let job = match command.spawn() {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            warn!(program, %error, "the hook cannot be started");
            return;
        }
    };
    let mut runs = true;
    while runs && SystemClock.now() < by {
        tokio::time::sleep(LOOK_EVERY).await;
        let left = ending::collect(|pid, _| runs &= pid != job);
        runs &= left == Left::Some;
    }
    if runs {
        warn!(program, "the hook was killed: its time was up");
    }
    ending::end_all(END_PATIENCE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_node_is_passed_on_as_shells_say_it() {
        assert_eq!(Died::Exited(69).code(), 69);
        assert_eq!(Died::Killed(9).code(), 137);
        assert_eq!(Died::Killed(15).code(), 143);
    }
}
