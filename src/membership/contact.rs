//! First-hand contact: whether a datagram comes from the process that it names.
//!
//! Decides which boot a name belongs to and at which address it is. Rumours are no contact.
//!
//! ```text
//! from where the member is, by the known process             known
//! from where the member is, by a process of higher sequence  a restart: it takes the name over at once
//! from where the member is, by any other process             the name is its own once it answers a ping
//! from elsewhere                                             the address is its own once it answers a
//!                                                            ping there, and where the member was it is
//!                                                            silent, also when asked
//! by an unknown name                                         refused, or the same when names may join
//! ```
//!
//! Where the configuration has a member it may always come back to: from a process that has never
//! spoken from there the name is taken away at once.
//!
//! Invariants
//! 1. A member's address changes only after it answered a random number from the new one, and unless
//!    that is configured, while the old one was silent for [`SILENCE`] intervals and to a ping. So one
//!    forged datagram moves nobody.
//!    An answer that comes when a process of a higher sequence has taken the name since the question
//!    proves nothing: whoever gave it may be gone.
//! 2. At most [`MAX_PROOFS`] are under way, one for each name.
//! 3. No address is asked or used that means nothing here.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Ack, Boot, Message, NodeId, Update};

use super::pings::Purpose;
use super::reach::{Unusable, unusable};
use super::{Event, Health, Member, Membership};
use crate::time::Instant;

/// The most address proofs under way.
const MAX_PROOFS: usize = 128;
/// Pings of one proof.
const TRIES: u32 = 3;
/// Pings of a proof that has been answered while the old address is silent.
const MORE_TRIES: u32 = 14;
/// Intervals without a datagram from an address before another may take its place.
const SILENCE: u32 = 2;
/// The most addresses of one name.
pub const MAX_ADDRESSES: usize = 8;
/// Members asked at once whether they are back where the configuration has them.
const MAX_STRAYS: usize = 8;
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
    /// When it was first answered.
    answered_at: Option<Instant>,
    /// Whether the old address has answered a ping sent after that.
    holder_answered: bool,
}

