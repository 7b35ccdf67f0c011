//! What an operator may ask of this voter beside a fresh election: step down, transfer, drain, resume.
//!
//! 1. Nothing is said to be done before it is: a drain is answered once it is on stable storage, a
//!    handover once another voter leads.
//! 2. A voter on which the work of the leader has failed does not lead for a while, twice as long each time in a
//!    row: where it fails on every voter, the lead does not go round and round.

use ::core::time::Duration;
use ringrift_wire::NodeId;

use super::core::Core;
use super::{LossCause, Machine, Output, Reply};
use crate::time::Instant;

/// A drain or its end, on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draining {
    number: u64,
    drained: bool,
}

/// The longest time for which a voter does not lead because its work failed.
const LONGEST_SETBACK: Duration = Duration::from_secs(30);

/// What failed work has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Setback {
    /// This voter does not lead before this; like a drained one.
    pub(super) until: Instant,
    in_a_row: u32,
}

impl Setback {
    /// Leading has ended for that reason; `pause` is the first one.
    pub(super) fn note(&mut self, now: Instant, cause: LossCause, pause: Duration) {
        if cause != LossCause::WorkFailed {
            self.in_a_row = 0;
            return;
        }
        let doubled = 1_u32.checked_shl(self.in_a_row).unwrap_or(u32::MAX);
        self.until = now + pause.saturating_mul(doubled).min(LONGEST_SETBACK.max(pause));
        self.in_a_row = self.in_a_row.saturating_add(1).min(16);
    }
}

const OBSERVER: &str = "this node is an observer; ask a voter";

/// What there is to say about a lead that was moved, beside who has it: where that is not the chosen voter.
pub(super) fn outcome_note(leader: Option<NodeId>, chosen: Option<NodeId>) -> Option<String> {
    if leader.is_none() {
        return Some("the lead was given up, and no new leader is known yet".to_owned());
    }
    chosen.filter(|_| leader != chosen).map(|chosen| {
        format!("{chosen} was ready and told to lead, and did not win in time: another voter did")
    })
}

impl Machine {
    /// Hands the lead to the best voter that is ready; the reply comes out under that number.
    pub fn step_down(&mut self, now: Instant, number: u64) {
        self.expire(now);
        match self.not_now(now) {
            Some(reply) => self.outputs.push_back(Output::Reply { number, reply }),
            None => self.hand_over(now, LossCause::SteppedDown, None, Some(number)),
        }
        self.settle(now);
    }

    /// Who leads, as far as this voter knows, and in which term; its own term when nobody does.
    pub(super) fn led(&self, now: Instant) -> (Option<NodeId>, u64) {
        let own = self.core.as_ref().and_then(Core::leading_term).filter(|_| self.leads(now));
        let own = own.map(|term| (self.setup.me, term));
        let led = own.or_else(|| self.follow.leader(now).map(|known| (known.id, known.term)));
        led.map_or((None, self.term()), |(leader, term)| (Some(leader), term))
    }

    /// Hands the lead to that voter; the reply comes out under that number.
    pub fn transfer(&mut self, now: Instant, number: u64, to: NodeId) {
        self.expire(now);
        let reply = match self.not_now(now) {
            Some(reply) => Some(reply),
            None if to == self.setup.me => {
                let note = Some("this node leads already".to_owned());
                let term = self.led(now).1;
                Some(Reply::Done { leader: Some(to), term, note })
            }
            None if !self.setup.set.contains(to) => {
                let why = format!("{to} is no voter; the voters are {}", self.names());
                Some(Reply::Refused { code: "NO_TARGET", why })
            }
            None => None,
        };
        match reply {
            Some(reply) => self.outputs.push_back(Output::Reply { number, reply }),
            None => self.hand_over(now, LossCause::Transferred, Some(to), Some(number)),
        }
        self.settle(now);
    }

    fn names(&self) -> String {
        self.setup.set.ids().iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Why the lead cannot be handed over by this node now.
    fn not_now(&self, now: Instant) -> Option<Reply> {
        if self.core.is_none() {
            return Some(Reply::Refused { code: "NOT_A_VOTER", why: OBSERVER.to_owned() });
        }
        if !self.leads(now) {
            return Some(Reply::NotLeader {
                leader: self.follow.leader(now).map(|known| known.id),
            });
        }
        self.hands_over().then(|| Reply::Refused {
            code: "IN_PROGRESS",
            why: "the lead is being handed over already; ask /election/status".to_owned(),
        })
    }

    /// Refuses to lead until resumed, and hands the lead over where it is here; the reply comes out
    /// under that number.
    pub fn drain(&mut self, now: Instant, number: u64) {
        self.set_drained(now, number, true);
    }

    /// May lead again, and at once; the reply comes out under that number.
    pub fn resume(&mut self, now: Instant, number: u64) {
        self.set_drained(now, number, false);
    }

    fn set_drained(&mut self, now: Instant, number: u64, drained: bool) {
        self.expire(now);
        let refused = |code, why: &str| Reply::Refused { code, why: why.to_owned() };
        let reply = match &mut self.core {
            None => Some(refused("NOT_A_VOTER", OBSERVER)),
            Some(_) if self.draining.is_some() => {
                Some(refused("IN_PROGRESS", "another drain or resume is being written"))
            }
            Some(core) => {
                let why = "the vote store of this voter is empty, nothing can be noted in it yet; see \
                           no_leader_reason, and try again";
                (!core.set_drained(drained)).then(|| refused("EMPTY_STORE", why))
            }
        };
        match reply {
            Some(reply) => self.outputs.push_back(Output::Reply { number, reply }),
            None => {
                self.draining = Some(Draining { number, drained });
                if !drained {
                    self.call_off_drain();
                }
                if drained {
                    self.abandon(now, "yielded");
                } else {
                    self.blocked_until = Instant::ZERO;
                    self.setback = Setback::default();
                }
                self.drain_core();
            }
        }
        self.settle(now);
    }

    /// Answers a drain or a resume that is on the disk; a drained leader hands over.
    pub(super) fn pursue_drain(&mut self, now: Instant) {
        let (Some(draining), Some(core)) = (self.draining, &self.core) else { return };
        let Draining { number, drained } = draining;
        let reply = if !core.store_works() {
            let why = "the vote store cannot be written: this holds until the process ends, and is written \
                       once the store works; see the log";
            Reply::Refused { code: "STORE", why: why.to_owned() }
        } else if !core.is_durable() {
            return;
        } else if drained && self.handover.is_some() {
            // Its end is waited for: the lead may move by itself.
            return;
        } else if drained && self.leads(now) {
            self.draining = None;
            self.hand_over(now, LossCause::Drained, None, Some(number));
            return;
        } else {
            let (leader, term) = self.led(now);
            Reply::Done { leader, term, note: None }
        };
        self.draining = None;
        self.outputs.push_back(Output::Reply { number, reply });
    }

    /// The leader's work failed, or was ended early: the lead is given up, to a voter that is ready if
    /// there is one. Harmless on a node that does not lead. A voter whose work failed counts as drained for a while.
    pub fn give_up(&mut self, now: Instant, cause: LossCause) {
        self.expire(now);
        self.hand_over(now, cause, None, None);
        self.settle(now);
    }

    /// When this voter may lead again whose work has failed.
    #[must_use]
    pub fn set_back_until(&self) -> Instant {
        self.setback.until
    }
}
