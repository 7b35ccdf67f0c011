//! First-hand contact: whether a datagram comes from the process that it names.
//!
//! Decides which boot a name belongs to and at which address it is. Rumours are no contact.
//!
//! ```text
//! from where the member is, by the known process             known
//! from where the member is, by a process of higher sequence  a restart: it takes the name over at once
//! from where the member is, by any other process             the name is its own once it answers a ping
//! from elsewhere                                             the address is its own once it answers a
//!                                                            ping there and the old one is silent
//! by an unknown name                                         refused, or the same when names may join
//! ```
//!
//! Invariants
//! 1. A member's address changes only after it answered a random number from the new one, while the
//!    old one was silent for [`SILENCE`] intervals.
//! 2. At most [`MAX_PROOFS`] are under way, one for each name.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Ack, Boot, Message, NodeId, Update};

use super::pings::Purpose;
use super::{Event, Health, Member, Membership};
use crate::time::Instant;

/// The most address proofs under way.
const MAX_PROOFS: usize = 128;
/// Pings of one proof.
const TRIES: u32 = 3;
/// Intervals without a datagram from an address before another may take its place.
const SILENCE: u32 = 2;
/// Intervals before a proof that failed is tried again.
const PROOF_PAUSE: u32 = 8;

/// What a sender may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the process that it names.
    Known,
    /// It may become a member; until then it is answered and not believed.
    Unproven,
    /// It is nobody.
    Refused,
}

/// An address that a name has still to answer from.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    address: SocketAddr,
    /// The rumour that told of the name.
    rumour: Option<Update>,
    tries: u32,
    next_at: Instant,
}

impl Proof {
    pub(super) const fn due(&self) -> Instant {
        self.next_at
    }
}

impl Membership {
    pub(super) fn contact(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: NodeId,
        boot: Boot,
    ) -> Standing {
        if sender == self.me.id {
            self.counters.name_conflicts += u64::from(boot != self.me.boot);
            return Standing::Refused;
        }
        let Some(member) = self.table.get(sender) else {
            let asked = self.params.open && self.start_proof(now, sender, from, None);
            self.counters.names_refused += u64::from(!asked);
            return if asked { Standing::Unproven } else { Standing::Refused };
        };
        let at_home = member.address == Some(from);
        if member.is_boot(boot) {
            self.table.edit(sender, |member| {
                member.last_heard = Some(now);
                member.evidence = now;
                if at_home {
                    member.nonce = Some(boot.nonce);
                    member.heard_at_home = Some(now);
                }
            });
            if !at_home {
                self.start_proof(now, sender, from, None);
            }
            self.sign_of_life(now, sender);
            self.tell_the_accused(now, sender);
            return Standing::Known;
        }
        let highest = member.sequence.max(member.superseded);
        if at_home && highest.is_none_or(|highest| boot.sequence > highest) {
            self.take_over(now, sender, boot, 0);
            return Standing::Known;
        }
        self.counters.boots_doubted += u64::from(member.sequence.is_some());
        self.start_proof(now, sender, from, None);
        Standing::Unproven
    }

    /// A member that is accused or dead here and still sends is told, so that it can answer.
    fn tell_the_accused(&mut self, now: Instant, id: NodeId) {
        let spacing = self.params.probe_interval / 4;
        let due = self.table.get(id).is_some_and(|member| {
            matches!(member.health, Health::Suspect | Health::Dead)
                && !member.is_held_off()
                && member.told_at.is_none_or(|told| now.since(told) >= spacing)
        });
        if due {
            self.table.edit(id, |member| member.told_at = Some(now));
            self.gossip_eagerly(id);
        }
    }

    /// A new process has the name.
    fn take_over(&mut self, now: Instant, id: NodeId, boot: Boot, incarnation: u32) {
        self.checks.remove(&id);
        self.let_go(id);
        self.round.take_if(|round| round.is_of(id));
        let Some((restarted, address)) = self.table.edit(id, |member| {
            let restarted = member.sequence.is_some();
            member.superseded = member.superseded.max(member.sequence);
            member.sequence = Some(boot.sequence);
            member.nonce = Some(boot.nonce);
            member.incarnation = incarnation;
            member.round_trip = None;
            member.last_heard = Some(now);
            member.heard_at_home = Some(now);
            member.evidence = now;
            member.become_health(now, Health::Alive);
            (restarted, member.address)
        }) else {
            return;
        };
        self.admit(id);
        if restarted {
            self.tell(Event::MemberRestarted { member: id });
        } else if let Some(address) = address {
            self.tell(Event::MemberJoined { member: id, address });
        }
        if let Some(update) = self.table.get(id).and_then(Member::update) {
            self.spread(update);
        }
    }

