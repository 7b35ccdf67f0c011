//! Why there is no store to work with, and what an operator can do about it.

use core::fmt;
use ringrift_wire::NodeId;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no store to work with.
#[derive(Debug)]
pub enum StoreError {
    /// The folder or a file in it cannot be used.
    Io {
        /// What was tried, in words.
        what: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may write into the folder.
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process holds the store.
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process, if it can be known.
        holder: Option<u32>,
    },
    /// The file has content and no valid slot.
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is the store of another node.
    OfAnother {
        /// The file.
        path: PathBuf,
        /// The node that was to start with it.
        node: NodeId,
    },
    /// A later version of this program wrote it.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        version: u32,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, path, source } => {
                write!(f, "cannot {what} {}: {source}{}", path.display(), advice(source.kind()))
            }
            Self::NotPrivate { path, mode } => write!(
                f,
                "others may write into {} (mode {mode:o}): the vote store needs a folder of its own; \
                 chmod 700 it, or choose another with --data-dir",
                path.display()
            ),
            Self::Locked { path, holder: Some(pid) } => {
                write!(f, "the vote store in {} is in use by process {pid}", path.display())
            }
            Self::Locked { path, holder: None } => {
                write!(f, "the vote store in {} is in use by another process", path.display())
            }
            Self::Damaged { path } => write!(
                f,
                "the vote store {} is damaged: neither of its two slots is valid. Check the disk. To \
                 start as a voter that has lost its store, move the file away: the node then waits \
                 before it votes",
                path.display()
            ),
            Self::OfAnother { path, node } => write!(
                f,
                "the vote store {} is that of another node than {node}, and holds what that one has promised: \
                 give {node} a folder of its own (--data-dir), or start the other node (--node)",
                path.display()
            ),
            Self::Newer { path, version } => write!(
                f,
                "the vote store {} was written by a later version of this program (format \
                 {version}): start that version, or a later one",
                path.display()
            ),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What an operator can do about an error of the disk.
const fn advice(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind;
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; make room there, or choose another folder with --data-dir"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable (a disk with errors is often remounted read-only: see dmesg), or choose another \
             folder with --data-dir"
        }
        ErrorKind::PermissionDenied => {
            "; the folder must belong to the user that runs the node, or choose another with --data-dir"
        }
        _ => "",
    }
}

/// An error of the disk, with what was tried.
pub(super) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { what, path, source }
}
