//! One running accusation and when it ends in a death.
//!
//! Decides how long a suspicion lasts from who shares it. Who may share it, and what is evidence, is
//! decided by `check`.
//!
//! Invariants
//! 1. A suspicion without second witness waits for the ceiling.
//! 2. Each further accuser shortens the wait, down to the floor, also at 3 and 5 members [Lifeguard
//!    §IV-B].
//! 3. Nothing but the longest silence ends it before the floor.
//! 4. Accusations alone end nobody: it takes this node's own evidence, or the word of a node that
//!    has declared the suspect dead.

use core::time::Duration;
use ringrift_wire::NodeId;

use crate::time::Instant;

/// Accusers remembered of one suspicion; more change nothing.
pub(super) const MAX_ACCUSERS: usize = 8;

/// The most accusers that a suspicion waits for.
const FULL_HOUSE: usize = 3;

/// A running accusation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    by: Vec<NodeId>,
    /// Since when each of them accuses it.
    times: Vec<Instant>,
    /// When it began, later when the suspect has been heard of since or this node was late.
    pub(super) started: Instant,
    /// Another node has declared the suspect dead.
    pub(super) claimed_by: Option<NodeId>,
    /// When this node last began to look for itself, or tried to; at first when it began.
    pub(super) looked_at: Instant,
}

/// The bounds of a suspicion at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The wait when everybody who can confirm has done so.
    pub(super) floor: Duration,
    /// The wait of a suspicion without second witness.
    pub(super) ceiling: Duration,
    /// How many can accuse: reachable members other than the suspect, and this node.
    pub(super) witnesses: usize,
    /// This node has enough unanswered pings of its own.
    pub(super) own_evidence: bool,
}

impl Suspicion {
    pub(super) fn new(by: NodeId, now: Instant) -> Self {
        Self { by: vec![by], times: vec![now], started: now, claimed_by: None, looked_at: now }
    }

    pub(super) fn by(&self) -> &[NodeId] {
        &self.by
    }

    /// Who accuses it and since when, the first accuser first.
    pub(super) fn accusers(&self) -> impl Iterator<Item = (NodeId, Instant)> {
        self.by.iter().copied().zip(self.times.iter().copied())
    }

    /// Adds an accuser; false if it is none new, or there are enough.
    pub(super) fn confirm(&mut self, by: NodeId, now: Instant) -> bool {
        let new = !self.by.contains(&by) && self.by.len() < MAX_ACCUSERS;
        if new {
            self.by.push(by);
            self.times.push(now);
        }
        new
    }

    /// Takes one accuser's word back; false if nobody is left.
    pub(super) fn withdraw(&mut self, by: NodeId) -> bool {
        if let Some(at) = self.by.iter().position(|&accuser| accuser == by) {
            self.by.remove(at);
            self.times.remove(at);
        }
        !self.by.is_empty()
    }

    /// When the suspect is dead, as things stand; `None` as long as nobody has evidence for it.
    pub(super) fn ends(&self, bounds: Bounds) -> Option<Instant> {
        let Bounds { floor, ceiling, witnesses, own_evidence } = bounds;
        let wait = if self.claimed_by.is_some() {
            floor
        } else if own_evidence {
            // The share of the way from floor to ceiling: 1 - ln(confirmations + 1) / ln(needed + 1)
            // [Lifeguard §IV-B], the logarithms worked out because there are only two cases.
            let percent = match (witnesses.clamp(2, FULL_HOUSE), self.by.len()) {
                (_, 0 | 1) => 100,
                (FULL_HOUSE, 2) => 37,
                _ => 0,
            };
            floor + ceiling.saturating_sub(floor) * percent / 100
        } else {
            return None;
        };
        Some(self.started + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::from_bytes(name.as_bytes()).expect("a good name")
    }

    fn wait(witnesses: usize, accusers: &[&str]) -> u64 {
        let mut suspicion = Suspicion::new(id(accusers[0]), Instant::ZERO);
        for accuser in &accusers[1..] {
            suspicion.confirm(id(accuser), Instant::ZERO);
        }
        let (floor, ceiling) = (Duration::from_millis(500), Duration::from_millis(6_500));
        let bounds = Bounds { floor, ceiling, witnesses, own_evidence: true };
        suspicion.ends(bounds).expect("an end").as_nanos() / 1_000_000
    }

    /// Invariants 1 and 2.
    #[test]
    fn independent_accusers_shorten_it_also_at_three_and_five_members() {
        // Of three members one is accused: two are left, and one confirmation is all there can be.
        assert_eq!(wait(2, &["a"]), 6_500);
        assert_eq!(wait(2, &["a", "b"]), 500);
        // Of five: four are left, three of them are enough.
        assert_eq!(wait(4, &["a"]), 6_500);
        assert_eq!(wait(4, &["a", "a"]), 6_500);
        assert_eq!(wait(4, &["a", "b"]), 2_720);
        assert_eq!(wait(4, &["a", "b", "c"]), 500);
        assert_eq!(wait(4, &["a", "b", "c", "d"]), 500);
        // Of two: nobody can confirm.
        assert_eq!(wait(1, &["a"]), 6_500);
    }

    /// Invariants 3 and 4.
    #[test]
    fn without_evidence_of_its_own_a_node_needs_anothers_word_and_waits_for_the_floor() {
        let mut suspicion = Suspicion::new(id("a"), Instant::ZERO);
        suspicion.confirm(id("b"), Instant::ZERO);
        suspicion.confirm(id("c"), Instant::ZERO);
        let bounds = Bounds {
            floor: Duration::from_secs(1),
            ceiling: Duration::from_secs(6),
            witnesses: 4,
            own_evidence: false,
        };
        assert_eq!(suspicion.ends(bounds), None);
        suspicion.claimed_by = Some(id("b"));
        assert_eq!(suspicion.ends(bounds), Some(Instant::ZERO + Duration::from_secs(1)));
    }

    #[test]
    fn accusers_are_bounded_and_can_withdraw() {
        let mut suspicion = Suspicion::new(id("a"), Instant::ZERO);
        for accuser in 0..50 {
            suspicion.confirm(id(&format!("n{accuser}")), Instant::ZERO);
        }
        assert_eq!(suspicion.by().len(), MAX_ACCUSERS);
        let mut alone = Suspicion::new(id("a"), Instant::ZERO);
        assert!(!alone.withdraw(id("a")));
    }
}
