//! I11: the work of leaders.
//!
//! 1. The work of a term begins when no other work runs anywhere.
//! 2. It begins once, in a higher term than any before.
//! 3. No work outlives the time that it is given: it has ended by itself or was killed.

use std::collections::BTreeMap;

use super::Violation;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Works {
    running: BTreeMap<u64, (usize, u64)>,
    highest: u64,
}

impl Works {
    /// A host begins the work of a term.
    pub(crate) fn begins(
        &mut self,
        now: Nanos,
        work: u64,
        host: usize,
        term: u64,
    ) -> Result<(), Violation> {
        let broken = |what| Err(Violation { at: now, rule: "I11", what });
        if let Some((other, before)) = self.running.values().next() {
            return broken(format!(
                "host {host} begins the work of term {term}, host {other} does that of term {before}"
            ));
        }
        if term <= self.highest {
            return broken(format!(
                "host {host} begins the work of term {term} after that of term {}",
                self.highest
            ));
        }
        self.highest = term;
        self.running.insert(work, (host, term));
        Ok(())
    }

    /// A work has ended.
    pub(crate) fn ends(&mut self, work: u64) {
        self.running.remove(&work);
    }
}
