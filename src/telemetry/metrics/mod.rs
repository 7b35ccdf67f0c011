//! Prometheus numbers: one table of families, the counters behind them, and the text.
//!
//! What mirrors the status is computed at the scrape from the snapshot and the present moment, so
//! that `ringrift_p2p_is_leader` is true when it is said. The rest is counted as it happens. It
//! decides nothing that anybody else relies on.
//!
//! Invariants:
//! 1. Every family stands once in [`FAMILIES`], and none of the table is ever missing.
//! 2. Labels are words of closed sets or configured names; their children exist from the start.
//! 3. Whether this node leads is asked at the moment of the scrape.

mod families;
mod mirror;
mod process;
mod source;
mod traffic;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use prometheus::{
    CounterVec, Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    Opts, Registry, TextEncoder,
};
use ringrift_wire::NodeId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tracing_appender::non_blocking::ErrorCounter;

use super::View;
use crate::config::Config;
use crate::time::Instant;
use crate::{election, node};

pub use families::{FAMILIES, Family, Kind};
pub use source::Source;
pub use traffic::Traffic;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Every number of this process.
#[derive(Debug)]
pub struct Metrics {
    /// What the driver counts.
    pub traffic: Traffic,
    /// What a node that follows over HTTP counts.
    pub source: Source,
    registry: Registry,
    mirrored: Mutex<BTreeMap<&'static str, Mirrored>>,
    node: NodeId,
    hosts: Vec<NodeId>,
    lease: Duration,
    log: Option<ErrorCounter>,
    election_latency: HistogramVec,
    /// When the canvass in progress began, in nanoseconds of the boot clock; 0 without one.
    canvassing_since: AtomicU64,
    votes_granted: IntCounter,
    votes_refused: IntCounterVec,
    handovers: IntCounterVec,
    connections_refused: IntCounter,
    events: EventCounts,
}

#[derive(Debug)]
enum Mirrored {
    Gauge(GaugeVec),
    Counter(CounterVec),
}

impl Mirrored {
    fn reset(&self) {
        match self {
            Self::Gauge(family) => family.reset(),
            Self::Counter(family) => family.reset(),
        }
    }

    /// Sets one child of a family that was reset before.
    fn set(&self, labels: &[String], value: f64) -> Result<(), Error> {
        match self {
            Self::Gauge(family) => family.get_metric_with_label_values(labels)?.set(value),
            Self::Counter(family) => {
                family.get_metric_with_label_values(labels)?.inc_by(value.max(0.0));
            }
        }
        Ok(())
    }
}

/// Bounds of an election, in seconds.
const ELECTIONS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How an election in which this node canvassed ended.
const OUTCOMES: [&str; 3] = ["won", "lost", "adopted"];

/// Every reason to refuse a vote, as a label.
const REFUSALS: [&str; 9] = [
    "voter_set",
    "term",
    "voted",
    "promised",
    "abstaining",
    "empty",
    "store",
    "leader_alive",
    "lease",
];

/// The word for a refusal in logs, labels and JSON.
pub use crate::election::refusal_word;

/// What became of readers of `/events`.
#[derive(Debug)]
struct EventCounts {
    readers: AtomicU64,
    refused: IntCounter,
    resets: IntCounter,
    dropped: IntCounter,
}

