//! The states of single voters, each met once, and their steps, each taken once.
//!
//! A step of one voter depends on nothing but its own state and what happens to it. So the production
//! core runs once for each pair of the two, and a state of the whole cluster is a few small numbers.

use ringrift_p2p::election::core::Core;
use ringrift_p2p::election::record::RestoredPromise;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::packet::{Body, PRIORITY, Packet, length};
use crate::setup::{Mutation, NOW, Restart, Setup, id};
use crate::voter::{Effects, Torn, Voter};

/// A voter's state, as an index into those met.
pub type Local = u32;

/// What happens to one voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// So much time passes by its clock.
    Tick(u8),
    Receive(Packet),
    /// Stands in that term.
    Stand(u8),
    /// Asks for votes again.
    Solicit,
    /// Sends a heartbeat.
    Beat,
    /// Sends a heartbeat that asks for the shortest promise, and whose answers do not count.
    ShortBeat,
    GiveUp,
    Stop,
    Crash,
    /// Crashes while it writes what this asks for.
    Torn(Packet, Torn),
    Restart(Restart),
    /// A copy of its store is started elsewhere, and believed.
    Copy,
    /// With an empty store, asks: 0 before the end of its wait, 1 after.
    Inquire(u8),
    /// With an empty store, takes its first record by a wall clock that shows this.
    Adopt(u8),
    /// Nobody crashes any more: what its stores say will not be read.
    Forget,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub local: Local,
    /// The requests and releases that left.
    pub sent: Vec<Packet>,
    /// The vote or acknowledgement that left, to each process of the name.
    pub answers: Vec<Packet>,
    /// The new numbers of its sends; answers to all others no longer count.
    pub numbers: BTreeMap<u64, u64>,
    pub broken: Option<&'static str>,
}

/// What others need to know of a state.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub nonce: u8,
    pub up: bool,
    /// Down, and may start again.
    pub down: bool,
    /// The term that it leads now.
    pub leads: Option<u8>,
    /// The term that it is in.
    pub term: u8,
    /// The term of its durable record.
    pub durable: u8,
    /// For whom that was given: name and nonce.
    pub voted: Option<(NodeId, u64)>,
    pub stands: bool,
    /// In office, its lease perhaps run out.
    pub in_office: bool,
    /// To whom its promise runs: name, nonce and term.
    pub promise: Option<(NodeId, u64, u64)>,
    /// The same of its file.
    pub file: Option<(NodeId, u64, u64)>,
    /// Its store is empty.
    pub empty: bool,
    /// The question that it has not asked yet: 0 before the end of its wait, 1 after.
    pub question: Option<u8>,
    /// Covers every lease: it votes for nobody.
    pub abstains: bool,
}

/// All that was met of single voters.
pub struct Locals {
    setup: Setup,
    voters: Vec<Arc<Voter>>,
    facts: Vec<Facts>,
    known: HashMap<Arc<Voter>, Local>,
    steps: HashMap<(u8, Local, Input, bool), Option<Arc<Outcome>>>,
    renamed: HashMap<(Local, usize), Local>,
}

impl Locals {
    pub fn new(setup: &Setup) -> Self {
        Self {
            setup: setup.clone(),
            voters: Vec::new(),
            facts: Vec::new(),
            known: HashMap::new(),
            steps: HashMap::new(),
            renamed: HashMap::new(),
        }
    }

    /// How many states and steps were met.
    pub fn len(&self) -> (usize, usize) {
        (self.voters.len(), self.steps.len())
    }

    pub fn facts(&self, local: Local) -> &Facts {
        &self.facts[local as usize]
    }

    pub fn intern(&mut self, voter: Voter) -> Local {
        if let Some(&local) = self.known.get(&voter) {
            return local;
        }
        let local = Local::try_from(self.voters.len()).expect("fewer than 2^32 voters' states");
        let voter = Arc::new(voter);
        self.facts.push(facts(&self.setup, &voter));
        self.voters.push(Arc::clone(&voter));
        self.known.insert(voter, local);
        local
    }

