//! The production machine; a stand-in until it exists.

use ringrift_p2p::election::record::Restored;
use ringrift_p2p::node::status::{Counters, Role};
use ringrift_p2p::node::{Deadline, Input, Output, Params, Status};
use ringrift_p2p::time::Instant;

pub(crate) struct Node {
    params: Params,
}

impl Node {
    pub(crate) fn new(params: Params, _restored: Restored, _now: Instant) -> Self {
        Self { params }
    }
    pub(crate) fn handle_input(&mut self, _now: Instant, _input: Input) {}
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        None
    }
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
    pub(crate) fn status(&self, now: Instant) -> Status {
        Status {
            taken_at: now,
            node: self.params.id,
            boot: self.params.boot,
            incarnation: 0,
            started_at: now,
            started_unix: 0,
            role: Role::Follower,
            term: 0,
            voted_for: None,
            lease: None,
            follows: None,
            no_leader_reason: String::new(),
            promise: None,
            abstains_until: None,
            store_works: true,
            drained: false,
            trigger_blocked_until: None,
            voter_set: self.params.voter_set.tag(),
            quorum: 0,
            voters: vec![],
            members: vec![],
            election_in_progress: false,
            candidates: vec![],
            local_health: 0,
            history: vec![],
            counters: Counters::default(),
        }
    }
}
