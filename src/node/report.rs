//! The node's account of itself: the status, and why there is no leader.

use ringrift_wire::NodeId;

use super::Node;
use super::status::{
    Account, Counters, KnownLeader, Lease, MemberStatus, PromiseStatus, Role, Status, VoterStatus,
};
use crate::election::Voter;
use crate::election::core::Core;
use crate::membership::Member;
use crate::time::Instant;

impl Node {
    /// Everything that this node can say of itself at `now`.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let machine = &self.machine;
        let core = machine.core();
        let lease = core.and_then(|core| core.lease()).filter(|(end, _)| now < *end);
        let role = match core {
            None => Role::Observer,
            Some(_) if lease.is_some() => Role::Leader,
            Some(_) if machine.is_candidate() => Role::Candidate,
            Some(_) => Role::Follower,
        };
        let mut candidates: Vec<NodeId> = Vec::new();
        if machine.is_candidate() {
            candidates.push(self.id);
        }
        Status {
            taken_at: now,
            node: self.id,
            boot: self.boot,
            incarnation: self.membership.incarnation(),
            started_at: self.started_at,
            started_unix: self.started_unix,
            role,
            term: machine.term(),
            voted_for: core.and_then(|core| core.record().voted_for),
            lease: lease
                .zip(core.and_then(|core| core.leading_term()))
                .map(|((ends_at, renewed_at), term)| Lease { term, ends_at, renewed_at }),
            follows: machine.follows(now).map(|known| KnownLeader {
                id: known.id,
                term: known.term,
                heard_at: known.heard_at,
                valid_until: known.valid_until(),
                direct: known.direct_at.is_some_and(|at| at >= known.heard_at),
                suspected: machine.leader_suspected(now),
            }),
            no_leader_reason: self.no_leader_reason(now),
            promise: core
                .and_then(|core| core.promise(now))
                .map(|promise| PromiseStatus { to: promise.to, until: promise.until }),
            abstains_until: core.and_then(|core| core.abstains_until(now)),
            store_works: machine.store_works(),
            store_problem: machine.store_problem().map(str::to_owned),
            drained: core.is_some_and(|core| core.record().drained),
            blocked_until: Some(machine.blocked_until()).filter(|until| now < *until),
            takeover: machine.takeover(now),
            set_back_until: Some(machine.set_back_until()).filter(|until| now < *until),
            trigger_blocked_until: machine.trigger_blocked_until(),
            voter_set: self.set.tag(),
            led_version: core
                .filter(|core| core.genesis().is_none())
                .map(|core| core.record().led_version),
            quorum: self.set.quorum(),
            voters: self.voters(now),
            hearing: self.hearings.matrix(now),
            members: self.membership.members().map(member_status).collect(),
            election_in_progress: machine.election_in_progress(),
            candidates,
            local_health: self.membership.local_health(),
            history: machine.history().iter().cloned().collect(),
            counters: self.counters(),
        }
    }

    fn counters(&self) -> Counters {
        let election = self.machine.counters();
        let membership = self.membership.counters();
        Counters {
            elections: election.elections,
            leader_changes: election.leader_changes,
            heartbeats_acknowledged: election.heartbeats_acknowledged,
            suspicions_raised: membership.suspicions_raised,
            suspicions_refuted: membership.suspicions_refuted,
            suspicions_confirmed: membership.suspicions_confirmed,
            returns_held_off: membership.returns_held_off,
            updates_applied: membership.updates_applied,
            foreign_addresses: self.foreign_addresses,
            name_conflicts: membership.name_conflicts,
            addresses_refused: membership.addresses_refused,
            overflows: self.overflows.saturating_add(membership.overflows),
        }
    }

    fn voters(&self, now: Instant) -> Vec<VoterStatus> {
        let order = self.machine.order(now);
        let record = self.machine.core().map(|core| *core.record());
        let mut voters: Vec<VoterStatus> = (1..)
            .zip(order)
            .map(|(rank, (id, priority))| {
                let known = self.machine.voters().get(id);
                let is_self = id == self.id;
                VoterStatus {
                    id,
                    is_self,
                    rank,
                    priority,
                    term: if is_self { record.map(|r| r.term) } else { known.and_then(|v| v.term) },
                    voted_for: if is_self {
                        record.and_then(|record| record.voted_for)
                    } else {
                        known.and_then(|voter| voter.voted_for)
                    },
                    round_trip_at: known.and_then(|voter| voter.round_trip_at),
                    set_mismatch: known.is_some_and(|voter| voter.set_mismatch),
                    reports_leader: known.and_then(|voter| voter.reports_leader),
                    said: known.and_then(|voter| voter.said),
                }
            })
            .collect();
        voters.sort_by_key(|voter| voter.id);
        voters
    }

    /// Why there is no leader, in words an operator can act on. Asked at a moment with a leader, it
    /// says why there would be none without it.
    fn no_leader_reason(&self, now: Instant) -> String {
        let seconds = |until: Instant| now.until(until).as_secs_f64();
        let (quorum, all) = (self.set.quorum(), self.set.len());
        let unreachable = self.unreachable();
        let reachable = all - unreachable.len();
        if reachable < quorum {
            let names = names(&unreachable);
            return format!(
                "no quorum: {reachable} of {all} voters are reachable, {quorum} are needed; not reachable: {names}"
            );
        }
        let Some(core) = self.machine.core() else {
            return "no voter has told this observer of a leader within its lease".to_owned();
        };
        if self.machine.is_stopping() {
            return "this node is stopping".to_owned();
        }
        if let Some(reason) = self.other_voters(core, &unreachable) {
            return reason;
        }
        if let Some(genesis) = core.genesis() {
            let left = seconds(genesis.wait_ends(core.record().longest_lease));
            if self.set.tag().version > 1 {
                return format!(
                    "this voter's store is empty: it waits {left:.1} s more for promises that it may have \
                     forgotten, and then for the answers of {quorum} voters, one of them with a store, or of \
                     all {all}; a new cluster starts with voters_version 1"
                );
            }
            return format!(
                "this voter's store is empty: unless all {all} voters are new it waits {left:.1} s more for \
                 promises that it may have forgotten, and then for the answers of {quorum} voters"
            );
        }
        if !self.machine.store_works() {
            let why = self.machine.store_problem().unwrap_or("see its log");
            return format!("the vote store of this voter cannot be written: {why}");
        }
        if let Some(until) = core.abstains_until(now) {
            let left = seconds(until);
            return format!("this voter restarted and abstains for {left:.1} s more");
        }
        if let Some(promise) = core.promise(now).filter(|promise| promise.to != self.id) {
            let left = seconds(promise.until);
            return format!("the promise of this voter to {} runs {left:.1} s more", promise.to);
        }
        if self.machine.election_in_progress() {
            return "an election is under way".to_owned();
        }
        let set_back = self.machine.set_back_until();
        if now < set_back {
            let left = seconds(set_back);
            return format!(
                "the work of the leader failed on this voter, which stands again in {left:.1} s: see \
                 work.last_failure in its /status"
            );
        }
        if self.machine.own_priority(now).drained {
            return "this voter does not stand, being drained or configured never to lead; if no other voter \
                    stands, they all are: run `ringrift-p2p resume` on one"
                .to_owned();
        }
        "waiting for a better voter to stand".to_owned()
    }

    /// What the versions of the voters' lists have to do with there being no leader.
    fn other_voters(&self, core: &Core, unreachable: &[NodeId]) -> Option<String> {
        let (quorum, own) = (self.set.quorum(), self.set.tag().version);
        let near = |voter: &Voter| {
            let distance = voter.set_version.map_or(0, |version| version.abs_diff(own));
            !voter.set_mismatch || distance == 1
        };
        let voters = self.machine.voters();
        let apart: Vec<NodeId> =
            voters.iter().filter(|(_, voter)| !near(voter)).map(|(id, _)| id).collect();
        let usable = |id: &&NodeId| !unreachable.contains(id) && !apart.contains(id);
        if self.set.ids().iter().filter(usable).count() < quorum {
            return Some(format!(
                "these voters are configured with another voter list or voters_version: {}; this node has \
                 voters_version {own}: give all nodes one file",
                names(&apart)
            ));
        }
        let record = core.record();
        if record.set_version > own {
            return Some(format!(
                "this voter has taken part under voters_version {}, and its file has {own}: give it the file \
                 of the others",
                record.set_version
            ));
        }
        if core.genesis().is_none() && !core.has_evidence() {
            return Some(format!(
                "this voter's file has voters_version {own}, and it has not heard that version {} has led: give a \
                 quorum the file of version {} first, and take the next when that has a leader",
                own - 1,
                own - 1
            ));
        }
        None
    }

    fn unreachable(&self) -> Vec<NodeId> {
        let reachable =
            |id: NodeId| self.membership.member(id).is_some_and(|m| m.health.is_reachable());
        let others = self.set.ids().iter().copied().filter(|&id| id != self.id);
        others.filter(|&id| !reachable(id)).collect()
    }
}

fn names(ids: &[NodeId]) -> String {
    ids.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

fn member_status(member: &Member) -> MemberStatus {
    MemberStatus {
        id: member.id,
        address: member.address,
        refused: member.refused(),
        rival: member.rival().map(|rival| rival.address),
        health: member.health,
        since: member.since,
        sequence: member.sequence,
        incarnation: member.incarnation,
        last_heard: member.last_heard,
        round_trip: member.round_trip(),
        loss_permille: member.loss_permille,
        suspected_by: member.suspected_by().to_vec(),
        account: Account {
            accusers: member.accusers().collect(),
            declared_dead_by: member.declared_dead_by(),
            refuted: member.refuted(),
            refuted_accusers: member.refuted_accusers().to_vec(),
            held_off_until: member.held_off_until(),
            late_answers: member.late_answers,
        },
        probes_answered: member.probes_answered,
        probes_failed: member.probes_failed,
    }
}
