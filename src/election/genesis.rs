//! An empty vote store: what a voter must learn before its first record.
//!
//! An empty store is a first start, a lost disk or a fresh container; the voter cannot tell which. It
//! may have promised, voted and led, and forgotten all of it.
//!
//! Invariants
//! 1. It neither votes nor acknowledges before it has a record.
//! 2. It waits for the longest lease that anybody names, from the start of its process, and then asks:
//!    reports to questions from before the end of the wait do not count.
//! 3. Its first term is the highest it heard of, and at least the Unix time in seconds.
//! 4. The wait is skipped only when every other voter was new while this very process was running:
//!    then nobody who leads or is promised anything today can have been promised it by what this
//!    voter was before. It is never skipped where the voters' version is above 1: who was a voter before
//!    is not asked.
//! 5. Above version 1, that the version before has led is what a voter with a record says, or follows from
//!    every voter being new; a quorum of new ones proves nothing.

use core::time::Duration;
use ringrift_wire::{NodeId, Report};
use std::collections::{BTreeMap, VecDeque};

use super::core::Renaming;
use crate::time::Instant;

/// The most inquiries that are remembered; answers to older ones do not count.
const MAX_INQUIRIES: usize = 64;

/// What one other voter last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Heard {
    asked_at: Instant,
    term: u64,
    was_new: bool,
    has_record: bool,
}

/// The first record of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct First {
    /// Its term: votes are given only above it.
    pub term: u64,
    /// The highest voter-set version that anybody knows to have led.
    pub led_version: u32,
}

/// Who has to be asked, and how many decide.
#[derive(Clone, Debug)]
pub struct Electorate<I> {
    /// The other voters of the set.
    pub others: I,
    /// Its quorum.
    pub quorum: usize,
    /// Its version.
    pub version: u32,
}

/// The memory of a voter with an empty store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Genesis {
    since: Instant,
    longest: Duration,
    highest_term: u64,
    led_version: u32,
    inquiries: VecDeque<(u64, Instant)>,
    heard: BTreeMap<NodeId, Heard>,
}

impl Genesis {
    /// A voter whose process started at `since` and found nothing.
    #[must_use]
    pub const fn new(since: Instant) -> Self {
        Self {
            since,
            longest: Duration::ZERO,
            highest_term: 0,
            led_version: 0,
            inquiries: VecDeque::new(),
            heard: BTreeMap::new(),
        }
    }

    /// Somebody named a lease or a term.
    pub fn hear(&mut self, lease: Duration, term: u64) {
        self.longest = self.longest.max(lease);
        self.highest_term = self.highest_term.max(term);
    }

    /// A version is known to have led.
    pub fn hear_led(&mut self, version: u32) {
        self.led_version = self.led_version.max(version);
    }

    /// An inquiry of that number left at `now`.
    pub fn asked(&mut self, now: Instant, number: u64) {
        if self.inquiries.len() == MAX_INQUIRIES {
            self.inquiries.pop_front();
        }
        self.inquiries.push_back((number, now));
    }

    /// A voter of the set reports; whether it counts with the same voters. Returns whether this process
    /// has asked for it.
    pub fn on_report(&mut self, from: NodeId, report: &Report, same_set: bool) -> bool {
        let asked = self.inquiries.iter().find(|(number, _)| *number == report.number);
        let Some(&(_, asked_at)) = asked else { return false };
        if self.heard.get(&from).is_some_and(|heard| heard.asked_at > asked_at) {
            return true;
        }
        let term = report.record.map_or(0, |record| record.term);
        self.hear(Duration::from_millis(u64::from(report.longest_lease_ms)), term);
        self.hear_led(report.record.map_or(0, |record| record.led_version));
        let has_record = report.record.is_some();
        let was_new = same_set && (!has_record || report.met_as_new);
        self.heard.insert(from, Heard { asked_at, term, was_new, has_record });
        true
    }

    /// The longest lease that anybody named, the own one among them.
    #[must_use]
    pub fn longest_lease(&self, own: Duration) -> Duration {
        self.longest.max(own)
    }

    /// The end of the wait.
    #[must_use]
    pub fn wait_ends(&self, own: Duration) -> Instant {
        self.since + self.longest_lease(own)
    }

