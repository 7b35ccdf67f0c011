//! The side of a voter that is offered the lead: is it ready, and when does it stand?
//!
//! It answers READY when it could lead and a quorum would vote for it once the leader's promises are
//! free, and stands at once when the leader says GO. It decides nothing about safety: its stand is one
//! like any other.
//!
//! 1. An offer binds nobody and changes no term.
//! 2. It stands without another canvass only where it said READY to this very leader in this very term,
//!    less than two heartbeats ago.

use ::core::time::Duration;
use ringrift_wire::{
    Canvass, CanvassReply, Go, Message, NodeId, Offer, Opinion, Ready, Refusal, Release, Unready,
};
use std::collections::{BTreeMap, BTreeSet};

use super::campaign::Campaign;
use super::{ElectionCause, Machine};
use crate::time::Instant;

/// How long a quorum is asked: a little less than the leader waits, so that it hears why not.
const PATIENCE: Duration = Duration::from_millis(450);

/// An offer, and what the other voters say to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invited {
    from: NodeId,
    nonce: u64,
    term: u64,
    number: u64,
    until: Instant,
    gap: Duration,
    next_at: Instant,
    /// The number of the last question to each, and when it left.
    asked: BTreeMap<NodeId, (u64, Instant)>,
    willing: BTreeSet<NodeId>,
    highest_term: u64,
    ready_at: Option<Instant>,
}

impl Invited {
    pub(super) fn next_at(&self) -> Instant {
        if self.ready_at.is_some() { Instant::NEVER } else { self.next_at.min(self.until) }
    }

    fn is_of(&self, from: NodeId, nonce: u64, term: u64) -> bool {
        (self.from, self.nonce, self.term) == (from, nonce, term)
    }
}

impl Machine {
    /// Why this voter could not lead next, whomever it reaches: that is found out by asking. What it had
    /// of round trips before may be old where it has just come back.
    fn unready(&self, now: Instant, from: NodeId) -> Option<Unready> {
        let core = self.core.as_ref()?;
        if self.own_priority(now).drained {
            Some(Unready::Drained)
        } else if self.stopping {
            Some(Unready::Stopping)
        } else if core.genesis().is_some() || !self.store_works() {
            Some(Unready::Store)
        } else if core.abstains_until(now).is_some() {
            Some(Unready::Abstaining)
        } else if self.follow.leader(now).is_some_and(|known| known.id != from) {
            Some(Unready::NotFollowing)
        } else if !core.has_evidence() {
            // It may not take part under its list yet.
            Some(Unready::VoterSet)
        } else {
            None
        }
    }

    /// The leader asks whether this voter could lead next.
    pub(super) fn on_offer(&mut self, now: Instant, from: NodeId, nonce: u64, offer: &Offer) {
        if self.core.is_none() {
            return;
        }
        let unready = if self.same_set(from, offer.set) {
            self.unready(now, from)
        } else {
            Some(Unready::VoterSet)
        };
        if unready.is_some() {
            self.invited = None;
            self.say_ready(from, offer.number, offer.term, unready);
            return;
        }
        let (me, delta) = (self.setup.me, self.voters.delta());
        let known = self
            .invited
            .as_ref()
            .is_some_and(|it| it.is_of(from, nonce, offer.term) && it.number == offer.number);
        if !known {
            self.invited = Some(Invited {
                from,
                nonce,
                term: offer.term,
                number: offer.number,
                until: now + PATIENCE,
                gap: delta / 2,
                next_at: now,
                asked: BTreeMap::new(),
                willing: BTreeSet::from([me, from]),
                highest_term: offer.term,
                ready_at: None,
            });
        }
        self.get_ready(now);
        if let Some(invited) = self.invited.as_ref().filter(|it| known && it.ready_at.is_some()) {
            // It asks again: the answer was lost.
            self.say_ready(from, invited.number, invited.term, None);
        }
    }

    fn say_ready(&mut self, to: NodeId, number: u64, term: u64, unready: Option<Unready>) {
        let set = self.setup.set.tag();
        self.send(to, Message::Ready(Ready { set, number, term, unready }));
    }

