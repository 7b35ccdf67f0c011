//! The bounds of an exploration, and which rule of the protocol it breaks.

use core::time::Duration;
use ringrift_p2p::election::quorum::VoterSet;
use ringrift_p2p::time::Instant;
use ringrift_wire::NodeId;

/// The unit of time. Long enough that the guard, a hundredth of a lease, never reaches a whole one.
pub const TICK: Duration = Duration::from_secs(1);
/// Where every clock stands whenever two states are compared.
pub const NOW: Instant = Instant::from_nanos(100 * 1_000_000_000);

/// What a process finds when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Restart {
    /// The same kernel: the promise is exact.
    SameBoot,
    /// Another kernel, started at the moment of the crash: it abstains.
    Reboot,
    /// The store lies elsewhere than where it was written: it abstains and releases nothing.
    Moved,
    /// An empty disk.
    Wiped,
}

/// A rule that the model breaks, around the untouched core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    NoAbstention,
    OwnLeaseAbstained,
    LeaseFromArrival,
    LeaseFromLastSend,
    ResumeAfterRelease,
    LateVotes,
    ReleaseWithoutTerm,
    ReleaseAfterFailedReelection,
    ReleaseFromCopiedStore,
    VoteIgnoresPromise,
    VoteWithoutPromise,
    OwnLeasePromised,
    ShortenedPromise,
    AnswerBeforePromiseFile,
    VoteBeforeRecord,
    NoDriftMargin,
    SmallQuorum,
    HeartbeatOverPromise,
    OneNameTwice,
    AbstainerAcknowledgesLower,
    WipedAcknowledges,
    WipedAsksEarly,
    WipedVotesInAdopted,
    WipedNoFloor,
}

/// What is explored.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The name of each process, as an index into the voters.
    pub names: Vec<u8>,
    /// How many voters there are.
    pub voters: u8,
    /// The highest term in which anybody stands.
    pub terms: u64,
    /// L of each process, in ticks.
    pub lease: Vec<u8>,
    /// Rho as the rules have it.
    pub drift_ppm: u32,
    /// How often a clock skips or doubles a tick, in all.
    pub deviations: u8,
    /// A clock that has deviated keeps time for so many ticks, less one.
    pub steady: u8,
    /// In every tick each clock advances by one or by two, as it likes, under a rho of a third.
    pub uneven: bool,
    /// How often a process crashes.
    pub crashes: u8,
    /// What it may find afterwards.
    pub restarts: Vec<Restart>,
    /// How often a process loses its disk; these are crashes too.
    pub wipes: u8,
    /// All start with empty disks.
    pub first_start: bool,
    /// Writes take time.
    pub slow_writes: bool,
    /// How often a write fails.
    pub failures: u8,
    /// A leader also sends heartbeats that ask for a shorter promise, and whose answers do not count.
    pub shorter: bool,
    /// Requests of candidacies and leaderships that have ended still arrive.
    pub late: bool,
    /// Answers take their time.
    pub slow_answers: bool,
    /// Whoever stands or leads need not ask again in every tick.
    pub idle: bool,
    /// Two states that differ in names alone are one.
    pub symmetric: bool,
    /// Who stands.
    pub stand: Vec<u8>,
    /// Each of those stands in a term of its own, in their order, and gives nothing up of its own accord.
    pub in_turn: bool,
    /// Who may crash.
    pub frail: Vec<u8>,
    /// The broken rule.
    pub mutation: Option<Mutation>,
}

impl Setup {
    /// So many voters with exact clocks that never crash.
    pub fn new(voters: u8, terms: u64, lease: u8) -> Self {
        Self {
            names: (0..voters).collect(),
            voters,
            terms,
            lease: vec![lease; voters.into()],
            drift_ppm: 0,
            deviations: 0,
            steady: 0,
            uneven: false,
            crashes: 0,
            restarts: vec![Restart::SameBoot, Restart::Reboot],
            wipes: 0,
            first_start: false,
            slow_writes: false,
            failures: 0,
            shorter: false,
            late: true,
            slow_answers: false,
            idle: false,
            symmetric: true,
            stand: (0..voters).collect(),
            in_turn: false,
            frail: (0..voters).collect(),
            mutation: None,
        }
    }

    /// With one rule broken.
    pub fn breaking(self, mutation: Mutation) -> Self {
        Self { symmetric: false, mutation: Some(mutation), ..self }
    }

    /// With these alone standing.
    pub fn standing(self, stand: &[u8]) -> Self {
        Self { stand: stand.to_vec(), ..self }
    }

    /// Clocks that deviate so often in all, by a third at most: of a lease of 4 ticks 2 remain.
    pub fn drifting(self, deviations: u8) -> Self {
        let lease = vec![4; self.lease.len()];
        Self { deviations, steady: 3, drift_ppm: 333_334, lease, ..self }
    }

    /// Clocks of which each advances by one or two in every tick, as it likes. A promise of 3 ticks
    /// may be over after two, and the lease under it ends before two: the least with which a leader lives
    /// through a tick.
    pub fn uneven(self) -> Self {
        let lease = vec![3; self.lease.len()];
        Self { uneven: true, drift_ppm: 333_334, lease, ..self }
    }

    /// Processes that crash so often in all.
    pub fn crashing(self, crashes: u8) -> Self {
        Self { crashes, ..self }
    }

    /// Whether that process stands in that term.
    pub fn stands_in(&self, process: u8, term: u8) -> bool {
        let place = (1..).zip(&self.stand).find(|(_, who)| **who == process);
        place.is_some_and(|(turn, _)| !self.in_turn || term == turn)
    }

    /// Whether a restarted voter does one thing wrong while it waits, and is gone after the wait, so
    /// that nothing else can be what breaks.
    pub fn ends_waiting(&self) -> bool {
        self.is(Mutation::AbstainerAcknowledgesLower) || self.is(Mutation::WipedAcknowledges)
    }

    pub fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Whether somebody has an empty store at some time.
    pub const fn loses_disks(&self) -> bool {
        self.wipes > 0 || self.first_start
    }

    /// The configured voters.
    pub fn set(&self) -> VoterSet {
        let ids: Vec<NodeId> = (0..self.voters).map(id).collect();
        VoterSet::new(&ids, 1)
    }

    /// The longest lease of any, in ticks.
    pub fn longest(&self) -> u8 {
        self.lease.iter().copied().max().unwrap_or(0)
    }

    /// The names of the other voters.
    pub fn others(&self, process: u8) -> impl Iterator<Item = NodeId> {
        let me = self.names[usize::from(process)];
        (0..self.voters).filter(move |&voter| voter != me).map(id)
    }

    /// The processes of that voter's name.
    pub fn processes(&self, name: NodeId) -> impl Iterator<Item = u8> {
        let named = self.names.iter().enumerate().filter(move |&(_, &index)| id(index) == name);
        named.map(|(process, _)| u8::try_from(process).expect("few processes"))
    }
}

/// The name of a voter: `a`, `b`, ...
pub fn id(index: u8) -> NodeId {
    char::from(b'a' + index).to_string().parse().expect("a letter is a name")
}
