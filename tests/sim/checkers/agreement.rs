//! Agreement and completeness of membership, once some hosts are healed.
//!
//! 1. Within a stated time every healed host has every other healed host for reachable, under the boot
//!    that it really runs; from then on it stays so.
//! 2. From then on no healed host names another leader than the one that leads, unless that has changed
//!    within a lease: whoever has not heard of a release believes in the lease it was told of. And none is
//!    without a leader for long: a voter hears its heartbeats, an observer asks while what it knows grows old.
//!
//! A member that came and went several times is let in later, after up to 128 probe intervals: while it
//! is held off it is not missed. A voter whose name a second live process has is not compared.

use std::collections::BTreeMap;

use ringrift_wire::NodeId;

use super::Violation;
use super::liveness::drifted;
use crate::options::{MS, Nanos, Options};

/// Within what time after the healing.
///
/// Lost members are called one each probe interval, by nodes whose own interval is stretched up to
/// ninefold while they distrust themselves; each call and its answer is a round trip.
fn bound(options: &Options, one_way: Nanos) -> Nanos {
    let probe = options.probe.max(10 * MS);
    let round_trip = 2 * (one_way + options.loop_lag);
    let calls = options.hosts() as u64 + 8;
    (calls * (probe + round_trip)).max(12 * probe) + 2 * options.leases().1
}

/// For how long a host may name no leader while there is one: what it knows ends with a lease, and it
/// asks two voters each probe interval.
fn unnamed(options: &Options, one_way: Nanos) -> Nanos {
    let round_trip = 2 * (one_way + options.loop_lag);
    2 * options.leases().1 + 8 * (options.probe.max(10 * MS) + round_trip)
}

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Agreement {
    began: Nanos,
    bound: Nanos,
    worst: Nanos,
    /// For how long a host may name no leader while there is one.
    unnamed: Nanos,
    /// Since when each host is seen to name no leader while there is one.
    silent: BTreeMap<usize, Nanos>,
    /// How long a lease is believed in, and who has led since when.
    lease: Nanos,
    leader: Option<(NodeId, Nanos)>,
}

impl Agreement {
    /// The hosts are healed now.
    pub(crate) fn new(now: Nanos, options: &Options, one_way: Nanos) -> Self {
        Self {
            began: now,
            bound: bound(options, one_way),
            worst: 0,
            unnamed: unnamed(options, one_way),
            silent: BTreeMap::new(),
            lease: drifted(options.leases().1, options),
            leader: None,
        }
    }

    /// This voter leads. Whether a host may still name the one before.
    pub(crate) fn is_news(&mut self, now: Nanos, leader: NodeId) -> bool {
        match self.leader {
            Some((known, since)) if known == leader => now < since + self.lease,
            _ => {
                self.leader = Some((leader, now));
                true
            }
        }
    }

    /// The process of a healed host says who leads: rightly, or that it knows of nobody.
    pub(crate) fn names(
        &mut self,
        now: Nanos,
        host: usize,
        rightly: bool,
    ) -> Result<(), Violation> {
        if rightly {
            self.silent.remove(&host);
            return Ok(());
        }
        let since = (*self.silent.entry(host).or_insert(now)).max(self.due());
        if now <= since.saturating_add(self.unnamed) {
            return Ok(());
        }
        let what =
            format!("host {host} has named no leader for {} ns, and there is one", now - since);
        Err(Violation { at: now, rule: "agreement", what })
    }

    /// From when on everybody must agree.
    pub(crate) const fn due(&self) -> Nanos {
        self.began + self.bound
    }

    /// When somebody last did not, in thousandths of the bound.
    pub(crate) const fn worst_permille(&self) -> u64 {
        self.worst * 1_000 / self.bound
    }

    /// What the process of a healed host says differs from the truth in that.
    pub(crate) fn differs(&mut self, now: Nanos, host: usize, what: &str) -> Result<(), Violation> {
        self.worst = self.worst.max(now.saturating_sub(self.began));
        if now <= self.due() {
            return Ok(());
        }
        let what = format!("host {host} {what}, {} ns after the healing", now - self.began);
        Err(Violation { at: now, rule: "agreement", what })
    }
}
