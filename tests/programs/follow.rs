//! `/events` of real nodes: what is told of a failover, and what a crowd of readers costs.

use ringrift_p2p::client::sse;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::cluster::{Cluster, PORT};
use crate::support::{NAMES, PATIENCE, wait_for};
use crate::{ALL, five};

/// A connection that follows the events of a node.
struct Reader {
    stream: TcpStream,
    events: sse::Reader,
    waiting: Vec<sse::Event>,
    head: bool,
}

impl Reader {
    fn new(cluster: &Cluster, node: usize, last: Option<&str>) -> Self {
        let at = SocketAddr::new(cluster.address(node).into(), PORT);
        let mut stream = cluster.net(node).within(|| TcpStream::connect(at)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET /events HTTP/1.0\r\nHost: localhost\r\n{last}\r\n")
            .expect("it listens");
        Self { stream, events: sse::Reader::new(), waiting: Vec::new(), head: false }
    }

    /// The next event and its data.
    #[track_caller]
    fn next(&mut self) -> (sse::Event, Value) {
        while self.waiting.is_empty() {
            let mut bytes = [0; 4_096];
            let length = self.stream.read(&mut bytes).expect("the stream goes on");
            assert_ne!(length, 0, "the stream ended");
            let mut bytes = &bytes[..length];
            if !self.head {
                // With HTTP/1.0 the body is the rest of the connection, as it is.
                let text = String::from_utf8_lossy(bytes).into_owned();
                assert!(text.starts_with("HTTP/1.0 200 "), "{text}");
                bytes = &bytes[text.find("\r\n\r\n").expect("a whole head") + 4..];
                self.head = true;
            }
            self.waiting.extend(self.events.read(bytes).expect("events of a sensible size"));
        }
        let event = self.waiting.remove(0);
        let data = serde_json::from_str(&event.data).expect("JSON");
        (event, data)
    }

    /// Reads until such an event; returns it with all that came before.
    #[track_caller]
    fn until(&mut self, found: impl Fn(&str, &Value) -> bool) -> Vec<(sse::Event, Value)> {
        let mut seen = Vec::new();
        loop {
            let (event, data) = self.next();
            let done = found(&event.name, &data);
            seen.push((event, data));
            if done {
                return seen;
            }
        }
    }
}

#[test]
fn a_failover_is_told_and_a_reader_that_was_away_misses_nothing_of_it() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let node = (leader + 1) % 5;
    let mut reader = Reader::new(&cluster, node, None);
    let (first, state) = reader.next();
    assert_eq!(first.name, "state");
    assert_eq!((&state["leader_id"], &state["term"]), (&NAMES[leader].into(), &term.into()));
    cluster.kill(leader);
    let next = |name: &str, data: &Value| {
        name == "leader_changed"
            && data["leader_id"].is_string()
            && data["term"].as_u64() > Some(term)
    };
    let seen = reader.until(next);
    let names: Vec<_> = seen.iter().map(|(event, _)| event.name.as_str()).collect();
    assert!(names.contains(&"member_suspected"), "{names:?}");
    // The same once more, for one that has seen the state only.
    let mut again = Reader::new(&cluster, node, Some(&first.id));
    let repeated = again.until(next);
    let ids = |seen: &[(sse::Event, Value)]| {
        seen.iter().map(|(event, _)| event.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&repeated), ids(&seen));
    // A new process knows nothing of the old one's ids.
    let last = ids(&seen).pop().expect("an event");
    cluster.kill(node);
    cluster.start(node);
    wait_for("the new process", || cluster.try_status(node));
    assert_eq!(Reader::new(&cluster, node, Some(&last)).next().0.name, "reset");
}

/// A thousand readers of the leader, most of them refused, the others silent: the leader leads on, in
/// its term, and its memory stays where it was.
#[test]
fn a_crowd_of_readers_moves_no_leader() {
    let Some(mut cluster) = five() else { return };
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let before = cluster.metric(leader, "process_resident_memory_bytes");
    let at = SocketAddr::new(cluster.address(leader).into(), PORT);
    let crowd: Vec<TcpStream> = cluster.net(leader).within(|| {
        let one = |_| {
            let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(10)).ok()?;
            let wild = "Last-Event-ID: ffffffffffffffff-18446744073709551615";
            write!(stream, "GET /events HTTP/1.1\r\nHost: localhost\r\n{wild}\r\n\r\n").ok()?;
            Some(stream)
        };
        (0..1_000).filter_map(one).collect()
    });
    assert!(crowd.len() > 500, "{} connections", crowd.len());
    // They hold every connection; the node is asked again when they have gone.
    drop(crowd);
    wait_for("the node to answer again", || cluster.try_status(leader));
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term));
    let after = cluster.metric(leader, "process_resident_memory_bytes");
    assert!(after < before + 32e6, "{before} bytes became {after}");
    assert!(cluster.metric(leader, "ringrift_p2p_event_readers_refused_total") > 0.0);
}
