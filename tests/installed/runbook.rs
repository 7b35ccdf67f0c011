//! `docs/runbook.md`: every command in it, typed into bash on the host of a leader.

use std::process::Command;

use crate::support::cluster::{Timing, on_loopback};
use crate::{text, tool};

/// Commands that speak to systemd, which runs in no test, or look at folders of an installed system.
const OF_THE_SYSTEM: [&str; 3] = ["systemctl ", "journalctl ", "df "];

/// The command that ends processes by their name, which has a test of its own.
const PKILL: &str = "pkill -f p2p_orchestrator";

/// The blocks of commands of a page.
fn blocks(page: &str) -> Vec<String> {
    let page = text(page);
    let blocks = page.split("```bash\n").skip(1);
    blocks.filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect()
}

#[test]
fn every_command_of_the_runbook_works_as_it_stands() {
    let Some(mut cluster) = on_loopback(Timing::SHORT) else { return };
    cluster.start_all();
    cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    cluster.wait_settled();
    let blocks = blocks("docs/runbook.md");
    assert!(blocks.len() > 10, "{blocks:#?}");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_ringrift-p2p")).parent();
    let folder = folder.expect("a folder").display();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    for block in blocks {
        let of_the_system = |line: &str| OF_THE_SYSTEM.iter().any(|it| line.starts_with(it));
        let lines: Vec<_> = block.lines().filter(|line| !of_the_system(line)).collect();
        let script = lines.join("\n");
        if script == PKILL {
            continue;
        }
        // The last block may have moved the lead; localhost is the first voter, and its host is typed on.
        cluster.make_lead(0);
        let mut bash = cluster.net(0).command("bash");
        bash.args(["-c", &format!("set -eo pipefail\n{script}")]).env("PATH", &path);
        let output = bash.current_dir(cluster.dir.path()).output().expect("bash starts");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{script}\n-- ended with {}: {told}{complained}",
            output.status
        );
        assert!(
            !told.contains("UNREACHABLE") && !told.contains("leader: none"),
            "{script}\n{told}"
        );
    }
}

#[test]
fn pkill_finds_the_service_by_its_old_name_and_it_stops_in_good_order() {
    let Some(_pkill) = tool("pkill") else { return };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    // In namespaces of its own, so that no other process has that name.
    let script = format!(
        "set -e; ip link set lo up; cd '{}'\n\
         bash -c 'exec -a p2p_orchestrator \"$0\" run --guardian --node hetzner-cpu1 \
         --config '{}' --data-dir d --promise-in-data-dir' '{}' 2>log & node=$!\n\
         until curl -sf http://127.0.0.4:8770/health http://127.0.0.3:8770/health >/dev/null; do\n\
         kill -0 $node; sleep 0.05; done\n\
         {PKILL}\nwait $node\n",
        dir.path().display(),
        crate::file("config/loopback.yaml").display(),
        env!("CARGO_BIN_EXE_ringrift-p2p"),
    );
    let file = dir.path().join("script");
    std::fs::write(&file, script).expect("a file");
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--pid", "--mount-proc", "--fork", "--kill-child", "bash"]).arg(file);
    let output = unshare.output().expect("it starts");
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(output.status.success(), "{output:?}\n{log}");
    assert!(log.contains("stopped"), "{log}");
}
