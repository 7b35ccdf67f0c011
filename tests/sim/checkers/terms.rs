//! Terms and votes of each voter across its processes.
//!
//! 1. I4: a voter's durable term never falls while its disk is kept.
//! 2. I4: one vote per term and voter, whatever restarts, and a lost disk too.
//! 3. A vote is on stable storage before it leaves, a candidate's own before its ELECTION.

use ringrift_p2p::election::record::VoteRecord;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;

use super::Violation;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    durable: Vec<u64>,
    votes: BTreeMap<(usize, u64), (NodeId, u64)>,
}

impl Terms {
    /// For that many hosts.
    pub(crate) fn new(hosts: usize) -> Self {
        Self { durable: vec![0; hosts], votes: BTreeMap::new() }
    }

    /// The disk of a host was lost, or found with that term at the start of the run.
    pub(crate) fn found(&mut self, host: usize, term: u64) {
        self.durable[host] = term;
    }

    /// A record reached the disk of a host.
    pub(crate) fn written(&mut self, now: Nanos, host: usize, term: u64) -> Result<(), Violation> {
        let before = core::mem::replace(&mut self.durable[host], term);
        if term < before {
            let what = format!("the durable term of host {host} fell from {before} to {term}");
            return Err(Violation { at: now, rule: "I4", what });
        }
        Ok(())
    }

    /// A vote leaves a host, or it stands itself.
    pub(crate) fn voted(
        &mut self,
        now: Nanos,
        host: usize,
        term: u64,
        candidate: (NodeId, u64),
        disk: Option<VoteRecord>,
    ) -> Result<(), Violation> {
        let broken = |what| Err(Violation { at: now, rule: "I4", what });
        let first = *self.votes.entry((host, term)).or_insert(candidate);
        if first != candidate {
            return broken(format!(
                "host {host} votes twice in term {term}: for {} (nonce {:x}) and {} (nonce {:x})",
                first.0, first.1, candidate.0, candidate.1
            ));
        }
        let durable = disk.is_some_and(|record| {
            record.term > term
                || (record.term == term
                    && record.voted_for == Some(candidate.0)
                    && record.nonce == candidate.1)
        });
        if !durable {
            return broken(format!(
                "host {host} votes for {} in term {term}, its disk says {disk:?}",
                candidate.0
            ));
        }
        Ok(())
    }
}
