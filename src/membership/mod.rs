//! Who is alive: SWIM with Lifeguard.

mod params;

pub use params::Params;

use core::net::SocketAddr;
use ringrift_wire::NodeId;

/// Something that happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was heard of for the first time in this boot of it.
    MemberJoined {
        /// Who.
        member: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// It is accused.
    MemberSuspected {
        /// Who.
        member: NodeId,
        /// By whom.
        by: NodeId,
    },
    /// It answered an accusation, or came back from the dead.
    MemberRefuted {
        /// Who.
        member: NodeId,
    },
    /// It was declared dead.
    MemberDied {
        /// Who.
        member: NodeId,
        /// By whom.
        by: NodeId,
    },
    /// It said that it leaves.
    MemberLeft {
        /// Who.
        member: NodeId,
    },
    /// A new process of that name was heard of.
    MemberRestarted {
        /// Who.
        member: NodeId,
    },
}
