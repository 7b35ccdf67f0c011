//! What a status means at one moment: the one place where leadership, counts and agreement are
//! derived for people and programs.
//!
//! Invariants:
//! 1. `role` is leader exactly when `is_leader`, and exactly then `leader` is this node.
//! 2. Nothing here outlives the moment that it was asked for: a view is made for one answer.

use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, BTreeSet};

use crate::node::Status;
use crate::node::status::{Health, MemberStatus, Role, VoterStatus};
use crate::time::Instant;

/// A status together with the moment at which it is asked.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The status.
    pub status: &'a Status,
    /// The present moment.
    pub now: Instant,
    /// The part that the node plays now.
    pub role: Role,
    /// Whether this node leads now.
    pub is_leader: bool,
    /// Who leads now, as far as this node may say.
    pub leader: Option<NodeId>,
    /// In which term that leader leads.
    pub leader_term: Option<u64>,
    /// Like `leader`, and nobody while that leader is suspected.
    pub effective_leader: Option<NodeId>,
    /// What is left of this node's own lease; zero when it does not lead.
    pub lease_left: Duration,
    /// How many peers are in which state.
    pub peers: Peers,
    /// Reachable voters, self included.
    pub voters_alive: usize,
    /// Whether a quorum of the voters is reachable.
    pub quorum_ok: bool,
}

/// Peers by state, without this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Alive and not suspected.
    pub alive: usize,
    /// Suspected, still counted reachable.
    pub suspect: usize,
    /// Declared dead.
    pub dead: usize,
    /// Said that they leave.
    pub left: usize,
    /// Configured and never heard of.
    pub unknown: usize,
}

impl Peers {
    /// Peers that count as reachable.
    #[must_use]
    pub const fn reachable(self) -> usize {
        self.alive + self.suspect
    }

    /// Peers that have not left.
    #[must_use]
    pub const fn total(self) -> usize {
        self.alive + self.suspect + self.dead + self.unknown
    }
}

/// How much of the cluster this node reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// A quorum of the voters.
    None,
    /// Somebody, and fewer voters than a quorum.
    Minority,
    /// Nobody, although there are others.
    Isolated,
}

impl Partition {
    /// The word for JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minority => "minority",
            Self::Isolated => "isolated",
        }
    }
}

/// The leader that most voters name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Who; the first by name among equals, `None` when no voter names one.
    pub leader: Option<NodeId>,
    /// How many voters name it, self included.
    pub voters: usize,
}

impl<'a> View<'a> {
    /// What `status` means at `now`.
    #[must_use]
    pub fn new(status: &'a Status, now: Instant) -> Self {
        let is_leader = status.is_leader(now);
        let role = match status.role {
            _ if is_leader => Role::Leader,
            Role::Leader => Role::Follower,
            role => role,
        };
        let voters_alive = status.voters_alive();
        Self {
            status,
            now,
            role,
            is_leader,
            leader: status.leader_at(now).filter(|&leader| is_leader || leader != status.node),
            leader_term: status.leader_term_at(now),
            effective_leader: status
                .effective_leader_at(now)
                .filter(|&leader| is_leader || leader != status.node),
            lease_left: status.lease_left(now),
            peers: count(&status.members),
            voters_alive,
            quorum_ok: voters_alive >= status.quorum,
        }
    }

    /// How much of the cluster this node reaches.
    #[must_use]
    pub fn partition(&self) -> Partition {
        if self.peers.total() > 0 && self.peers.reachable() == 0 {
            Partition::Isolated
        } else if !self.quorum_ok {
            Partition::Minority
        } else {
            Partition::None
        }
    }

    /// Reachable nodes over nodes that have not left, self included: above 0, at most 1.
    #[must_use]
    pub fn health_ratio(&self) -> f64 {
        (self.peers.reachable() + 1) as f64 / (self.peers.total() + 1) as f64
    }

    /// What is left of the runway above a quorum: 0 lost, 1 exactly a quorum, 2 some voter is
    /// missing, 3 all voters are reachable.
    #[must_use]
    pub fn quorum_level(&self) -> u8 {
        let all = self.status.voters.len();
        match self.voters_alive {
            alive if alive < self.status.quorum => 0,
            alive if alive == all => 3,
            alive if alive == self.status.quorum => 1,
            _ => 2,
        }
    }

    /// Whom a voter was last heard to call leader; nothing of voters that are not reachable.
    #[must_use]
    pub fn reported_by(&self, voter: &VoterStatus) -> Option<NodeId> {
        if voter.is_self {
            self.leader
        } else if self.is_reachable(voter.id) {
            voter.reports_leader
        } else {
            None
        }
    }

