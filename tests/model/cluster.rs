//! What can happen, and what comes of it.

use ringrift_p2p::election::core::Core;
use ringrift_p2p::election::record::RestoredPromise;
use ringrift_wire::NodeId;
use stateright::{Model, Property};
use std::collections::BTreeMap;

use crate::packet::{Body, PRIORITY, Packet, length};
use crate::setup::{NOW, Restart, Setup, id};
use crate::state::{Shared, State};
use crate::voter::{Effects, Torn, Voter};

/// One thing that happens. Processes are named by their index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Real time advances; each clock by so many ticks.
    Tick(Vec<u8>),
    Deliver(Packet),
    Stand(u8),
    Solicit(u8),
    Beat(u8),
    GiveUp(u8),
    /// Resigns, or notices that the lease has run out.
    Stop(u8),
    /// The writes under way end.
    Written(u8),
    WriteFails(u8),
    Crash(u8, Torn),
    Restart(u8, Restart),
    /// A voter with an empty store asks.
    Inquire(u8),
    /// It takes its first record.
    Adopt(u8),
}

/// The cluster within its bounds.
pub struct Cluster {
    pub setup: Setup,
}

impl Cluster {
    fn id(&self, process: u8) -> NodeId {
        id(self.setup.names[usize::from(process)])
    }

    fn others(&self, process: u8) -> Vec<NodeId> {
        self.setup.others(process).collect()
    }

    /// One step of one process: its state is replaced, what it sends is on its way.
    fn step(&self, state: &mut State, process: u8, act: impl FnOnce(&mut Voter, &mut Effects)) {
        let mut voter = state.voter(process).clone();
        let mut effects = Effects::default();
        // A process that acts looks first whether its lease has run out.
        voter.core.iter_mut().for_each(|core| {
            core.expire(NOW);
        });
        act(&mut voter, &mut effects);
        voter.carry_out(&self.setup, process, &mut effects);
        state.packets.append(&mut effects.sent);
        state.broken = state.broken.or(effects.broken);
        let numbers = voter.normalise(&self.setup, 0, &|name| name);
        renumber(state, process, voter.nonce, &numbers);
        state.set(process, voter);
    }

    fn on_core(&self, state: &mut State, process: u8, act: impl FnOnce(&mut Core)) {
        self.step(state, process, |voter, _| {
            if let Some(core) = &mut voter.core {
                act(core);
            }
        });
    }

    // ---- Messages ---------------------------------------------------------------------------

    fn deliver(&self, state: &mut State, packet: Packet) {
        if packet.body.is_answer() || matches!(packet.body, Body::Report { .. }) {
            state.packets.retain(|other| *other != packet);
        }
        self.step(state, packet.to, |voter, effects| {
            voter.receive(&self.setup, packet.to, packet, effects);
        });
    }

    // ---- Empty stores -----------------------------------------------------------------------

    /// Which inquiry would leave now: 0 before the end of the wait, 1 after.
    fn inquiry(&self, state: &State, process: u8) -> Option<usize> {
        let voter = state.voter(process);
        let genesis = voter.core.as_ref()?.genesis()?;
        let ended = genesis.wait_ends(length(self.setup.lease[usize::from(process)]));
        let which = usize::from(ended <= NOW);
        (!voter.asked[which]).then_some(which)
    }

    fn inquire(&self, state: &mut State, process: u8, which: usize) {
        let number = u8::try_from(which + 1).expect("one or two");
        self.step(state, process, |voter, effects| {
            voter.asked[which] = true;
            if let Some(genesis) = voter.core.as_mut().and_then(Core::genesis_mut) {
                genesis.asked(NOW, number.into());
            }
            let nonce = voter.nonce;
            for to in self.others(process).into_iter().flat_map(|to| self.setup.processes(to)) {
                let body = Body::Inquire { number };
                effects.sent.push(Packet { from: process, to, nonce, body });
            }
        });
    }

    fn adopt(&self, state: &mut State, process: u8) {
        // The wall clock is ahead of every term that there was.
        let floor = state.highest.into();
        self.on_core(state, process, |core| {
            core.adopt(NOW, floor);
        });
    }

    // ---- Time -------------------------------------------------------------------------------

