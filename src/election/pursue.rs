//! What is done without being asked: learning, campaigning, giving up.

use ringrift_wire::{Canvass, Inquire, Message, NodeId};
use std::collections::{BTreeMap, BTreeSet};

use super::campaign::{Campaign, Stand};
use super::core::Core;
use super::history::{Ballot, PastElection};
use super::{ElectionCause, Event, LossCause, MAX_LOSSES, Machine, STORE_RETRY};
use crate::time::Instant;
use ::core::time::Duration;

/// The least time that each better voter is given at a cold start.
const COLD_DELTA: Duration = Duration::from_millis(50);
/// The longest pause between two inquiries of a voter with an empty store.
const INQUIRY_PAUSE: Duration = Duration::from_secs(1);

impl Machine {
    /// Does what has become due; harmless at any time and as often as one likes.
    pub(super) fn settle(&mut self, now: Instant) {
        self.expire(now);
        self.learn(now);
        self.retry_store(now);
        self.cast_deferred(now);
        self.lead_on(now);
        self.pursue(now);
        self.lead_on(now);
        self.get_ready(now);
        self.pursue_drain(now);
        self.pursue_handover(now);
        self.pursue_trigger(now);
        self.announce(now);
        self.drain_core();
    }

    /// Demotes a leader whose lease has ended; or notices that its work was to have ended by now. Comes first, whatever
    /// has happened: this may be a late wake-up, and what waits for it could renew the lease.
    pub(super) fn expire(&mut self, now: Instant) {
        let Some(term) = self.core.as_mut().and_then(|core| core.expire(now)) else {
            self.notice_overdue(now);
            return;
        };
        if self.losses.len() == MAX_LOSSES {
            self.losses.pop_front();
        }
        self.losses.push_back(now);
        self.ended(now, term, LossCause::LeaseExpired, ElectionCause::LeaseExpired);
    }

    /// Stops leading at once.
    pub(super) fn resign(&mut self, now: Instant, cause: LossCause) {
        let Some(term) = self.core.as_mut().and_then(Core::resign) else { return };
        self.ended(now, term, cause, ElectionCause::Triggered);
    }

    pub(super) fn ended(
        &mut self,
        now: Instant,
        term: u64,
        cause: LossCause,
        vacancy: ElectionCause,
    ) {
        self.notify(Event::LeadershipLost { term, cause });
        self.history.ended(term, now, cause.as_str());
        self.drain_core();
        self.upkeep = None;
        self.vacancy = vacancy;
        self.quiet_until = now;
        self.follow.release(self.setup.me, self.setup.boot.nonce, term);
    }

    // ---- An empty store, a failing one --------------------------------------------------------

    fn learn(&mut self, now: Instant) {
        let unix_now = self.unix_now(now);
        let own_lease = self.setup.params.lease;
        let others = self.voters.ids();
        if self.core.as_ref().is_none_or(|core| core.genesis().is_none()) || self.stopping {
            return;
        }
        if let Some(term) = self.core.as_mut().and_then(|core| core.adopt(now, unix_now)) {
            self.drain_core();
            // Nobody was elected: this only says where counting starts.
            self.counted_term = self.counted_term.max(term);
            self.notify(Event::RecordAdopted { term });
            return;
        }
        if now < self.next_inquiry {
            return;
        }
        let delta = self.voters.delta();
        let Some(genesis) = self.core.as_ref().and_then(Core::genesis) else { return };
        let wait_ends = genesis.wait_ends(own_lease);
        let ask: Vec<NodeId> =
            others.into_iter().filter(|&id| !genesis.has_answered(id, own_lease)).collect();
        self.inquiry_gap = (self.inquiry_gap * 2).clamp(delta, INQUIRY_PAUSE);
        let next = now + self.inquiry_gap;
        self.next_inquiry = if now < wait_ends { next.min(wait_ends) } else { next };
        self.inquire(now, &ask);
    }

    /// Asks voters what this one may have forgotten.
    pub(super) fn inquire(&mut self, now: Instant, voters: &[NodeId]) {
        let (set, number) = (self.setup.set.tag(), self.next_number());
        if let Some(genesis) = self.core.as_mut().and_then(Core::genesis_mut) {
            genesis.asked(now, number);
        }
        for &to in voters {
            self.send(to, Message::Inquire(Inquire { set, number }));
        }
    }

    fn retry_store(&mut self, now: Instant) {
        if now < self.next_store_retry {
            return;
        }
        if let Some(core) = self.core.as_mut().filter(|core| !core.store_works()) {
            core.retry_record();
            self.next_store_retry = now + STORE_RETRY.min(self.setup.params.heartbeat_interval);
        }
    }

    // ---- Becoming leader ----------------------------------------------------------------------

