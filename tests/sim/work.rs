//! The work that hosts do while they lead, hooks and commands in one: it begins with leading, runs until
//! the driver tells it to end and takes its time with that, or hangs. What has not ended in time is
//! killed: when the node gave a time for it, when the lease ends, when the process dies.

use ringrift_p2p::election::LossCause;
use ringrift_p2p::node::Command;
use ringrift_p2p::time::Instant;

use crate::host::Ending;
use crate::liar::Lie;
use crate::options::{MS, Nanos, between, chance};
use crate::sometimes::Path;
use crate::world::{What, World};

/// How long before the end of a lease what is left of the work is killed.
const MARGIN: Nanos = 1_000;

/// Work that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Tells its events from those of other work.
    pub(crate) number: u64,
    /// The term that it was begun in.
    term: u64,
    stage: Stage,
    /// It hangs when it is told to end.
    hangs: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nobody has told it to end.
    Runs,
    /// It is ending, because the node wants that of this term, or because the lease runs thin.
    Ends(Option<u64>),
}

impl World {
    /// A host leads from now on.
    pub(crate) fn begin_work(&mut self, host: usize, term: u64) {
        if self.options.work_grace == 0 {
            return;
        }
        self.sequence += 1;
        let number = self.sequence;
        self.hits.hit(Path::WorkBegan);
        self.note(host, || format!("begins the work of term {term}"));
        self.tell_of_work(host, "begins", term);
        let result = self.checkers.works.begins(self.now, number, host, term);
        self.check(result);
        let hangs = self.hangs.unwrap_or_else(|| chance(&mut self.rng, 200));
        self.works[host] = Some(Work { number, term, stage: Stage::Runs, hangs });
        self.at(self.now, What::WorkThin { host, work: number });
        self.at(self.now, What::WorkKilled { host, work: number });
    }

    fn tell_of_work(&mut self, host: usize, what: &str, term: u64) {
        if let Some(transcript) = &mut self.transcript {
            let text = format!("{what} the work of term {}", transcript.term(term));
            transcript.says(self.now, &self.hosts[host].name, text);
        }
    }

    /// The end of the lease of a host's process in true time; now, where there is none.
    fn work_lease(&self, host: usize) -> Nanos {
        let state = &self.hosts[host];
        let end = state.process.as_ref().and_then(|process| process.node.lease_end());
        end.map_or(self.now, |end| state.clock.real(end))
    }

    fn work_of(&mut self, host: usize, number: u64) -> Option<&mut Work> {
        self.works[host].as_mut().filter(|work| work.number == number)
    }

    /// Looks whether the lease under a work runs thin, as the driver's loop does.
    pub(crate) fn work_thin(&mut self, host: usize, number: u64) {
        let end = self.work_lease(host);
        let grace = self.options.work_grace;
        let paused = self.hosts[host].process.as_ref().is_none_or(|process| process.paused);
        let now = self.now;
        let Some(work) = self.work_of(host, number) else { return };
        if !matches!(work.stage, Stage::Runs) {
            return;
        }
        let thin_at = end.saturating_sub(grace);
        if thin_at > now {
            self.at(thin_at, What::WorkThin { host, work: number });
        } else if !paused {
            work.stage = Stage::Ends(None);
            self.hits.hit(Path::LeaseThin);
            self.let_end(host, end);
        }
    }

    /// Lets the work of a host end by itself in its own time, or be killed in time.
    fn let_end(&mut self, host: usize, by: Nanos) {
        let Some(work) = self.works[host] else { return };
        let took = between(&mut self.rng, 0, self.options.work_grace);
        let kill_at = by.saturating_sub(MARGIN);
        let at = if work.hangs { kill_at } else { (self.now + took).min(kill_at) };
        self.hits.hit(if at == kill_at { Path::WorkKilled } else { Path::WorkEndedInTime });
        self.note(host, || format!("ends the work of term {} at {at}", work.term));
        if at <= self.now {
            self.work_ends(host, work.number);
        } else {
            self.at(at, What::WorkEnds { host, work: work.number });
        }
    }

