//! What the commands that ask a node print, held as texts: the program as it ships, against a server with
//! the recorded answers of a real node.
//!
//! `UPDATE=1 cargo test --test terminal` writes the texts anew.

#![cfg(test)]

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terminal")
}

/// The events of the recorded node, each with its end.
fn recorded_events() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("recorded/events.txt")).unwrap();
    text.split_inclusive("\n\n").filter(|it| it.starts_with("id:")).map(ToOwned::to_owned).collect()
}

/// Answers as the recorded node did, on a port of its own. A reader of `/events` without an id is told
/// the state under the id of the last event but two, so that two are still to come.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap()));
        }
    });
    address
}

fn answer(stream: TcpStream) {
    let (mut path, mut last) = (String::new(), None);
    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().unwrap_or_default().replace('/', "_");
        }
        if let Some(id) = line.to_lowercase().strip_prefix("last-event-id: ") {
            last = id.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    let mut stream = stream;
    // Whoever has heard enough goes away.
    let _gone = if path == "events" {
        let events = recorded_events();
        let newest = events.len() - 2;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nretry: 1000\n\n";
        let id = events[newest - 1].lines().next().unwrap();
        let state = format!(
            "{id}\nevent: state\ndata: {{\"at\":\"2026-11-23T00:35:19.609Z\",\"node_id\":\"vultr-a100-20gb\",\
             \"leader_id\":\"vultr-a100-20gb\",\"term\":1795394107,\"alive_peers\":4,\"total_peers\":6}}\n\n"
        );
        let told =
            last.map_or_else(|| state + &events[newest..].concat(), |last| events[last..].concat());
        stream.write_all(format!("{head}{told}").as_bytes())
    } else {
        let body = std::fs::read_to_string(folder().join(format!("recorded/{path}.json"))).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes())
    };
}

fn command(words: &[&str], at: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift-p2p"));
    command.args(words).args(["--url", &format!("http://{at}")]);
    for name in ["NO_COLOR", "TERM"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn output(words: &[&str]) -> Output {
    command(words, serve()).output().unwrap()
}

/// The text that a command prints, without an error.
fn text(words: &[&str]) -> String {
    let output = output(words);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), error.as_str()), (Some(0), ""), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every command with the name of its text.
const COMMANDS: [(&str, &[&str]); 8] = [
    ("status", &["status"]),
    ("status-why", &["status", "--why"]),
    ("status-colour", &["status", "--color", "always"]),
    ("members", &["members"]),
    ("members-hearing", &["members", "--hearing"]),
    ("members-colour", &["members", "--color=always", "--hearing"]),
    ("history", &["history"]),
    ("events", &["events"]),
];

#[test]
fn what_is_printed_is_as_it_was() {
    for (name, words) in COMMANDS {
        let said = text(words).replace('\u{1b}', "\u{241b}");
        let file = folder().join(format!("golden/{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &said).unwrap();
        }
        let held = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(said, held, "{name}: look at it, and run UPDATE=1 cargo test --test terminal");
    }
}

#[test]
fn without_a_terminal_there_are_no_colours() {
    for (_, words) in COMMANDS.iter().filter(|(name, _)| !name.ends_with("colour")) {
        assert!(!text(words).contains('\u{1b}'), "{words:?}");
    }
}

#[test]
fn json_is_the_answer_as_it_came() {
    let recorded = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder().join("recorded").join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let said = |words: &[&str]| -> Value { serde_json::from_str(&text(words)).unwrap() };
    assert_eq!(said(&["status", "--json"]), recorded("status.json"));
    assert_eq!(said(&["members", "--json"]), recorded("members.json"));
    assert_eq!(said(&["history", "--json"]), recorded("election_status.json")["last_elections"]);
    let lines = text(&["events", "--json", "-n", "3"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["event"].is_string() && line["at"].is_string()));
}

#[test]
fn following_goes_on_after_the_last_of_the_past_and_misses_nothing() {
    let mut child = command(&["events", "--follow", "-n", "2", "--json"], serve())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told: Vec<Value> =
        lines.take(5).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let mut error = child.stderr.take().unwrap();
    // The stream of this server ends; it is told, and asked for again.
    let mut said = [0; 13];
    error.read_exact(&mut said).unwrap();
    child.kill().and_then(|()| child.wait()).unwrap();
    assert_eq!(&said, b"connection to");
    let ids: Vec<&str> = told.iter().filter_map(|it| it["id"].as_str()).collect();
    let names: Vec<&str> = told.iter().filter_map(|it| it["event"].as_str()).collect();
    let all = recorded_events();
    let id = |back: usize| all[all.len() - back].lines().next().unwrap()[4..].to_owned();
    // The two last of the past, the state that they lead to, and the two that follow.
    assert_eq!(ids, [id(4), id(3), id(3), id(2), id(1)]);
    assert_eq!(names[2], "state");
}

#[test]
fn watching_asks_again_and_says_when_there_is_no_answer() {
    let mut child =
        command(&["status", "--watch=0.1"], serve()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let heads = lines.map_while(Result::ok).filter(|line| line.starts_with("node     ")).take(3);
    assert_eq!(heads.count(), 3);
    child.kill().and_then(|()| child.wait()).unwrap();
    // A port where nothing listens any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = command(&["status", "-w=0.1"], closed).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).filter(|line| line.contains("nothing listens")).take(2);
    assert_eq!(told.count(), 2);
    child.kill().and_then(|()| child.wait()).unwrap();
}

/// What a person sees of a command on a terminal that a server keeps waiting: `script` gives it one.
#[test]
fn on_a_terminal_there_are_colours_and_a_word_while_one_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let words = format!(
        "{} members --url http://{}",
        env!("CARGO_BIN_EXE_ringrift-p2p"),
        listener.local_addr().unwrap()
    );
    let mut script = Command::new("script");
    script.args(["-qefc", &words, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
    let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = child.stdout.take().unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    // Nobody answers before the person has been told that it takes a while.
    while !text.contains(" s ...") {
        seen.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    assert!(text.contains("waiting for 127.0.0.1:"), "{text}");
    answer(listener.accept().unwrap().0);
    answer(listener.accept().unwrap().0);
    let mut rest = Vec::new();
    seen.read_to_end(&mut rest).unwrap();
    let rest = String::from_utf8_lossy(&rest);
    let (wiped, shown) = rest.split_once("NODE").unwrap();
    assert!(wiped.contains("\r\u{1b}[K"), "the word is wiped away before the answer: {wiped:?}");
    assert!(shown.contains("\u{1b}[31mdead\u{1b}[0m"), "{shown:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn wrong_usage_is_64_and_an_absent_node_69() {
    for words in [&["status", "--watch=0"][..], &["status", "--watch=x"], &["events", "-n", "1001"]]
    {
        assert_eq!(output(words).status.code(), Some(64), "{words:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for words in [&["status"][..], &["members"], &["events"], &["events", "-f"], &["history"]] {
        assert_eq!(command(words, closed).output().unwrap().status.code(), Some(69), "{words:?}");
    }
}