    /// Asks `id` to answer from `address`; false if it cannot be asked.
    pub(super) fn start_proof(
        &mut self,
        now: Instant,
        id: NodeId,
        address: SocketAddr,
        rumour: Option<Update>,
    ) -> bool {
        if let Some(proof) = self.proofs.get(&id) {
            return proof.address == address;
        }
        if self.proofs.len() >= MAX_PROOFS {
            self.counters.overflows += 1;
            return false;
        }
        if self.table.get(id).is_none() && !self.has_room() {
            return false;
        }
        self.proofs.insert(id, Proof { address, rumour, tries: 0, next_at: now });
        self.retry_proofs(now);
        true
    }

    fn has_room(&self) -> bool {
        self.table.len() < self.params.max_members
    }

    pub(super) fn retry_proofs(&mut self, now: Instant) {
        let due: Vec<NodeId> = self
            .proofs
            .iter()
            .filter(|(_, proof)| proof.next_at <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            let interval = self.params.probe_interval;
            let known = self.table.get(id).is_some();
            let Some(proof) = self.proofs.get_mut(&id) else { continue };
            proof.tries += 1;
            let (tries, address) = (proof.tries, proof.address);
            // The pause keeps a member at a wrong address from being asked all the time.
            let pause = if tries == TRIES && known { PROOF_PAUSE * 4 } else { 1 };
            proof.next_at = now + interval / 4 * pause;
            if tries > TRIES {
                self.proofs.remove(&id);
            } else {
                self.ping(now, id, address, Purpose::Address);
            }
        }
    }

    /// An ack that may prove an address (invariant 1).
    pub(super) fn on_proof(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: NodeId,
        boot: Boot,
        number: u32,
    ) {
        let proves = self.pings.get(number).is_some_and(|waiting| {
            (waiting.purpose, waiting.member, waiting.to) == (Purpose::Address, sender, from)
        });
        if !proves || self.proofs.get(&sender).is_none_or(|proof| proof.address != from) {
            return;
        }
        let Some(member) = self.table.get(sender) else {
            self.join(now, from, sender, boot);
            return;
        };
        let silence = self.params.probe_interval * SILENCE;
        let silent = member.heard_at_home.is_none_or(|heard| now.since(heard) >= silence);
        let same_boot = member.is_boot(boot);
        if member.address != Some(from) && !silent {
            // Two addresses answer under one name. The proof stays until its pause is over.
            self.counters.name_conflicts += u64::from(!same_boot);
            return;
        }
        self.proofs.remove(&sender);
        self.table.edit(sender, |member| member.address = Some(from));
        if !same_boot {
            self.take_over(now, sender, boot, 0);
        }
    }

    /// A name that is not configured has answered from its address.
    fn join(&mut self, now: Instant, from: SocketAddr, sender: NodeId, boot: Boot) {
        let Some(proof) = self.proofs.remove(&sender) else { return };
        if !self.has_room() {
            self.counters.names_refused += 1;
            return;
        }
        let rumour = proof.rumour.filter(|rumour| rumour.sequence == boot.sequence);
        let incarnation = rumour.map_or(0, |rumour| rumour.incarnation);
        self.table.insert(Member::new(sender, Some(from), now));
        self.take_over(now, sender, boot, incarnation);
    }

    /// The configuration's word for where a peer is, once its name is resolved or has changed.
    pub fn resolved(&mut self, now: Instant, peer: NodeId, address: SocketAddr) {
        let Some(member) = self.table.get(peer) else { return };
        if self.has_left || member.address == Some(address) {
            return;
        }
        let in_use = member.address.is_some() && member.health.is_reachable();
        self.notice_lateness(now);
        if in_use {
            self.start_proof(now, peer, address, None);
            return;
        }
        self.table.edit(peer, |member| {
            member.address = Some(address);
            member.heard_at_home = None;
        });
        self.call(now, peer, Duration::ZERO);
    }

    /// Answers a ping without rumours: the sender is not known for who it says it is.
    pub(super) fn answer_stranger(&mut self, from: SocketAddr, sender: NodeId, number: u32) {
        let ack = Ack { number, digest: 0, beacon: None, updates: Vec::new() };
        self.send(from, sender, Message::Ack(ack));
    }
}
