//! The voter's side: votes, acknowledgements and promises given to others.

use core::time::Duration;
use ringrift_wire::{
    Acknowledge, Answer, Coordinator, Election, Message, NodeId, Priority, Refusal, Release,
    Verdict, VoterSetTag,
};

use super::super::record::{Promise, VoteRecord, Write};
use super::{Core, Role, micros};
use crate::time::Instant;

/// A lease longer than so many times one's own is refused, and not believed of a leader.
pub(in crate::election) const MAX_LEASE_RATIO: u32 = 10;

/// A promise that is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    to: NodeId,
    nonce: u64,
    set: VoterSetTag,
    term: u64,
    lease: Duration,
}

impl Core {
    /// Answers an ELECTION: a vote that leaves once it is durable, or the reason for none.
    ///
    /// # Errors
    /// Why the vote is refused; the caller sends or postpones the refusal.
    pub fn vote(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        asked: &Election,
    ) -> Result<(), Refusal> {
        let lease = Duration::from_millis(u64::from(asked.lease_ms));
        let asking = Asked { to: from, nonce, set: asked.set, term: asked.term, lease };
        let bound = self.may_promise(now, &asking);
        if !matches!(bound, Ok(()) | Err(Refusal::Promised { .. })) {
            return bound;
        }
        // What holds for the whole term is said before what passes: nobody waits for it.
        if asked.term < self.record.term {
            return Err(Refusal::Term);
        }
        let same = (self.record.voted_for, self.record.nonce) == (Some(from), nonce);
        if asked.term == self.record.term && !same {
            return Err(Refusal::Voted);
        }
        bound?;
        if let Some(until) = self.abstains_until(now) {
            return Err(Refusal::Abstaining { free_in_us: micros(now.until(until)) });
        }
        self.give_up(now);
        let promise_write = self.take_term(now, asking, self.record.led_version);
        let answer = Answer {
            set: self.rules.set.tag(),
            term: asked.term,
            number: asked.number,
            verdict: Verdict::Granted,
        };
        self.hold(from, Message::Answer(answer), promise_write);
        Ok(())
    }

    /// Acknowledges a heartbeat once the promise is written, or says why not.
    ///
    /// # Errors
    /// Why it is refused; the caller sends the refusal.
    pub fn acknowledge(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        beat: &Coordinator,
        priority: Priority,
    ) -> Result<(), Refusal> {
        let answered = self.follow(now, from, nonce, beat, priority);
        // Whether it may be acknowledged or not, it leads.
        self.note_led(beat.set);
        answered
    }

    fn follow(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        beat: &Coordinator,
        priority: Priority,
    ) -> Result<(), Refusal> {
        let lease = Duration::from_millis(u64::from(beat.lease_ms));
        if !self.may_promise_under(beat.set) {
            return Err(Refusal::VoterSet);
        }
        if beat.term < self.record.term {
            return Err(Refusal::Term);
        }
        // A candidacy that has not been won is no reason to refuse a leader.
        let own = |p: Promise| (p.to, p.nonce) == (self.rules.me, self.rules.nonce);
        if self.is_candidate() && self.promise(now).is_none_or(own) {
            self.give_up(now);
        }
        let asking = Asked { to: from, nonce, set: beat.set, term: beat.term, lease };
        self.may_promise(now, &asking)?;
        let led_version = self.led_after(beat.set);
        let promise_write = self.take_term(now, asking, led_version);
        let answer = Acknowledge {
            set: self.rules.set.tag(),
            term: beat.term,
            number: beat.number,
            priority,
            verdict: Verdict::Granted,
        };
        self.hold(from, Message::Acknowledge(answer), promise_write);
        Ok(())
    }

    /// What votes and acknowledgements have in common.
    fn may_promise(&self, now: Instant, asked: &Asked) -> Result<(), Refusal> {
        let &Asked { to, nonce, set, term, lease } = asked;
        if !self.may_promise_under(set) {
            return Err(Refusal::VoterSet);
        }
        if self.genesis.is_some() {
            return Err(Refusal::Empty);
        }
        if !self.store_works {
            return Err(Refusal::Store);
        }
        if lease > self.rules.lease.saturating_mul(MAX_LEASE_RATIO) {
            return Err(Refusal::Lease);
        }
        if self.released.get(&to).is_some_and(|&(of, to)| of == nonce && term <= to) {
            return Err(Refusal::Term);
        }
        let other = |p: &Promise| (p.to, p.nonce) != (to, nonce);
        if let Some(promise) = self.promise(now).filter(other) {
            return Err(Refusal::Promised { free_in_us: micros(now.until(promise.until)) });
        }
        // The promise to itself covers a leader's lease; this says so twice.
        if matches!(self.role, Role::Leader(_)) {
            return Err(Refusal::Promised { free_in_us: micros(self.rules.lease) });
        }
        Ok(())
    }

    /// Notes term, holder, promise and the highest version known to have led; returns the number of
    /// the promise's write.
    fn take_term(&mut self, now: Instant, asked: Asked, led_version: u32) -> u64 {
        let Asked { to, nonce, set, term, lease } = asked;
        let longest_lease = self.record.longest_lease.max(lease);
        let newer = term > self.record.term;
        assert!(term >= self.record.term, "a term never falls");
        let (voted_for, vote_nonce) =
            if newer { (Some(to), nonce) } else { (self.record.voted_for, self.record.nonce) };
        let record = VoteRecord {
            term,
            voted_for,
            nonce: vote_nonce,
            longest_lease,
            set_version: self.floor_after(set),
            led_version,
            ..self.record
        };
        if record != self.record {
            self.record = record;
            self.write_record();
        }
        let kept = self.promise.filter(|p| (p.to, p.nonce) == (to, nonce)).map(|p| p.until);
        let until = kept.unwrap_or(Instant::ZERO).max(now + lease);
        let promise = Promise { to, nonce, term, until };
        self.promise = Some(promise);
        self.write(Write::Promise(Some(promise)))
    }

    /// Frees a promise early: only one to that process, and only of that term.
    ///
    /// Returns whether a running promise was freed.
    pub fn release(&mut self, now: Instant, from: NodeId, release: &Release) -> bool {
        let known = self.released.entry(from).or_insert((release.nonce, release.term));
        if known.0 != release.nonce || known.1 < release.term {
            *known = (release.nonce, release.term);
        }
        let matches = |p: &Promise| {
            let term = if release.dead { p.term <= release.term } else { p.term == release.term };
            p.to == from && p.nonce == release.nonce && term
        };
        let running = self.promise(now).is_some();
        if self.promise.as_ref().is_some_and(matches) {
            self.promise = None;
            // A restart need not keep what was freed, unless there is something that was forgotten.
            if running && self.abstains_until(now).is_none() {
                self.write(Write::Promise(None));
            }
            return running;
        }
        false
    }
}
