//! Replay windows: which counters of which process have come.
//!
//! One window for each boot nonce, [`WINDOW`] counters wide, below the highest that came; after the
//! sliding window of RFC 4303 (IPsec), section 3.4.3. Only what a key has opened gets here.
//!
//! 1. No counter of a process is taken twice while its window is kept.
//! 2. A datagram is refused as old only when [`WINDOW`] later ones of its process came before it.
//! 3. At most [`MAX_WINDOWS`] are kept; the one that was used longest ago makes room.

use std::collections::{BTreeMap, VecDeque};

/// How far behind the latest a datagram may arrive, in datagrams of its process.
pub const WINDOW: u64 = 1_024;

/// The most processes whose counters are remembered; 1.3 MB.
pub const MAX_WINDOWS: usize = 8_192;

const WORDS: usize = WINDOW as usize / 64;

#[derive(Clone, Debug)]
struct Window {
    highest: u64,
    /// Bit `c % WINDOW` says whether the counter `c` came, for those within the window.
    came: [u64; WORDS],
    used: u64,
}

/// The windows of all processes.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    of: BTreeMap<u64, Window>,
    /// Nonces in the order of their use; an entry counts only if the window says the same.
    order: VecDeque<(u64, u64)>,
    uses: u64,
}

impl Windows {
    /// Whether this counter of the process with this nonce comes for the first time; it is remembered.
    pub fn takes(&mut self, nonce: u64, counter: u64) -> bool {
        self.uses += 1;
        let used = self.uses;
        let window = self.of.entry(nonce).or_insert_with(|| {
            self.order.push_back((nonce, used));
            Window { highest: counter, came: [0; WORDS], used }
        });
        window.used = used;
        let taken = window.takes(counter);
        if self.of.len() > MAX_WINDOWS {
            self.make_room();
        }
        taken
    }

    /// Whether this counter of the process with this nonce would be refused; nothing is remembered.
    #[must_use]
    pub fn had(&self, nonce: u64, counter: u64) -> bool {
        self.of.get(&nonce).is_some_and(|window| window.had(counter))
    }

    /// How many processes are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Drops the window that was used longest ago: those used since they were queued queue again.
    fn make_room(&mut self) {
        while let Some((nonce, queued)) = self.order.pop_front() {
            match self.of.get(&nonce) {
                Some(window) if window.used != queued => self.order.push_back((nonce, window.used)),
                Some(_) => {
                    self.of.remove(&nonce);
                    return;
                }
                None => {}
            }
        }
    }
}

impl Window {
    fn had(&self, counter: u64) -> bool {
        let (word, bit) = place(counter);
        match self.highest.checked_sub(counter) {
            Some(behind) => behind >= WINDOW || self.came[word] & bit != 0,
            None => false,
        }
    }

    fn takes(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let steps = (counter - self.highest).min(WINDOW);
            for step in 1..=steps {
                // Beyond the whole window every bit is cleared, whichever it is.
                self.clear(self.highest.wrapping_add(step));
            }
            self.highest = counter;
        } else if self.highest - counter >= WINDOW {
            return false;
        }
        let (word, bit) = place(counter);
        let fresh = self.came[word] & bit == 0;
        self.came[word] |= bit;
        fresh
    }

    fn clear(&mut self, counter: u64) {
        let (word, bit) = place(counter);
        self.came[word] &= !bit;
    }
}

const fn place(counter: u64) -> (usize, u64) {
    let at = (counter % WINDOW) as usize;
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_counter_is_taken_once_in_any_order() {
        let mut windows = Windows::default();
        for counter in [5, 3, 4, 1_000, 0, 999, u64::MAX, u64::MAX - 1] {
            assert!(windows.takes(1, counter), "{counter}");
            assert!(!windows.takes(1, counter), "{counter} again");
        }
        assert!(windows.takes(2, 5), "another process counts for itself");
    }

    #[test]
    fn what_is_older_than_the_window_is_refused() {
        let mut windows = Windows::default();
        assert!(windows.takes(1, WINDOW + 10));
        assert!(windows.takes(1, 11));
        assert!(!windows.takes(1, 10));
    }

    #[test]
    fn a_leap_forgets_what_it_leaves_behind_and_nothing_else() {
        let mut windows = Windows::default();
        assert!(windows.takes(1, 7));
        assert!(windows.takes(1, 7 + WINDOW), "the same bit, another counter");
        assert!(!windows.takes(1, 7));
        assert!(windows.takes(1, 8), "within the window, and never seen");
        assert!(windows.takes(1, 1 << 40));
        assert!(windows.takes(1, (1 << 40) - 5));
    }

    #[test]
    fn the_process_heard_longest_ago_makes_room() {
        let mut windows = Windows::default();
        for nonce in 0..MAX_WINDOWS as u64 {
            assert!(windows.takes(nonce, 1));
        }
        assert!(windows.takes(0, 2), "the first is in use");
        for nonce in 0..100 {
            assert!(windows.takes(1 << 32 | nonce, 1));
            assert_eq!(windows.len(), MAX_WINDOWS);
        }
        assert!(!windows.takes(0, 2), "and is kept");
        assert!(windows.order.len() <= MAX_WINDOWS + 1);
        assert!(windows.takes(1, 1), "the second is not");
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_that_forgets_nothing(
            counters in prop::collection::vec(0..3 * WINDOW, 1..400),
        ) {
            let (mut windows, mut seen, mut highest) = (Windows::default(), BTreeSet::new(), 0);
            for counter in counters {
                highest = highest.max(counter);
                let expected = highest - counter < WINDOW && seen.insert(counter);
                prop_assert_eq!(windows.had(9, counter), !expected);
                prop_assert_eq!(windows.takes(9, counter), expected);
            }
        }
    }
}