    /// Whether that voter need not be asked again: it was new, or has answered since the wait.
    #[must_use]
    pub fn has_answered(&self, voter: NodeId, own: Duration) -> bool {
        let ended = self.wait_ends(own);
        self.heard.get(&voter).is_some_and(|heard| heard.asked_at >= ended)
    }

    /// Whether that voter has said that it was new while this process was.
    #[must_use]
    pub fn was_new(&self, voter: NodeId) -> bool {
        self.heard.get(&voter).is_some_and(|heard| heard.was_new)
    }

    /// The first record, once enough is known for one.
    #[must_use]
    pub fn first_record(
        &self,
        now: Instant,
        own_lease: Duration,
        asked: Electorate<impl Iterator<Item = NodeId>>,
        unix_now: u64,
    ) -> Option<First> {
        let Electorate { others, quorum, version } = asked;
        let ended = self.wait_ends(own_lease);
        let (mut voters, mut new, mut answered, mut records) = (1, 1, 1, 0);
        for other in others {
            voters += 1;
            let heard = self.heard.get(&other);
            new += usize::from(heard.is_some_and(|heard| heard.was_new));
            answered += usize::from(heard.is_some_and(|heard| heard.asked_at >= ended));
            records += usize::from(heard.is_some_and(|heard| heard.has_record));
        }
        let (all_new, first) = (new == voters, version <= 1);
        let waited = now >= ended;
        let told = waited && answered >= quorum && (first || records > 0);
        if !told && !(all_new && (first || waited)) {
            return None;
        }
        let before = if all_new { version.saturating_sub(1) } else { 0 };
        let term = self.highest_term.max(unix_now);
        Some(First { term, led_version: self.led_version.max(before) })
    }

