//! The leader's beacon on membership's messages: who is told of the leader, and when.
//!
//! A beacon is pulled, by whoever has none or an old one, and pushed for a while after a change, so
//! that it costs nothing while every node knows the leader. Most of the pulling rides on the pings of
//! membership, of which few go to voters in a large cluster; whoever has heard nothing for half a lease
//! asks voters, who hear the leader itself.
//!
//! Invariants
//! 1. What a beacon says counts as said when it was asked for, never when it arrived. One that nobody
//!    asked for is a hint to ask, unless it comes from the leader itself: passed on and on, it would
//!    stay young for as long as it is under way.

use core::time::Duration;
use ringrift_wire::{Beacon, Gossip, Message, NodeId};
use std::collections::VecDeque;

use crate::time::Instant;

/// The most members that a new leader tells at once; the others hear of it by gossip.
pub(super) const MAX_TOLD_AT_ONCE: usize = 64;
/// What part of a probe interval lies between two questions that hints cause, at least.
const HINTS_PER_INTERVAL: u32 = 8;
/// Voters asked at once by a node that has heard nothing for half a lease.
pub(super) const ASKED_AT_ONCE: usize = 2;
/// The most pings whose send time is remembered.
const MAX_PINGS: usize = 64;

/// What is needed to pass beacons on.
#[derive(Clone, Debug, Default)]
pub(super) struct Beacons {
    /// How many more messages carry the beacon because it is news.
    news_left: usize,
    /// Who has just asked for the beacon.
    asker: Option<NodeId>,
    /// Before this, no hint is followed.
    hint_after: Instant,
    /// Before this, no voter is asked again.
    ask_after: Instant,
    /// Which voter is asked next.
    turn: usize,
    pings: VecDeque<(u32, NodeId, Instant)>,
}

impl Beacons {
    /// The leader has changed: the next messages say so, about three to every member of a small
    /// cluster, and a few times the logarithm of a large one.
    pub(super) fn news(&mut self, members: usize) {
        let log = usize::BITS - members.leading_zeros();
        self.news_left = (3 * members).min(32 * log as usize).max(1);
    }

    /// Whether to ask whoever gave a hint.
    pub(super) fn takes_hint(&mut self, now: Instant, interval: Duration) -> bool {
        let takes = now >= self.hint_after;
        if takes {
            self.hint_after = now + interval / HINTS_PER_INTERVAL;
        }
        takes
    }

    /// Whom of `voters` to ask now, `pause` after the last time at the earliest.
    pub(super) fn whom_to_ask(
        &mut self,
        now: Instant,
        pause: Duration,
        voters: &[NodeId],
    ) -> Vec<NodeId> {
        if now < self.ask_after {
            return Vec::new();
        }
        self.ask_after = now + pause;
        let turn = self.turn;
        self.turn = turn.wrapping_add(ASKED_AT_ONCE);
        let count = voters.len();
        let chosen = (0..ASKED_AT_ONCE.min(count)).map(|step| turn.wrapping_add(step) % count);
        chosen.filter_map(|at| voters.get(at).copied()).collect()
    }

    /// A message is about to be handled: its answer may have to carry the beacon.
    pub(super) fn heard(&mut self, sender: NodeId, message: &Message) {
        self.asker = match message {
            Message::Ping(ping) if ping.wants_beacon => Some(sender),
            _ => None,
        };
    }

    /// The message has been handled.
    pub(super) fn answered(&mut self) {
        self.asker = None;
    }

    /// When the ping was sent that this is the ack of: what it says was so after that.
    pub(super) fn asked_at(&self, sender: NodeId, message: &Message) -> Option<Instant> {
        let Message::Ack(ack) = message else { return None };
        let asked = self.pings.iter().find(|ping| (ping.0, ping.1) == (ack.number, sender));
        asked.map(|(_, _, at)| *at)
    }

    /// Puts the beacon, or the wish for one, on a message to `member`.
    pub(super) fn decorate(
        &mut self,
        now: Instant,
        member: NodeId,
        message: &mut Message,
        wants: bool,
        beacon: Option<Beacon>,
    ) {
        let place = match message {
            Message::Ping(ping) => {
                if self.pings.len() == MAX_PINGS {
                    self.pings.pop_front();
                }
                self.pings.push_back((ping.number, member, now));
                ping.wants_beacon = wants;
                &mut ping.beacon
            }
            Message::Ack(ack) => &mut ack.beacon,
            Message::Gossip(gossip) => &mut gossip.beacon,
            _ => return,
        };
        let asked = self.asker == Some(member);
        if (asked || self.news_left > 0) && beacon.is_some() {
            if !asked {
                self.news_left -= 1;
            }
            *place = beacon;
        }
    }
}

/// A beacon by itself.
pub(super) const fn gossip(beacon: Beacon) -> Message {
    Message::Gossip(Gossip { beacon: Some(beacon), updates: Vec::new() })
}
