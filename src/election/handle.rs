//! What each election message does.

use ::core::time::Duration;
use ringrift_wire::{
    Acknowledge, Answer, Beacon, Canvass, CanvassReply, Coordinator, Election, Inquire, Message,
    NodeId, Opinion, Refusal, Release, Report, StepDown, Verdict, VoterSetTag,
};

use super::core::{Counted, MAX_LEASE_RATIO, micros};
use super::follow::Known;
use super::quorum::Relation;
use super::{Ballot, Deferred, Event, LossCause, Machine, Raise, Said};
use crate::time::Instant;

impl Machine {
    /// A message of a voter of the set, from that voter's own address.
    ///
    /// Messages that are not of an election are not for this machine and change nothing.
    pub fn on_message(&mut self, now: Instant, from: NodeId, nonce: u64, message: &Message) {
        self.expire(now);
        self.unheard_until = Instant::ZERO;
        self.repeat_farewell(from);
        if let (Some(said), Some(voter)) = (Said::of(message), self.voters.get_mut(from)) {
            voter.said = Some((now, said));
        }
        match message {
            Message::Canvass(asked) => self.on_canvass(now, from, nonce, asked),
            Message::CanvassReply(reply) => self.on_canvass_reply(now, from, reply),
            Message::Election(asked) => self.on_election(now, from, nonce, asked),
            Message::Answer(answer) => self.on_answer(now, from, answer),
            Message::Coordinator(beat) => self.on_coordinator(now, from, nonce, beat),
            Message::Acknowledge(answer) => self.on_acknowledge(now, from, answer),
            Message::Release(release) => self.on_release(now, from, nonce, release),
            Message::Inquire(asked) => self.on_inquire(now, from, nonce, asked),
            Message::Report(report) => self.on_report(from, nonce, report),
            Message::StepDown(asked) => self.on_step_down(now, from, asked),
            Message::Offer(offer) => self.on_offer(now, from, nonce, offer),
            Message::Ready(ready) => self.on_ready(now, from, ready),
            Message::Go(go) => self.on_go(now, from, nonce, go),
            Message::Ping(_)
            | Message::Ack(_)
            | Message::PingReq(_)
            | Message::Nack(_)
            | Message::RelayedAck(_)
            | Message::Gossip(_)
            | Message::Pull(_)
            | Message::Hearing(_)
            | Message::Conflict(_) => return,
        }
        self.settle(now);
    }

    /// What another node knows of the leader; `asked_at` is when it was asked, or now.
    pub fn on_beacon(&mut self, now: Instant, asked_at: Instant, from: NodeId, beacon: &Beacon) {
        if let Some(voter) = self.voters.get_mut(from) {
            voter.reports_leader = Some(beacon.leader);
        }
        let lease = Duration::from_millis(u64::from(beacon.lease_ms));
        let believed = self.believes(lease) && self.setup.set.contains(beacon.leader);
        if beacon.leader != self.setup.me && believed {
            self.follow.beacon(now, asked_at, beacon);
            self.settle(now);
        }
    }

    /// Whether a leader may have that lease: one that is far too long would hide its end.
    fn believes(&self, lease: Duration) -> bool {
        lease <= self.setup.params.lease.saturating_mul(MAX_LEASE_RATIO)
    }

    /// Whether the sender counts with the same voters; notes when it does not.
    pub(super) fn same_set(&mut self, from: NodeId, tag: VoterSetTag) -> bool {
        self.relation(from, tag) == Relation::Same
    }

    /// Whether votes can go between the sender and this node: it counts with the same voters, or those
    /// of the version before or after.
    fn near_set(&mut self, from: NodeId, tag: VoterSetTag) -> bool {
        self.relation(from, tag) != Relation::Apart
    }

    /// How the sender's voters lie to the own ones; notes when they differ.
    fn relation(&mut self, from: NodeId, tag: VoterSetTag) -> Relation {
        let relation = self.setup.set.relation(tag);
        let same = relation == Relation::Same;
        let version = Some(tag.version);
        if let Some(voter) = self.voters.get_mut(from)
            && (voter.set_mismatch == same || voter.set_version != version)
        {
            voter.set_mismatch = !same;
            voter.set_version = version;
            if !same {
                let (theirs, ours) = (tag.version, self.setup.set.tag().version);
                self.notify(Event::VoterSetMismatch { voter: from, theirs, ours });
            }
        }
        relation
    }

    fn own_term(&self) -> u64 {
        self.core.as_ref().map_or(0, |core| core.record().term)
    }

