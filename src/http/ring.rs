//! The last events, and where a reader stands in them: values without a socket.
//!
//! Decides what a reader that comes back has missed, and when that is no longer known.
//!
//! Invariants:
//! 1. At most [`MAX_KEPT`] events are kept, and at most [`MAX_CHUNK_BYTES`] are given at once.
//! 2. A reader is given every event from its place on, in order and once, or is told that some are gone.
//! 3. A place is only taken over from an id that this process gave out.

use hyper::body::Bytes;
use std::collections::VecDeque;

/// The most events that are kept.
pub(super) const MAX_KEPT: usize = 1_024;

/// The most that is given to a reader at once, in bytes, but for a single event.
pub(super) const MAX_CHUNK_BYTES: usize = 8 * 1_024;

/// The last events as texts, with rising numbers.
#[derive(Debug)]
pub(super) struct Ring {
    kept: VecDeque<Bytes>,
    /// The number of the first kept one; of the next to come when none is kept.
    first: u64,
}

/// Some events were forgotten before a reader asked for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

impl Ring {
    /// No events yet; the first will have the number 1.
    pub(super) const fn new() -> Self {
        Self { kept: VecDeque::new(), first: 1 }
    }

    /// The number of the first event that is kept, or of the next to come.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next event to come.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.kept.len() as u64)
    }

    /// Keeps an event. A gap before it makes all older ones useless: no reader could go on from them.
    pub(super) fn push(&mut self, number: u64, text: Bytes) {
        if number != self.next() {
            self.kept.clear();
            self.first = number;
        }
        self.kept.push_back(text);
        if self.kept.len() > MAX_KEPT {
            self.kept.pop_front();
            self.first += 1;
        }
    }

    /// The events from that number on, as many as are given at once, and the number after them.
    ///
    /// # Errors
    /// [`Gone`]: the first of them is no longer kept.
    pub(super) fn from(&self, number: u64) -> Result<(Vec<Bytes>, u64), Gone> {
        let skip = number.checked_sub(self.first).ok_or(Gone)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut given, mut length) = (Vec::new(), 0);
        for text in self.kept.iter().skip(skip) {
            if !given.is_empty() && length + text.len() > MAX_CHUNK_BYTES {
                break;
            }
            length += text.len();
            given.push(text.clone());
        }
        let after = number.saturating_add(given.len() as u64);
        Ok((given, after))
    }
}

/// The id of an event: which process and which number.
pub(super) fn id(process: u64, number: u64) -> String {
    format!("{process:016x}-{number}")
}

/// The number of the event after the one of that id; `None` unless this process, which has told so
/// many, gave it out.
pub(super) fn resume(id: &[u8], process: u64, told: u64) -> Option<u64> {
    let text = core::str::from_utf8(id).ok()?;
    let (head, number) = text.split_once('-')?;
    // As it was written, and in no other way: no sign, no zeros in front.
    let number: u64 = number.parse().ok()?;
    let given_out = head.len() == 16 && self::id(process, number) == text && number <= told;
    given_out.then(|| number.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(number: u64) -> Bytes {
        Bytes::from(format!("event {number}"))
    }

    fn full(upto: u64) -> Ring {
        let mut ring = Ring::new();
        for number in 1..=upto {
            ring.push(number, text(number));
        }
        ring
    }

    #[test]
    fn a_reader_gets_what_it_has_missed_in_order() {
        let ring = full(5);
        assert_eq!(ring.from(3), Ok((vec![text(3), text(4), text(5)], 6)));
        assert_eq!(ring.from(6), Ok((vec![], 6)));
        // Told already, and still on its way here.
        assert_eq!(ring.from(9), Ok((vec![], 9)));
    }

    /// Invariant 1.
    #[test]
    fn a_million_events_keep_the_last_ones_only() {
        let ring = full(1_000_000);
        assert_eq!(ring.kept.len(), MAX_KEPT);
        assert_eq!(ring.first(), 1_000_001 - MAX_KEPT as u64);
        assert_eq!(ring.from(ring.first() - 1), Err(Gone));
        assert_eq!(ring.from(1), Err(Gone));
        assert_eq!(ring.from(0), Err(Gone));
    }

    /// Invariant 1.
    #[test]
    fn what_is_given_at_once_is_bounded() {
        let mut ring = Ring::new();
        ring.push(1, Bytes::from(vec![b'x'; MAX_CHUNK_BYTES + 1]));
        for number in 2..=10 {
            ring.push(number, Bytes::from(vec![b'x'; MAX_CHUNK_BYTES / 2]));
        }
        // A single one that is too long is given all the same.
        assert_eq!(ring.from(1).unwrap().1, 2);
        assert_eq!(ring.from(2).unwrap().1, 4);
    }

    /// Invariant 2.
    #[test]
    fn a_gap_is_told_to_whoever_stands_before_it() {
        let mut ring = full(5);
        ring.push(9, text(9));
        assert_eq!(ring.from(4), Err(Gone));
        assert_eq!(ring.from(6), Err(Gone));
        assert_eq!(ring.from(9), Ok((vec![text(9)], 10)));
    }

    /// Invariant 3.
    #[test]
    fn a_wild_id_is_not_taken_over() {
        assert_eq!(resume(id(7, 3).as_bytes(), 7, 3), Some(4));
        assert_eq!(resume(id(7, 0).as_bytes(), 7, 3), Some(1));
        for wild in [
            id(8, 3),
            id(7, 4),
            id(7, u64::MAX),
            String::new(),
            "-".repeat(10_000),
            "0000000000000007".to_owned(),
            "0000000000000007-".to_owned(),
            "0000000000000007-+3".to_owned(),
            "0000000000000007-03".to_owned(),
            "0000000000000007--3".to_owned(),
            "0000000000000007-99999999999999999999999".to_owned(),
            "7-3".to_owned(),
        ] {
            assert_eq!(resume(wild.as_bytes(), 7, 3), None, "{wild:.40}");
        }
        assert_eq!(resume(b"\xff\xfe-3", 7, 3), None);
    }

    proptest! {
        #[test]
        fn any_bytes_for_an_id_end_in_a_place_or_in_none(bytes: Vec<u8>, told in 0..5_u64) {
            let place = resume(&bytes, 0, told);
            prop_assert!(place.is_none_or(|number| number <= told + 1));
        }

        /// Invariant 2, with drops and readers at any place.
        #[test]
        fn a_reader_never_skips_an_event_silently(
            numbers in prop::collection::vec(1..4_u64, 0..3_000), start in 0..3_000_u64,
        ) {
            let (mut ring, mut number) = (Ring::new(), 0);
            for (at, step) in numbers.iter().enumerate() {
                // Mostly the next one, sometimes after a gap.
                number += if at % 50 == 0 { *step } else { 1 };
                ring.push(number, text(number));
            }
            let mut next = start;
            while let Ok((given, after)) = ring.from(next) {
                for (at, event) in given.iter().enumerate() {
                    prop_assert_eq!(event, &text(next + at as u64));
                }
                prop_assert_eq!(after, next + given.len() as u64);
                if given.is_empty() {
                    prop_assert!(next >= ring.next());
                    break;
                }
                next = after;
            }
        }
    }
}
