//! How full the machine is: disk, memory and processor, measured beside the requests.
//!
//! The measurement runs on a thread of its own, because asking a disk can take as long as it likes;
//! an answer takes the last reading. A number that the machine does not tell is missing.

use arc_swap::ArcSwap;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::{fs, io, thread};

/// Time between two readings.
const INTERVAL: Duration = Duration::from_secs(5);

/// Shares in use, 0 to 100; `None` where unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) disk: Option<f64>,
    pub(super) memory: Option<f64>,
    pub(super) cpu: Option<f64>,
}

/// The last reading of a measuring thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Machine {
    reading: Arc<ArcSwap<Reading>>,
    _stop: Sender<()>,
}

impl Machine {
    /// Starts to measure; `folder` is on the disk in question.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn watch(folder: PathBuf) -> io::Result<Self> {
        let reading = Arc::new(ArcSwap::from_pointee(Reading::default()));
        let (stop, stopped) = channel();
        let store = Arc::clone(&reading);
        thread::Builder::new().name("machine".to_owned()).spawn(move || {
            let mut before = Ticks::now();
            loop {
                let ticks = Ticks::now();
                let cpu = before.zip(ticks).and_then(|(before, after)| after.busy_since(before));
                store.store(Arc::new(Reading { disk: disk(&folder), memory: memory(), cpu }));
                before = ticks;
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { reading, _stop: stop })
    }

    /// The last reading.
    pub(super) fn reading(&self) -> Reading {
        **self.reading.load()
    }
}

/// Share of the disk that is in use, as `df` counts it.
fn disk(folder: &Path) -> Option<f64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    percent(used, used.saturating_add(disk.f_bavail))
}

fn memory() -> Option<f64> {
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(text: &str) -> Option<f64> {
    let field = |name| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let total = field("MemTotal:")?;
    percent(total.saturating_sub(field("MemAvailable:")?), total)
}

/// Processor time of the machine since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    all: u64,
    idle: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line: user, nice, system, idle, iowait, irq, softirq, steal; what follows is
    /// already counted in user.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).flat_map(str::parse).collect();
        let idle = ticks.get(3)?.saturating_add(*ticks.get(4)?);
        Some(Self { all: ticks.iter().fold(0, |sum, tick| sum.saturating_add(*tick)), idle })
    }

    fn busy_since(self, before: Self) -> Option<f64> {
        let all = self.all.saturating_sub(before.all);
        percent(all.saturating_sub(self.idle.saturating_sub(before.idle)), all)
    }
}

/// A share in percent with one decimal; `None` of nothing.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1e3).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let text = "MemTotal:  1000 kB\nMemFree:  100 kB\nMemAvailable:  750 kB\n";
        assert_eq!(memory_of(text), Some(25.0));
        assert_eq!(memory_of("MemTotal: 1000 kB\n"), None);
    }

    #[test]
    fn processor_time_is_the_share_between_two_readings() {
        let before = Ticks::parse("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1\n").unwrap();
        let after = Ticks::parse("cpu  130 0 100 760 110 0 0 0 70 0\n").unwrap();
        assert_eq!(after.busy_since(before), Some(30.0));
        assert_eq!(before.busy_since(before), None);
        assert_eq!(Ticks::parse("intr 1 2 3"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_is_in_use_from_0_to_100_percent() {
        assert!(disk(Path::new("/")).is_some_and(|share| (0.0..=100.0).contains(&share)));
        assert_eq!(disk(Path::new("/no/such/folder")), None);
    }
}
