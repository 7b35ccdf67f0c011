//! Connections: limits, bodies, and the threads that it all runs on.

use core::convert::Infallible;
use core::net::SocketAddr;
use core::pin::pin;
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::sync::Arc;
use std::{io, net, thread};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::debug;

use super::answer::{Answer, Present};
use super::door::Lane;
use super::events::{Hub, Stream};
use super::feed::Tap;
use super::guard::Ends;
use super::machine::Machine;
use super::route::{self, Deed, Wish};
use super::slots::{Slot, Slots};
use super::{Limits, MAX_BODY, Shared, election, verbs};
use crate::node::{Command, Reply};
use crate::telemetry::{Metrics, View};

/// The largest head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What the kernel keeps of an answer that a client does not take, in bytes; Linux takes it twice.
const SEND_BUFFER: usize = 64 * 1024;

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    addresses: Vec<SocketAddr>,
    threads: Vec<Worker>,
}

/// A thread with a runtime, until this is dropped.
#[derive(Debug)]
struct Worker {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    fn start(name: &str, runtime: Runtime) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Ends when the worker drops its half.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Handle {
    /// Ends the threads; answers not yet delivered are cut off.
    fn drop(&mut self) {
        self.threads.clear();
    }
}

impl Drop for Worker {
    /// Ends the thread; what it had not finished is cut off.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server was already told by its thread.
            let _ = thread.join();
        }
    }
}

/// Serves the listeners on threads of its own; `tap` is where the events come from.
///
/// # Errors
/// A runtime or a thread cannot be started, or a listener is unusable.
pub fn spawn(
    listeners: Vec<net::TcpListener>,
    shared: Shared,
    tap: Tap,
    limits: Limits,
) -> io::Result<Handle> {
    let runtime = || Builder::new_current_thread().enable_all().global_queue_interval(1).build();
    // What the loop has told is heard before anything that arrived after it.
    let (door, pages) = (runtime()?, runtime()?);
    let addresses = listeners.iter().map(net::TcpListener::local_addr).collect::<Result<_, _>>()?;
    let machine = Machine::watch(shared.facts.data_dir.clone())?;
    let slots = Arc::new(Slots::new(limits.connections));
    let hub = Arc::new(Hub::new(&shared, &tap, limits));
    let server = Arc::new(Server { shared, limits, machine, slots, hub });
    pages.spawn(Arc::clone(&server).gather(tap));
    let context = door.enter();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let lane = Lane { server: Arc::clone(&server), pages: pages.handle().clone() };
        door.spawn(lane.accept(listener));
    }
    drop(context);
    // The door ends first.
    let threads = vec![Worker::start("http-door", door)?, Worker::start("http", pages)?];
    Ok(Handle { addresses, threads })
}

#[derive(Debug)]
pub(super) struct Server {
    shared: Shared,
    limits: Limits,
    machine: Machine,
    slots: Arc<Slots>,
    hub: Arc<Hub>,
}

