//! A node without UDP: an observer that follows others over HTTP alone.
//!
//! It asks one followed node for its `/status` again and again, at once when that one tells of another leader, and the next
//! one when it fails or knows of no leader; and shows what it heard as any node does, with where it came from and how old it is. It decides whom to ask and how often; it
//! never votes, leads or gossips, and no other node counts it.
//!
//! 1. It opens no UDP socket and keeps no vote store.
//! 2. What it says of a leader ends with the lease, whether or not anybody answers: see [`known`].

#[cfg(test)]
mod fixtures;
pub mod heard;
pub mod known;
pub mod learn;
mod listen;
pub mod way;

use arc_swap::ArcSwap;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_wire::{Boot, NodeId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;
use tracing::{info, warn};
use tracing_appender::non_blocking::ErrorCounter;

use super::clock::{Clock as _, SystemClock, Timer, sleep_for};
use super::engine::{kind_words, reason_words};
use super::own::Said;
use super::service::Manager;
use super::start::{guarded, http_limits};
use super::{Error, Signals, binding, entropy, ports, scheduling};
use crate::config::token::Token;
use crate::config::{Address, Config, DEFAULT_PORT};
use crate::election::Event as Elect;
use crate::http::{self, Facts, Feed, ReloadRequest, Request, Shared, Source};
use crate::node::{Event, Reply, Status};
use crate::telemetry::Metrics;
use crate::time::Instant;
use heard::Word;
use known::Known;
use way::Ways;

/// The shortest and the longest time between two questions.
const EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The most commands of HTTP that wait for the loop.
const COMMAND_QUEUE: usize = 16;

/// What such a node is started with.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// This node; no voter.
    pub me: NodeId,
    /// Where others reach this node, when the operator says so.
    pub said: Option<Said>,
    /// The folder whose disk `/health` measures; nothing is written there.
    pub data_dir: PathBuf,
    /// What a POST over HTTP must show.
    pub token: Option<Token>,
    /// What an operator was told of the configuration.
    pub warnings: Vec<String>,
    /// Counts dropped log lines.
    pub log: Option<ErrorCounter>,
    /// The nodes that are followed.
    pub ways: Ways,
}

/// Runs the node until it is told to stop.
///
/// # Errors
/// See [`Error`]: the HTTP port cannot be had, or no descriptor; a panic is [`Error::Invariant`].
pub fn run(plan: Plan) -> Result<(), Error> {
    guarded(|| start(plan))
}

fn start(plan: Plan) -> Result<(), Error> {
    let Plan { config, me, said, data_dir, token, mut warnings, log, ways } = plan;
    let host = config.hosts.get(&me);
    let address = own_address(&config, me, said);
    let binding = binding::wait(&config, me).map_err(Error::Lack)?;
    let http_port = host.map_or(address.port(), |host| host.http_port);
    let listener = ports::bind_tcp(ports::address_to_bind(address.ip(), binding.http), http_port)?;
    warnings.extend(scheduling::ask(config.scheduling));
    for warning in &warnings {
        warn!(warning, "configuration");
    }
    let clock = SystemClock;
    let (now, started_unix) = (clock.now(), clock.unix().as_secs());
    let nonce = entropy::random_u64().map_err(Error::Descriptor)?;
    let boot = Boot { sequence: started_unix, nonce };
    let mut known = Known::new(&config, me, boot, now, started_unix);
    let urls: Vec<String> = ways.doors().iter().map(|door| door.url.clone()).collect();
    let proxy = ways.proxy().map(ToOwned::to_owned);
    info!(
        node = %me, pid = std::process::id(), http_port, follows = urls.join(","),
        proxy = proxy.as_deref().unwrap_or("none"), "started: follows over HTTP, without gossip"
    );

    let metrics = Metrics::new(me, &config, &kind_words(), &reason_words(), log)
        .map_err(|error| Error::Invariant(error.to_string()))?;
    let metrics = Arc::new(metrics);
    metrics.source.heard(now);
    let status = Arc::new(ArcSwap::from_pointee(known.status(now)));
    let source = Arc::new(ArcSwap::from_pointee(Source { urls, proxy, ..Source::default() }));
    let every = config.election.lease.min(config.election.heartbeat_interval * 4) / 4;
    let (config, data_dir) = (Arc::new(config), existing(&data_dir));
    let facts = Facts {
        node: me,
        config: Arc::clone(&config),
        address,
        http_port,
        data_dir,
        work: Arc::default(),
        guardian_pid: None,
        warnings,
        keys: Arc::default(),
        token,
        source: Some(Arc::clone(&source)),
        shadow: None,
    };
    let (to_node, commands) = mpsc::channel(COMMAND_QUEUE);
    let (to_keys, reloads) = mpsc::channel(1);
    let shared = Shared {
        status: Arc::clone(&status),
        now: || SystemClock.now(),
        wall: SystemTime::now,
        metrics: Arc::clone(&metrics),
        facts: Arc::new(facts),
        commands: to_node,
        reloads: to_keys,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::Descriptor)?;
    let (feed, tap) = http::feed();
    let limits = http_limits(scheduling::open_files());
    let server = http::spawn(vec![listener], shared, tap, limits).map_err(Error::Descriptor)?;
    let shown = Shown { known, status, source, metrics, feed };
    let done = runtime.block_on(async {
        let (to_loop, told) = mpsc::channel(1);
        let asker = Asker {
            ways: Arc::new(ways),
            config,
            me,
            every: every.clamp(EVERY.0, EVERY.1),
            to_loop,
        };
        tokio::spawn(asker.run());
        serve(shown, told, commands, reloads).await
    });
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    drop(server);
    if done.is_ok() {
        info!(node = %me, "stopped");
    }
    done
}

