//! The change of voters: which messages of another voter-set version count, and from when on.
//!
//! A configuration names one set of voters, S(v), under a version v. Two sets of neighbouring versions
//! differ by one voter; that is the operator's word, and checked where it can be (`super::super::roster`).
//! A process has the version c of its file for life, and keeps two numbers in its record: `led_version`,
//! the highest version that it knows to have led, and `set_version`, below which it promises nothing.
//!
//! Invariants
//! 1. *Evidence*: a process of version c stands only while its record says that c - 1 has led, or a later
//!    version: it heard a leader of it, or a voter reported it when its own store was empty.
//! 2. *No way back*: who promises, of version c, to a process of version w, promises from then on nothing
//!    below the smaller of both; this is durable before the promise leaves, as is the own vote of a
//!    candidate, which counts as one.
//! 3. *Neighbours*: votes and acknowledgements are given to the own version and to the next on either side,
//!    and everybody counts quorums of its own set. What a voter of a lower version grants counts only for who
//!    has evidence that its *own* version has led: the first leader of a version is made by a quorum of
//!    voters that have that version, or the next.
//! 4. *Promises survive the switch*: a process starts with the promise and the record of its predecessor,
//!    whatever version that one had.
//! 5. *The same version with other voters* has no promise, and is no evidence.
//!
//! Why no two lead at once. (a) A quorum of n voters and one of n + 1, the n among them, have
//! `n/2 + 1 + (n+1)/2 + 1 = n + 2` members: they share a voter, so do two of one set. Of two leases whose
//! versions are equal or neighbours, one voter therefore promised both, and it promises one at a time:
//! what holds within one version holds here. Two sets that differ by two voters have quorums without a
//! common voter ({a, b} of three, {c, d, e} of five). (b) When the first leader Z of version v has won, no lease
//! of a lower version w runs, and none begins again. For w = v - 1: its quorum shares a voter m with the quorum
//! of votes for Z, and m has at least version v (3). When m voted for Z it had promised nobody else; since then
//! it promises nothing below v (2). For w < v - 1: Z has evidence that v - 1, or a later version, has led (1),
//! and by the same argument nothing below that has led since. (c) So of two leases at once neither is two
//! versions above the other: the higher one had evidence of the version between, whose first leader had ended
//! the lower one. By (a) there are no two. Terms rise for the same reasons: of two quorums that
//! share a voter, that voter's term orders them.
//!
//! Counting votes of a lower version for the first leader would break (b): with S(1) = {a, b, c}, d could be
//! elected under version 2 by a, b and itself, go on to version 3, and be elected again by c, d and e while a and b,
//! still free to promise under version 1, elect a.
//!
//! An empty store has lost both numbers. It takes its file's version as the one below which it promises
//! nothing, and the evidence that others report. Where its version has a predecessor, it never skips the
//! wait for forgotten promises, since the voter that was removed is not among those that it asks; and
//! that all of a quorum are new proves nothing unless every voter is. Not covered: a voter
//! that loses its disk *and* is given an older file; the two together count as one voter too many.

use ringrift_wire::VoterSetTag;

use super::super::quorum::Relation;
use super::Core;

impl Core {
    /// Whether this voter may stand, as far as versions go: what came before its own has led, and it has not
    /// taken part under a later one.
    #[must_use]
    pub fn has_evidence(&self) -> bool {
        let own = self.rules.set.tag().version;
        self.record.led_version.saturating_add(1) >= own && self.record.set_version <= own
    }

    /// Whether this voter has taken part under the version of its file: it promises nothing to a
    /// lower one any more.
    #[must_use]
    pub fn has_switched(&self) -> bool {
        self.record.set_version >= self.rules.set.tag().version
    }

    /// Whether a vote or an acknowledgement given under that set counts here (invariant 3).
    #[must_use]
    pub fn counts(&self, given_under: VoterSetTag) -> bool {
        match self.rules.set.relation(given_under) {
            Relation::Same | Relation::After => true,
            Relation::Before => self.record.led_version >= self.rules.set.tag().version,
            Relation::Apart => false,
        }
    }

    /// Whether this voter may promise anything to who asks under that set (invariants 2, 3 and 5).
    #[must_use]
    pub fn may_promise_under(&self, asked_under: VoterSetTag) -> bool {
        let own = self.rules.set.tag().version;
        self.rules.set.relation(asked_under) != Relation::Apart
            && asked_under.version >= self.record.set_version
            && self.record.set_version <= own
    }

    /// The version below which this voter promises nothing once it has promised under that set.
    pub(super) fn floor_after(&self, asked_under: VoterSetTag) -> u32 {
        let own = self.rules.set.tag().version;
        self.record.set_version.max(own.min(asked_under.version))
    }

    /// The highest version known to have led once a leader has been heard under that set (invariant 5).
    pub(super) fn led_after(&self, heard_under: VoterSetTag) -> u32 {
        let own = self.rules.set.tag();
        let other = heard_under.version == own.version && heard_under.hash != own.hash;
        let proven = if other { own.version.saturating_sub(1) } else { heard_under.version };
        self.record.led_version.max(proven)
    }

    /// A leader was heard under that set: evidence that outlasts this process.
    pub(super) fn note_led(&mut self, heard_under: VoterSetTag) {
        let led_version = self.led_after(heard_under);
        if let Some(genesis) = &mut self.genesis {
            genesis.hear_led(led_version);
        } else if led_version > self.record.led_version {
            self.record.led_version = led_version;
            self.write_record();
        }
    }
}

#[cfg(test)]
mod tests;
