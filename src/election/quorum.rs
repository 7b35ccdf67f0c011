//! Quorum arithmetic: which voters there are and how many of them decide.

use ringrift_wire::{NodeId, VoterSetTag};

/// How another set lies to one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same voters under the same version.
    Same,
    /// The version before the own one.
    Before,
    /// The version after the own one.
    After,
    /// The same version with other voters, or a version that is no neighbour.
    Apart,
}

/// The configured voters, sorted by name, and their version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VoterSet {
    ids: Vec<NodeId>,
    tag: VoterSetTag,
}

impl VoterSet {
    /// The set of these voters; order and repetition of the names do not matter.
    #[must_use]
    pub fn new(voters: &[NodeId], version: u32) -> Self {
        let mut ids = voters.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let names = ids.iter().flat_map(|id| id.as_bytes().iter().copied().chain([0]));
        let hash = fnv1a(names.chain(version.to_le_bytes()));
        Self { ids, tag: VoterSetTag { version, hash } }
    }

    /// The voters, sorted by name.
    #[must_use]
    pub fn ids(&self) -> &[NodeId] {
        &self.ids
    }

    /// Version and hash, as election messages carry them.
    #[must_use]
    pub const fn tag(&self) -> VoterSetTag {
        self.tag
    }

    /// How the set of that tag lies to this one.
    #[must_use]
    pub fn relation(&self, other: VoterSetTag) -> Relation {
        let own = self.tag;
        if other == own {
            Relation::Same
        } else if own.version.checked_sub(1) == Some(other.version) {
            Relation::Before
        } else if own.version.checked_add(1) == Some(other.version) {
            Relation::After
        } else {
            Relation::Apart
        }
    }

    /// How many voters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no voter at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Strict majority of the configured voters, never of the alive ones.
    #[must_use]
    pub const fn quorum(&self) -> usize {
        self.ids.len() / 2 + 1
    }

    /// Whether the name is a voter's.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// FNV-1a, 64 bits: names a set in messages; it protects nothing.
pub(super) fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &[&str], version: u32) -> VoterSet {
        let ids: Vec<NodeId> = names.iter().map(|name| name.parse().unwrap()).collect();
        VoterSet::new(&ids, version)
    }

    #[test]
    fn quorum_is_a_strict_majority_of_the_configured_voters() {
        for voters in 1..=9 {
            let names: Vec<String> = (0..voters).map(|n| format!("v{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let quorum = set(&names, 1).quorum();
            assert!(2 * quorum > voters && 2 * (quorum - 1) <= voters, "{quorum} of {voters}");
        }
    }

    #[test]
    fn the_hash_ignores_order_and_minds_names_and_version() {
        assert_eq!(set(&["a", "b"], 1), set(&["b", "a", "b"], 1));
        assert_ne!(set(&["a", "b"], 1).tag(), set(&["a", "b"], 2).tag());
        assert_ne!(set(&["a", "bc"], 1).tag(), set(&["ab", "c"], 1).tag());
    }

    #[test]
    fn only_neighbouring_versions_and_the_same_voters_are_near() {
        let own = set(&["a", "b"], 5);
        let relation = |names: &[&str], version| own.relation(set(names, version).tag());
        assert_eq!(relation(&["b", "a"], 5), Relation::Same);
        assert_eq!(relation(&["a", "c"], 5), Relation::Apart);
        assert_eq!(relation(&["a"], 4), Relation::Before);
        assert_eq!(relation(&["a"], 6), Relation::After);
        assert_eq!([relation(&["a"], 3), relation(&["a"], 7)], [Relation::Apart; 2]);
        let last = set(&["a"], u32::MAX);
        assert_eq!(last.relation(set(&["a"], 0).tag()), Relation::Apart);
        assert_eq!(set(&["a"], 0).relation(last.tag()), Relation::Apart);
    }

    proptest! {
        /// Any two quorums of one set share a voter, and a set that differs by one voter has no
        /// quorum outside of it either.
        #[test]
        fn two_quorums_share_a_voter(
            voters in 1..32usize, one in any::<u32>(), two in any::<u32>(), added: bool,
        ) {
            let of = |count: usize| {
                let ids: Vec<NodeId> = (0..count).map(|n| format!("v{n}").parse().unwrap()).collect();
                VoterSet::new(&ids, 1)
            };
            let (first, second) = (of(voters), of(voters + usize::from(added)));
            prop_assert_eq!(second.quorum() * 2 > second.len(), true);
            // The first members of two random orders.
            let choose = |set: &VoterSet, seed: u32| {
                let mut ids = set.ids().to_vec();
                crate::rng::Rng::new(u64::from(seed)).shuffle(&mut ids);
                ids.truncate(set.quorum());
                ids
            };
            let other = choose(&second, two);
            prop_assert!(choose(&first, one).iter().any(|id| other.contains(id)));
        }
    }
}
