//! Pings through others: whom this node asks, and what it does for those who ask it [SWIM §3.1].
//!
//! Decides which members are asked and how a relay answers. What an answer or its absence means is
//! decided by `probe` and `check`.
//!
//! Invariants
//! 1. A relay pings its target only where it itself believes it to be: no requester can have it ping
//!    strangers.
//! 2. A requester is told once that there is no answer yet [Lifeguard §IV-A].

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, Message, Nack, NodeId, PingReq, RelayedAck};

use super::Membership;
use super::pings::{Purpose, Relay};
use super::probe::PATIENCE;
use crate::time::Instant;

/// How many others are asked to ping a member.
const RELAYS: usize = 3;
/// The longest that a requester can have a relay wait.
const MAX_NACK_AFTER: Duration = Duration::from_secs(10);

impl Membership {
    /// Asks others to ping `target`; says how many.
    pub(super) fn ask_others(&mut self, now: Instant, target: NodeId, left: Duration) -> usize {
        let Some(address) = self.table.get(target).and_then(|member| member.address) else {
            return 0;
        };
        let relays = self.pick(RELAYS, &[target]);
        if relays.is_empty() {
            return 0;
        }
        let patience = self.interval() * PATIENCE;
        let purpose = Purpose::Indirect;
        let number = self.pings.add(now, target, address, purpose, patience, &mut self.rng);
        let Some(number) = number else {
            self.counters.overflows += 1;
            return 0;
        };
        let nack_after_ms = u32::try_from((left * 6 / 10).as_millis()).unwrap_or(u32::MAX);
        for &relay in &relays {
            let Some(to) = self.table.get(relay).and_then(|member| member.address) else {
                continue;
            };
            let updates = self.updates_for(relay);
            let request = PingReq { number, target, address, nack_after_ms, updates };
            self.send(to, relay, Message::PingReq(request));
        }
        relays.len()
    }

    pub(super) fn on_ping_req(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: NodeId,
        request: &PingReq,
    ) {
        // Only where this node itself believes the target to be: no requester can have it ping
        // strangers.
        let Some(to) = self.table.get(request.target).and_then(|member| member.address) else {
            return;
        };
        let wait = Duration::from_millis(u64::from(request.nack_after_ms)).min(MAX_NACK_AFTER);
        let relay = Relay {
            requester: sender,
            back_to: from,
            number: request.number,
            nack_at: Some(now + wait),
        };
        self.ping(now, request.target, to, Purpose::Relay(relay));
    }

    pub(super) fn relay_back(&mut self, target: NodeId, relay: Relay) {
        let Some(member) = self.table.get(target) else { return };
        let (Some(sequence), Some(nonce)) = (member.sequence, member.nonce) else { return };
        let boot = Boot { sequence, nonce };
        let ack = RelayedAck { number: relay.number, target, boot };
        self.send(relay.back_to, relay.requester, Message::RelayedAck(ack));
    }

    pub(super) fn send_nacks(&mut self, now: Instant) {
        for (target, relay) in self.pings.due_nacks(now) {
            let nack = Nack { number: relay.number, target };
            self.send(relay.back_to, relay.requester, Message::Nack(nack));
        }
    }

    pub(super) fn on_nack(&mut self, now: Instant, sender: NodeId, nack: &Nack) {
        let waiting = self.pings.get(nack.number).filter(|waiting| {
            waiting.purpose == Purpose::Indirect && waiting.member == nack.target
        });
        let asked = waiting.is_some();
        if let Some(asked_at) = waiting.map(|waiting| waiting.sent) {
            self.answers.note(sender, asked_at, now.since(asked_at));
        }
        if let Some(round) = self.round.as_mut().filter(|round| asked && round.is_of(nack.target)) {
            round.note_nack();
        }
    }

    pub(super) fn on_relayed_ack(&mut self, now: Instant, ack: &RelayedAck) {
        let asked = self.pings.get(ack.number).is_some_and(|waiting| {
            waiting.purpose == Purpose::Indirect && waiting.member == ack.target
        });
        let same_boot = self.table.get(ack.target).is_some_and(|member| member.is_boot(ack.boot));
        if asked && same_boot {
            self.pings.take(ack.number);
            self.on_answer(now, ack.target);
        }
    }
}
