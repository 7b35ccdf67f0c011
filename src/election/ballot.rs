//! The count of one election's votes, and the proof of having won it.
//!
//! [`QuorumProof`] cannot be built outside this file: whoever holds one has counted a quorum of
//! grants whose promises all still run.

use core::time::Duration;
use ringrift_wire::{NodeId, Refusal};
use std::collections::BTreeMap;

use super::core::Renaming;
use super::lease::{self, Span};
use super::quorum::VoterSet;
use crate::time::Instant;

/// The votes of one term, as the candidate has heard them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tally {
    term: u64,
    grants: BTreeMap<NodeId, Span>,
    refusals: BTreeMap<NodeId, Refusal>,
}

/// A quorum of the configured voters has granted its vote in this term, and every one of their
/// promises was running when this was made.
#[derive(Debug)]
pub struct QuorumProof {
    term: u64,
    grants: BTreeMap<NodeId, Span>,
}

impl QuorumProof {
    /// The term that was won.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// The votes, which count as the first acknowledgements.
    #[must_use]
    pub fn into_grants(self) -> BTreeMap<NodeId, Span> {
        self.grants
    }
}

impl Tally {
    /// An election in which nobody has voted yet.
    #[must_use]
    pub const fn new(term: u64) -> Self {
        Self { term, grants: BTreeMap::new(), refusals: BTreeMap::new() }
    }

    /// The term that is voted on.
    #[must_use]
    pub const fn term(&self) -> u64 {
        self.term
    }

    /// Counts a vote for the send that it answers.
    pub fn grant(&mut self, voter: NodeId, span: Span) {
        self.refusals.remove(&voter);
        let known = self.grants.entry(voter).or_insert(span);
        *known = span.max(*known);
    }

    /// Notes a refusal; a vote once granted stays granted.
    pub fn refuse(&mut self, voter: NodeId, why: Refusal) {
        if !self.grants.contains_key(&voter) {
            self.refusals.insert(voter, why);
        }
    }

    /// Who granted, with the sends that the votes date from.
    #[must_use]
    pub const fn grants(&self) -> &BTreeMap<NodeId, Span> {
        &self.grants
    }

    /// Who refused, and why.
    #[must_use]
    pub const fn refusals(&self) -> &BTreeMap<NodeId, Refusal> {
        &self.refusals
    }

    /// The proof of a quorum, if a quorum of the set granted and its lease would still run.
    #[must_use]
    pub fn won(&self, now: Instant, set: &VoterSet, drift_ppm: u32) -> Option<QuorumProof> {
        let grants: BTreeMap<NodeId, Span> = self
            .grants
            .iter()
            .filter(|(voter, _)| set.contains(**voter))
            .map(|(voter, span)| (*voter, *span))
            .collect();
        let (end, _) = lease::lease_end(&grants, set.quorum(), drift_ppm)?;
        (now.until(end) > Duration::ZERO).then_some(QuorumProof { term: self.term, grants })
    }

    pub(super) fn normalise(&mut self, drift_ppm: u32, by: Renaming<'_>) {
        self.grants.retain(|_, span| span.end(drift_ppm) > by.now);
        self.grants.values_mut().for_each(|span| span.sent_at = by.instant(span.sent_at));
        by.keys(&mut self.grants);
        by.keys(&mut self.refusals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn span(ms: u64) -> Span {
        Span { sent_at: Instant::from_nanos(ms * 1_000_000), lease: Duration::from_secs(1) }
    }

    #[test]
    fn a_minority_a_stranger_and_a_refusal_prove_nothing() {
        let set = VoterSet::new(&["a", "b", "c", "d", "e"].map(id), 1);
        let now = Instant::from_nanos(1);
        let mut tally = Tally::new(4);
        tally.grant(id("a"), span(0));
        tally.grant(id("b"), span(0));
        tally.grant(id("stranger"), span(0));
        tally.refuse(id("c"), Refusal::Voted);
        assert!(tally.won(now, &set, 0).is_none());
        tally.grant(id("c"), span(0));
        assert_eq!(tally.won(now, &set, 0).unwrap().term(), 4);
        tally.refuse(id("c"), Refusal::Voted);
        assert!(tally.won(now, &set, 0).is_some(), "a vote once granted stays granted");
    }

    #[test]
    fn votes_whose_promises_have_ended_prove_nothing() {
        let set = VoterSet::new(&["a", "b", "c"].map(id), 1);
        let mut tally = Tally::new(4);
        tally.grant(id("a"), span(900));
        tally.grant(id("b"), span(0));
        assert!(tally.won(span(980).sent_at, &set, 0).is_some());
        assert!(tally.won(span(990).sent_at, &set, 0).is_none(), "the guard is kept back");
    }
}
