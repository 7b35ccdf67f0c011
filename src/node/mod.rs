//! The one machine that driver and simulator hold: membership and election, coupled.

pub mod event;
pub mod status;

use core::net::SocketAddr;
use ringrift_wire::{Boot, Envelope, Message, NodeId};

use crate::election::record::{Promise, VoteRecord};
use crate::election::{self, VoterSet};
use crate::membership;

pub use crate::time::Deadline;
pub use event::Event;
pub use status::Status;

/// What a node is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// This node's name.
    pub id: NodeId,
    /// This process start.
    pub boot: Boot,
    /// Unix seconds at the start of the process.
    pub started_unix: u64,
    /// Where this node takes datagrams, as it tells others.
    pub address: SocketAddr,
    /// The configured voters.
    pub voter_set: VoterSet,
    /// Every other configured host.
    pub peers: Vec<Peer>,
    /// Election timings and order.
    pub election: election::Params,
    /// Membership timings and bounds.
    pub membership: membership::Params,
    /// Seed of the node's own randomness.
    pub seed: u64,
}

/// Another configured host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub id: NodeId,
    /// Where it takes datagrams; `None` until its name is resolved.
    pub address: Option<SocketAddr>,
}

/// What goes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A datagram arrived and was decoded.
    Datagram {
        /// The source address of the datagram.
        from: SocketAddr,
        /// Who says what.
        envelope: Envelope,
    },
    /// The time of the last deadline has come; harmless when early, late or repeated.
    Timeout,
    /// Somebody on this machine wants something.
    Command {
        /// Named by the reply; chosen by the driver.
        number: u64,
        /// What is wanted.
        command: Command,
    },
    /// A write is done.
    Persisted(Persisted),
}

/// What can be wanted of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hold a fresh election.
    Trigger,
    /// A peer's name resolved to this address.
    Resolved {
        /// Which peer.
        peer: NodeId,
        /// Where it is.
        address: SocketAddr,
    },
    /// The process is about to end: release, leave, lead no more.
    Stop,
}

/// The end of a write that an [`Output::Persist`] asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// The number of the request.
    pub number: u64,
    /// Whether it is on stable storage.
    pub done: bool,
}

/// What comes out; to be carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this and answer with [`Input::Persisted`]. Requests are carried out in their order;
    /// a later one of the same kind may stand for an earlier one not yet begun, if both are answered.
    Persist {
        /// Echoed by the answer.
        number: u64,
        /// What to write.
        write: Write,
    },
    /// Send this from the node's one socket.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        message: Message,
    },
    /// Tell people.
    Notify(Event),
    /// The answer to a command.
    Reply {
        /// The number of the command.
        number: u64,
        /// The answer.
        reply: Reply,
    },
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The durable record, into the next slot, with fdatasync.
    Record(VoteRecord),
    /// The promise of this kernel boot, without; where it cannot be written it is removed.
    Promise(Promise),
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done, or under way where nothing more can be said.
    Done,
    /// A fresh election has started.
    Started {
        /// The term that it will be held above.
        term: u64,
    },
    /// One is already under way.
    AlreadyInProgress,
    /// Refused.
    Refused {
        /// `NOT_A_VOTER`, `NO_QUORUM`, `DRAINED`, `COOLDOWN` or `TIMEOUT`.
        code: &'static str,
        /// For the operator, in words.
        why: String,
    },
}
