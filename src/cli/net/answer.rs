//! The side of a check that answers others: datagrams are sent back, and `GET /check` says what came.
//!
//! Invariants:
//! 1. An answer is as long as its question, and goes where it came from.
//! 2. What is remembered of strangers is bounded by [`MAX_ASKERS`], and what of each by [`MAX_NUMBERS`].

use core::convert::Infallible;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ringrift_wire::{MAX_DATAGRAM, NodeId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

use super::datagram::Datagram;
use crate::config::Config;
use crate::driver::clock::{Clock as _, SystemClock};
use crate::election::VoterSet;

/// The most checks whose questions are counted.
const MAX_ASKERS: usize = 256;

/// The most questions that are counted of each.
const MAX_NUMBERS: usize = 256;

/// Connections at once.
const MAX_CONNECTIONS: usize = 64;

/// For the head of a request.
const HEAD: Duration = Duration::from_secs(5);

/// What has come.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Our own questions, by nonce and number: when each left, and how long its answer took.
    asked: BTreeMap<(u64, u16), (Instant, Option<Duration>)>,
    /// The numbers of the questions of others, by their nonce.
    questions: BTreeMap<u64, BTreeSet<u16>>,
    /// Who has sent anything.
    from: BTreeSet<NodeId>,
}

impl Heard {
    /// How long the answers to so many of our questions took, by number.
    pub(super) fn answers(&self, nonce: u64) -> BTreeMap<u16, Duration> {
        let own = self.asked.range((nonce, 0)..=(nonce, u16::MAX));
        own.filter_map(|(&(_, number), (_, took))| Some((number, (*took)?))).collect()
    }

    /// Whether anything came from that node.
    pub(super) fn has_heard(&self, from: NodeId) -> bool {
        self.from.contains(&from)
    }
}

/// The socket, and what has come out of it.
#[derive(Debug)]
pub(super) struct Post {
    socket: UdpSocket,
    is_v6: bool,
    me: NodeId,
    heard: Mutex<Heard>,
}

impl Post {
    /// Takes over a socket that does not block.
    pub(super) fn new(socket: std::net::UdpSocket, me: NodeId) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        Ok(Self { socket: UdpSocket::from_std(socket)?, is_v6, me, heard: Mutex::default() })
    }

    /// Whether datagrams can be sent there at all.
    pub(super) fn speaks_to(&self, ip: IpAddr) -> bool {
        self.is_v6 || ip.is_ipv4()
    }

    /// No task keeps it while it waits.
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a question of a length, or loses it.
    pub(super) async fn ask(&self, nonce: u64, number: u16, length: usize, to: SocketAddr) {
        self.heard().asked.insert((nonce, number), (Instant::now(), None));
        let question = Datagram { is_answer: false, from: self.me, nonce, number };
        self.send(&question.encode(length), to).await;
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        let to = match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        // What the kernel refuses is lost like what the network loses.
        let _ = self.socket.send_to(bytes, to).await;
    }

    /// Notes answers, and answers questions, for ever.
    pub(super) async fn serve(&self) {
        let mut buffer = [0; MAX_DATAGRAM + 1];
        loop {
            // An error of the socket is one of the network's: refused, unreachable.
            let Ok((length, from)) = self.socket.recv_from(&mut buffer).await else { continue };
            let bytes = buffer.get(..length).unwrap_or_default();
            let Some(datagram) = Datagram::decode(bytes) else { continue };
            self.note(&datagram);
            if !datagram.is_answer {
                let answer = Datagram { is_answer: true, from: self.me, ..datagram };
                // Invariant 1.
                self.send(&answer.encode(length), from).await;
            }
        }
    }

    fn note(&self, datagram: &Datagram) {
        let mut heard = self.heard();
        if heard.from.len() < MAX_ASKERS {
            heard.from.insert(datagram.from);
        }
        if datagram.is_answer {
            // Only of questions that were asked, so only so many; the first counts.
            if let Some((at, took)) = heard.asked.get_mut(&(datagram.nonce, datagram.number)) {
                took.get_or_insert(at.elapsed());
            }
            return;
        }
        let known = heard.questions.contains_key(&datagram.nonce);
        if known || heard.questions.len() < MAX_ASKERS {
            let numbers = heard.questions.entry(datagram.nonce).or_default();
            if numbers.len() < MAX_NUMBERS {
                numbers.insert(datagram.number);
            }
        }
    }

    /// What `GET /check` says.
    fn said(&self, config: &Config) -> Value {
        let set = VoterSet::new(&config.voters, config.voters_version).tag();
        let heard = self.heard();
        let received: Map<String, Value> = heard
            .questions
            .iter()
            .map(|(nonce, numbers)| {
                (format!("{nonce:016x}"), numbers.iter().copied().collect::<Value>())
            })
            .collect();
        json!({
            "check": 1,
            "node_id": self.me.as_str(),
            "version": env!("CARGO_PKG_VERSION"),
            "cluster": config.cluster,
            "voter_config_version": set.version,
            "voter_config_hash": format!("{:016x}", set.hash),
            "clock_seconds": SystemClock.now().as_nanos() as f64 / 1e9,
            "received": received,
        })
    }
}

/// Serves `GET /check`, for ever.
pub(super) async fn http(listener: TcpListener, post: Arc<Post>, config: Arc<Config>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (post, config) = (Arc::clone(&post), Arc::clone(&config));
        let answer = service_fn(move |request: Request<Incoming>| {
            let found = request.uri().path() == "/check";
            let body = if found {
                post.said(&config)
            } else {
                json!({ "error": "this is no node, but its check", "error_code": "NOT_FOUND" })
            };
            async move {
                let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
                if !found {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                }
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            let _gone = tokio::time::timeout(HEAD * 2, served).await;
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 2.
    #[tokio::test]
    async fn strangers_cannot_make_it_remember_more_and_more() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let post = Post::new(socket, "a".parse().unwrap()).unwrap();
        for nonce in 0..1_000 {
            for number in 0..400 {
                let from = format!("n{nonce}").parse().unwrap();
                post.note(&Datagram { is_answer: number % 2 == 1, from, nonce, number });
            }
        }
        let heard = post.heard();
        assert_eq!((heard.questions.len(), heard.from.len()), (MAX_ASKERS, MAX_ASKERS));
        assert!(heard.questions.values().all(|numbers| numbers.len() <= MAX_NUMBERS));
        assert!(heard.asked.is_empty(), "an answer to nothing is none");
    }
}
