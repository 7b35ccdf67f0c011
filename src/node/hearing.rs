//! Who hears whom among the voters: each voter's word about the others, and what follows for itself.
//!
//! A voter sends its row to the others when the row changes, and once more an interval later; while
//! nothing changes nothing is sent. Decides the centrality of this voter: the median of what the *others*
//! say of it. Where it stands among the voters is decided by the election.
//!
//! Invariants
//! 1. What a voter says of itself never counts for its centrality, and fewer rows than a quorum needs
//!    say nothing.
//! 2. A round trip or a loss is another one when it is far from the one told, or lastingly beside it.
//! 3. One row of each voter is kept. Who is heard is told within an interval; how well, at most every
//!    [`PAUSE`] intervals.

use core::time::Duration;
use ringrift_wire::{Hearing, MAX_ROW, Message, NodeId, VoterSetTag};
use std::collections::BTreeMap;

use super::status::{Heard, HearingRow, USUAL_LOSS};
use crate::election::VoterSet;
use crate::membership::{Health, Member, Membership};
use crate::time::Instant;

/// The word for a voter that is not heard.
const SILENT: u8 = u8::MAX;
/// The low bits of a word: which doubling of [`UNIT`] the round trip lies below.
const ROUND_TRIP: u8 = 0b0001_1111;
/// The shortest round trip that is told apart: what is faster differs with the load of a machine.
const UNIT: Duration = Duration::from_millis(16);
/// Upper bounds of the classes of loss in permille, in the high three bits. One answer that is missed
/// makes no other class.
const LOSSES: [u16; 6] = [USUAL_LOSS, 300, 450, 600, 800, 1_000];
/// Reviews after which a word beside the one told is told.
const LASTING: u32 = 8;
/// Intervals between two sends because of another round trip or loss.
const PAUSE: u32 = 30;
/// How often a row is sent.
const SENDS: u32 = 2;
/// Upper bounds of the round trips of the buckets of centrality.
const BUCKETS: [Duration; 3] =
    [Duration::from_millis(128), Duration::from_millis(512), Duration::from_millis(2_048)];

/// The rows of all voters.
#[derive(Clone, Debug)]
pub(super) struct Hearings {
    me: NodeId,
    set: VoterSetTag,
    voters: Vec<NodeId>,
    quorum: usize,
    interval: Duration,
    own: Vec<u8>,
    /// For how many reviews each word has lain beside the one told.
    beside: Vec<u32>,
    sends_left: u32,
    /// Words changed that are not urgent.
    changed: bool,
    /// Before this only who is heard at all is told.
    quiet_until: Instant,
    next_review: Instant,
    rows: BTreeMap<NodeId, (Instant, Vec<u8>)>,
    centrality: u8,
    /// Another bucket, and in how many reviews in a row it was found.
    otherwise: (u8, u32),
}

impl Hearings {
    pub(super) fn new(me: NodeId, set: &VoterSet, interval: Duration) -> Self {
        let voters: Vec<NodeId> = set.ids().iter().copied().take(MAX_ROW).collect();
        Self {
            me,
            set: set.tag(),
            own: vec![SILENT; voters.len()],
            beside: vec![0; voters.len()],
            quorum: set.quorum(),
            voters,
            interval,
            sends_left: 0,
            changed: false,
            quiet_until: Instant::ZERO,
            next_review: Instant::ZERO,
            rows: BTreeMap::new(),
            centrality: 0,
            otherwise: (0, 0),
        }
    }

    /// Looks at the members once an interval; gives the row when it is to be sent.
    pub(super) fn review(&mut self, now: Instant, membership: &Membership) -> Option<Message> {
        if now < self.next_review || !self.voters.contains(&self.me) {
            return None;
        }
        self.next_review = now + self.interval;
        let longest = self.interval * u32::try_from(3 * self.voters.len()).unwrap_or(u32::MAX);
        let mut urgent = false;
        for (at, &voter) in self.voters.iter().enumerate() {
            let found = if voter == self.me {
                0
            } else {
                membership.member(voter).map_or(SILENT, |member| word(now, member, longest))
            };
            let (Some(told), Some(beside)) = (self.own.get_mut(at), self.beside.get_mut(at)) else {
                continue;
            };
            *beside = if found == *told { 0 } else { beside.saturating_add(1) };
            if far(*told, found) || *beside >= LASTING {
                urgent |= (*told == SILENT) != (found == SILENT);
                (*told, *beside, self.changed) = (found, 0, true);
            }
        }
        self.judge(membership);
        if urgent || (self.changed && now >= self.quiet_until) {
            self.sends_left = SENDS;
            self.changed = false;
            self.quiet_until = now + self.interval * PAUSE;
        }
        if self.sends_left == 0 {
            return None;
        }
        self.sends_left -= 1;
        Some(Message::Hearing(Hearing { set: self.set, row: self.own.clone() }))
    }

    /// A voter is there that may have no row of this node.
    pub(super) fn tell_again(&mut self) {
        self.sends_left = self.sends_left.max(1);
    }

