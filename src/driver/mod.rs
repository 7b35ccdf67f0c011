//! The driver: sockets, clocks, files and signals around one protocol machine.
//!
//! One loop owns the machine by value: it waits for one of its sources, feeds what has come, carries
//! out what follows, and waits again. It decides what is looked at first and for how long; it
//! decides nothing of the protocol.
//!
//! 1. Nothing in the loop blocks. The disk, the resolver and HTTP have threads of their own and
//!    answer through bounded queues.
//! 2. A turn is bounded: what is due comes first, then at most so much of each source. No flood from
//!    one source keeps another waiting for longer than a turn.
//! 3. A stopping node ends within a second, even if its disk hangs.
//! 4. A broken invariant ends the process, with exit code 70; nothing goes on after it.

pub mod binding;
pub mod clock;
pub mod engine;
pub mod entropy;
pub mod follow;
pub mod guardian;
pub mod intake;
pub mod own;
pub mod peers;
pub mod ports;
pub mod reserved;
pub mod resolver;
pub mod scheduling;
pub mod sealing;
pub mod service;
pub mod shield;
pub mod start;
pub mod store;
pub mod tailscale;
pub mod udp;
pub mod work;

use core::fmt;
use core::net::SocketAddr;
use ringrift_wire::NodeId;
use std::io;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::election::roster::Misfit;
use crate::node::{Command, Reply};
use clock::{Clock, Timer, sleep_for};
use engine::{Engine, Machine};
use intake::Intake;
use sealing::Unsealed;
use sealing::ring::Ring;
use store::check::Checked;
use store::worker::Answer;
use udp::Socket;
use work::Report;

/// The most answers of the storage thread of one turn.
const ANSWERS_PER_TURN: usize = 64;

/// The most commands and resolved names of one turn.
const COMMANDS_PER_TURN: usize = 16;

