//! README, "For programs": each command as it stands there.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::cluster::Cluster;
use crate::support::net::Net;
use crate::support::process::Process;
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

/// Types a command at a cluster and judges what it says.
type Trial = fn(&Cluster, &str);

/// What each command is tried by.
const TRIED: [(&str, Trial); 6] = [
    ("curl -fsS http://localhost:8770/leader", asks_for_the_leader),
    ("curl -sI http://localhost:8770/leader | grep -i '^x-'", asks_for_headers),
    ("curl -s http://localhost:8770/leader | jq -r '.address'", asks_for_the_address),
    ("curl -sN http://localhost:8770/events", follows),
    ("haproxy -c -f config/haproxy/haproxy.cfg", checks_haproxy),
    ("cargo run --example fencing", is_fenced),
];

/// The lines of the chapter's blocks of shell.
fn commands() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let after = readme.split_once("\n## For programs\n").expect("the chapter").1;
    let chapter = after.split_once("\n## ").map_or(after, |(chapter, _)| chapter);
    let blocks = chapter.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| Some(rest.split_once("\n```")?.0));
    blocks.flat_map(str::lines).map(ToOwned::to_owned).collect()
}

#[test]
fn every_command_of_the_chapter_is_tried_and_works() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    for command in commands() {
        let tried = TRIED.iter().find(|(known, _)| *known == command);
        let Some((_, by)) = tried else { panic!("nothing tries the command {command:?}") };
        by(&cluster, &command);
    }
}

/// Typed on the host of the voters, in the folder of the project.
fn type_in(net: &Net, command: &str) -> Output {
    let mut bash = net.command("bash");
    bash.args(["-c", command]).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    bash.output().expect("bash runs")
}

/// The same, until it says what is expected of a cluster that may change its leader meanwhile.
#[track_caller]
fn says(cluster: &Cluster, command: &str, right: impl Fn(usize, u64, &Output, &str) -> bool) {
    wait_for(command, || {
        let (leader, term) = cluster.agreed(&ALL)?;
        let output = type_in(cluster.net(0), command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        right(leader, term, &output, &text).then_some(())
    });
}

fn asks_for_the_leader(cluster: &Cluster, command: &str) {
    says(cluster, command, |leader, term, output, text| match leader {
        0 => output.status.code() == Some(0) && text.contains(&format!("\"term\":{term}")),
        // `localhost` is the first voter; it says who leads in its body, which -f leaves out.
        _ => output.status.code() == Some(22) && text.is_empty(),
    });
}

fn asks_for_headers(cluster: &Cluster, command: &str) {
    says(cluster, command, |leader, term, _, text| {
        let has = |line: &str| text.lines().any(|it| it.trim_end().eq_ignore_ascii_case(line));
        let leads = has(&format!("x-leader-term: {term}"))
            && text.to_lowercase().contains("x-lease-remaining-ms: ");
        has(&format!("x-leader-id: {}", NAMES[leader]))
            && has(&format!("x-leader-address: {}:8770", cluster.address(leader)))
            && leads == (leader == 0)
    });
}

fn asks_for_the_address(cluster: &Cluster, command: &str) {
    says(cluster, command, |leader, _, _, text| {
        text == format!("{}:8770\n", cluster.address(leader))
    });
}

fn follows(cluster: &Cluster, command: &str) {
    let mut bash = cluster.net(0).command("bash");
    // It has no end of its own: bash becomes the program, which dies with the test.
    bash.args(["-c", &format!("exec {command}")]);
    let reader = Process::start(bash, cluster.dir.path(), "curl");
    wait_for("the state", || {
        let said = reader.out();
        (said.contains("\nevent: state\ndata: {") && said.ends_with("}\n\n")).then_some(())
    });
}

fn checks_haproxy(cluster: &Cluster, command: &str) {
    if Command::new("haproxy").arg("-v").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "this test needs haproxy");
        eprintln!("not tried: {command}");
        return;
    }
    let output = type_in(cluster.net(0), command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_fenced(cluster: &Cluster, command: &str) {
    // The network of this machine is not here: cargo has what it needs.
    let command = format!("CARGO_NET_OFFLINE=true {command}");
    let cargo = Path::new(env!("CARGO")).parent().expect("a folder").display().to_string();
    let output = type_in(cluster.net(0), &format!("PATH={cargo}:$PATH; {command}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{wrong}");
    assert!(said.contains("is paused, in the middle of its work with the token "), "{said}");
    assert!(said.contains("the store says: refused, the token "), "{said}");
}
