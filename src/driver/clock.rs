//! The clock of a real machine: where the protocol's instants come from, and what wakes the loop.
//!
//! Decides which kernel clock an [`Instant`] is read from and how a deadline becomes a wake-up. What
//! a deadline is for is the node's business.
//!
//! 1. Instants come from `CLOCK_BOOTTIME`, which counts suspend: a leader that slept through its
//!    lease finds it ended. (Elsewhere than on Linux, `CLOCK_MONOTONIC`.)
//! 2. The timer runs on the same clock, and never sleeps longer than [`LONGEST_SLEEP`]: a suspend
//!    between the reading of the clock and the setting of the timer delays a deadline by no more.
//! 3. A step of the wall clock moves no instant.

use core::time::Duration;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::Instant;

/// The longest time for which the timer sleeps at once.
pub const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Where the driver reads the time.
pub trait Clock: Send + Sync {
    /// The boot clock, which counts suspend and never falls.
    fn now(&self) -> Instant;

    /// The wall clock, since the Unix epoch; it may step either way.
    fn unix(&self) -> Duration;

    /// How long the machine has been suspended since its start; it never falls.
    fn asleep(&self) -> Duration;
}

/// The clocks of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        Instant::from_nanos(read(id))
    }

    fn unix(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn asleep(&self) -> Duration {
        // The awake clock first: what passes between the two readings looks like sleep, and not like less of it.
        let awake = read(rustix::time::ClockId::Monotonic);
        Duration::from_nanos(self.now().as_nanos().saturating_sub(awake))
    }
}

/// What a kernel clock says, in nanoseconds.
fn read(id: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// How long the timer is to sleep for a deadline: nothing for one that is past, and never longer
/// than [`LONGEST_SLEEP`].
#[must_use]
pub fn sleep_for(now: Instant, deadline: Option<Instant>) -> Duration {
    deadline.map_or(LONGEST_SLEEP, |at| now.until(at).min(LONGEST_SLEEP))
}

/// One timer, armed anew before every wait.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Timer(tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        #[expect(deprecated, reason = "the safe form; an OwnedFd keeps what the other asks for")]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// The kernel refuses the timer; it has no reason to.
    ///
    /// # Cancel safety
    /// Cancelling forgets the wait and nothing else.
    pub async fn sleep(&self, length: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        // Zero would disarm the timer.
        let length = length.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(length).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval, it_value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &value)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0_u8; 8];
            match rustix::io::read(self.0.get_ref(), &mut expirations) {
                Ok(_) => return Ok(()),
                // Readiness of an earlier arming: setting a timer takes its expirations back.
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// One timer, armed anew before every wait.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// Never on this system.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// Never on this system.
    ///
    /// # Cancel safety
    /// Cancelling forgets the wait and nothing else.
    pub async fn sleep(&self, length: Duration) -> io::Result<()> {
        tokio::time::sleep(length).await;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that a test sets: boot time and wall clock step independently.
    #[derive(Debug, Default)]
    pub(crate) struct SteppedClock {
        boot_nanos: AtomicU64,
        unix_nanos: AtomicU64,
        asleep_nanos: AtomicU64,
    }

    impl SteppedClock {
        pub(crate) fn advance(&self, length: Duration) {
            let nanos = u64::try_from(length.as_nanos()).unwrap();
            self.boot_nanos.fetch_add(nanos, Ordering::SeqCst);
            self.unix_nanos.fetch_add(nanos, Ordering::SeqCst);
        }

        /// Boot and wall clock go on while nothing runs.
        pub(crate) fn suspend(&self, length: Duration) {
            self.advance(length);
            let nanos = u64::try_from(length.as_nanos()).unwrap();
            self.asleep_nanos.fetch_add(nanos, Ordering::SeqCst);
        }

        pub(crate) fn slew_wall_clock(&self, by: Duration) {
            let nanos = u64::try_from(by.as_nanos()).unwrap();
            self.unix_nanos.fetch_add(nanos, Ordering::SeqCst);
        }

        pub(crate) fn step_wall_clock_to(&self, seconds: u64) {
            self.unix_nanos.store(seconds * 1_000_000_000, Ordering::SeqCst);
        }
    }

    impl Clock for SteppedClock {
        fn now(&self) -> Instant {
            Instant::from_nanos(self.boot_nanos.load(Ordering::SeqCst))
        }

        fn unix(&self) -> Duration {
            Duration::from_nanos(self.unix_nanos.load(Ordering::SeqCst))
        }

        fn asleep(&self) -> Duration {
            Duration::from_nanos(self.asleep_nanos.load(Ordering::SeqCst))
        }
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_deadline_that_passed_during_suspend_is_due_at_once() {
        let clock = SteppedClock::default();
        clock.advance(ms(5_000));
        let deadline = Some(clock.now() + ms(400));
        assert_eq!(sleep_for(clock.now(), deadline), ms(400));
        // The machine sleeps for an hour in the middle of it.
        clock.advance(ms(3_600_000));
        assert_eq!(sleep_for(clock.now(), deadline), Duration::ZERO);
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_no_deadline() {
        let clock = SteppedClock::default();
        clock.step_wall_clock_to(1_790_000_000);
        let deadline = Some(clock.now() + ms(250));
        clock.step_wall_clock_to(1);
        assert_eq!((clock.unix(), sleep_for(clock.now(), deadline)), (ms(1_000), ms(250)));
    }

    #[test]
    fn the_timer_never_sleeps_longer_than_the_bound() {
        let now = Instant::from_nanos(7);
        assert_eq!(sleep_for(now, None), LONGEST_SLEEP);
        assert_eq!(sleep_for(now, Some(Instant::NEVER)), LONGEST_SLEEP);
    }

    #[test]
    fn the_boot_clock_does_not_fall() {
        let first = SystemClock.now();
        let second = SystemClock.now();
        assert!(Instant::ZERO < first && first <= second);
    }

    #[tokio::test]
    async fn the_timer_fires_not_before_its_time_and_again_after_it_was_cancelled() {
        let timer = Timer::new().unwrap();
        for length in [Duration::ZERO, ms(2)] {
            let before = SystemClock.now();
            timer.sleep(length).await.unwrap();
            assert!(SystemClock.now().since(before) >= length);
        }
        // Dropped before it fires; the next arming replaces it.
        tokio::select! {
            biased;
            () = core::future::ready(()) => {}
            _ = timer.sleep(ms(3_600_000)) => {}
        }
        timer.sleep(ms(1)).await.unwrap();
    }
}
