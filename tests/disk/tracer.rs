//! System calls that fail or last, in a node that runs.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::cluster::Cluster;

/// What durable writes do for as long as it lives.
pub struct Tracer {
    strace: Child,
}

impl Tracer {
    /// From now on the durable writes of `node` do what strace's `inject` option is told.
    #[track_caller]
    pub fn of(cluster: &Cluster, node: usize, how: &str) -> Self {
        let pid = cluster.status(node).number("pid").to_string();
        let inject = format!("inject=fdatasync:{how}");
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "strace",
            "-f",
            "-e",
            "trace=fdatasync",
            "-e",
            &inject,
        ]);
        command.args(["-o", "/dev/null", "-p", &pid]);
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = strace.spawn().expect("strace runs");
        let mut said = String::new();
        let out = strace.stderr.take().expect("it is piped");
        BufReader::new(out).read_line(&mut said).expect("it is read");
        let tracer = Self { strace };
        assert!(said.contains("attached"), "strace says {said:?}");
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Told to, it lets go of a call that it holds up; the kernel does so otherwise.
        let pid = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        let _told = pid.map(|pid| kill_process(pid, Signal::KILL));
        let _gone = self.strace.wait();
    }
}
