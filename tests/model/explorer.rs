//! The same cluster with fewer states: explored to its end, breadth first.
//!
//! What is left out, and why nothing is lost:
//! 1. Unless [`Setup::slow_answers`], an answer arrives as it leaves, or never. One that arrives later in the same tick meets a
//!    voter that has only taken steps that do not depend on it, or one that no longer counts it; one
//!    that arrives in a later tick is an older answer to an older send, and counts as much as one to that send that
//!    arrived at once.
//! 2. Unless [`Setup::idle`], whoever stands asks again, and whoever leads sends a heartbeat, at once and in every tick. What is
//!    sent need not arrive; what it notes of itself never makes its lease or promise shorter.
//! 3. A request stays and may arrive again and again, so that losing, repeating and reordering are
//!    no steps of their own. One that can have no effect any more is dropped.
//! 4. Unless [`Setup::late`], a request ends with the candidacy or leadership that it is of. Its
//!    answer would count for nothing; it would only bind who answers, and who is bound less can do
//!    all that who is bound more can.
//! 5. Stores are forgotten when nobody crashes any more, voters are told apart by their roles alone, and
//!    a release that frees nothing is dropped.
//! 6. A write ends as it begins, but for a crash in between: then one of two is done, the other not.

use ringrift_wire::NodeId;
use std::collections::HashMap;

use crate::local::{Facts, Input, Local, Locals};
use crate::packet::{Body, Packet};
use crate::seen::{Seen, fingerprint, orders};
use crate::setup::{Mutation, Restart, Setup, id};
use crate::voter::{Torn, Voter};

/// Who was seen to lead a term: process and nonce.
type Leader = (u8, u8);

/// A moment of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    locals: Vec<Local>,
    packets: Vec<Packet>,
    led: Vec<Option<Leader>>,
    ended: Vec<bool>,
    crashes: u8,
    wipes: u8,
    /// The highest term that anybody stood in; kept where disks are lost.
    highest: u8,
}

/// One thing that happens to one voter, or to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Ticks(Vec<u8>),
    One(u8, Input),
    /// It receives this, and its answer arrives.
    Answered(u8, Packet),
}

/// What an exploration has found.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    pub depth: usize,
    /// Whether there was nothing more to explore.
    pub ended: bool,
    pub broken: Option<(&'static str, Vec<Step>)>,
    pub somebody_led: bool,
    /// The second term had another leader than the first.
    pub another_led: bool,
    /// A leader led on after a tick.
    pub led_on: bool,
}

/// An exploration within its bounds.
pub struct Explorer {
    setup: Setup,
    locals: Locals,
    /// Where each process goes, for each order of the voters.
    orders: Vec<Vec<u8>>,
}

impl Explorer {
    pub fn new(setup: Setup) -> Self {
        let mut orders = orders(setup.voters);
        orders.sort();
        let role = |process: &u8| {
            (
                setup
                    .stand
                    .iter()
                    .position(|who| who == process)
                    .map(|at| at * usize::from(setup.in_turn)),
                setup.frail.contains(process),
            )
        };
        orders.retain(|order| {
            let same = |(old, new): (u8, &u8)| role(&old) == role(new);
            (0..).zip(order).all(same)
        });
        if !setup.symmetric {
            orders.truncate(1);
        }
        Self { locals: Locals::new(&setup), orders, setup }
    }

    fn first(&mut self) -> State {
        let processes = 0..u8::try_from(self.setup.names.len()).expect("few processes");
        let terms = usize::try_from(self.setup.terms).expect("few terms");
        let locals = processes.clone().map(|p| self.locals.intern(Voter::new(&self.setup, p)));
        let mut state = State {
            locals: locals.collect(),
            packets: Vec::new(),
            led: vec![None; terms],
            ended: vec![false; terms],
            crashes: self.setup.crashes,
            wipes: self.setup.wipes,
            highest: 0,
        };
        if state.crashes == 0 {
            self.forget(&mut state);
        }
        state
    }

    fn facts(&self, state: &State, process: u8) -> &Facts {
        self.locals.facts(state.locals[usize::from(process)])
    }

    fn processes(&self) -> core::ops::Range<u8> {
        0..u8::try_from(self.setup.names.len()).expect("few processes")
    }

    fn forget(&mut self, state: &mut State) {
        for process in self.processes() {
            self.one(state, process, Input::Forget);
        }
    }

