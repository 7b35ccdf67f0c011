//! `/events`: what happens, as it happens, to many readers of any speed.
//!
//! Decides what a reader is told first and what it is told next; how long one that does not take it is
//! kept is the server's matter, through the progress that is noted here.
//!
//! A reader has a place in the ring of the last events and nothing else: no queue of its own. A piece
//! is handed to its connection when the connection has room, and the next is looked up then.
//!
//! Invariants:
//! 1. A reader starts with the present state, or with what it has missed since the event that it names.
//! 2. Whoever falls behind the ring is told so: `reset`, with the present state.
//! 3. A state is only told when every event that it does not include is still to be told.
//! 4. At most `Limits::readers` at once; each costs one piece, and what hyper and the kernel buffer.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use http_body_util::Either;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{self, HeaderValue};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::sleep;

use super::answer::{Answer, Present, name, seconds};
use super::feed::{Gauge, Happened, Tap};
use super::members;
use super::ring::{self, Gone, Ring};
use super::server::{Client, Payload, Server};
use super::{Limits, Shared};
use crate::telemetry::events;

/// What a client waits before it comes back, in milliseconds, and when it may.
const RETRY: &str = "retry: 1000\n\n";

/// Says nothing, so that both ends see whether the other is there.
const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Between two looks at a status that does not yet include what the ring has forgotten.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Header and text of the refusal of one reader too many.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// What the readers share.
#[derive(Debug)]
pub(super) struct Hub {
    ring: Mutex<Ring>,
    /// Changes with every event.
    newest: watch::Sender<u64>,
    gauge: Gauge,
    /// The process, in ids.
    process: u64,
    places: Arc<Semaphore>,
    /// How many readers there may be.
    most: usize,
}

