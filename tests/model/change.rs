//! The change of voters, in a model of its own: processes of several voter-set versions at once.
//!
//! As in the rest of the model the voters are [`Core`] itself and the network does as it likes; here a process
//! may also *switch*: it starts again, on its store, with the file of the next version. Clocks are
//! exact and writes take no time, since what they add is checked without a change. Checked are I1 and I2 in
//! every state; each rule is then taken away around the untouched core, and two leaders are found.

use ringrift_p2p::election::core::{Core, Output, Renaming, Rules};
use ringrift_p2p::election::quorum::VoterSet;
use ringrift_p2p::election::record::{Promise, Restored, RestoredPromise, VoteRecord, Write};
use ringrift_wire::{Message, NodeId, VoterSetTag};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;

use crate::packet::{Body, PRIORITY, length};
use crate::setup::{NOW, id};

/// A lease in ticks.
const LEASE: u8 = 2;

/// A rule of the change that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// A process stands under v + 1 although nobody told it that v has led.
    NoEvidence,
    /// What a voter promised is forgotten when it switches.
    PromiseForgotten,
    /// Votes given under a lower version count for the first leader of a version too.
    LowerVotesCount,
    /// Who has taken part under a version promises to lower ones as well.
    WayBack,
}

/// What is explored: the set of each version from 1, and the version that each process starts with.
#[derive(Clone, Debug)]
struct Change {
    sets: Vec<Vec<u8>>,
    starts: Vec<u32>,
    /// The highest version that all know to have led at the start.
    knows: u32,
    /// Who stands.
    stand: Vec<u8>,
    /// Who switches.
    switch: Vec<u8>,
    terms: u64,
    broken: Option<Broken>,
    /// What has happened before.
    before: Vec<Step>,
}

