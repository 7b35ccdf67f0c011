//! What can be seen of the hosts, and what the checkers are told of it.
//!
//! After each event the leases, promises and abstentions of the processes are the truth; a status is
//! taken when leadership changes and now and then.

use ringrift_p2p::election::record::VoteRecord;
use ringrift_p2p::election::{Event as Told, LossCause};
use ringrift_p2p::membership;
use ringrift_p2p::node::event::Event;
use ringrift_p2p::node::status::{Health, Status};
use ringrift_wire::{NodeId, Refusal};

use crate::checkers::Violation;
use crate::checkers::cover::{self, Bound};
use crate::checkers::honesty::{self, Published};
use crate::checkers::leases::Held;
use crate::host::Host;
use crate::options::{MS, Nanos};
use crate::sometimes::Path;
use crate::world::{What, World};
use ringrift_p2p::election::record::RestoredPromise;

/// A status is taken after one of so many events of a host, beside those that change leadership.
const STATUS_EVERY: u64 = 16;

/// After one of so many events without a leader it is asked whether somebody may lead.
const ABLE_EVERY: u64 = 8;

/// Whether the driver publishes a status before anything that came with this event leaves.
pub(crate) const fn changes_leadership(event: &Event) -> bool {
    matches!(
        event,
        Event::Election(
            Told::LeadershipGained { .. }
                | Told::LeadershipLost { .. }
                | Told::LeaderChanged { .. }
                | Told::TermRaised { .. }
        )
    )
}

impl World {
    /// What can be seen from outside after each event.
    pub(crate) fn look(&mut self) {
        let leader = self.checkers.leases.leader(self.now);
        if leader.is_some() {
            self.led_until = Some(self.now);
        } else if self.led_until.is_some_and(|at| self.now - at > 2 * self.options.lease) {
            self.led_until = None;
            self.hits.hit(Path::NoQuorum);
        }
        self.ask();
        if self.healed.is_none() {
            return;
        }
        if let Some(mut liveness) = self.checkers.liveness {
            if leader.is_none() && self.steps.is_multiple_of(ABLE_EVERY) && !self.is_able() {
                liveness.wait(self.now);
            }
            let before = liveness;
            let mut result = liveness.observe(self.now, leader.is_some(), || self.is_ready());
            // Where little happens, it is not asked often.
            if result.is_err() && !self.is_able() {
                liveness = before;
                liveness.wait(self.now);
                result = Ok(());
            }
            self.checkers.liveness = Some(liveness);
            self.check(result);
        }
        if let Some(calm) = &mut self.checkers.calm {
            let result = calm.observe(self.now, leader.map(|(host, held)| (host, held.nonce)));
            self.check(result);
        }
    }

    /// Whether some healed voter may lead: operators have drained the others, or their work has just failed.
    fn is_able(&self) -> bool {
        let Some((_, healed, _)) = &self.healed else { return false };
        healed.iter().filter(|host| **host < self.options.voters).any(|&host| {
            let local = self.hosts[host].clock.local(self.now);
            let status =
                self.hosts[host].process.as_ref().map(|process| process.node.status(local));
            let own = status.as_ref().and_then(|it| it.voters.iter().find(|voter| voter.is_self));
            own.is_some_and(|own| !own.priority.drained)
        })
    }

    /// Whether a quorum of the healed voters can vote.
    fn is_ready(&self) -> bool {
        let Some((_, healed, _)) = &self.healed else { return false };
        let can_vote = |host: &&usize| {
            let state = &self.hosts[**host];
            let local = state.clock.local(self.now);
            let core = state.process.as_ref().and_then(|process| process.node.core());
            core.is_some_and(|core| {
                core.genesis().is_none()
                    && core.store_works()
                    && core.abstains_until(local).is_none()
            })
        };
        let voters = healed.iter().filter(|host| **host < self.options.voters);
        voters.filter(can_vote).count() > self.options.voters / 2
    }

    /// Somebody asks one process what it says of leading.
    fn ask(&mut self) {
        let host = (self.steps % self.hosts.len() as u64) as usize;
        let state = &self.hosts[host];
        let Some(process) = state.process.as_ref().filter(|process| !process.paused) else {
            return;
        };
        let local = state.clock.local(self.now);
        let leads = || process.node.is_leader(local);
        let led = |name, term| self.has_led(name, term);
        let result = self.checkers.honesty.asked(self.now, host, local, leads, led);
        self.check(result);
    }

