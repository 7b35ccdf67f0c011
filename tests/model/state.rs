//! A state of the whole cluster.

use core::fmt;
use core::hash::{Hash, Hasher};
use std::collections::hash_map::DefaultHasher;
use std::sync::Arc;

use crate::packet::Packet;
use crate::setup::Setup;
use crate::voter::Voter;

/// A value that is shared between states and hashed once.
pub struct Shared<T>(Arc<(T, u64)>);

impl<T: Hash> Shared<T> {
    /// Shares the value.
    pub fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(Arc::new((value, hasher.finish())))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> core::ops::Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.0
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.1 == other.0.1 && self.0.0 == other.0.0
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0.1);
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.0.fmt(f)
    }
}

/// Who led a term: a process and its nonce.
pub type Leader = (u8, u8);

/// Everything that two moments are compared by.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct State {
    pub voters: Vec<Shared<Voter>>,
    /// What is on its way, sorted. A request stays: it may be delivered again at any later time.
    pub packets: Vec<Packet>,
    /// Who was seen to lead each term from 1.
    pub led: Vec<Option<Leader>>,
    /// Whether that ended.
    pub ended: Vec<bool>,
    /// The highest term that anybody stood in; kept where disks are lost.
    pub highest: u8,
    pub deviations: u8,
    pub crashes: u8,
    pub wipes: u8,
    pub failures: u8,
    /// An invariant that a step has broken.
    pub broken: Option<&'static str>,
}

impl State {
    pub fn new(setup: &Setup) -> Self {
        let processes = 0..u8::try_from(setup.names.len()).expect("few processes");
        let terms = usize::try_from(setup.terms).expect("few terms");
        Self {
            voters: processes.map(|process| Shared::new(Voter::new(setup, process))).collect(),
            packets: Vec::new(),
            led: vec![None; terms],
            ended: vec![false; terms],
            highest: 0,
            deviations: setup.deviations,
            crashes: setup.crashes,
            wipes: setup.wipes,
            failures: setup.failures,
            broken: None,
        }
    }

    pub fn voter(&self, process: u8) -> &Voter {
        &self.voters[usize::from(process)]
    }

    pub fn set(&mut self, process: u8, voter: Voter) {
        self.voters[usize::from(process)] = Shared::new(voter);
    }

    pub fn processes(&self) -> impl Iterator<Item = u8> + use<> {
        0..u8::try_from(self.voters.len()).expect("few processes")
    }

    /// How many processes lead at this very moment.
    pub fn leaders(&self) -> usize {
        self.voters.iter().filter(|voter| voter.leads().is_some()).count()
    }
}
