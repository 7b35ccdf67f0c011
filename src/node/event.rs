//! What happened, in the past tense: the node's account of itself for logs, metrics and history.

use ringrift_wire::NodeId;

use crate::{election, membership};

/// Something that happened in this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// To a member.
    Member(membership::Event),
    /// In an election.
    Election(election::Event),
    /// An election message came under a voter's name from an address that is not that voter's; it
    /// was not heard.
    ForeignAddress {
        /// The name.
        voter: NodeId,
    },
}