    fn ticks(&self, state: &State) -> Vec<Vec<u8>> {
        let mut all = vec![(Vec::new(), state.deviations)];
        for voter in &state.voters {
            let mut longer = Vec::new();
            for (ticks, left) in all {
                for advance in [1, 0, 2] {
                    if advance == 1 || (left > 0 && voter.steady == 0) {
                        let mut ticks: Vec<u8> = ticks.clone();
                        ticks.push(advance);
                        longer.push((ticks, left - u8::from(advance != 1)));
                    }
                }
            }
            all = longer;
        }
        all.into_iter().map(|(ticks, _)| ticks).collect()
    }

    fn tick(&self, state: &mut State, ticks: &[u8]) {
        for (process, &advance) in state.processes().zip(ticks) {
            let mut voter = state.voter(process).clone();
            voter.steady = voter.steady.saturating_sub(1);
            if advance != 1 {
                state.deviations -= 1;
                voter.steady = self.setup.steady.saturating_sub(1);
            }
            let numbers = voter.normalise(&self.setup, advance, &|name| name);
            renumber(state, process, voter.nonce, &numbers);
            state.set(process, voter);
            if state.voter(process).is_late() {
                // Noticed later, it would only release later.
                self.on_core(state, process, |_| {});
            }
        }
        if state.deviations == 0 {
            for process in state.processes() {
                if state.voter(process).steady > 0 {
                    let voter = Voter { steady: 0, ..state.voter(process).clone() };
                    state.set(process, voter);
                }
            }
        }
    }

    // ---- After every step -------------------------------------------------------------------

    /// Looks at who leads, and brings the state into its one form.
    fn settle(&self, state: &mut State) {
        for process in state.processes() {
            let voter = state.voter(process);
            let Some(term) = voter.leads() else { continue };
            let (me, at) = ((process, voter.nonce), usize::from(term) - 1);
            if state.led[at].is_some_and(|known| known != me) {
                state.broken = state.broken.or(Some("I1"));
            } else if state.ended[at] {
                state.broken = state.broken.or(Some("I5"));
            } else if state.led[at].is_none() && state.led[at..].iter().any(Option::is_some) {
                state.broken = state.broken.or(Some("I4"));
            }
            state.led[at] = Some(me);
        }
        for at in 0..state.led.len() {
            if let Some((process, nonce)) = state.led[at] {
                let voter = state.voter(process);
                let leads = voter.nonce == nonce && voter.leads().map(usize::from) == Some(at + 1);
                state.ended[at] |= !leads;
            }
        }
        self.drop_dead(state);
        state.packets.sort_unstable();
        state.packets.dedup();
        if self.setup.symmetric {
            self.sort_voters(state);
        }
    }

    /// Drops what can never have an effect again.
    fn drop_dead(&self, state: &mut State) {
        let forgetful = self.setup.wipes > 0 || self.setup.slow_writes || self.setup.first_start;
        let mut packets = std::mem::take(&mut state.packets);
        packets.retain(|packet| {
            let to = state.voter(packet.to);
            match packet.body {
                Body::Vote { number, .. } | Body::Ack { number, .. } => {
                    number != 0 && to.core.is_some()
                }
                Body::Election { term, .. } | Body::Beat { term, .. } => {
                    forgetful || to.disk.is_none_or(|disk| disk.term <= term.into())
                }
                Body::Inquire { .. } => {
                    let asker = state.voter(packet.from);
                    asker.nonce == packet.nonce
                        && asker.core.as_ref().is_some_and(|core| core.genesis().is_some())
                }
                Body::Report { .. } => {
                    to.core.as_ref().is_some_and(|core| core.genesis().is_some())
                }
                Body::Release { .. } => true,
            }
        });
        // A request whose answer no longer counts does nothing that one like it cannot do whose
        // answer may be lost.
        let covered = |packet: &Packet, by: &Packet| {
            packet.body.number() == Some(0)
                && !packet.body.is_answer()
                && by.body.number().is_some_and(|number| number > 0)
                && Packet { body: by.body.with_number(0), ..*by } == *packet
        };
        let all = packets.clone();
        packets.retain(|packet| !all.iter().any(|by| covered(packet, by)));
        state.packets = packets;
    }