    /// A voter's row.
    pub(super) fn hear(&mut self, now: Instant, from: NodeId, hearing: &Hearing) {
        let fits = hearing.set == self.set && hearing.row.len() == self.voters.len();
        if fits && self.voters.contains(&from) {
            self.rows.insert(from, (now, hearing.row.clone()));
        }
    }

    /// Bucket of this voter's centrality, 0 is best.
    pub(super) const fn centrality(&self) -> u8 {
        self.centrality
    }

    /// Invariants 1 and 2.
    fn judge(&mut self, membership: &Membership) {
        let Some(own) = self.voters.iter().position(|&voter| voter == self.me) else { return };
        let reachable = |id: NodeId| membership.member(id).is_some_and(|m| m.health.is_reachable());
        let rows = self.rows.iter().filter(|(id, _)| reachable(**id));
        let mut words: Vec<u8> = rows.filter_map(|(_, (_, row))| row.get(own).copied()).collect();
        let bucket = if words.len() + 1 < self.quorum || words.is_empty() {
            0
        } else {
            words.sort_unstable_by_key(|&word| round_trip(word).unwrap_or(Duration::MAX));
            // The lower of two in the middle: half of the others have to agree on worse.
            let median = words.get((words.len() - 1) / 2).copied().unwrap_or(SILENT);
            let below = |bound: &&Duration| round_trip(median).is_none_or(|rtt| rtt > **bound);
            BUCKETS.iter().filter(below).count() as u8 + u8::from(median == SILENT)
        };
        self.otherwise = match self.otherwise {
            _ if bucket == self.centrality => (bucket, 0),
            (known, times) if known == bucket => (bucket, times + 1),
            _ => (bucket, 1),
        };
        if self.otherwise.1 >= LASTING {
            self.centrality = bucket;
        }
    }

    /// The rows as far as they are known, this node's own among them, in the order of names.
    pub(super) fn matrix(&self, now: Instant) -> Vec<HearingRow> {
        let row = |&by: &NodeId| {
            let (at, words) = if by == self.me {
                (now, &self.own)
            } else {
                self.rows.get(&by).map(|(at, row)| (*at, row))?
            };
            let heard = |(&of, &word): (&NodeId, &u8)| {
                let heard =
                    round_trip(word).map(|round_trip| Heard { round_trip, loss: loss(word) });
                (of != by).then_some((of, heard))
            };
            let hears = self.voters.iter().zip(words).filter_map(heard).collect();
            Some(HearingRow { by, told_at: at, hears })
        };
        self.voters.iter().filter_map(row).collect()
    }
}

/// What is said of a member.
fn word(now: Instant, member: &Member, longest: Duration) -> u8 {
    let recent = member.last_heard.is_some_and(|heard| now.since(heard) <= longest);
    let there = matches!(member.health, Health::Alive | Health::Suspect);
    if !recent || !there {
        return SILENT;
    }
    let quarters = member.round_trip().map_or(0, |rtt| rtt.as_micros() / UNIT.as_micros());
    let doubling = (u128::BITS - quarters.leading_zeros()).min(u32::from(ROUND_TRIP) - 1) as u8;
    let class = LOSSES.iter().filter(|&&bound| member.loss_permille > bound).count() as u8;
    class.min(5) << 5 | doubling
}

/// The bound that the round trip lies below; `None` for one that is not heard.
fn round_trip(word: u8) -> Option<Duration> {
    (word != SILENT).then(|| UNIT * (1 << u32::from(word & ROUND_TRIP).min(24)))
}

/// The bound in permille that the loss does not exceed.
fn loss(word: u8) -> u16 {
    LOSSES.get(usize::from(word >> 5)).copied().unwrap_or(1_000)
}

/// Whether two words are told apart at once.
fn far(one: u8, other: u8) -> bool {
    let apart = |one: u8, other: u8| one.abs_diff(other) > 1;
    (one == SILENT) != (other == SILENT)
        || (one != SILENT
            && (apart(one & ROUND_TRIP, other & ROUND_TRIP) || apart(one >> 5, other >> 5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_a_bound_of_the_round_trip_and_of_the_loss() {
        assert_eq!(round_trip(SILENT), None);
        assert_eq!(round_trip(0), Some(Duration::from_millis(16)));
        assert_eq!(round_trip(3), Some(Duration::from_millis(128)));
        assert_eq!((loss(9), loss(1 << 5 | 9), loss(5 << 5)), (150, 300, 1_000));
        for word in 0..=u8::MAX {
            let _any_word_of_a_peer = (round_trip(word), loss(word));
        }
    }

    /// Invariant 2.
    #[test]
    fn a_word_beside_another_is_not_told_at_once() {
        assert!(far(SILENT, 4) && far(4, SILENT) && !far(SILENT, SILENT));
        assert!(!far(4, 5) && far(4, 6) && !far(4, 1 << 5 | 4) && far(4, 2 << 5 | 4));
    }
}