    /// One step of one voter; its answer is given back, and is lost unless somebody delivers it.
    fn one(&mut self, state: &mut State, process: u8, input: Input) -> Option<Stepped> {
        let at = usize::from(process);
        let before = state.locals[at];
        let outcome = self.locals.step(process, before, input, state.crashes == 0)?;
        let nonce = self.locals.facts(before).nonce;
        for packet in &mut state.packets {
            let own = packet.from == process && packet.nonce == nonce;
            if (if packet.body.is_answer() { packet.to == process } else { own })
                && let Some(number) = packet.body.number()
            {
                let new = outcome.numbers.get(&u64::from(number)).copied().unwrap_or(0);
                packet.body = packet.body.with_number(u8::try_from(new).expect("few sends"));
            }
        }
        state.locals[at] = outcome.local;
        state.packets.extend(&outcome.sent);
        Some(Stepped {
            changed: outcome.local != before || !outcome.sent.is_empty(),
            answers: outcome.answers.clone(),
            broken: outcome.broken,
        })
    }

    // ---- What can happen --------------------------------------------------------------------

    /// Calls `visit` with every state that may come next.
    fn successors(&mut self, state: &State, mut visit: impl FnMut(&mut Self, Step, State, Broken)) {
        for ticks in self.ticks(state) {
            let mut next = state.clone();
            let mut broken = None;
            for (process, &advance) in self.processes().zip(&ticks) {
                let stepped = self.one(&mut next, process, Input::Tick(advance));
                broken = broken.or(stepped.and_then(|stepped| stepped.broken));
            }
            visit(self, Step::Ticks(ticks), next, broken);
        }
        for &packet in &state.packets {
            let to = packet.to;
            if !self.facts(state, to).up {
                continue;
            }
            let mut next = state.clone();
            if packet.body.is_answer() {
                next.packets.retain(|other| *other != packet);
            }
            let Some(stepped) = self.one(&mut next, to, Input::Receive(packet)) else { continue };
            if !stepped.changed && stepped.answers.is_empty() {
                continue;
            }
            for &answer in &stepped.answers {
                if self.setup.slow_answers {
                    next.packets.push(answer);
                    continue;
                }
                let mut heard = next.clone();
                let counts = self.one(&mut heard, answer.to, Input::Receive(answer));
                if let Some(counts) = counts.filter(|counts| counts.changed) {
                    let broken = stepped.broken.or(counts.broken);
                    visit(self, Step::Answered(to, packet), heard, broken);
                }
            }
            visit(self, Step::One(to, Input::Receive(packet)), next, stepped.broken);
            if state.crashes > 0 && self.setup.frail.contains(&to) {
                for torn in [Torn::Record, Torn::Promise] {
                    self.crash(state, to, Input::Torn(packet, torn), &mut visit);
                }
            }
        }
        for process in self.processes() {
            let facts = *self.facts(state, process);
            let mut inputs = Vec::new();
            if facts.down {
                inputs.extend(self.setup.restarts.iter().map(|&how| Input::Restart(how)));
                inputs.extend((state.wipes > 0).then_some(Input::Restart(Restart::Wiped)));
            }
            if facts.empty {
                // The wall clock is ahead of every term that there was.
                let floor = if self.setup.is(Mutation::WipedNoFloor) { 0 } else { state.highest };
                inputs.push(Input::Adopt(floor));
                inputs.extend(facts.question.map(Input::Inquire));
            }
            if facts.up && self.setup.stand.contains(&process) {
                let terms = u8::try_from(self.setup.terms).expect("few terms");
                let own = |term: &u8| self.setup.stands_in(process, *term);
                inputs.extend((facts.term + 1..=terms).filter(own).map(Input::Stand));
            }
            if facts.stands && self.setup.idle {
                inputs.push(Input::Solicit);
            }
            if facts.in_office && self.setup.shorter {
                inputs.push(Input::ShortBeat);
            }
            if facts.in_office && self.setup.idle {
                inputs.push(Input::Beat);
            }
            if facts.stands && !self.setup.in_turn {
                inputs.push(Input::GiveUp);
            }
            if facts.in_office && !self.setup.in_turn {
                inputs.push(Input::Stop);
            }
            if facts.up && self.setup.is(Mutation::ReleaseFromCopiedStore) {
                inputs.push(Input::Copy);
            }
            for input in inputs {
                let mut next = state.clone();
                let stepped = self.one(&mut next, process, input);
                match input {
                    Input::Stand(term) if self.setup.loses_disks() => {
                        next.highest = next.highest.max(term);
                    }
                    Input::Restart(Restart::Wiped) => next.wipes -= 1,
                    _ => {}
                }
                if let Some(stepped) = stepped.filter(|stepped| stepped.changed) {
                    visit(self, Step::One(process, input), next, stepped.broken);
                }
            }
            if facts.up && state.crashes > 0 && self.setup.frail.contains(&process) {
                self.crash(state, process, Input::Crash, &mut visit);
            }
        }
    }

