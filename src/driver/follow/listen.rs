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
use crate::client::sse::Reader;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(5);

/// The longest silence of a stream, which says that it lives every 5 s.
const SILENCE: Duration = Duration::from_secs(20);

/// The events after which somebody else may lead.
const REASONS: [&str; 4] = ["leader_changed", "leadership_gained", "leadership_lost", "reset"];

/// Listens to the node at that place, for ever.
pub(super) async fn listen(ways: Arc<Ways>, place: usize, news: Arc<Notify>) {
    let Some(door) = ways.doors().get(place) else { return };
    loop {
        if let Ok(mut body) = door.events().await {
            let mut reader = Reader::new();
            while let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await {
                let Some(bytes) = frame.data_ref() else { continue };
                let Ok(events) = reader.read(bytes) else { break };
                if events.iter().any(|event| REASONS.contains(&event.name.as_str())) {
                    news.notify_one();
                }
            }
            // The node may be gone.
            news.notify_one();
        }
        sleep(AGAIN).await;
    }
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