    /// Compares a process with the truth after it has handled something.
    pub(crate) fn observe(&mut self, host: usize, changes: bool) {
        let state = &self.hosts[host];
        let clock = state.clock;
        let local = clock.local(self.now);
        let Some(process) = &state.process else { return };
        let nonce = process.boot.nonce;
        let core = process.node.core();
        let lease = core.and_then(|core| core.lease());
        let lease = lease.map(|(end, _)| end).filter(|end| local < *end);
        let term = core.and_then(|core| core.leading_term());
        let said = process.node.is_leader(local);
        match lease {
            _ if said != lease.is_some() => {
                let what = format!("host {host} leads {said}, and its lease is {lease:?}");
                self.check(Err(Violation { at: self.now, rule: "I10", what }));
            }
            None => {
                self.checkers.leases.ended(self.now, host);
                self.checkers.endings.ended(self.now, nonce);
            }
            Some(_) if term != self.leading[host] => {
                let said = self.leading[host];
                let what = format!("host {host} leads term {term:?} and has told of {said:?}");
                self.check(Err(Violation { at: self.now, rule: "I10", what }));
            }
            Some(end) => {
                let held = Held { nonce, term: term.unwrap_or(0), until: clock.real(end) };
                let result = self.checkers.leases.leads(self.now, host, held);
                self.check(result);
                let result = self.checkers.endings.leads(self.now, host, held);
                self.check(result);
            }
        }
        self.cover(host);
        if changes || self.steps.is_multiple_of(STATUS_EVERY) {
            self.take_status(host, lease.is_some());
        }
    }

    /// Takes the status of a process, compares it with the truth, and publishes it.
    fn take_status(&mut self, host: usize, leads: bool) {
        let local = self.hosts[host].clock.local(self.now);
        let Some(process) = &self.hosts[host].process else { return };
        let status = process.node.status(local);
        self.check(honesty::taken(self.now, host, &status, local, leads));
        let result = self.checkers.bounds.taken(self.now, host, &status);
        self.check(result);
        if let Some(published) = self.liar.publishes(Published::of(&status)) {
            self.checkers.honesty.published(host, published);
        }
        for member in &status.members {
            let Some(sequence) = member.sequence else { continue };
            let (reachable, left) = (member.health.is_reachable(), member.health == Health::Left);
            let now = self.now;
            let result =
                self.checkers.returns.known(now, host, member.id, sequence, reachable, left);
            if left {
                self.hits.hit(Path::MemberLeft);
            }
            self.check(result);
        }
        self.compare_members(host, &status);
    }

    /// Once hosts are healed, what each says of the others and of the leader is compared.
    fn compare_members(&mut self, host: usize, status: &Status) {
        let Some((_, healed, _)) = &self.healed else { return };
        if self.checkers.agreement.is_none() || !healed.contains(&host) {
            return;
        }
        let local = self.hosts[host].clock.local(self.now);
        let mut differs = None;
        // While two live processes have one name, and for a while after, news of either reaches whoever
        // hears neither.
        if self.hosts.last().is_some_and(|second| second.process.is_some()) {
            self.twice_until = self.now + 4 * self.options.leases().1;
        }
        let twice = self.options.twin.filter(|_| self.now < self.twice_until);
        let others = healed.iter().filter(|&&other| other != host && Some(other) != twice);
        for &other in others {
            let Some(boot) = self.boots[other] else { continue };
            let name = self.hosts[other].id;
            match status.member(name) {
                Some(member) if member.account.held_off_until.is_some() => {}
                Some(member)
                    if member.health.is_reachable() && member.sequence == Some(boot.sequence) => {}
                member => {
                    let seen = member.map(|member| (member.health, member.sequence));
                    differs = Some(format!("has {name} for {seen:?}, which is {boot:x?}"));
                }
            }
        }
        let leads = self.checkers.leases.leader(self.now).map(|(leader, _)| leader);
        let leader = leads.filter(|leader| healed.contains(leader)).map(|it| self.hosts[it].id);
        let (leads, now) = (leads.map(|leads| self.hosts[leads].id), self.now);
        let news = leads
            .zip(self.checkers.agreement.as_mut())
            .is_some_and(|(leads, agreement)| agreement.is_news(now, leads));
        let said = status.leader_at(local);
        if let (Some(leader), Some(said)) = (leader, said)
            && leader != said
            && !news
        {
            differs = Some(format!("names {said}, and {leader} leads"));
        }
        if let Some(agreement) = &mut self.checkers.agreement {
            let rightly = leader.is_none() || said.is_some();
            let result = agreement.names(self.now, host, rightly);
            self.check(result);
        }
        let Some(what) = differs else { return };
        if let Some(agreement) = &mut self.checkers.agreement {
            let result = agreement.differs(self.now, host, &what);
            self.check(result);
        }
    }