    fn crash(
        &mut self,
        state: &State,
        process: u8,
        input: Input,
        visit: &mut impl FnMut(&mut Self, Step, State, Broken),
    ) {
        let mut next = state.clone();
        if self.one(&mut next, process, input).is_none() {
            return;
        }
        next.crashes -= 1;
        if next.crashes == 0 {
            self.forget(&mut next);
        }
        visit(self, Step::One(process, input), next, None);
    }

    /// The ways in which time may pass: by one tick, and by two for whoever's clock may be fast.
    fn ticks(&mut self, state: &State) -> Vec<Vec<u8>> {
        let last = state.crashes == 0;
        let mut all = vec![Vec::new()];
        for process in self.processes() {
            let local = state.locals[usize::from(process)];
            let mut advances = vec![1];
            if self.setup.uneven {
                let mut of = |ticks| {
                    let outcome = self.locals.step(process, local, Input::Tick(ticks), last);
                    outcome.map(|it| (it.local, it.sent.clone(), it.numbers.clone()))
                };
                if of(1) != of(2) {
                    advances.push(2);
                }
            }
            let longer = all.iter().flat_map(|ticks: &Vec<u8>| {
                advances.iter().map(move |&advance| {
                    let mut ticks = ticks.clone();
                    ticks.push(advance);
                    ticks
                })
            });
            all = longer.collect();
        }
        all
    }

    // ---- What is so -------------------------------------------------------------------------

    /// Looks at who leads, and drops what can have no effect any more.
    fn settle(&self, state: &mut State, broken: Broken) -> Broken {
        let mut broken = broken.filter(|_| self.setup.mutation.is_none());
        let mut leaders = 0;
        for process in self.processes() {
            let facts = self.facts(state, process);
            let Some(term) = facts.leads else { continue };
            leaders += 1;
            let (me, at) = ((process, facts.nonce), usize::from(term) - 1);
            if state.led[at].is_some_and(|known| known != me) {
                broken = broken.or(Some("I1"));
            } else if self.setup.mutation.is_none() {
                if state.ended[at] {
                    broken = broken.or(Some("I5"));
                } else if state.led[at].is_none() && state.led[at..].iter().any(Option::is_some) {
                    broken = broken.or(Some("I4"));
                }
                if !self.is_covered(state, process) {
                    broken = broken.or(Some("I3"));
                }
            }
            state.led[at] = Some(me);
        }
        if leaders > 1 {
            broken = broken.or(Some("I2"));
        }
        for at in 0..state.led.len() {
            if let Some((process, nonce)) = state.led[at] {
                let facts = self.facts(state, process);
                let leads = facts.nonce == nonce && facts.leads.map(usize::from) == Some(at + 1);
                state.ended[at] |= !leads;
            }
        }
        let mut packets = core::mem::take(&mut state.packets);
        packets.retain(|packet| self.matters(state, packet));
        packets.sort_unstable();
        packets.dedup();
        if self.setup.late {
            let all = packets.clone();
            packets.retain(|packet| {
                packet.body.number() != Some(0)
                    || !all.iter().any(|by| by != packet && by.with_number(0) == *packet)
            });
        }
        state.packets = packets;
        broken
    }

    fn matters(&self, state: &State, packet: &Packet) -> bool {
        let to = self.facts(state, packet.to);
        // What a voter knows it may come to forget.
        let forgets = state.wipes > 0 || to.empty || self.setup.ends_waiting();
        let from = (self.name(packet.from), u64::from(packet.nonce));
        match packet.body {
            Body::Election { term, number, .. } => {
                (self.setup.late || number > 0)
                    && (forgets
                        || to.durable < term
                        || to.durable == term && to.voted.is_none_or(|voted| voted == from))
            }
            Body::Beat { term, number, .. } => {
                (self.setup.late || number > 0) && (forgets || to.durable <= term)
            }
            Body::Release { nonce, term, dead } => {
                let frees = |promise: Option<(NodeId, u64, u64)>| {
                    promise.is_some_and(|(to, of, given)| {
                        (to, of) == (from.0, nonce.into())
                            && (given == u64::from(term) || dead && given < u64::from(term))
                    })
                };
                let foul = self.setup.is(Mutation::ReleaseWithoutTerm);
                self.setup.late || foul || frees(to.promise) || frees(to.file)
            }
            Body::Vote { number, .. } | Body::Ack { number, .. } => number > 0 && to.up,
            Body::Inquire { .. } => {
                let asker = self.facts(state, packet.from);
                asker.empty && asker.nonce == packet.nonce
            }
            Body::Report { .. } => to.empty,
        }
    }

