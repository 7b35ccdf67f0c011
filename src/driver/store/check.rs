//! The check of the vote store between its writes: whether the next one could succeed.
//!
//! A vote is written rarely, so a disk that has died may go unnoticed until its vote is needed. Decides whether
//! a small durable write beside the votes succeeds, and whether the folder is still the one that was
//! opened. When to check, how long to wait for the answer and what follows is not decided here.
//!
//! 1. It runs on a thread of its own: one that hangs delays no vote and no promise.
//! 2. It touches no byte of the votes.
//! 3. A disk that is merely full fails no check: the votes have their room.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant as Monotonic;
use tokio::sync::mpsc;

use super::{Home, is_full};

/// As much as a vote takes.
const LENGTH: usize = super::slot::SLOT;

/// What one check has found.
#[derive(Debug)]
pub struct Checked {
    /// How long the durable write took; `None` where there was no room to write to.
    pub took: Option<Duration>,
    /// Why a vote could not be written.
    pub error: Option<io::Error>,
}

/// The check of one open store.
#[derive(Debug)]
pub struct Check {
    home: Home,
    file: Option<File>,
    count: u64,
}

impl Check {
    pub(super) const fn of(home: Home) -> Self {
        Self { home, file: None, count: 0 }
    }

    /// One check; it takes as long as the disk does.
    pub fn run(&mut self) -> Checked {
        let began = Monotonic::now();
        match self.home.look().and_then(|()| self.write()) {
            Ok(()) => Checked { took: Some(began.elapsed()), error: None },
            Err(error) if is_full(&error) => Checked { took: None, error: None },
            Err(error) => Checked { took: None, error: Some(error) },
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(self.home.votes.with_file_name("check"))?,
        };
        // Other bytes than before, lest a clever disk leave them out.
        self.count = self.count.wrapping_add(1);
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        self.file = Some(file);
        Ok(())
    }
}

/// Starts the thread: it checks once for each request, and ends when the returned sender is dropped.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(mut check: Check, checked: mpsc::Sender<Checked>) -> io::Result<SyncSender<()>> {
    let (ask, asked) = sync_channel(1);
    let run = move || {
        while asked.recv().is_ok() && checked.blocking_send(check.run()).is_ok() {}
    };
    thread::Builder::new().name("store-check".into()).spawn(run)?;
    Ok(ask)
}

#[cfg(test)]
mod tests {
    use super::super::{Place, place_of};
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn checked_folder() -> (TempDir, Check) {
        let dir = tempfile::tempdir().unwrap();
        let votes = dir.path().join("votes");
        let file = File::create(&votes).unwrap();
        let place: Place = place_of(&file, &votes).unwrap();
        (dir, Check::of(Home { votes, place }))
    }

    #[test]
    fn a_sound_folder_passes_and_its_votes_are_not_touched() {
        let (dir, mut check) = checked_folder();
        fs::write(dir.path().join("votes"), "votes").unwrap();
        for _ in 0..3 {
            let Checked { took, error } = check.run();
            assert!(took.is_some() && error.is_none(), "{error:?}");
        }
        assert_eq!(fs::read(dir.path().join("votes")).unwrap(), b"votes");
        assert_eq!(fs::metadata(dir.path().join("check")).unwrap().len(), LENGTH as u64);
    }

    #[test]
    fn a_removed_or_replaced_file_fails_until_it_is_back() {
        let (dir, mut check) = checked_folder();
        let (votes, aside) = (dir.path().join("votes"), dir.path().join("aside"));
        fs::rename(&votes, &aside).unwrap();
        assert!(check.run().error.unwrap().to_string().contains("was removed"));
        fs::write(&votes, "").unwrap();
        assert!(check.run().error.unwrap().to_string().contains("was replaced"));
        fs::rename(&aside, &votes).unwrap();
        assert!(check.run().error.is_none());
    }

    #[test]
    fn a_write_that_fails_fails_the_check_and_the_next_one_opens_anew() {
        let (dir, mut check) = checked_folder();
        check.run();
        // It takes no more writes.
        check.file = Some(File::open(dir.path().join("check")).unwrap());
        assert!(check.run().error.is_some());
        assert!(check.run().error.is_none());
    }
}