    fn on_canvass(&mut self, now: Instant, from: NodeId, nonce: u64, asked: &Canvass) {
        let opinion = if self.near_set(from, asked.set) {
            if let Some(voter) = self.voters.get_mut(from) {
                voter.priority = Some(asked.priority);
                voter.term = Some(asked.term);
            }
            self.opinion(now, from, nonce, asked)
        } else {
            Opinion::No(Refusal::VoterSet)
        };
        if matches!(opinion, Opinion::Better(_)) {
            let pace = self.pace();
            self.nudged_until = now + pace.longest * 2 + pace.delta * 4;
        }
        let (set, term) = (self.setup.set.tag(), self.own_term());
        let reply = CanvassReply { set, number: asked.number, term, opinion };
        if self.core.is_some() {
            self.send(from, Message::CanvassReply(reply));
        }
    }

    /// Whether this voter would vote for the asker; changes nothing.
    fn opinion(&self, now: Instant, from: NodeId, nonce: u64, asked: &Canvass) -> Opinion {
        let Some(core) = &self.core else { return Opinion::No(Refusal::VoterSet) };
        if !core.may_promise_under(asked.set) {
            return Opinion::No(Refusal::VoterSet);
        }
        if core.genesis().is_some() {
            return Opinion::No(Refusal::Empty);
        }
        if !self.store_works() {
            return Opinion::No(Refusal::Store);
        }
        let heard = self.follow.leader(now).is_some_and(|known| known.id != from);
        if let Some(until) = core.abstains_until(now).filter(|_| heard) {
            return Opinion::No(Refusal::Abstaining { free_in_us: micros(now.until(until)) });
        }
        if let Some((end, _)) = core.lease().filter(|(end, _)| now < *end) {
            return Opinion::No(Refusal::LeaderAlive { free_in_us: micros(now.until(end)) });
        }
        let fresh = self.setup.params.heartbeat_interval * 2;
        if let Some(known) = self.follow.leader(now).filter(|known| known.id != from)
            && let Some(doubted_at) = known.direct_at.map(|at| at + fresh).filter(|at| now < *at)
        {
            return Opinion::No(Refusal::LeaderAlive { free_in_us: micros(now.until(doubted_at)) });
        }
        let own = self.campaign.as_ref().map_or_else(|| self.own_priority(now), |c| c.priority);
        // Between two versions neither outranks the other: it could be the one that cannot win.
        let ranked = asked.set == self.setup.set.tag();
        let better = ranked && (own, self.setup.me) < (asked.priority, from);
        if better && self.is_eligible(now) {
            return Opinion::Better(own);
        }
        if !better && core.is_candidate() {
            // Its own candidacy would make room.
            return Opinion::Yes { free_in_us: 0 };
        }
        Opinion::Yes { free_in_us: micros(now.until(core.free_at(now, from, nonce))) }
    }

    fn on_canvass_reply(&mut self, now: Instant, from: NodeId, reply: &CanvassReply) {
        let near = self.near_set(from, reply.set);
        let counts = self.core.as_ref().is_some_and(|core| core.counts(reply.set));
        let pace = self.pace();
        if let Some(voter) = self.voters.get_mut(from) {
            voter.term = Some(reply.term);
            if let Opinion::Better(priority) = reply.opinion {
                voter.priority = Some(priority);
            }
        }
        let opinion = if counts { reply.opinion } else { Opinion::No(Refusal::VoterSet) };
        if self.hear_willing(now, from, reply) {
            return;
        }
        let Some(campaign) = &mut self.campaign else { return };
        let term = if near { reply.term } else { 0 };
        let took = campaign.heard(now, from, reply.number, term, opinion, pace);
        if let Some(took) = took {
            self.measured(now, from, took);
        }
    }

    pub(super) fn measured(&mut self, now: Instant, voter: NodeId, took: Duration) {
        self.voters.round_trip(now, voter, took);
        self.outputs.push_back(super::Output::RoundTrip { voter, took });
    }

    fn on_election(&mut self, now: Instant, from: NodeId, nonce: u64, asked: &Election) {
        if self.core.is_none() {
            return;
        }
        if !self.near_set(from, asked.set) {
            self.refuse_vote(from, asked, Refusal::VoterSet);
            return;
        }
        if let Some(voter) = self.voters.get_mut(from) {
            voter.priority = Some(asked.priority);
            voter.term = Some(asked.term);
        }
        self.cast(now, from, nonce, asked);
    }

    /// Votes, postpones the answer to the end of a promise, or refuses.
    fn cast(&mut self, now: Instant, from: NodeId, nonce: u64, asked: &Election) {
        self.yield_to(now, from, asked);
        let Some(core) = &mut self.core else { return };
        let why = match core.vote(now, from, nonce, asked) {
            Ok(()) => {
                self.deferred.remove(&from);
                self.voted(now, from, asked.term);
                return;
            }
            Err(why) => why,
        };
        let round = self.setup.params.election_timeout.min(self.setup.params.lease / 2);
        if let Refusal::Promised { free_in_us } | Refusal::Abstaining { free_in_us } = why
            && Duration::from_micros(free_in_us) <= round
            && self.core.as_ref().is_some_and(|core| core.leading_term().is_none())
        {
            let until = now + round + round;
            self.deferred.insert(from, Deferred { nonce, asked: *asked, until });
            return;
        }
        self.refuse_vote(from, asked, why);
    }

