//! What the node would say of itself: one immutable value for HTTP, metrics and the simulator.
//!
//! Whether this node leads is not a field: it is asked of the value together with the present
//! moment ([`Status::is_leader`]), because a lease that was running when the status was taken may
//! have ended since.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, NodeId, Priority, VoterSetTag};

pub use crate::election::{Ballot, PastElection, Said, Takeover, TakeoverBlock};
use crate::time::Instant;

pub use crate::membership::{Health, Refutation, Unusable};

/// The part that a node plays, as it stood when the status was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Leads, while its lease runs.
    Leader,
    /// Votes and follows.
    Follower,
    /// Canvasses or stands.
    Candidate,
    /// Follows and never votes.
    Observer,
}

impl Role {
    /// The word for logs, labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Observer => "observer",
        }
    }
}

/// What became of accusations of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Who suspects it and since when, the first accuser first; the others confirmed it.
    pub accusers: Vec<(NodeId, Instant)>,
    /// Who declared it dead, while it is dead.
    pub declared_dead_by: Option<NodeId>,
    /// When and how the last accusation was answered.
    pub refuted: Option<(Instant, Refutation)>,
    /// Who had made that accusation, the first accuser first.
    pub refuted_accusers: Vec<NodeId>,
    /// It answers, and is still counted as dead because it comes and goes: until then, should it go on
    /// answering without a break.
    pub held_off_until: Option<Instant>,
    /// Its answers to this node that came after their round was over.
    pub late_answers: u64,
}

/// Another node than this one, as recorded in the member table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub id: NodeId,
    /// Where it takes datagrams; `None` until its name is resolved.
    pub address: Option<SocketAddr>,
    /// The last address of it that was refused, and why.
    pub refused: Option<(SocketAddr, Unusable)>,
    /// Where a second live process of its name is.
    pub rival: Option<SocketAddr>,
    /// Its state here.
    pub health: Health,
    /// Since when it is in that state.
    pub since: Instant,
    /// Sequence of its boot, once heard of.
    pub sequence: Option<u64>,
    /// Its incarnation.
    pub incarnation: u32,
    /// When a datagram of its own last arrived here.
    pub last_heard: Option<Instant>,
    /// Smoothed round trip, from pings answered to this node.
    pub round_trip: Option<Duration>,
    /// Share of the recent probes of this node that it did not answer, 0 to 1,000.
    pub loss_permille: u16,
    /// Who suspects it, by what this node has heard.
    pub suspected_by: Vec<NodeId>,
    /// What became of accusations of it.
    pub account: Account,
    /// Probes of this node that it answered.
    pub probes_answered: u64,
    /// Probes of this node that it did not answer.
    pub probes_failed: u64,
}

/// The loss in thousandths up to which a link counts as good: the lowest that [`Heard::loss`] tells apart.
pub const USUAL_LOSS: u16 = 150;

/// How one voter hears another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The round trip lies below this.
    pub round_trip: Duration,
    /// The loss is at most this, 0 to 1,000.
    pub loss: u16,
}

/// One voter's word about the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HearingRow {
    /// Whose.
    pub by: NodeId,
    /// When it came here; it is told when it changes.
    pub told_at: Instant,
    /// Every other voter, and how it is heard; `None` for one that is not.
    pub hears: Vec<(NodeId, Option<Heard>)>,
}

/// What this node knows of one configured voter's part in elections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterStatus {
    /// Its name.
    pub id: NodeId,
    /// Whether it is this node.
    pub is_self: bool,
    /// Its place in the present order, 1 is best.
    pub rank: usize,
    /// Its priority, as it last said or as configured.
    pub priority: Priority,
    /// Its term, as it last said.
    pub term: Option<u64>,
    /// For whom it voted or whom it acknowledged, as far as this node knows.
    pub voted_for: Option<NodeId>,
    /// The end of the last round trip with it of any kind.
    pub round_trip_at: Option<Instant>,
    /// Whether it counts with other voters than this node.
    pub set_mismatch: bool,
    /// Whom it was last heard to call leader.
    pub reports_leader: Option<NodeId>,
    /// What it last said about leading, and when.
    pub said: Option<(Instant, Said)>,
}

/// The leader that this node has heard from, directly or by beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownLeader {
    /// Who.
    pub id: NodeId,
    /// In which term.
    pub term: u64,
    /// When its heartbeat was heard, less the age of the beacon.
    pub heard_at: Instant,
    /// The knowledge ends with the lease.
    pub valid_until: Instant,
    /// Whether it came from the leader itself.
    pub direct: bool,
    /// Whether the leader is suspected or worse here.
    pub suspected: bool,
}

/// The leader's own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The term that it leads in: the fencing token. While it stands for a higher one it still
    /// leads in this.
    pub term: u64,
    /// This node does not lead at or after this moment.
    pub ends_at: Instant,
    /// The send time of the quorum's acknowledgement that it rests on.
    pub renewed_at: Instant,
}

/// What this voter has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseStatus {
    /// To whom.
    pub to: NodeId,
    /// Until when.
    pub until: Instant,
}

/// Counters since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Elections that this node stood in, voted in or saw won: one a term.
    pub elections: u64,
    /// Changes of the known leader from one node to another, or from none to one.
    pub leader_changes: u64,
    /// Heartbeats of this leader that voters acknowledged.
    pub heartbeats_acknowledged: u64,
    /// Suspicions that this node raised.
    pub suspicions_raised: u64,
    /// Suspicions that their subject refuted.
    pub suspicions_refuted: u64,
    /// Suspicions that ended in a death.
    pub suspicions_confirmed: u64,
    /// Returns of members from the dead that were put off.
    pub returns_held_off: u64,
    /// Rumours applied to the member table.
    pub updates_applied: u64,
    /// Election messages under a voter's name from a foreign address.
    pub foreign_addresses: u64,
    /// Second live processes under a member's name.
    pub name_conflicts: u64,
    /// Addresses of peers refused because they mean nothing here.
    pub addresses_refused: u64,
    /// Outputs or inputs dropped because a queue was full.
    pub overflows: u64,
}

