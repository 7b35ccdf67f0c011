//! The start of a node: from a checked configuration to a running loop, and its end.
//!
//! Decides the order: ports first, since a taken one is the likeliest mistake; then the store, which
//! makes this boot durable; then everything that can send or answer.

use arc_swap::ArcSwap;
use core::any::Any;
use core::net::SocketAddr;
use ringrift_wire::{NodeId, cluster_tag};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};
use tracing_appender::non_blocking::ErrorCounter;

use super::clock::{Clock, SystemClock};
use super::engine::{Engine, Outside, Speaker, kind_words, reason_words};
use super::guardian::{Link, Note};
use super::intake::Intake;
use super::own::{self, Said};
use super::peers::{self, Named};
use super::resolver::SystemResolver;
use super::sealing::Sealing;
use super::sealing::reload::{self, Reloader};
use super::service::Manager;
use super::store::{self, Machine, Start, Store, check, worker};
use super::udp::Socket;
use super::work;
use super::{Error, Signals, Sources, binding, entropy, ports, scheduling, serve};
use crate::config::token::Token;
use crate::config::{Address, Config, Host, node_params};
use crate::election::VoterSet;
use crate::election::record::Restored;
use crate::election::roster::{self, Roster};
use crate::http::{self, Facts, Limits, Shared};
use crate::node::Node;
use crate::telemetry::Metrics;
use crate::time::Instant;

/// The most commands of HTTP that wait for the loop.
const COMMAND_QUEUE: usize = 64;

/// The most resolved names that wait for the loop.
const NAME_QUEUE: usize = 64;

/// What a node is started with.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// This node.
    pub me: NodeId,
    /// Where others reach this node, when the operator says so.
    pub said: Option<Said>,
    /// Folder of the vote store.
    pub data_dir: PathBuf,
    /// The same-boot file.
    pub promise_file: PathBuf,
    /// What a POST over HTTP must show.
    pub token: Option<Token>,
    /// What an operator was told of the configuration.
    pub warnings: Vec<String>,
    /// Counts dropped log lines.
    pub log: Option<ErrorCounter>,
    /// What to run while this node leads, besides the hooks of the configuration.
    pub command: Option<work::Command>,
    /// The line to the guardian, if this node has one.
    pub guardian: Option<Link>,
}

/// Runs one node until it is told to stop. Gives the exit code of a command that has ended for good.
///
/// # Errors
/// See [`Error`]; a panic anywhere in the loop is [`Error::Invariant`].
pub fn run(plan: Plan) -> Result<Option<u8>, Error> {
    guarded(|| start(plan))
}

/// Turns a panic into an error: nothing of the node goes on after it.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Error::Invariant(words_of(panic.as_ref()))))
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

