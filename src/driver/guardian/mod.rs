//! The guardian: a parent that watches one node, and speaks for it when it has died.
//!
//! A node that is killed cannot say that it leads no longer, so the others wait for the end of its lease.
//! Its parent *knows* that it is dead: it ends what the node has started, and sends the RELEASE that the
//! node has written beforehand. Decides when the node counts as dead and what happens then; who may
//! lead, and what a RELEASE frees, is decided by the voters that hear it.
//!
//! The node tells its guardian over a socket (its standard input) what there is to do in the event of its death: the
//! datagram, ready to be sent, and to whom; until when its work must have ended; what ends it.
//!
//! 1. RELEASE leaves only after the node has ended and nothing that it started is left. What cannot be ended
//!    keeps its lease.
//! 2. It leaves from the node's own address: voters count it from nowhere else.
//! 3. The guardian never starts the node again, and passes on how it ended.
//! 4. A node that does not end its work in time is killed, and so is its work, before the lease ends.
//! 5. If the guardian dies first, the node hands over and ends.
//! 6. SIGABRT, by which a service manager ends what does not feed its watchdog, kills the node and not the guardian.

mod ending;
mod link;
mod note;
mod parent;
mod release;

pub use link::Link;
pub(super) use link::gone;
pub use note::{Job, Note};
pub use parent::{Died, watch};
