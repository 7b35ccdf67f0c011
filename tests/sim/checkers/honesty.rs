//! What `/status` says of leading, compared with the truth.
//!
//! The driver publishes a status before anything leaves that could make it untrue, and now and then;
//! whoever asks later judges it by his own moment.
//!
//! 1. I10: who says that it leads is inside its lease at that very moment.
//! 2. I10: two processes never say so at one moment.
//! 3. Who names another leader names one that has led that term.
//! 4. Leader by role, by name and by lease are one.

use ringrift_p2p::node::status::{Role, Status};
use ringrift_p2p::time::Instant;
use ringrift_wire::NodeId;

use super::Violation;
use crate::options::Nanos;

/// What a process has published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The node's name.
    pub(crate) node: NodeId,
    /// The end of its own lease.
    pub(crate) lease_ends: Option<Instant>,
    /// Whom it follows, in which term, until when.
    pub(crate) follows: Option<(NodeId, u64, Instant)>,
}

impl Published {
    /// What of a status speaks of leading.
    pub(crate) fn of(status: &Status) -> Self {
        let follows = status.follows.map(|known| (known.id, known.term, known.valid_until));
        Self { node: status.node, lease_ends: status.lease.map(|lease| lease.ends_at), follows }
    }

    /// Whether it says at that moment that its node leads.
    pub(crate) fn says_it_leads(&self, local: Instant) -> bool {
        self.lease_ends.is_some_and(|end| local < end)
    }

    /// Whom it names as leader at that moment, other than its node.
    pub(crate) fn names(&self, local: Instant) -> Option<(NodeId, u64)> {
        if self.says_it_leads(local) {
            return None;
        }
        self.follows.filter(|(_, _, until)| local < *until).map(|(id, term, _)| (id, term))
    }
}

/// A status as it is taken: leader by role, by name and by lease are one, and it is the truth.
pub(crate) fn taken(
    now: Nanos,
    host: usize,
    status: &Status,
    local: Instant,
    leads: bool,
) -> Result<(), Violation> {
    let said = status.is_leader(local);
    let by_role = status.role_at(local) == Role::Leader;
    let by_name = status.leader_at(local) == Some(status.node);
    if [said, by_role, by_name] == [leads; 3] {
        return Ok(());
    }
    let what = format!(
        "host {host} leads {leads}, by lease {said}, by role {by_role}, by name {by_name}: {:?}",
        status.lease
    );
    Err(Violation { at: now, rule: "I10", what })
}

/// The checker of what is asked later.
#[derive(Clone, Debug)]
pub(crate) struct Honesty {
    published: Vec<Option<Published>>,
}

impl Honesty {
    /// For that many hosts.
    pub(crate) fn new(hosts: usize) -> Self {
        Self { published: vec![None; hosts] }
    }

    /// A process has published a status.
    pub(crate) fn published(&mut self, host: usize, published: Published) {
        self.published[host] = Some(published);
    }

    /// A process ended: nobody answers any more.
    pub(crate) fn ended(&mut self, host: usize) {
        self.published[host] = None;
    }

    /// Somebody asks a process by its clock. `leads` is the truth about it, `led` whether a name has
    /// led a term.
    pub(crate) fn asked(
        &self,
        now: Nanos,
        host: usize,
        local: Instant,
        leads: impl FnOnce() -> bool,
        led: impl Fn(NodeId, u64) -> bool,
    ) -> Result<(), Violation> {
        let broken = |what| Err(Violation { at: now, rule: "I10", what });
        let Some(published) = &self.published[host] else { return Ok(()) };
        if published.says_it_leads(local) && !leads() {
            return broken(format!("host {host} says that it leads, and does not: {published:?}"));
        }
        match published.names(local) {
            Some((leader, term)) if !led(leader, term) => broken(format!(
                "host {host} names {leader} as leader of term {term}, which it never led"
            )),
            _ => Ok(()),
        }
    }
}
