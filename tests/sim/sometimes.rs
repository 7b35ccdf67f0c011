//! Paths that a sweep must have hit: a fault that never happened proves nothing.

/// Something that happens in some runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Path {
    LeaderElected,
    LeaderStopped,
    LeaseLapsed,
    TermRaisedWhileLeading,
    ElectionLost,
    RefusedPromised,
    RefusedVoted,
    RefusedTerm,
    RefusedAbstaining,
    RefusedEmpty,
    PromiseReleased,
    ReleasedByNextProcess,
    RestartWithExactPromise,
    RestartAbstaining,
    RecordAdopted,
    DiskWiped,
    KernelRebooted,
    CrashInsideDrain,
    TornWriteKept,
    TornWriteLost,
    WriteFailed,
    StoreFailedEvent,
    LeaderPausedBeyondLease,
    PausedInsideDrain,
    DatagramLate,
    DatagramDamaged,
    DatagramDuplicated,
    NoQuorum,
    MemberSuspected,
    MemberDied,
    HealedAndLed,
    LedByOutsiderAfterHeal,
    EverybodySeen,
    StrangeDatagramDecoded,
    DatagramReplayed,
    OlderBootReplayed,
    HostSlept,
    WallClockSet,
    TwinStarted,
    ForeignAddress,
    NameInConflict,
    NameTaken,
    MemberMoved,
    MemberLeft,
    MemberRefuted,
    RefusedVoterSet,
    VoterSetMismatch,
    LeaseConfigured,
    SoundLeaderLostItsQuorum,
    SteppedDown,
    Transferred,
    DrainDone,
    DrainedLeaderLeft,
    ResumeDone,
    NoTarget,
    HandoverDone,
    WorkFailed,
    TakenOver,
    TakeoverSeen,
    WorkBegan,
    WorkEndedInTime,
    WorkKilled,
    WorkAnsweredLate,
    WorkNeverAnswered,
    LeaseThin,
    GuardianSpoke,
    GuardianKilled,
    BothDied,
    FreedByGuardian,
    PlannedWhileHealed,
}

/// Every path with the name that a report shows.
pub(crate) const PATHS: [(Path, &str); 70] = [
    (Path::LeaderElected, "a leader was elected"),
    (Path::LeaderStopped, "a leader stopped on request"),
    (Path::LeaseLapsed, "a lease lapsed"),
    (Path::TermRaisedWhileLeading, "a leader raised its term while leading"),
    (Path::ElectionLost, "an election was lost"),
    (Path::RefusedPromised, "a vote was refused because of a promise"),
    (Path::RefusedVoted, "a vote was refused because of an earlier one in the term"),
    (Path::RefusedTerm, "something was refused because of a higher term"),
    (Path::RefusedAbstaining, "a vote was refused by an abstaining voter"),
    (Path::RefusedEmpty, "a vote was refused by a voter with an empty store"),
    (Path::PromiseReleased, "a promise was released"),
    (Path::ReleasedByNextProcess, "the next process released its predecessor's promises"),
    (Path::RestartWithExactPromise, "a voter restarted with its exact promise"),
    (Path::RestartAbstaining, "a voter restarted and abstained"),
    (Path::RecordAdopted, "an empty store adopted a record"),
    (Path::DiskWiped, "a disk was wiped"),
    (Path::KernelRebooted, "a kernel rebooted"),
    (Path::CrashInsideDrain, "a process died between two outputs"),
    (Path::TornWriteKept, "a write under way at a crash was kept"),
    (Path::TornWriteLost, "a write under way at a crash was lost"),
    (Path::WriteFailed, "a write failed"),
    (Path::StoreFailedEvent, "a node noticed that its store failed"),
    (Path::LeaderPausedBeyondLease, "a leader was paused beyond its lease"),
    (Path::PausedInsideDrain, "a process was paused between two outputs"),
    (Path::DatagramLate, "a datagram was later than a lease"),
    (Path::DatagramDamaged, "a datagram was damaged"),
    (Path::DatagramDuplicated, "a datagram arrived twice"),
    (Path::NoQuorum, "no leader for longer than two leases"),
    (Path::MemberSuspected, "a member was suspected"),
    (Path::MemberDied, "a member was declared dead"),
    (Path::HealedAndLed, "a healed quorum had a leader"),
    (Path::LedByOutsiderAfterHeal, "a voter outside the healed quorum led"),
    (Path::EverybodySeen, "everybody healed was given the time to see everybody"),
    (Path::StrangeDatagramDecoded, "damage behind a good checksum made another message"),
    (Path::DatagramReplayed, "a datagram of the past arrived again"),
    (Path::OlderBootReplayed, "a datagram of a process that was gone arrived again"),
    (Path::HostSlept, "a host slept"),
    (Path::WallClockSet, "a wall clock was set"),
    (Path::TwinStarted, "a second process of a voter's name started"),
    (Path::ForeignAddress, "a voter's name was used at a foreign address"),
    (Path::NameInConflict, "a member saw two processes of one name"),
    (Path::NameTaken, "the second process of a name was told so"),
    (Path::MemberMoved, "a member was believed at another address"),
    (Path::MemberLeft, "a member was seen to have left"),
    (Path::MemberRefuted, "an accusation was refuted"),
    (Path::RefusedVoterSet, "a vote was refused to a voter with another list"),
    (Path::VoterSetMismatch, "a voter with another list was noticed"),
    (Path::LeaseConfigured, "a host was restarted with another lease"),
    (Path::SoundLeaderLostItsQuorum, "a leader that was sound itself lost its quorum"),
    (Path::SteppedDown, "an operator let a leader step down"),
    (Path::Transferred, "an operator named the next leader"),
    (Path::DrainDone, "a voter was drained, and said so"),
    (Path::DrainedLeaderLeft, "a drained leader handed over"),
    (Path::ResumeDone, "a voter was resumed, and said so"),
    (Path::NoTarget, "a handover found no target"),
    (Path::HandoverDone, "a handover was answered with who leads"),
    (Path::WorkFailed, "a leader gave up because its work failed"),
    (Path::TakenOver, "a better voter took over"),
    (Path::TakeoverSeen, "a better voter took over in a healed quorum"),
    (Path::WorkBegan, "the work of a leader began"),
    (Path::WorkEndedInTime, "the work of a leader ended in time"),
    (Path::WorkKilled, "the work of a leader was killed"),
    (Path::WorkAnsweredLate, "the end of the work was told late"),
    (Path::WorkNeverAnswered, "the end of the work was never told"),
    (Path::LeaseThin, "work was ended because the lease ran thin"),
    (Path::GuardianSpoke, "a guardian said a last word"),
    (Path::GuardianKilled, "a guardian killed a process whose work had to end"),
    (Path::BothDied, "a process died with its guardian"),
    (Path::FreedByGuardian, "a last word freed a promise"),
    (Path::PlannedWhileHealed, "an operator moved the lead of a healed quorum"),
];

/// How often each path was hit.
#[derive(Clone, Debug)]
pub(crate) struct Hits([u64; PATHS.len()]);

impl Default for Hits {
    fn default() -> Self {
        Self([0; PATHS.len()])
    }
}

impl Hits {
    /// Counts one.
    pub(crate) fn hit(&mut self, path: Path) {
        self.0[path as usize] += 1;
    }

    /// How often a path was hit.
    pub(crate) fn of(&self, path: Path) -> u64 {
        self.0[path as usize]
    }

    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The names of the paths that were never hit.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let missing = PATHS.iter().filter(|(path, _)| self.of(*path) == 0);
        missing.map(|(_, name)| *name).collect()
    }
}
