//! Slots: how many connections there are at once, and which gives way when one more comes.
//!
//! Whoever keeps connections open without asking anything, or asks slower than anybody has to, must not keep
//! others out. So a full house ends some connections that wait for their next request to make room for others.
//!
//! Decides which. How long a connection may take when there is room, the server decides.
//!
//! 1. Never more than the limit.
//! 2. A connection whose request is complete is not ended before it is answered; one that follows the events is
//!    not at all.
//! 3. The source with the most connections gives way first, and of its connections the one that has waited
//!    longest: a source that takes all it can get keeps no other out.
//! 4. A connection that has waited for less than [`FAIR`] is not ended: the next one waits instead.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, timeout};

/// How long a connection may at least wait for the rest of its request.
pub(super) const FAIR: Duration = Duration::from_millis(20);

/// Which part of the connections gives way at once.
const SHARE: usize = 32;

/// So many connections disturb nobody.
const FEW: usize = 64;

/// The slots of one server.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Open>,
    by_source: BTreeMap<Source, usize>,
}

/// Who a connection is from: an IPv4 address, or the network of an IPv6 one, since a host has 2^64 of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source(IpAddr);

#[derive(Debug)]
struct Open {
    source: Source,
    /// Since when it waits; `None` while it is answered.
    waits_since: Option<Instant>,
    end: Option<AbortHandle>,
}

/// A slot that is taken, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
}

impl Source {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let [a, b, c, d, ..] = v6.segments();
                Self(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
            }
            ip => Self(ip),
        }
    }
}

impl Slots {
    /// So many, all of them free.
    pub(super) fn new(most: usize) -> Self {
        Self { most, table: Mutex::default(), freed: Notify::new() }
    }

    /// Takes a slot, if need be from a connection that waits; `None` if all of them are being answered.
    pub(super) async fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let source = Source::of(ip);
        if let Some(slot) = self.take_free(source) {
            return Some(slot);
        }
        let at_once = (self.most / SHARE).max(1);
        loop {
            // Meanwhile what has arrived is looked at, and what has ended is gone.
            yield_now().await;
            if let Some(slot) = self.take_free(source) {
                return Some(slot);
            }
            let wait = match self.table().give_way(Instant::now(), at_once) {
                GiveWay::Ended => continue,
                GiveWay::NotBefore(wait) => wait,
                GiveWay::Nobody => return None,
            };
            // Whether a slot was freed or the time is over: it is looked at again.
            let _ = timeout(wait, self.freed.notified()).await;
        }
    }

    /// Whether few slots are free: a connection that has its answer then serves others better by ending.
    pub(super) fn is_scarce(&self) -> bool {
        self.table().open.len() > self.most - self.most / 4
    }

    /// Whether there are so few connections that nobody has to be sent away for another.
    pub(super) fn are_few(&self) -> bool {
        self.table().open.len() <= FEW
    }

    fn take_free(self: &Arc<Self>, source: Source) -> Option<Slot> {
        let mut table = self.table();
        if table.open.len() >= self.most {
            return None;
        }
        let number = table.next;
        table.next += 1;
        let waits_since = Some(Instant::now());
        table.open.insert(number, Open { source, waits_since, end: None });
        *table.by_source.entry(source).or_default() += 1;
        drop(table);
        Some(Slot { slots: Arc::clone(self), number })
    }

    /// Only tasks of the HTTP threads take it, and none keeps it while it waits.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of the search for a connection that gives way.
enum GiveWay {
    /// Some have ended.
    Ended,
    /// One may end then.
    NotBefore(Duration),
    /// All of them are being answered.
    Nobody,
}

impl Table {
    /// Up to so many end `at_once`, since looking for them is costly where others press in.
    fn give_way(&mut self, now: Instant, at_once: usize) -> GiveWay {
        let waiting = self.open.iter().filter_map(|(number, open)| {
            let of_source = self.by_source.get(&open.source).copied().unwrap_or(0);
            let waits = now.saturating_duration_since(open.waits_since?);
            open.end.as_ref()?;
            Some((waits >= FAIR, of_source, waits, *number))
        });
        let mut waiting: Vec<_> = waiting.collect();
        // Those that give way first stand last.
        waiting.sort_unstable();
        let Some(&(is_fair, most, waits, _)) = waiting.last() else { return GiveWay::Nobody };
        if !is_fair {
            return GiveWay::NotBefore(FAIR.saturating_sub(waits));
        }
        let of_most = |it: &&(bool, usize, Duration, u64)| it.0 && it.1 == most;
        for &(_, _, _, number) in waiting.iter().rev().take_while(of_most).take(at_once) {
            if let Some(end) = self.remove(number).and_then(|open| open.end) {
                end.abort();
            }
        }
        GiveWay::Ended
    }

    fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        if let Some(count) = self.by_source.get_mut(&open.source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&open.source);
            }
        }
        Some(open)
    }
}

impl Slot {
    /// The number by which [`Slots::may_end`] knows it.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// It waits for a request, from now on.
    pub(super) fn waits(&self) {
        self.set(Some(Instant::now()));
    }

    /// It is being answered, from now on.
    pub(super) fn is_answered(&self) {
        self.set(None);
    }

    fn set(&self, waits_since: Option<Instant>) {
        if let Some(open) = self.slots.table().open.get_mut(&self.number) {
            open.waits_since = waits_since;
        }
    }
}

impl Slots {
    /// How the connection in this slot is ended, should it have to give way.
    pub(super) fn may_end(&self, number: u64, end: AbortHandle) {
        if let Some(open) = self.table().open.get_mut(&number) {
            open.end = Some(end);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.table().remove(self.number);
        self.slots.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::future::pending;
    use tokio::task::JoinHandle;
    use tokio::time::advance;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A connection that only waits.
    async fn open(slots: &Arc<Slots>, from: &str) -> (Arc<Slot>, JoinHandle<()>) {
        let slot = Arc::new(slots.take(ip(from)).await.unwrap());
        let kept = Arc::clone(&slot);
        let task = tokio::spawn(async move {
            let _kept = kept;
            pending::<()>().await;
        });
        slots.may_end(slot.number(), task.abort_handle());
        (slot, task)
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_waited_longest_gives_way_and_one_that_is_answered_does_not() {
        let slots = Arc::new(Slots::new(3));
        let mut tasks = Vec::new();
        for number in 0..3 {
            let (slot, task) = open(&slots, "10.0.0.1").await;
            if number == 0 {
                slot.is_answered();
            }
            tasks.push((slot, task));
            advance(FAIR).await;
        }
        let (_slot, _task) = open(&slots, "10.0.0.1").await;
        yield_now().await;
        assert_eq!([0, 1, 2].map(|at: usize| tasks[at].1.is_finished()), [false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_way_who_has_just_come() {
        let slots = Arc::new(Slots::new(1));
        let (_slot, task) = open(&slots, "10.0.0.1").await;
        let began = Instant::now();
        let (_second, _task) = open(&slots, "10.0.0.2").await;
        assert_eq!(began.elapsed(), FAIR);
        yield_now().await;
        assert!(task.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_being_answered_one_more_is_refused() {
        let slots = Arc::new(Slots::new(2));
        let (first, _task) = open(&slots, "10.0.0.1").await;
        let (second, _other) = open(&slots, "10.0.0.1").await;
        first.is_answered();
        second.is_answered();
        advance(FAIR).await;
        assert!(slots.take(ip("10.0.0.2")).await.is_none());
        second.waits();
        advance(FAIR).await;
        assert!(slots.take(ip("10.0.0.2")).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_most_gives_way_first_and_an_ipv6_network_is_one() {
        let slots = Arc::new(Slots::new(4));
        let (_patient, patient) = open(&slots, "10.0.0.1").await;
        advance(FAIR).await;
        let mut many = Vec::new();
        for last in 1..=3 {
            many.push(open(&slots, &format!("2001:db8::{last}")).await);
            advance(FAIR).await;
        }
        let (_slot, _task) = open(&slots, "10.0.0.2").await;
        yield_now().await;
        assert!(!patient.is_finished() && many[0].1.is_finished() && !many[1].1.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_dropped_is_free_and_its_source_is_forgotten() {
        let slots = Arc::new(Slots::new(4));
        let taken: Vec<_> = (0..4).map(|_| slots.take_free(Source(ip("10.0.0.1")))).collect();
        assert!(taken.iter().all(Option::is_some) && slots.is_scarce());
        assert!(slots.take_free(Source(ip("10.0.0.1"))).is_none());
        drop(taken);
        assert!(slots.table().by_source.is_empty() && !slots.is_scarce());
    }
}