    /// What binds a host may have changed, or a lease: whether the running lease is covered (I3).
    pub(crate) fn cover(&mut self, host: usize) {
        let bound = self.bound(&self.hosts[host]);
        let changed = core::mem::replace(&mut self.bounds[host], bound) != bound;
        let leader = self.checkers.leases.leader(self.now);
        if core::mem::replace(&mut self.covered, leader) == leader && !changed {
            return;
        }
        let Some((leader, held)) = leader else { return };
        let holder = &self.hosts[leader];
        let (set, id) = (&holder.voter_set, holder.id);
        let most = self.hosts.len().min(self.options.most_voters());
        let voters: Vec<(usize, Bound)> = (0..most)
            .filter(|&host| self.hosts[host].name_of == host && set.contains(self.hosts[host].id))
            .map(|host| (host, self.bounds[host]))
            .collect();
        let result = cover::check(self.now, id, held, set.quorum(), &voters);
        self.check(result);
    }

    /// What keeps a voter from voting for somebody else.
    fn bound(&self, state: &Host) -> Bound {
        let local = state.clock.local(self.now);
        let real = |at| state.clock.real(at);
        // Where its list does not name it, a voter's process votes for nobody, and its next one finds
        // the same as if there were none now.
        let core = state.process.as_ref().and_then(|process| process.node.core());
        if let Some(core) = core {
            if core.genesis().is_some() {
                return Bound::MUTE;
            }
            let promise = core.promise(local);
            return Bound {
                promised: promise.map(|promise| (promise.to, promise.nonce, real(promise.until))),
                abstains_until: core.abstains_until(local).map_or(0, real),
            };
        }
        let restored = state.restored(local);
        let Some(record) = restored.record else { return Bound::MUTE };
        match restored.promise {
            RestoredPromise::Exact(promise) => Bound {
                promised: promise.map(|promise| (promise.to, promise.nonce, real(promise.until))),
                abstains_until: 0,
            },
            RestoredPromise::Unknown { last_possible } => {
                let abstains_until = real(last_possible + record.longest_lease);
                Bound { promised: None, abstains_until }
            }
        }
    }

    /// A process is about to write a record (I6).
    pub(crate) fn writes(&mut self, host: usize, record: VoteRecord) {
        let state = &self.hosts[host];
        let local = state.clock.local(self.now);
        let Some(process) = &state.process else { return };
        let own = record.voted_for == Some(state.id) && record.nonce == process.boot.nonce;
        let quorum = state.voter_set.quorum();
        // Those that it counts: a yes from elsewhere is none.
        let own_set = self.members(host);
        let leads = process.node.is_leader(local);
        let known = process.highest_term;
        let now = self.now;
        let result = if own && record.term > known.unwrap_or(0) && !leads {
            self.checkers.minority.stands(now, host, record.term, quorum, &own_set)
        } else if known.is_none() && record.voted_for.is_none() {
            self.checkers.minority.adopts(now, host, record.term, quorum, &own_set)
        } else {
            Ok(())
        };
        self.check(result);
        if let Some(process) = &mut self.hosts[host].process {
            process.highest_term = Some(known.unwrap_or(0).max(record.term));
        }
    }

    /// The other hosts that a host's configuration names as voters.
    fn members(&self, host: usize) -> Vec<usize> {
        let (set, me) = (&self.hosts[host].voter_set, self.hosts[host].name_of);
        let named = |other: &usize| *other != me && set.contains(self.hosts[*other].id);
        (0..self.hosts.len().min(self.options.most_voters())).filter(named).collect()
    }

    /// Something about a host is not well, now and for a while.
    pub(crate) fn unsound(&mut self, host: usize, lasting: Nanos) {
        self.checkers.undisturbed.unsound(host, self.now + lasting);
    }

    /// A lease has lapsed: whether it may have (I7).
    fn lapsed(&mut self, host: usize) {
        let set = self.hosts[host].voter_set.tag();
        let quorum = self.hosts[host].voter_set.quorum();
        let sound = |other: &usize| {
            let state = &self.hosts[*other];
            let core = state.process.as_ref().and_then(|process| process.node.core());
            state.voter_set.tag() == set
                && state.name_of == *other
                && core.is_some_and(|core| core.genesis().is_none() && core.store_works())
        };
        let most = self.hosts.len().min(self.options.most_voters());
        let others: Vec<usize> = (0..most).filter(|o| *o != host).filter(sound).collect();
        let held = self.hosts[host].process.as_ref().and_then(|process| process.node.core());
        if held.is_none_or(|core| !core.store_works()) {
            return;
        }
        match self.checkers.undisturbed.lapsed(self.now, host, quorum, &others) {
            Ok(true) => self.hits.hit(Path::SoundLeaderLostItsQuorum),
            Ok(false) => {}
            Err(violation) => self.check(Err(violation)),
        }
    }

