//! Numbers of a node that compares itself with the process that it is to replace; all zero on others.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The fields of `/status` that are compared.
pub const COMPARED: [&str; 3] = ["leader_id", "alive_peers", "voters_alive"];

/// What came of the comparisons.
#[derive(Debug, Default)]
pub struct Shadow {
    disagree: [AtomicBool; COMPARED.len()],
    /// Unix seconds; 0 before the first comparison.
    succeeded_at: AtomicU64,
    failures: AtomicU64,
}

impl Shadow {
    /// The other process answered at these Unix seconds; `disagree` is in the order of [`COMPARED`].
    pub fn compared(&self, unix: u64, disagree: [bool; COMPARED.len()]) {
        for (field, disagrees) in self.disagree.iter().zip(disagree) {
            field.store(disagrees, Ordering::Relaxed);
        }
        self.succeeded_at.store(unix, Ordering::Relaxed);
    }

    /// The other process did not answer.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether each field disagreed when it was last compared.
    pub(super) fn disagreements(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let flag = |field: &AtomicBool| f64::from(u8::from(field.load(Ordering::Relaxed)));
        COMPARED.into_iter().zip(self.disagree.iter().map(flag))
    }

    /// Name and value of the numbers without a label.
    pub(super) fn samples(&self) -> [(&'static str, f64); 2] {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
        [
            ("ringrift_p2p_shadow_last_success_timestamp_seconds", number(&self.succeeded_at)),
            ("ringrift_p2p_shadow_failures_total", number(&self.failures)),
        ]
    }
}