    /// Puts the voters into an order that does not depend on their names.
    fn sort_voters(&self, state: &mut State) {
        let signature = |process: u8| {
            let voter = state.voter(process);
            let me = self.id(process);
            let core = voter.core.as_ref().map(|core| {
                let record = core.record();
                let promise = core.promise(NOW);
                (
                    (core.leading_term(), core.lease().map(|(end, _)| end)),
                    core.tally().map(|tally| (tally.term(), tally.grants().len())),
                    (record.term, record.voted_for == Some(me), record.voted_for.is_some()),
                    promise.map(|promise| (promise.until, promise.term, promise.to == me)),
                    core.abstains_until(NOW),
                    core.genesis().is_some(),
                )
            });
            let sent = state.packets.iter().filter(|packet| packet.from == process).count();
            let due = state.packets.iter().filter(|packet| packet.to == process).count();
            let disk = voter.disk.map(|disk| (disk.term, disk.voted_for == Some(me)));
            let led: Vec<bool> =
                state.led.iter().map(|led| led.is_some_and(|(who, _)| who == process)).collect();
            (
                core,
                disk,
                (voter.nonce, voter.steady, voter.last, voter.pending.len()),
                led,
                sent,
                due,
            )
        };
        let mut order: Vec<u8> = state.processes().collect();
        order.sort_by_cached_key(|&process| signature(process));
        if order.is_sorted() {
            return;
        }
        // order[new] = old; place[old] = new.
        let mut place = vec![0; order.len()];
        for (new, old) in (0u8..).zip(&order) {
            place[usize::from(*old)] = new;
        }
        let name = |old: NodeId| {
            let index = (0..self.setup.voters).find(|&index| id(index) == old);
            index.map_or(old, |index| id(place[usize::from(index)]))
        };
        let voters = order.iter().map(|&old| {
            let mut voter = state.voter(old).clone();
            voter.normalise(&self.setup, 0, &name);
            Shared::new(voter)
        });
        state.voters = voters.collect();
        let moved = |process: u8| place[usize::from(process)];
        for packet in &mut state.packets {
            packet.from = moved(packet.from);
            packet.to = moved(packet.to);
        }
        state.packets.sort_unstable();
        for (process, _) in state.led.iter_mut().flatten() {
            *process = moved(*process);
        }
    }
}

