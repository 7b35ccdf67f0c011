//! How long one durable write takes where the votes will be.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How often it is measured.
const TIMES: usize = 20;

/// Bytes of a write, as of a record in the vote store.
const LENGTH: usize = 512;

/// Times of durable writes.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    /// The folder that was written in.
    pub(super) folder: PathBuf,
    /// Half of them took no longer.
    pub(super) median: Duration,
    /// The longest.
    pub(super) longest: Duration,
}

/// Measures in the folder, or in the nearest one above that exists; the file is removed again.
///
/// # Errors
/// Nothing can be written there.
pub(super) fn measure(folder: &Path) -> io::Result<Writes> {
    let folder = folder.ancestors().find(|it| it.is_dir()).unwrap_or(Path::new("."));
    let path = folder.join(format!(".ringrift-check-{}", std::process::id()));
    let measured = times(&path);
    // What was not made is not there.
    let _ = fs::remove_file(&path);
    let mut times = measured?;
    times.sort_unstable();
    let longest = times.last().copied().unwrap_or_default();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Writes { folder: folder.to_owned(), median, longest })
}

fn times(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        file.write_all(&[0; LENGTH])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_where_the_folder_will_be_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let writes = measure(&dir.path().join("not/yet")).unwrap();
        assert_eq!(writes.folder, dir.path());
        assert!(writes.median <= writes.longest);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(measure(Path::new("/proc/self")).is_err());
    }
}
