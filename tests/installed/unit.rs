//! `config/systemd/ringrift-p2p.service`: understood by systemd, closed as far as it goes, and started by a line that
//! the program takes.

use crate::{file, said, text, tool};

/// The worst exposure that systemd-analyze may find, in tenths: 0 is closed, 100 open.
const EXPOSURE: &str = "15";

/// The values of a setting, in order.
pub fn settings(key: &str) -> Vec<String> {
    let unit = text("config/systemd/ringrift-p2p.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// The only value of a setting.
#[track_caller]
pub fn setting(key: &str) -> String {
    let [only] = settings(key).try_into().unwrap_or_else(|all| panic!("{key}: {all:?}"));
    only
}

#[test]
fn systemd_finds_nothing_to_complain_of() {
    let Some(mut analyze) = tool("systemd-analyze") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let installed = dir.path().join("ringrift-p2p.service");
    let program = env!("CARGO_BIN_EXE_ringrift-p2p");
    let unit = text("config/systemd/ringrift-p2p.service");
    assert!(unit.contains("/usr/bin/ringrift-p2p"));
    let unit = unit.replace("/usr/bin/ringrift-p2p", program);
    std::fs::write(&installed, unit).expect("a file");
    let said = said(analyze.args(["verify", "--man=no"]).arg(installed));
    let ours: Vec<_> = said.lines().filter(|line| line.contains("ringrift")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[test]
fn the_service_is_closed_as_far_as_it_goes() {
    let Some(mut analyze) = tool("systemd-analyze") else { return };
    analyze.args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE]);
    said(analyze.arg(file("config/systemd/ringrift-p2p.service")));
}

/// The command line, with the options that it has where nobody has set others.
pub fn command_line() -> String {
    let options = settings("Environment");
    let options = options.iter().find_map(|it| it.strip_prefix("RINGRIFT_OPTIONS="));
    setting("ExecStart").replace("$RINGRIFT_OPTIONS", options.expect("options"))
}

#[test]
fn the_command_line_contains_the_old_name_and_is_understood() {
    let line = command_line();
    let words: Vec<_> = line.split(' ').collect();
    assert_eq!(words[..2], ["@/usr/bin/ringrift-p2p", "p2p_orchestrator"]);
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_ringrift-p2p"))
        .args(&words[2..])
        .arg("--help")
        .output()
        .expect("it starts");
    assert!(help.status.success(), "{help:?}");
}

#[test]
fn votes_and_promises_are_where_a_restart_finds_them() {
    let environment = settings("Environment").join(" ");
    for (variable, folder) in [("XDG_STATE_HOME", "/var/lib"), ("XDG_RUNTIME_DIR", "/run")] {
        assert!(environment.contains(&format!("{variable}={folder}")), "{environment}");
    }
    for key in ["StateDirectory", "RuntimeDirectory", "User", "Group"] {
        assert_eq!(setting(key), "ringrift-p2p");
    }
    assert_eq!(setting("RuntimeDirectoryPreserve"), "yes");
    let users = text("config/systemd/ringrift-p2p.sysusers");
    assert!(users.contains("\nu ringrift-p2p "), "the service's user is made");
}

#[test]
fn a_guarded_node_can_speak_to_systemd_and_its_guardian_outlives_it() {
    assert_eq!(setting("Type"), "notify");
    assert_eq!(setting("NotifyAccess"), "all", "the node is not the main process");
    assert_eq!(setting("KillMode"), "mixed", "the guardian ends its node");
    assert!(command_line().ends_with(" run --guardian"));
    assert_eq!(settings("WatchdogSignal"), [""; 0], "SIGABRT is what the guardian takes");
}
