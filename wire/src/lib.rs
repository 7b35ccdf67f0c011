//! The datagrams of ringrift-p2p: typed messages and their binary form.

#![doc = "Skeleton: the format is described here by the codec's author."]

mod id;
mod message;
mod update;

pub use id::{Boot, NodeId, NodeIdError};
pub use message::{
    Ack, Acknowledge, Answer, Beacon, Canvass, CanvassReply, Coordinator, Election, Envelope,
    Gossip, Inquire, Message, Nack, Opinion, Ping, PingReq, Priority, Pull, Record, Refusal,
    RelayedAck, Release, Report, StepDown, Verdict, VoterSetTag,
};
pub use update::{MAX_UPDATES, MemberState, Update, Updates};

/// The largest datagram that a node sends or accepts, in bytes, header included.
///
/// Tailscale's MTU is 1,280; IPv6 and UDP headers take 48 of it.
pub const MAX_DATAGRAM: usize = 1_200;
