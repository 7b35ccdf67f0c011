//! The candidate's and the leader's side: asking for votes, counting, leading, stopping.

use ringrift_wire::{
    Acknowledge, Answer, Coordinator, Election, Message, NodeId, Priority, Refusal, Release,
    Verdict,
};

use super::super::ballot::QuorumProof;
use super::super::lease::Span;
use super::super::record::{Promise, VoteRecord};
use super::{Candidacy, Core, Leading, Output, Role, millis};
use crate::time::Instant;

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Nothing: it is late, foreign, or says what was known.
    Nothing,
    /// A vote or an acknowledgement; holds the send that it answers.
    Granted(Span),
    /// A refusal; holds the send that it answers, when that is known.
    Refused(Refusal),
    /// The vote that made this node lead, or lead in a higher term.
    Won(Span),
}

impl Core {
    /// Stands in a term above `above` and above the own record; its ELECTION leaves once its own
    /// vote is durable. A leader stands while it goes on leading.
    ///
    /// Returns the term, or `None` when this voter may not stand: its store is empty or fails, it
    /// abstains, has promised another, or has no evidence for its version.
    pub fn stand(&mut self, now: Instant, above: u64) -> Option<u64> {
        let me = (self.rules.me, self.rules.nonce);
        let promised = self.promise(now).is_some_and(|p| (p.to, p.nonce) != me);
        let abstains = self.abstains_until(now).is_some();
        let evidence = self.has_evidence();
        if self.genesis.is_some() || !self.store_works || promised || abstains || !evidence {
            return None;
        }
        let term = self.record.term.max(above).checked_add(1)?;
        if self.is_candidate() {
            self.give_up(now);
        }
        let candidacy = Candidacy::new(term);
        match &mut self.role {
            Role::Leader(leading) => {
                if let Some(old) = leading.reelection.replace(candidacy) {
                    self.sends.forget_term(old.tally.term());
                }
            }
            Role::Follower | Role::Candidate(_) => self.role = Role::Candidate(candidacy),
        }
        let set_version = self.floor_after(self.rules.set.tag());
        self.record =
            VoteRecord { term, voted_for: Some(me.0), nonce: me.1, set_version, ..self.record };
        self.keep_own_promise(now, term);
        self.write_record();
        Some(term)
    }

    fn keep_own_promise(&mut self, now: Instant, term: u64) {
        let until = self.promise.map_or(Instant::ZERO, |p| p.until).max(now + self.rules.lease);
        self.promise = Some(Promise { to: self.rules.me, nonce: self.rules.nonce, term, until });
    }

    /// Asks for votes: numbers one ELECTION and sends it to those voters, once its own vote is
    /// durable. Returns the span that the votes will date from, or `None` while there is nothing
    /// to ask for. A lone voter wins here.
    pub fn solicit(&mut self, now: Instant, from: &[NodeId], priority: Priority) -> Option<Span> {
        let (me, lease) = (self.rules.me, self.rules.lease);
        let candidacy = self.candidacy_mut().filter(|candidacy| candidacy.open)?;
        let span = Span { sent_at: now, lease };
        candidacy.tally.grant(me, span);
        let term = candidacy.tally.term();
        let number = self.next_number();
        self.sends.record(now, number, term, span);
        self.keep_own_promise(now, term);
        let lease_ms = millis(lease);
        let asked = Election { set: self.rules.set.tag(), term, number, lease_ms, priority };
        for &to in from {
            self.outputs.push_back(Output::Send { to, message: Message::Election(asked) });
        }
        self.count_votes(now);
        Some(span)
    }

