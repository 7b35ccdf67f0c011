//! What decides safety, and nothing else: votes, promises, leases, the record.
//!
//! Decides who may be voted for and acknowledged, when a vote may leave the node, who has won, and
//! until when a leader leads. Does not decide when to try, in which order, or what to tell people: that
//! is [`super::Machine`]'s, and nothing it does can break what is stated here.
//!
//! Invariants (by their numbers in the protocol)
//! - I1, I4: one vote per term, durable before it leaves; the term never falls.
//! - I2, I3: while a promise runs, neither vote nor acknowledgement goes to any other process,
//!   whatever the term; a lease is counted from sends, and a promise from arrivals.
//! - I5: whoever released a term counts no late answer for it.
//! - All of them while voters are added and removed: see [`change`].

pub mod change;
mod lead;
mod normal;
mod vote;

pub use lead::Counted;
pub use normal::Renaming;
pub(super) use vote::MAX_LEASE_RATIO;

use core::time::Duration;
use ringrift_wire::{Inquire, Message, NodeId, Record, Report};
use std::collections::{BTreeMap, VecDeque};

use super::ballot::Tally;
use super::genesis::{Electorate, Genesis};
use super::lease::{self, Sends, Span};
use super::quorum::VoterSet;
use super::record::{Promise, Restored, RestoredPromise, VoteRecord, Write};
use crate::time::Instant;

/// The most answers that wait for the disk; the oldest is dropped first.
const MAX_HELD: usize = 64;

/// What the core must be told once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// This voter.
    pub me: NodeId,
    /// This process start.
    pub nonce: u64,
    /// The configured voters.
    pub set: VoterSet,
    /// L.
    pub lease: Duration,
    /// Rho in parts per million.
    pub drift_ppm: u32,
}

/// What the core wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Write this; answered by [`Core::persisted`].
    Persist {
        /// Echoed by the answer.
        number: u64,
        /// What.
        write: Write,
    },
    /// Send this to that voter.
    Send {
        /// Which voter.
        to: NodeId,
        /// What.
        message: Message,
    },
}

/// The one value that says whether this voter stands or leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    Follower,
    Candidate(Candidacy),
    Leader(Leading),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Candidacy {
    tally: Tally,
    /// Its own vote is durable: ELECTION may leave.
    open: bool,
}

impl Candidacy {
    const fn new(term: u64) -> Self {
        Self { tally: Tally::new(term), open: false }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leading {
    term: u64,
    acknowledged: BTreeMap<NodeId, Span>,
    reelection: Option<Candidacy>,
}

/// An answer that waits for a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    needs: [Option<u64>; 2],
    to: NodeId,
    message: Message,
}

/// The safety of one voter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    rules: Rules,
    record: VoteRecord,
    /// Present while the store is empty: no vote and no acknowledgement.
    genesis: Option<Genesis>,
    promise: Option<Promise>,
    /// The last moment at which a forgotten promise can have been given.
    forgot_until: Option<Instant>,
    role: Role,
    sends: Sends,
    number: u64,
    writes: u64,
    /// The newest write of the record, and whether it is durable.
    record_write: Option<u64>,
    /// That write has not ended yet.
    is_writing: bool,
    store_works: bool,
    held: VecDeque<Held>,
    /// The processes of others that were new when this voter was.
    met_as_new: BTreeMap<NodeId, u64>,
    /// The last term that each voter's process released.
    released: BTreeMap<NodeId, (u64, u64)>,
    outputs: VecDeque<Output>,
}