    /// The state under other names: `place` says where each process goes.
    pub fn rename(&mut self, local: Local, which: usize, place: &[u8]) -> Local {
        if let Some(&renamed) = self.renamed.get(&(local, which)) {
            return renamed;
        }
        let voters = self.setup.voters;
        let name = |old: NodeId| {
            let index = (0..voters).find(|&index| id(index) == old);
            index.map_or(old, |index| id(place[usize::from(index)]))
        };
        let mut voter = Voter::clone(&self.voters[local as usize]);
        voter.normalise(&self.setup, 0, &name);
        let renamed = self.intern(voter);
        self.renamed.insert((local, which), renamed);
        renamed
    }

    /// What comes of that; `None` where it cannot happen. `last` says that nobody crashes any more.
    pub fn step(
        &mut self,
        process: u8,
        local: Local,
        input: Input,
        last: bool,
    ) -> Option<Arc<Outcome>> {
        let key = (process, local, input, last);
        if let Some(known) = self.steps.get(&key) {
            return known.clone();
        }
        let voter = Voter::clone(&self.voters[local as usize]);
        let outcome = self.take(process, voter, input, last).map(Arc::new);
        self.steps.insert(key, outcome.clone());
        outcome
    }

    fn take(&mut self, process: u8, before: Voter, input: Input, last: bool) -> Option<Outcome> {
        let setup = self.setup.clone();
        let mut voter = before;
        let mut effects = Effects::default();
        let mut numbers: BTreeMap<u64, u64> =
            (0..=u64::from(voter.last)).map(|number| (number, number)).collect();
        let term = voter.leads();
        if let Input::Tick(ticks) = input {
            numbers = after(&numbers, &voter.normalise(&setup, ticks, &|name| name));
        }
        voter.core.iter_mut().for_each(|core| {
            core.expire(NOW);
        });
        match input {
            Input::Tick(_) if setup.ends_waiting() && voter.nonce > 1 => voter.end_waiting(),
            Input::Tick(_) if setup.idle => {}
            Input::Tick(_) => renew(&mut voter, &setup, process),
            Input::Solicit => {
                let others: Vec<NodeId> = setup.others(process).collect();
                voter.core.as_mut()?.solicit(NOW, &others, PRIORITY)?;
            }
            Input::Beat => {
                let others: Vec<NodeId> = setup.others(process).collect();
                voter.core.as_mut()?.beat(NOW, &others)?;
            }
            Input::Receive(packet) => {
                voter.receive(&setup, process, packet, &mut effects);
                if !setup.idle && voter.leads().is_some() && voter.leads() != term {
                    renew(&mut voter, &setup, process);
                }
            }
            Input::Stand(term) => {
                voter.core.as_mut()?.stand(NOW, u64::from(term) - 1)?;
                voter.carry_out(&setup, process, &mut effects);
                if !setup.idle {
                    renew(&mut voter, &setup, process);
                }
            }
            Input::ShortBeat => {
                let (term, nonce) = (voter.leads()?, voter.nonce);
                let body = Body::Beat { term, number: 0, lease: 1 };
                let others = (0..setup.voters).filter(|&to| to != process);
                effects.sent.extend(others.map(|to| Packet { from: process, to, nonce, body }));
            }
            Input::GiveUp => {
                let kept = voter.core.clone();
                let core = voter.core.as_mut()?;
                let leads = core.leading_term().is_some();
                let term = core.give_up(NOW)?;
                if leads && setup.is(Mutation::ReleaseAfterFailedReelection) {
                    let (nonce, term) = (voter.nonce, u8::try_from(term).expect("few terms"));
                    let body = Body::Release { nonce, term, dead: false };
                    let others = (0..setup.voters).filter(|&to| to != process);
                    effects.sent.extend(others.map(|to| Packet { from: process, to, nonce, body }));
                }
                voter.carry_out(&setup, process, &mut effects);
                if !leads && setup.is(Mutation::LateVotes) {
                    voter.core = kept;
                }
            }
            Input::Stop => {
                let kept = voter.core.clone();
                voter.core.as_mut()?.resign()?;
                voter.carry_out(&setup, process, &mut effects);
                if setup.is(Mutation::ResumeAfterRelease) {
                    voter.core = kept;
                }
            }
            Input::Crash => voter.crash(Torn::All),
            Input::Torn(packet, torn) => voter = voter.torn(&setup, process, packet, torn)?,
            Input::Restart(how) => voter.restart(&setup, process, how),
            Input::Copy => {
                let mut copy = Voter { core: voter.copied(&setup, process), ..voter.clone() };
                copy.carry_out(&setup, process, &mut effects);
            }
            Input::Inquire(which) => {
                voter.asked[usize::from(which)] = true;
                let genesis = voter.core.as_mut()?.genesis_mut()?;
                genesis.asked(NOW, u64::from(which) + 1);
                let (nonce, body) = (voter.nonce, Body::Inquire { number: which + 1 });
                for to in setup.others(process).flat_map(|to| setup.processes(to)) {
                    effects.sent.push(Packet { from: process, to, nonce, body });
                }
            }
            Input::Adopt(floor) => {
                let term = voter.core.as_mut()?.adopt(NOW, floor.into())?;
                if setup.is(Mutation::WipedVotesInAdopted) {
                    voter.take_record(&setup, process, term.saturating_sub(1));
                }
            }
            Input::Forget => {}
        }
        voter.carry_out(&setup, process, &mut effects);
        if voter.core.is_none() {
            numbers.clear();
        }
        let renumbered = voter.normalise(&setup, 0, &|name| name);
        if last && voter.core.is_some() {
            voter.file = RestoredPromise::Exact(None);
        }
        let new = |packet: Packet| match packet.body.number() {
            Some(number) if !packet.body.is_answer() => {
                let number = renumbered.get(&u64::from(number)).copied().unwrap_or(0);
                let number = u8::try_from(number).expect("few sends");
                Packet { body: packet.body.with_number(number), ..packet }
            }
            _ => packet,
        };
        let (answers, sent): (Vec<Packet>, Vec<Packet>) =
            effects.sent.into_iter().map(new).partition(|packet| packet.body.is_answer());
        Some(Outcome {
            local: self.intern(voter),
            sent,
            answers,
            numbers: after(&numbers, &renumbered),
            broken: effects.broken,
        })
    }
}