/// The seat of one reader, free again when it is dropped.
#[derive(Debug)]
struct Seat {
    server: Arc<Server>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Seat {
    fn taken(server: &Arc<Server>, permit: OwnedSemaphorePermit) -> Self {
        server.count_readers();
        Self { server: Arc::clone(server), permit: Some(permit) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.server.count_readers();
    }
}

impl Hub {
    /// A hub without readers.
    pub(super) fn new(shared: &Shared, tap: &Tap, limits: Limits) -> Self {
        Self {
            ring: Mutex::new(Ring::new()),
            newest: watch::Sender::new(0),
            gauge: tap.gauge(),
            process: shared.status.load().boot.nonce,
            places: Arc::new(Semaphore::new(limits.readers)),
            most: limits.readers,
        }
    }

    /// Only tasks of the HTTP threads take it, and none keeps it while it waits.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The state is due, under this name.
    State(&'static str),
    /// The event of this number is next.
    At(u64),
}

impl Server {
    fn count_readers(&self) {
        let free = self.hub().places.available_permits();
        self.metrics().event_readers(self.hub().most.saturating_sub(free));
    }

    /// Takes events from the loop into the ring until the loop ends.
    pub(super) async fn gather(self: Arc<Self>, mut tap: Tap) {
        let hub = self.hub();
        while let Some(happened) = tap.next().await {
            let Some(text) = self.text(&happened) else { continue };
            let mut ring = hub.ring();
            let missing = happened.number.saturating_sub(ring.next());
            ring.push(happened.number, text);
            drop(ring);
            if missing > 0 {
                self.metrics().events_dropped(missing);
            }
            hub.newest.send_replace(happened.number);
        }
    }

    /// An event as it goes over the wire.
    fn text(&self, happened: &Happened) -> Option<Bytes> {
        let (name, fields) = events::describe(&happened.event)?;
        let id = ring::id(self.hub().process, happened.number);
        let data = self.at_present(|present| {
            let mut data = Map::new();
            data.insert("at".to_owned(), present.timestamp_of(happened.at).into());
            data.insert("node_id".to_owned(), present.facts.node.as_str().into());
            data.extend(fields);
            Value::Object(data)
        });
        Some(Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n")))
    }

    /// The state as it goes over the wire, with the number of the last event that it includes;
    /// `None` while it lacks one that is no longer kept.
    fn state(&self, event: &str) -> Option<(Bytes, u64)> {
        let hub = self.hub();
        // Before the status is loaded: invariant 3.
        let covered = hub.gauge.covered();
        if hub.ring().first() > covered.saturating_add(1) {
            return None;
        }
        let id = ring::id(hub.process, covered);
        let data = self.at_present(state);
        Some((Bytes::from(format!("id: {id}\nevent: {event}\ndata: {data}\n\n")), covered))
    }

    /// A new reader, after the event of this id.
    ///
    /// # Errors
    /// The answer 503: there are too many.
    pub(super) fn follow(
        self: Arc<Self>,
        last: Option<&[u8]>,
        client: &Arc<Client>,
    ) -> Result<Stream, Answer> {
        let Ok(permit) = Arc::clone(&self.hub().places).try_acquire_owned() else {
            self.metrics().event_reader_refused();
            let why = "too many clients follow the events already";
            let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "BUSY", why);
            return Err(answer.with(header::RETRY_AFTER, RETRY_AFTER));
        };
        let start = match last {
            None => Place::State("state"),
            Some(last) => match ring::resume(last, self.hub().process, self.hub().gauge.told()) {
                Some(number) => Place::At(number),
                None => Place::State("reset"),
            },
        };
        let (pieces, stream) = mpsc::channel(1);
        let seat = Seat::taken(&self, permit);
        tokio::spawn(self.tell(start, pieces, Arc::clone(client), seat));
        Ok(Stream(stream))
    }

    /// Hands a reader one piece after the other until it is gone.
    async fn tell(
        self: Arc<Self>,
        start: Place,
        pieces: mpsc::Sender<Bytes>,
        client: Arc<Client>,
        _seat: Seat,
    ) {
        let mut newest = self.hub().newest.subscribe();
        let mut place = start;
        if pieces.send(Bytes::from_static(RETRY.as_bytes())).await.is_err() {
            return;
        }
        // The connection has room again, or is gone.
        while let Ok(room) = pieces.reserve().await {
            client.goes_on();
            let piece = loop {
                newest.borrow_and_update();
                if let Some(piece) = self.piece(&mut place) {
                    break piece;
                }
                let pause = match place {
                    Place::State(_) => LOOK_AGAIN,
                    Place::At(_) => self.limits().keep_alive,
                };
                tokio::select! {
                    biased;
                    () = pieces.closed() => return,
                    _ = newest.changed() => {}
                    () = sleep(pause) => if let Place::At(_) = place {
                        break Bytes::from_static(KEEP_ALIVE);
                    },
                }
            };
            room.send(piece);
        }
    }

    /// What a reader at that place is told next; `None` while there is nothing.
    fn piece(&self, place: &mut Place) -> Option<Bytes> {
        if let Place::At(number) = *place {
            let read = self.hub().ring().from(number);
            match read {
                Ok((events, next)) => {
                    *place = Place::At(next);
                    return (!events.is_empty()).then(|| Bytes::from(events.concat()));
                }
                Err(Gone) => *place = Place::State("reset"),
            }
        }
        let Place::State(event) = *place else { return None };
        let (state, covered) = self.state(event)?;
        if event == "reset" {
            self.metrics().event_reader_reset();
        }
        *place = Place::At(covered.saturating_add(1));
        Some(state)
    }
}

/// The present state: who leads, and the voters; `/members` has the rest.
fn state(present: &Present<'_>) -> Value {
    let view = &present.view;
    let voters = members::voters(present).map(|voter| {
        let member = view.status.member(voter.id);
        let state = if voter.is_self {
            "alive"
        } else {
            member.map_or("unknown", |member| member.health.as_str())
        };
        (voter.id.as_str().to_owned(), Value::from(state))
    });
    json!({
        "at": present.timestamp(),
        "node_id": view.status.node.as_str(),
        "version": env!("CARGO_PKG_VERSION"),
        "role": view.role.as_str(),
        "is_leader": view.is_leader,
        "leader_id": name(view.leader),
        "effective_leader_id": name(view.effective_leader),
        "address": present.leader_address(),
        "term": view.leader_term.unwrap_or(view.status.term),
        "lease_ttl": seconds(view.lease_left),
        "no_leader_reason": present.no_leader_reason(),
        "quorum_ok": view.quorum_ok,
        "voters": voters.collect::<Map<_, _>>(),
        "alive_peers": view.peers.reachable(),
        "total_peers": view.peers.total(),
    })
}

/// The pieces of one reader, as the body of its answer.
#[derive(Debug)]
pub(super) struct Stream(mpsc::Receiver<Bytes>);

impl Stream {
    /// The body of an answer that has none.
    pub(super) fn empty() -> Self {
        Self(mpsc::channel(1).1)
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl From<Stream> for Response<Payload> {
    fn from(stream: Stream) -> Self {
        let mut response = Self::new(Either::Right(stream));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // What a proxy collects is late.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}