/// Everything that a node can say of itself at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// When it was taken.
    pub taken_at: Instant,
    /// This node.
    pub node: NodeId,
    /// This process start.
    pub boot: Boot,
    /// This node's incarnation.
    pub incarnation: u32,
    /// When the process started.
    pub started_at: Instant,
    /// Unix seconds at the start of the process.
    pub started_unix: u64,
    /// The part it plays, before the lease is looked at.
    pub role: Role,
    /// The highest term that it has taken part in or heard the leader of.
    pub term: u64,
    /// Whom it voted for in the term of its record.
    pub voted_for: Option<NodeId>,
    /// The lease, on a node that leads.
    pub lease: Option<Lease>,
    /// The leader that it follows; `None` on the leader itself.
    pub follows: Option<KnownLeader>,
    /// Why there is no leader, in words an operator can act on; asked of a moment without one.
    pub no_leader_reason: String,
    /// What this voter has promised.
    pub promise: Option<PromiseStatus>,
    /// Until when this voter abstains, when it does.
    pub abstains_until: Option<Instant>,
    /// Whether the vote store works.
    pub store_works: bool,
    /// What the last check of it found wrong, in words an operator can act on.
    pub store_problem: Option<String>,
    /// Whether the voter refuses to lead until resumed.
    pub drained: bool,
    /// Until when the voter ranks last because it gave the lead up on request.
    pub blocked_until: Option<Instant>,
    /// The work of the leader failed on this voter, and it does not lead before this.
    pub set_back_until: Option<Instant>,
    /// The better voter that would take over from this leader, and what keeps it.
    pub takeover: Option<Takeover>,
    /// Until when a trigger is refused.
    pub trigger_blocked_until: Option<Instant>,
    /// The set of voters and its version.
    pub voter_set: VoterSetTag,
    /// The highest version of the voter set that this voter knows to have led; `None` on an observer and
    /// while its store is empty.
    pub led_version: Option<u32>,
    /// Strict majority of the configured voters.
    pub quorum: usize,
    /// Every configured voter, self included, sorted by name.
    pub voters: Vec<VoterStatus>,
    /// Who hears whom among the voters, as far as they have said.
    pub hearing: Vec<HearingRow>,
    /// Every other node of the table, sorted by name.
    pub members: Vec<MemberStatus>,
    /// Whether this node canvasses or stands.
    pub election_in_progress: bool,
    /// Who stands at present, as far as this node knows.
    pub candidates: Vec<NodeId>,
    /// Lifeguard's score: 0 when this node trusts itself.
    pub local_health: u32,
    /// The last elections, newest first, at most 50.
    pub history: Vec<PastElection>,
    /// Counters.
    pub counters: Counters,
}

impl Status {
    /// Whether this node leads at `now`.
    #[must_use]
    pub fn is_leader(&self, now: Instant) -> bool {
        self.lease.is_some_and(|lease| now < lease.ends_at)
    }

    /// What is left of this node's lease at `now`; zero when it does not lead.
    #[must_use]
    pub fn lease_left(&self, now: Instant) -> Duration {
        self.lease.map_or(Duration::ZERO, |lease| now.until(lease.ends_at))
    }

    /// The term of the leader of [`Status::leader_at`]: on the leader itself the fencing token.
    /// [`Status::term`] may be above it, while somebody stands.
    #[must_use]
    pub fn leader_term_at(&self, now: Instant) -> Option<u64> {
        let own = self.lease.filter(|lease| now < lease.ends_at).map(|lease| lease.term);
        let followed = self.follows.filter(|known| now < known.valid_until);
        own.or_else(|| followed.map(|known| known.term))
    }

    /// The role at `now`: a leader whose lease has ended is a follower.
    #[must_use]
    pub fn role_at(&self, now: Instant) -> Role {
        match self.role {
            Role::Leader if !self.is_leader(now) => Role::Follower,
            role => role,
        }
    }

    /// Who leads at `now`, as far as this node may say: itself under a valid lease, or the node
    /// whose word is younger than its lease.
    #[must_use]
    pub fn leader_at(&self, now: Instant) -> Option<NodeId> {
        if self.is_leader(now) {
            return Some(self.node);
        }
        self.follows.filter(|known| now < known.valid_until).map(|known| known.id)
    }

    /// Like [`Status::leader_at`], and nobody while that leader is suspected.
    #[must_use]
    pub fn effective_leader_at(&self, now: Instant) -> Option<NodeId> {
        let leader = self.leader_at(now)?;
        let suspected = self.follows.is_some_and(|known| known.id == leader && known.suspected);
        (leader == self.node || !suspected).then_some(leader)
    }

    /// The member of that name, other than this node.
    #[must_use]
    pub fn member(&self, id: NodeId) -> Option<&MemberStatus> {
        self.members.binary_search_by(|member| member.id.cmp(&id)).ok().map(|at| &self.members[at])
    }

    /// Reachable voters, self included.
    #[must_use]
    pub fn voters_alive(&self) -> usize {
        let reachable = |id| self.member(id).is_some_and(|member| member.health.is_reachable());
        self.voters.iter().filter(|voter| voter.is_self || reachable(voter.id)).count()
    }
}