    fn name(&self, process: u8) -> NodeId {
        id(self.setup.names[usize::from(process)])
    }

    /// I3: the promises of a quorum are to whoever leads, or are unknown.
    fn is_covered(&self, state: &State, leader: u8) -> bool {
        let holder = (self.name(leader), u64::from(self.facts(state, leader).nonce));
        let to = |promise: Option<(NodeId, u64, u64)>| {
            promise.is_some_and(|(to, nonce, _)| (to, nonce) == holder)
        };
        let covers = |&process: &u8| {
            let facts = self.facts(state, process);
            facts.abstains || to(facts.promise) || !facts.up && to(facts.file)
        };
        self.processes().filter(covers).count() >= self.setup.set().quorum()
    }

    /// The same state under the names that make it smallest.
    fn canonical(&mut self, state: State) -> State {
        if self.orders.len() == 1 {
            return state;
        }
        let mut best: Option<State> = None;
        for which in 0..self.orders.len() {
            let place = self.orders[which].clone();
            let mut renamed = state.clone();
            for (old, &new) in place.iter().enumerate() {
                let local = self.locals.rename(state.locals[old], which, &place);
                renamed.locals[usize::from(new)] = local;
            }
            if best.as_ref().is_some_and(|best| best.locals < renamed.locals) {
                continue;
            }
            for packet in &mut renamed.packets {
                packet.from = place[usize::from(packet.from)];
                packet.to = place[usize::from(packet.to)];
            }
            renamed.packets.sort_unstable();
            for (process, _) in renamed.led.iter_mut().flatten() {
                *process = place[usize::from(*process)];
            }
            if best.as_ref().is_none_or(|best| renamed < *best) {
                best = Some(renamed);
            }
        }
        best.unwrap_or(state)
    }

    // ---- Exploring --------------------------------------------------------------------------

    /// Explores breadth first, to so many steps or to the end.
    pub fn explore(mut self, most: usize) -> Found {
        let counterexample = self.setup.mutation.is_some();
        let mut seen = Seen::default();
        // The way to each state. Where states that differ in names alone are one, each step speaks of the
        // voters under the names that they have in the state before it.
        let mut ways: HashMap<u128, (u128, Step)> = HashMap::new();
        let mut first = self.first();
        self.settle(&mut first, None);
        let first = self.canonical(first);
        seen.insert(fingerprint(&first));
        let mut frontier = vec![first];
        let mut found = Found {
            states: 1,
            depth: 0,
            ended: false,
            broken: None,
            somebody_led: false,
            another_led: false,
            led_on: false,
        };
        while !frontier.is_empty() && found.depth < most {
            found.depth += 1;
            let mut next = Vec::new();
            for state in frontier {
                let from = fingerprint(&state);
                self.successors(&state, |explorer, step, mut after, broken| {
                    let broken = explorer.settle(&mut after, broken);
                    let after = explorer.canonical(after);
                    let print = fingerprint(&after);
                    if !seen.insert(print) {
                        return;
                    }
                    if matches!(step, Step::Ticks(_)) {
                        let leads = |&local: &Local| explorer.locals.facts(local).leads.is_some();
                        found.led_on |= after.locals.iter().any(leads);
                    }
                    if counterexample {
                        ways.insert(print, (from, step));
                    }
                    if let Some(what) = broken {
                        if found.broken.is_none() {
                            found.broken = Some((what, way(&ways, print)));
                        }
                        return;
                    }
                    let led = |at: usize| after.led.get(at).copied().flatten();
                    found.somebody_led |= led(0).is_some();
                    found.another_led |=
                        led(1).is_some_and(|two| led(0).is_some_and(|one| one.0 != two.0));
                    next.push(after);
                });
                if found.broken.is_some() {
                    found.states = seen.len();
                    return found;
                }
            }
            if std::env::var_os("MODEL_PROGRESS").is_some() {
                let (locals, steps) = self.locals.len();
                println!(
                    "depth {}: {} states, {locals} of voters, {steps} steps",
                    found.depth,
                    seen.len()
                );
            }
            frontier = next;
        }
        found.states = seen.len();
        found.ended = frontier.is_empty();
        found
    }
}

type Broken = Option<&'static str>;

struct Stepped {
    changed: bool,
    answers: Vec<Packet>,
    broken: Broken,
}

fn way(ways: &HashMap<u128, (u128, Step)>, to: u128) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = to;
    while let Some((from, step)) = ways.get(&at) {
        steps.push(step.clone());
        at = *from;
    }
    steps.reverse();
    steps
}
