//! Updates: one rumour about one member, carried on other messages.

use bincode::{Decode, Encode};
use core::net::SocketAddr;

use crate::{NodeId, codec};

/// The most updates that one message carries: what six bits can count, and a whole small cluster.
pub const MAX_UPDATES: usize = 32;

/// What a rumour says of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// `by` got no answer from it; it is still counted reachable.
    Suspect {
        /// The accuser: independent accusers shorten the suspicion.
        by: NodeId,
    },
    /// The suspicion ran out without a refutation.
    Dead {
        /// Who let the suspicion run out.
        by: NodeId,
    },
    /// It said that it leaves.
    Left,
}

/// One rumour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Update {
    /// Whom it is about.
    pub member: NodeId,
    /// Where that member takes datagrams. An IPv6 address with a scope or a flow label means
    /// nothing on another machine and is not encoded.
    pub address: SocketAddr,
    /// The sequence of the boot that the rumour is about.
    pub sequence: u64,
    /// The incarnation that the rumour is about.
    pub incarnation: u32,
    /// What it says.
    pub state: MemberState,
}

/// A list of rumours; a message with more than [`MAX_UPDATES`] of them is not encoded.
pub type Updates = Vec<Update>;

impl Update {
    /// How many bytes of a datagram this rumour takes: at least 11.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        codec::encoded_len(self)
    }
}
