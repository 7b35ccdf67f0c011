//! The HTTP server: what a node shows and the few things that may be asked of it.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | the cluster on one page for people |
//! | `GET /health` | 200 as soon as the process listens |
//! | `GET /ready` | 200 once a leader is known, else 503 with the reason |
//! | `GET /status` | everything; `?alive_only=false` lists the unreachable peers too |
//! | `GET /election/status` | voters, lease, promise, priority order, past elections |
//! | `POST /election/trigger`, `POST /election/start` | holds a fresh election |
//! | `POST /election/step_down`, `POST /election/transfer` | hands the lead over, to the best or to a named voter |
//! | `POST /election/drain`, `POST /election/resume` | refuses to lead until resumed |
//! | `POST /keys/reload` | reads the key ring of sealed gossip again |
//! | `GET /leader` | 200 on the leader while its lease runs, else 503 |
//! | `GET /members` | the member table |
//! | `GET /events` | what happens, as it happens: server-sent events, resumable |
//! | `GET /metrics`, `GET /metrics/prometheus` | the numbers, for Prometheus |
//!
//! Every GET route answers HEAD too. An unknown path is 404, a wrong method 405 with `Allow`; every
//! error is JSON `{"error", "error_code"}`. GET is open to everybody; POST is for the processes of this
//! machine, by the rules of the module `guard`.
//!
//! It decides who may ask and how answers read. What is true comes from one immutable
//! [`Status`] and the present moment, through [`View`](crate::telemetry::View);
//! what is done is decided by the node, to which commands go through a bounded queue.
//!
//! Invariants:
//! 1. The server runs on its own two threads, one of them for short pages, and shares nothing with the protocol
//!    loop that could make it wait: a snapshot is loaded, a command is tried, numbers are atomics.
//! 2. Whatever is said about leading is computed at the moment of the answer.
//! 3. Connections, heads, bodies and the time of each have a limit in [`Limits`], and whoever keeps all
//!    connections busy with nothing gives way to those who ask something.
//! 4. A reader of `/events` that does not read is cut off and costs a bounded amount of memory; the
//!    protocol loop neither waits for it nor knows of it.
//! 5. A POST caused by a page of another origin never reaches the node.

mod answer;
mod door;
mod election;
mod events;
mod facts;
mod feed;
#[cfg(test)]
mod fixtures;
mod guard;
mod machine;
mod members;
mod page;
mod probes;
mod ring;
mod route;
mod server;
mod slots;
mod source;
mod status;
mod verbs;
mod work;

use arc_swap::ArcSwap;
use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};

use crate::node::{Command, Reply, Status};
use crate::telemetry::Metrics;
use crate::time::Instant;

pub use facts::{Facts, Keys};
pub use feed::{Feed, Tap, feed};
pub use route::routes;
pub use server::{Handle, spawn};
pub use source::{Heard, Source};
pub use work::Work;

/// The largest body that a request may have, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The most connections at once, unless told otherwise.
pub const CONNECTIONS: usize = 2_048;

/// A command for the node and where its answer is awaited.
pub type Request = (Command, oneshot::Sender<Reply>);

/// Where the outcome of reading the keys again is awaited: what is in use, or why it stays as it was.
pub type ReloadRequest = oneshot::Sender<Result<Keys, String>>;

/// What the server shares with the driver.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The last status, replaced by the driver.
    pub status: Arc<ArcSwap<Status>>,
    /// The present moment on the clock of the status.
    pub now: fn() -> Instant,
    /// The present moment for people.
    pub wall: fn() -> SystemTime,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// What the configuration says.
    pub facts: Arc<Facts>,
    /// The way to the node; a full queue is answered with 503.
    pub commands: mpsc::Sender<Request>,
    /// The way to those who read the keys again.
    pub reloads: mpsc::Sender<ReloadRequest>,
}

/// What a client may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, [`CONNECTIONS`] by default. One more takes the place of one that waits for its next
    /// request; when all are being answered it is told 503 and closed.
    pub connections: usize,
    /// From the opening of a connection or the last answer to the next complete head, 10 s.
    pub head: Duration,
    /// For a whole body, 10 s.
    pub body: Duration,
    /// For the answer of the node to a command, 10 s.
    pub command: Duration,
    /// From one complete head to the next, the answer's delivery included, 30 s; of a reader of
    /// `/events`, from one piece that it takes to the next.
    pub exchange: Duration,
    /// Readers of `/events` at once, 128 by default; one more is told 503.
    pub readers: usize,
    /// The longest silence towards a reader of `/events`, 5 s, to be well below `exchange`; one that
    /// has gone keeps its place for up to twice as long.
    pub keep_alive: Duration,
}

impl Limits {
    /// Likewise where a command may have to wait for the leader's work to end, which takes up to `grace`.
    #[must_use]
    pub const fn with_work(self, grace: Duration) -> Self {
        let command = self.command.saturating_add(grace);
        Self { command, exchange: self.exchange.saturating_add(grace), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            command: Duration::from_secs(10),
            exchange: Duration::from_secs(30),
            readers: 128,
            keep_alive: Duration::from_secs(5),
        }
    }
}