    /// Why this voter should try to lead, if it should.
    pub(super) fn need(&self, now: Instant) -> Option<ElectionCause> {
        let core = self.core.as_ref()?;
        if self.stopping
            || core.genesis().is_some()
            || !core.has_evidence()
            || self.own_priority(now).drained
            || now < self.unheard_until
        {
            return None;
        }
        if self.follow.leader(now).is_none() {
            return Some(match self.vacancy {
                ElectionCause::NoLeader if self.follow.last().is_some() => {
                    ElectionCause::LeaderSilent
                }
                vacancy => vacancy,
            });
        }
        if self.leader_suspected(now) {
            return Some(ElectionCause::LeaderSuspected);
        }
        // What was said before this leader was known is not about it.
        let settled = self.leader(now) == self.announced;
        (settled && now < self.nudged_until).then_some(ElectionCause::Canvassed)
    }

    fn pursue(&mut self, now: Instant) {
        let Some(core) = &self.core else { return };
        if core.leading_term().is_some() {
            self.campaign = None;
            return;
        }
        let standing = self.campaign.as_ref().is_some_and(|campaign| campaign.stand.is_some());
        if standing {
            self.stand_on(now);
            return;
        }
        let Some(cause) = self.need(now) else {
            self.campaign = None;
            return;
        };
        // Before this process has seen any leader, the better ones may still be starting.
        let cold = self.follow.last().is_none() && self.announced.is_none();
        let delta = if cold { self.voters.delta().max(COLD_DELTA) } else { self.voters.delta() };
        let wait = delta * self.better_ones(now);
        match &mut self.campaign {
            None if now < self.quiet_until => return,
            None => {
                let priority = self.own_priority(now);
                self.campaign = Some(Campaign::new(cause, now, now + wait, priority));
            }
            // A better one that has left meanwhile is not waited for.
            Some(campaign) => campaign.starts_at = campaign.starts_at.min(campaign.began_at + wait),
        }
        self.canvass(now);
    }

    /// How many better voters may be about to stand.
    fn better_ones(&self, now: Instant) -> u32 {
        let own = (self.own_priority(now), self.setup.me);
        let set = self.setup.set.tag();
        let switched = self.core.as_ref().is_none_or(Core::has_switched);
        let better = |&(id, voter): &(NodeId, &super::Voter)| {
            let priority = self.priority_of(now, id);
            let unsuspected =
                matches!(voter.standing, super::Standing::Unknown | super::Standing::Well);
            // Until it has taken part under its own version, a voter lets those of the version before go
            // first: all can vote for them.
            let older = voter
                .set_version
                .is_some_and(|version| version.checked_add(1) == Some(set.version) && !switched);
            let ranks = !voter.set_mismatch && (priority, id) < own;
            unsuspected && !priority.drained && (older || ranks)
        };
        u32::try_from(self.voters.iter().filter(better).count()).unwrap_or(u32::MAX)
    }

    fn canvass(&mut self, now: Instant) {
        let (set, term, pace) = (self.setup.set.tag(), self.term(), self.pace());
        let ids = self.voters.ids();
        let Some(campaign) = &mut self.campaign else { return };
        if now < campaign.starts_at {
            return;
        }
        let (cause, priority) = (campaign.cause, campaign.priority);
        let due: Vec<NodeId> = ids.into_iter().filter(|&id| campaign.is_due(now, id)).collect();
        if !campaign.announced {
            campaign.announced = true;
            self.notify(Event::CanvassStarted { cause });
        }
        for to in due {
            let number = self.next_number();
            if let Some(campaign) = &mut self.campaign {
                campaign.asked(now, to, number, pace);
            }
            self.send(to, Message::Canvass(Canvass { set, number, term, priority }));
        }
        self.try_to_stand(now);
    }

    fn try_to_stand(&mut self, now: Instant) {
        let pace = self.pace();
        let eligible = self.is_eligible(now);
        let (Some(core), Some(campaign)) = (&self.core, &self.campaign) else { return };
        let own = core.free_at(now, self.setup.me, self.setup.boot.nonce);
        let free = campaign.quorum_free_at(now, own, self.setup.set.quorum(), pace);
        if !eligible || campaign.outranked(now, pace) || free.is_none_or(|free| now < free) {
            return;
        }
        let (above, hopes) = (campaign.highest_term(), campaign.hopes(now, pace));
        self.stand(now, above, hopes);
    }

    /// Stands in a term above `above`; `hopes` are those that may be expected to vote for it.
    pub(super) fn stand(&mut self, now: Instant, above: u64, hopes: BTreeSet<NodeId>) {
        let (Some(core), Some(campaign)) = (&mut self.core, &mut self.campaign) else { return };
        let Some(term) = core.stand(now, above) else { return };
        // The round is timed once the own vote is durable; a disk that hangs ends it as well.
        let deadline = now + self.setup.params.election_timeout * 2;
        campaign.stand = Some(Stand {
            term,
            deadline,
            next_at: deadline,
            gap: Duration::ZERO,
            hopes,
            votes: BTreeMap::new(),
        });
        let cause = campaign.cause;
        self.drain_core();
        self.notify(Event::ElectionStarted { term, cause });
        self.stand_on(now);
    }

