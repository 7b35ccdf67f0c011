//! An operator's request for a fresh election: never a yes that is followed by nothing.

use ::core::time::Duration;
use ringrift_wire::{Message, NodeId, StepDown};

use super::{LossCause, Machine, Output};
use crate::time::Instant;

/// Between two triggers that are carried out.
const COOLDOWN: Duration = Duration::from_secs(10);
/// How long a leader is given to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a need of a leader may take to show after a leader has gone.
const MAX_PENDING_GAP: Duration = Duration::from_millis(500);

/// A request that waits for the leader to step down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    number: u64,
    term: u64,
    gap: Duration,
    pub(super) next_at: Instant,
    pub(super) until: Instant,
}

/// The answer to a command of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A fresh election has started.
    Started {
        /// The term that it will be held above.
        term: u64,
    },
    /// One is already under way.
    AlreadyInProgress,
    /// What was asked is done.
    Done {
        /// Who leads now, where that is known.
        leader: Option<NodeId>,
        /// In which term; without a leader the one that ended.
        term: u64,
        /// What else there is to say, in words.
        note: Option<String>,
    },
    /// Only the leader can do that.
    NotLeader {
        /// Who that is, where it is known.
        leader: Option<NodeId>,
    },
    /// Refused.
    Refused {
        /// `NOT_A_VOTER`, `NO_QUORUM`, `DRAINED`, `COOLDOWN`, `TIMEOUT`, `NO_TARGET`, `IN_PROGRESS`, `STORE` or
        /// `EMPTY_STORE`.
        code: &'static str,
        /// For the operator, in words.
        why: String,
    },
}

impl Machine {
    /// An operator asks for a fresh election; the reply comes out under that number.
    pub fn trigger(&mut self, now: Instant, number: u64) {
        self.expire(now);
        match self.refusal(now) {
            Some(reply) => self.outputs.push_back(Output::Reply { number, reply }),
            None => {
                self.trigger_blocked_until = Some(now + COOLDOWN);
                self.carry_out(now, number);
            }
        }
        self.settle(now);
    }

    fn refusal(&self, now: Instant) -> Option<Reply> {
        let refused = |code, why| Some(Reply::Refused { code, why });
        let Some(core) = &self.core else {
            return refused("NOT_A_VOTER", "this node is an observer; ask a voter".to_owned());
        };
        if self.own_priority(now).drained {
            let why = "this voter is drained or configured never to lead; ask another voter";
            return refused("DRAINED", why.to_owned());
        }
        if self.pending.is_some()
            || self.is_candidate()
            || core.tally().is_some()
            || self.hands_over()
        {
            return Some(Reply::AlreadyInProgress);
        }
        if let Some(until) = self.trigger_blocked_until.filter(|until| now < *until) {
            let left = now.until(until).as_secs_f64();
            return refused(
                "COOLDOWN",
                format!("triggered less than 10 s ago; try again in {left:.1} s"),
            );
        }
        let (quorum, all) = (self.setup.set.quorum(), self.setup.set.len());
        let reached = self.voters.in_touch(now, self.setup.evidence_window);
        if reached < quorum {
            let why = format!("{reached} of {all} voters answer this one, {quorum} are needed");
            return refused("NO_QUORUM", why);
        }
        None
    }

    fn carry_out(&mut self, now: Instant, number: u64) {
        let term = self.term();
        if self.leads(now) {
            self.hand_over(now, LossCause::Triggered, None, None);
        } else if self.follow.leader(now).is_some() {
            let gap = self.voters.delta();
            let until = now + PATIENCE;
            self.pending = Some(Pending { number, term, gap, next_at: now, until });
            return;
        } else {
            self.vacancy = super::ElectionCause::Triggered;
            self.quiet_until = now;
        }
        self.outputs.push_back(Output::Reply { number, reply: Reply::Started { term } });
    }

    pub(super) fn pursue_trigger(&mut self, now: Instant) {
        let Some(mut pending) = self.pending else { return };
        let leader = self.follow.leader(now).filter(|known| known.term <= pending.term).copied();
        let number = pending.number;
        let Some(leader) = leader else {
            self.pending = None;
            let reply = Reply::Started { term: pending.term };
            self.outputs.push_back(Output::Reply { number, reply });
            return;
        };
        if now >= pending.until {
            self.pending = None;
            let why = format!("the leader {} did not step down within 2 s", leader.id);
            let reply = Reply::Refused { code: "TIMEOUT", why };
            self.outputs.push_back(Output::Reply { number, reply });
        } else if now >= pending.next_at {
            pending.gap = (pending.gap * 2).min(MAX_PENDING_GAP);
            pending.next_at = now + pending.gap;
            self.pending = Some(pending);
            let asked = StepDown { set: self.setup.set.tag(), term: leader.term };
            self.send(leader.id, Message::StepDown(asked));
        }
    }
}
