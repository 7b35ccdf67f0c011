//! I5: what has ended does not begin again.
//!
//! 1. After a lease of a process has lapsed, or the process has said that it leads no longer, there is
//!    none in that term again.
//! 2. After RELEASE or GO of a term, said by the process, by its guardian or by the next process, that
//!    process holds no lease in it.

use std::collections::BTreeMap;

use super::Violation;
use super::leases::Held;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings {
    /// Of each process: its last term, until when its lease runs, and the highest term that was released.
    processes: BTreeMap<u64, Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    term: u64,
    until: Nanos,
    released: Option<u64>,
}

impl Endings {
    /// Somebody says that a process leads a term no longer.
    pub(crate) fn released(
        &mut self,
        now: Nanos,
        nonce: u64,
        term: u64,
        by: &str,
    ) -> Result<(), Violation> {
        let known = self.processes.entry(nonce).or_default();
        known.released = known.released.max(Some(term));
        if known.until > now && known.term == term {
            let what = format!("{by} ends term {term} of {nonce:x}, whose lease runs");
            return Err(Violation { at: now, rule: "I5", what });
        }
        Ok(())
    }

    /// A process says that it does not lead, or has ended.
    pub(crate) fn ended(&mut self, now: Nanos, nonce: u64) {
        if let Some(known) = self.processes.get_mut(&nonce) {
            known.until = known.until.min(now);
        }
    }

    /// A process says that it leads.
    pub(crate) fn leads(&mut self, now: Nanos, host: usize, held: Held) -> Result<(), Violation> {
        let known = self.processes.entry(held.nonce).or_default();
        let broken = |what| Err(Violation { at: now, rule: "I5", what });
        if let Some(released) = known.released.filter(|released| held.term <= *released) {
            return broken(format!(
                "host {host} leads term {}, and term {released} was released",
                held.term
            ));
        }
        if known.term == held.term && known.until < now {
            return broken(format!("host {host} leads term {} again", held.term));
        }
        known.term = held.term;
        known.until = held.until;
        Ok(())
    }
}
