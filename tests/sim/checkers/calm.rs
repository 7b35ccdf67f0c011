//! I7: a leader with timely round trips to a quorum is not replaced, whatever the others do.
//!
//! 1. From a moment on, once a voter of the healed quorum leads it leads without a gap, until it gives the
//!    lead up for a reason of its own.
//! 2. It gives the lead up only where somebody asked for that, or a better voter takes over.

use super::Violation;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Calm {
    from: Nanos,
    healed: Vec<usize>,
    leader: Option<(usize, u64)>,
    /// It ends its work, and then its lead: nothing is asked of it until another leads.
    ending: Option<usize>,
}

impl Calm {
    /// These voters are healed, and by that time somebody leads.
    pub(crate) const fn new(from: Nanos, healed: Vec<usize>) -> Self {
        Self { from, healed, leader: None, ending: None }
    }

    /// The leader gave the lead up because of something that was asked for.
    pub(crate) fn gives_up(&mut self, host: usize) {
        self.leader = self.leader.filter(|(leader, _)| *leader != host);
    }

    /// The leader was told to end its work: its lead ends, by a release or with its lease.
    pub(crate) fn ends_work(&mut self, host: usize) {
        self.gives_up(host);
        self.ending = Some(host);
    }

    /// Time has passed; the leader at present and its nonce, if there is one.
    pub(crate) fn observe(
        &mut self,
        now: Nanos,
        leader: Option<(usize, u64)>,
    ) -> Result<(), Violation> {
        if now < self.from {
            return Ok(());
        }
        if leader.is_none_or(|(host, _)| Some(host) != self.ending) {
            self.ending = None;
        }
        match self.leader {
            None if self.ending.is_some() => {}
            None => self.leader = leader.filter(|(host, _)| self.healed.contains(host)),
            Some(first) if leader != Some(first) => {
                let what = format!(
                    "host {} led with a healed quorum, and now the leader is {leader:?}",
                    first.0
                );
                return Err(Violation { at: now, rule: "I7", what });
            }
            Some(_) => {}
        }
        Ok(())
    }
}
