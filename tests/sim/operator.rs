//! What operators want of hosts, and what they are told.

use ringrift_p2p::election::{LossCause, Reply};
use ringrift_p2p::node::Command;
use ringrift_p2p::rng::Rng;
use ringrift_wire::NodeId;

use crate::checkers::Violation;
use crate::checkers::replies::{ANSWERED, Truth};
use crate::faults::{Fault, Target};
use crate::inject::is_timely;
use crate::liar::Lie;
use crate::options::{Kind, MS, Nanos, Options, between, chance};
use crate::sometimes::Path;
use crate::world::{What, World};

/// In one of so many seeds better voters are given the time to take over.
const TAKEOVER_EVERY: u64 = 4;

/// What can be wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// A fresh election.
    Trigger,
    /// That the lead goes to the best voter that is ready.
    StepDown,
    /// That this host leads.
    Transfer(usize),
    /// That the host never leads.
    Drain,
    /// That it may lead again.
    Resume,
    /// Nothing; the work of the leader failed there.
    GiveUp,
}

/// A random wish.
pub(crate) fn draw(options: &Options, rng: &mut Rng) -> Verb {
    match rng.below(12) {
        0 | 1 => Verb::StepDown,
        2..5 => Verb::Transfer(rng.below(options.voters as u64 + 1) as usize % options.hosts()),
        5 | 6 => Verb::Drain,
        7..10 => Verb::Resume,
        10 => Verb::Trigger,
        _ => Verb::GiveUp,
    }
}

impl World {
    /// An operator wants something of a host.
    pub(crate) fn operate(&mut self, host: usize, verb: Verb) {
        if self.healed.is_some() && verb == Verb::Drain && !self.can_spare(host) {
            return;
        }
        let command = match verb {
            Verb::Trigger => Command::Trigger,
            Verb::StepDown => Command::StepDown,
            Verb::Transfer(to) => Command::Transfer { to: self.hosts[to].id },
            Verb::Drain => Command::Drain,
            Verb::Resume => Command::Resume,
            Verb::GiveUp => Command::GiveUp { cause: LossCause::WorkFailed },
        };
        self.command(host, command);
    }

    /// Whether a healed quorum has somebody to lead it without this host.
    fn can_spare(&self, host: usize) -> bool {
        let Some((_, healed, _)) = &self.healed else { return true };
        let voters = self.options.voters - self.options.never;
        let other = |it: &&usize| **it < voters && **it != host && !self.is_drained(**it);
        healed.iter().filter(other).count() > 0
    }

    /// Whether a host is drained, or about to be.
    pub(crate) fn is_drained(&self, host: usize) -> bool {
        let core = self.hosts[host].process.as_ref().and_then(|process| process.node.core());
        let said = core.is_some_and(|core| core.record().drained);
        said || self.hosts[host].disk.record.is_some_and(|record| record.drained)
    }

    /// A process is given a command; whether it owes an answer.
    pub(crate) fn asks(&mut self, host: usize, number: u64, command: &Command) {
        let name = |id| self.hosts.iter().position(|host| host.id == id).unwrap_or(0);
        let verb = match command {
            Command::Trigger => Verb::Trigger,
            Command::StepDown => Verb::StepDown,
            Command::Transfer { to } => Verb::Transfer(name(*to)),
            Command::Drain => Verb::Drain,
            Command::Resume => Verb::Resume,
            Command::WorkEnded { .. }
            | Command::GiveUp { .. }
            | Command::StoreChecked { .. }
            | Command::Resolved { .. }
            | Command::Stop => return,
        };
        if self.hosts[host].process.is_some() {
            let losses = self.losses[host];
            self.checkers.replies.asked(self.now, host, number, verb, losses);
        }
    }

