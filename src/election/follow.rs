//! Whom this node follows: the leader's own heartbeats, or what others pass on of them.
//!
//! Invariants
//! 1. What is known of a leader ends with its lease, counted from when its heartbeat was heard.
//! 2. A beacon is never younger than the heartbeat that it rests on.
//! 3. A released term is not believed again.

use core::time::Duration;
use ringrift_wire::{Beacon, NodeId};
use std::collections::BTreeMap;

use super::core::millis;
use crate::time::Instant;

/// The leader that was last heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub id: NodeId,
    /// Which process.
    pub nonce: u64,
    /// In which term.
    pub term: u64,
    /// The number of the newest heartbeat.
    pub number: u64,
    /// When that was heard, less the age of the beacon.
    pub heard_at: Instant,
    /// The leader's lease.
    pub lease: Duration,
    /// When the leader's own heartbeat last arrived here.
    pub direct_at: Option<Instant>,
}

impl Known {
    /// The knowledge ends here.
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        self.heard_at + self.lease
    }
}

/// What a node knows of leaders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    known: Option<Known>,
    released: BTreeMap<NodeId, (u64, u64)>,
}

impl Follow {
    /// The leader, if its word is younger than its lease.
    #[must_use]
    pub fn leader(&self, now: Instant) -> Option<&Known> {
        self.known.as_ref().filter(|known| now < known.valid_until())
    }