    /// Whether the own vote of the present candidacy is durable.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.role {
            Role::Candidate(c) | Role::Leader(Leading { reelection: Some(c), .. }) => c.open,
            Role::Leader(_) | Role::Follower => false,
        }
    }

    pub(super) const fn candidacy_mut(&mut self) -> Option<&mut Candidacy> {
        match &mut self.role {
            Role::Candidate(candidacy) => Some(candidacy),
            Role::Leader(leading) => leading.reelection.as_mut(),
            Role::Follower => None,
        }
    }

    /// Counts the answer to an ELECTION.
    pub fn on_answer(&mut self, now: Instant, from: NodeId, answer: &Answer) -> Counted {
        match answer.verdict {
            Verdict::Granted if !self.counts(answer.set) => Counted::Nothing,
            Verdict::Granted => {
                let Some(span) = self.sends.find(answer.number, answer.term) else {
                    return Counted::Nothing;
                };
                if let Some(candidacy) = self.candidacy_mut()
                    && candidacy.tally.term() == answer.term
                {
                    candidacy.tally.grant(from, span);
                }
                self.acknowledged(from, span);
                if self.count_votes(now) { Counted::Won(span) } else { Counted::Granted(span) }
            }
            Verdict::Refused(why) => {
                let Some(candidacy) = self.candidacy_mut() else { return Counted::Nothing };
                let term = candidacy.tally.term();
                if self.sends.find(answer.number, term).is_none() {
                    return Counted::Nothing;
                }
                if let Some(candidacy) = self.candidacy_mut() {
                    candidacy.tally.refuse(from, why);
                }
                Counted::Refused(why)
            }
        }
    }

    /// Counts the answer to a heartbeat.
    pub fn on_acknowledge(&mut self, from: NodeId, answer: &Acknowledge) -> Counted {
        match (answer.verdict, self.sends.find(answer.number, answer.term)) {
            (Verdict::Granted, _) if !self.counts(answer.set) => Counted::Nothing,
            (Verdict::Granted, Some(span)) => {
                self.acknowledged(from, span);
                Counted::Granted(span)
            }
            (Verdict::Granted, None) => Counted::Nothing,
            (Verdict::Refused(why), _) => Counted::Refused(why),
        }
    }

    fn acknowledged(&mut self, from: NodeId, span: Span) {
        if let Role::Leader(leading) = &mut self.role
            && self.rules.set.contains(from)
        {
            let known = leading.acknowledged.entry(from).or_insert(span);
            *known = span.max(*known);
        }
    }

    /// Makes this node lead if its tally proves a quorum.
    fn count_votes(&mut self, now: Instant) -> bool {
        let Self { role, rules, .. } = self;
        let candidacy = match role {
            Role::Candidate(candidacy) => candidacy,
            Role::Leader(Leading { reelection: Some(candidacy), .. }) => candidacy,
            Role::Leader(_) | Role::Follower => return false,
        };
        let proof = candidacy.tally.won(now, &rules.set, rules.drift_ppm);
        proof.is_some_and(|proof| self.lead(proof))
    }

    /// The one function that makes a leader.
    fn lead(&mut self, proof: QuorumProof) -> bool {
        let term = proof.term();
        assert!(term == self.record.term, "a leader has voted for itself in its term");
        let mut acknowledged = proof.into_grants();
        if let Role::Leader(before) = &self.role {
            for (voter, span) in &before.acknowledged {
                let known = acknowledged.entry(*voter).or_insert(*span);
                *known = (*span).max(*known);
            }
        }
        self.role = Role::Leader(Leading { term, acknowledged, reelection: None });
        self.note_led(self.rules.set.tag());
        true
    }

    /// Sends one heartbeat to those voters. Nothing happens on a node that does not lead at `now`. A
    /// renewal needs no disk: the leader's own vote for its term is on it already.
    ///
    /// Returns the send, for the caller to measure round trips from.
    pub fn beat(&mut self, now: Instant, to: &[NodeId]) -> Option<(u64, Span)> {
        let term = self.leading_term()?;
        if !self.leads(now) {
            return None;
        }
        let lease = self.rules.lease;
        let span = Span { sent_at: now, lease };
        let number = self.next_number();
        self.sends.record(now, number, term, span);
        self.acknowledged(self.rules.me, span);
        self.keep_own_promise(now, self.record.term);
        let beat = Coordinator { set: self.rules.set.tag(), term, number, lease_ms: millis(lease) };
        for &to in to {
            self.outputs.push_back(Output::Send { to, message: Message::Coordinator(beat) });
        }
        Some((number, span))
    }

    /// Ends a candidacy that was not won: no late vote counts, and whoever granted is free.
    ///
    /// A re-election of a leader ends silently: the old term goes on. Returns the term given up.
    pub fn give_up(&mut self, _now: Instant) -> Option<u64> {
        match &mut self.role {
            Role::Follower => None,
            Role::Candidate(candidacy) => {
                let term = candidacy.tally.term();
                self.step_back(&[term]);
                Some(term)
            }
            Role::Leader(leading) => {
                let term = leading.reelection.take()?.tally.term();
                self.sends.forget_term(term);
                Some(term)
            }
        }
    }

    /// Stops leading at once and frees the voters. Returns the term that ended.
    pub fn resign(&mut self) -> Option<u64> {
        let Role::Leader(leading) = &self.role else { return None };
        let term = leading.term;
        let mut terms = vec![term];
        // A re-election, under way or failed: nothing of it can be won any more.
        if self.record.term > term && self.record.voted_for == Some(self.rules.me) {
            terms.push(self.record.term);
        }
        self.step_back(&terms);
        Some(term)
    }

    /// Demotes a leader whose lease has ended, for good in that term. Returns the term.
    pub fn expire(&mut self, now: Instant) -> Option<u64> {
        if matches!(self.role, Role::Leader(_)) && !self.leads(now) { self.resign() } else { None }
    }

    fn step_back(&mut self, terms: &[u64]) {
        self.role = Role::Follower;
        self.sends.clear();
        let me = (self.rules.me, self.rules.nonce);
        if self.promise.is_some_and(|p| (p.to, p.nonce) == me) {
            self.promise = None;
        }
        for &term in terms {
            self.send_release(me.1, term, false);
        }
    }

    pub(super) fn send_release(&mut self, nonce: u64, term: u64, dead: bool) {
        let release = Release { set: self.rules.set.tag(), nonce, term, dead };
        let me = self.rules.me;
        for &to in self.rules.set.ids().iter().filter(|&&id| id != me) {
            self.outputs.push_back(Output::Send { to, message: Message::Release(release) });
        }
    }
}