    /// Keeps of every moment only whether it lies before the end of the wait, once that is over.
    pub(super) fn normalise(&mut self, own: Duration, by: Renaming<'_>) {
        let ended = self.wait_ends(own);
        let over = ended <= by.now;
        let since = if over { by.then - self.longest_lease(own) } else { by.instant(self.since) };
        let moment = |at: &mut Instant| {
            *at = match (over, *at < ended) {
                (false, _) => by.instant(*at),
                (true, true) => since,
                (true, false) => by.then,
            };
        };
        self.inquiries.iter_mut().for_each(|(_, at)| moment(at));
        self.heard.values_mut().for_each(|heard| moment(&mut heard.asked_at));
        by.keys(&mut self.heard);
        self.since = since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringrift_wire::{Record, VoterSetTag};

    const L: Duration = Duration::from_secs(10);

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn report(number: u64, term: Option<u64>, met_as_new: bool, lease_s: u32) -> Report {
        Report {
            set: VoterSetTag { version: 1, hash: 0 },
            number,
            record: term.map(|term| Record { term, led_version: 1 }),
            met_as_new,
            longest_lease_ms: lease_s * 1_000,
        }
    }

    fn first(genesis: &Genesis, now: Instant) -> Option<u64> {
        first_under(1, genesis, now).map(|first| first.term)
    }

    fn first_under(version: u32, genesis: &Genesis, now: Instant) -> Option<First> {
        let electorate = Electorate { others: ["b", "c"].map(id).into_iter(), quorum: 2, version };
        genesis.first_record(now, L, electorate, 1_000)
    }

    #[test]
    fn a_first_start_of_all_needs_no_wait() {
        let mut genesis = Genesis::new(at(0));
        genesis.asked(at(0), 1);
        genesis.on_report(id("b"), &report(1, None, false, 10), true);
        assert_eq!(first(&genesis, at(1)), None);
        genesis.on_report(id("c"), &report(1, Some(1_001), true, 10), true);
        assert_eq!(first(&genesis, at(1)), Some(1_001), "c was new when it met this process");
    }

    #[test]
    fn answers_from_before_the_wait_do_not_count() {
        let mut genesis = Genesis::new(at(0));
        genesis.asked(at(9), 1);
        genesis.on_report(id("b"), &report(1, Some(5), false, 10), true);
        assert_eq!(first(&genesis, at(11)), None);
        genesis.asked(at(11), 2);
        genesis.on_report(id("b"), &report(2, Some(7), false, 10), true);
        assert_eq!(first(&genesis, at(11)), Some(1_000), "the Unix time is the floor");
        genesis.on_report(id("b"), &report(2, Some(2_000), false, 10), true);
        assert_eq!(first(&genesis, at(11)), Some(2_000));
    }

    #[test]
    fn the_wait_is_for_the_longest_lease_that_anybody_names() {
        let mut genesis = Genesis::new(at(0));
        genesis.asked(at(11), 1);
        genesis.on_report(id("b"), &report(1, Some(5), false, 60), true);
        assert_eq!(first(&genesis, at(12)), None);
        assert_eq!(first(&genesis, at(61)), None, "asked before the longer wait was over");
        genesis.asked(at(61), 2);
        genesis.on_report(id("b"), &report(2, Some(5), false, 60), true);
        assert_eq!(first(&genesis, at(61)), Some(1_000));
    }

    #[test]
    fn above_version_one_the_wait_is_never_skipped() {
        let mut genesis = Genesis::new(at(0));
        genesis.asked(at(0), 1);
        genesis.on_report(id("b"), &report(1, None, false, 10), true);
        genesis.on_report(id("c"), &report(1, None, false, 10), true);
        assert_eq!(first_under(7, &genesis, at(9)), None);
        let first = First { term: 1_000, led_version: 6 };
        assert_eq!(
            first_under(7, &genesis, at(10)),
            Some(first),
            "all are new: there was no voter 6"
        );
    }

    #[test]
    fn above_version_one_a_quorum_of_new_voters_proves_nothing() {
        let mut genesis = Genesis::new(at(0));
        genesis.asked(at(10), 1);
        genesis.on_report(id("b"), &report(1, None, false, 10), true);
        assert_eq!(first_under(1, &genesis, at(10)).map(|first| first.term), Some(1_000));
        assert_eq!(first_under(2, &genesis, at(10)), None);
        genesis.asked(at(11), 2);
        genesis.on_report(id("c"), &report(2, Some(5), false, 10), true);
        let first = First { term: 1_000, led_version: 1 };
        assert_eq!(first_under(2, &genesis, at(11)), Some(first), "as c says");
    }

    #[test]
    fn a_report_that_nobody_asked_for_says_nothing() {
        let mut genesis = Genesis::new(at(0));
        genesis.on_report(id("b"), &report(1, None, true, 10), true);
        genesis.on_report(id("c"), &report(1, None, true, 10), true);
        assert_eq!(first(&genesis, at(100)), None);
    }

    /// What one voter says, and when it was asked; whether it was asked at all.
    fn any_said() -> impl Strategy<Value = (u64, Option<u64>, bool, u32, bool)> {
        let term = prop::option::of(prop_oneof![0..5_000u64, Just(u64::MAX)]);
        (0..60u64, term, any::<bool>(), 0..40u32, any::<bool>())
    }

    proptest! {
        /// Invariants 2 to 4, against the rules in words.
        #[test]
        fn the_first_record_keeps_every_rule(
            said in prop::collection::vec((0..2usize, any_said()), 0..8), now in 0..90u64,
        ) {
            let mut genesis = Genesis::new(at(0));
            let names = ["b", "c"];
            let mut said = said;
            said.sort_by_key(|(_, (asked_at, ..))| *asked_at);
            let (mut longest, mut highest) = (10, 0);
            let mut last: BTreeMap<usize, (u64, bool)> = BTreeMap::new();
            for (number, (who, (asked_at, term, met, lease, unasked))) in (1..).zip(said) {
                if !unasked {
                    genesis.asked(at(asked_at), number);
                    longest = longest.max(lease);
                    highest = highest.max(term.unwrap_or(0));
                    last.insert(who, (asked_at, term.is_none() || met));
                }
                genesis.on_report(id(names[who]), &report(number, term, met, lease), true);
            }
            let all_new = last.len() == 2 && last.values().all(|(_, new)| *new);
            let late = last.values().filter(|(at, _)| *at >= u64::from(longest)).count();
            let waited = now >= u64::from(longest) && late + 1 >= 2;
            let expected = (all_new || waited).then_some(highest.max(1_000));
            prop_assert_eq!(first(&genesis, at(now)), expected);
        }
    }
}
