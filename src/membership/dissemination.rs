//! Rumours waiting to be carried on other messages.
//!
//! Decides which rumours a message carries and how often each is carried. What is news is decided
//! by `rumour`.
//!
//! Invariants
//! 1. A message carries at most [`MAX_UPDATES`] rumours of at most [`UPDATES_BUDGET`] bytes.
//! 2. News about the receiver goes first, then what has been carried least [SWIM §4.1].
//! 3. Each rumour is carried at most `RETRANSMIT x ceil(log10(n + 1))` times, and the queue holds at
//!    most [`MAX_RUMOURS`].
//! 4. Arrivals are not carried while [`CROWD`] rumours wait: where hundreds arrive at once each of them
//!    would be carried by everybody, and comparing tables tells of them in a sixteenth of the bytes.

use ringrift_wire::{MAX_UPDATES, MemberState, NodeId, Update, Updates};
use std::collections::BTreeMap;

/// Factor of the retransmit limit [SWIM §4.1].
const RETRANSMIT: u32 = 4;
/// The most rumours that wait.
const MAX_RUMOURS: usize = 1_024;

/// Rumours waiting beyond which no arrival is added to them.
const CROWD: usize = 48;

/// Bytes that rumours may take of a datagram: 1,200 less the largest header, seal, beacon and fixed
/// fields of any message that carries rumours.
pub(super) const UPDATES_BUDGET: usize = 900;
/// The largest rumour: two names, an IPv6 address, sequence and incarnation.
pub(super) const MAX_UPDATE: usize = update_size(63, 63);

/// An upper bound of the encoded size of a rumour.
pub(super) fn size_of(update: &Update) -> usize {
    let by = match &update.state {
        MemberState::Suspect { by } | MemberState::Dead { by } => by.as_bytes().len(),
        MemberState::Alive | MemberState::Left => 0,
    };
    update_size(update.member.as_bytes().len(), by)
}

/// Name, accuser, address (1 + 16 + 3), sequence (9), incarnation (5), state (1).
const fn update_size(name: usize, by: usize) -> usize {
    (1 + name) + (1 + by) + 20 + 9 + 5 + 1
}

/// A rumour is superseded by one about the same member; accusations of one member by several
/// accusers stand side by side.
type Key = (NodeId, Option<NodeId>);

#[derive(Clone, Debug)]
struct Waiting {
    update: Update,
    carried: u32,
    /// Counts up: later news first among equals.
    order: u64,
}

/// The queue of rumours.
#[derive(Clone, Debug, Default)]
pub(super) struct Dissemination {
    waiting: BTreeMap<Key, Waiting>,
    next_order: u64,
}

impl Dissemination {
    /// Takes a rumour up; false if another had to be dropped for it.
    pub(super) fn spread(&mut self, update: Update) -> bool {
        let accuser = match update.state {
            MemberState::Suspect { by } => Some(by),
            MemberState::Alive | MemberState::Dead { .. } | MemberState::Left => None,
        };
        let fresh = (update.sequence, update.incarnation);
        self.waiting.retain(|&(member, by), waiting| {
            let side_by_side = accuser.is_some()
                && by.is_some()
                && (waiting.update.sequence, waiting.update.incarnation) == fresh;
            member != update.member || side_by_side
        });
        let mut room = true;
        if self.waiting.len() >= MAX_RUMOURS {
            room = false;
            let tired = self.waiting.iter().max_by_key(|(_, waiting)| waiting.carried);
            if let Some(key) = tired.map(|(&key, _)| key) {
                self.waiting.remove(&key);
            }
        }
        self.next_order += 1;
        let waiting = Waiting { update, carried: 0, order: self.next_order };
        self.waiting.insert((update.member, accuser), waiting);
        room
    }

