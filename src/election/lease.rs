//! Lease arithmetic: until when a leader may act, given what was acknowledged.
//!
//! A voter promises from the *arrival* of a request, the leader counts from its *sending*: so a lease
//! always ends before the promises under it, whatever the delay. The drift margin covers clocks that
//! run at different rates, the guard what lies between a check and the act that follows it.
//!
//! Invariants
//! 1. A span ends at `sent_at + lease * (1 - rho) / (1 + rho)`, never counted from an answer.
//! 2. An answer counts for the send that it names, and for no other.
//! 3. A lease is the q-th latest span, less the guard.

use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, VecDeque};

use super::core::Renaming;
use crate::time::Instant;

/// The most sends that are remembered; the oldest is forgotten first, which only shortens a lease.
pub const MAX_SENDS: usize = 1_024;

/// The shortest guard.
const GUARD_MIN: Duration = Duration::from_millis(2);

/// One request for promises that a quorum may still be keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// When the request was sent.
    pub sent_at: Instant,
    /// The length of the promise that it asked for.
    pub lease: Duration,
}

impl Span {
    /// When a promise that answers this request may end by the sender's clock, at the earliest.
    #[must_use]
    pub fn end(self, drift_ppm: u32) -> Instant {
        self.sent_at + under_drift(self.lease, drift_ppm)
    }
}

/// What is left of `length` when one clock is slow and the other fast: `length (1-rho)/(1+rho)`.
#[must_use]
pub fn under_drift(length: Duration, drift_ppm: u32) -> Duration {
    const MILLION: u128 = 1_000_000;
    let rho = u128::from(drift_ppm).min(MILLION);
    let nanos = length.as_nanos() * (MILLION - rho) / (MILLION + rho);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The time kept back from every lease: the larger of 2 ms and a hundredth of it.
#[must_use]
pub fn guard(lease: Duration) -> Duration {
    GUARD_MIN.max(lease / 100)
}

/// The end of a lease that rests on these spans, the sender's own among them.
///
/// `None` when there are fewer spans than `quorum`, or when the guard eats the whole lease.
#[must_use]
pub fn lease_end(
    spans: &BTreeMap<NodeId, Span>,
    quorum: usize,
    drift_ppm: u32,
) -> Option<(Instant, Instant)> {
    let mut ends: Vec<(Instant, Span)> =
        spans.values().map(|span| (span.end(drift_ppm), *span)).collect();
    ends.sort_unstable_by(|a, b| b.cmp(a));
    let (end, span) = *ends.get(quorum.checked_sub(1)?)?;
    Some((end - guard(span.lease), span.sent_at))
}

/// One numbered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sent {
    number: u64,
    term: u64,
    span: Span,
}

/// The requests whose answers still count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sends(VecDeque<Sent>);

impl Sends {
    /// Remembers a request, and forgets those whose promises have ended anyway.
    pub fn record(&mut self, now: Instant, number: u64, term: u64, span: Span) {
        while self.0.front().is_some_and(|old| old.span.sent_at + old.span.lease <= now) {
            self.0.pop_front();
        }
        if self.0.len() == MAX_SENDS {
            self.0.pop_front();
        }
        self.0.push_back(Sent { number, term, span });
    }

    /// The request of that number and term, if an answer to it still counts.
    #[must_use]
    pub fn find(&self, number: u64, term: u64) -> Option<Span> {
        self.0.iter().rev().find(|sent| sent.number == number && sent.term == term).map(|s| s.span)
    }

    /// No answer to a request of that term counts any more.
    pub fn forget_term(&mut self, term: u64) {
        self.0.retain(|sent| sent.term != term);
    }

