//! The production machine; its election part alone until membership is there.

use ringrift_p2p::election::record::Restored;
use ringrift_p2p::election::{Machine, Output as Wanted, Setup};
use ringrift_p2p::node::event::Event;
use ringrift_p2p::node::status::{Counters, KnownLeader, Lease, Role};
use ringrift_p2p::node::{Command, Deadline, Input, Output, Params, Reply, Status};
use ringrift_p2p::time::Instant;
use std::collections::VecDeque;

pub(crate) struct Node {
    params: Params,
    machine: Machine,
    outputs: VecDeque<Output>,
    now: Instant,
}

impl Node {
    pub(crate) fn new(params: Params, restored: Restored, now: Instant) -> Self {
        let evidence = (2 * params.election.heartbeat_interval)
            .max(2 * params.voter_set.len() as u32 * params.membership.probe_interval);
        let setup = Setup {
            me: params.id,
            boot: params.boot,
            started_unix: params.started_unix,
            set: params.voter_set.clone(),
            params: params.election.clone(),
            evidence_window: evidence,
            seed: params.seed,
        };
        let machine = Machine::new(setup, restored, now);
        let mut node = Self { params, machine, outputs: VecDeque::new(), now };
        node.drain();
        node
    }
    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let output = match output {
                Wanted::Persist { number, write } => Output::Persist { number, write },
                Wanted::Send { to, message } => {
                    let peer = self.params.peers.iter().find(|peer| peer.id == to);
                    let Some(to) = peer.and_then(|peer| peer.address) else { continue };
                    Output::Send { to, message }
                }
                Wanted::Notify(event) => Output::Notify(Event::Election(event)),
                Wanted::RoundTrip { .. } => continue,
                Wanted::Reply { number, .. } => Output::Reply { number, reply: Reply::Done },
            };
            self.outputs.push_back(output);
        }
    }
    pub(crate) fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = now;
        match input {
            Input::Datagram { envelope, .. } => {
                if self.params.voter_set.contains(envelope.sender) {
                    let nonce = envelope.boot.nonce;
                    self.machine.on_message(now, envelope.sender, nonce, &envelope.message);
                }
            }
            Input::Timeout => self.machine.handle_timeout(now),
            Input::Command { number, command: Command::Trigger } => {
                self.machine.trigger(now, number)
            }
            Input::Command { command: Command::Stop, .. } => self.machine.stop(now),
            Input::Command { .. } => {}
            Input::Persisted(done) => self.machine.persisted(now, done.number, done.done),
        }
        self.drain();
    }
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.machine.poll_timeout(self.now)
    }
    pub(crate) fn status(&self, now: Instant) -> Status {
        let lease = self.machine.core().and_then(|core| core.lease());
        let core = self.machine.core();
        Status {
            taken_at: now,
            node: self.params.id,
            boot: self.params.boot,
            incarnation: 0,
            started_at: now,
            started_unix: 0,
            role: if core.is_some_and(|c| c.leading_term().is_some()) {
                Role::Leader
            } else {
                Role::Follower
            },
            term: self.machine.term(),
            voted_for: None,
            lease: lease.map(|(ends_at, renewed_at)| Lease { ends_at, renewed_at }),
            follows: self.machine.follows(now).map(|known| KnownLeader {
                id: known.id,
                term: known.term,
                heard_at: known.heard_at,
                valid_until: known.valid_until(),
                direct: true,
                suspected: false,
            }),
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
