//! `/events` on real sockets: what a reader is told, and what one that misbehaves costs.

use super::*;
use crate::election::Event as Elect;
use crate::node::Event;

fn raised(term: u64) -> Event {
    Event::Election(Elect::TermRaised { term })
}

/// A reader whose answer has begun.
struct Reader(Client);

/// One event: its id, its name, its data.
type Told = (String, String, Value);

impl Reader {
    fn new(server: &Running, header: &str) -> Self {
        let mut client = Client::new(server);
        client.send(&format!("GET /events HTTP/1.1\r\nhost: localhost\r\n{header}\r\n"));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
        Self(client)
    }

    fn after(server: &Running, id: &str) -> Self {
        Self::new(server, &format!("last-event-id: {id}\r\n"))
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            self.0.0.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// The next event; comments and the lengths of chunks are passed over.
    fn next(&mut self) -> Told {
        let mut told = (String::new(), String::new(), Value::Null);
        loop {
            let line = self.line();
            if let Some(id) = line.strip_prefix("id: ") {
                told.0 = id.to_owned();
            } else if let Some(name) = line.strip_prefix("event: ") {
                told.1 = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                told.2 = serde_json::from_str(data).unwrap();
                return told;
            }
        }
    }

    /// The next event must have this name and this number.
    #[track_caller]
    fn expect(&mut self, name: &str, number: u64) -> Told {
        let told = self.next();
        assert_eq!((told.1.as_str(), number_of(&told.0)), (name, number), "{told:?}");
        told
    }

    /// Reads until the event of this number.
    fn skip_to(&mut self, number: u64) {
        while number_of(&self.next().0) != number {}
    }
}

fn number_of(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn process(server: &Running) -> u64 {
    server.status.load().boot.nonce
}

#[test]
fn a_reader_is_told_the_state_and_then_what_happens() {
    let server = start(unlimited());
    let mut reader = Reader::new(&server, "");
    let (_, _, state) = reader.expect("state", 0);
    assert_eq!(state["leader_id"], "nebius-backbone-1");
    assert_eq!(state["is_leader"], true);
    assert_eq!(state["term"], 7);
    assert_eq!(state["lease_ttl"], 50.0);
    assert_eq!(state["address"], "100.64.0.1:8770");
    assert_eq!(state["voters"]["hetzner-cpu1"], "alive");
    server.feed.tell(NOW, raised(8));
    server.feed.tell(NOW, Event::Election(Elect::LeaderChanged { leader: None, term: 8 }));
    let (_, _, event) = reader.expect("term_raised", 1);
    let at = "2025-12-06T05:50:00.25Z";
    assert_eq!(event, serde_json::json!({ "at": at, "node_id": "nebius-backbone-1", "term": 8 }));
    let (_, _, event) = reader.expect("leader_changed", 2);
    assert!(event["leader_id"].is_null());
}

#[test]
fn a_reader_that_comes_back_is_told_what_it_has_missed() {
    let server = start(unlimited());
    let mut first = Reader::new(&server, "");
    first.expect("state", 0);
    for term in 8..=11 {
        server.feed.tell(NOW, raised(term));
    }
    let (id, ..) = first.expect("term_raised", 1);
    first.skip_to(4);
    let mut again = Reader::after(&server, &id);
    for number in 2..=4 {
        assert_eq!(again.expect("term_raised", number).2["term"], 7 + number);
    }
}

#[test]
fn a_reader_that_comes_back_too_late_or_with_a_wild_id_is_told_the_state_anew() {
    // Comments show the server that a reader has gone.
    let server = start(Limits { keep_alive: Duration::from_millis(1), readers: 16, ..unlimited() });
    let mut watcher = Reader::new(&server, "");
    let (old, ..) = watcher.expect("state", 0);
    let many = crate::http::ring::MAX_KEPT as u64 + 1;
    for number in 1..=many {
        server.feed.tell(NOW, raised(number));
        watcher.expect("term_raised", number);
    }
    server.feed.covered(many);
    let other = format!("{:016x}-3", process(&server) ^ 1);
    let future = format!("{:016x}-{}", process(&server), many + 1);
    let long = "9".repeat(10_000);
    for wild in [&*old, &*other, &*future, &*long, "x", "-", "\u{fffd}", "0-0", "-1"] {
        let mut reader = Reader::after(&server, wild);
        assert_eq!(reader.expect("reset", many).2["leader_id"], "nebius-backbone-1");
        drop(reader);
    }
    let metrics = Client::new(&server).get("/metrics").1;
    assert!(metrics.contains("\nringrift_p2p_event_resets_total 9\n"), "{metrics}");
}

/// Invariant 2 of the events.
#[test]
fn lost_events_are_told_as_a_reset() {
    let server = start(unlimited());
    let mut reader = Reader::new(&server, "");
    reader.expect("state", 0);
    server.feed.tell(NOW, raised(8));
    reader.expect("term_raised", 1);
    server.feed.lose(3);
    server.feed.tell(NOW, raised(9));
    server.feed.covered(5);
    reader.expect("reset", 5);
    server.feed.tell(NOW, raised(10));
    reader.expect("term_raised", 6);
    let metrics = Client::new(&server).get("/metrics").1;
    assert!(metrics.contains("\nringrift_p2p_events_dropped_total 3\n"), "{metrics}");
}

/// Invariant 3 of the events.
#[test]
fn a_state_that_lacks_forgotten_events_is_not_told() {
    let server = start(unlimited());
    let mut watcher = Reader::new(&server, "");
    watcher.expect("state", 0);
    server.feed.lose(2);
    server.feed.tell(NOW, raised(9));
    let mut other = Client::new(&server);
    // The event has come into the ring, and the two before it are missed there.
    while !other.get("/metrics").1.contains("ringrift_p2p_events_dropped_total 2") {}
    let mut reader = Reader::new(&server, "");
    // Long pages and events have one thread: by the second answer it has looked after the reader.
    other.get("/status");
    other.get("/status");
    let mut status = fixtures::leader();
    status.voters.clear();
    server.status.store(Arc::new(status));
    server.feed.covered(3);
    let (_, _, state) = reader.expect("state", 3);
    assert_eq!(state["voters"], serde_json::json!({}));
    watcher.expect("reset", 3);
}

#[test]
fn silence_is_filled_with_comments() {
    let server = start(Limits { keep_alive: Duration::from_millis(1), ..unlimited() });
    let mut reader = Reader::new(&server, "");
    reader.expect("state", 0);
    let mut comments = 0;
    while comments < 3 {
        comments += usize::from(reader.line() == ": keep-alive");
    }
}

/// The silence of a reader that reads is none: it is kept for longer than an exchange may last.
#[test]
fn a_reader_that_reads_is_kept() {
    let keep_alive = Duration::from_millis(20);
    let server = start(Limits { keep_alive, exchange: Duration::from_secs(2), ..unlimited() });
    let mut reader = Reader::new(&server, "");
    reader.expect("state", 0);
    for _ in 0..150 {
        while reader.line() != ": keep-alive" {}
    }
}

/// Invariant 4 of the server.
#[test]
fn a_reader_that_does_not_read_is_cut_off_and_nobody_waits_for_it() {
    let server = start(Limits { exchange: Duration::from_millis(300), ..unlimited() });
    let stuck = Reader::new(&server, "");
    let mut number = 0;
    // The places of the server tell when it is gone: the buffers between the two fill up first.
    let gone = || {
        let metrics = Client::new(&server).get("/metrics").1;
        metrics.contains("\nringrift_p2p_event_readers 0\n")
    };
    let end = std::time::Instant::now() + PATIENCE;
    while !gone() {
        assert!(std::time::Instant::now() < end, "the reader is still there");
        for _ in 0..500 {
            number += 1;
            server.feed.tell(NOW, raised(number));
        }
        server.feed.covered(number);
    }
    drop(stuck);
}

#[test]
fn one_reader_too_many_is_told_so_and_a_place_becomes_free_again() {
    let keep_alive = Duration::from_millis(1);
    let server = start(Limits { readers: 2, keep_alive, ..unlimited() });
    let mut readers: Vec<_> = (0..2).map(|_| Reader::new(&server, "")).collect();
    readers.iter_mut().for_each(|reader| {
        reader.expect("state", 0);
    });
    let mut late = Client::new(&server);
    let heard = late.get("/events");
    assert_eq!(code(&heard), ("503", "BUSY".to_owned()));
    assert!(heard.0.contains("retry-after: 10\r\n"), "{}", heard.0);
    // Other pages are not concerned.
    assert!(late.get("/leader").0.starts_with("HTTP/1.1 200 "));
    readers.pop();
    let mut tries = std::iter::repeat_with(|| {
        let mut client = Client::new(&server);
        client.send("GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").head()
    });
    assert!(tries.any(|head| head.starts_with("HTTP/1.1 200 ")));
}

/// As many as connections are allowed, and no page waits for any of them.
#[test]
fn a_thousand_readers_leave_the_server_to_the_others() {
    let server = start(Limits { connections: 2_000, readers: 128, ..unlimited() });
    let mut told = (0, 0);
    let clients: Vec<_> = (0..1_000)
        .map(|_| {
            let mut client = Client::new(&server);
            let head = client.send("GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").head();
            if head.starts_with("HTTP/1.1 200 ") {
                told.0 += 1;
            } else {
                assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
                told.1 += 1;
            }
            client
        })
        .collect();
    assert_eq!(told, (128, 872));
    let mut other = Client::new(&server);
    for number in 1..=20_000 {
        server.feed.tell(NOW, raised(number));
        if number % 500 == 0 {
            assert!(other.get("/leader").0.starts_with("HTTP/1.1 200 "));
        }
    }
    let refused = "\nringrift_p2p_event_readers_refused_total 872\n";
    assert!(other.get("/metrics").1.contains(refused));
    drop(clients);
}

#[test]
fn head_takes_no_place_and_other_methods_are_405() {
    let server = start(Limits { readers: 0, ..unlimited() });
    let mut client = Client::new(&server);
    let head = client.send("HEAD /events HTTP/1.1\r\nhost: localhost\r\n\r\n").head();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let asked = format!("{method} /events HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let heard = client.send(&asked).hear();
        assert_eq!(code(&heard), ("405", "METHOD_NOT_ALLOWED".to_owned()));
        assert!(heard.0.contains("allow: GET, HEAD\r\n"));
    }
    assert!(client.get("/events").0.starts_with("HTTP/1.1 503 "));
}