impl Core {
    /// A voter as its stores describe it, at the start of its process.
    ///
    /// A predecessor that is known to be dead is released at once: its promise to itself is void,
    /// and the other voters are told.
    #[must_use]
    pub fn new(rules: Rules, restored: Restored, now: Instant) -> Self {
        let empty = VoteRecord {
            term: 0,
            voted_for: None,
            nonce: 0,
            longest_lease: rules.lease,
            set_version: rules.set.tag().version,
            led_version: 0,
            drained: false,
        };
        let record = restored.record.unwrap_or(empty);
        let own = |promise: &Promise| promise.to == rules.me;
        let (promise, forgot_until) = match restored.promise {
            // The file does not follow a leader's own heartbeats, so where the predecessor may
            // still live its promise to itself is as good as unknown.
            RestoredPromise::Exact(Some(p)) if own(&p) && !restored.may_release => {
                (None, Some(now))
            }
            RestoredPromise::Exact(p) => (p.filter(|p| !own(p)), None),
            RestoredPromise::Unknown { last_possible } => (None, Some(last_possible)),
        };
        let genesis = restored.record.is_none().then(|| Genesis::new(now));
        let first_number = rules.nonce & 0xffff_ffff;
        let mut core = Self {
            record: VoteRecord { longest_lease: record.longest_lease.max(rules.lease), ..record },
            genesis,
            promise,
            forgot_until,
            role: Role::Follower,
            sends: Sends::default(),
            number: first_number,
            writes: 0,
            record_write: None,
            is_writing: false,
            store_works: true,
            held: VecDeque::new(),
            met_as_new: BTreeMap::new(),
            released: BTreeMap::new(),
            outputs: VecDeque::new(),
            rules,
        };
        if core.record.longest_lease > record.longest_lease {
            core.write_record();
        }
        if restored.may_release && record.voted_for == Some(core.rules.me) {
            core.send_release(record.nonce, record.term, true);
        }
        core
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    // ---- What is so -------------------------------------------------------------------------

    /// The durable record, as it is or is about to be.
    #[must_use]
    pub const fn record(&self) -> &VoteRecord {
        &self.record
    }

    /// The state of an empty store; `None` once there is a record.
    #[must_use]
    pub const fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// Whether the last write reached the disk.
    #[must_use]
    pub const fn store_works(&self) -> bool {
        self.store_works
    }

    /// Until when votes are refused because promises were forgotten.
    #[must_use]
    pub fn abstains_until(&self, now: Instant) -> Option<Instant> {
        let until = self.forgot_until? + self.record.longest_lease;
        (now < until).then_some(until)
    }

    /// The promise that runs, to whomever.
    #[must_use]
    pub fn promise(&self, now: Instant) -> Option<Promise> {
        self.promise.filter(|promise| now < promise.until)
    }

    /// Until when nobody else but `(asker, nonce)` can get this vote; now when it is free.
    #[must_use]
    pub fn free_at(&self, now: Instant, asker: NodeId, nonce: u64) -> Instant {
        let other = |p: &Promise| (p.to, p.nonce) != (asker, nonce);
        let promised = self.promise(now).filter(other).map_or(now, |p| p.until);
        promised.max(self.abstains_until(now).unwrap_or(now))
    }

    /// The end of the lease and the send that it rests on; `None` when this node does not lead.
    ///
    /// Whether it leads at a moment is `moment < end`, asked at the moment of use.
    #[must_use]
    pub fn lease(&self) -> Option<(Instant, Instant)> {
        let Role::Leader(leading) = &self.role else { return None };
        let quorum = self.rules.set.quorum();
        lease::lease_end(&leading.acknowledged, quorum, self.rules.drift_ppm)
    }

    /// Whether this node leads at `now`.
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.lease().is_some_and(|(end, _)| now < end)
    }

    /// The term that this node leads, lease or not, until [`Core::expire`] has looked.
    #[must_use]
    pub const fn leading_term(&self) -> Option<u64> {
        match &self.role {
            Role::Leader(leading) => Some(leading.term),
            Role::Follower | Role::Candidate(_) => None,
        }
    }

    /// The votes of the election that this node stands in, re-elections included.
    #[must_use]
    pub const fn tally(&self) -> Option<&Tally> {
        match &self.role {
            Role::Candidate(candidacy) => Some(&candidacy.tally),
            Role::Leader(Leading { reelection: Some(candidacy), .. }) => Some(&candidacy.tally),
            Role::Leader(_) | Role::Follower => None,
        }
    }