/// Whoever stands asks again, and whoever leads sends a heartbeat.
fn renew(voter: &mut Voter, setup: &Setup, process: u8) {
    let Some(core) = &mut voter.core else { return };
    let others: Vec<NodeId> = setup.others(process).collect();
    core.beat(NOW, &others);
    core.solicit(NOW, &others, PRIORITY);
}

/// Of old numbers those after the second renumbering.
fn after(first: &BTreeMap<u64, u64>, second: &BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    first.iter().filter_map(|(old, new)| Some((*old, *second.get(new)?))).collect()
}

fn facts(setup: &Setup, voter: &Voter) -> Facts {
    let small = |number: u64| u8::try_from(number).expect("few terms");
    let to = |promise: &ringrift_p2p::election::record::Promise| {
        (promise.to, promise.nonce, promise.term)
    };
    let core: Option<&Core> = voter.core.as_ref();
    let record = voter.disk.as_ref().or_else(|| core.map(Core::record));
    let (file, unknown) = match voter.file {
        RestoredPromise::Exact(promise) => (promise.filter(|p| p.until > NOW), false),
        RestoredPromise::Unknown { .. } => (None, true),
    };
    // All of one name have one lease, so that of the longest is that of whoever waits.
    let question = core.and_then(Core::genesis).and_then(|genesis| {
        let ended = genesis.wait_ends(length(setup.longest())) <= NOW;
        (!voter.asked[usize::from(ended)]).then_some(u8::from(ended))
    });
    Facts {
        empty: core.is_some_and(|core| core.genesis().is_some()),
        question,
        nonce: voter.nonce,
        up: core.is_some(),
        down: core.is_none() && voter.died.is_some(),
        leads: voter.leads(),
        term: core.map(Core::record).or(record).map_or(0, |record| small(record.term)),
        durable: record.map_or(0, |record| small(record.term)),
        voted: record.and_then(|record| Some((record.voted_for?, record.nonce))),
        stands: core.is_some_and(|core| core.tally().is_some()),
        in_office: core.is_some_and(|core| core.leading_term().is_some()),
        promise: core.and_then(|core| core.promise(NOW)).as_ref().map(to),
        file: file.as_ref().map(to),
        abstains: match core {
            None => unknown,
            Some(core) => core.abstains_until(NOW).is_some() || core.genesis().is_some(),
        },
    }
}