impl Metrics {
    /// The numbers of `node` in the cluster of `config`.
    ///
    /// `kinds` are the kinds of datagrams and `reasons` the reasons to reject one, in the order of
    /// the indices that [`Traffic`] is called with; `log` counts dropped log lines.
    ///
    /// # Errors
    /// The table of families contradicts itself, or a kind or reason is named twice.
    pub fn new(
        node: NodeId,
        config: &Config,
        kinds: &[&str],
        reasons: &[&str],
        log: Option<ErrorCounter>,
    ) -> Result<Self, Error> {
        let mut builder = Builder::new();
        let traffic = Traffic::new(&mut builder, kinds, reasons)?;
        let election_latency =
            builder.histogram("ringrift_leader_election_latency_seconds", ELECTIONS)?;
        for outcome in OUTCOMES {
            election_latency.with_label_values(&[node.as_str(), outcome]);
        }
        let votes_refused = builder.counter("ringrift_p2p_votes_refused_total")?;
        for refusal in REFUSALS {
            votes_refused.with_label_values(&[refusal]);
        }
        let handovers = builder.counter("ringrift_p2p_handovers_total")?;
        for cause in election::LossCause::ALL {
            for outcome in election::HandoverOutcome::ALL {
                handovers.with_label_values(&[cause.as_str(), outcome.as_str()]);
            }
        }
        let votes_granted = builder.single_counter("ringrift_p2p_votes_granted_total")?;
        let connections_refused =
            builder.single_counter("ringrift_p2p_http_connections_refused_total")?;
        let events = EventCounts {
            readers: AtomicU64::new(0),
            refused: builder.single_counter("ringrift_p2p_event_readers_refused_total")?,
            resets: builder.single_counter("ringrift_p2p_event_resets_total")?,
            dropped: builder.single_counter("ringrift_p2p_events_dropped_total")?,
        };
        let (registry, mirrored) = builder.mirror_the_rest()?;
        Ok(Self {
            traffic,
            source: Source::default(),
            registry,
            mirrored: Mutex::new(mirrored),
            node,
            hosts: config.hosts.keys().copied().collect(),
            lease: config.election.lease,
            log,
            election_latency,
            canvassing_since: AtomicU64::new(0),
            votes_granted,
            votes_refused,
            handovers,
            connections_refused,
            events,
        })
    }

