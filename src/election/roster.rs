//! The voters that a process last took part with, and whether a file follows from them.
//!
//! Decides at a start whether the configuration's voters are one change for each version further than those of
//! the store. Does not decide whether the versions between have led: see [`super::core::change`].
//!
//! 1. A file that is older than what this voter has taken part in is refused: there is no way back.
//! 2. One version has one list.
//! 3. A list differs by at most one voter for each version that it is further.

use core::fmt;
use ringrift_wire::NodeId;

use super::quorum::{VoterSet, fnv1a};
use super::record::VoteRecord;

/// The most voters that a roster holds; as many as a configuration may name.
pub const MAX_ROSTER: usize = 31;

/// The names of a set of voters, as hashes: enough to tell how many differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roster {
    count: u8,
    names: [u64; MAX_ROSTER],
}

impl Roster {
    /// The names of this set, the first [`MAX_ROSTER`] of it.
    #[must_use]
    pub fn of(set: &VoterSet) -> Self {
        let mut names = [0; MAX_ROSTER];
        for (slot, id) in names.iter_mut().zip(set.ids()) {
            *slot = hash(*id);
        }
        Self { count: u8::try_from(set.len().min(MAX_ROSTER)).unwrap_or(u8::MAX), names }
    }

    /// A roster as it was stored; `None` where none was.
    #[must_use]
    pub fn stored(count: u8, names: [u64; MAX_ROSTER]) -> Option<Self> {
        (1..=MAX_ROSTER).contains(&usize::from(count)).then_some(Self { count, names })
    }

    /// How many names there are.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// All places, those behind the last name 0.
    #[must_use]
    pub const fn places(&self) -> &[u64; MAX_ROSTER] {
        &self.names
    }

    fn names(&self) -> &[u64] {
        self.names.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// The hash that stands for a name in stores.
#[must_use]
pub fn hash(id: NodeId) -> u64 {
    fnv1a(id.as_bytes().iter().copied())
}

/// Why a voter does not start with this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It has taken part under a later version.
    Older {
        /// `voters_version` of the file.
        file: u32,
        /// That of the store.
        stored: u32,
    },
    /// Another list under the version that it has taken part in.
    SameVersion {
        /// That version.
        version: u32,
    },
    /// More voters differ than versions lie between.
    TooMany {
        /// `voters_version` of the file.
        file: u32,
        /// That of the store.
        stored: u32,
        /// The voters of the file that the store does not have.
        added: Vec<NodeId>,
        /// How many voters of the store the file does not have.
        removed: usize,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older { file, stored } => write!(
                f,
                "voters_version {file} is older than {stored}, under which this voter has taken part: give it \
                 the file of the others. To undo a change of voters, make a version above {stored}"
            ),
            Self::SameVersion { version } => write!(
                f,
                "the voters differ from those under which this voter has taken part, and voters_version \
                 is still {version}: raise it by one for each voter added or removed; `ringrift-p2p voters plan` \
                 writes the files"
            ),
            Self::TooMany { file, stored, added, removed } => {
                let added: Vec<&str> = added.iter().map(NodeId::as_str).collect();
                let added = if added.is_empty() { "none".to_owned() } else { added.join(", ") };
                write!(
                    f,
                    "between voters_version {stored} of the vote store and {file} of the file more than one \
                     voter a version is changed (added: {added}; removed: {removed}): one voter a version; \
                     `ringrift-p2p voters plan` writes the files between"
                )
            }
        }
    }
}

impl core::error::Error for Misfit {}