/// One step of what has happened before.
#[derive(Clone, Debug)]
enum Step {
    Act(Action),
    /// All that is on its way from one to the other arrives.
    Hand(u8, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sent {
    from: u8,
    to: u8,
    nonce: u8,
    version: u32,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Tick,
    Deliver(Sent),
    Stand(u8),
    Solicit(u8),
    Beat(u8),
    /// Resigns, or notices that the lease has run out.
    Stop(u8),
    GiveUp(u8),
    /// Starts again with the next version.
    Switch(u8),
}

#[derive(Clone, Debug, PartialEq, Hash)]
struct Process {
    core: Core,
    nonce: u8,
    version: u32,
    disk: VoteRecord,
    file: Option<Promise>,
}

#[derive(Clone, Debug, PartialEq, Hash)]
struct State {
    processes: Vec<Process>,
    packets: Vec<Sent>,
    /// Who led each term from 1.
    led: Vec<Option<(u8, u8)>>,
    /// The versions that have led.
    versions: Vec<u32>,
    two_in_a_term: bool,
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("the model's numbers are small")
}

impl Change {
    fn new(sets: &[&[u8]], starts: &[u32]) -> Self {
        Self {
            sets: sets.iter().map(|set| set.to_vec()).collect(),
            starts: starts.to_vec(),
            knows: 0,
            stand: (0..small(starts.len() as u64)).collect(),
            switch: (0..small(starts.len() as u64)).collect(),
            terms: 2,
            broken: None,
            before: Vec::new(),
        }
    }

    fn standing(self, stand: &[u8]) -> Self {
        Self { stand: stand.to_vec(), ..self }
    }

    fn switching(self, switch: &[u8]) -> Self {
        Self { switch: switch.to_vec(), ..self }
    }

    fn knowing(self, knows: u32) -> Self {
        Self { knows, ..self }
    }

    fn terms(self, terms: u64) -> Self {
        Self { terms, ..self }
    }

    fn breaking(self, broken: Broken) -> Self {
        Self { broken: Some(broken), ..self }
    }

    /// From there on: `leader` has been elected with the votes of these.
    fn elected(mut self, leader: u8, by: &[u8]) -> Self {
        self.before.extend([Action::Stand(leader), Action::Solicit(leader)].map(Step::Act));
        for &voter in by {
            self.before.extend([Step::Hand(leader, voter), Step::Hand(voter, leader)]);
        }
        self
    }

    fn after(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        self.before.extend(actions.into_iter().map(Step::Act));
        self
    }

    fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    fn set(&self, version: u32) -> VoterSet {
        let at = usize::try_from(version - 1).expect("few versions");
        VoterSet::new(&self.sets[at].iter().map(|&n| id(n)).collect::<Vec<_>>(), version)
    }

    fn last(&self) -> u32 {
        u32::try_from(self.sets.len()).expect("few versions")
    }

    fn others(&self, process: u8, version: u32) -> Vec<NodeId> {
        self.set(version).ids().iter().copied().filter(|&other| other != id(process)).collect()
    }

    fn process(
        &self,
        me: u8,
        nonce: u8,
        version: u32,
        disk: VoteRecord,
        file: Option<Promise>,
    ) -> Process {
        let rules = Rules {
            me: id(me),
            nonce: nonce.into(),
            set: self.set(version),
            lease: length(LEASE),
            drift_ppm: 0,
        };
        let mut disk = disk;
        if self.is(Broken::NoEvidence) {
            disk.led_version = disk.led_version.max(version - 1);
        }
        let promise = RestoredPromise::Exact(file);
        let restored = Restored { record: Some(disk), promise, may_release: true };
        Process { core: Core::new(rules, restored, NOW), nonce, version, disk, file }
    }

    fn first(&self) -> State {
        let process = |(me, &version): (usize, &u32)| {
            let record = VoteRecord {
                term: 0,
                voted_for: None,
                nonce: 0,
                longest_lease: length(LEASE),
                set_version: version,
                led_version: self.knows,
                drained: false,
            };
            self.process(small(me as u64), 1, version, record, None)
        };
        let processes = self.starts.iter().enumerate().map(process).collect();
        let terms = usize::try_from(self.terms).expect("few terms");
        State {
            processes,
            packets: Vec::new(),
            led: vec![None; terms],
            versions: Vec::new(),
            two_in_a_term: false,
        }
    }

    /// One step of one process: what it writes is written, what it sends is on its way.
    fn step(&self, state: &mut State, me: u8, act: impl FnOnce(&mut Process)) {
        let mut process = state.processes[usize::from(me)].clone();
        process.core.expire(NOW);
        act(&mut process);
        self.carry_out(state, me, &mut process);
        Self::normalise(state, me, &mut process, 0);
        state.processes[usize::from(me)] = process;
    }

    fn carry_out(&self, state: &mut State, me: u8, process: &mut Process) {
        while let Some(output) = process.core.poll_output() {
            match output {
                Output::Persist { number, write } => {
                    match write {
                        Write::Record(record) => process.disk = record,
                        Write::Promise(promise) => process.file = promise,
                    }
                    process.core.persisted(number, true);
                }
                Output::Send { to, message } => {
                    let to = (0..small(self.starts.len() as u64)).find(|&other| id(other) == to);
                    if let (Some(body), Some(to)) = (Body::of(&message), to) {
                        let (nonce, version) = (process.nonce, process.version);
                        state.packets.push(Sent { from: me, to, nonce, version, body });
                    }
                }
            }
        }
    }

    fn normalise(state: &mut State, me: u8, process: &mut Process, ticks: u8) {
        let name = |name| name;
        let by = Renaming { now: NOW + length(ticks), then: NOW, pending: 0, name: &name };
        let numbers = process.core.normalise(by);
        process.file = process.file.and_then(|promise| by.promise(&promise));
        renumber(state, me, process.nonce, &numbers);
    }

    fn deliver(&self, state: &mut State, sent: Sent) {
        if sent.body.is_answer() {
            state.packets.retain(|other| *other != sent);
        }
        let to = state.processes[usize::from(sent.to)].version;
        let own = self.set(to).tag();
        // Who is no voter of the receiver's set is not heard.
        if !self.set(to).contains(id(sent.from)) {
            return;
        }
        let told = self.set(sent.version).tag();
        let lower = sent.version < to;
        let set = match sent.body {
            _ if !lower => told,
            Body::Vote { .. } | Body::Ack { .. } if self.is(Broken::LowerVotesCount) => own,
            Body::Election { .. } | Body::Beat { .. } if self.is(Broken::WayBack) => own,
            _ => told,
        };
        let (from, nonce) = (id(sent.from), u64::from(sent.nonce));
        let message = under(sent.body.message(&self.set(sent.version)), set);
        self.step(state, sent.to, |process| {
            let core = &mut process.core;
            match &message {
                Message::Election(asked) => drop(core.vote(NOW, from, nonce, asked)),
                Message::Answer(answer) => drop(core.on_answer(NOW, from, answer)),
                Message::Coordinator(beat) => {
                    let _refused = core.acknowledge(NOW, from, nonce, beat, PRIORITY);
                }
                Message::Acknowledge(answer) => drop(core.on_acknowledge(from, answer)),
                Message::Release(release) => drop(core.release(NOW, from, release)),
                _ => {}
            }
        });
    }

    fn switch(&self, state: &mut State, me: u8) {
        let old = state.processes[usize::from(me)].clone();
        let file = old.file.filter(|_| !self.is(Broken::PromiseForgotten));
        let mut disk = old.disk;
        if self.is(Broken::WayBack) {
            disk.set_version = 1;
        }
        renumber(state, me, old.nonce, &BTreeMap::new());
        let mut new = self.process(me, old.nonce + 1, old.version + 1, disk, file);
        self.carry_out(state, me, &mut new);
        Self::normalise(state, me, &mut new, 0);
        state.processes[usize::from(me)] = new;
    }

    fn tick(&self, state: &mut State) {
        for me in 0..small(state.processes.len() as u64) {
            let mut process = state.processes[usize::from(me)].clone();
            Self::normalise(state, me, &mut process, 1);
            state.processes[usize::from(me)] = process;
            self.step(state, me, |_| {});
        }
    }

    fn settle(&self, state: &mut State) {
        for (me, process) in (0..).zip(&state.processes) {
            let Some(term) = process.core.leading_term().filter(|_| process.core.leads(NOW)) else {
                continue;
            };
            let led = &mut state.led[usize::from(small(term)) - 1];
            let who = (me, process.nonce);
            state.two_in_a_term |= led.is_some_and(|known| known != who);
            *led = Some(who);
            if !state.versions.contains(&process.version) {
                state.versions.push(process.version);
                state.versions.sort_unstable();
            }
        }
        let mut packets = std::mem::take(&mut state.packets);
        packets.retain(|sent| {
            let disk = state.processes[usize::from(sent.to)].disk;
            match sent.body {
                Body::Vote { number, .. } | Body::Ack { number, .. } => number != 0,
                Body::Election { term, .. } | Body::Beat { term, .. } => disk.term <= term.into(),
                _ => true,
            }
        });
        // Of two like requests one whose answer still counts can do all that the other can.
        let covered = |sent: &Sent, by: &Sent| {
            sent.body.number() == Some(0)
                && by.body.number().is_some_and(|number| number > 0)
                && Sent { body: by.body.with_number(0), ..*by } == *sent
        };
        let all = packets.clone();
        packets.retain(|sent| !all.iter().any(|by| covered(sent, by)));
        packets.sort_unstable();
        packets.dedup();
        state.packets = packets;
    }

    fn act(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.tick(state),
            Action::Deliver(sent) => self.deliver(state, sent),
            Action::Stand(me) => {
                let mut stood = None;
                self.step(state, me, |process| stood = process.core.stand(NOW, 0));
                stood.filter(|&term| term <= self.terms)?;
            }
            Action::Solicit(me) => self.step(state, me, |process| {
                process.core.solicit(NOW, &self.others(me, process.version), PRIORITY);
            }),
            Action::Beat(me) => self.step(state, me, |process| {
                process.core.beat(NOW, &self.others(me, process.version));
            }),
            Action::Stop(me) => self.step(state, me, |process| {
                process.core.resign();
            }),
            Action::GiveUp(me) => self.step(state, me, |process| {
                process.core.give_up(NOW);
            }),
            Action::Switch(me) => self.switch(state, me),
        }
        self.settle(state);
        Some(())
    }
}

/// The number of a send of that process became another, or its answers no longer count.
fn renumber(state: &mut State, process: u8, nonce: u8, numbers: &BTreeMap<u64, u64>) {
    for sent in &mut state.packets {
        let own = sent.from == process && !sent.body.is_answer() && sent.nonce == nonce;
        let answer = sent.to == process && sent.body.is_answer();
        if (own || answer)
            && let Some(number) = sent.body.number()
        {
            let new = numbers.get(&number.into()).copied().unwrap_or(0);
            sent.body = sent.body.with_number(small(new));
        }
    }
}

/// The message as if it had been sent under that set.
fn under(message: Message, set: VoterSetTag) -> Message {
    match message {
        Message::Election(asked) => Message::Election(ringrift_wire::Election { set, ..asked }),
        Message::Answer(answer) => Message::Answer(ringrift_wire::Answer { set, ..answer }),
        Message::Coordinator(beat) => {
            Message::Coordinator(ringrift_wire::Coordinator { set, ..beat })
        }
        Message::Acknowledge(it) => Message::Acknowledge(ringrift_wire::Acknowledge { set, ..it }),
        other => other,
    }
}

impl Model for Change {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = self.first();
        for step in &self.before {
            match step {
                Step::Act(action) => {
                    self.act(&mut state, action.clone()).expect("it could happen");
                }
                Step::Hand(from, to) => {
                    let on_the_way = |sent: &&Sent| (sent.from, sent.to) == (*from, *to);
                    let sent: Vec<Sent> =
                        state.packets.iter().filter(on_the_way).copied().collect();
                    assert!(!sent.is_empty(), "nothing goes from {from} to {to}");
                    for sent in sent {
                        self.act(&mut state, Action::Deliver(sent)).expect("it can arrive");
                    }
                }
            }
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        actions.extend(state.packets.iter().copied().map(Action::Deliver));
        for (me, process) in (0..).zip(&state.processes) {
            let core = &process.core;
            let voter = self.set(process.version).contains(id(me));
            if voter && self.stand.contains(&me) && core.record().term < self.terms {
                actions.push(Action::Stand(me));
            }
            if core.is_open() {
                actions.push(Action::Solicit(me));
            }
            if core.is_candidate() {
                actions.push(Action::GiveUp(me));
            }
            if core.leading_term().is_some() {
                actions.extend([Action::Beat(me), Action::Stop(me)]);
            }
            if process.version < self.last() && self.switch.contains(&me) {
                actions.push(Action::Switch(me));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = before.clone();
        self.act(&mut after, action)?;
        (*before != after).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("I1", |_, state: &State| !state.two_in_a_term),
            Property::always("I2", |_, state: &State| {
                state.processes.iter().filter(|process| process.core.leads(NOW)).count() <= 1
            }),
            Property::sometimes("every version leads", |change: &Self, state: &State| {
                state.versions.len() == change.sets.len()
            }),
        ]
    }
}

/// Explores to that depth; 0 is without an end.
fn explore(what: &str, change: Change, depth: usize) {
    let began = std::time::Instant::now();
    let mut builder = change.checker().threads(2);
    if depth > 0 {
        builder = builder.target_max_depth(depth);
    }
    let checker = builder.spawn_bfs().join();
    let (states, deepest) = (checker.unique_state_count(), checker.max_depth());
    println!("{what}: {states} states, depth {deepest}, {:?}", began.elapsed());
    for invariant in ["I1", "I2"] {
        if let Some(path) = checker.discovery(invariant) {
            panic!("{what}: {invariant} does not hold after {:#?}", path.into_actions());
        }
    }
    if depth == 0 {
        assert!(checker.discovery("every version leads").is_some(), "{what}: a version never led");
    }
}

fn explore_bounded(what: &str, change: Change) {
    let depth = std::env::var("MODEL_DEPTH").ok().and_then(|depth| depth.parse().ok());
    explore(what, change, depth.unwrap_or(crate::DEPTH));
}

fn counterexample(what: &str, change: Change, depth: usize) {
    let began = std::time::Instant::now();
    let checker = change
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_max_depth(depth)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().find(|(name, _)| name.starts_with('I'));
    let Some((invariant, path)) = found else {
        panic!("{what} survives {states} states to depth {}", checker.max_depth());
    };
    let actions = path.into_actions();
    println!(
        "{what} breaks {invariant} in {} steps, {states} states, {:?}:",
        actions.len(),
        began.elapsed()
    );
    actions.iter().for_each(|action| println!("  {action:?}"));
}

const A: &[u8] = &[0];
const AB: &[u8] = &[0, 1];
const ABC: &[u8] = &[0, 1, 2];
const BC: &[u8] = &[1, 2];
const ABCD: &[u8] = &[0, 1, 2, 3];
const ABCDE: &[u8] = &[0, 1, 2, 3, 4];

/// `a` of three voters leads version 1 with the vote of `b`, and the last of the voters of version 2, who
/// know that version 1 has led, stands.
fn added(two: &[u8]) -> Change {
    let last = two.last().copied().unwrap_or(0);
    let starts = [1, 1, 1, 2, 2];
    Change::new(&[ABC, two], &starts[..two.len()]).knowing(1).elected(0, &[1]).standing(&[last])
}

/// Three voters of version 1, one more in each of the next: `c` is elected in term 1 under version 2 by
/// these, gives that up, and goes on to version 3, where `d` and `e` elect it.
fn c_goes_on(starts: &[u32], by: &[u8], broken: Option<Broken>) -> Change {
    let change = Change::new(&[ABC, ABCD, ABCDE], starts).knowing(1).terms(3);
    let mut change = Change { broken, ..change }.elected(2, by).after([Action::Stop(2)]);
    change.before.extend([Step::Hand(2, 0), Step::Hand(2, 1)]);
    let d = (starts[3] == 2).then_some(Action::Switch(3));
    let change = change.after([Action::Switch(2)]).after(d);
    change.elected(2, &[3, 4]).standing(&[0]).switching(&[])
}

#[test]
fn one_voter_becomes_two() {
    explore_bounded("one voter, then two", Change::new(&[A, AB], &[1, 2]).terms(3));
}

#[test]
fn two_voters_become_three() {
    explore_bounded("two voters, then three", Change::new(&[AB, ABC], &[1, 1, 2]));
}

#[test]
fn three_voters_become_two() {
    explore_bounded("three voters, then two", Change::new(&[ABC, BC], &[1, 1, 1]));
}

#[test]
fn one_becomes_two_becomes_three() {
    explore_bounded("one, two, three voters", Change::new(&[A, AB, ABC], &[1, 2, 3]).terms(3));
}

#[test]
fn three_become_five_under_a_leader() {
    let change = Change::new(&[ABC, ABCD, ABCDE], &[1, 1, 1, 2, 3]).elected(0, &[1]);
    explore_bounded("three, four, five voters", change.terms(3).standing(&[0, 3, 4]));
}

#[test]
fn one_voter_is_added_under_a_leader() {
    explore_bounded("a fourth voter", added(ABCD));
}

#[test]
fn mutation_two_voters_changed_at_once() {
    let one = added(ABCD).after([Action::Switch(2)]).switching(&[]);
    explore("one at a time", one, 7);
    counterexample("two at once", added(ABCDE).after([Action::Switch(2)]).switching(&[]), 9);
}

#[test]
fn mutation_change_without_evidence() {
    let change = Change::new(&[ABC, ABCD, ABCDE], &[1, 1, 1, 3, 3]).elected(0, &[1]);
    let change = change.after([Action::Switch(2), Action::Switch(2)]).standing(&[4]).switching(&[]);
    explore("the same with evidence", change.clone(), 7);
    counterexample("without evidence", change.breaking(Broken::NoEvidence), 9);
}

#[test]
fn mutation_promise_forgotten_at_the_switch() {
    let change = |broken| {
        let change = Change { broken, ..added(ABCD) };
        change.after([Action::Switch(1), Action::Switch(2)]).switching(&[])
    };
    explore("the same with promises", change(None), 7);
    counterexample("promise forgotten", change(Some(Broken::PromiseForgotten)), 9);
}

#[test]
fn mutation_votes_of_a_lower_version_count_for_the_first_leader() {
    let starts = [1, 1, 2, 3, 3];
    let elected = Change::new(&[ABC, ABCD, ABCDE], &starts).knowing(1).elected(2, &[0, 1]);
    let leads = |change: &Change| change.init_states()[0].processes[2].core.leads(NOW);
    assert!(!leads(&elected), "two of its three votes are of version 1");
    assert!(leads(&Change { broken: Some(Broken::LowerVotesCount), ..elected }));
    // `a` and `b` are free to elect one of them under version 1 while `c`, `d` and `e` go on.
    let change = c_goes_on(&starts, &[0, 1], Some(Broken::LowerVotesCount));
    counterexample("votes of a lower version", change, 7);
}

#[test]
fn mutation_a_way_back() {
    let starts = [1, 2, 2, 2, 3];
    let change = |broken| c_goes_on(&starts, &[1, 3], broken);
    explore("no way back", change(None), 6);
    counterexample("a way back", change(Some(Broken::WayBack)), 7);
}