impl Proof {
    const fn new(address: SocketAddr, rumour: Option<Update>, now: Instant) -> Self {
        let (answered_at, holder_answered) = (None, false);
        Self { address, rumour, tries: 0, next_at: now, answered_at, holder_answered }
    }

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
                member.rooted |=
                    member.nonce == Some(boot.nonce) && member.configured.contains(&from);
            });
            if !at_home {
                self.hear_again(sender, from);
                self.start_proof(now, sender, from, None);
            }
            self.sign_of_life(now, sender);
            self.tell_the_accused(now, sender);
            return Standing::Known;
        }
        let highest = member.sequence.max(member.rare().superseded);
        if at_home && highest.is_none_or(|highest| boot.sequence > highest) {
            self.take_over(now, from, sender, boot, 0);
            return Standing::Known;
        }
        self.counters.boots_doubted += u64::from(member.sequence.is_some());
        self.hear_again(sender, from);
        self.start_proof(now, sender, from, None);
        Standing::Unproven
    }

    /// Something came from where the configuration has a name: if it was asked there in vain, it is
    /// asked again without a pause.
    fn hear_again(&mut self, id: NodeId, from: SocketAddr) {
        let rightful = self.table.get(id).is_some_and(|member| member.configured.contains(&from));
        let in_vain = |proof: &Proof| {
            proof.address == from && proof.answered_at.is_none() && proof.tries >= TRIES
        };
        if rightful && self.proofs.get(&id).is_some_and(in_vain) {
            self.proofs.remove(&id);
        }
    }

    /// Whether a member was heard lately from where the configuration has it.
    pub(super) fn speaks_from_its_seat(&self, now: Instant, member: &Member) -> bool {
        let recent = self.params.probe_interval * SILENCE;
        member.rooted
            && member.health.is_reachable()
            && member.address.is_some_and(|address| member.configured.contains(&address))
            && member.heard_at_home.is_some_and(|heard| now.since(heard) < recent)
    }

    /// A member that is accused or dead here and still sends is told, so that it can answer.
    fn tell_the_accused(&mut self, now: Instant, id: NodeId) {
        let spacing = self.params.probe_interval / 4;
        let due = self.table.get(id).is_some_and(|member| {
            matches!(member.health, Health::Suspect | Health::Dead)
                && !member.is_held_off()
                && member.rare().told_at.is_none_or(|told| now.since(told) >= spacing)
        });
        if due {
            self.table.edit(id, |member| member.rare_mut().told_at = Some(now));
            self.gossip_eagerly(id);
        }
    }

    /// A new process has the name, at `from`.
    fn take_over(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: NodeId,
        boot: Boot,
        incarnation: u32,
    ) {
        self.checks.remove(&id);
        self.let_go(id);
        self.round.take_if(|round| round.is_of(id));
        let Some((restarted, address)) = self.table.edit(id, |member| {
            let restarted = member.sequence.is_some();
            if restarted {
                let gone = member.sequence;
                let rare = member.rare_mut();
                rare.superseded = rare.superseded.max(gone);
                rare.rival = None;
            }
            member.sequence = Some(boot.sequence);
            member.nonce = Some(boot.nonce);
            member.boot_since = now;
            member.rooted = member.configured.contains(&from);
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
        self.admit(id, !restarted);
        if restarted {
            self.tell(Event::MemberRestarted { member: id });
        } else if let Some(address) = address {
            self.tell(Event::MemberJoined { member: id, address });
        }
        if let Some(update) = self.table.get(id).and_then(Member::update) {
            self.spread_arrival(update);
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
            let rightful = |address| {
                self.table.get(id).is_some_and(|member| member.configured.contains(&address))
            };
            if proof.address == address || !rightful(address) || rightful(proof.address) {
                return proof.address == address;
            }
            // Whoever speaks from where the configuration has the name does not wait for another.
            self.proofs.remove(&id);
        }
        if let Some(why) = unusable(address, self.me.address) {
            self.refuse_address(id, address, why);
            return false;
        }
        if self.proofs.len() >= MAX_PROOFS {
            self.counters.overflows += 1;
            return false;
        }
        if self.table.get(id).is_none() && !self.has_room() {
            return false;
        }
        self.proofs.insert(id, Proof::new(address, rumour, now));
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
            // Where the member was nobody has answered yet: it may have moved.
            let moving = proof.answered_at.is_some() && !proof.holder_answered;
            let last = if moving { MORE_TRIES } else { TRIES };
            // The pause keeps a member at a wrong address from being asked all the time.
            let pause = if tries >= last && known { PROOF_PAUSE * 4 } else { 1 };
            proof.next_at = now + interval / 4 * pause;
            if tries > last {
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
        let asked_at = self.pings.get(number).and_then(|waiting| {
            let asked = (waiting.purpose, waiting.member, waiting.to);
            (asked == (Purpose::Address, sender, from)).then_some(waiting.sent)
        });
        let Some(asked_at) = asked_at else { return };
        if self.proofs.get(&sender).is_none_or(|proof| proof.address != from) {
            return;
        }
        let Some(member) = self.table.get(sender) else {
            self.join(now, from, sender, boot);
            return;
        };
        let same_boot = member.is_boot(boot);
        let lower = member.sequence.max(member.rare().superseded) > Some(boot.sequence);
        if !same_boot && lower && member.boot_since > asked_at {
            // The late word of a process that has been replaced since it was asked.
            return;
        }
        let (home, reachable) = (member.address, member.health.is_reachable());
        let home_heard = member.heard_at_home.filter(|_| reachable);
        let rightful = member.configured.contains(&from) && (same_boot || !member.rooted);
        if let Some(home) = home.filter(|&home| home != from && !rightful)
            && let Some(heard) = home_heard
        {
            let Some(proof) = self.proofs.get_mut(&sender) else { return };
            let answered_at = *proof.answered_at.get_or_insert(now);
            if proof.holder_answered {
                // The proof stays until its pause is over. One process may have two addresses.
                if !same_boot {
                    self.refuse(now, sender, boot, from);
                }
                return;
            }
            let interval = self.params.probe_interval;
            let asked_in_vain = now.since(answered_at) >= interval / 2;
            if !asked_in_vain || now.since(heard) < interval * SILENCE {
                self.ping(now, sender, home, Purpose::Holder);
                return;
            }
        }
        self.proofs.remove(&sender);
        self.table.edit(sender, |member| {
            member.address = Some(from);
            member.heard_at_home = Some(now);
            if !member.configured.contains(&from) {
                member.rare_mut().proven = Some(from);
            } else if let Some(rare) = member.rare_if_any() {
                rare.proven = None;
            }
        });
        if !same_boot {
            self.take_over(now, from, sender, boot, 0);
        }
        if home.is_some_and(|home| home != from) {
            self.tell(Event::MemberMoved { member: sender, address: from });
        }
    }

    /// The answer from where a member was, while its name is used elsewhere.
    pub(super) fn on_holder_ack(
        &mut self,
        from: SocketAddr,
        sender: NodeId,
        boot: Boot,
        number: u32,
    ) {
        let holds = self
            .table
            .get(sender)
            .is_some_and(|member| member.nonce == Some(boot.nonce) && member.address == Some(from));
        let asked = self.pings.get(number).is_some_and(|waiting| {
            (waiting.purpose, waiting.member, waiting.to) == (Purpose::Holder, sender, from)
        });
        if holds
            && asked
            && let Some(proof) = self.proofs.get_mut(&sender)
        {
            proof.holder_answered = true;
        }
    }

    /// Takes note of an address that means nothing here.
    fn refuse_address(&mut self, id: NodeId, address: SocketAddr, why: Unusable) {
        self.counters.addresses_refused += 1;
        let new = self.table.edit(id, |member| {
            let new = member.refused() != Some((address, why));
            member.rare_mut().refused = Some((address, why));
            new
        });
        if new == Some(true) {
            self.tell(Event::AddressRefused { member: id, address, why });
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
        let mut member = Member::new(sender, None, now);
        member.address = Some(from);
        self.table.insert(member);
        self.take_over(now, from, sender, boot, incarnation);
    }

    /// The configuration's word for where a peer is, the preferred address first, once its name is
    /// resolved or has changed. Addresses that mean nothing here are left out; if nothing else is
    /// among them, what was known before stays.
    pub fn resolved(&mut self, now: Instant, peer: NodeId, addresses: &[SocketAddr]) {
        if self.table.get(peer).is_none() || self.has_left {
            return;
        }
        self.notice_lateness(now);
        let (mut usable, mut refused) = (Vec::new(), None);
        for &address in addresses.iter().take(MAX_ADDRESSES) {
            match unusable(address, self.me.address) {
                None => usable.push(address),
                Some(why) => refused = refused.or(Some((address, why))),
            }
        }
        match refused {
            Some((address, why)) => self.refuse_address(peer, address, why),
            None => {
                self.table
                    .edit(peer, |member| member.rare_if_any().map(|rare| rare.refused = None));
            }
        }
        let Some(&first) = usable.first() else { return };
        let Some(in_use) = self.table.edit(peer, |member| {
            member.configured = usable.into_boxed_slice();
            let stays = member.address.is_some_and(|now| member.configured.contains(&now));
            let in_use = member.address.is_some() && member.health.is_reachable();
            if !in_use && !stays {
                member.address = Some(first);
                member.heard_at_home = None;
            }
            stays || in_use
        }) else {
            return;
        };
        if !in_use {
            self.call(now, peer, Duration::ZERO);
        }
    }

    /// Asks members that answer from elsewhere only, whether they answer from where the configuration
    /// has them.
    pub(super) fn call_strays(&mut self, now: Instant) {
        let turn = self.steps as usize;
        let asked = |member: &Member| {
            let address = member.configured.get(turn % member.configured.len().max(1))?;
            (member.address != Some(*address)).then_some((member.id, *address))
        };
        let strays = self.table.strays().iter().filter(|id| !self.proofs.contains_key(id));
        let strays = strays.filter_map(|&id| self.table.get(id)).filter_map(asked);
        let strays: Vec<_> = strays.take(MAX_STRAYS).collect();
        for (id, address) in strays {
            self.start_proof(now, id, address, None);
        }
    }

    /// Answers a ping without rumours: the sender is not known for who it says it is.
    pub(super) fn answer_stranger(&mut self, from: SocketAddr, sender: NodeId, number: u32) {
        let ack = Ack { number, digest: 0, beacon: None, updates: Vec::new() };
        self.send(from, sender, Message::Ack(ack));
    }
}
