//! The member table: every other node by name, its indices and its digest.
//!
//! Decides nothing about health. Every change of a member goes through [`Table::edit`], so the
//! indices and the digest are always true.
//!
//! Invariants
//! 1. `suspects` holds exactly the suspect members, `lost` exactly the dead and the unknown, `away` exactly
//!    the configured members that have left, `strays` and `rivals` exactly what they are named for: no
//!    round of thousands of members looks at them all.
//! 2. The digest depends only on the names, sequences and incarnations of the reachable members and
//!    of this node: two nodes with the same view have the same digest. Suspicion is left out because
//!    it passes, the dead and the left because nodes forget them at different times.

use core::ops::Bound;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, BTreeSet};

use super::member::{Health, Member};

/// Every other node by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Apart from the tree, whose half-filled nodes would cost as much again.
    members: BTreeMap<NodeId, Box<Member>>,
    indices: Indices,
}

/// What follows from the records.
#[derive(Clone, Debug, Default)]
struct Indices {
    suspects: BTreeSet<NodeId>,
    lost: BTreeSet<NodeId>,
    away: BTreeSet<NodeId>,
    strays: BTreeSet<NodeId>,
    rivals: BTreeSet<NodeId>,
    reachable: usize,
    /// Sum of the marks of the reachable members.
    sum: u32,
}

impl Table {
    pub(super) fn get(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id).map(|member| &**member)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    /// The members after `after`, in the order of names.
    pub(super) fn after(&self, after: Option<NodeId>) -> impl Iterator<Item = &Member> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.members.range((start, Bound::Unbounded)).map(|(_, member)| &**member)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) const fn reachable(&self) -> usize {
        self.indices.reachable
    }

    pub(super) const fn suspects(&self) -> &BTreeSet<NodeId> {
        &self.indices.suspects
    }

    pub(super) const fn lost(&self) -> &BTreeSet<NodeId> {
        &self.indices.lost
    }

    /// The configured members that have left: they are expected back.
    pub(super) const fn away(&self) -> &BTreeSet<NodeId> {
        &self.indices.away
    }

    /// The reachable members that answer from elsewhere than where the configuration has them.
    pub(super) const fn strays(&self) -> &BTreeSet<NodeId> {
        &self.indices.strays
    }

    /// The members under whose names a second process is known.
    pub(super) const fn rivals(&self) -> &BTreeSet<NodeId> {
        &self.indices.rivals
    }

    /// Puts a member in, in place of one of the same name.
    pub(super) fn insert(&mut self, member: Member) {
        self.remove(member.id);
        self.indices.count(&member);
        self.members.insert(member.id, Box::new(member));
    }

    pub(super) fn remove(&mut self, id: NodeId) {
        if let Some(member) = self.members.remove(&id) {
            self.indices.discount(&member);
        }
    }

    /// The one way to change a member; `None` if there is none of that name.
    pub(super) fn edit<R>(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut Member) -> R,
    ) -> Option<R> {
        let member = self.members.get_mut(&id)?;
        self.indices.discount(member);
        let result = change(member);
        self.indices.count(member);
        Some(result)
    }

    /// Digest of this view, this node included; never 0, which means that there is none.
    pub(super) fn digest(&self, own: u32) -> u32 {
        self.indices.sum.wrapping_add(own).max(1)
    }
}

impl Indices {
    fn count(&mut self, member: &Member) {
        match member.health {
            Health::Alive | Health::Suspect => {
                self.reachable += 1;
                self.sum = self.sum.wrapping_add(member_mark(member));
            }
            Health::Unknown | Health::Dead => {
                self.lost.insert(member.id);
            }
            Health::Left if member.is_away() => {
                self.away.insert(member.id);
            }
            Health::Left => {}
        }
        if member.health == Health::Suspect {
            self.suspects.insert(member.id);
        }
        if member.is_stray() {
            self.strays.insert(member.id);
        }
        if member.rival().is_some() {
            self.rivals.insert(member.id);
        }
    }

    fn discount(&mut self, member: &Member) {
        if member.health.is_reachable() {
            self.reachable -= 1;
            self.sum = self.sum.wrapping_sub(member_mark(member));
        }
        self.lost.remove(&member.id);
        self.away.remove(&member.id);
        self.suspects.remove(&member.id);
        self.strays.remove(&member.id);
        self.rivals.remove(&member.id);
    }
}

