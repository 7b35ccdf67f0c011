//! `cluster`: five children of one process, shown line by line where there is no terminal.

use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

use crate::support::http::Client;
use crate::support::net::Net;
use crate::support::process::{Process, program};
use crate::support::{NAMES, wait_for};

/// The command in a namespace of its own.
struct Running {
    dir: TempDir,
    net: Arc<Net>,
    process: Process,
}

fn running(arguments: &[&str]) -> Option<Running> {
    let net = Arc::new(Net::new(&[])?);
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let mut command = program(&net);
    command.arg("cluster").args(arguments).arg("--data-dir").arg(data);
    let process = Process::start(command, dir.path(), "cluster");
    Some(Running { dir, net, process })
}

/// The `/status` of the voter at an address, if it answers.
fn status(net: &Net, last: u8) -> Option<Value> {
    let answer = net.within(|| {
        let host = ([127, 0, 0, last], 8770).into();
        Client::connect(host).ok()?.request("GET", "/status", || true).ok()
    })?;
    serde_json::from_str(&answer.body).ok()
}

#[test]
fn it_tells_who_leads_and_who_died_in_plain_lines_and_ctrl_c_stops_all() {
    let Some(mut all) = running(&[]) else { return };
    let told = |all: &Running, part: &str| {
        wait_for(part, || all.process.out().lines().any(|line| line.contains(part)).then_some(()));
    };
    told(&all, "leads in term");
    wait_for("five children and their nodes", || (all.net.pids().len() == 11).then_some(()));
    // Kill a follower by hand.
    let victim = (1..=5).find(|&last| {
        wait_for("an answer", || status(&all.net, last))["is_leader"] == Value::Bool(false)
    });
    let name = wait_for("an answer", || status(&all.net, victim.unwrap_or(1)))["node_id"]
        .as_str()
        .map(ToOwned::to_owned)
        .expect("a name");
    let pid = pid_of(&all.net, &name);
    rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
    told(&all, "signal 9");
    assert!(all.process.out().lines().any(|line| line.contains(&name)), "{}", all.process.out());
    all.process.signal(Signal::INT);
    assert_eq!(all.process.ended().code(), Some(0), "{}", all.process.log());
    let out = all.process.out();
    assert!(!out.contains('\u{1b}'), "control characters without a terminal: {out:?}");
    assert_eq!(all.net.pids(), [0; 0], "children are left");
    // All of them said farewell themselves.
    for name in NAMES.into_iter().filter(|&it| it != name) {
        let log = all.dir.path().join("data").join(format!("{name}.log"));
        let log = std::fs::read_to_string(&log).expect("a log for each voter");
        assert!(log.contains("stopping"), "{name} was not asked to stop:\n{log}");
    }
}

#[test]
fn sigterm_stops_all_as_well() {
    let Some(mut all) = running(&[]) else { return };
    wait_for("children", || (all.net.pids().len() == 11).then_some(()));
    all.process.signal(Signal::TERM);
    assert_eq!(all.process.ended().code(), Some(0), "{}", all.process.log());
    assert_eq!(all.net.pids(), [0; 0], "children are left");
}

#[test]
fn killed_it_leaves_no_children() {
    let Some(mut all) = running(&[]) else { return };
    wait_for("children", || (all.net.pids().len() == 11).then_some(()));
    all.process.kill();
    wait_for("the end of the children", || all.net.pids().is_empty().then_some(()));
}

#[test]
fn it_runs_the_voters_of_a_file_on_loopback_addresses() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/distributed_hosts.yaml");
    let Some(all) = running(&["--config", shipped.to_str().expect("text")]) else { return };
    let leader =
        wait_for("a leader", || status(&all.net, 1)?["leader_id"].as_str().map(ToOwned::to_owned));
    assert!(NAMES.contains(&leader.as_str()));
    let agreed = |last| status(&all.net, last).is_some_and(|it| it["leader_id"] == *leader);
    wait_for("all five to know it", || (1..=5).all(agreed).then_some(()));
}

/// The process that runs a voter.
fn pid_of(net: &Net, name: &str) -> rustix::process::Pid {
    // Not its guardian, which has the same arguments but one.
    let runs = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
        words.contains(&b"--guarded".as_slice()) && words.contains(&name.as_bytes())
    };
    let pid = net.pids().into_iter().find(runs).expect("it runs");
    rustix::process::Pid::from_raw(pid).expect("a process id")
}
