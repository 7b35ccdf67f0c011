//! Who may raise a term.
//!
//! 1. I6: a voter stands only when a quorum, itself included, has lately said yes to its canvass, or
//!    while it leads. So a minority raises no term.
//! 2. I6: a voter that the leader tells to stand, at that moment, stands when a quorum was willing to vote
//!    for it once the leader is gone, the leader included.
//! 3. I6: an empty store takes its first record only with the reports of a quorum.

use super::Violation;
use crate::options::{MS, Nanos, Options, SECOND};

/// For how long an offer is worked on.
const OFFER: Nanos = SECOND;

/// For how long a yes counts: two of the longest pauses of a canvass and two deltas, of which each is
/// at most half a heartbeat or 5 ms, by a clock as slow as they get.
pub(crate) fn freshness(options: &Options) -> Nanos {
    let fresh = 4 * (options.heartbeat / 2).max(5 * MS);
    fresh + fresh * 2 * u64::from(options.drift_ppm) / 1_000_000 + MS
}

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Minority {
    fresh: Nanos,
    /// When each host last heard a yes of each other one.
    yes: Vec<Vec<Option<Nanos>>>,
    /// When each host last heard that another one would vote for it if the leader were gone.
    willing: Vec<Vec<Option<Nanos>>>,
    /// Who has just told each host to stand.
    told: Vec<Option<(Nanos, usize)>>,
    /// Whose reports each host's process has.
    reports: Vec<Vec<bool>>,
}

impl Minority {
    /// For that many hosts, of which the first so many may be voters.
    pub(crate) fn new(hosts: usize, voters: usize, fresh: Nanos) -> Self {
        let (yes, reports) = (vec![vec![None; voters]; hosts], vec![vec![false; voters]; hosts]);
        Self { fresh, willing: yes.clone(), yes, told: vec![None; hosts], reports }
    }

    /// A host starts a process.
    pub(crate) fn started(&mut self, host: usize) {
        self.yes[host].fill(None);
        self.willing[host].fill(None);
        self.told[host] = None;
        self.reports[host].fill(false);
    }

    /// A host takes in what a voter says to its canvass: yes, or not while the leader is there.
    pub(crate) fn opinion(&mut self, now: Nanos, host: usize, from: usize, yes: bool) {
        if let Some(yes) = self.yes[host].get_mut(from).filter(|_| yes) {
            *yes = Some(now);
        }
        if let Some(willing) = self.willing[host].get_mut(from) {
            *willing = Some(now);
        }
    }

    /// A host is told to stand by a leader that leads no longer.
    pub(crate) fn told(&mut self, now: Nanos, host: usize, from: usize) {
        self.told[host] = Some((now, from));
    }

    /// A host takes in a voter's report.
    pub(crate) fn report(&mut self, host: usize, from: usize) {
        if let Some(report) = self.reports[host].get_mut(from) {
            *report = true;
        }
    }

    /// A host is about to write that it stands in a term, under a list that names these other hosts.
    pub(crate) fn stands(
        &self,
        now: Nanos,
        host: usize,
        term: u64,
        quorum: usize,
        voters: &[usize],
    ) -> Result<(), Violation> {
        let within = |answers: &[Option<Nanos>], time: Nanos| {
            let of = |voter: &&usize| answers.get(**voter).copied().flatten();
            1 + voters.iter().filter(|it| of(it).is_some_and(|at| now - at <= time)).count()
        };
        let mut with = within(&self.yes[host], self.fresh);
        if let Some((_, leader)) = self.told[host].filter(|(at, _)| *at == now) {
            let mut willing = self.willing[host].clone();
            if let Some(leader) = willing.get_mut(leader) {
                *leader = Some(now);
            }
            with = with.max(within(&willing, self.fresh + OFFER));
        }
        if with >= quorum {
            return Ok(());
        }
        let what = format!("host {host} stands in term {term} with {with} voters of {quorum}");
        Err(Violation { at: now, rule: "I6", what })
    }

    /// A host is about to write the first record of an empty store, under a list that names these others.
    pub(crate) fn adopts(
        &self,
        now: Nanos,
        host: usize,
        term: u64,
        quorum: usize,
        voters: &[usize],
    ) -> Result<(), Violation> {
        let has = |voter: &&usize| self.reports[host].get(**voter) == Some(&true);
        let with = 1 + voters.iter().filter(has).count();
        if with >= quorum {
            return Ok(());
        }
        let what = format!("host {host} adopts term {term} with {with} voters of {quorum}");
        Err(Violation { at: now, rule: "I6", what })
    }
}