/// Gives what is on its way the new numbers of a process's sends; 0 where they no longer count.
fn renumber(state: &mut State, process: u8, nonce: u8, numbers: &BTreeMap<u64, u64>) {
    for packet in &mut state.packets {
        let own = packet.from == process && !packet.body.is_answer() && packet.nonce == nonce;
        let answer = packet.to == process && packet.body.is_answer();
        if (own || answer)
            && let Some(number) = packet.body.number()
        {
            let new = numbers.get(&u64::from(number)).copied().unwrap_or(0);
            packet.body = packet.body.with_number(u8::try_from(new).expect("few sends"));
        }
    }
    for voter in state.processes().filter(|&voter| voter != process) {
        if !state.voter(voter).pending.is_empty() {
            let mut waiting = state.voter(voter).clone();
            if waiting.core.as_mut().is_some_and(|core| core.renumber(id(process), numbers)) {
                state.set(voter, waiting);
            }
        }
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.setup)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        actions.extend(self.ticks(state).into_iter().map(Action::Tick));
        let up = |packet: &&Packet| state.voter(packet.to).core.is_some();
        actions.extend(state.packets.iter().filter(up).copied().map(Action::Deliver));
        for process in state.processes() {
            let voter = state.voter(process);
            let Some(core) = &voter.core else {
                for &how in &self.setup.restarts {
                    actions.push(Action::Restart(process, how));
                }
                if state.wipes > 0 {
                    actions.push(Action::Restart(process, Restart::Wiped));
                }
                continue;
            };
            if core.record().term < self.setup.terms {
                actions.push(Action::Stand(process));
            }
            if core.is_open() {
                actions.push(Action::Solicit(process));
            }
            if core.tally().is_some() {
                actions.push(Action::GiveUp(process));
            }
            if core.leading_term().is_some() {
                actions.push(Action::Beat(process));
                actions.push(Action::Stop(process));
            }
            if !voter.pending.is_empty() {
                actions.push(Action::Written(process));
                if state.failures > 0 {
                    actions.push(Action::WriteFails(process));
                }
            }
            if state.crashes > 0 {
                actions.push(Action::Crash(process, Torn::All));
                if voter.pending.len() > 1 {
                    actions.push(Action::Crash(process, Torn::Record));
                    actions.push(Action::Crash(process, Torn::Promise));
                }
            }
            if core.genesis().is_some() {
                if self.inquiry(state, process).is_some() {
                    actions.push(Action::Inquire(process));
                }
                actions.push(Action::Adopt(process));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = before.clone();
        let state = &mut after;
        match action {
            Action::Tick(ticks) => self.tick(state, &ticks),
            Action::Deliver(packet) => self.deliver(state, packet),
            Action::Stand(process) => {
                let mut stood = None;
                self.on_core(state, process, |core| stood = core.stand(NOW, 0));
                let term = u8::try_from(stood?).expect("few terms");
                if self.setup.wipes > 0 || self.setup.first_start {
                    state.highest = state.highest.max(term);
                }
            }
            Action::Solicit(process) => self.on_core(state, process, |core| {
                core.solicit(NOW, &self.others(process), PRIORITY);
            }),
            Action::Beat(process) => self.on_core(state, process, |core| {
                core.beat(NOW, &self.others(process));
            }),
            Action::GiveUp(process) => self.on_core(state, process, |core| {
                core.give_up(NOW);
            }),
            Action::Stop(process) => self.on_core(state, process, |core| {
                core.resign();
            }),
            Action::Written(process) => self.step(state, process, |voter, effects| {
                effects.broken = voter.written(true);
            }),
            Action::WriteFails(process) => {
                state.failures -= 1;
                self.step(state, process, |voter, effects| {
                    effects.broken = voter.written(false);
                });
            }
            Action::Crash(process, torn) => {
                let mut voter = state.voter(process).clone();
                voter.crash(torn);
                renumber(state, process, voter.nonce, &BTreeMap::new());
                voter.normalise(&self.setup, 0, &|name| name);
                state.set(process, voter);
                state.crashes -= 1;
            }
            Action::Restart(process, how) => {
                if how == Restart::Wiped {
                    state.wipes -= 1;
                }
                self.step(state, process, |voter, _| voter.restart(&self.setup, process, how));
            }
            Action::Inquire(process) => {
                let which = self.inquiry(state, process)?;
                self.inquire(state, process, which);
            }
            Action::Adopt(process) => self.adopt(state, process),
        }
        self.settle(state);
        (before != state).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1", |_, state: &State| state.broken != Some("I1")),
            Property::always("I2", |_, state: &State| state.leaders() <= 1),
            Property::always("I3", |cluster: &Self, state: &State| cluster.is_covered(state)),
            Property::always("I4", |_, state: &State| state.broken != Some("I4")),
            Property::always("I5", |_, state: &State| state.broken != Some("I5")),
            Property::sometimes("somebody leads", |_, state: &State| state.leaders() == 1),
        ]
    }
}

impl Cluster {
    /// I3: who leads is covered by the promises of a quorum, or by their abstention.
    fn is_covered(&self, state: &State) -> bool {
        state.processes().all(|process| {
            let leader = state.voter(process);
            if leader.leads().is_none() {
                return true;
            }
            let holder = (self.id(process), u64::from(leader.nonce));
            let covers = |voter: &&Shared<Voter>| match &voter.core {
                None => match voter.file {
                    RestoredPromise::Exact(promise) => {
                        promise.is_some_and(|p| (p.to, p.nonce) == holder && p.until > NOW)
                    }
                    RestoredPromise::Unknown { .. } => true,
                },
                Some(core) => {
                    let promised = core.promise(NOW).is_some_and(|p| (p.to, p.nonce) == holder);
                    promised || core.abstains_until(NOW).is_some() || core.genesis().is_some()
                }
            };
            let covering = state.voters.iter().filter(covers).count();
            covering >= self.setup.set().quorum()
        })
    }
}
