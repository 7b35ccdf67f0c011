//! The way of an event from the protocol loop to the readers of `/events`.
//!
//! Decides how an event is numbered and what the loop does when nobody takes it: it is dropped, the
//! numbers show the gap, and readers are told the present state instead.
//!
//! Invariants:
//! 1. Telling an event never waits.
//! 2. Numbers rise by one per event told, dropped ones included.
//! 3. A status includes every event up to the number in [`Feed::covered`] that was read before it.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use tokio::sync::mpsc;

use crate::node::Event;
use crate::telemetry::events;
use crate::time::Instant;

/// The most events that wait for the HTTP thread.
pub const MAX_WAITING: usize = 1_024;

/// An event with its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    /// From 1, in the order of telling.
    pub(super) number: u64,
    /// When it happened.
    pub(super) at: Instant,
    /// What.
    pub(super) event: Event,
}

#[derive(Debug, Default)]
struct Counts {
    told: AtomicU64,
    covered: AtomicU64,
}

/// The end of the protocol loop: one writer.
#[derive(Clone, Debug)]
pub struct Feed {
    counts: Arc<Counts>,
    queue: mpsc::Sender<Happened>,
}

/// The end of the HTTP server.
#[derive(Debug)]
pub struct Tap {
    counts: Arc<Counts>,
    queue: mpsc::Receiver<Happened>,
}

/// The two ends.
#[must_use]
pub fn feed() -> (Feed, Tap) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let counts = Arc::new(Counts::default());
    (Feed { counts: Arc::clone(&counts), queue: sender }, Tap { counts, queue: receiver })
}

impl Feed {
    /// Tells an event, or drops it when the HTTP thread does not keep up.
    pub fn tell(&self, at: Instant, event: Event) {
        if !events::is_told(&event) {
            return;
        }
        let number = self.counts.told.fetch_add(1, Ordering::Relaxed) + 1;
        // A full queue drops it, and the reader sees the gap in the numbers.
        let _dropped = self.queue.try_send(Happened { number, at, event });
    }

    /// How many events were told so far: to be read before the status that is then published.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.counts.told.load(Ordering::Relaxed)
    }

    /// Loses so many events, as a full queue does.
    #[cfg(test)]
    pub(super) fn lose(&self, count: u64) {
        self.counts.told.fetch_add(count, Ordering::Relaxed);
    }

    /// How many events the published status includes.
    #[must_use]
    pub fn includes(&self) -> u64 {
        self.counts.covered.load(Ordering::Acquire)
    }

    /// The published status includes the first so many events.
    pub fn covered(&self, number: u64) {
        self.counts.covered.store(number, Ordering::Release);
    }
}

impl Tap {
    /// The next event; `None` when the loop has ended.
    pub(super) async fn next(&mut self) -> Option<Happened> {
        self.queue.recv().await
    }

    /// What is known of the loop's end without taking an event.
    pub(super) fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.counts))
    }
}

/// How far the loop is.
#[derive(Clone, Debug)]
pub(super) struct Gauge(Arc<Counts>);

impl Gauge {
    /// How many events were told.
    pub(super) fn told(&self) -> u64 {
        self.0.told.load(Ordering::Relaxed)
    }

    /// How many events the status includes that is loaded after this.
    pub(super) fn covered(&self) -> u64 {
        self.0.covered.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::Event as Elect;
    use ringrift_wire::Refusal;

    fn raised(term: u64) -> Event {
        Event::Election(Elect::TermRaised { term })
    }

    /// Invariants 1 and 2.
    #[test]
    fn a_reader_that_does_not_read_costs_events_and_no_time() {
        let (feed, mut tap) = feed();
        for term in 0..MAX_WAITING as u64 + 7 {
            feed.tell(Instant::ZERO, raised(term));
        }
        for number in 1..=MAX_WAITING as u64 {
            assert_eq!(tap.queue.try_recv().unwrap().number, number);
        }
        feed.tell(Instant::ZERO, raised(0));
        assert_eq!(tap.queue.try_recv().unwrap().number, MAX_WAITING as u64 + 8);
    }

    #[test]
    fn what_is_not_told_takes_no_number() {
        let (feed, mut tap) = feed();
        let (candidate, why) = ("a".parse().unwrap(), Refusal::Voted);
        let refused = Event::Election(Elect::VoteRefused { candidate, term: 1, why });
        feed.tell(Instant::ZERO, refused);
        feed.tell(Instant::ZERO, raised(1));
        assert_eq!(tap.queue.try_recv().unwrap().number, 1);
        assert!(tap.queue.try_recv().is_err());
    }
}
