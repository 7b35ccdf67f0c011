//! The same-boot file: the last promise, exact for as long as this kernel runs.
//!
//! It is written in place, without fsync: within one kernel boot the page cache is as good as the
//! disk, and after a reboot nobody reads it. 256 bytes, little endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | `RRPROMIS` |
//! | 8..12 | format version, 1 |
//! | 12..28 | the kernel's boot id |
//! | 28..36 | nonce of the process that wrote it |
//! | 36 | 0: nothing was promised; 1: the promise; 2: not known, last possible at `until` |
//! | 37..101 | to whom: length and name |
//! | 101..117 | nonce and term of the promise |
//! | 117..125 | until, nanoseconds of the boot clock |
//! | 252..256 | CRC32 of all before it |
//!
//! 1. It counts only under the kernel boot that it names, and only if the process that wrote it was
//!    the last that ran with the store, by the nonce in the store. So neither a copied, moved or
//!    restored store nor a left-over file is ever believed.
//! 2. Where it cannot be written it is removed, and a restart abstains.

use ringrift_wire::Boot;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::fields::{Reader, Writer, is_sealed};
use crate::election::record::{Promise, RestoredPromise};
use crate::time::Instant;

const LENGTH: usize = 256;
const MAGIC: &[u8; 8] = b"RRPROMIS";
const VERSION: u32 = 1;

/// The file and what ties it to a process of this kernel boot.
pub(super) struct PromiseFile {
    path: PathBuf,
    /// `None` where the kernel has no boot id: such a file would prove nothing, so there is none.
    kernel_boot: Option<u128>,
    boot: Boot,
    open: Option<File>,
}

impl PromiseFile {
    /// The file at `path`, as the process of `boot` will write it.
    pub(super) const fn new(path: PathBuf, kernel_boot: Option<u128>, boot: Boot) -> Self {
        Self { path, kernel_boot, boot, open: None }
    }

    /// Writes it, or removes it where it cannot be written.
    ///
    /// # Errors
    /// It could be neither written nor removed, so what it says may be outdated.
    pub(super) fn write(&mut self, says: &RestoredPromise) -> io::Result<()> {
        let Some(kernel_boot) = self.kernel_boot else { return Ok(()) };
        let bytes = encode(kernel_boot, self.boot.nonce, says);
        if self.put(&bytes).is_ok() {
            return Ok(());
        }
        self.open = None;
        let Err(error) = fs::remove_file(&self.path) else { return Ok(()) };
        // A read-only file system says so even of a file that is not there.
        match fs::symlink_metadata(&self.path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }
    }

    fn put(&mut self, bytes: &[u8; LENGTH]) -> io::Result<()> {
        let file = match self.open.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(&self.path)?,
        };
        file.write_all_at(bytes, 0)?;
        self.open = Some(file);
        Ok(())
    }
}

/// What the file at `path` says, if it was written under this kernel boot by the process of `boot`.
pub(super) fn read(path: &Path, kernel_boot: Option<u128>, boot: Boot) -> Option<RestoredPromise> {
    let bytes = fs::read(path).ok()?;
    decode(&bytes, kernel_boot?, boot.nonce)
}

pub(super) fn encode(kernel_boot: u128, writer: u64, says: &RestoredPromise) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut to = Writer::new(&mut bytes);
    to.bytes(MAGIC);
    to.u32(VERSION);
    to.u128(kernel_boot);
    to.u64(writer);
    let (kind, name, nonce, term, until) = match *says {
        RestoredPromise::Exact(None) => (0, None, 0, 0, Instant::ZERO),
        RestoredPromise::Exact(Some(promise)) => {
            (1, Some(promise.to), promise.nonce, promise.term, promise.until)
        }
        RestoredPromise::Unknown { last_possible } => (2, None, 0, 0, last_possible),
    };
    to.u8(kind);
    to.name(name);
    to.u64(nonce);
    to.u64(term);
    to.u64(until.as_nanos());
    to.seal();
    bytes
}