/// Why a node ended that was not asked to.
#[derive(Debug)]
pub enum Error {
    /// A port cannot be had.
    Bind(ports::BindError),
    /// This machine does not have the address to bind.
    Lack(binding::Lack),
    /// The socket or another descriptor became or was unusable.
    Descriptor(io::Error),
    /// The vote store cannot be used.
    Store(store::StoreError),
    /// The key ring cannot be used.
    Ring(sealing::ring::RingError),
    /// The voters of the file do not follow from those of the store.
    VoterSet(Misfit),
    /// The vote store takes no record.
    Record(io::Error),
    /// Another live process has this node's name, and the voters hear that one.
    NameTaken {
        /// This node's name.
        name: NodeId,
        /// Where the other process is.
        address: SocketAddr,
    },
    /// The program is wrong.
    Invariant(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Lack(lack) => lack.fmt(f),
            Self::Descriptor(error) => write!(f, "the system gives no usable descriptor: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
            Self::VoterSet(misfit) => misfit.fmt(f),
            Self::Record(error) => write!(f, "cannot write the vote store: {error}"),
            Self::NameTaken { name, address } => write!(
                f,
                "the name {name} is in use by another live process at {address}; stop that one, or \
                 give this node a name of its own"
            ),
            Self::Invariant(what) => write!(f, "an invariant was broken, please report it: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ports::BindError> for Error {
    fn from(error: ports::BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<store::StoreError> for Error {
    fn from(error: store::StoreError) -> Self {
        Self::Store(error)
    }
}

/// The sources of the loop beside socket and timer.
pub struct Sources {
    /// Answers of the storage thread.
    pub stored: mpsc::Receiver<Answer>,
    /// Commands of HTTP.
    pub commands: mpsc::Receiver<(Command, oneshot::Sender<Reply>)>,
    /// Names that resolved.
    pub resolved: mpsc::Receiver<(NodeId, Vec<SocketAddr>)>,
    /// Key rings that were read again.
    pub rings: mpsc::Receiver<(Arc<Ring>, Unsealed)>,
    /// The signals of the process.
    pub signals: Signals,
    /// The line to the guardian, to see its end; `None` without one.
    pub guardian: Option<tokio::net::UnixStream>,
    /// What checks of the vote store find; `None` on an observer.
    pub checked: Option<mpsc::Receiver<Checked>>,
    /// What becomes of the work of a leader; `None` on a node without any.
    pub worked: Option<mpsc::UnboundedReceiver<Report>>,
    /// The service manager, which hears of every turn.
    pub manager: service::Manager,
}

/// The signals that the process listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from their default action.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// What ended a wait.
enum Woken {
    Due,
    Readable,
    Stored(Answer),
    Checked(Checked),
    Command((Command, oneshot::Sender<Reply>)),
    Resolved((NodeId, Vec<SocketAddr>)),
    Stop,
    Ring((Arc<Ring>, Unsealed)),
    Orphaned,
    Worked(Report),
    Failed(Error),
}

/// Runs the loop until the node is stopped. Gives the exit code of a command that has ended for good.
///
/// # Errors
/// See [`Error`].
pub async fn serve<M: Machine, C: Clock + Copy>(
    mut engine: Engine<M, Arc<Socket>, C>,
    mut intake: Intake,
    clock: C,
    mut sources: Sources,
) -> Result<Option<u8>, Error> {
    let timer = Timer::new().map_err(Error::Descriptor)?;
    let mut batch = Vec::with_capacity(intake::PER_TURN);
    loop {
        engine.tick();
        if let Some(error) = engine.take_end() {
            return Err(error);
        }
        if engine.is_finished() {
            engine.part();
            return Ok(engine.exit_code());
        }
        let now = clock.now();
        intake.tend(now);
        sources.manager.turned(now, &engine.shown());
        let deadlines = [engine.next_deadline(), sources.manager.next_deadline()];
        let sleep = sleep_for(now, deadlines.into_iter().flatten().min());
        let woken = wait(&timer, sleep, &intake, &mut sources).await;
        // What became due while the process did not run comes before what arrived meanwhile.
        engine.tick();
        match woken {
            Woken::Due | Woken::Readable => {}
            Woken::Stored(answer) => engine.stored(answer),
            Woken::Checked(checked) => engine.checked(checked),
            Woken::Command((command, reply)) => engine.command(command, Some(reply)),
            Woken::Resolved(found) => resolved(&mut engine, &mut intake, found),
            Woken::Stop => {
                info!("stopping");
                sources.manager.stopping();
                engine.stop();
            }
            Woken::Ring((ring, unsealed)) => engine.reseal(ring, unsealed),
            Woken::Orphaned => {
                warn!("the guardian is gone: stopping");
                sources.guardian = None;
                sources.manager.stopping();
                engine.stop();
            }
            Woken::Worked(report) => engine.worked(report),
            Woken::Failed(error) => return Err(error),
        }
        for answer in drain(&mut sources.stored, ANSWERS_PER_TURN) {
            engine.stored(answer);
        }
        for (command, reply) in drain(&mut sources.commands, COMMANDS_PER_TURN) {
            engine.command(command, Some(reply));
        }
        for found in drain(&mut sources.resolved, COMMANDS_PER_TURN) {
            resolved(&mut engine, &mut intake, found);
        }
        let more = intake.receive(clock.now(), &mut engine, &mut batch);
        engine.datagrams(&mut batch);
        if more {
            // A flood keeps the socket readable: let the runtime look at timer and signals.
            tokio::task::yield_now().await;
        }
    }
}

async fn wait(
    timer: &Timer,
    sleep: core::time::Duration,
    intake: &Intake,
    sources: &mut Sources,
) -> Woken {
    let Sources {
        stored,
        commands,
        resolved,
        rings,
        signals,
        guardian,
        checked,
        worked,
        manager: _,
    } = sources;
    let lost = |what: &str| Woken::Failed(Error::Invariant(format!("the {what} thread ended")));
    tokio::select! {
        biased;
        _ = signals.terminate.recv() => Woken::Stop,
        _ = signals.interrupt.recv() => Woken::Stop,
        () = orphaned(guardian.as_ref()) => Woken::Orphaned,
        done = timer.sleep(sleep) => match done {
            Ok(()) => Woken::Due,
            Err(error) => Woken::Failed(Error::Descriptor(error)),
        },
        report = reported(worked.as_mut()) => report.map_or_else(|| lost("work"), Woken::Worked),
        found = checked_store(checked.as_mut()) => found.map_or_else(|| lost("storage"), Woken::Checked),
        answer = stored.recv() => answer.map_or_else(|| lost("storage"), Woken::Stored),
        command = commands.recv() => command.map_or_else(|| lost("HTTP"), Woken::Command),
        Some(found) = resolved.recv() => Woken::Resolved(found),
        Some(ring) = rings.recv() => Woken::Ring(ring),
        ready = intake.readable() => match ready {
            Ok(()) => Woken::Readable,
            Err(error) => Woken::Failed(Error::Descriptor(error)),
        },
    }
}

async fn orphaned(guardian: Option<&tokio::net::UnixStream>) {
    match guardian {
        Some(line) => guardian::gone(line).await,
        None => core::future::pending().await,
    }
}

async fn reported(worked: Option<&mut mpsc::UnboundedReceiver<Report>>) -> Option<Report> {
    match worked {
        Some(reports) => reports.recv().await,
        None => core::future::pending().await,
    }
}

async fn checked_store(checked: Option<&mut mpsc::Receiver<Checked>>) -> Option<Checked> {
    match checked {
        Some(checks) => checks.recv().await,
        None => core::future::pending().await,
    }
}

fn resolved<M: Machine, C: Clock>(
    engine: &mut Engine<M, Arc<Socket>, C>,
    intake: &mut Intake,
    (peer, addresses): (NodeId, Vec<SocketAddr>),
) {
    intake.found(peer, &addresses);
    engine.command(Command::Resolved { peer, addresses }, None);
}

fn drain<T>(source: &mut mpsc::Receiver<T>, most: usize) -> impl Iterator<Item = T> {
    core::iter::from_fn(|| source.try_recv().ok()).take(most)
}
