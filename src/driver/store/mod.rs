//! The vote store: what a voter must not forget, in a folder that one process holds at a time.
//!
//! Decides where the durable record and the promise of this kernel boot live, when they are
//! believed, and what an operator is told when they cannot be. When to write and what to do after
//! a failed write is the node's business. The files:
//!
//! - `lock`: held with flock for the life of the process; its content is the holder's process id, and
//!   nothing after a clean end.
//! - `votes`: two slots, see `slot.rs`.
//! - `check`: what the check of the disk writes, see `check.rs`; of no other use.
//! - the same-boot file, in a folder that need not survive a reboot: see `promise.rs`.
//!
//! 1. One process at a time: the lock is taken before anything is read.
//! 2. A store is empty or readable; one with content that makes no sense, or that a later version
//!    wrote, ends the process rather than count as empty.
//! 3. The new boot is on stable storage before the first datagram can leave: [`open`] returns after.
//! 4. Only a store that lies where it was written, on the machine that wrote it, may release a
//!    promise or believe the same-boot file; a copied one frees nothing, however often it was opened,
//!    until it holds a vote that was given where it lies.
//! 5. The store of one node is none of another's: it holds what that one has promised.
//! 6. A record counts as written only while the file that it went to is the one that the next start will find.

pub mod check;
mod error;
mod fields;
mod promise;
mod slot;
pub mod worker;

use core::fmt;
use ringrift_wire::{Boot, NodeId};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::election::VoterSet;
use crate::election::record::{Promise, Restored, RestoredPromise, VoteRecord};
use crate::election::roster::{self, Roster};
use crate::time::Instant;
pub use error::StoreError;
use error::io_error;
use promise::PromiseFile;
use slot::{Slot, Slots};

/// Which machine, and which run of its kernel, a store was written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The machine id; `None` where there is none.
    pub id: Option<u128>,
    /// The kernel's boot id; `None` where it has none.
    pub kernel_boot: Option<u128>,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        Self {
            id: read_id("/etc/machine-id"),
            kernel_boot: read_id("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// Whether both are known to be one machine. Without machine ids only one run of one kernel
    /// proves it.
    fn is_same(self, other: Self) -> bool {
        match (self.id, other.id) {
            (Some(one), Some(two)) => one == two,
            (None, None) => self.kernel_boot.is_some() && self.kernel_boot == other.kernel_boot,
            _ => false,
        }
    }
}

/// 128 bits in hexadecimal, with or without dashes.
fn read_id(path: &str) -> Option<u128> {
    let text: String = fs::read_to_string(path).ok()?.trim().split('-').collect();
    u128::from_str_radix(&text, 16).ok().filter(|&id| id != 0)
}

/// Which file a store is: a copy is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device of the file.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// Where a store was opened, and which file that was.
#[derive(Clone, Debug)]
struct Home {
    votes: PathBuf,
    place: Place,
}

impl Home {
    /// Whether the next start would find the file that is open here.
    fn look(&self) -> io::Result<()> {
        let what = match fs::metadata(&self.votes) {
            Ok(found) if (found.dev(), found.ino()) == (self.place.device, self.place.inode) => {
                return Ok(());
            }
            Ok(_) => "replaced".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "removed".to_owned(),
            Err(error) => return Err(error),
        };
        Err(io::Error::other(format!(
            "{} was {what} while this node runs: put it back as it was, or restart this node, which then \
             waits like a voter that has lost its store",
            self.votes.display()
        )))
    }
}

/// Unix seconds of the last starts after an end that was not clean, newest first, 0 for none.
pub type UncleanStarts = [u64; 8];

/// What an opened store found, and the store.
#[derive(Debug)]
pub struct Opened {
    /// The store, ready to write.
    pub store: Store,
    /// This process start.
    pub boot: Boot,
    /// What the predecessor left.
    pub restored: Restored,
    /// The starts of this node after an end that was not clean, this one included.
    pub unclean_starts: UncleanStarts,
    /// The voters that the predecessor last took part with; `None` where they were not kept.
    pub roster: Option<Roster>,
}

/// An open store.
pub struct Store {
    slots: Slots<File>,
    promise: PromiseFile,
    machine: Machine,
    /// Where the store lies on it.
    home: Home,
    /// The voters of the configuration, and their version.
    voters: Option<(u32, Roster)>,
    /// Held for as long as the store is open.
    _lock: File,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("newest", self.slots.newest()).finish_non_exhaustive()
    }
}