/// Where this node's HTTP server is, as far as it is said: its gossip would be there, if it had any.
fn own_address(config: &Config, me: NodeId, said: Option<Said>) -> SocketAddr {
    let host = config.hosts.get(&me);
    let port = host.map_or(DEFAULT_PORT, |host| host.port);
    match (said, host.map(|host| &host.address)) {
        (Some(said), _) => SocketAddr::new(said.ip, said.port.unwrap_or(port)),
        (None, Some(Address::Ip(ip))) => SocketAddr::new(*ip, port),
        (None, _) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
    }
}

/// The nearest folder that exists.
fn existing(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|folder| folder.is_dir());
    found.unwrap_or_else(|| Path::new("/")).to_owned()
}

/// What came of asking everybody once.
struct Round {
    /// The answer that counts, where it came from and when it was asked for.
    heard: Option<(String, Instant, Word)>,
    /// Those that did not answer, and why.
    failing: Vec<(String, String)>,
}

/// Asks, on a task of its own.
struct Asker {
    ways: Arc<Ways>,
    config: Arc<Config>,
    me: NodeId,
    every: Duration,
    to_loop: mpsc::Sender<(Round, oneshot::Sender<bool>)>,
}

impl Asker {
    /// Asks one node after the other, beginning with the one that answered last, until the loop has heard who leads.
    async fn run(self) {
        let doors = self.ways.doors();
        let news = Arc::new(Notify::new());
        let listen =
            |place| tokio::spawn(listen::listen(Arc::clone(&self.ways), place, Arc::clone(&news)));
        let mut first = 0;
        let mut listening = (first, listen(first));
        loop {
            let mut failing = Vec::new();
            let mut fallback = None;
            for place in (0..doors.len()).map(|step| (first + step) % doors.len()) {
                let Some(door) = doors.get(place) else { continue };
                let sent = SystemClock.now();
                let answer = door.ask().await;
                match answer.and_then(|body| Word::read(&body, &self.config, self.me)) {
                    Ok(word) => {
                        let names_leader = word.leader.is_some();
                        let heard = (door.url.clone(), sent, word);
                        if names_leader {
                            fallback = Some((place, heard));
                            break;
                        }
                        fallback.get_or_insert((place, heard));
                    }
                    Err(why) => failing.push((door.url.clone(), why)),
                }
            }
            let heard = fallback.map(|(place, heard)| {
                first = place;
                heard
            });
            let (answer, named) = oneshot::channel();
            if self.to_loop.send((Round { heard, failing }, answer)).await.is_err() {
                return;
            }
            // One that names a leader of the past is not asked first again.
            if named.await == Ok(false) {
                first = (first + 1) % doors.len().max(1);
            }
            if first != listening.0 {
                listening.1.abort();
                listening = (first, listen(first));
            }
            sleep(EVERY.0).await;
            let rest = self.every.saturating_sub(EVERY.0);
            tokio::select! { () = sleep(rest) => {}, () = news.notified() => {} }
        }
    }
}