    /// Counts what a process tells of itself.
    pub(crate) fn told(&mut self, host: usize, event: &Event) {
        self.note(host, || format!("** {event:?}"));
        if let Some(transcript) = &mut self.transcript {
            let state = &self.hosts[host];
            transcript.told(self.now, state.id, &state.name, event);
        }
        let event = match event {
            Event::Election(event) => event,
            Event::Member(event) => return self.told_of_member(host, event),
            Event::ForeignAddress { .. } => return self.hits.hit(Path::ForeignAddress),
        };
        match event {
            Told::CanvassStarted { .. } => self.canvasses[host] += 1,
            Told::ElectionStarted { .. } => {
                let now = self.now;
                self.checkers.liveness.iter_mut().for_each(|liveness| liveness.stands(now));
            }
            _ => {}
        }
        let path = match event {
            Told::LeadershipGained { term, .. } => {
                self.leading[host] = Some(*term);
                self.checkers.takeovers.led_by(self.now, host, self.hosts[host].name_of);
                self.begin_work(host, *term);
                self.checkers.undisturbed.gained(self.now, host);
                Path::LeaderElected
            }
            Told::TermRaised { term } => {
                self.leading[host] = Some(*term);
                Path::TermRaisedWhileLeading
            }
            Told::LeadershipLost { cause, .. } => {
                self.leading[host] = None;
                self.losses[host] += 1;
                self.lead_ends(host, *cause);
                match cause {
                    LossCause::LeaseExpired => {
                        self.lapsed(host);
                        Path::LeaseLapsed
                    }
                    _ => Path::LeaderStopped,
                }
            }
            Told::ElectionLost { .. } => Path::ElectionLost,
            Told::VoteRefused { why, .. } => match why {
                Refusal::Promised { .. } => Path::RefusedPromised,
                Refusal::Voted => Path::RefusedVoted,
                Refusal::Term => Path::RefusedTerm,
                Refusal::Abstaining { .. } => Path::RefusedAbstaining,
                Refusal::Empty => Path::RefusedEmpty,
                Refusal::VoterSet => Path::RefusedVoterSet,
                Refusal::Store | Refusal::LeaderAlive { .. } | Refusal::Lease => return,
            },
            Told::PromiseReleased { .. } => Path::PromiseReleased,
            Told::RecordAdopted { .. } => {
                self.unsound(host, 0);
                Path::RecordAdopted
            }
            Told::StoreHealth { works } => {
                self.unsound(host, 0);
                if *works {
                    return;
                }
                Path::StoreFailedEvent
            }
            Told::VoterSetMismatch { .. } => Path::VoterSetMismatch,
            Told::LeaderChanged { leader: Some(leader), term } => {
                let (leader, term) = (*leader, *term);
                if let Some(number) = self.hosts.iter().position(|host| host.id == leader) {
                    self.checkers.takeovers.led_by(self.now, host, number);
                }
                self.named(host, leader, term);
                return;
            }
            Told::CanvassStarted { .. }
            | Told::ElectionStarted { .. }
            | Told::HandoverEnded { .. }
            | Told::LeaderChanged { .. }
            | Told::VoteGranted { .. } => return,
        };
        self.hits.hit(path);
    }

    /// A process tells that a leader leads a term: one that has led it (I10).
    fn named(&mut self, host: usize, leader: NodeId, term: u64) {
        let led = match self.leading[host].filter(|_| self.hosts[host].id == leader) {
            Some(leading) => leading == term,
            None => self.has_led(leader, term),
        };
        if !led {
            let what =
                format!("host {host} tells that {leader} leads term {term}, which it did not");
            self.check(Err(Violation { at: self.now, rule: "I10", what }));
        }
    }

    pub(crate) fn has_led(&self, name: NodeId, term: u64) -> bool {
        let leader = self.checkers.leases.leader_of(term);
        leader.is_some_and(|leader| self.hosts[leader].id == name)
    }

    fn told_of_member(&mut self, host: usize, event: &membership::Event) {
        use membership::Event;
        let path = match event {
            Event::MemberSuspected { .. } => Path::MemberSuspected,
            Event::MemberDied { member, .. } => {
                *self.deaths.entry((host, *member)).or_default() += 1;
                Path::MemberDied
            }
            Event::MemberRefuted { .. } => Path::MemberRefuted,
            Event::MemberMoved { .. } => Path::MemberMoved,
            Event::NameInConflict { .. } => Path::NameInConflict,
            Event::NameTaken { .. } => {
                // The driver ends such a process at once.
                if let Some(process) = &self.hosts[host].process {
                    let (epoch, down) = (process.epoch, self.options.lease);
                    self.at(self.now + MS, What::End { host, epoch, down });
                }
                Path::NameTaken
            }
            Event::MemberJoined { .. }
            | Event::SuspicionConfirmed { .. }
            | Event::MemberHeldOff { .. }
            | Event::MemberLeft { .. }
            | Event::MemberRestarted { .. }
            | Event::AddressRefused { .. } => return,
        };
        self.hits.hit(path);
    }
}
