//! The key ring: the file that holds a cluster's keys.
//!
//! A line is a key, 64 hexadecimal digits; empty lines and those that begin with `#` are passed over. The
//! first key seals; every key opens. So a key is changed in three steps, each on all nodes before the
//! next: add the new one as the last line, make it the first, remove the old one.
//!
//! 1. A file that another user can read or write is refused, unless that user is root.
//! 2. No error shows a key, nor any part of a line.

use core::fmt;
use ringrift_wire::{BadKey, Key, KeyId};
use rustix::process::geteuid;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The most keys of a ring; a datagram under none of them is tried with each.
pub const MAX_KEYS: usize = 4;

/// The longest file, in bytes.
const LONGEST: u64 = 4_096;

/// The keys of a node; at least one.
#[derive(Clone, Debug)]
pub struct Ring {
    keys: Vec<Key>,
}

impl Ring {
    /// Reads a key ring.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn read(path: &Path) -> Result<Self, RingError> {
        let fail = |why| RingError { path: path.to_owned(), why };
        let mut file = File::open(path).map_err(|error| fail(Why::Io(error)))?;
        let meta = file.metadata().map_err(|error| fail(Why::Io(error)))?;
        let (mode, owner) = (meta.permissions().mode() & 0o7777, meta.uid());
        if !meta.is_file() {
            return Err(fail(Why::NoFile));
        }
        if mode & 0o077 != 0 {
            return Err(fail(Why::Mode(mode)));
        }
        if owner != 0 && owner != geteuid().as_raw() {
            return Err(fail(Why::Owner(owner)));
        }
        let mut text = String::new();
        let read = file.by_ref().take(LONGEST + 1).read_to_string(&mut text);
        read.map_err(|error| fail(Why::Io(error)))?;
        if text.len() as u64 > LONGEST {
            return Err(fail(Why::TooLong));
        }
        Self::parse(&text).map_err(fail)
    }

    fn parse(text: &str) -> Result<Self, Why> {
        let mut keys: Vec<Key> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key: Key = text.parse().map_err(|BadKey| Why::Line(line))?;
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(Why::Twice(line));
            }
            if keys.len() == MAX_KEYS {
                return Err(Why::TooMany(line));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(Why::Empty) } else { Ok(Self { keys }) }
    }

    /// A ring of these keys, the first of which seals; `None` without any.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The key that seals.
    #[must_use]
    pub fn first(&self) -> &Key {
        // A ring is never empty.
        &self.keys[0]
    }

    /// The keys that open, the one that seals first.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Their public names, in the same order.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(Key::id).collect()
    }
}

/// A key ring cannot be used.
#[derive(Debug)]
pub struct RingError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    NoFile,
    Mode(u32),
    Owner(u32),
    TooLong,
    Line(usize),
    Twice(usize),
    TooMany(usize),
    Empty,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                write!(f, "the key file {path} is no text; make one with `ringrift-p2p keygen`")
            }
            Why::Io(error) => write!(f, "the key file {path} cannot be read: {error}"),
            Why::NoFile => write!(f, "the key file {path} is not a regular file"),
            Why::Mode(mode) => write!(
                f,
                "the key file {path} has mode {mode:04o}, so that others can read or change it; run \
                 `chmod 600 {path}`, and make a new key if others had access"
            ),
            Why::Owner(uid) => write!(
                f,
                "the key file {path} belongs to user {uid}; it must belong to root or to the user \
                 that runs the node"
            ),
            Why::TooLong => write!(f, "the key file {path} is longer than {LONGEST} bytes"),
            Why::Line(line) => write!(f, "the key file {path}, line {line}: {BadKey}"),
            Why::Twice(line) => {
                write!(f, "the key file {path}, line {line}: this key stands there twice")
            }
            Why::TooMany(line) => write!(
                f,
                "the key file {path}, line {line}: at most {MAX_KEYS} keys are kept; remove those that \
                 no node uses"
            ),
            Why::Empty => {
                write!(f, "the key file {path} holds no key; make one with `ringrift-p2p keygen`")
            }
        }
    }
}

impl core::error::Error for RingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    fn digits(byte: u8) -> String {
        format!("{byte:02x}").repeat(Key::LEN)
    }

    #[test]
    fn the_first_key_seals_and_comments_are_passed_over() {
        let text = format!("# of the cluster\n\n  {}  \n{}\n", digits(1), digits(2));
        let ring = Ring::parse(&text).unwrap();
        let ids = [1, 2].map(|byte| Key::new([byte; Key::LEN]).id());
        assert_eq!((ring.ids(), ring.first().id()), (ids.to_vec(), ids[0]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_key() {
        let many: String = (1..=5).map(|byte| digits(byte) + "\n").collect();
        for (text, says) in [
            (String::new(), "holds no key"),
            ("# nothing\n".to_owned(), "holds no key"),
            (
                format!("{}\nsecret-but-wrong\n", digits(1)),
                "line 2: a key is 64 hexadecimal digits",
            ),
            (format!("{0}\n{0}\n", digits(1)), "line 2: this key stands there twice"),
            (many, "line 5: at most 4 keys"),
        ] {
            let why = Ring::parse(&text).unwrap_err();
            let said = RingError { path: "k".into(), why }.to_string();
            assert!(said.contains(says), "{said}");
            assert!(!said.contains("secret") && !said.contains(&digits(1)), "{said}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        fs::write(&path, digits(7)).unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = Ring::read(&path);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            if let Err(error) = read {
                assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
            }
        }
    }

    #[test]
    fn a_folder_a_huge_file_and_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(Ring::read(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        assert!(
            Ring::read(&dir.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
        let path = dir.path().join("keys");
        for (content, says) in [(vec![b'#'; 5_000], "longer than"), (vec![0xff; 9], "is no text")] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let said = Ring::read(&path).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }
}