    /// A process answers a command.
    pub(crate) fn replied(&mut self, host: usize, number: u64, mut reply: Reply) {
        if self.liar.has(Lie::LosesReplies) && number.is_multiple_of(2) {
            return;
        }
        if self.liar.has(Lie::SaysDone) && matches!(reply, Reply::Refused { .. }) {
            let leader = self.hosts.iter().map(|host| host.id).next_back();
            reply = Reply::Done { leader, term: self.leading[host].unwrap_or(1), note: None };
        }
        if let Some(transcript) = &mut self.transcript {
            let text = match &reply {
                Reply::Done { leader: Some(leader), term, .. } => {
                    format!("answers: done, {leader} leads term {}", transcript.term(*term))
                }
                Reply::Done { leader: None, .. } => "answers: done, nobody leads".to_owned(),
                Reply::Refused { code, .. } => format!("answers: refused, {code}"),
                Reply::NotLeader { .. } => "answers: not the leader".to_owned(),
                Reply::Started { .. } => "answers: an election has started".to_owned(),
                Reply::AlreadyInProgress => "answers: an election is under way".to_owned(),
            };
            transcript.says(self.now, &self.hosts[host].name, text);
        }
        let led = match &reply {
            Reply::Done { leader: Some(leader), term, .. } => self.has_led(*leader, *term),
            _ => true,
        };
        let truth = Truth {
            losses: self.losses[host],
            leads: self.leading[host].is_some(),
            led,
            drained: self.hosts[host].disk.record.is_some_and(|record| record.drained),
        };
        let result = self.checkers.replies.replied(self.now, host, number, &reply, truth);
        match (&result, &reply) {
            (Ok(Verb::Drain), Reply::Done { .. }) => self.hits.hit(Path::DrainDone),
            (Ok(Verb::Resume), Reply::Done { .. }) => self.hits.hit(Path::ResumeDone),
            (Ok(_), Reply::Done { leader: Some(_), .. }) => self.hits.hit(Path::HandoverDone),
            (Ok(_), Reply::Refused { code: "NO_TARGET", .. }) => self.hits.hit(Path::NoTarget),
            _ => {}
        }
        self.check(result.map(|_| ()));
    }

    /// A host leads no longer: whether there was reason to (I7), and what that means.
    pub(crate) fn lead_ends(&mut self, host: usize, cause: LossCause) {
        let has = |kind| self.options.kinds.contains(&kind);
        let stopping = self.hosts[host].process.as_ref().is_some_and(|process| process.stopping);
        let scripted = self.transcript.is_some();
        let (asked, path) = match cause {
            LossCause::LeaseExpired => {
                self.leftover_ends(host);
                return;
            }
            // Whose name another process has ends as well.
            LossCause::Stopped => (stopping || has(Kind::Twin), None),
            LossCause::Triggered => (has(Kind::Operator) || has(Kind::Trigger), None),
            LossCause::SteppedDown => (has(Kind::Operator), Some(Path::SteppedDown)),
            LossCause::Transferred => (has(Kind::Operator), Some(Path::Transferred)),
            LossCause::Drained => (has(Kind::Operator), Some(Path::DrainedLeaderLeft)),
            LossCause::WorkFailed => (has(Kind::Operator), Some(Path::WorkFailed)),
            LossCause::TakenOver => (self.options.takeover.is_some(), Some(Path::TakenOver)),
            LossCause::LeaseThin => (self.options.work_grace > 0, None),
            LossCause::StoreFailed => (has(Kind::Disk), None),
        };
        if !asked && !scripted && !self.options.kinds.is_empty() {
            let what = format!("host {host} leads no longer: {cause:?}, and nobody wanted that");
            self.check(Err(Violation { at: self.now, rule: "I7", what }));
        }
        if let Some(path) = path {
            self.hits.hit(path);
        }
        if cause == LossCause::TakenOver {
            let result = self.checkers.takeovers.moves(self.now, host, true);
            self.check(result);
            if self.healed.is_some() {
                self.hits.hit(Path::TakeoverSeen);
            }
        }
        if cause != LossCause::LeaseThin
            && let Some(calm) = &mut self.checkers.calm
        {
            calm.gives_up(host);
            if self.options.planned && cause != LossCause::TakenOver {
                self.hits.hit(Path::PlannedWhileHealed);
            }
        }
        self.leftover_ends(host);
    }

