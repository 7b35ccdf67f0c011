//! The normal form of a voter's state: equal for two states that differ in nothing that matters.
//!
//! Serves those who compare states, an exhaustive checker above all; a running node has no use for
//! it. Two states have the same normal form when they differ only in where the clock stands, in the
//! numbers of sends and writes, and in what has run out and can have no effect any more.
//!
//! 1. Whatever the voter answers, sends, writes or claims after a step, it does in the same way after
//!    the step from the normal form, but for names, numbers and the place of the clock.

use ringrift_wire::{Acknowledge, Answer, Message, NodeId};
use std::collections::BTreeMap;

use super::super::record::Promise;
use super::{Candidacy, Core, Leading, Role};
use crate::time::Instant;

/// What a normal form puts in the place of what.
#[derive(Clone, Copy)]
pub struct Renaming<'a> {
    /// The moment of the comparison.
    pub now: Instant,
    /// The moment that takes its place; late enough that nothing is moved below zero.
    pub then: Instant,
    /// How many of the writes that were asked for have not been answered yet.
    pub pending: u64,
    /// A permutation of the voters' names.
    pub name: &'a dyn Fn(NodeId) -> NodeId,
}

impl Renaming<'_> {
    /// A moment as far from `then` as the given one is from `now`.
    #[must_use]
    pub fn instant(&self, at: Instant) -> Instant {
        if at < self.now { self.then - self.now.since(at) } else { self.then + self.now.until(at) }
    }

    /// A promise under the new names and clock; `None` when it has run out.
    #[must_use]
    pub fn promise(&self, promise: &Promise) -> Option<Promise> {
        let to = (self.name)(promise.to);
        let until = self.instant(promise.until);
        (promise.until > self.now).then_some(Promise { to, until, ..*promise })
    }

    pub(crate) fn keys<V>(&self, map: &mut BTreeMap<NodeId, V>) {
        let old = core::mem::take(map);
        map.extend(old.into_iter().map(|(id, value)| ((self.name)(id), value)));
    }
}

impl Core {
    /// Replaces the state by its normal form. Returns the new numbers of the sends whose answers
    /// still count, by their old ones; answers to all others have no effect.
    ///
    /// All outputs must have been taken.
    pub fn normalise(&mut self, by: Renaming<'_>) -> BTreeMap<u64, u64> {
        let drift_ppm = self.rules.drift_ppm;
        let abstains = self.abstains_until(by.now).is_some();
        let own_lease = self.rules.lease;
        self.rules.me = (by.name)(self.rules.me);
        self.record.voted_for = self.record.voted_for.map(by.name);
        self.promise = self.promise.and_then(|promise| by.promise(&promise));
        self.forgot_until = self.forgot_until.filter(|_| abstains).map(|at| by.instant(at));
        if let Some(genesis) = &mut self.genesis {
            genesis.normalise(own_lease, by);
        }
        let candidacy = |candidacy: &mut Candidacy| candidacy.tally.normalise(drift_ppm, by);
        match &mut self.role {
            Role::Follower => {}
            Role::Candidate(standing) => candidacy(standing),
            Role::Leader(Leading { acknowledged, reelection, .. }) => {
                acknowledged.retain(|_, span| span.end(drift_ppm) > by.now);
                acknowledged.values_mut().for_each(|span| span.sent_at = by.instant(span.sent_at));
                by.keys(acknowledged);
                reelection.iter_mut().for_each(candidacy);
            }
        }
        by.keys(&mut self.met_as_new);
        by.keys(&mut self.released);
        let answered = self.writes.saturating_sub(by.pending);
        let write = |number: &mut u64| *number = number.saturating_sub(answered);
        write(&mut self.writes);
        self.record_write.iter_mut().for_each(write);
        for held in &mut self.held {
            held.to = (by.name)(held.to);
            held.needs.iter_mut().flatten().for_each(write);
        }
        let numbers = self.sends.normalise(drift_ppm, by);
        self.number = numbers.values().copied().max().unwrap_or(0);
        numbers
    }

    /// Gives the answers that wait for the disk the new numbers of that voter's sends, and 0 where
    /// they no longer count there. Returns whether any waits.
    pub fn renumber(&mut self, asker: NodeId, numbers: &BTreeMap<u64, u64>) -> bool {
        let mut any = false;
        for held in self.held.iter_mut().filter(|held| held.to == asker) {
            if let Message::Answer(Answer { number, .. })
            | Message::Acknowledge(Acknowledge { number, .. }) = &mut held.message
            {
                *number = numbers.get(number).copied().unwrap_or(0);
                any = true;
            }
        }
        any
    }
}
