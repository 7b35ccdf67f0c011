//! The server on real sockets: keep-alive, limits, slow clients.

mod events;

use super::*;
use crate::http::fixtures::{facts, wall};
use crate::http::{Feed, feed};
use crate::telemetry::Metrics;
use crate::telemetry::fixtures::{self, NOW};
use arc_swap::ArcSwap;
use serde_json::Value;
use std::io::{Read, Write};
use std::time::Duration;

/// No test lasts so long: a limit that is not what a test is about.
const FOREVER: Duration = Duration::from_secs(3_600);

/// How long a client waits for what must come: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn unlimited() -> Limits {
    Limits {
        connections: 8,
        head: FOREVER,
        body: FOREVER,
        command: FOREVER,
        exchange: FOREVER,
        readers: 4,
        keep_alive: FOREVER,
    }
}

struct Running {
    handle: Handle,
    commands: mpsc::Receiver<super::super::Request>,
    reloading: mpsc::Receiver<super::super::ReloadRequest>,
    status: Arc<ArcSwap<crate::node::Status>>,
    feed: Feed,
}

fn start(limits: Limits) -> Running {
    let facts = Arc::new(facts());
    let kinds = (["ping"], ["magic"]);
    let metrics = Metrics::new(facts.node, &facts.config, &kinds.0, &kinds.1, None).unwrap();
    let metrics = Arc::new(metrics);
    let status = Arc::new(ArcSwap::from_pointee(fixtures::leader()));
    let (sender, commands) = mpsc::channel(1);
    let (reloads, reloading) = mpsc::channel(1);
    let shared = Shared {
        status: Arc::clone(&status),
        now: || NOW,
        wall,
        metrics,
        facts,
        commands: sender,
        reloads,
    };
    let (feed, tap) = feed();
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    let handle = spawn(vec![listener], shared, tap, limits).unwrap();
    Running { handle, commands, reloading, status, feed }
}

struct Client(net::TcpStream);

/// Status line and headers, and the body.
type Heard = (String, String);

impl Client {
    fn new(server: &Running) -> Self {
        let stream = net::TcpStream::connect(server.handle.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).unwrap();
        self
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn hear(&mut self) -> Heard {
        let head = self.head();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    fn get(&mut self, path: &str) -> Heard {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).hear()
    }

    /// Whether `/health` is answered with 200.
    fn try_health(&mut self) -> bool {
        let _ = self.0.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut status = [0; 13];
        self.0.read_exact(&mut status).is_ok() && &status == b"HTTP/1.1 200 "
    }

    /// Waits until the server closes; returns what it still said.
    fn closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        rest
    }
}

