//! Who may give orders to a node that has a token, and the keys that an operator makes and changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::NAMES;
use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::process::program;
use crate::{ALL, five};

const TOKEN: &str = "a-token-of-this-test";

/// The file of the token.
fn token_file(cluster: &Cluster) -> PathBuf {
    let path = cluster.dir.path().join("token");
    fs::write(&path, format!("{TOKEN}\n")).expect("a file");
    path
}

/// Exit code, and what was said on standard output and error.
fn ran(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Five voters that want a token of whoever gives orders, with a leader.
fn with_token() -> Option<(Cluster, PathBuf)> {
    // A lease that no busy machine costs.
    let mut cluster = on_loopback(Timing { heartbeat_ms: 1_000, lease_ms: 60_000 })?;
    let file = token_file(&cluster);
    for node in ALL {
        let mut command = cluster.command(node);
        command.env("RINGRIFT_CLUSTER_AUTH_TOKEN_FILE", &file);
        cluster.start_as(node, command);
    }
    cluster.wait_agreed(&ALL);
    Some((cluster, file))
}

#[test]
fn a_node_with_a_token_takes_orders_from_whoever_shows_it_and_from_nobody_else() {
    let Some((cluster, _)) = with_token() else { return };
    let before = cluster.wait_agreed(&ALL);
    let (leader, term) = before;
    let post = |path: &str, header: &str| {
        let answer = cluster.ask_with(leader, "POST", path, header).expect("an answer");
        (answer.status, answer)
    };
    for path in ["step_down", "transfer", "drain", "resume", "trigger"] {
        let path = format!("/election/{path}");
        for header in ["", "Authorization: Bearer another\r\n", "X-RingRift-Auth: another\r\n"] {
            let (status, answer) = post(&path, header);
            assert_eq!(status, 401, "{path} with {header:?}: {}", answer.body);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(!answer.body.contains(TOKEN));
        }
    }
    assert_eq!(post("/keys/reload", "").0, 401);
    assert_eq!(cluster.wait_agreed(&ALL), before, "nothing was done");
    // Who only asks needs no token.
    assert_eq!(cluster.ask(leader, "GET", "/leader").expect("an answer").status, 200);
    let (status, answer) = post("/election/drain", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert_eq!(status, 200, "{}", answer.body);
    let (next, next_term) = cluster.wait_agreed(&ALL);
    assert!(next != leader && next_term > term);
    let (status, answer) = post("/election/resume", &format!("X-RingRift-Auth: {TOKEN}\r\n"));
    assert_eq!(status, 200, "{}", answer.body);
}

#[test]
fn commands_find_the_token_in_its_file_and_say_what_is_missing() {
    let Some((cluster, file)) = with_token() else { return };
    let (leader, term) = cluster.wait_agreed(&ALL);
    let verbs: [&[&str]; 6] = [
        &["step-down"],
        &["transfer", "--to", NAMES[(leader + 1) % 5]],
        &["drain"],
        &["resume"],
        &["trigger"],
        &["reload-keys"],
    ];
    for verb in verbs {
        let (code, said) = ran(cluster.asking(leader, verb));
        assert_eq!(code, Some(75), "{verb:?}: {said}");
        assert!(said.contains("set RINGRIFT_CLUSTER_AUTH_TOKEN"), "{said}");
    }
    let with = |node: usize, verb: &[&str]| {
        let mut command = cluster.asking(node, verb);
        command.env("RINGRIFT_CLUSTER_AUTH_TOKEN_FILE", &file);
        ran(command)
    };
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term));
    let (code, said) = with(leader, &["step-down"]);
    assert_eq!(code, Some(0), "{said}");
    let (next, _) = cluster.wait_agreed(&ALL);
    assert_ne!(next, leader);
    let (code, said) = with(leader, &["resume"]);
    assert_eq!((code, said.contains("may lead again")), (Some(0), true), "{said}");
    // A token that was meant and is not there is an error, and not no token.
    let mut command = cluster.asking(next, &["step-down"]);
    command.env("RINGRIFT_CLUSTER_AUTH_TOKEN_FILE", file.with_extension("gone"));
    let (code, said) = ran(command);
    assert_eq!(code, Some(64), "{said}");
}

#[test]
fn keys_that_keygen_makes_seal_and_reload_keys_changes_them() {
    let Some(mut cluster) = five() else { return };
    let ring = cluster.dir.path().join("keys");
    let key = || {
        let mut command = program(cluster.net(0));
        command.arg("keygen");
        let (code, said) = ran(command);
        assert_eq!(code, Some(0), "{said}");
        said
    };
    let (first, second) = (key(), key());
    assert_ne!(first, second);
    let write = |text: &str| {
        fs::write(&ring, text).expect("a file");
        fs::set_permissions(&ring, fs::Permissions::from_mode(0o600)).expect("our own file");
    };
    write(&first);
    let mut text = fs::read_to_string(&cluster.config).expect("the configuration");
    text.push_str(&format!("gossip: {{key_file: {}}}\n", ring.display()));
    fs::write(&cluster.config, text).expect("a file");
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    // What the comment of each key calls it.
    let name = |text: &str| text.split_whitespace().nth(2).expect("its name").to_owned();
    let (old, new) = (name(&first), name(&second));
    for (text, said) in [
        (format!("{first}{second}"), format!("{old}, {new}")),
        (format!("{second}{first}"), format!("{new}, {old}")),
        (second.clone(), new),
    ] {
        write(&text);
        for node in ALL {
            let answer = ran(cluster.asking(node, &["reload-keys"]));
            let wanted = format!("keys in use: {said}; the first one seals\n");
            assert_eq!(answer, (Some(0), wanted));
        }
        cluster.wait_agreed(&ALL);
    }
    write("no key\n");
    let (code, said) = ran(cluster.asking(0, &["reload-keys"]));
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("line 1: a key is 64 hexadecimal digits"), "{said}");
}