    /// No answer counts any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets what could only be answered too late, makes one of two requests of one moment, and
    /// numbers the rest from 1. Returns the new numbers by the old ones.
    pub(super) fn normalise(&mut self, drift_ppm: u32, by: Renaming<'_>) -> BTreeMap<u64, u64> {
        let mut numbers = BTreeMap::new();
        let mut kept: VecDeque<Sent> = VecDeque::new();
        for sent in self.0.iter().filter(|sent| sent.span.end(drift_ppm) > by.now) {
            let sent_at = by.instant(sent.span.sent_at);
            let span = Span { sent_at, ..sent.span };
            let same = |known: &Sent| (known.term, known.span) == (sent.term, span);
            let number = match kept.iter().find(|known| same(known)) {
                Some(known) => known.number,
                None => {
                    let number = kept.len() as u64 + 1;
                    kept.push_back(Sent { number, term: sent.term, span });
                    number
                }
            };
            numbers.insert(sent.number, number);
        }
        self.0 = kept;
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const L: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn spans(sent: &[u64]) -> BTreeMap<NodeId, Span> {
        let id = |n: usize| format!("v{n}").parse().unwrap();
        let span = |ms: &u64| Span { sent_at: at(*ms), lease: L };
        sent.iter().enumerate().map(|(n, ms)| (id(n), span(ms))).collect()
    }

    #[test]
    fn a_lease_rests_on_the_quorums_oldest_send() {
        let (end, renewed) = lease_end(&spans(&[500, 100, 300]), 2, 0).unwrap();
        assert_eq!(renewed, at(300));
        assert_eq!(end, at(300) + L - Duration::from_millis(10));
        assert_eq!(lease_end(&spans(&[500]), 2, 0), None);
    }

    #[test]
    fn drift_shortens_a_lease_by_both_clocks() {
        // 1 % slow here and 1 % fast there: 0.99 / 1.01.
        assert_eq!(
            under_drift(Duration::from_nanos(1_010_000), 10_000),
            Duration::from_nanos(990_000)
        );
        assert_eq!(under_drift(Duration::MAX, 0), Duration::from_nanos(u64::MAX));
        assert_eq!(under_drift(L, 1_000_000), Duration::ZERO);
    }

    #[test]
    fn an_answer_counts_for_the_send_it_names() {
        let mut sends = Sends::default();
        let span = |ms| Span { sent_at: at(ms), lease: L };
        sends.record(at(0), 1, 7, span(0));
        sends.record(at(10), 2, 7, span(10));
        assert_eq!(sends.find(1, 7), Some(span(0)));
        assert_eq!(sends.find(1, 8), None, "another term");
        assert_eq!(sends.find(3, 7), None, "never sent");
        sends.forget_term(7);
        assert_eq!(sends.find(2, 7), None, "released");
    }

    #[test]
    fn sends_are_bounded() {
        let mut sends = Sends::default();
        for number in 0..3 * MAX_SENDS as u64 {
            sends.record(at(0), number, 1, Span { sent_at: at(0), lease: L });
        }
        assert_eq!(sends.0.len(), MAX_SENDS);
        sends.record(at(2_000), 9_999_999, 1, Span { sent_at: at(2_000), lease: L });
        assert_eq!(sends.0.len(), 1, "ended promises are forgotten");
    }

    fn any_length() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            Just(Duration::from_nanos(u64::MAX)),
            (0..20_000_000_000u64).prop_map(Duration::from_nanos),
            any::<u64>().prop_map(Duration::from_nanos),
        ]
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let moment = prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0..20_000_000_000u64];
        (moment, any_length())
            .prop_map(|(at, lease)| Span { sent_at: Instant::from_nanos(at), lease })
    }

    proptest! {
        /// Invariant 1, for every rho and every length: a promise counted from any later arrival, by
        /// a clock as fast as rho allows, outlasts the span counted by one as slow.
        #[test]
        fn a_span_ends_before_every_promise_under_it(
            span in any_span(), ppm in any::<u32>(), delay in 0..10_000_000_000u64,
        ) {
            let length = under_drift(span.lease, ppm);
            prop_assert!(length <= span.lease);
            prop_assert!(span.end(ppm) <= span.sent_at + Duration::from_nanos(delay) + span.lease);
            // True time of the promise at the fast clock, and of the span at the slow one.
            let rho = u128::from(ppm.min(1_000_000));
            let promise = span.lease.as_nanos() * (1_000_000 - rho);
            prop_assert!(length.as_nanos() * (1_000_000 + rho) <= promise);
        }

        /// Invariant 3: of those that a quorum rests on, none ends before the lease; and one more
        /// send never shortens it.
        #[test]
        fn a_lease_is_covered_by_a_quorum_and_only_grows(
            spans in prop::collection::vec(any_span(), 0..7), quorum in 0..8usize,
            more in any_span(), ppm in 0..1_000_000u32,
        ) {
            let id = |n: usize| format!("v{n}").parse().unwrap();
            let spans: BTreeMap<NodeId, Span> =
                spans.into_iter().enumerate().map(|(n, span)| (id(n), span)).collect();
            let end = lease_end(&spans, quorum, ppm);
            prop_assert_eq!(end.is_some(), quorum > 0 && quorum <= spans.len());
            let Some((end, _)) = end else { return Ok(()) };
            let covers = spans.values().filter(|span| span.end(ppm) >= end).count();
            prop_assert!(covers >= quorum);
            // All ask for one length, as a leader does: a later end does not cost a longer guard.
            let more = Span { lease: spans[&id(0)].lease, ..more };
            let one_length = |span: &Span| Span { lease: more.lease, ..*span };
            let mut grown: BTreeMap<_, _> =
                spans.iter().map(|(id, span)| (*id, one_length(span))).collect();
            let before = lease_end(&grown, quorum, ppm);
            grown.insert(id(99), more);
            prop_assert!(lease_end(&grown, quorum, ppm) >= before);
        }
    }
}