fn trigger(body: &str) -> String {
    format!(
        "POST /election/trigger HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn code(heard: &Heard) -> (&str, String) {
    let body: Value = serde_json::from_str(&heard.1).unwrap();
    let status = heard.0.split(' ').nth(1).unwrap();
    (status, body["error_code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn one_connection_serves_many_requests_and_each_sees_the_newest_status() {
    let server = start(unlimited());
    let mut client = Client::new(&server);
    assert!(client.get("/leader").0.starts_with("HTTP/1.1 200 "));
    server.status.store(Arc::new(fixtures::expired()));
    assert!(client.get("/leader").0.starts_with("HTTP/1.1 503 "));
    assert!(client.get("/nope").0.starts_with("HTTP/1.1 404 "));
    assert!(client.get("/metrics").1.contains("\nringrift_p2p_is_leader 0\n"));
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = start(unlimited());
    let mut client = Client::new(&server);
    let (get, body) = client.get("/leader");
    let head = client.send("HEAD /leader HTTP/1.1\r\nhost: localhost\r\n\r\n").head();
    let fields = |head: &str| {
        let lines = head.lines().filter(|line| !line.starts_with("date:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(fields(&head), fields(&get));
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    // Were there a body, the next answer would not begin here.
    assert!(client.get("/health").0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_command_reaches_the_node_and_its_reply_the_client() {
    let mut server = start(unlimited());
    let mut client = Client::new(&server);
    client.send(&trigger(r#"{"reason":"drill"}"#));
    let (command, answer) = server.commands.blocking_recv().unwrap();
    assert_eq!(command, Command::Trigger);
    answer.send(Reply::Started { term: 7 }).unwrap();
    let (head, body) = client.hear();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body.contains(r#""started":true,"reason":"drill""#), "{body}");
}

/// Found by the fuzzer: the answer to a client that had closed its side was lost now and then.
#[test]
fn a_client_that_has_closed_its_side_is_answered() {
    let mut server = start(unlimited());
    let mut client = Client::new(&server);
    client.send(&trigger(r#"{"reason":"drill"}"#));
    client.0.shutdown(net::Shutdown::Write).unwrap();
    let (_, answer) = server.commands.blocking_recv().unwrap();
    // By now the server has seen the end of what this one says.
    assert!(Client::new(&server).get("/status").0.starts_with("HTTP/1.1 200 "));
    answer.send(Reply::AlreadyInProgress).unwrap();
    assert!(client.hear().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_malformed_body_never_reaches_the_node() {
    let mut server = start(unlimited());
    let mut client = Client::new(&server);
    assert_eq!(code(&client.send(&trigger("{")).hear()), ("400", "BAD_REQUEST".to_owned()));
    assert!(server.commands.try_recv().is_err());
}

#[test]
fn a_foreign_origin_never_reaches_the_node() {
    let mut server = start(unlimited());
    let mut client = Client::new(&server);
    client.send("POST /election/trigger HTTP/1.1\r\nhost: localhost\r\n");
    client.send("origin: http://evil.example\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(code(&client.hear()), ("403", "FORBIDDEN".to_owned()));
    assert!(server.commands.try_recv().is_err());
}

#[test]
fn a_node_that_does_not_answer_gives_503() {
    let server = start(Limits { command: Duration::from_millis(1), ..unlimited() });
    let mut client = Client::new(&server);
    assert_eq!(code(&client.send(&trigger("")).hear()), ("503", "TIMEOUT".to_owned()));
    // The first command still fills the queue of one.
    assert_eq!(code(&client.send(&trigger("")).hear()), ("503", "BUSY".to_owned()));
    drop(server.commands);
    assert_eq!(code(&client.send(&trigger("")).hear()), ("503", "STOPPING".to_owned()));
}

#[test]
fn an_oversized_body_is_413_announced_or_not() {
    let server = start(unlimited());
    let post = "POST /election/trigger HTTP/1.1\r\nhost: localhost\r\n";
    let mut announced = Client::new(&server);
    announced.send(&format!("{post}content-length: {}\r\n\r\n", MAX_BODY + 1));
    assert_eq!(code(&announced.hear()), ("413", "BODY_TOO_LARGE".to_owned()));
    assert_eq!(announced.closed(), b"");
    let mut chunked = Client::new(&server);
    chunked.send(&format!("{post}transfer-encoding: chunked\r\n\r\n{:x}\r\n", MAX_BODY + 1));
    chunked.send(&"x".repeat(MAX_BODY + 1));
    assert_eq!(code(&chunked.hear()), ("413", "BODY_TOO_LARGE".to_owned()));
}

#[test]
fn the_largest_body_is_read() {
    let mut server = start(unlimited());
    let mut client = Client::new(&server);
    client.send(&trigger(&format!("{{}}{}", " ".repeat(MAX_BODY - 2))));
    let (_, answer) = server.commands.blocking_recv().unwrap();
    answer.send(Reply::AlreadyInProgress).unwrap();
    assert!(client.hear().0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_slow_head_ends_the_connection() {
    let server = start(Limits { head: Duration::from_millis(20), ..unlimited() });
    let mut client = Client::new(&server);
    client.send("GET /health HTTP/1.1\r\nhost: lo");
    client.closed();
}

#[test]
fn an_idle_connection_is_ended() {
    let server = start(Limits { head: Duration::from_millis(20), ..unlimited() });
    // On a busy machine the client may itself be too slow to be served at first.
    let mut served = std::iter::repeat_with(|| {
        let mut client = Client::new(&server);
        client.try_health().then_some(client)
    });
    let mut client = served.find_map(|client| client).unwrap();
    client.closed();
}

#[test]
fn a_slow_body_is_408_and_ends_the_connection() {
    let server = start(Limits { body: Duration::from_millis(20), ..unlimited() });
    let mut client = Client::new(&server);
    client.send("POST /election/trigger HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{");
    assert_eq!(code(&client.hear()), ("408", "TIMEOUT".to_owned()));
    client.closed();
}

#[test]
fn a_client_that_does_not_read_is_ended() {
    let server = start(Limits { exchange: Duration::from_millis(200), ..unlimited() });
    let mut client = Client::new(&server);
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.0.set_write_timeout(Some(PATIENCE)).unwrap();
    // Until the buffers between the two are full the server answers; then it waits, and ends.
    let end = loop {
        if let Err(error) = client.0.write_all(request.as_bytes()) {
            break error.kind();
        }
    };
    assert!(matches!(end, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{end}");
}

#[test]
fn a_connection_beyond_the_limit_takes_the_place_of_one_that_only_waits() {
    let server = start(Limits { connections: 2, ..unlimited() });
    let mut idle = Client::new(&server);
    assert!(idle.get("/health").0.starts_with("HTTP/1.1 200 "));
    let mut slow = Client::new(&server);
    slow.send("GET /health HTTP/1.1\r\nhost: lo");
    for _ in 0..10 {
        assert!(Client::new(&server).get("/health").0.starts_with("HTTP/1.1 200 "));
    }
    let mut others = [Client::new(&server), Client::new(&server)];
    others.iter_mut().for_each(|other| assert!(other.try_health()));
    assert_eq!((idle.closed(), slow.closed()), (Vec::new(), Vec::new()));
}

#[test]
fn connections_beyond_the_limit_are_told_and_closed_when_all_are_being_answered() {
    let mut server = start(Limits { connections: 1, ..unlimited() });
    let mut first = Client::new(&server);
    first.send(&trigger(""));
    let (_, answer) = server.commands.blocking_recv().unwrap();
    let mut second = Client::new(&server);
    assert_eq!(code(&second.hear()), ("503", "BUSY".to_owned()));
    assert_eq!(second.closed(), b"");
    answer.send(Reply::AlreadyInProgress).unwrap();
    assert!(first.hear().0.starts_with("HTTP/1.1 200 "));
    let refused = "\nringrift_p2p_http_connections_refused_total 1\n";
    assert!(Client::new(&server).get("/metrics").1.contains(refused));
}

/// A page that takes for ever keeps no probe waiting: it has another thread.
#[test]
fn short_pages_are_answered_at_the_door() {
    let server = start(unlimited());
    let begins = [
        (&b"GET /health HTTP/1.1\r\n"[..], true),
        (b"GET /ready?now HTTP", true),
        (b"HEAD /leader HTTP/1.1\r\nhost: local", true),
        (b"GET /status HTTP/1.1", false),
        (b"GET /events HTTP/1.1", false),
        (b"POST /health HTTP/1.1", false),
        (b"GET /healthy HTTP/1.1", false),
        (b"GET /health", false),
        (b"", false),
    ];
    for (first, short) in begins {
        assert_eq!(route::begins_short(first), short, "{}", String::from_utf8_lossy(first));
    }
    // One that begins in parts is answered all the same, and one that changes its mind.
    let mut client = Client::new(&server);
    client.send("GET /hea");
    assert!(Client::new(&server).get("/health").0.starts_with("HTTP/1.1 200 "));
    client.send("lth HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(client.hear().0.starts_with("HTTP/1.1 200 "));
    for path in ["/health", "/status", "/leader", "/metrics"] {
        assert!(client.get(path).0.starts_with("HTTP/1.1 200 "), "{path}");
    }
}

#[test]
fn a_slow_body_gives_way_too() {
    let server = start(Limits { connections: 1, ..unlimited() });
    let mut slow = Client::new(&server);
    slow.send("POST /election/trigger HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{");
    assert!(Client::new(&server).get("/health").0.starts_with("HTTP/1.1 200 "));
    assert_eq!(slow.closed(), b"");
}

#[test]
fn connections_are_kept_while_there_is_room_and_end_after_an_answer_when_there_is_little() {
    let server = start(Limits { connections: 8, ..unlimited() });
    let mut first = Client::new(&server);
    assert!(!first.get("/health").0.contains("connection: close"));
    let _others: Vec<_> = (0..6).map(|_| Client::new(&server)).collect();
    // The seventh place is taken once the last of them was accepted, which was before this question.
    let mut last = Client::new(&server);
    assert!(last.get("/health").0.contains("connection: close"));
    assert_eq!(last.closed(), b"");
}

#[test]
fn a_dropped_handle_stops_the_server() {
    let server = start(unlimited());
    let mut client = Client::new(&server);
    client.get("/health");
    let address = server.handle.addresses()[0];
    drop(server.handle);
    client.closed();
    assert!(net::TcpStream::connect(address).is_err());
}

#[test]
fn keys_are_read_again_by_a_post_and_the_outcome_is_told() {
    let mut server = start(unlimited());
    let ids = vec!["0a0b0c0d".to_owned()];
    let keys = super::super::Keys { ids, unsealed: Some("refuse") };
    for (outcome, status, says) in [
        (Ok(keys), " 200 ", r#""keys":["0a0b0c0d"]"#),
        (Err("line 3: no key".to_owned()), " 409 ", "line 3: no key"),
    ] {
        let mut client = Client::new(&server);
        client.send("POST /keys/reload HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server.reloading.blocking_recv().unwrap().send(outcome).unwrap();
        let (head, body) = client.hear();
        assert!(head.contains(status), "{head}");
        assert!(body.contains(says), "{body}");
    }
}