impl Store {
    /// Puts the record on stable storage.
    ///
    /// # Errors
    /// It is not known to be there, or not known to be what the next start will find; the record before it
    /// still is.
    pub fn write_record(&mut self, record: VoteRecord) -> io::Result<()> {
        self.home.look()?;
        // Kept beside the record of the version that this process has taken part under.
        let voters = self.voters.filter(|(version, _)| *version == record.set_version);
        let home = (self.machine, self.home.place);
        let vote = |record: VoteRecord| (record.term, record.voted_for, record.nonce);
        self.slots.write(|next| {
            if next.record.map(vote) != Some(vote(record)) {
                (next.machine, next.place) = home;
            }
            next.record = Some(record);
            next.roster = voters.map(|(_, roster)| roster).or(next.roster);
        })
    }

    /// A check of the disk that this store lies on, to be run beside it.
    #[must_use]
    pub fn check(&self) -> check::Check {
        check::Check::of(self.home.clone())
    }

    /// The voters of the configuration: those that the records to come are kept with.
    pub fn count_with(&mut self, set: &VoterSet) {
        self.voters = Some((set.tag().version, Roster::of(set)));
    }

    /// Writes the promise of this kernel boot, or that there is none; removes the file where it cannot
    /// be written.
    ///
    /// # Errors
    /// The file could be neither written nor removed.
    pub fn write_promise(&mut self, promise: Option<Promise>) -> io::Result<()> {
        self.promise.write(&RestoredPromise::Exact(promise))
    }
}

/// What the driver knows when it opens a store.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// This node.
    pub node: NodeId,
    /// This machine.
    pub machine: Machine,
    /// The boot clock.
    pub now: Instant,
    /// The wall clock, in seconds since the Unix epoch.
    pub unix_seconds: u64,
    /// 64 random bits for the new boot.
    pub nonce: u64,
}

/// Opens the store in `data_dir`, makes it if there is none, and makes the new boot durable. The
/// same-boot file is `promise_path`; where its folder cannot be made, a restart abstains.
///
/// # Errors
/// The store is locked, damaged, newer, another node's, or the disk refuses; see [`StoreError`].
pub fn open(data_dir: &Path, promise_path: &Path, start: &Start) -> Result<Opened, StoreError> {
    make_private_dir(data_dir)?;
    let (lock, ended_cleanly) = lock(data_dir)?;
    let path = data_dir.join("votes");
    let found = read_slots(&path)?;
    let owner = roster::hash(start.node);
    if found.as_ref().is_some_and(|found| ![0, owner].contains(&found.slot.owner)) {
        return Err(StoreError::OfAnother { path, node: start.node });
    }

    let stored = found.as_ref().map_or(0, |found| found.slot.boot.sequence);
    let boot =
        Boot { sequence: start.unix_seconds.max(stored.saturating_add(1)), nonce: start.nonce };
    let place = found.as_ref().map(|found| found.place);
    let (slots, promise, may_release) = match found {
        Some(found) => {
            let unclean = (!ended_cleanly).then_some(start.unix_seconds);
            reopen(found, boot, unclean, promise_path, start).map_err(io_error("write", &path))?
        }
        None => {
            let slots = create(data_dir, &path, boot, start)?;
            (slots, RestoredPromise::Unknown { last_possible: start.now }, false)
        }
    };
    let newest = slots.newest();
    let restored = Restored { record: newest.record, promise, may_release };
    let home = Home { votes: path, place: place.unwrap_or(newest.place) };
    let (unclean_starts, roster) = (newest.unclean, newest.roster);
    if let Some(dir) = promise_path.parent() {
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    }
    let kernel_boot = start.machine.kernel_boot;
    let mut promise_file = PromiseFile::new(promise_path.to_path_buf(), kernel_boot, boot);
    // What a failure leaves behind names the predecessor's nonce, which nobody believes any more.
    let _ = promise_file.write(&promise);
    let machine = start.machine;
    let store = Store { slots, promise: promise_file, machine, home, voters: None, _lock: lock };
    Ok(Opened { store, boot, restored, unclean_starts, roster })
}

/// What `votes` holds.
struct Found {
    file: File,
    place: Place,
    index: u64,
    slot: Slot,
}

fn read_slots(path: &Path) -> Result<Option<Found>, StoreError> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    // Whoever removes the lock file opens no way to the votes.
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(StoreError::Locked { path: path.to_path_buf(), holder: None });
    }
    let place = place_of(&file, path)?;
    let mut content = Vec::new();
    Read::by_ref(&mut file)
        .take(slot::FILE as u64)
        .read_to_end(&mut content)
        .map_err(io_error("read", path))?;
    if content.is_empty() {
        return Ok(None);
    }
    match slot::newest(&content) {
        Err(version) => Err(StoreError::Newer { path: path.to_path_buf(), version }),
        Ok(None) => Err(StoreError::Damaged { path: path.to_path_buf() }),
        Ok(Some((index, slot))) => Ok(Some(Found { file, place, index, slot })),
    }
}

