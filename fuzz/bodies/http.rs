//! Bytes as what a client sends over one connection to a running server.

use arc_swap::ArcSwap;
use core::time::Duration;
use ringrift_p2p::config;
use ringrift_p2p::election::record::{Restored, RestoredPromise};
use ringrift_p2p::http::{self, Facts, Handle, Limits, Shared};
use ringrift_p2p::node::{Node, Reply};
use ringrift_p2p::telemetry::Metrics;
use ringrift_p2p::time::Instant;
use ringrift_wire::Boot;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::SystemTime;
use tokio::sync::mpsc;

/// Longer than any answer takes: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes that one client sends.
const MAX_INPUT: usize = 70_000;

static SERVER: LazyLock<Handle> = LazyLock::new(start);

fn start() -> Handle {
    let loaded = config::loopback().expect("the built-in configuration");
    let config = Arc::new(loaded.config);
    let me = *config.voters.first().expect("the built-in configuration has voters");
    let address = "127.0.0.1:8770".parse().expect("an address");
    let now = Instant::from_nanos(1_000_000_000);
    let boot = Boot { sequence: 1, nonce: 1 };
    let params = config::node_params(&config, me, boot, 1, address, 1);
    let promise = RestoredPromise::Unknown { last_possible: now };
    let node = Node::new(params, Restored { record: None, promise, may_release: false }, now);
    let (commands, mut asked) = mpsc::channel::<http::Request>(4);
    // The node that answers commands.
    thread::spawn(move || {
        while let Some((_, reply)) = asked.blocking_recv() {
            let _ = reply.send(Reply::AlreadyInProgress);
        }
    });
    let (reloads, mut reloading) = mpsc::channel::<http::ReloadRequest>(1);
    thread::spawn(move || {
        while let Some(reply) = reloading.blocking_recv() {
            let _ = reply.send(Err("no keys".to_owned()));
        }
    });
    let metrics = Metrics::new(me, &config, &["ping"], &["magic"], None).expect("metrics");
    let facts = Facts {
        node: me,
        config,
        address,
        http_port: 8_770,
        data_dir: PathBuf::from("/"),
        work: Default::default(),
        guardian_pid: None,
        warnings: Vec::new(),
        keys: Arc::default(),
        token: None,
        source: None,
    };
    let shared = Shared {
        status: Arc::new(ArcSwap::from_pointee(node.status(now))),
        now: || Instant::from_nanos(2_000_000_000),
        wall: || SystemTime::UNIX_EPOCH,
        metrics: Arc::new(metrics),
        facts: Arc::new(facts),
        commands,
        reloads,
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // An answer that goes on has no end to wait for.
    let limits = Limits { readers: 0, ..Limits::default() };
    http::spawn(vec![listener], shared, http::feed().1, limits).expect("a server")
}

/// Whatever a client sends is answered with well-formed answers, or with none when it sent no whole
/// request; and the next client is served.
pub(crate) fn requests_are_answered_well(bytes: &[u8]) {
    let bytes = bytes.get(..MAX_INPUT).unwrap_or(bytes);
    for answer in answers(&converse(bytes)) {
        assert!((100..600).contains(&answer.0), "status {}", answer.0);
        assert_ne!(answer.0, 500, "{}", String::from_utf8_lossy(&answer.1));
    }
    let health = converse(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let health = answers(&health);
    assert!(matches!(health.as_slice(), [(200, _)]), "{health:?}");
}

fn converse(bytes: &[u8]) -> Vec<u8> {
    let address = SERVER.addresses().first().expect("it listens");
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // A server that has answered and closed need not have read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => heard,
        Err(error) => {
            use std::io::ErrorKind::{TimedOut, WouldBlock};
            assert!(!matches!(error.kind(), TimedOut | WouldBlock), "no end of the answer");
            // Reset with unread bytes: what arrived before counts, as far as it is whole.
            Vec::new()
        }
    }
}

/// Splits what a server said into answers: status and body.
fn answers(mut heard: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while !heard.is_empty() {
        let end = heard.windows(4).position(|it| it == b"\r\n\r\n").expect("a whole head") + 4;
        let head = core::str::from_utf8(&heard[..end]).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let rest = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
        let status = rest.and_then(|it| it.get(..3)).and_then(|it| it.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status: {first}"));
        let header = |name: &str| {
            head.split("\r\n").filter_map(|line| line.split_once(':')).find_map(|(key, value)| {
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length: usize = header("content-length").map_or(0, |it| it.parse().expect("a length"));
        heard = &heard[end..];
        // The answer to HEAD names a length and has no body.
        let body = match heard.get(..length) {
            Some(body) if !heard.starts_with(b"HTTP/1.") || length == 0 => body,
            _ => &[],
        };
        if !body.is_empty() && header("content-type").as_deref() == Some("application/json") {
            let json: Result<serde_json::Value, _> = serde_json::from_slice(body);
            assert!(json.is_ok(), "{}", String::from_utf8_lossy(body));
        }
        heard = &heard[body.len()..];
        found.push((status, body.to_vec()));
    }
    found
}
