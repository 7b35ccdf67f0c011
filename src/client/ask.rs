//! Asking the node on this machine: `GET /leader` over a kept connection, and the stream of `/events`.
//!
//! Decides what an answer of `/leader` means and when the process that gave it must be gone.

use core::net::SocketAddr;
use core::time::Duration;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::leadership::Leader;
use crate::time::Instant;

/// The largest answer of `/leader`, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What a node said of the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The term and the time left, when the node itself leads.
    pub(super) leads: Option<(u64, Duration)>,
    /// Who leads, as far as the node knows.
    pub(super) leader: Option<Leader>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nobody listens there, or what listens is no node: the process that answered before is gone.
    Gone,
    /// No answer came in time; the process may hang, or be paused.
    Late,
}

/// A node and the connection to it.
#[derive(Debug)]
pub(super) struct Node {
    at: SocketAddr,
    patience: Duration,
    kept: Option<SendRequest<Empty<Bytes>>>,
}

impl Node {
    pub(super) const fn new(at: SocketAddr, patience: Duration) -> Self {
        Self { at, patience, kept: None }
    }

    /// Asks who leads; returns the answer and when the question left.
    ///
    /// # Errors
    /// [`Silence`]. A kept connection that has ended says nothing: it is opened anew first.
    ///
    /// # Cancel safety
    /// Cancelling forgets the question; the connection is opened anew for the next one.
    pub(super) async fn ask(&mut self, now: fn() -> Instant) -> Result<(Said, Instant), Silence> {
        if let Some(mut kept) = self.kept.take() {
            let sent = now();
            match timeout(self.patience, exchange(&mut kept, self.at)).await {
                Ok(Ok(said)) => {
                    self.kept = Some(kept);
                    return Ok((said, sent));
                }
                Ok(Err(Broken)) => {}
                Err(_) => return Err(Silence::Late),
            }
        }
        let Ok(opened) = timeout(self.patience, open(self.at)).await else {
            return Err(Silence::Late);
        };
        let mut kept = opened.map_err(|Broken| Silence::Gone)?;
        let sent = now();
        match timeout(self.patience, exchange(&mut kept, self.at)).await {
            Ok(Ok(said)) => {
                self.kept = Some(kept);
                Ok((said, sent))
            }
            Ok(Err(Broken)) => Err(Silence::Gone),
            Err(_) => Err(Silence::Late),
        }
    }
}

/// A connection ended, or speaks another language.
#[derive(Debug)]
struct Broken;

async fn open(at: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, Broken> {
    let stream = TcpStream::connect(at).await.map_err(|_| Broken)?;
    // Without it questions only wait a little.
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Broken)?;
    // Its end is seen by whoever asks next.
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    kept: &mut SendRequest<Empty<Bytes>>,
    at: SocketAddr,
    path: &str,
) -> Result<Response<Incoming>, Broken> {
    kept.ready().await.map_err(|_| Broken)?;
    let request = Request::get(path).header("host", at.to_string()).body(Empty::new());
    kept.send_request(request.map_err(|_| Broken)?).await.map_err(|_| Broken)
}

async fn exchange(kept: &mut SendRequest<Empty<Bytes>>, at: SocketAddr) -> Result<Said, Broken> {
    let (head, body) = send(kept, at, "/leader").await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| Broken)?.to_bytes();
    said(head.status, &head.headers, &body).ok_or(Broken)
}

/// The body of `GET /events`, once its head is there; `None` when it cannot be had now.
pub(super) async fn follow(at: SocketAddr, patience: Duration) -> Option<Incoming> {
    let answer = async {
        let mut sender = open(at).await.ok()?;
        send(&mut sender, at, "/events").await.ok()
    };
    let answer = timeout(patience, answer).await.ok()??;
    (answer.status() == StatusCode::OK).then(|| answer.into_body())
}

/// What an answer of `/leader` means; `None` for one that no node gives.
fn said(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Said> {
    let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let body: Value = serde_json::from_slice(body).ok()?;
    let term = body.get("term")?.as_u64()?;
    let leader = body.get("leader_id")?.as_str().map(|id| Leader {
        id: id.to_owned(),
        address: body.get("address").and_then(Value::as_str).map(ToOwned::to_owned),
        term,
    });
    let leads = match status {
        StatusCode::OK => {
            let left = Duration::from_millis(number("x-lease-remaining-ms")?);
            Some((number("x-leader-term")?, left))
        }
        StatusCode::SERVICE_UNAVAILABLE => None,
        _ => return None,
    };
    Some(Said { leads, leader })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(term: &str, left: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-leader-term", term.parse().unwrap());
        headers.insert("x-lease-remaining-ms", left.parse().unwrap());
        headers
    }

    const BODY: &[u8] = br#"{"leader_id":"a","address":"h:1","term":8,"lease_ttl":1.5}"#;

    #[test]
    fn a_200_gives_the_token_of_its_header_and_the_time_left() {
        let said = said(StatusCode::OK, &headers("8", "1500"), BODY).unwrap();
        assert_eq!(said.leads, Some((8, Duration::from_millis(1_500))));
        let leader = Leader { id: "a".to_owned(), address: Some("h:1".to_owned()), term: 8 };
        assert_eq!(said.leader, Some(leader));
    }

    #[test]
    fn a_503_names_the_leader_and_gives_nothing() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        // Even with the headers of a 200.
        let heard = said(status, &headers("8", "1500"), BODY).unwrap();
        assert_eq!((heard.leads, heard.leader.unwrap().id), (None, "a".to_owned()));
        let none = br#"{"leader_id":null,"address":null,"term":8,"error_code":"NO_LEADER"}"#;
        assert_eq!(said(status, &HeaderMap::new(), none).unwrap().leader, None);
    }

    #[test]
    fn an_answer_that_no_node_gives_means_nothing() {
        let ok = StatusCode::OK;
        for (status, headers, body) in [
            (ok, HeaderMap::new(), BODY),
            (ok, headers("8", "-1"), BODY),
            (ok, headers("8", "1e9"), BODY),
            (ok, headers("x", "1"), BODY),
            (ok, headers("8", "1"), b"<html>"),
            (ok, headers("8", "1"), b"{}"),
            (StatusCode::FOUND, headers("8", "1"), BODY),
            (StatusCode::NO_CONTENT, headers("8", "1"), BODY),
        ] {
            assert_eq!(said(status, &headers, body), None);
        }
    }
}
