//! The installed package under a real systemd: started, reloaded, killed by its name, hung, and stopped.
//!
//! [`System`] is a systemd of its own for other tests, too.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

use crate::file;
use crate::support::within;

/// How long all of it may take; the watchdog alone takes 20 seconds.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// What an operator does, and what must come of it.
const SCRIPT: &str = r#"
ip addr add 10.88.0.1/32 dev lo
mkdir -p /etc/ringrift
cat >/etc/ringrift/distributed_hosts.yaml <<END
voters: [one]
election: {heartbeat_interval: 1, lease: 4}
hosts: {one: {address: 10.88.0.1}}
END
dpkg -i --force-depends /tmp/package.deb
is() { [ "$(systemctl show -P "$1" ringrift-p2p)" = "$2" ]; }
until_is() { for _ in $(seq 600); do is "$1" "$2" && return; sleep 0.1; done; systemctl status ringrift-p2p; return 1; }
leads() { for _ in $(seq 300); do curl -sf http://10.88.0.1:8770/leader >/dev/null && return; sleep 0.1; done; return 1; }
node() { curl -s http://10.88.0.1:8770/status | jq .pid; }
trap 'echo "failed: $BASH_COMMAND"; systemctl status --no-pager ringrift-p2p; journalctl --no-pager -u ringrift-p2p' ERR
set -E

is UnitFileState disabled
systemctl start ringrift-p2p
is ActiveState active
leads
until_is StatusText 'leads in term '"$(curl -s http://10.88.0.1:8770/status | jq .term)"'; 1 of 1 voters reachable'
grep -E '^CapEff:\s0+$' /proc/$(node)/status
grep -E '^NoNewPrivs:\s1$' /proc/$(node)/status
grep -E '^Seccomp:\s2$' /proc/$(node)/status
[ "$(stat -c %U /proc/$(node))" = ringrift-p2p ]
ls /run/ringrift-p2p/*.promise /var/lib/ringrift-p2p/one/votes
systemctl reload ringrift-p2p
echo 'started'

pkill -f p2p_orchestrator
until_is NRestarts 1
until_is ActiveState active
leads
echo 'pkill: started again'

kill -STOP $(node)
until_is NRestarts 2
until_is ActiveState active
leads
journalctl --no-pager -u ringrift-p2p | grep 'told that the node hangs'
echo 'hung: replaced'

kill -KILL $(node)
until_is NRestarts 3
leads
echo 'killed: started again'

systemctl stop ringrift-p2p
is ActiveState inactive
is Result success
ls /run/ringrift-p2p/*.promise
echo 'cluster: "' >> /etc/ringrift/distributed_hosts.yaml
! systemctl start ringrift-p2p
is ExecMainStatus 64
is ActiveState failed
echo 'a wrong file: not tried again'
"#;

/// A control group with all that systemd makes in it; dropped, it is removed.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Self {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = roots.into_iter().find(|root| root.join("cgroup.procs").exists());
        let root = root.expect("control groups of version 2");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let this = root.join(format!("ringrift-test-{}-{count}", std::process::id()));
        std::fs::create_dir(&this).expect("root may make a group");
        Self(this)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes have been killed, and are gone in a moment.
        let removed = within(PATIENCE, || {
            let mut find = Command::new("find");
            let _gone = find
                .arg(&self.0)
                .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
                .output();
            (!self.0.exists()).then_some(())
        });
        assert!(removed.is_some() || std::thread::panicking(), "{} is left", self.0.display());
    }
}

/// A systemd that runs a script, with a folder that it shares with the test; dropped, it is gone.
pub struct System {
    folder: TempDir,
    process: Child,
    // After the process.
    _cgroup: Cgroup,
}

impl System {
    /// Boots one in the network namespace of `network`, such as `ip netns exec NAME`, or of its own where that is empty.
    ///
    /// `PACKAGE` in the environment names the package.
    pub fn boot(network: &[&str], script: &str) -> Self {
        let package = std::env::var("PACKAGE").expect("PACKAGE names the file");
        let folder = tempfile::tempdir().expect("a folder");
        let file_of_script = folder.path().join("script");
        std::fs::write(&file_of_script, script).expect("a file");
        let cgroup = Cgroup::new();
        // It enters the group before it counts as the root of all groups.
        let line = "echo $$ > \"$0\"/cgroup.procs; exec \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", line]).arg(&cgroup.0).args(network);
        command.args(["unshare", "-m", "-p", "-u", "-i", "-C", "--fork", "--kill-child"]);
        if network.is_empty() {
            command.arg("-n");
        }
        command.arg(file("tests/installed/booted.sh")).arg(package);
        command.arg(file_of_script).arg(folder.path());
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a file")).stdout(log);
        let process = command.spawn().expect("bash starts");
        Self { folder, process, _cgroup: cgroup }
    }

    /// The text of a file in the shared folder, `/mnt/told` of the script; empty where there is none.
    pub fn told(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Puts a file there.
    pub fn tell(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }

    /// What the script said, once it has ended well.
    #[track_caller]
    pub fn wait(&mut self) -> String {
        let ended = within(PATIENCE, || {
            let gone = self.process.try_wait().expect("a child").is_some();
            (gone || !self.told("rc").is_empty()).then_some(())
        });
        let (out, log) = (self.told("out"), self.told("log"));
        assert!(ended.is_some() && self.told("rc") == "0\n", "{out}\n{log}");
        out
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// `PACKAGE` names the file that config/debian/build has made.
#[test]
#[ignore = "needs a package, and root with cgroups of version 2: PACKAGE=$(ls $PWD/target/debian/*.deb) cargo test --test installed -- --ignored booted"]
fn the_service_starts_restarts_and_stops_under_systemd() {
    eprintln!("{}", System::boot(&[], SCRIPT).wait());
}
