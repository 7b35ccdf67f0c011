//! File systems of a test's own: they are seen by the nodes that it starts in them, and vanish with it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::cluster::Cluster;

/// A mount namespace, held by a process that sleeps in it.
pub struct Mounts {
    holder: Child,
}

impl Mounts {
    /// A namespace in which this script has been run; `None` without root, as of the cluster.
    pub fn after(script: &str) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "-m", "--propagation", "private"]);
        command.args(["sh", "-ec", &format!("{script}\necho done\nexec sleep 3600")]);
        let holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut holder = holder.expect("unshare runs");
        let mut said = String::new();
        let out = holder.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut said).expect("it is read");
        let held = Self { holder };
        assert_eq!(said, "done\n", "the script failed: {script}");
        held
    }

    /// The same command in the namespace. It finds no configuration in its folder.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &self.holder.id().to_string(), "-m", "--"]);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// The command that runs `node` in the namespace.
    pub fn node(&self, cluster: &Cluster, node: usize) -> Command {
        let mut command = self.inside(&cluster.command(node));
        command.arg("--config").arg(&cluster.config);
        command
    }

    /// Runs a script in the namespace.
    #[track_caller]
    pub fn run(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-ec", script]);
        let status = self.inside(&command).status().expect("nsenter runs");
        assert!(status.success(), "{script}");
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        let _gone = self.holder.kill().and_then(|()| self.holder.wait());
    }
}