    /// The node wants the work of a term to end by then.
    pub(crate) fn end_work(&mut self, host: usize, term: u64, by: Instant) {
        let by = self.hosts[host].clock.real(by);
        // Whoever ends its work renews no more: the lead ends, by a release or with the lease.
        self.unsound(host, by.saturating_sub(self.now) + 2 * self.options.lease);
        if let Some(calm) = &mut self.checkers.calm {
            calm.ends_work(host);
        }
        if self.liar.has(Lie::WorkRunsOn) {
            self.answer(host, term, 0);
            return;
        }
        match &mut self.works[host] {
            None => self.answer(host, term, 0),
            Some(work) => {
                work.stage = Stage::Ends(Some(term));
                self.let_end(host, by);
            }
        }
    }

    /// Tells the process of a host that its work has ended, after a while.
    fn answer(&mut self, host: usize, term: u64, after: Nanos) {
        let Some(process) = &self.hosts[host].process else { return };
        let epoch = process.epoch;
        let command = Command::WorkEnded { term };
        self.at(self.now + after, What::Told { host, epoch, command });
    }

    /// A work has ended, by itself or killed.
    pub(crate) fn work_ends(&mut self, host: usize, number: u64) {
        let Some(work) = self.works[host].take_if(|work| work.number == number) else { return };
        self.note(host, || format!("the work of term {} has ended", work.term));
        self.tell_of_work(host, "has ended", work.term);
        self.checkers.works.ends(number);
        match work.stage {
            Stage::Ends(Some(term)) if self.hangs.is_some() => self.answer(host, term, 0),
            Stage::Ends(Some(_)) if chance(&mut self.rng, 100) => {
                self.hits.hit(Path::WorkNeverAnswered);
            }
            Stage::Ends(Some(term)) if chance(&mut self.rng, 150) => {
                self.hits.hit(Path::WorkAnsweredLate);
                let late = between(&mut self.rng, 0, 3 * self.options.lease);
                self.answer(host, term, late);
            }
            Stage::Ends(Some(term)) => {
                let late = between(&mut self.rng, 0, MS);
                self.answer(host, term, late);
            }
            Stage::Ends(None) => {
                if let Some(process) = &self.hosts[host].process {
                    let epoch = process.epoch;
                    let command = Command::GiveUp { cause: LossCause::LeaseThin };
                    self.at(self.now, What::Told { host, epoch, command });
                }
            }
            Stage::Runs => {}
        }
    }

    /// The lease under a work may have ended: what is left is killed, and with it a process that did
    /// nothing about it, where somebody watches.
    pub(crate) fn work_killed(&mut self, host: usize, number: u64) {
        let kill_at = self.work_lease(host).saturating_sub(MARGIN);
        if self.work_of(host, number).is_none() {
            return;
        }
        if kill_at > self.now {
            self.at(kill_at, What::WorkKilled { host, work: number });
            return;
        }
        if self.liar.has(Lie::WorkRunsOn) {
            self.at(self.now + self.options.lease, What::WorkEnds { host, work: number });
            return;
        }
        self.hits.hit(Path::WorkKilled);
        let stands = self.hosts[host].process.as_ref().is_some_and(|process| process.paused);
        self.work_ends(host, number);
        if stands && self.is_guarded(host) {
            self.hits.hit(Path::GuardianKilled);
            self.crash(host, Ending::Killed);
            self.at(self.now + self.options.lease, What::Start { host });
        }
    }

    /// A host leads no longer, or its process has gone for good: its driver kills what is left.
    pub(crate) fn leftover_ends(&mut self, host: usize) {
        if let Some(work) = self.works[host]
            && !self.liar.has(Lie::WorkRunsOn)
        {
            self.work_ends(host, work.number);
        }
    }
}
