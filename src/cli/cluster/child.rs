//! One voter as a child process: started, looked at, asked over HTTP, stopped.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::super::get::{Base, get_within};
use super::log_name;
use crate::config::{Address, Config};
use crate::driver::service::VARIABLES;

/// How long a voter may take to say how it is.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a voter is started with.
pub(super) struct Program {
    executable: PathBuf,
    config: PathBuf,
    folder: PathBuf,
}

impl Program {
    /// This very program, with a configuration file and a folder.
    pub(super) fn this(config: PathBuf, folder: PathBuf) -> io::Result<Self> {
        Ok(Self { executable: std::env::current_exe()?, config, folder })
    }

    fn start(&self, id: NodeId) -> io::Result<Child> {
        let mut options = OpenOptions::new();
        let log = options.append(true).create(true).open(self.folder.join(log_name(id)))?;
        let mut command = Command::new(&self.executable);
        for name in VARIABLES {
            command.env_remove(name);
        }
        command
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .args(["--node", id.as_str(), "--promise-in-data-dir", "--guardian"])
            .arg("--data-dir")
            .arg(self.folder.join(id.as_str()))
            .arg("--die-with-parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            // Ctrl-C is for the parent, which passes it on.
            .process_group(0)
            .spawn()
    }
}

/// What a voter said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) role: String,
    pub(super) is_leader: bool,
    pub(super) term: u64,
    pub(super) leader: Option<String>,
    pub(super) alive_peers: u64,
    pub(super) no_leader_reason: Option<String>,
    pub(super) pid: Option<u32>,
}

impl Said {
    /// Reads `/status`.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let status: Value = serde_json::from_slice(body).ok()?;
        let text = |key: &str| status[key].as_str().map(str::to_owned);
        Some(Self {
            role: text("role")?,
            is_leader: status["is_leader"].as_bool()?,
            term: status["term"].as_u64()?,
            leader: text("leader_id"),
            alive_peers: status["alive_peers"].as_u64()?,
            no_leader_reason: text("no_leader_reason"),
            pid: status["pid"].as_u64().and_then(|pid| pid.try_into().ok()),
        })
    }
}

/// The answer of a voter to "how are you?".
pub(super) struct Asked {
    pub(super) id: NodeId,
    pid: u32,
    said: Option<Said>,
}

/// What is known of a voter's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was never started.
    New,
    /// It runs.
    Running,
    /// It ended, and how, in words.
    Ended(String),
}

/// One voter.
pub(super) struct Voter {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) life: Life,
    /// The last answer of the running process, if that was one.
    pub(super) said: Option<Said>,
    child: Option<Child>,
    base: Base,
    log: PathBuf,
    is_asked: bool,
    failed: bool,
}

impl Voter {
    /// A voter of the configuration that is not started.
    pub(super) fn of(config: &Config, id: NodeId, folder: &Path) -> Option<Self> {
        let host = config.hosts.get(&id)?;
        let Address::Ip(ip) = host.address else { return None };
        let address = SocketAddr::new(ip, host.http_port);
        Some(Self {
            id,
            address,
            life: Life::New,
            said: None,
            child: None,
            base: Base::parse(&address.to_string()).ok()?,
            log: folder.join(log_name(id)),
            is_asked: false,
            failed: false,
        })
    }

    /// Starts the process.
    pub(super) fn start(&mut self, program: &Program) -> io::Result<()> {
        self.child = Some(program.start(self.id)?);
        self.life = Life::Running;
        self.said = None;
        self.is_asked = false;
        Ok(())
    }

    /// The id of the process of the node itself, which its guardian watches; known once it has answered.
    pub(super) fn node_pid(&self) -> Option<u32> {
        self.said.as_ref().and_then(|said| said.pid)
    }

    /// The id of the running process, the guardian of the node.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Sees whether the process has ended.
    pub(super) fn look(&mut self) {
        let Some(child) = &mut self.child else { return };
        let how = match child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => {
                self.failed |=
                    status.code().is_some_and(|code| code != 0 && killed_by(code).is_none());
                words_of(status, &self.log)
            }
            Err(error) => error.to_string(),
        };
        self.child = None;
        self.said = None;
        self.life = Life::Ended(how);
    }

    /// Whether the process runs still.
    pub(super) fn is_running(&mut self) -> bool {
        self.look();
        self.child.is_some()
    }

    /// Whether it never ended with an exit code other than 0; being killed by hand is well.
    pub(super) const fn ended_well(&self) -> bool {
        !self.failed
    }

    /// Asks the process how it is, unless it has not answered the last question; the answer comes
    /// over the queue.
    pub(super) fn ask(&mut self, answers: &mpsc::Sender<Asked>) {
        let Some(pid) = self.pid().filter(|_| !self.is_asked) else { return };
        self.is_asked = true;
        let (id, base, answers) = (self.id, self.base.clone(), answers.clone());
        tokio::spawn(async move {
            let answer = get_within(ASK_TIMEOUT, &base, "/status").await.ok();
            let said = answer.and_then(|(_, body)| Said::read(&body));
            // The receiver ends with the program.
            let _ = answers.send(Asked { id, pid, said }).await;
        });
    }

    /// Takes the answer, if it is of the process that runs now.
    pub(super) fn heard(&mut self, asked: Asked) {
        if self.pid() == Some(asked.pid) {
            self.is_asked = false;
            self.said = asked.said;
        }
    }

    /// Asks the process to stop.
    pub(super) fn terminate(&mut self) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that is just ending needs no signal. The child is not reaped, so the id is its own.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Kills the process and waits for its end.
    pub(super) async fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill().await;
        }
        self.look();
    }
}

/// The signal that killed a node, if its guardian ended with this code.
fn killed_by(code: i32) -> Option<i32> {
    code.checked_sub(128).filter(|signal| (1..=64).contains(signal))
}

/// How a process ended, and after a failure the last line of its log.
fn words_of(status: ExitStatus, log: &Path) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "stopped".to_owned(),
        (Some(code), _) if killed_by(code).is_some() => {
            format!("killed by signal {}", killed_by(code).unwrap_or_default())
        }
        (Some(code), _) => {
            let log = fs::read_to_string(log).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            format!("exit code {code}: {last}")
        }
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_and_nonsense_is_not() {
        let body = br#"{"role":"follower","is_leader":false,"term":7,"leader_id":"a",
            "alive_peers":4,"no_leader_reason":null,"pid":7}"#;
        let said = Said::read(body).unwrap();
        assert_eq!((said.term, said.leader.as_deref()), (7, Some("a")));
        assert_eq!((said.no_leader_reason, said.pid), (None, Some(7)));
        assert_eq!(Said::read(b"{}"), None);
        assert_eq!(Said::read(b"<html>"), None);
    }

    #[test]
    fn an_end_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "first\nerror: UDP 127.0.0.1:8770 is taken\n").unwrap();
        let words = |raw| words_of(ExitStatus::from_raw(raw), &log);
        assert_eq!(words(0), "stopped");
        assert_eq!(words(9), "killed by signal 9");
        assert_eq!(words(137 << 8), "killed by signal 9");
        assert_eq!(words(69 << 8), "exit code 69: error: UDP 127.0.0.1:8770 is taken");
    }
}