    /// A host hears GO of a takeover.
    pub(crate) fn hears_takeover(&mut self, host: usize, from: NodeId, nonce: u64, term: u64) {
        let state = &self.hosts[host];
        let local = state.clock.local(self.now);
        let Some(process) = &state.process else { return };
        // It is news to whoever has promised that leader something, or follows it, as an empty voter does.
        let promise = process.node.core().and_then(|core| core.promise(local));
        let promised = promise.is_some_and(|it| (it.nonce, it.term) == (nonce, term));
        let status = process.node.status(local);
        let followed = status.follows.is_some_and(|known| (known.id, known.term) == (from, term));
        if promised || followed {
            let result = self.checkers.takeovers.moves(self.now, host, false);
            self.check(result);
        }
    }

    /// Operators go on while a quorum is healed.
    pub(crate) fn plan(&mut self, from: Nanos, to: Nanos, healed: &[usize]) {
        let mut at = from;
        loop {
            at += between(&mut self.rng, 1, 2 * self.options.lease);
            if at >= to {
                return;
            }
            let host = healed[self.rng.below(healed.len() as u64) as usize];
            let leader = chance(&mut self.rng, 600);
            let target = if leader { Target::Leader(host) } else { Target::Host(host) };
            let verb = draw(&self.options, &mut self.rng);
            self.at(at, What::Fault(Fault::Operator { target, verb }));
        }
    }

    /// The leader of a healed quorum and the best voter of it, if that is another one.
    fn better(&self, healed: &[usize]) -> Option<(usize, usize)> {
        let leader = self.leader().filter(|leader| healed.contains(leader))?;
        // Answers to a name that two processes have go to either.
        let twice = self.options.twin.filter(|_| self.now < self.twice_until);
        if twice == Some(leader) {
            return None;
        }
        let voters = healed.iter().copied().filter(|&host| host < self.options.voters);
        let standing = voters.filter(|&host| Some(host) != twice).filter_map(|host| {
            let state = &self.hosts[host];
            let local = state.clock.local(self.now);
            let process = state.process.as_ref()?;
            let core = process.node.core()?;
            let able = core.genesis().is_none()
                && core.store_works()
                && core.abstains_until(local).is_none();
            let status = process.node.status(local);
            let own = status.voters.iter().find(|voter| voter.is_self)?.priority;
            (able && !own.drained).then_some((own, state.id, host))
        });
        let (_, _, best) = standing.min()?;
        (best != leader).then_some((leader, best))
    }

    /// Gives better voters the time that they need to take over (I9).
    pub(crate) fn watch_takeover(&mut self, healed: &[usize], one_way: Nanos) {
        let watched = self.options.takeover.is_some()
            && self.options.seed.is_multiple_of(TAKEOVER_EVERY)
            && self.checkers.takeovers.count() < 4
            && is_timely(&self.options, one_way);
        if !watched {
            return;
        }
        let end = self.checkers.takeovers.due(self.now);
        while self.violation.is_none() && self.now < end {
            self.run_for(self.options.heartbeat);
            let standing = self.better(healed);
            let why = |leader: usize| {
                let state = &self.hosts[leader];
                let status =
                    state.process.as_ref().map(|it| it.node.status(state.clock.local(self.now)));
                status.and_then(|it| it.why(state.clock.local(self.now)).no_takeover)
            };
            let said = standing.and_then(|(leader, _)| why(leader));
            let result = self.checkers.takeovers.observe(self.now, standing, said);
            self.check(result);
            if standing.is_none() && self.leader().is_some() && self.now + MS > end / 2 {
                break;
            }
        }
    }

    /// Whoever owes an answer to an operator is given the time for it.
    pub(crate) fn wait_for_answers(&mut self) {
        let owes = |world: &Self| {
            let mut owed = world.checkers.replies.owed();
            owed.any(|host| world.hosts[host].process.as_ref().is_some_and(|it| !it.paused))
        };
        let end = self.now + ANSWERED + self.options.lease;
        while self.violation.is_none() && self.now < end && owes(self) {
            self.run_for(self.options.lease);
        }
        for host in 0..self.hosts.len() {
            let well = |it: &crate::host::Process| !it.paused && !it.asleep;
            if self.hosts[host].process.as_ref().is_some_and(well) {
                let result = self.checkers.replies.settled(self.now, host);
                self.check(result);
            }
        }
    }
}
