//! What goes into a node and what comes out of it.

use core::net::SocketAddr;
use ringrift_wire::{Boot, Envelope, Message, NodeId};

use super::Event;
use crate::election::record::Write;
use crate::election::{self, LossCause, Reply, VoterSet};
use crate::membership;
use crate::time::Instant;

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
    /// Hand the lead to the best voter that is ready.
    StepDown,
    /// Hand the lead to this voter.
    Transfer {
        /// Which voter.
        to: NodeId,
    },
    /// Refuse to lead until resumed, and hand the lead over if it is here.
    Drain,
    /// May lead again.
    Resume,
    /// The leader's work of that term has ended; the answer to [`Output::EndWork`].
    WorkEnded {
        /// Which term.
        term: u64,
    },
    /// The leader's work failed, or was ended early: give the lead up, to a ready voter if there is one.
    GiveUp {
        /// Why.
        cause: LossCause,
    },
    /// A check of the vote store has ended, or does not end in time.
    StoreChecked {
        /// What is wrong, in words an operator can act on; `None` where nothing is.
        problem: Option<String>,
    },
    /// A peer's name resolved.
    Resolved {
        /// Which peer.
        peer: NodeId,
        /// Its addresses, the preferred one first; at most [`membership::MAX_ADDRESSES`] count.
        addresses: Vec<SocketAddr>,
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
    /// End the leader's work (hooks, the command) and answer with [`Command::WorkEnded`]. Until then
    /// the node leads on and releases nobody; after `by` it does not renew its lease.
    EndWork {
        /// The term whose work it is.
        term: u64,
        /// Why it has to end.
        cause: LossCause,
        /// The end of the time for it; never later than the lease.
        by: Instant,
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
