//! What a lease rests on.
//!
//! 1. I3: while a lease runs, a quorum of its holder's voters is bound until its end at least: each has
//!    promised to that process, or abstains, or has an empty store and does not vote. A voter whose
//!    process is gone counts by what its next process will find.

use ringrift_wire::NodeId;

use super::Violation;
use super::leases::Held;
use crate::options::Nanos;

/// What keeps one voter from voting for somebody else, in true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// To which process it has promised, and until when.
    pub(crate) promised: Option<(NodeId, u64, Nanos)>,
    /// Until when it votes for nobody.
    pub(crate) abstains_until: Nanos,
}

impl Bound {
    /// Nothing does.
    pub(crate) const FREE: Self = Self { promised: None, abstains_until: 0 };

    /// Nobody can get its vote.
    pub(crate) const MUTE: Self = Self { promised: None, abstains_until: Nanos::MAX };

    /// Whether it stays bound to that process until then.
    pub(crate) fn covers(&self, holder: NodeId, nonce: u64, until: Nanos) -> bool {
        let promised = self
            .promised
            .is_some_and(|(to, of, promised)| (to, of) == (holder, nonce) && promised >= until);
        promised || self.abstains_until >= until
    }
}

/// Whether a lease that runs is covered by the voters of its holder's set.
pub(crate) fn check(
    now: Nanos,
    holder: NodeId,
    held: Held,
    quorum: usize,
    voters: &[(usize, Bound)],
) -> Result<(), Violation> {
    let covering = voters.iter().filter(|(_, b)| b.covers(holder, held.nonce, held.until)).count();
    if covering >= quorum {
        return Ok(());
    }
    let what = format!(
        "the lease of {holder} in term {} runs until {} and {covering} voters cover it, {quorum} must: {voters:?}",
        held.term, held.until
    );
    Err(Violation { at: now, rule: "I3", what })
}