fn start(plan: Plan) -> Result<Option<u8>, Error> {
    let Plan { config, me, said, data_dir, promise_file, token, mut warnings, log, .. } = plan;
    let (command, mut guardian) = (plan.command, plan.guardian);
    let guardian_pid = guardian.is_some().then(std::os::unix::process::parent_id);
    let binding = binding::wait(&config, me).map_err(Error::Lack)?;
    let (address, warning) = own::find(&config, me, said, binding.gossip);
    warnings.extend(warning);
    let host = config.hosts.get(&me);
    let udp_ip = ports::address_to_bind(address.ip(), binding.gossip);
    let http_port = host.map_or(address.port(), |host| host.http_port);
    let tcp_ip = ports::address_to_bind(address.ip(), binding.http);
    let gossip = ports::bind_udp(udp_ip, address.port())?;
    if let Some(link) = &mut guardian {
        link.tell(&Note::Bound { ip: udp_ip, port: address.port() });
    }
    let listener = ports::bind_tcp(tcp_ip, http_port)?;
    let sealed = reload::ring_of(&config.gossip).map_err(Error::Ring)?;
    if sealed.is_none() && !udp_ip.is_some_and(|ip| ip.is_loopback()) {
        warnings.push(
            "gossip is not sealed: whoever reaches the port can forge messages; use it within a \
             private network"
                .to_owned(),
        );
    }
    if sealed.is_some() && !config.gossip.is_closed() {
        warnings.push(format!(
            "gossip.unsealed is {}: whoever reaches the port can forge messages until it is refuse",
            config.gossip.unsealed.as_str()
        ));
    }
    for warning in &warnings {
        warn!(warning, "configuration");
    }

    let clock = SystemClock;
    let started_unix = clock.unix().as_secs();
    let begin = Start {
        node: me,
        machine: Machine::this(),
        now: clock.now(),
        unix_seconds: started_unix,
        nonce: entropy::random_u64().map_err(Error::Descriptor)?,
    };
    let opened = store::open(&data_dir, &promise_file, &begin)?;
    let store::Opened { mut store, boot, mut restored, unclean_starts, roster } = opened;
    admit(&mut store, &mut restored, roster, &config, me)?;
    let seed = entropy::random_u64().map_err(Error::Descriptor)?;
    let mut params = node_params(&config, me, boot, started_unix, address, seed);
    let work = work::Plan { hooks: config.hooks.clone(), command };
    params.election.work_grace = work.grace();
    let limits = http_limits(scheduling::open_files()).with_work(work.grace());
    let work = if work.is_empty() { None } else { Some(work) };
    let work = work.map(|plan| work::employ(me, &data_dir, plan)).transpose();
    // What the work starts runs as it would without a node; all threads from here on are the node's own.
    for refusal in scheduling::ask(config.scheduling) {
        warn!(warning = refusal, "configuration");
        warnings.push(refusal);
    }
    let work_shown = Arc::default();
    let (work, worked) = work.map_err(Error::Descriptor)?.unzip();
    if restored.may_release && restored.record.is_some_and(|it| it.voted_for == Some(me)) {
        restored.may_release = end_remnants(&data_dir);
    }
    let lease = params.election.lease;
    let now = clock.now();
    let mut node = Node::new(params, restored, now);
    node.remember_unclean_starts(now, &unclean_starts);
    info!(
        node = %me, pid = std::process::id(), guardian_pid, %address, http_port,
        data_dir = %data_dir.display(), sequence = boot.sequence,
        voter = config.voters.contains(&me), "started"
    );

    let metrics = Metrics::new(me, &config, &kind_words(), &reason_words(), log)
        .map_err(|error| Error::Invariant(error.to_string()))?;
    let metrics = Arc::new(metrics);
    let status = Arc::new(ArcSwap::from_pointee(node.status(now)));
    let (answers, stored) = mpsc::channel(worker::QUEUE);
    let (asking, checked) = if config.voters.contains(&me) {
        let (to_loop, checked) = mpsc::channel(1);
        let asking = check::spawn(store.check(), to_loop).map_err(Error::Descriptor)?;
        (Some(asking), Some(checked))
    } else {
        (None, None)
    };
    let storage = worker::spawn(store, answers).map_err(Error::Descriptor)?;
    let (to_node, commands) = mpsc::channel(COMMAND_QUEUE);
    let names = named_peers(&config, me);
    let voters = voters_at(&config, me);
    let tag = cluster_tag(&config.cluster);
    let config = Arc::new(config);
    let keys = Arc::new(ArcSwap::from_pointee(reload::describe(sealed.as_ref())));
    let (reloads, asked) = mpsc::channel(1);
    let (to_loop, rings) = mpsc::channel(1);
    let reloader =
        Reloader { config: Arc::clone(&config), rings: to_loop, shown: Arc::clone(&keys), asked };
    let facts = Facts {
        node: me,
        config,
        address,
        http_port,
        data_dir: data_dir.clone(),
        work: Arc::clone(&work_shown),
        guardian_pid,
        warnings,
        keys,
        token,
        source: None,
    };
    let shared = Shared {
        status: Arc::clone(&status),
        now: boot_clock,
        wall: SystemTime::now,
        metrics: Arc::clone(&metrics),
        facts: Arc::new(facts),
        commands: to_node,
        reloads,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::Descriptor)?;
    // Whoever is answered over HTTP may send signals, and has them handled.
    let (signals, hang_up) = {
        let _inside = runtime.enter();
        let hang_up = signal(SignalKind::hangup()).map_err(Error::Descriptor)?;
        (Signals::listen().map_err(Error::Descriptor)?, hang_up)
    };
    let (events, tap) = http::feed();
    let server = http::spawn(vec![listener], shared, tap, limits);
    let server = server.map_err(Error::Descriptor)?;

    let done = runtime.block_on(async {
        let socket = Arc::new(Socket::new(gossip).map_err(Error::Descriptor)?);
        let (found, resolved) = mpsc::channel(NAME_QUEUE);
        let reach = Arc::clone(&socket);
        let speaks_to = move |address| reach.speaks_to(address);
        let names = peers::spawn(names, SystemResolver::default(), speaks_to, &found);
        let speaker = Speaker { id: me, boot, cluster_tag: tag };
        let outside = Outside { status, metrics, storage, names, events, work: work_shown };
        let mut engine = Engine::new(node, Arc::clone(&socket), clock, speaker, outside);
        *engine.sealing() = Sealing::new(sealed);
        tokio::spawn(reloader.run(hang_up));
        let hearing = guardian.as_ref().map(Link::hearing).transpose();
        let hearing = hearing.map_err(Error::Descriptor)?;
        if let Some(link) = guardian {
            engine.guard(link);
        }
        if let Some(work) = work {
            engine.employ(work);
        }
        if let Some(asking) = asking {
            engine.check_store(asking, lease);
        }
        let guardian = hearing;
        let manager = Manager::of_process();
        let sources = Sources {
            stored,
            checked,
            commands,
            resolved,
            rings,
            signals,
            guardian,
            worked,
            manager,
        };
        let intake = Intake::new(socket, voters, speaker);
        serve(engine, intake, clock, sources).await
    });
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    drop(server);
    if done.is_ok() {
        store::mark_clean(&data_dir);
        info!(node = %me, "stopped");
    }
    done
}

