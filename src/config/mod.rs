//! The configuration of a cluster, read from YAML and checked as a whole.
//!
//! Decides what a file may say and what it means: the raw mirror of the file is private, the rest of
//! the house sees the checked [`Config`], and every rule stands in the one conversion between the
//! two. Decides too where the file is, which of its hosts this machine is, where its state lives, and
//! what numbers the protocol is given. Does not decide what to do about a warning, and logs nothing:
//! errors, warnings and foreign keys are values.
//!
//! Invariants:
//!
//! 1. All broken rules of a file are reported together, each with its key, its line and column where
//!    it has one, and what to do.
//! 2. A key of ours that is misspelled inside our sections is an error; a foreign key at the top level
//!    or under a host never is.
//! 3. [`Config::to_yaml`] gives a text that loads as the same configuration.

mod address;
mod bind;
mod convert;
mod edit;
mod error;
mod file;
mod hooks;
pub mod identity;
mod loopback;
mod params;
mod raw;
mod scheduling;
mod section;
mod together;
pub mod token;
mod yaml;

use core::net::IpAddr;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use bind::Bind;
pub use convert::{MAX_VOTERS, parse};
pub use edit::{listed_hosts, with_voters};
pub use error::{ConfigError, ConfigErrors, Position, Warning};
pub use file::{MAX_FILE_BYTES, Surroundings, data_dir, find, load, open, promise_file};
pub use hooks::Hooks;
pub use loopback::{Layout, loopback, on_loopback};
pub use params::{Derived, derived, node_params, places};
pub use scheduling::Scheduling;

/// The port of gossip (UDP) and HTTP (TCP) where the file names no other.
pub const DEFAULT_PORT: u16 = 8770;

/// A configuration as it was read, with what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// What an operator should be told at start.
    pub warnings: Vec<Warning>,
    /// Paths of the keys that are not ours, in the order of the file; worth one line at debug.
    pub foreign: Vec<String>,
}

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from; `None` for the built-in one.
    pub path: Option<PathBuf>,
    /// Hash over the bytes of the file, 16 hex digits, for `/status`.
    pub hash: String,
    /// Name of the cluster; its hash is in every datagram.
    pub cluster: String,
    /// The voters, in the order of the file.
    pub voters: Vec<NodeId>,
    /// Version of the voter list.
    pub voters_version: u32,
    /// Election timings.
    pub election: Election,
    /// Membership timings and bounds.
    pub membership: Membership,
    /// Sealed gossip.
    pub gossip: Gossip,
    /// HTTP server of a host that does not say otherwise.
    pub http: Http,
    /// Every host of the file, voters included: a voter without an entry has its own name as
    /// address and the default port.
    pub hosts: BTreeMap<NodeId, Host>,
    /// Folder that holds the state folder of each node (`<data_dir>/<id>`); `None` for the default of
    /// the user. See [`data_dir`].
    pub data_dir: Option<PathBuf>,
    /// What a node runs when the lead comes, goes or changes.
    pub hooks: Hooks,
    /// What a node asks of the system to be in time.
    pub scheduling: Scheduling,
}

/// How gossip is sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossip {
    /// The key ring; `None` sends everything in the clear.
    pub key_file: Option<PathBuf>,
    /// What becomes of datagrams in the clear; of no meaning without a key ring.
    pub unsealed: Unsealed,
}

impl Gossip {
    /// Whether nothing is taken from those that have no key.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.key_file.is_some() && self.unsealed == Unsealed::Refuse
    }
}

/// What a node with a key ring does with datagrams in the clear: the steps by which a running cluster
/// begins to seal, each on every node before the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsealed {
    /// Sends them, and takes both kinds: first, so that every node can open sealed ones.
    Send,
    /// Sends sealed ones, and takes both kinds.
    Accept,
    /// Sends and takes sealed ones only.
    #[default]
    Refuse,
}

impl Unsealed {
    /// Every choice, in the order of the steps.
    pub const ALL: [Self; 3] = [Self::Send, Self::Accept, Self::Refuse];

    /// The word for configuration, logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Accept => "accept",
            Self::Refuse => "refuse",
        }
    }
}

/// Election timings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// h.
    pub heartbeat_interval: Duration,
    /// Longest silence before a member is dead, whatever suspicion says.
    pub peer_timeout: Duration,
    /// L, at least two heartbeats.
    pub lease: Duration,
    /// Bound of one election round.
    pub election_timeout: Duration,
    /// Rho, the largest difference of clock rates, in parts per million.
    pub clock_drift_ppm: u32,
    /// How long a returned voter must be better before it takes over.
    pub takeover_after: Duration,
    /// Shortest time between takeovers.
    pub takeover_every: Duration,
    /// How long a voter that stepped down on request ranks last.
    pub block_after_step_down: Duration,
}

/// Membership timings and bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Time between two probe rounds.
    pub probe_interval: Duration,
    /// A fixed wait for the direct ack; `None` adapts to the measured round trip.
    pub probe_timeout: Option<Duration>,
    /// May a name that is not in `hosts` join as observer.
    pub open: bool,
    /// The most members that the table takes.
    pub max_members: usize,
}

/// HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// TCP port; `None` for the host's gossip port.
    pub port: Option<u16>,
    /// What it listens on; `None` decides as the gossip socket does.
    pub bind: Option<Bind>,
}

/// Where a host is reached: `address`, else `tailscale_ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A literal address.
    Ip(IpAddr),
    /// A name to resolve.
    Name(String),
}

/// One host of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where it is reached.
    pub address: Address,
    /// UDP port of its gossip.
    pub port: u16,
    /// TCP port of its HTTP server: its `http.port`, else the file's, else its gossip port.
    pub http_port: u16,
    /// What its gossip socket binds, when not decided by `address`.
    pub bind: Option<Bind>,
    /// What its HTTP server binds: its `http.bind`, else the file's, else its `bind`, when not decided
    /// by `address`.
    pub http_bind: Option<Bind>,
    /// How long a start waits until the machine has what is bound; 0 to an hour.
    pub bind_wait: Duration,
    /// Its place among the voters.
    pub priority: HostPriority,
    /// Description of its GPU; `None` without one.
    pub gpu: Option<String>,
    /// The value of `tailscale_ip`, shown in `/status`.
    pub tailscale_ip: Option<String>,
}

/// The configured place of a voter; [`HostPriority::Unnumbered`] on a host that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPriority {
    /// 1 is best.
    Order(u16),
    /// After the numbered ones, in list order.
    Unnumbered,
    /// Votes and never leads.
    Never,
}
