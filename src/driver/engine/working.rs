//! The work of a leader, as the engine drives it: what of the node's word concerns it, and what follows.

use std::sync::Arc;
use tracing::{info, warn};

use super::{Engine, Machine, Outgoing};
use crate::driver::clock::Clock;
use crate::driver::work::{Report, Step, Work};
use crate::election::Event as Elect;
use crate::node::{Command, Event, Output};
use crate::time::Instant;

impl<M: Machine, S: Outgoing, C: Clock> Engine<M, S, C> {
    /// Has work to do while it leads, from now on.
    pub fn employ(&mut self, work: Work) {
        self.work = Some(work);
    }

    /// What the process ends with once it has stopped; `None` for its own code.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        self.work.as_ref().and_then(Work::exit_code)
    }

    /// Takes what has become of an order.
    pub fn worked(&mut self, report: Report) {
        if let Report::Failed { term, why } = &report {
            warn!(term, why, "leadership is given up: its work cannot begin");
            self.outside.metrics.traffic.work_failed();
        }
        let step = self.work.as_mut().and_then(|work| work.report(report));
        self.take_step(step);
        self.tend();
    }

    /// What an output means for the work.
    pub(super) fn concerns_work(&mut self, now: Instant, output: &Output) {
        let Some(work) = &mut self.work else {
            if let Output::EndWork { term, .. } = output {
                self.steps.push_back(Step::Ended(*term));
            }
            return;
        };
        match output {
            Output::EndWork { term, cause, by } => {
                self.steps.extend(work.end(*term, *cause, *by));
            }
            Output::Notify(Event::Election(event)) => match event {
                Elect::LeadershipGained { term, .. } => work.gained(*term),
                Elect::LeadershipLost { cause, .. } => work.lost(now, *cause),
                Elect::LeaderChanged { leader, term } => work.changed(*leader, *term),
                _ => {}
            },
            _ => {}
        }
    }

    /// Looks after the work: ends that of a lease that runs thin, and keeps the guardian informed.
    pub(super) fn tend(&mut self) {
        let Some(work) = &mut self.work else { return };
        let lease_end = self.machine.lease_end();
        if work.tick(self.clock.now(), lease_end) {
            warn!("no renewal of the lease: the work of the leader is ended");
            self.outside.metrics.traffic.work_failed();
        }
        let shown = work.shown();
        if **self.outside.work.load() != shown {
            self.outside.work.store(Arc::new(shown));
        }
        for note in work.to_tell(lease_end) {
            self.tell(&note);
        }
        if let Some(guarded) = &mut self.guarded {
            guarded.flush();
        }
    }

    /// Does what the work asks for, once no output waits.
    pub(super) fn take_steps(&mut self) {
        while let Some(step) = self.steps.pop_front() {
            self.take_step(Some(step));
        }
    }

    fn take_step(&mut self, step: Option<Step>) {
        match step {
            None => {}
            Some(Step::Ended(term)) => self.command(Command::WorkEnded { term }, None),
            Some(Step::GiveUp(cause)) => self.command(Command::GiveUp { cause }, None),
            Some(Step::Finish(code)) => {
                info!(code, "the command has ended: stopping");
                self.stop();
            }
        }
    }
}
