//! Numbers of a node that follows others over HTTP; all zero on one that takes part in gossip.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::time::Instant;

/// When the followed nodes were heard, and how often they were not.
#[derive(Debug, Default)]
pub struct Source {
    /// In nanoseconds of the boot clock; 0 where nobody is followed over HTTP.
    heard_at: AtomicU64,
    failures: AtomicU64,
}

impl Source {
    /// A followed node was heard, or the following began, at this moment.
    pub fn heard(&self, at: Instant) {
        self.heard_at.store(at.as_nanos().max(1), Ordering::Relaxed);
    }

    /// A followed node was asked in vain.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Name and value of each number at `now`.
    pub(super) fn samples(&self, now: Instant) -> [(&'static str, f64); 3] {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        let follows = heard_at > 0;
        let silence =
            if follows { now.since(Instant::from_nanos(heard_at)) } else { <_>::default() };
        let failures = self.failures.load(Ordering::Relaxed);
        [
            ("ringrift_p2p_follows_over_http", f64::from(u8::from(follows))),
            ("ringrift_p2p_source_silence_seconds", silence.as_secs_f64()),
            ("ringrift_p2p_source_failures_total", failures as f64),
        ]
    }
}
