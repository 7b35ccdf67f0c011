//! What is to be said of this node once it has died, by whoever knows that it has.

use core::net::SocketAddr;
use ringrift_wire::{Boot, Message, Release};

use super::Node;

/// The last word of a node: a RELEASE of all that it may lead or stand for, and who is to hear it.
///
/// True only once the process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The process that it is about.
    pub boot: Boot,
    /// What to say.
    pub message: Message,
    /// Where the other voters are, as far as that is known.
    pub to: Vec<SocketAddr>,
}

impl Node {
    /// What would have to be said if this process died now; `None` while it has neither stood nor led since
    /// it last voted for another.
    #[must_use]
    pub fn farewell(&self) -> Option<Farewell> {
        let record = self.machine.core()?.record();
        if record.voted_for != Some(self.id) || record.nonce != self.boot.nonce {
            return None;
        }
        let release =
            Release { set: self.set.tag(), nonce: self.boot.nonce, term: record.term, dead: true };
        let others = self.set.ids().iter().filter(|&&id| id != self.id);
        let to = others.filter_map(|&id| self.address_of(id)).collect();
        Some(Farewell { boot: self.boot, message: Message::Release(release), to })
    }

    /// The end of this node's lease; `None` when it does not lead.
    #[must_use]
    pub fn lease_end(&self) -> Option<crate::time::Instant> {
        self.machine.core()?.lease().map(|(end, _)| end)
    }
}