    /// Counts an event of the node that happened at `now`.
    pub fn record(&self, event: &node::Event, now: Instant) {
        use election::Event;
        let node::Event::Election(event) = event else { return };
        match event {
            Event::CanvassStarted { .. } => {
                // A canvass that follows a lost one continues the same search for a leader.
                let now = now.as_nanos();
                let _ = self.canvassing_since.compare_exchange(
                    0,
                    now,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
            Event::LeadershipGained { took, .. } => {
                self.canvassing_since.store(0, Ordering::Relaxed);
                self.latency("won").observe(took.as_secs_f64());
            }
            Event::ElectionLost { .. } => self.canvass_ended(now, "lost"),
            Event::LeaderChanged { leader: Some(leader), .. } if *leader != self.node => {
                self.canvass_ended(now, "adopted");
            }
            Event::VoteGranted { .. } => self.votes_granted.inc(),
            Event::VoteRefused { why, .. } => {
                self.votes_refused.with_label_values(&[refusal_word(*why)]).inc();
            }
            Event::HandoverEnded { cause, outcome, .. } => {
                self.handovers.with_label_values(&[cause.as_str(), outcome.as_str()]).inc();
            }
            _ => {}
        }
    }

    fn canvass_ended(&self, now: Instant, outcome: &str) {
        let since = self.canvassing_since.swap(0, Ordering::Relaxed);
        if since > 0 {
            self.latency(outcome).observe(now.since(Instant::from_nanos(since)).as_secs_f64());
        }
    }

    fn latency(&self, outcome: &str) -> Histogram {
        self.election_latency.with_label_values(&[self.node.as_str(), outcome])
    }

    /// An HTTP connection was closed at once because too many were open.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// So many clients follow `/events` now.
    pub fn event_readers(&self, count: usize) {
        self.events.readers.store(count as u64, Ordering::Relaxed);
    }

    /// A reader of `/events` was refused because too many were there.
    pub fn event_reader_refused(&self) {
        self.events.refused.inc();
    }

    /// A reader of `/events` had missed events and was told the present state.
    pub fn event_reader_reset(&self) {
        self.events.resets.inc();
    }

    /// So many events did not reach `/events`.
    pub fn events_dropped(&self, count: u64) {
        self.events.dropped.inc_by(count);
    }

    /// The text for Prometheus, true at the moment of the view.
    ///
    /// # Errors
    /// A number has no family, or the text cannot be built.
    pub fn render(&self, view: &View<'_>) -> Result<String, Error> {
        // The lock keeps two scrapes from resetting each other's numbers.
        let mirrored = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        mirrored.values().for_each(Mirrored::reset);
        let set = |name: &str, labels: &[String], value| {
            let family = mirrored.get(name).ok_or_else(|| unknown(name))?;
            family.set(labels, value)
        };
        for sample in mirror::samples(view, &self.hosts) {
            set(sample.name, &sample.labels, sample.value)?;
        }
        let (sent, received) = self.traffic.totals();
        set("ringrift_gossip_messages_sent", &[], sent as f64)?;
        set("ringrift_gossip_messages_received", &[], received as f64)?;
        let dropped = self.log.as_ref().map_or(0, ErrorCounter::dropped_lines);
        set("ringrift_p2p_log_lines_dropped_total", &[], dropped as f64)?;
        set("ringrift_p2p_lease_length_seconds", &[], self.lease.as_secs_f64())?;
        let readers = self.events.readers.load(Ordering::Relaxed);
        set("ringrift_p2p_event_readers", &[], readers as f64)?;
        let beside = self.source.samples(view.now);
        for (name, value) in process::samples().into_iter().chain(beside) {
            set(name, &[], value)?;
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn unknown(name: &str) -> Error {
    Error::Msg(format!("{name} is not in the table of metric families"))
}

/// Registers each family of the table once.
struct Builder {
    registry: Registry,
    rest: BTreeMap<&'static str, &'static Family>,
}

impl Builder {
    fn new() -> Self {
        let rest = FAMILIES.iter().map(|family| (family.name, family)).collect();
        Self { registry: Registry::new(), rest }
    }

    fn take(&mut self, name: &str, kind: Kind) -> Result<&'static Family, Error> {
        self.rest.remove(name).filter(|family| family.kind == kind).ok_or_else(|| unknown(name))
    }

    fn counter(&mut self, name: &str) -> Result<IntCounterVec, Error> {
        let family = self.take(name, Kind::Counter)?;
        let counter = IntCounterVec::new(Opts::new(family.name, family.help), family.labels)?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn single_counter(&mut self, name: &str) -> Result<IntCounter, Error> {
        self.counter(name)?.get_metric_with_label_values::<&str>(&[])
    }

    fn histogram(&mut self, name: &str, bounds: &[f64]) -> Result<HistogramVec, Error> {
        let family = self.take(name, Kind::Histogram)?;
        let options = HistogramOpts::new(family.name, family.help).buckets(bounds.to_vec());
        let histogram = HistogramVec::new(options, family.labels)?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn single_histogram(&mut self, name: &str, bounds: &[f64]) -> Result<Histogram, Error> {
        self.histogram(name, bounds)?.get_metric_with_label_values::<&str>(&[])
    }

    /// Every family not yet taken is set at the scrape.
    fn mirror_the_rest(self) -> Result<(Registry, BTreeMap<&'static str, Mirrored>), Error> {
        let mut mirrored = BTreeMap::new();
        for (name, family) in self.rest {
            let options = Opts::new(family.name, family.help);
            mirrored.insert(
                name,
                match family.kind {
                    Kind::Gauge => {
                        let gauge = GaugeVec::new(options, family.labels)?;
                        self.registry.register(Box::new(gauge.clone()))?;
                        Mirrored::Gauge(gauge)
                    }
                    Kind::Counter => {
                        let counter = CounterVec::new(options, family.labels)?;
                        self.registry.register(Box::new(counter.clone()))?;
                        Mirrored::Counter(counter)
                    }
                    Kind::Histogram => return Err(unknown(name)),
                },
            );
        }
        Ok((self.registry, mirrored))
    }
}

#[cfg(test)]
mod tests;