/// Takes over a predecessor's store: what it promised, whether it may be released, and the new boot
/// durable.
fn reopen(
    found: Found,
    boot: Boot,
    unclean: Option<u64>,
    promise_path: &Path,
    start: &Start,
) -> io::Result<(Slots<File>, RestoredPromise, bool)> {
    let Found { file, place, index, slot } = found;
    let may_release = slot.place == place && slot.machine.is_same(start.machine);
    let rebooted = match (slot.machine.kernel_boot, start.machine.kernel_boot) {
        (Some(then), Some(now)) => then != now,
        _ => false,
    };
    let last_possible = if may_release && rebooted { Instant::ZERO } else { start.now };
    let promise = may_release
        .then(|| promise::read(promise_path, start.machine.kernel_boot, slot.boot))
        .flatten()
        .unwrap_or(RestoredPromise::Unknown { last_possible });
    let mut slots = Slots::new(file, index, slot);
    slots.harden()?;
    slots.write(|next| {
        next.boot = boot;
        next.owner = roster::hash(start.node);
        // Of another machine remains what was written there, until this one votes itself.
        if may_release || next.record.is_none() {
            next.machine = start.machine;
            next.place = place;
        }
        if let Some(start) = unclean {
            next.unclean.rotate_right(1);
            next.unclean[0] = start;
        }
    })?;
    Ok((slots, promise, may_release))
}

/// Makes the file under another name first, so that `votes` never lacks a valid slot.
fn create(
    data_dir: &Path,
    path: &Path,
    boot: Boot,
    start: &Start,
) -> Result<Slots<File>, StoreError> {
    let draft = data_dir.join("votes.new");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(io_error("create", &draft))?;
    // Nobody else has it; a file system without locks has none to give.
    let _ = file.try_lock();
    let place = place_of(&file, &draft)?;
    let unclean = UncleanStarts::default();
    let (machine, owner) = (start.machine, roster::hash(start.node));
    let slot =
        Slot { sequence: 1, boot, machine, place, record: None, owner, unclean, roster: None };
    let mut content = vec![0; slot::FILE];
    content[..slot::SLOT].copy_from_slice(&slot::encode(&slot));
    (&file)
        .write_all(&content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path))
        .and_then(|()| File::open(data_dir)?.sync_all())
        .map_err(io_error("write", path))?;
    Ok(Slots::new(file, 0, slot))
}

fn place_of(file: &File, path: &Path) -> Result<Place, StoreError> {
    let metadata = file.metadata().map_err(io_error("look at", path))?;
    Ok(Place { device: metadata.dev(), inode: metadata.ino() })
}

fn make_private_dir(path: &Path) -> Result<(), StoreError> {
    let existed = path.exists();
    let metadata = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::metadata(path))
        .map_err(io_error("create the folder", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(StoreError::NotPrivate { path: path.to_path_buf(), mode });
    }
    if let Some(parent) = path.parent().filter(|_| !existed) {
        // The entry of a new folder is as durable as what will lie in it. A relative path without
        // a folder in it has an empty parent.
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(io_error("sync the folder", parent))?;
    }
    Ok(())
}

/// The process that holds the store in `data_dir` ends as it should: its next start is not counted
/// against it. What is lost here makes a clean end look like another, and nothing worse.
pub fn mark_clean(data_dir: &Path) {
    let lock = OpenOptions::new().write(true).open(data_dir.join("lock"));
    let _ = lock.and_then(|lock| lock.set_len(0));
}

/// Whether the disk has no room, and nothing else is wrong.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The lock, and whether the last holder ended cleanly.
fn lock(data_dir: &Path) -> Result<(File, bool), StoreError> {
    let path = data_dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
            let holder = text.trim().parse().ok();
            return Err(StoreError::Locked { path: data_dir.to_path_buf(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
    }
    let holder = file.metadata().map_err(io_error("look at", &path))?.len();
    file.set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.set_len(0))
        .map_err(io_error("write", &path))?;
    match writeln!(file, "{}", std::process::id()) {
        // The votes lie in a file that has its room already: a full disk keeps no voter from starting.
        Err(error) if is_full(&error) => {}
        written => written.map_err(io_error("write", &path))?,
    }
    Ok((file, holder == 0))
}

#[cfg(test)]
mod frozen;
#[cfg(test)]
mod tests;