/// What this node shows.
struct Shown {
    known: Known,
    status: Arc<ArcSwap<Status>>,
    source: Arc<ArcSwap<Source>>,
    metrics: Arc<Metrics>,
    feed: Feed,
}

impl Shown {
    /// Takes what came of asking; tells whether a leader is known by it.
    fn take(&mut self, round: Round, now: Instant) -> bool {
        let mut source = Source::clone(&self.source.load());
        for (url, why) in &round.failing {
            self.metrics.source.failed();
            if !source.failing.iter().any(|(failing, _)| failing == url) {
                warn!(url, why, "a followed node does not answer");
            }
        }
        let all: Vec<_> = round.failing.iter().map(|(url, why)| format!("{url}: {why}")).collect();
        source.failing = round.failing;
        let mut named = true;
        match round.heard {
            Some((url, sent, word)) => {
                if source.heard.as_ref().is_none_or(|heard| heard.url != url) {
                    info!(url, node = %word.from, "follows");
                }
                named = self.known.names_leader(sent, &word, now);
                self.metrics.source.heard(sent);
                source.heard = Some(http::Heard { url, node: word.from, at: sent });
                self.known.hear(sent, word);
            }
            None => self.known.miss(format!("no followed node answers: {}", all.join("; "))),
        }
        self.source.store(Arc::new(source));
        named
    }

    /// Tells and shows what is known now.
    fn show(&mut self, now: Instant) {
        if let Some((leader, term)) = self.known.changed(now) {
            let name = leader.map(|leader| leader.to_string());
            info!(leader = name.as_deref().unwrap_or("none"), term, "leader changed");
            self.feed.tell(now, Event::Election(Elect::LeaderChanged { leader, term }));
        }
        let told = self.feed.told();
        self.status.store(Arc::new(self.known.status(now)));
        self.feed.covered(told);
    }
}

async fn serve(
    mut shown: Shown,
    mut told: mpsc::Receiver<(Round, oneshot::Sender<bool>)>,
    mut commands: mpsc::Receiver<Request>,
    mut reloads: mpsc::Receiver<ReloadRequest>,
) -> Result<(), Error> {
    let clock = SystemClock;
    let timer = Timer::new().map_err(Error::Descriptor)?;
    let mut signals = Signals::listen().map_err(Error::Descriptor)?;
    // There is no key ring to read again.
    let mut hang_up = signal(SignalKind::hangup()).map_err(Error::Descriptor)?;
    let mut manager = Manager::of_process();
    loop {
        let now = clock.now();
        shown.show(now);
        manager.turned(now, &shown.status.load());
        let deadlines = [shown.known.next_deadline(now), manager.next_deadline()];
        let wait = sleep_for(now, deadlines.into_iter().flatten().min());
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            done = timer.sleep(wait) => done.map_err(Error::Descriptor)?,
            round = told.recv() => {
                let Some((round, answer)) = round else {
                    return Err(Error::Invariant("the asking ended".to_owned()));
                };
                // It may not wait for it.
                let _gone = answer.send(shown.take(round, clock.now()));
            }
            Some((_, reply)) = commands.recv() => { let _gone = reply.send(refused()); }
            Some(reply) = reloads.recv() => {
                let why = "this node follows over HTTP and uses no keys of gossip";
                let _gone = reply.send(Err(why.to_owned()));
            }
            _ = hang_up.recv() => {}
        }
    }
    info!("stopping");
    manager.stopping();
    Ok(())
}

/// The answer to whatever an operator wants of the lead.
fn refused() -> Reply {
    let why = "this node follows over HTTP: it does not vote, and cannot pass on what is asked of it; ask a voter";
    Reply::Refused { code: "NOT_A_VOTER", why: why.to_owned() }
}
