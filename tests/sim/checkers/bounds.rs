//! Nothing grows without end.
//!
//! 1. A process sends in any probe interval at most as many datagrams as its cluster's size allows, and one
//!    more for each that had arrived before it went on after a pause.
//! 2. Between two inputs nothing is left to carry out, and one input causes a bounded number of
//!    outputs.
//! 3. The tables that a status shows hold no more than there are members, voters and elections to keep.

use ringrift_p2p::node::status::Status;

use super::Violation;
use crate::options::{MS, Nanos, Options};

/// The most elections that a status shows.
const HISTORY: usize = 50;

/// How many datagrams a process may send in one probe interval of true time.
///
/// To each voter a question or an answer per 5 ms, the least delta; eager gossip and its answers from
/// everybody; twice each member for a start, a leave or a heal.
pub(crate) fn most_sends(options: &Options) -> u64 {
    let (voters, hosts) = (options.most_voters() as u64, options.hosts() as u64);
    let questions = voters * (options.probe / (5 * MS) + 8);
    2 * questions + 24 + 32 * hosts + 64
}

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    window: Nanos,
    most_sends: u64,
    most_outputs: usize,
    hosts: usize,
    voters: usize,
    sent: Vec<(Nanos, u64)>,
    /// What waited for a host in its present interval, and may be answered in it.
    waited: Vec<u64>,
    worst: u64,
}

impl Bounds {
    /// For the hosts of a run.
    pub(crate) fn new(options: &Options) -> Self {
        let hosts = options.hosts();
        Self {
            window: options.probe,
            most_sends: most_sends(options),
            most_outputs: 64 + 16 * hosts,
            hosts,
            voters: options.most_voters(),
            sent: vec![(0, 0); hosts],
            waited: vec![0; hosts],
            worst: 0,
        }
    }

    /// The most that was sent in one probe interval, in thousandths of what is allowed.
    pub(crate) const fn worst_permille(&self) -> u64 {
        self.worst * 1_000 / self.most_sends
    }

    /// A host sends a datagram.
    pub(crate) fn sent(&mut self, now: Nanos, host: usize) -> Result<(), Violation> {
        let (since, count) = &mut self.sent[host];
        if now - *since >= self.window {
            (*since, *count) = (now, 0);
            self.waited[host] = 0;
        }
        *count += 1;
        let unasked = count.saturating_sub(self.waited[host]);
        self.worst = self.worst.max(unasked);
        if unasked <= self.most_sends {
            return Ok(());
        }
        let what = format!("host {host} sends {count} datagrams within {} ns", now - *since);
        Err(Violation { at: now, rule: "bounds", what })
    }

    /// A host goes on after a pause, and so much has arrived meanwhile.
    pub(crate) fn goes_on(&mut self, now: Nanos, host: usize, waited: usize) {
        let (since, count) = &mut self.sent[host];
        if now - *since >= self.window {
            (*since, *count) = (now, 0);
            self.waited[host] = 0;
        }
        self.waited[host] += waited as u64;
    }

    /// One input has caused so many outputs.
    pub(crate) fn caused(&self, now: Nanos, host: usize, outputs: usize) -> Result<(), Violation> {
        if outputs <= self.most_outputs {
            return Ok(());
        }
        let what = format!("host {host} has {outputs} outputs to carry out at once");
        Err(Violation { at: now, rule: "bounds", what })
    }

    /// A process has carried out what it could.
    pub(crate) fn left_over(&self, now: Nanos, host: usize, left: usize) -> Result<(), Violation> {
        if left == 0 {
            return Ok(());
        }
        let what = format!("host {host} goes on with {left} outputs not carried out");
        Err(Violation { at: now, rule: "bounds", what })
    }

    /// A status was taken.
    pub(crate) fn taken(&self, now: Nanos, host: usize, status: &Status) -> Result<(), Violation> {
        let lengths = [
            (status.members.len(), self.hosts, "members"),
            (status.voters.len(), self.voters, "voters"),
            (status.hearing.len(), self.voters, "rows of hearing"),
            (status.history.len(), HISTORY, "elections"),
        ];
        match lengths.iter().find(|(length, most, _)| length > most) {
            None => Ok(()),
            Some((length, most, what)) => {
                let what = format!("the status of host {host} has {length} {what}, at most {most}");
                Err(Violation { at: now, rule: "bounds", what })
            }
        }
    }
}