fn member_mark(member: &Member) -> u32 {
    mark(member.id, member.sequence.unwrap_or(0), member.incarnation)
}

/// What one reachable node adds to a digest: FNV-1a over all that counts, then a final mix.
pub(super) fn mark(id: NodeId, sequence: u64, incarnation: u32) -> u32 {
    let bytes = id.as_bytes().iter().copied();
    let bytes = bytes.chain([0]).chain(sequence.to_le_bytes()).chain(incarnation.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Rival;
    use crate::time::Instant;

    fn member(name: &str, health: Health, incarnation: u32) -> Member {
        let id = NodeId::from_bytes(name.as_bytes()).expect("a good name");
        let mut member = Member::new(id, None, Instant::ZERO);
        member.health = health;
        member.sequence = Some(1);
        member.incarnation = incarnation;
        member
    }

    /// Invariant 2.
    #[test]
    fn the_digest_is_of_the_view_and_not_of_its_history() {
        let mut one = Table::default();
        one.insert(member("a", Health::Alive, 0));
        one.insert(member("b", Health::Dead, 3));
        one.insert(member("c", Health::Suspect, 2));
        let a = one.iter().next().expect("a member").id;
        one.edit(a, |member| member.incarnation = 9);
        let mut other = Table::default();
        other.insert(member("c", Health::Alive, 2));
        other.insert(member("a", Health::Alive, 9));
        assert_eq!(one.digest(5), other.digest(5));
        other.edit(a, |member| member.incarnation = 8);
        assert_ne!(one.digest(5), other.digest(5));
    }

    /// Invariant 1.
    #[test]
    fn strays_and_rivals_are_found_without_looking_at_all() {
        let mut table = Table::default();
        table.insert(member("a", Health::Alive, 0));
        table.insert(member("b", Health::Alive, 0));
        let a = table.iter().next().expect("a member").id;
        let home = "10.0.0.1:8770".parse().expect("an address");
        let elsewhere = "10.0.0.2:8770".parse().expect("an address");
        let strays = |table: &Table| table.strays().iter().copied().eq([a]);
        assert!(!strays(&table), "no configuration says where it is");
        table.edit(a, |member| member.configured = [home].into());
        assert!(strays(&table), "it has not spoken from there");
        table.edit(a, |member| member.address = Some(home));
        assert!(!strays(&table), "nobody says that it is elsewhere");
        table.edit(a, |member| member.address = Some(elsewhere));
        table.edit(a, |member| member.rooted = true);
        assert!(!strays(&table));
        table.edit(a, |member| member.rare_mut().proven = Some(elsewhere));
        assert!(strays(&table), "it has moved");
        table.edit(a, |member| member.health = Health::Dead);
        assert!(!strays(&table), "the dead are called anyway");

        let rival = Rival { address: elsewhere, nonce: 7, at: Instant::ZERO };
        table.edit(a, |member| member.rare_mut().rival = Some(rival));
        assert!(table.rivals().iter().copied().eq([a]));
        table.edit(a, |member| member.rare_mut().rival = None);
        assert!(table.rivals().is_empty());
    }

    /// Invariant 1.
    #[test]
    fn indices_follow_every_change() {
        let mut table = Table::default();
        table.insert(member("a", Health::Unknown, 0));
        let a = table.iter().next().expect("a member").id;
        let indices = |table: &Table| {
            let (lost, away) = (table.lost().len(), table.away().len());
            (table.reachable(), table.suspects().len(), lost, away, table.len())
        };
        assert_eq!(indices(&table), (0, 0, 1, 0, 1));
        for (health, seed, expected) in [
            (Health::Alive, false, (1, 0, 0, 0, 1)),
            (Health::Suspect, false, (1, 1, 0, 0, 1)),
            (Health::Dead, false, (0, 0, 1, 0, 1)),
            (Health::Left, false, (0, 0, 0, 0, 1)),
            (Health::Left, true, (0, 0, 0, 1, 1)),
        ] {
            table.edit(a, |member| (member.health, member.seed) = (health, seed));
            assert_eq!(indices(&table), expected);
        }
        table.remove(a);
        assert_eq!(indices(&table), (0, 0, 0, 0, 0));
        assert_eq!(table.digest(7), 7);
    }
}
