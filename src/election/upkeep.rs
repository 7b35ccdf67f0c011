//! The leader's upkeep: its heartbeats, and the re-elections by which it rises above a voter's term.
//!
//! Decides when a leader that is left alone says something. That its lease runs out is the core's business.

use ::core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, BTreeSet};

use super::core::Core;
use super::history::Ballot;
use super::{ElectionCause, Event, Machine, Upkeep, takeover};
use crate::time::Instant;

impl Machine {
    pub(super) fn lead_on(&mut self, now: Instant) {
        let Some(term) = self.core.as_ref().and_then(Core::leading_term) else {
            self.upkeep = None;
            return;
        };
        if self.lets_lapse() {
            return;
        }
        match &self.upkeep {
            None => self.gained(now, term),
            Some(_) => self.raise(now, term),
        }
        self.beat(now);
        self.drain_core();
    }

    pub(super) fn gained(&mut self, now: Instant, term: u64) {
        let (cause, began_at, mut votes) = match self.campaign.take() {
            Some(campaign) => {
                let votes = campaign.stand.map(|stand| stand.votes).unwrap_or_default();
                (campaign.cause, campaign.began_at, votes)
            }
            None => (self.vacancy, now, BTreeMap::new()),
        };
        let took = now.since(began_at);
        votes.insert(self.setup.me, Ballot::Granted);
        self.note(term, cause, Some(self.setup.me), began_at, took, votes);
        self.follow.forget();
        self.failures = 0;
        self.last_until = Instant::ZERO;
        self.upkeep = Some(Upkeep {
            term,
            beat_at: now,
            next_beat: now,
            next_retry: now,
            retry_gap: Duration::ZERO,
            silent: BTreeSet::new(),
            raise: None,
            rivals: takeover::Rivals::default(),
            since: now,
        });
        self.notify(Event::LeadershipGained { term, took });
    }

    pub(super) fn beat(&mut self, now: Instant) {
        let h = self.setup.params.heartbeat_interval;
        let delta = self.voters.delta();
        let others = self.voters.ids();
        if self.upkeep.as_ref().is_some_and(|upkeep| now >= upkeep.next_beat) {
            self.compare(now);
        }
        let (Some(core), Some(upkeep)) = (&mut self.core, &mut self.upkeep) else { return };
        if now >= upkeep.next_beat {
            if core.beat(now, &others).is_none() {
                // It cannot work: the lease runs out.
                upkeep.next_beat = now + h;
                return;
            }
            upkeep.beat_at = now;
            upkeep.next_beat = now + h;
            upkeep.retry_gap = (h / 16).max(delta);
            upkeep.next_retry = now + upkeep.retry_gap;
            upkeep.silent = others.into_iter().collect();
        } else if now >= upkeep.next_retry {
            let gone = |id: &NodeId| {
                let standing = self.voters.get(*id).map(|voter| voter.standing);
                matches!(standing, Some(super::Standing::Gone(_)))
            };
            upkeep.silent.retain(|id| !gone(id));
            let silent: Vec<NodeId> = upkeep.silent.iter().copied().collect();
            upkeep.retry_gap *= 2;
            upkeep.next_retry = now + upkeep.retry_gap;
            if !silent.is_empty() {
                core.beat(now, &silent);
            }
        }
    }

    /// Runs for a higher term while leading, when a voter's term is above the own one.
    pub(super) fn raise(&mut self, now: Instant, term: u64) {
        let delta = self.voters.delta();
        let (others, priority) = (self.voters.ids(), self.own_priority(now));
        let timeout = self.setup.params.election_timeout.min(self.setup.params.lease);
        let (Some(core), Some(upkeep)) = (&mut self.core, &mut self.upkeep) else { return };
        if term > upkeep.term {
            // Told at once, also where it is not yet the last: heartbeats carry it from now on.
            upkeep.term = term;
            upkeep.raise = upkeep.raise.filter(|raise| term <= raise.above);
            self.notify(Event::TermRaised { term });
            let votes = BTreeMap::from([(self.setup.me, Ballot::Granted)]);
            let me = Some(self.setup.me);
            self.note(term, ElectionCause::HigherTerm, me, now, Duration::ZERO, votes);
            return;
        }
        let Some(raise) = &mut upkeep.raise else { return };
        let Some(tally) = core.tally().filter(|tally| tally.term() > raise.above) else {
            if now >= raise.next_at {
                core.stand(now, raise.above);
                raise.deadline = now + timeout;
                raise.next_at = raise.deadline;
            }
            return;
        };
        if now >= raise.deadline {
            // The old term goes on; another attempt follows.
            core.give_up(now);
            raise.next_at = now + delta;
            raise.deadline = Instant::NEVER;
        } else if core.is_open() && (tally.grants().is_empty() || now >= raise.next_at) {
            let answered =
                |id: &NodeId| tally.grants().contains_key(id) || tally.refusals().contains_key(id);
            let ask: Vec<NodeId> = others.into_iter().filter(|id| !answered(id)).collect();
            raise.next_at = now + delta;
            core.solicit(now, &ask, priority);
        }
    }
}
