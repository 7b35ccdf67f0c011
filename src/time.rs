//! An instant without `now()`: the protocol is told the time, it never asks.
//!
//! Decides what an instant is; where one comes from is the driver's business (`CLOCK_BOOTTIME`, which
//! counts suspend) or the simulator's (virtual time).

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment on this machine's boot clock, in nanoseconds since the kernel started.
///
/// Comparable between processes of one kernel boot and never between machines. All arithmetic
/// saturates: no instant of a peer's making can overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the kernel.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment so many nanoseconds after the start of the kernel.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the kernel.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is not in the past.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long it is until `later`; zero if it is not in the future.
    #[must_use]
    pub const fn until(self, later: Self) -> Duration {
        later.since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.0 as f64 / 1e9)
    }
}

/// When a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// What for, in a word of a closed set.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_moment() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(u64::MAX - 1), Just(u64::MAX), any::<u64>()]
    }

    fn any_length() -> impl Strategy<Value = Duration> {
        prop_oneof![Just(Duration::MAX), any_moment().prop_map(Duration::from_nanos)]
    }

    proptest! {
        /// No moment and no length makes it wrap: it stops at the start of the kernel and at never.
        #[test]
        fn arithmetic_saturates(at in any_moment(), length in any_length()) {
            let moment = Instant::from_nanos(at);
            prop_assert!(moment + length >= moment && moment - length <= moment);
            let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
            prop_assert_eq!((moment + length).as_nanos(), at.saturating_add(nanos));
            prop_assert_eq!((moment - length).as_nanos(), at.saturating_sub(nanos));
        }

        /// How long ago and how long until are each other's mirror, and one of them is zero.
        #[test]
        fn since_and_until_are_mirrors(one in any_moment(), other in any_moment()) {
            let (one, other) = (Instant::from_nanos(one), Instant::from_nanos(other));
            prop_assert_eq!(one.since(other), other.until(one));
            prop_assert!(one.since(other).is_zero() || one.until(other).is_zero());
            prop_assert_eq!(one.max(other), one.min(other) + one.since(other).max(one.until(other)));
        }
    }
}