    /// Whether this node stands without leading.
    #[must_use]
    pub const fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate(_))
    }

    // ---- The empty store --------------------------------------------------------------------

    /// The state of an empty store, to feed with what others say.
    pub const fn genesis_mut(&mut self) -> Option<&mut Genesis> {
        self.genesis.as_mut()
    }

    /// A voter answers what its store says.
    pub fn on_report(&mut self, from: NodeId, nonce: u64, report: &Report) {
        let Some(genesis) = &mut self.genesis else { return };
        let same = report.set == self.rules.set.tag();
        if genesis.on_report(from, report, same) && same && report.record.is_none() {
            self.met_as_new.insert(from, nonce);
        }
    }

    /// Takes the first record once the rules of an empty store allow it. Returns its term.
    pub fn adopt(&mut self, now: Instant, unix_now: u64) -> Option<u64> {
        let others = self.rules.set.ids().iter().copied().filter(|&id| id != self.rules.me);
        let genesis = self.genesis.as_ref()?;
        let quorum = self.rules.set.quorum();
        let version = self.rules.set.tag().version;
        let asked = Electorate { others, quorum, version };
        let first = genesis.first_record(now, self.rules.lease, asked, unix_now)?;
        let longest_lease = genesis.longest_lease(self.rules.lease);
        // Nothing is promised below the version of the file: what that store had promised is lost.
        self.record = VoteRecord {
            term: first.term,
            longest_lease,
            led_version: first.led_version,
            set_version: self.rules.set.tag().version,
            ..self.record
        };
        self.genesis = None;
        // Whatever was forgotten ended before the wait did, or was never given.
        self.forgot_until = None;
        self.write_record();
        Some(first.term)
    }

    /// A voter with an empty store asks what this one's says.
    pub fn report(&mut self, from: NodeId, nonce: u64, asked: &Inquire) -> Report {
        if self.genesis.is_some() {
            self.met_as_new.insert(from, nonce);
        }
        let known = Record { term: self.record.term, led_version: self.record.led_version };
        let longest = match &self.genesis {
            Some(genesis) => genesis.longest_lease(self.rules.lease),
            None => self.record.longest_lease,
        };
        Report {
            set: self.rules.set.tag(),
            number: asked.number,
            record: self.genesis.is_none().then_some(known),
            met_as_new: self.met_as_new.get(&from) == Some(&nonce),
            longest_lease_ms: millis(longest),
        }
    }

    // ---- Writing ----------------------------------------------------------------------------

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    fn write(&mut self, write: Write) -> u64 {
        self.writes += 1;
        self.outputs.push_back(Output::Persist { number: self.writes, write });
        self.writes
    }

    fn write_record(&mut self) {
        self.record_write = Some(self.write(Write::Record(self.record)));
        self.is_writing = true;
    }

    /// Notes that this voter refuses to lead, or does no longer. Returns whether it could be noted: an
    /// empty store has no record to note it in, and must stay empty.
    pub fn set_drained(&mut self, drained: bool) -> bool {
        if self.genesis.is_some() {
            return false;
        }
        if self.record.drained != drained {
            self.record.drained = drained;
            self.write_record();
        }
        true
    }

    /// Whether the record is on stable storage as it is.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.record_write.is_none()
    }

    /// Tries a failed record again, unless it is being written: on a slow disk the attempts would pile up, and
    /// the newest would never be the one that has ended.
    pub fn retry_record(&mut self) {
        if !self.store_works && !self.is_writing {
            self.write_record();
        }
    }

    fn hold(&mut self, to: NodeId, message: Message, promise_write: u64) {
        if self.held.len() == MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back(Held { needs: [Some(promise_write), self.record_write], to, message });
    }

    /// A write has ended: what waited for it leaves, or is dropped where it failed.
    ///
    /// Returns whether the health of the store changed. A candidacy opens here; the caller then
    /// solicits votes.
    pub fn persisted(&mut self, number: u64, done: bool) -> bool {
        let is_record = self.record_write.is_some_and(|newest| newest == number);
        let worked = self.store_works;
        self.is_writing &= !is_record;
        if !done {
            self.held.retain(|held| !held.needs.contains(&Some(number)));
            self.store_works = false;
            return worked;
        }
        for held in &mut self.held {
            for need in &mut held.needs {
                if *need == Some(number) {
                    *need = None;
                }
            }
        }
        if is_record {
            self.record_write = None;
            self.store_works = true;
            if let Some(candidacy) = self.candidacy_mut() {
                candidacy.open = true;
            }
        }
        let outputs = &mut self.outputs;
        self.held.retain(|held| {
            let ready = held.needs == [None, None];
            if ready {
                let message = held.message.clone();
                outputs.push_back(Output::Send { to: held.to, message });
            }
            !ready
        });
        worked != self.store_works
    }
}

/// A length of time in whole microseconds, rounded up.
pub(super) fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// A length of time in whole milliseconds; one that does not fit is cut to what does.
pub(super) fn millis(length: Duration) -> u32 {
    u32::try_from(length.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
