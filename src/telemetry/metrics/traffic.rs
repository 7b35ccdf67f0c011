//! The numbers that the driver counts as it goes: datagrams, the loop's lateness, durable writes.

use core::time::Duration;
use prometheus::{Error, Histogram, IntCounter};

use super::Builder;

/// Counters of the protocol loop; every call is one or two atomic additions.
#[derive(Debug)]
pub struct Traffic {
    sent: Vec<Flow>,
    received: Vec<Flow>,
    rejected: Vec<IntCounter>,
    unsent: IntCounter,
    loop_delay: Histogram,
    fsync: Histogram,
    work_failures: IntCounter,
    clock_steps: IntCounter,
    suspends: IntCounter,
}

#[derive(Debug)]
struct Flow {
    datagrams: IntCounter,
    bytes: IntCounter,
}

impl Flow {
    fn count(&self, bytes: usize) {
        self.datagrams.inc();
        self.bytes.inc_by(bytes as u64);
    }
}

impl Traffic {
    pub(super) fn new(
        builder: &mut Builder,
        kinds: &[&str],
        reasons: &[&str],
    ) -> Result<Self, Error> {
        let mut flows = |datagrams, bytes| {
            let datagrams = builder.counter(datagrams)?;
            let bytes = builder.counter(bytes)?;
            Ok::<_, Error>(
                kinds
                    .iter()
                    .map(|kind| Flow {
                        datagrams: datagrams.with_label_values(&[kind]),
                        bytes: bytes.with_label_values(&[kind]),
                    })
                    .collect(),
            )
        };
        let sent = flows("ringrift_p2p_datagrams_sent_total", "ringrift_p2p_sent_bytes_total")?;
        let received =
            flows("ringrift_p2p_datagrams_received_total", "ringrift_p2p_received_bytes_total")?;
        let rejected = builder.counter("ringrift_p2p_datagrams_rejected_total")?;
        let rejected = reasons.iter().map(|reason| rejected.with_label_values(&[reason])).collect();
        Ok(Self {
            sent,
            received,
            rejected,
            unsent: builder.single_counter("ringrift_p2p_datagrams_unsent_total")?,
            loop_delay: builder.single_histogram("ringrift_p2p_loop_delay_seconds", LATENESS)?,
            fsync: builder.single_histogram("ringrift_p2p_fsync_seconds", WRITES)?,
            work_failures: builder.single_counter("ringrift_p2p_work_failures_total")?,
            clock_steps: builder.single_counter("ringrift_p2p_clock_steps_total")?,
            suspends: builder.single_counter("ringrift_p2p_suspends_total")?,
        })
    }

    /// A datagram of this kind was sent; `kind` is its index in the list given at the start, and an
    /// index beyond the list is not counted.
    pub fn sent(&self, kind: usize, bytes: usize) {
        if let Some(flow) = self.sent.get(kind) {
            flow.count(bytes);
        }
    }

    /// A datagram of this kind was accepted; `kind` as in [`Traffic::sent`].
    pub fn received(&self, kind: usize, bytes: usize) {
        if let Some(flow) = self.received.get(kind) {
            flow.count(bytes);
        }
    }

    /// A datagram was rejected; `reason` is its index in the list given at the start.
    pub fn rejected(&self, reason: usize) {
        if let Some(counter) = self.rejected.get(reason) {
            counter.inc();
        }
    }

    /// The kernel did not take a datagram.
    pub fn unsent(&self) {
        self.unsent.inc();
    }

    /// The loop ran so much later than its deadline.
    pub fn loop_delayed(&self, late: Duration) {
        self.loop_delay.observe(late.as_secs_f64());
    }

    /// The lead was given up because its work could not begin or had to be ended.
    pub fn work_failed(&self) {
        self.work_failures.inc();
    }

    /// The wall clock was set.
    pub fn clock_stepped(&self) {
        self.clock_steps.inc();
    }

    /// The machine was suspended.
    pub fn suspended(&self) {
        self.suspends.inc();
    }

    /// A durable write of the vote store, or of a check of its disk, took so long.
    pub fn record_written(&self, took: Duration) {
        self.fsync.observe(took.as_secs_f64());
    }

    /// Datagrams sent and accepted so far, of every kind.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let total = |flows: &[Flow]| flows.iter().map(|flow| flow.datagrams.get()).sum();
        (total(&self.sent), total(&self.received))
    }
}

/// Bounds of the loop's lateness, in seconds.
const LATENESS: &[f64] = &[0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Bounds of a durable write, in seconds.
const WRITES: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