fn decode(bytes: &[u8], kernel_boot: u128, writer: u64) -> Option<RestoredPromise> {
    if bytes.len() != LENGTH || !is_sealed(bytes) {
        return None;
    }
    let mut from = Reader(bytes);
    if from.bytes()? != *MAGIC || from.u32()? != VERSION {
        return None;
    }
    if from.u128()? != kernel_boot || from.u64()? != writer {
        return None;
    }
    let (kind, to) = (from.u8()?, from.name()?);
    let (nonce, term) = (from.u64()?, from.u64()?);
    let until = Instant::from_nanos(from.u64()?);
    match (kind, to) {
        (0, None) => Some(RestoredPromise::Exact(None)),
        (1, Some(to)) => Some(RestoredPromise::Exact(Some(Promise { to, nonce, term, until }))),
        (2, None) => Some(RestoredPromise::Unknown { last_possible: until }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const BOOT: Boot = Boot { sequence: 4, nonce: 44 };
    const KERNEL: u128 = 3;

    fn promise(until: u64) -> RestoredPromise {
        RestoredPromise::Exact(Some(Promise {
            to: "nebius-h100-3".parse().unwrap(),
            nonce: 6,
            term: 7,
            until: Instant::from_nanos(until),
        }))
    }

    #[test]
    fn what_was_written_last_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("promise");
        let mut file = PromiseFile::new(path.clone(), Some(KERNEL), BOOT);
        let unknown = RestoredPromise::Unknown { last_possible: Instant::from_nanos(5) };
        for says in [unknown, RestoredPromise::Exact(None), promise(9), promise(10)] {
            file.write(&says).unwrap();
            assert_eq!(read(&path, Some(KERNEL), BOOT), Some(says));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn another_kernel_boot_or_process_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("promise");
        PromiseFile::new(path.clone(), Some(KERNEL), BOOT).write(&promise(9)).unwrap();
        assert_eq!(read(&path, Some(KERNEL), BOOT), Some(promise(9)));
        assert_eq!(read(&path, Some(4), BOOT), None);
        assert_eq!(read(&path, None, BOOT), None);
        assert_eq!(read(&path, Some(KERNEL), Boot { nonce: 45, ..BOOT }), None);
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_says_nothing() {
        let good = encode(KERNEL, BOOT.nonce, &promise(9));
        assert_eq!(decode(&good, KERNEL, BOOT.nonce), Some(promise(9)));
        for at in 0..LENGTH {
            let mut bad = good;
            bad[at] ^= 1;
            assert_eq!(decode(&bad, KERNEL, BOOT.nonce), None, "byte {at}");
            assert_eq!(decode(&good[..at], KERNEL, BOOT.nonce), None, "{at} bytes");
        }
    }

    #[test]
    fn where_it_cannot_be_written_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("promise");
        let mut file = PromiseFile::new(path.clone(), Some(KERNEL), BOOT);
        file.write(&promise(9)).unwrap();
        // The open file takes no more writes.
        file.open = Some(File::open(&path).unwrap());
        file.write(&promise(10)).unwrap();
        assert!(!path.exists());
        // The next write makes it anew.
        file.write(&promise(11)).unwrap();
        assert_eq!(read(&path, Some(KERNEL), BOOT), Some(promise(11)));
    }

    #[test]
    fn where_it_can_be_neither_written_nor_removed_the_write_fails() {
        let dir = tempfile::tempdir().unwrap();
        // A folder in its place takes neither.
        let path = dir.path().join("promise");
        fs::create_dir_all(path.join("inner")).unwrap();
        let mut file = PromiseFile::new(path, Some(KERNEL), BOOT);
        assert!(file.write(&promise(9)).is_err());
    }

    #[test]
    fn a_folder_that_is_gone_counts_as_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("promise");
        let mut file = PromiseFile::new(path, Some(KERNEL), BOOT);
        file.write(&promise(9)).unwrap();
    }
}