    /// The last leader, however long ago.
    #[must_use]
    pub const fn last(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// A heartbeat of the leader itself.
    pub fn heartbeat(&mut self, now: Instant, heard: Known) {
        self.hear(now, Known { heard_at: now, direct_at: Some(now), ..heard });
    }

    /// What another node knows of the leader; `asked_at` is when it was asked, or now.
    pub fn beacon(&mut self, now: Instant, asked_at: Instant, beacon: &Beacon) {
        let age = Duration::from_millis(u64::from(beacon.age_ms));
        if age > asked_at.since(Instant::ZERO) {
            // Older than this clock can say.
            return;
        }
        let heard_at = asked_at - age;
        self.hear(
            now,
            Known {
                id: beacon.leader,
                nonce: beacon.nonce,
                term: beacon.term,
                number: beacon.number,
                heard_at,
                lease: Duration::from_millis(u64::from(beacon.lease_ms)),
                direct_at: None,
            },
        );
    }

    fn hear(&mut self, now: Instant, heard: Known) {
        let gone = self.released.get(&heard.id);
        if gone.is_some_and(|&(nonce, term)| nonce == heard.nonce && heard.term <= term)
            || now >= heard.valid_until()
        {
            return;
        }
        let same = |known: &&Known| (known.id, known.nonce) == (heard.id, heard.nonce);
        if let Some(known) = self.leader(now) {
            let older = heard.term == known.term && heard.heard_at <= known.heard_at;
            if heard.term < known.term || older {
                return;
            }
        }
        let direct_at =
            heard.direct_at.or(self.known.as_ref().filter(same).and_then(|k| k.direct_at));
        self.known = Some(Known { direct_at, ..heard });
    }

    /// A leader or candidate released a term. Returns whether it was the one followed.
    pub fn release(&mut self, from: NodeId, nonce: u64, term: u64) -> bool {
        let gone = self.released.entry(from).or_insert((nonce, term));
        if gone.0 != nonce || gone.1 < term {
            *gone = (nonce, term);
        }
        let matches =
            |known: &Known| known.id == from && known.nonce == nonce && known.term <= term;
        let followed = self.known.as_ref().is_some_and(matches);
        if followed {
            self.known = None;
        }
        followed
    }

    /// This node leads itself: it follows nobody.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// What this node passes on.
    #[must_use]
    pub fn to_beacon(&self, now: Instant) -> Option<Beacon> {
        self.leader(now).map(|known| Beacon {
            leader: known.id,
            nonce: known.nonce,
            term: known.term,
            number: known.number,
            age_ms: millis(now.since(known.heard_at)).saturating_add(1),
            lease_ms: millis(known.lease),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const L: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos((100 + seconds) * 1_000_000_000)
    }

    fn heard(name: &str, term: u64) -> Known {
        Known {
            id: name.parse().unwrap(),
            nonce: 1,
            term,
            number: 5,
            heard_at: at(0),
            lease: L,
            direct_at: None,
        }
    }

    #[test]
    fn knowledge_ends_with_the_lease_also_through_others() {
        let (mut first, mut second, mut third) =
            (Follow::default(), Follow::default(), Follow::default());
        first.heartbeat(at(0), heard("a", 3));
        assert!(first.leader(at(9)).is_some() && first.leader(at(10)).is_none());
        second.beacon(at(4), at(4), &first.to_beacon(at(4)).unwrap());
        assert!(second.leader(at(9)).is_some() && second.leader(at(10)).is_none());
        third.beacon(at(8), at(7), &second.to_beacon(at(8)).unwrap());
        assert!(
            third.leader(at(8)).is_some() && third.leader(at(9)).is_none(),
            "aged from the question"
        );
    }

    #[test]
    fn a_released_term_is_not_believed_again() {
        let mut follow = Follow::default();
        follow.heartbeat(at(0), heard("a", 3));
        let late = follow.to_beacon(at(0)).unwrap();
        assert!(follow.release("a".parse().unwrap(), 1, 3));
        follow.beacon(at(0), at(0), &late);
        follow.heartbeat(at(0), heard("a", 3));
        assert_eq!(follow.leader(at(0)), None);
        follow.heartbeat(at(0), heard("a", 4));
        assert!(follow.leader(at(0)).is_some(), "a later term is a new lead");
    }

    #[test]
    fn a_lower_term_does_not_displace_a_running_one() {
        let mut follow = Follow::default();
        follow.heartbeat(at(0), heard("a", 3));
        follow.heartbeat(at(1), heard("b", 2));
        assert_eq!(follow.leader(at(1)).unwrap().id, "a".parse().unwrap());
        follow.heartbeat(at(11), heard("b", 2));
        assert_eq!(follow.leader(at(11)).unwrap().id, "b".parse().unwrap());
    }

    proptest! {
        /// Invariants 1 and 2: through any number of hops, each asked before it is told, knowledge
        /// never outlasts the heartbeat's lease.
        #[test]
        fn no_chain_of_beacons_outlasts_the_lease(
            hops in prop::collection::vec((0..4_000u64, 0..4_000u64), 1..6),
        ) {
            let ms = |ms: u64| Instant::from_nanos((100_000 + ms) * 1_000_000);
            let mut teller = Follow::default();
            teller.heartbeat(ms(0), heard("a", 3));
            let mut now = 0;
            for (wait, travel) in hops {
                let asked_at = ms(now);
                now += wait;
                let Some(beacon) = teller.to_beacon(ms(now)) else { return Ok(()) };
                now += travel;
                let mut hearer = Follow::default();
                hearer.beacon(ms(now), asked_at, &beacon);
                if let Some(known) = hearer.leader(ms(now)) {
                    prop_assert!(known.valid_until() <= ms(0) + L);
                }
                teller = hearer;
            }
        }

        /// Whatever a beacon says, it is believed for less than it says of its lease, and a moment
        /// before the clock began is no reason to believe it longer.
        #[test]
        fn any_beacon_is_bounded(
            now in prop_oneof![Just(0u64), Just(u64::MAX), any::<u64>()],
            age_ms: u32, lease_ms: u32, term: u64,
        ) {
            let now = Instant::from_nanos(now);
            let beacon = Beacon {
                leader: "a".parse().unwrap(), nonce: 1, term, number: 1, age_ms, lease_ms,
            };
            let mut follow = Follow::default();
            follow.beacon(now, now, &beacon);
            prop_assert!(follow.leader(now).is_none() || age_ms < lease_ms);
            if let Some(known) = follow.leader(now) {
                prop_assert!(known.valid_until() <= now + Duration::from_millis(u64::from(lease_ms)));
                let later = follow.to_beacon(now).unwrap();
                prop_assert!(later.age_ms > age_ms && later.lease_ms == lease_ms);
            }
        }
    }
}
