//! No resurrection: who left does not come back by old gossip.
//!
//! 1. A member that a process has seen leave is reachable for it again only under another boot, and only
//!    under one whose process had not ended by then: a later process, or a second one of that name.
//! 2. Nobody is known under a boot that never was.

use ringrift_wire::NodeId;
use std::collections::BTreeMap;

use super::Violation;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns {
    /// When the last process of each boot ended; never, while it runs.
    boots: BTreeMap<(NodeId, u64), Nanos>,
    /// Under which boot each host's process has seen each member leave, and when.
    left: BTreeMap<(usize, NodeId), (u64, Nanos)>,
}

impl Returns {
    /// A host starts a process of a name.
    pub(crate) fn started(&mut self, host: usize, name: NodeId, sequence: u64) {
        self.boots.insert((name, sequence), Nanos::MAX);
        self.left.retain(|(at, _), _| *at != host);
    }

    /// A process of a name ends.
    pub(crate) fn ended(&mut self, now: Nanos, name: NodeId, sequence: u64) {
        self.boots.insert((name, sequence), now);
    }

    /// What the process of a host knows of a member: its boot, and whether it is reachable or left.
    pub(crate) fn known(
        &mut self,
        now: Nanos,
        host: usize,
        member: NodeId,
        sequence: u64,
        reachable: bool,
        left: bool,
    ) -> Result<(), Violation> {
        let broken = |what| Err(Violation { at: now, rule: "returns", what });
        let Some(ended) = self.boots.get(&(member, sequence)) else {
            return broken(format!(
                "host {host} knows {member} by the boot {sequence}, which never was"
            ));
        };
        if left {
            self.left
                .entry((host, member))
                .and_modify(|known| known.0 = sequence)
                .or_insert((sequence, now));
            return Ok(());
        }
        if !reachable {
            return Ok(());
        }
        match self.left.get(&(host, member)) {
            Some((gone, at)) if sequence == *gone || ended < at => broken(format!(
                "{member} is back for host {host} under the boot {sequence}, which had left or ended"
            )),
            _ => {
                self.left.remove(&(host, member));
                Ok(())
            }
        }
    }
}