    /// Asks for votes, again where there is no answer; ends a round that cannot be won.
    fn stand_on(&mut self, now: Instant) {
        let delta = self.voters.delta();
        let others = self.voters.ids();
        let quorum = self.setup.set.quorum();
        let (Some(core), Some(campaign)) = (&mut self.core, &mut self.campaign) else { return };
        let priority = campaign.priority;
        let Some(stand) = &mut campaign.stand else { return };
        let Some(tally) = core.tally().filter(|tally| tally.term() == stand.term) else {
            self.lost(now, "yielded");
            return;
        };
        let granted = |id: &NodeId| tally.grants().contains_key(id);
        let refused = |id: &NodeId| tally.refusals().contains_key(id);
        let own = usize::from(!granted(&self.setup.me));
        let open = stand.hopes.iter().filter(|id| !granted(id) && !refused(id)).count();
        if own + tally.grants().len() + open < quorum {
            self.abandon(now, "refused");
            return;
        }
        if now >= stand.deadline {
            self.abandon(now, "timeout");
            return;
        }
        let first = stand.gap.is_zero();
        if core.is_open() && (first || now >= stand.next_at) {
            // A vote that will have run down by half before it is counted is asked for again.
            let half = self.setup.params.lease / 2;
            let stale =
                |id: &NodeId| tally.grants().get(id).is_some_and(|span| span.sent_at + half < now);
            let ask: Vec<NodeId> = others
                .into_iter()
                .filter(|id| stale(id) || (!granted(id) && !refused(id)))
                .collect();
            if first {
                stand.deadline = now + self.setup.params.election_timeout;
            }
            stand.gap = (stand.gap * 2).max(delta);
            stand.next_at = now + stand.gap;
            core.solicit(now, &ask, priority);
            self.drain_core();
        }
    }

    /// Gives up a stand, if there is one.
    pub(super) fn abandon(&mut self, now: Instant, why: &'static str) {
        let stands = self.core.as_ref().is_some_and(Core::is_candidate);
        if let Some(core) = self.core.as_mut().filter(|_| stands) {
            core.give_up(now);
        }
        self.drain_core();
        self.lost(now, why);
    }

    /// A stand has ended without a win.
    pub(super) fn lost(&mut self, now: Instant, why: &'static str) {
        let Some(campaign) = self.campaign.take() else { return };
        let Some(stand) = campaign.stand else { return };
        let took = now.since(campaign.began_at);
        self.note(stand.term, campaign.cause, None, campaign.began_at, took, stand.votes);
        self.notify(Event::ElectionLost { term: stand.term, why });
        if !matches!(why, "refused" | "timeout") {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_until = now + self.setup.params.election_timeout;
        let delta = self.voters.delta();
        let voters = u32::try_from(self.setup.set.len()).unwrap_or(u32::MAX);
        let spread = 2u32.saturating_pow(self.failures).min(voters);
        self.quiet_until = now + delta + self.rng.duration_below(delta * spread);
    }

    pub(super) fn note(
        &mut self,
        term: u64,
        cause: ElectionCause,
        winner: Option<NodeId>,
        started_at: Instant,
        took: Duration,
        mut votes: BTreeMap<NodeId, Ballot>,
    ) {
        for &id in self.setup.set.ids() {
            votes.entry(id).or_insert(Ballot::Silent);
        }
        let cause = cause.as_str();
        self.history.note(PastElection {
            term,
            cause,
            winner,
            started_at,
            took,
            ended: None,
            votes,
        });
    }

    // ---- Telling ------------------------------------------------------------------------------

    /// Tells when the known leader has changed, and counts terms.
    fn announce(&mut self, now: Instant) {
        let (leader, highest) = (self.leader(now), self.term());
        if highest > self.counted_term {
            self.counted_term = highest;
            self.counters.elections += 1;
        }
        if leader == self.announced {
            return;
        }
        // The leader's term: this voter's own may be higher.
        let leading = self.core.as_ref().and_then(Core::leading_term).filter(|_| self.leads(now));
        let term = leading.or(self.follows(now).map(|known| known.term)).unwrap_or(highest);
        if let Some(term) = self.announced_term.take() {
            self.history.ended(term, now, self.vacancy.as_str());
        }
        self.announced = leader;
        self.announced_term = leader.map(|_| term);
        if let Some(winner) = leader {
            self.nudged_until = Instant::ZERO;
            self.counters.leader_changes += 1;
            self.takeovers.led_by(now, winner, self.setup.params.hysteresis.takeover_every);
            self.vacancy = ElectionCause::NoLeader;
            if winner != self.setup.me {
                self.history.note(PastElection {
                    term,
                    cause: "observed",
                    winner: leader,
                    started_at: now,
                    took: Duration::ZERO,
                    ended: None,
                    votes: BTreeMap::new(),
                });
            }
        }
        self.notify(Event::LeaderChanged { leader, term });
    }
}