/// Answers one connection until it ends; `at_door` says on which thread.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    server: Arc<Server>,
    at_door: bool,
) {
    let Ok(local) = stream.local_addr() else { return };
    // Without it answers only wait a little.
    let _ = stream.set_nodelay(true);
    // Without it a client that does not read costs more memory.
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let limits = server.limits;
    let ends = Ends { peer, local };
    let (progress, mut progresses) = watch::channel(());
    let client = Arc::new(Client { ends, slot, progress, at_door });
    let service = service_fn(move |request| {
        client.progress.send_replace(());
        let (server, client) = (Arc::clone(&server), Arc::clone(&client));
        async move { Ok::<_, Infallible>(server.answer(request, client).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that has said all and closed its side is answered all the same.
        .half_close(true)
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            end = &mut connection => {
                if let Err(error) = end {
                    debug!(%peer, %error, "connection ended");
                }
                return;
            }
            progress = timeout(limits.exchange, progresses.changed()) => {
                if progress.is_err() {
                    debug!(%peer, "connection too slow");
                    return;
                }
            }
        }
    }
}

/// One connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Client {
    ends: Ends,
    slot: Slot,
    progress: watch::Sender<()>,
    at_door: bool,
}

impl Client {
    /// It takes what it is told.
    pub(super) fn goes_on(&self) {
        self.progress.send_replace(());
    }
}

impl Server {
    /// What the readers of `/events` share.
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Its slots.
    pub(super) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: Arc<Client>,
    ) -> Response<Payload> {
        client.slot.is_answered();
        // Requests that wait on one connection take turns with those of the others.
        yield_now().await;
        let (parts, body) = request.into_parts();
        let answer = match route::wish(&parts, client.ends, &self.shared.facts) {
            Ok(Wish::Follow) if parts.method == Method::HEAD => {
                client.slot.waits();
                return Stream::empty().into();
            }
            Ok(Wish::Follow) => {
                let last = parts.headers.get("last-event-id");
                match Arc::clone(&self).follow(last.map(HeaderValue::as_bytes), &client) {
                    Ok(stream) => return stream.into(),
                    Err(answer) => answer,
                }
            }
            Ok(Wish::Tell(page)) => {
                let answer =
                    self.at_present(|present| route::tell(page, present, &self.shared.metrics));
                // The door is for what is short: who wants more comes in by another connection.
                let stays = !page.is_long() || !client.at_door || self.slots.are_few();
                if stays { answer } else { answer.closing() }
            }
            Ok(Wish::Act(deed)) => {
                client.slot.waits();
                let body = self.read(body).await;
                client.slot.is_answered();
                match body {
                    Ok(body) => self.act(deed, &body).await,
                    Err(answer) => answer,
                }
            }
            Err(answer) => answer,
        };
        client.slot.waits();
        if self.slots.is_scarce() { answer.closing().into() } else { answer.into() }
    }

    /// Answers from the snapshot and the moment of now.
    pub(super) fn at_present<T>(&self, answer: impl FnOnce(&Present<'_>) -> T) -> T {
        let status = self.shared.status.load();
        let view = View::new(&status, (self.shared.now)());
        let (wall, machine) = ((self.shared.wall)(), self.machine.reading());
        answer(&Present { view, wall, facts: &self.shared.facts, machine })
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Answer> {
        let too_large = || {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Answer::error(status, "BODY_TOO_LARGE", "the body is larger than 64 KiB").closing()
        };
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(too_large());
        }
        match timeout(self.limits.body, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => {
                let why = format!("the body cannot be read: {error}");
                Err(Answer::error(StatusCode::BAD_REQUEST, "BAD_REQUEST", why).closing())
            }
            Err(_) => {
                let why = "the body did not come in time";
                Err(Answer::error(StatusCode::REQUEST_TIMEOUT, "TIMEOUT", why).closing())
            }
        }
    }

    async fn act(&self, deed: Deed, body: &[u8]) -> Answer {
        match deed {
            Deed::Move(verb) => {
                let command = match verbs::command(verb, body) {
                    Ok(command) => command,
                    Err(answer) => return answer,
                };
                match self.command(command).await {
                    Ok(reply) => self.at_present(|present| verbs::answer(&reply, present)),
                    Err((code, why)) => {
                        election::not_accepted(StatusCode::SERVICE_UNAVAILABLE, code, why)
                    }
                }
            }
            Deed::Trigger => {
                let reason = match election::reason(body) {
                    Ok(reason) => reason,
                    Err(answer) => return answer,
                };
                match self.command(Command::Trigger).await {
                    Ok(reply) => {
                        election::triggered(&reply, &reason, self.shared.facts.node.as_str())
                    }
                    Err((code, why)) => {
                        election::not_accepted(StatusCode::SERVICE_UNAVAILABLE, code, why)
                    }
                }
            }
            Deed::ReloadKeys => self.reload_keys().await,
        }
    }

    async fn reload_keys(&self) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asked = self.shared.reloads.try_send(answer);
        let outcome = match asked {
            Ok(()) => timeout(self.limits.command, answered).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        match outcome {
            Some(Ok(keys)) => Answer::json(StatusCode::OK, &keys.to_value()),
            Some(Err(why)) => Answer::error(StatusCode::CONFLICT, "KEYS_UNCHANGED", why),
            None => {
                let why = "the keys are not read now; see the log, and try again";
                Answer::error(StatusCode::SERVICE_UNAVAILABLE, "BUSY", why)
            }
        }
    }

    /// Asks the node; the error is a code and its reason.
    async fn command(&self, command: Command) -> Result<Reply, (&'static str, &'static str)> {
        let (answer, answered) = oneshot::channel();
        self.shared.commands.try_send((command, answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ("BUSY", "too many commands are waiting"),
            mpsc::error::TrySendError::Closed(_) => ("STOPPING", "the node is stopping"),
        })?;
        match timeout(self.limits.command, answered).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(("STOPPING", "the node is stopping")),
            Err(_) => Err(("TIMEOUT", "the node did not answer in time; ask /election/status")),
        }
    }
}

/// A whole answer, or one that goes on.
pub(super) type Payload = Either<Full<Bytes>, Stream>;

impl From<Answer> for Response<Payload> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(Either::Left(Full::from(answer.body)));
        *response.status_mut() = answer.status;
        *response.headers_mut() = *answer.headers;
        response
    }
}

#[cfg(test)]
mod tests;
