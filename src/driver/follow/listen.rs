//! The events of the node that is followed, as a reason to ask it at once.
//!
//! Decides which events are such a reason. Nothing is taken from an event itself: what is known comes from `/status` alone, so
//! where there are no events, a follower knows the same a little later.

use core::time::Duration;
use http_body_util::BodyExt as _;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::way::Ways;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest silence of a stream, which says that it lives every 5 s.
const SILENCE: Duration = Duration::from_secs(20);

/// The events after which somebody else may lead.
const REASONS: [&str; 4] = ["leader_changed", "leadership_gained", "leadership_lost", "reset"];

/// The longest name of an event that is read.
const MOST: usize = 64;

/// Listens to the node at that place, for ever.
pub(super) async fn listen(ways: Arc<Ways>, place: usize, news: Arc<Notify>) {
    let Some(door) = ways.doors().get(place) else { return };
    loop {
        if let Ok(mut body) = door.events().await {
            let mut line = Vec::new();
            while let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await {
                if frame.data_ref().is_some_and(|bytes| has_reason(&mut line, bytes)) {
                    news.notify_one();
                }
            }
            // The node may be gone.
            news.notify_one();
        }
        sleep(AGAIN).await;
    }
}

/// Whether one of the events whose name ends in these bytes is a reason. `line` has what came of the line before them.
fn has_reason(line: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let mut found = false;
    for &byte in bytes {
        if byte == b'\n' {
            let name = line.strip_prefix(b"event: ");
            found |= name.is_some_and(|name| REASONS.iter().any(|it| it.as_bytes() == name));
            line.clear();
        } else if line.len() < MOST {
            line.push(byte);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    /// The connection of a listener, once it has asked for `/events`; with the head of the answer sent.
    async fn asked(server: &TcpListener) -> TcpStream {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"GET /events "));
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n: hello\n\n").await.unwrap();
        stream
    }

    async fn told(news: &Notify) {
        timeout(Duration::from_secs(60), news.notified()).await.expect("news");
    }

    #[test]
    fn the_name_of_an_event_is_read_however_it_is_cut() {
        let text = b"id: 1\nevent: member_died\ndata: event: reset\n\nevent: leadership_lost\ndata: {}\n\n";
        for size in 1..=text.len() {
            let mut line = Vec::new();
            let found = text.chunks(size).filter(|bytes| has_reason(&mut line, bytes)).count();
            assert_eq!(found, 1, "in pieces of {size}");
        }
        let mut line = Vec::new();
        assert!(!has_reason(&mut line, b"event: member_died\n\n"));
        assert!(!has_reason(&mut line, &[b'x'; 10_000]) && line.len() == MOST);
    }

    #[tokio::test]
    async fn another_leader_and_the_end_of_the_stream_are_news() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let ways = Arc::new(Ways::new(&[url], None, "").unwrap());
        let news = Arc::new(Notify::new());
        let listener = tokio::spawn(listen(ways, 0, Arc::clone(&news)));
        let mut stream = asked(&server).await;
        stream.write_all(b"event: leader_changed\ndata: {}\n\n").await.unwrap();
        told(&news).await;
        drop(stream);
        told(&news).await;
        listener.abort();
    }
}