    /// Whether so much waits that what can be learned by comparing tables should be left to that.
    pub(super) fn is_crowded(&self) -> bool {
        self.waiting.len() >= CROWD
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What a message to `receiver` carries among `members` members: `first` before anything else.
    pub(super) fn fill(
        &mut self,
        receiver: NodeId,
        first: Option<Update>,
        members: usize,
    ) -> Updates {
        let mut updates = Updates::new();
        let mut room = UPDATES_BUDGET;
        if let Some(update) = first {
            room = room.saturating_sub(size_of(&update));
            updates.push(update);
        }
        if self.waiting.is_empty() {
            return updates;
        }
        let mut order: Vec<(bool, u32, u64, Key)> = self
            .waiting
            .iter()
            .map(|(&key, waiting)| {
                (key.0 != receiver, waiting.carried, u64::MAX - waiting.order, key)
            })
            .collect();
        order.sort_unstable();
        let limit = retransmit_limit(members);
        for (.., key) in order {
            let Some(waiting) = self.waiting.get_mut(&key) else { continue };
            let size = size_of(&waiting.update);
            if updates.len() >= MAX_UPDATES || size > room {
                break;
            }
            if Some(waiting.update) == first {
                continue;
            }
            room -= size;
            updates.push(waiting.update);
            waiting.carried += 1;
            if waiting.carried >= limit {
                self.waiting.remove(&key);
            }
        }
        updates
    }
}

/// How often a rumour is carried among `members` members.
pub(super) fn retransmit_limit(members: usize) -> u32 {
    RETRANSMIT * magnitude(members)
}

/// ceil(log10(members + 1)), at least 1.
pub(super) fn magnitude(members: usize) -> u32 {
    members.max(1).ilog10() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::from_bytes(name.as_bytes()).expect("a good name")
    }

    fn update(name: &str, incarnation: u32, state: MemberState) -> Update {
        let address = ([10, 0, 0, 1], 8770).into();
        Update { member: id(name), address, sequence: 1, incarnation, state }
    }

    /// Invariant 3.
    #[test]
    fn a_rumour_is_carried_so_often_and_no_more() {
        let mut queue = Dissemination::default();
        queue.spread(update("a", 0, MemberState::Alive));
        let carried = |queue: &mut Dissemination| queue.fill(id("z"), None, 5).len();
        assert_eq!((0..10).map(|_| carried(&mut queue)).sum::<usize>(), 4);
        assert!(queue.is_idle());
        let limits = [1, 9, 10, 99, 100, 1_000].map(retransmit_limit);
        assert_eq!(limits, [4, 4, 8, 8, 12, 16]);
    }

    /// Invariant 2.
    #[test]
    fn news_about_the_receiver_then_the_newest_goes_first() {
        let mut queue = Dissemination::default();
        for name in ["a", "b", "c"] {
            queue.spread(update(name, 0, MemberState::Alive));
        }
        let names = |updates: Updates| updates.iter().map(|u| u.member).collect::<Vec<_>>();
        assert_eq!(names(queue.fill(id("b"), None, 5)), [id("b"), id("c"), id("a")]);
        queue.spread(update("d", 0, MemberState::Alive));
        assert_eq!(names(queue.fill(id("z"), None, 5))[0], id("d"));
        let told = update("z", 4, MemberState::Suspect { by: id("a") });
        assert_eq!(names(queue.fill(id("z"), Some(told), 5))[0], id("z"));
    }

    /// Invariant 1.
    #[test]
    fn a_message_carries_no_more_than_fits() {
        let mut short = Dissemination::default();
        let mut long = Dissemination::default();
        for n in 0..100 {
            short.spread(update(&format!("{n}"), 0, MemberState::Alive));
            let name = format!("{n:0>63}");
            long.spread(update(&name, 0, MemberState::Suspect { by: id(&name) }));
        }
        let short = short.fill(id("z"), None, 5);
        let long = long.fill(id("z"), None, 5);
        assert!(short.iter().map(size_of).sum::<usize>() <= UPDATES_BUDGET);
        assert!(long.iter().map(size_of).sum::<usize>() <= UPDATES_BUDGET);
        assert!(short.len() <= MAX_UPDATES && short.len() > long.len());
        assert_eq!(size_of(&long[0]), MAX_UPDATE);
    }

    #[test]
    fn accusers_stand_side_by_side_until_the_suspect_answers() {
        let mut queue = Dissemination::default();
        queue.spread(update("a", 0, MemberState::Suspect { by: id("b") }));
        queue.spread(update("a", 0, MemberState::Suspect { by: id("c") }));
        assert_eq!(queue.clone().fill(id("z"), None, 5).len(), 2);
        queue.spread(update("a", 1, MemberState::Alive));
        assert_eq!(queue.fill(id("z"), None, 5), [update("a", 1, MemberState::Alive)]);
    }

    /// Invariant 3.
    #[test]
    fn the_queue_is_bounded() {
        let mut queue = Dissemination::default();
        let dropped = (0..MAX_RUMOURS + 10)
            .filter(|n| !queue.spread(update(&format!("{n}"), 0, MemberState::Alive)))
            .count();
        assert_eq!((queue.waiting.len(), dropped), (MAX_RUMOURS, 10));
    }
}
