//! The configuration of a cluster, read from YAML and checked as a whole.
//!
//! The raw mirror of the file is private; what the rest of the house sees is the checked value
//! below. Every rule of a file is stated in the one conversion between the two.

use core::net::IpAddr;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it came from; `None` for the built-in one.
    pub path: Option<PathBuf>,
    /// Hash over the bytes of the file, 16 hex digits, for `/status`.
    pub hash: String,
    /// Name of the cluster.
    pub cluster: String,
    /// The voters, in the order of the file.
    pub voters: Vec<NodeId>,
    /// Version of the voter list.
    pub voters_version: u32,
    /// Election timings.
    pub election: Election,
    /// Membership timings and bounds.
    pub membership: Membership,
    /// Key ring of sealed gossip.
    pub key_file: Option<PathBuf>,
    /// HTTP server of a host that does not say otherwise.
    pub http: Http,
    /// Every host of the file, voters included.
    pub hosts: BTreeMap<NodeId, Host>,
    /// Where the vote store lives; `None` for the default of the user.
    pub data_dir: Option<PathBuf>,
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
    /// Address to listen on; `None` decides as the gossip socket does.
    pub bind: Option<IpAddr>,
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
    /// TCP port of its HTTP server.
    pub http_port: u16,
    /// Address that its sockets bind, when not decided by `address`.
    pub bind: Option<IpAddr>,
    /// Its place among the voters.
    pub priority: HostPriority,
    /// Description of its GPU; `None` without one.
    pub gpu: Option<String>,
    /// The value of `tailscale_ip`, shown in `/status`.
    pub tailscale_ip: Option<String>,
}

/// The configured place of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostPriority {
    /// 1 is best; the voters without a number follow the numbered ones in list order.
    Order(u16),
    /// Votes and never leads.
    Never,
}
