//! No resurrection: who left does not come back by old gossip.
//!
//! 1. A member that a process has seen leave is reachable for it again only under a boot of a higher
//!    sequence.
//! 2. Nobody is known under a boot that never was.

use ringrift_wire::NodeId;
use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns {
    boots: BTreeSet<(NodeId, u64)>,
    left: BTreeMap<(usize, NodeId), u64>,
}

impl Returns {
    /// A host starts a process of a name.
    pub(crate) fn started(&mut self, host: usize, name: NodeId, sequence: u64) {
        self.boots.insert((name, sequence));
        self.left.retain(|(at, _), _| *at != host);
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
        if !self.boots.contains(&(member, sequence)) {
            return broken(format!(
                "host {host} knows {member} by the boot {sequence}, which never was"
            ));
        }
        if left {
            self.left.insert((host, member), sequence);
            return Ok(());
        }
        if !reachable {
            return Ok(());
        }
        match self.left.get(&(host, member)) {
            Some(gone) if sequence <= *gone => broken(format!(
                "{member} is back for host {host} under the boot {sequence}, which had left"
            )),
            _ => Ok(()),
        }
    }
}
