//! Leases against true time.
//!
//! Keeps, for every process, the interval of true time in which it would answer "I lead" by its own
//! clock. A standing process's interval runs on to its end; a dead one's ends with it.
//!
//! 1. I1: at most one node ever leads in a term.
//! 2. I2: at every real instant at most one process is inside its lease.
//! 3. I4: a later lease has a higher term.

use std::collections::BTreeMap;

use super::Violation;
use crate::options::Nanos;

/// A lease as one process holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The process.
    pub(crate) nonce: u64,
    /// The term.
    pub(crate) term: u64,
    /// The first moment at which it would say no.
    pub(crate) until: Nanos,
}

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    held: Vec<Option<Held>>,
    led: BTreeMap<u64, (usize, u64)>,
    highest: u64,
}

impl Leases {
    /// For that many hosts.
    pub(crate) fn new(hosts: usize) -> Self {
        Self { held: vec![None; hosts], led: BTreeMap::new(), highest: 0 }
    }

    /// Who is inside its lease.
    pub(crate) fn leader(&self, now: Nanos) -> Option<(usize, Held)> {
        self.held
            .iter()
            .enumerate()
            .find_map(|(host, held)| held.filter(|held| held.until > now).map(|held| (host, held)))
    }

    /// Which host led a term.
    pub(crate) fn leader_of(&self, term: u64) -> Option<usize> {
        self.led.get(&term).map(|(host, _)| *host)
    }

    /// The process of a host ended, or says that it does not lead.
    pub(crate) fn ended(&mut self, now: Nanos, host: usize) {
        if let Some(held) = &mut self.held[host] {
            held.until = held.until.min(now);
        }
    }

    /// A process says that it leads, and will until a moment unless it hears more.
    pub(crate) fn leads(&mut self, now: Nanos, host: usize, mine: Held) -> Result<(), Violation> {
        let broken = |rule, what| Err(Violation { at: now, rule, what });
        if mine.until <= now {
            self.ended(now, host);
            return Ok(());
        }
        for (other, held) in self.held.iter().enumerate() {
            if let Some(held) = held
                && other != host
                && held.until > now
            {
                let what = format!(
                    "two valid leases: host {host} in term {} until {}, host {other} in term {} until {}",
                    mine.term, mine.until, held.term, held.until
                );
                return broken("I2", what);
            }
        }
        match self.led.insert(mine.term, (host, mine.nonce)) {
            None if mine.term < self.highest => {
                let what = format!(
                    "host {host} leads term {} after somebody led term {}",
                    mine.term, self.highest
                );
                return broken("I4", what);
            }
            Some(first) if first != (host, mine.nonce) => {
                let what = format!(
                    "term {} was led by host {} (nonce {:x}) and is by host {host} (nonce {:x})",
                    mine.term, first.0, first.1, mine.nonce
                );
                return broken("I1", what);
            }
            Some(_) | None => {}
        }
        self.highest = self.highest.max(mine.term);
        self.held[host] = Some(mine);
        Ok(())
    }
}