    /// Every node that this node or a reachable voter calls leader.
    #[must_use]
    pub fn leaders_reported(&self) -> BTreeSet<NodeId> {
        let voters = self.status.voters.iter().filter_map(|voter| self.reported_by(voter));
        voters.chain(self.leader).collect()
    }

    /// The leader that most voters name.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        let mut named: BTreeMap<NodeId, usize> = BTreeMap::new();
        for leader in self.status.voters.iter().filter_map(|voter| self.reported_by(voter)) {
            *named.entry(leader).or_default() += 1;
        }
        named.into_iter().fold(Agreement::default(), |best, (leader, voters)| {
            if voters > best.voters { Agreement { leader: Some(leader), voters } } else { best }
        })
    }

    /// Whether a node is this one, or a member that counts as reachable.
    #[must_use]
    pub fn is_reachable(&self, id: NodeId) -> bool {
        id == self.status.node
            || self.status.member(id).is_some_and(|member| member.health.is_reachable())
    }

    /// Whether a node may lead: a reachable voter that is not drained.
    #[must_use]
    pub fn may_lead(&self, id: NodeId) -> bool {
        let voter = self.status.voters.iter().find(|voter| voter.id == id);
        voter.is_some_and(|voter| !voter.priority.drained) && self.is_reachable(id)
    }

    /// The part that another node plays, as far as this node can tell.
    #[must_use]
    pub fn role_of(&self, id: NodeId) -> Role {
        if id == self.status.node {
            self.role
        } else if self.leader == Some(id) {
            Role::Leader
        } else if self.status.candidates.contains(&id) {
            Role::Candidate
        } else if self.status.voters.iter().any(|voter| voter.id == id) {
            Role::Follower
        } else {
            Role::Observer
        }
    }

    /// Since when nothing was heard of the leader: zero on the leader, `None` without one.
    #[must_use]
    pub fn leader_silence(&self) -> Option<Duration> {
        self.leader?;
        if self.is_leader {
            return Some(Duration::ZERO);
        }
        self.status.follows.map(|known| self.now.since(known.heard_at))
    }
}

fn count(members: &[MemberStatus]) -> Peers {
    members.iter().fold(Peers::default(), |mut peers, member| {
        match member.health {
            Health::Alive => peers.alive += 1,
            Health::Suspect => peers.suspect += 1,
            Health::Dead => peers.dead += 1,
            Health::Left => peers.left += 1,
            Health::Unknown => peers.unknown += 1,
        }
        peers
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::{self, id};

    #[test]
    fn role_is_leader_exactly_when_the_lease_runs() {
        for status in fixtures::all() {
            for seconds in 0..400 {
                let view = View::new(&status, Instant::ZERO + Duration::from_secs(seconds));
                assert_eq!(view.role == Role::Leader, view.is_leader);
                assert_eq!(view.leader == Some(status.node), view.is_leader);
                assert_eq!(view.lease_left > Duration::ZERO, view.is_leader);
            }
        }
    }

    #[test]
    fn an_expired_lease_leaves_no_leader() {
        let status = fixtures::leader();
        let end = status.lease.map(|lease| lease.ends_at).expect("the fixture leads");
        assert!(View::new(&status, end - Duration::from_nanos(1)).is_leader);
        let view = View::new(&status, end);
        assert_eq!((view.is_leader, view.role, view.leader), (false, Role::Follower, None));
    }

    #[test]
    fn the_word_of_an_unreachable_voter_does_not_count() {
        let mut status = fixtures::follower();
        let before = View::new(&status, fixtures::NOW).agreement();
        assert_eq!(before, Agreement { leader: Some(id("nebius-backbone-1")), voters: 5 });
        status.members[0].health = Health::Dead;
        assert_eq!(View::new(&status, fixtures::NOW).agreement().voters, 4);
    }

    #[test]
    fn partition_tells_isolation_from_minority() {
        let mut status = fixtures::follower();
        let partition = |status: &Status| View::new(status, fixtures::NOW).partition();
        assert_eq!(partition(&status), Partition::None);
        for member in &mut status.members[..3] {
            member.health = Health::Dead;
        }
        assert_eq!(partition(&status), Partition::Minority);
        status.members[3].health = Health::Unknown;
        assert_eq!(partition(&status), Partition::Isolated);
        assert_eq!(View::new(&status, fixtures::NOW).quorum_level(), 0);
    }

    #[test]
    fn a_suspected_leader_is_not_effective() {
        let mut status = fixtures::follower();
        if let Some(known) = &mut status.follows {
            known.suspected = true;
        }
        let view = View::new(&status, fixtures::NOW);
        assert_eq!(view.leader, Some(id("nebius-backbone-1")));
        assert_eq!(view.effective_leader, None);
    }
}
