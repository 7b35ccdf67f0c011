//! Scheduling: what a node asks of the system so that it is in time on a busy machine.
//!
//! Decides what may be asked. Asking is the driver's business, and so is being refused.

use serde_json::{Map, Value as Json, json};

use super::raw::Node;
use super::section::{Faults, Section};

/// What a node asks of the system; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// The nice value of its own threads, -20 to 0: the lower, the sooner it runs. `None` leaves it as it is.
    pub nice: Option<i8>,
    /// Whether none of its memory may be swapped out.
    pub lock_memory: bool,
}

/// Reads the section.
pub(super) fn read(node: Option<&Node>, faults: &mut Faults) -> Scheduling {
    let section = &mut Section::new("scheduling", node, faults);
    let nice = section.integer("nice", -20..=0, faults);
    let lock_memory = section.boolean("lock_memory", faults).unwrap_or(false);
    section.forbid_rest(&["nice", "lock_memory"], faults);
    Scheduling { nice, lock_memory }
}

impl Scheduling {
    /// The section; `None` when it asks for nothing.
    pub(super) fn to_value(self) -> Option<Json> {
        let mut root = Map::new();
        if let Some(nice) = self.nice {
            root.insert("nice".to_owned(), json!(nice));
        }
        if self.lock_memory {
            root.insert("lock_memory".to_owned(), json!(true));
        }
        (!root.is_empty()).then_some(Json::Object(root))
    }
}
