//! The installed package under a real systemd: started, reloaded, killed by its name, hung, and stopped.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::file;
use crate::support::within;

/// How long all of it may take; the watchdog alone takes 20 seconds.
const PATIENCE: Duration = Duration::from_secs(150);

/// What an operator does, and what must come of it.
const SCRIPT: &str = r#"
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
        let this = root.join(format!("ringrift-test-{}", std::process::id()));
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

/// `PACKAGE` names the file that config/debian/build has made.
#[test]
#[ignore = "needs a package, and root with cgroups of version 2: PACKAGE=$(ls $PWD/target/debian/*.deb) cargo test --test installed -- --ignored booted"]
fn the_service_starts_restarts_and_stops_under_systemd() {
    let package = std::env::var("PACKAGE").expect("PACKAGE names the file");
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("script");
    std::fs::write(&script, SCRIPT).expect("a file");
    let cgroup = Cgroup::new();
    // It enters the group before it counts as the root of all groups.
    let line =
        "echo $$ > \"$0\"/cgroup.procs; exec unshare -m -p -n -u -i -C --fork --kill-child \"$@\"";
    let mut unshare = Command::new("bash");
    unshare.args(["-c", line]).arg(&cgroup.0).arg(file("tests/installed/booted.sh"));
    unshare.args([package.as_ref(), script.as_os_str()]);
    let log = std::fs::File::create(dir.path().join("log")).expect("a file");
    unshare
        .arg(dir.path())
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("a file"))
        .stdout(log);
    let mut system = unshare.spawn().expect("unshare starts");
    let told = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    let ended = within(PATIENCE, || {
        let gone = system.try_wait().expect("a child").is_some();
        (gone || !told("rc").is_empty()).then_some(())
    });
    let _gone = system.kill().and_then(|()| system.wait());
    let (out, log) = (told("out"), told("log"));
    assert!(ended.is_some() && told("rc") == "0\n", "{out}\n{log}");
    eprintln!("{out}");
}