    fn voted(&mut self, now: Instant, candidate: NodeId, term: u64) {
        self.drain_core();
        self.notify(Event::VoteGranted { candidate, term });
        if let Some(voter) = self.voters.get_mut(candidate) {
            voter.voted_for = Some(candidate);
        }
        // The vote is promised: an own attempt would only make noise until it is known how it ends.
        self.quiet_until = self.quiet_until.max(now + self.pace().delta * 4);
        if self.campaign.as_ref().is_some_and(|campaign| campaign.stand.is_none()) {
            self.campaign = None;
        }
    }

    fn refuse_vote(&mut self, from: NodeId, asked: &Election, why: Refusal) {
        let (set, term) = (self.setup.set.tag(), self.own_term());
        let verdict = Verdict::Refused(why);
        self.send(from, Message::Answer(Answer { set, term, number: asked.number, verdict }));
        self.notify(Event::VoteRefused { candidate: from, term: asked.term, why });
    }

    /// A candidate that has not won makes room for a better one in a higher term.
    fn yield_to(&mut self, now: Instant, from: NodeId, asked: &Election) {
        let Some(campaign) = &self.campaign else { return };
        let outranked = (asked.priority, from) < (campaign.priority, self.setup.me);
        if outranked && campaign.stand.as_ref().is_some_and(|stand| asked.term > stand.term) {
            self.abandon(now, "yielded");
        }
    }

    /// Answers those whose reason to wait has ended, the best first.
    pub(super) fn cast_deferred(&mut self, now: Instant) {
        self.deferred.retain(|_, deferred| now < deferred.until);
        loop {
            let Some(core) = &self.core else { return };
            let free = |(id, d): &(&NodeId, &Deferred)| core.free_at(now, **id, d.nonce) <= now;
            let best =
                self.deferred.iter().filter(free).min_by_key(|(id, d)| (d.asked.priority, **id));
            let Some((from, deferred)) = best.map(|(id, d)| (*id, *d)) else { return };
            self.deferred.remove(&from);
            self.cast(now, from, deferred.nonce, &deferred.asked);
        }
    }

    fn on_answer(&mut self, now: Instant, from: NodeId, answer: &Answer) {
        if !self.near_set(from, answer.set) {
            return;
        }
        let Some(core) = &mut self.core else { return };
        let counted = core.on_answer(now, from, answer);
        self.drain_core();
        let vote = match counted {
            Counted::Nothing => return,
            Counted::Granted(span) | Counted::Won(span) => {
                self.measured(now, from, now.since(span.sent_at));
                Ballot::Granted
            }
            Counted::Refused(_) => Ballot::Refused,
        };
        if let Some(voter) = self.voters.get_mut(from) {
            voter.term = Some(answer.term);
            if vote == Ballot::Granted {
                voter.voted_for = Some(self.setup.me);
            }
        }
        if vote == Ballot::Granted {
            self.history.vote(answer.term, from, vote);
        }
        if let Some(stand) = self.campaign.as_mut().and_then(|campaign| campaign.stand.as_mut()) {
            stand.votes.insert(from, vote);
        }
        if let (Ballot::Refused, Some(upkeep)) = (vote, &mut self.upkeep)
            && let Some(raise) = &mut upkeep.raise
        {
            raise.above = raise.above.max(answer.term);
        }
    }

    fn on_coordinator(&mut self, now: Instant, from: NodeId, nonce: u64, beat: &Coordinator) {
        let relation = self.relation(from, beat.set);
        let priority = self.own_priority(now);
        let was_candidate = self.core.as_ref().is_some_and(|core| core.is_candidate());
        let answered = match &mut self.core {
            Some(core) => core.acknowledge(now, from, nonce, beat, priority),
            None => Ok(()),
        };
        self.drain_core();
        if was_candidate && self.core.as_ref().is_some_and(|core| !core.is_candidate()) {
            self.lost(now, "leader_appeared");
        }
        if let (Err(why), Some(_)) = (answered, &self.core) {
            let (set, term) = (self.setup.set.tag(), self.own_term());
            let verdict = Verdict::Refused(why);
            let answer = Acknowledge { set, term, number: beat.number, priority, verdict };
            self.send(from, Message::Acknowledge(answer));
            self.notify(Event::VoteRefused { candidate: from, term: beat.term, why });
        }
        // Who counts with other voters under this very version is no leader of this node.
        if relation == Relation::Apart && beat.set.version == self.setup.set.tag().version {
            return;
        }
        let lease = Duration::from_millis(u64::from(beat.lease_ms));
        if let Some(genesis) = self.core.as_mut().and_then(|core| core.genesis_mut()) {
            genesis.hear(lease, beat.term);
        }
        if let Some(voter) = self.voters.get_mut(from) {
            voter.term = Some(beat.term);
            voter.voted_for = Some(from);
            voter.reports_leader = Some(from);
        }
        let (term, number) = (beat.term, beat.number);
        let (heard_at, direct_at) = (now, Some(now));
        let known = Known { id: from, nonce, term, number, heard_at, lease, direct_at };
        if self.believes(lease) {
            self.follow.heartbeat(now, known);
        }
    }

