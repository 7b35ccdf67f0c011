//! No resurrection: who left does not come back by old gossip.
//!
//! 1. A member that a process has seen leave is not reachable for it again under that boot.
//! 2. Nobody is known under a boot that never was.

use ringrift_wire::NodeId;
use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::options::Nanos;

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returns {
    /// Every boot that there was; whether its process was told to leave.
    boots: BTreeMap<(NodeId, u64), bool>,
    /// Under which boots each host's process has seen each member leave.
    left: BTreeSet<(usize, NodeId, u64)>,
}

impl Returns {
    /// A host starts a process of a name.
    pub(crate) fn started(&mut self, host: usize, name: NodeId, sequence: u64) {
        self.boots.insert((name, sequence), false);
        self.left.retain(|(at, ..)| *at != host);
    }

    /// A process of a name is told to leave.
    pub(crate) fn leaves(&mut self, name: NodeId, sequence: u64) {
        self.boots.insert((name, sequence), true);
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
        let Some(&leaves) = self.boots.get(&(member, sequence)) else {
            return broken(format!(
                "host {host} knows {member} by the boot {sequence}, which never was"
            ));
        };
        if left {
            self.left.insert((host, member, sequence));
        } else if reachable && leaves && self.left.contains(&(host, member, sequence)) {
            return broken(format!(
                "{member} is back for host {host} under the boot {sequence}, which has left"
            ));
        }
        Ok(())
    }
}