/// The record that a voter starts with under the voters of its file. A store of a program that kept no
/// roster counts as one that has taken part under the version of the file.
///
/// # Errors
/// The file does not follow from the voters of the store.
pub fn admit(
    record: Option<VoteRecord>,
    roster: Option<Roster>,
    file: &VoterSet,
) -> Result<Option<VoteRecord>, Misfit> {
    let Some(record) = record else { return Ok(None) };
    let (version, stored) = (file.tag().version, record.set_version);
    if version < stored {
        return Err(Misfit::Older { file: version, stored });
    }
    let Some(roster) = roster else {
        let led_version = record.led_version.max(version.saturating_sub(1));
        return Ok(Some(VoteRecord { set_version: version, led_version, ..record }));
    };
    let known = |id: &NodeId| roster.names().contains(&hash(*id));
    let added: Vec<NodeId> = file.ids().iter().copied().filter(|id| !known(id)).collect();
    let kept = file.len() - added.len();
    let removed = roster.names().len().saturating_sub(kept);
    let changed = u32::try_from(added.len() + removed).unwrap_or(u32::MAX);
    if changed <= version - stored {
        Ok(Some(record))
    } else if version == stored {
        Err(Misfit::SameVersion { version })
    } else {
        Err(Misfit::TooMany { file: version, stored, added, removed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn set(names: &[&str], version: u32) -> VoterSet {
        let ids: Vec<NodeId> = names.iter().map(|name| name.parse().unwrap()).collect();
        VoterSet::new(&ids, version)
    }

    fn record(set_version: u32) -> VoteRecord {
        VoteRecord {
            term: 9,
            voted_for: None,
            nonce: 0,
            longest_lease: Duration::from_secs(1),
            set_version,
            led_version: set_version - 1,
            drained: false,
        }
    }

    fn after(stored: &[&str], version: u32, file: &VoterSet) -> Result<(), Misfit> {
        let roster = Roster::of(&set(stored, version));
        let stored = Roster::stored(roster.count(), *roster.places());
        assert_eq!(stored, Some(roster));
        admit(Some(record(version)), stored, file)
            .map(|kept| assert_eq!(kept, Some(record(version))))
    }

    #[test]
    fn one_voter_a_version_follows() {
        let abc = ["a", "b", "c"];
        assert_eq!(after(&abc, 4, &set(&["c", "b", "a"], 4)), Ok(()));
        assert_eq!(after(&abc, 4, &set(&abc, 5)), Ok(()), "a version may change nobody");
        assert_eq!(after(&abc, 4, &set(&["a", "b", "c", "d"], 5)), Ok(()));
        assert_eq!(after(&abc, 4, &set(&["a", "b"], 5)), Ok(()));
        assert_eq!(
            after(&abc, 4, &set(&["a", "b", "d"], 6)),
            Ok(()),
            "a voter that missed version 5"
        );
    }

    #[test]
    fn more_than_one_voter_a_version_is_refused_and_told() {
        let refused = after(&["a", "b", "c"], 4, &set(&["a", "b", "d"], 5)).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("4 of the vote store and 5 of the file"), "{said}");
        assert!(said.contains("added: d; removed: 1") && said.contains("voters plan"), "{said}");
        let refused = after(&["a", "b", "c"], 4, &set(&["a"], 5)).unwrap_err().to_string();
        assert!(refused.contains("added: none; removed: 2"), "{refused}");
    }

    #[test]
    fn one_version_has_one_list() {
        let same = after(&["a", "b", "c"], 4, &set(&["a", "b", "d"], 4));
        assert_eq!(same, Err(Misfit::SameVersion { version: 4 }));
        assert!(same.unwrap_err().to_string().contains("still 4"));
    }

    #[test]
    fn there_is_no_way_back() {
        let older = after(&["a", "b", "c"], 4, &set(&["a", "b", "c"], 3));
        assert_eq!(older, Err(Misfit::Older { file: 3, stored: 4 }));
        assert!(older.unwrap_err().to_string().contains("a version above 4"));
    }

    #[test]
    fn a_store_without_a_roster_takes_the_version_of_the_file() {
        let file = set(&["x", "y", "z"], 7);
        let kept = admit(Some(record(1)), None, &file).unwrap().unwrap();
        assert_eq!((kept.set_version, kept.led_version, kept.term), (7, 6, 9));
        assert_eq!(admit(Some(record(8)), None, &file), Err(Misfit::Older { file: 7, stored: 8 }));
        assert_eq!(admit(None, None, &file), Ok(None));
    }
}
