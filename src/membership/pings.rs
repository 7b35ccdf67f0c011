//! Pings that wait for an answer, by number.
//!
//! Decides which answer belongs to which question.
//!
//! Invariants
//! 1. No number waits twice, and at most [`MAX_WAITING`] wait, of them [`MAX_RELAYS`] for others.
//! 2. The number of a ping that is to prove an address, or that it is still in use, cannot be guessed from other pings.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;

use crate::rng::Rng;
use crate::time::Instant;

/// The most pings that wait.
const MAX_WAITING: usize = 1_024;
/// The most of them that are for others.
const MAX_RELAYS: usize = 64;

/// What a ping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether the member answers.
    Life,
    /// To see whether the member answers from that address.
    Address,
    /// To see whether the member still answers from where it was, while its name is used elsewhere.
    Holder,
    /// Others were asked to ping the member.
    Indirect,
    /// Another member asked.
    Relay(Relay),
}

/// For whom a ping is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relay {
    pub(super) requester: NodeId,
    pub(super) back_to: SocketAddr,
    /// The number of the ping-req.
    pub(super) number: u32,
    /// When to say that there is no answer yet; `None` once said.
    pub(super) nack_at: Option<Instant>,
}

/// A ping that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) member: NodeId,
    pub(super) to: SocketAddr,
    pub(super) sent: Instant,
    pub(super) purpose: Purpose,
    expires: Instant,
}

/// Pings that wait for an answer.
#[derive(Clone, Debug)]
pub(super) struct Pings {
    waiting: BTreeMap<u32, Waiting>,
    /// Counts through 16 bits, so that a number takes at most three bytes; starts at random, so that
    /// late answers to an earlier process are not taken for answers to this one.
    next: u16,
    relays: usize,
}

impl Pings {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { waiting: BTreeMap::new(), next: rng.next_u64() as u16, relays: 0 }
    }

    /// A number for a ping that is about to be sent; `None` when too many wait.
    pub(super) fn add(
        &mut self,
        now: Instant,
        member: NodeId,
        to: SocketAddr,
        purpose: Purpose,
        patience: Duration,
        rng: &mut Rng,
    ) -> Option<u32> {
        let relay = matches!(purpose, Purpose::Relay(_));
        if self.waiting.len() >= MAX_WAITING || (relay && self.relays >= MAX_RELAYS) {
            return None;
        }
        let number = loop {
            let number = if matches!(purpose, Purpose::Address | Purpose::Holder) {
                rng.next_u64() as u32
            } else {
                self.next = self.next.wrapping_add(1);
                u32::from(self.next)
            };
            // Ends: fewer wait than there are numbers.
            if !self.waiting.contains_key(&number) {
                break number;
            }
        };
        self.relays += usize::from(relay);
        let expires = now + patience;
        self.waiting.insert(number, Waiting { member, to, sent: now, purpose, expires });
        Some(number)
    }

    pub(super) fn get(&self, number: u32) -> Option<&Waiting> {
        self.waiting.get(&number)
    }

    pub(super) fn take(&mut self, number: u32) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.relays -= usize::from(matches!(waiting.purpose, Purpose::Relay(_)));
        Some(waiting)
    }

    /// When the next nack is due.
    pub(super) fn next_nack(&self) -> Option<Instant> {
        if self.relays == 0 {
            return None;
        }
        self.waiting.values().filter_map(|waiting| relay_of(waiting)?.nack_at).min()
    }

    /// The relays whose nack is due, each once, with the member they are about.
    pub(super) fn due_nacks(&mut self, now: Instant) -> Vec<(NodeId, Relay)> {
        let mut due = Vec::new();
        if self.relays > 0 {
            for waiting in self.waiting.values_mut() {
                if let Purpose::Relay(relay) = &mut waiting.purpose
                    && relay.nack_at.is_some_and(|at| at <= now)
                {
                    relay.nack_at = None;
                    due.push((waiting.member, *relay));
                }
            }
        }
        due
    }

    /// Gives up on what nobody will answer any more.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.waiting.retain(|_, waiting| waiting.expires > now);
        self.relays = self.waiting.values().filter_map(relay_of).count();
    }
}

fn relay_of(waiting: &Waiting) -> Option<&Relay> {
    match &waiting.purpose {
        Purpose::Relay(relay) => Some(relay),
        Purpose::Life | Purpose::Address | Purpose::Holder | Purpose::Indirect => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 1.
    #[test]
    fn pings_that_wait_are_bounded_and_relays_more_so() {
        let mut rng = Rng::new(1);
        let mut pings = Pings::new(&mut rng);
        let id = NodeId::from_bytes(b"a").expect("a good name");
        let to = ([10, 0, 0, 1], 8770).into();
        let second = Duration::from_secs(1);
        let relay = Purpose::Relay(Relay { requester: id, back_to: to, number: 1, nack_at: None });
        let mut add = |purpose, count: usize| {
            let added = (0..count)
                .filter(|_| pings.add(Instant::ZERO, id, to, purpose, second, &mut rng).is_some());
            added.count()
        };
        assert_eq!(add(relay, 100), MAX_RELAYS);
        assert_eq!(add(Purpose::Life, 2_000), MAX_WAITING - MAX_RELAYS);
        pings.forget_old(Instant::ZERO + second);
        assert_eq!((pings.waiting.len(), pings.relays), (0, 0));
    }
}
