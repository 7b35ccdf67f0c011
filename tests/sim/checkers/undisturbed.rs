//! I7 under anything: a leader with timely round trips to a quorum keeps its lease.
//!
//! 1. When a lease lapses although its holder has led for a while and for all that time its process,
//!    the processes of q-1 of its voters and the links between them were sound, the rule is broken.
//!
//! A link is unsound at a moment when a datagram sent then is lost, damaged or slower than what leaves
//! time for the next heartbeat; a host while it stands still, is started, configured or stopped, or its
//! disk fails or is slow.

use super::Violation;
use crate::options::{MS, Nanos, Options};

/// The slowest datagram that still counts as timely, when there is one: each heartbeat, as late as a
/// loop may be, is answered before the lease ends.
pub(crate) fn timely_delay(options: &Options) -> Option<Nanos> {
    let (lease, longest) = options.leases();
    let part = |of: Nanos| of * u64::from(options.drift_ppm) / 1_000_000;
    let guard = (2 * MS).max(longest / 100);
    // A record may have to be written by both sides on the way, when a term is raised.
    let busy = 2 * options.loop_lag + options.heartbeat + 2 * options.fsync_max + MS;
    let left = lease.checked_sub(part(3 * lease) + guard)?.checked_sub(busy + part(2 * busy))?;
    // A raised term takes a refusal, an election and its answers: two round trips.
    Some(left / 4).filter(|delay| *delay > MS / 10)
}

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Undisturbed {
    hosts: usize,
    slowest: Option<Nanos>,
    /// For how long everything must have been sound.
    window: Nanos,
    links: Vec<Nanos>,
    unsound: Vec<Nanos>,
    since: Vec<Option<Nanos>>,
}

impl Undisturbed {
    /// For that many hosts.
    pub(crate) fn new(hosts: usize, options: &Options) -> Self {
        Self {
            hosts,
            slowest: timely_delay(options),
            window: 3 * options.leases().1,
            links: vec![0; hosts * hosts],
            unsound: vec![0; hosts],
            since: vec![None; hosts],
        }
    }

    /// A datagram was sent; how long it takes, if it arrives whole.
    pub(crate) fn carried(&mut self, now: Nanos, from: usize, to: usize, took: Option<Nanos>) {
        if self.slowest.is_some_and(|slowest| took.is_none_or(|took| took > slowest)) {
            self.links[from * self.hosts + to] = now;
        }
    }

    /// Something is not well with a host, until then.
    pub(crate) fn unsound(&mut self, host: usize, until: Nanos) {
        self.unsound[host] = self.unsound[host].max(until);
    }

    /// A host leads from now on.
    pub(crate) fn gained(&mut self, now: Nanos, host: usize) {
        self.since[host] = Some(now);
    }

    /// A host's lease has lapsed; these are the other voters of its set. Says whether the rule had
    /// something to say.
    pub(crate) fn lapsed(
        &mut self,
        now: Nanos,
        host: usize,
        quorum: usize,
        others: &[usize],
    ) -> Result<bool, Violation> {
        let Some(since) = self.since[host].take() else { return Ok(false) };
        let Some(from) = now.checked_sub(self.window) else { return Ok(false) };
        if self.slowest.is_none() || since > from || self.unsound[host] > from {
            return Ok(false);
        }
        let sound = |other: &&usize| {
            let links = [host * self.hosts + **other, **other * self.hosts + host];
            self.unsound[**other] <= from && links.iter().all(|&link| self.links[link] <= from)
        };
        let with = 1 + others.iter().filter(sound).count();
        if with < quorum {
            return Ok(true);
        }
        let what = format!(
            "the lease of host {host} lapsed, and {with} voters have been well connected for {} ns",
            self.window
        );
        Err(Violation { at: now, rule: "I7", what })
    }
}