/// What a predecessor has left running ends before its promises are freed; tells whether it has.
fn end_remnants(data_dir: &Path) -> bool {
    match work::leftover::end(data_dir) {
        Ok(0) => true,
        Ok(count) => {
            warn!(count, "the work of the process before was still running: it was killed");
            true
        }
        Err(count) => {
            warn!(count, "the work of the process before cannot be ended: its lease runs out");
            false
        }
    }
}

/// Holds the voters of the file against those of the store.
fn admit(
    store: &mut Store,
    restored: &mut Restored,
    roster: Option<Roster>,
    config: &Config,
    me: NodeId,
) -> Result<(), Error> {
    let set = VoterSet::new(&config.voters, config.voters_version);
    if !set.contains(me) {
        return Ok(());
    }
    let record = roster::admit(restored.record, roster, &set).map_err(Error::VoterSet)?;
    store.count_with(&set);
    if let Some(record) = record.filter(|_| record != restored.record) {
        store.write_record(record).map_err(Error::Record)?;
    }
    restored.record = record;
    Ok(())
}

fn boot_clock() -> Instant {
    SystemClock.now()
}

fn named_peers(config: &Config, me: NodeId) -> Vec<Named> {
    let others = config.hosts.iter().filter(|(id, _)| **id != me);
    let named = others.filter_map(|(id, host)| match &host.address {
        Address::Ip(_) => None,
        Address::Name(name) => Some(Named { peer: *id, name: name.clone(), port: host.port }),
    });
    named.collect()
}

/// The limits of HTTP where so many files may be open: a quarter is left to everything else.
pub(super) fn http_limits(open_files: u64) -> Limits {
    let room = usize::try_from(open_files / 4 * 3).unwrap_or(http::CONNECTIONS);
    Limits { connections: http::CONNECTIONS.min(room), ..Limits::default() }
}

/// Where the other voters are, as far as the file alone tells.
fn voters_at(config: &Config, me: NodeId) -> BTreeMap<NodeId, Vec<SocketAddr>> {
    let others = config.voters.iter().filter(|id| **id != me);
    let at = |id: &NodeId| match config.hosts.get(id) {
        Some(Host { address: Address::Ip(ip), port, .. }) => vec![SocketAddr::new(*ip, *port)],
        Some(_) | None => Vec::new(),
    };
    others.map(|id| (*id, at(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_broken_invariant_ends_the_node_and_says_which() {
        let ends = |run: fn() -> Result<(), Error>| guarded(run).map_err(|error| error.to_string());
        for end in [ends(|| panic!("two votes in term {}", 7)), ends(|| panic!("no proof"))] {
            let said = end.unwrap_err();
            assert!(said.contains("two votes in term 7") || said.contains("no proof"), "{said}");
        }
        assert_eq!(ends(|| Ok(())), Ok(()));
    }

    #[test]
    fn only_peers_with_names_are_looked_up() {
        let text = "voters: [a, b, c]\nhosts:\n  a: {address: here.example}\n  \
                    b: {address: b.example, port: 9}\n  c: {address: 10.0.0.3}\n";
        let config = config::parse(text).unwrap().config;
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        let named = Named { peer: b, name: "b.example".to_owned(), port: 9 };
        assert_eq!(named_peers(&config, a), [named]);
    }
}