    /// Asks those who have not answered, and says READY once a quorum would vote, and has answered this
    /// node of late; says that there is none when the time for it is over.
    pub(super) fn get_ready(&mut self, now: Instant) {
        let (set, term, priority) = (self.setup.set.tag(), self.term(), self.own_priority(now));
        let longest = self.pace().longest;
        let quorum = self.setup.set.quorum();
        let reached = self.reaches_quorum(now);
        let ids = self.voters.ids();
        let Some(invited) = self.invited.as_mut().filter(|it| it.ready_at.is_none()) else {
            return;
        };
        let (from, number, of) = (invited.from, invited.number, invited.term);
        if invited.willing.len() >= quorum && reached {
            invited.ready_at = Some(now);
            self.say_ready(from, number, of, None);
            return;
        }
        if now >= invited.until {
            self.invited = None;
            self.say_ready(from, number, of, Some(Unready::NoQuorum));
            return;
        }
        if now < invited.next_at {
            return;
        }
        invited.gap = (invited.gap * 2).min(longest);
        invited.next_at = now + invited.gap;
        let open = |id: &NodeId| !reached || !invited.willing.contains(id);
        let ask: Vec<NodeId> = ids.into_iter().filter(open).collect();
        for to in ask {
            let number = self.next_number();
            if let Some(invited) = &mut self.invited {
                invited.asked.insert(to, (number, now));
            }
            self.send(to, Message::Canvass(Canvass { set, number, term, priority }));
        }
    }

    /// What a voter says to the canvass of an invitation; whether it was one.
    pub(super) fn hear_willing(
        &mut self,
        now: Instant,
        from: NodeId,
        reply: &CanvassReply,
    ) -> bool {
        let Some(invited) = &mut self.invited else { return false };
        let sent_at = match invited.asked.get(&from) {
            Some(&(number, sent_at)) if number == reply.number => sent_at,
            _ => return false,
        };
        // An answer that comes twice is measured once.
        invited.asked.remove(&from);
        if reply.set != self.setup.set.tag() {
            return true;
        }
        invited.highest_term = invited.highest_term.max(reply.term);
        // Whoever hears the leader will be free when it has released; one that is better votes too.
        let willing = matches!(
            reply.opinion,
            Opinion::Yes { .. } | Opinion::Better(_) | Opinion::No(Refusal::LeaderAlive { .. })
        );
        if willing {
            invited.willing.insert(from);
        }
        self.measured(now, from, now.since(sent_at));
        self.get_ready(now);
        true
    }

    /// The leader has released its term and names who stands next.
    pub(super) fn on_go(&mut self, now: Instant, from: NodeId, nonce: u64, go: &Go) {
        if !self.same_set(from, go.set) {
            return;
        }
        let Go { set, term, .. } = *go;
        let news = self.free(now, from, &Release { set, nonce, term, dead: false });
        if news && go.takeover {
            self.takeovers.note(now, self.setup.params.hysteresis.takeover_every);
        }
        if go.successor == self.setup.me {
            self.stand_next(now, from, nonce, term);
        } else if news && self.campaign.as_ref().is_none_or(|campaign| campaign.stand.is_none()) {
            self.campaign = None;
            self.quiet_until = now + self.head_start();
        }
    }

    fn stand_next(&mut self, now: Instant, from: NodeId, nonce: u64, term: u64) {
        let invited = self.invited.take().filter(|it| it.is_of(from, nonce, term));
        let fresh = self.setup.params.heartbeat_interval * 2;
        let ready = |it: &Invited| it.ready_at.is_some_and(|at| now.since(at) <= fresh);
        let Some(invited) = invited.filter(ready) else { return };
        let busy = self.campaign.as_ref().is_some_and(|campaign| campaign.stand.is_some());
        if busy || self.leads(now) || self.follow.leader(now).is_some() || !self.is_eligible(now) {
            return;
        }
        let priority = self.own_priority(now);
        let mut campaign = Campaign::new(ElectionCause::HandedOver, now, now, priority);
        campaign.announced = true;
        self.campaign = Some(campaign);
        let mut hopes = invited.willing;
        hopes.extend(self.voters.ids());
        self.stand(now, invited.highest_term, hopes);
    }
}