    fn on_acknowledge(&mut self, now: Instant, from: NodeId, answer: &Acknowledge) {
        if !self.near_set(from, answer.set) {
            return;
        }
        if let Some(voter) = self.voters.get_mut(from) {
            voter.priority = Some(answer.priority);
            voter.term = Some(answer.term);
        }
        let Some(core) = &mut self.core else { return };
        let counted = core.on_acknowledge(from, answer);
        let leading = core.leading_term();
        match counted {
            Counted::Granted(span) | Counted::Won(span) => {
                self.counters.heartbeats_acknowledged += 1;
                self.measured(now, from, now.since(span.sent_at));
                if let Some(voter) = self.voters.get_mut(from) {
                    voter.voted_for = Some(self.setup.me);
                    voter.reports_leader = Some(self.setup.me);
                }
                if let Some(upkeep) = &mut self.upkeep
                    && span.sent_at >= upkeep.beat_at
                {
                    upkeep.silent.remove(&from);
                    upkeep.rivals.acknowledged(from);
                }
            }
            Counted::Refused(Refusal::Term) if leading.is_some_and(|term| term < answer.term) => {
                // Who has voted in the re-election under way refuses the old term's heartbeats.
                let standing = core.tally().map_or(0, |tally| tally.term());
                if let Some(upkeep) = &mut self.upkeep
                    && answer.term > standing
                {
                    let due = Raise { above: 0, deadline: Instant::NEVER, next_at: now };
                    let raise = upkeep.raise.get_or_insert(due);
                    raise.above = raise.above.max(answer.term);
                }
            }
            Counted::Refused(_) => {
                // It hears this node, and has its reason: asking again at once would not help.
                if let Some(upkeep) = &mut self.upkeep {
                    upkeep.silent.remove(&from);
                }
            }
            Counted::Nothing => {}
        }
    }

    fn on_release(&mut self, now: Instant, from: NodeId, nonce: u64, release: &Release) {
        self.same_set(from, release.set);
        if release.dead
            && release.nonce == nonce
            && let Some(voter) = self.voters.get_mut(from)
        {
            // Its guardian says so of the process that it speaks for; nobody waits for its turn.
            voter.standing = super::Standing::Gone(now);
        }
        self.free(now, from, release);
    }

    /// A term is released: its promise is free, its leader leads no more. Whether that was news.
    pub(super) fn free(&mut self, now: Instant, from: NodeId, release: &Release) -> bool {
        let mut news = false;
        if let Some(core) = &mut self.core
            && core.release(now, from, release)
        {
            self.notify(Event::PromiseReleased { holder: from, term: release.term });
            news = true;
        }
        if self.follow.release(from, release.nonce, release.term) {
            self.vacancy = super::ElectionCause::LeaderReleased;
            news = true;
        }
        if news {
            self.quiet_until = self.quiet_until.min(now);
        }
        news
    }

    fn on_inquire(&mut self, now: Instant, from: NodeId, nonce: u64, asked: &Inquire) {
        // Whoever counts with other voters learns that from the report, and nothing else.
        let same = self.same_set(from, asked.set);
        let Some(core) = &mut self.core else { return };
        let report = core.report(from, nonce, asked);
        self.send(from, Message::Report(report));
        // Whoever asks has just come up: it can be asked now, if it has not said that it is new. One that counts
        // with others cannot say that: the two would ask each other for ever.
        let genesis = self.core.as_ref().and_then(|core| core.genesis()).filter(|_| same);
        if genesis.is_some_and(|genesis| !genesis.was_new(from)) {
            self.inquire(now, &[from]);
        }
    }

    fn on_report(&mut self, from: NodeId, nonce: u64, report: &Report) {
        if !self.near_set(from, report.set) {
            return;
        }
        if let Some(core) = &mut self.core {
            core.on_report(from, nonce, report);
        }
    }

    fn on_step_down(&mut self, now: Instant, from: NodeId, asked: &StepDown) {
        if !self.same_set(from, asked.set) {
            return;
        }
        if self.core.as_ref().and_then(|core| core.leading_term()) == Some(asked.term) {
            self.hand_over(now, LossCause::Triggered, None, None);
        }
    }
}
