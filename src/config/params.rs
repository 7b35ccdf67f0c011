//! What the protocol is told: a configuration as parameters, and the numbers that follow from it.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, NodeId};
use std::collections::BTreeMap;

use super::{Address, Config, HostPriority};
use crate::election::{self, Hysteresis, Place, VoterSet};
use crate::{membership, node};

/// The parameters of the node `me`, which takes datagrams at `address`. A peer whose address is a name
/// has none until it is resolved.
#[must_use]
pub fn node_params(
    config: &Config,
    me: NodeId,
    boot: Boot,
    started_unix: u64,
    address: SocketAddr,
    seed: u64,
) -> node::Params {
    let others = config.hosts.iter().filter(|(id, _)| **id != me);
    let peers = others.map(|(id, host)| {
        let address = match host.address {
            Address::Ip(ip) => Some(SocketAddr::new(ip, host.port)),
            Address::Name(_) => None,
        };
        node::Peer { id: *id, address }
    });
    let election = &config.election;
    let table = &config.membership;
    node::Params {
        id: me,
        boot,
        started_unix,
        address,
        voter_set: VoterSet::new(&config.voters, config.voters_version),
        peers: peers.collect(),
        election: election::Params {
            heartbeat_interval: election.heartbeat_interval,
            lease: election.lease,
            election_timeout: election.election_timeout,
            clock_drift_ppm: election.clock_drift_ppm,
            work_grace: if config.hooks.work() { config.hooks.grace } else { Duration::ZERO },
            hysteresis: Hysteresis {
                takeover_after: election.takeover_after,
                takeover_every: election.takeover_every,
                block_after_step_down: election.block_after_step_down,
            },
            places: places(config),
        },
        membership: membership::Params {
            probe_interval: table.probe_interval,
            probe_timeout: table.probe_timeout,
            peer_timeout: election.peer_timeout,
            open: table.open,
            max_members: table.max_members,
        },
        seed,
    }
}

/// Every voter's configured place: the numbered ones by number, then the others in list order, then
/// those that never lead; counted from 1.
#[must_use]
pub fn places(config: &Config) -> BTreeMap<NodeId, Place> {
    let priority =
        |id: &NodeId| config.hosts.get(id).map_or(HostPriority::Unnumbered, |host| host.priority);
    let mut ordered = config.voters.clone();
    // The sort is stable: list order decides where the numbers do not.
    ordered.sort_by_key(|id| match priority(id) {
        HostPriority::Order(order) => (0, order),
        HostPriority::Unnumbered => (1, 0),
        HostPriority::Never => (2, 0),
    });
    (1..=u16::MAX)
        .zip(ordered)
        .map(|(order, id)| {
            let gpu = config.hosts.get(&id).is_some_and(|host| host.gpu.is_some());
            (id, Place { order, gpu, never: priority(&id) == HostPriority::Never })
        })
        .collect()
}

/// Numbers that follow from a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Strict majority of the voters.
    pub quorum: usize,
    /// How many voters can be down while a leader can still be elected.
    pub failures_tolerated: usize,
    /// How many heartbeats fit in a lease.
    pub heartbeats_per_lease: u128,
    /// Without a leader after the leader's host is lost, on average: L - h/2.
    pub mean_failover: Duration,
    /// The longest time without a leader while a quorum is connected and round trips stay within 25 ms:
    /// L(1+2 rho) + n delta + 2D with delta 50 ms.
    pub worst_failover_near: Duration,
    /// The same with the largest delta, 1 s, and round trips of half of that.
    pub worst_failover_far: Duration,
}

/// The numbers that follow from a configuration; fsync time comes on top of every failover.
#[must_use]
pub fn derived(config: &Config) -> Derived {
    let set = VoterSet::new(&config.voters, config.voters_version);
    let Config { election, .. } = config;
    let nanos = |length: Duration| length.as_nanos();
    let drift = nanos(election.lease) * u128::from(election.clock_drift_ppm) * 2 / 1_000_000;
    let lease = election.lease + Duration::from_nanos(u64::try_from(drift).unwrap_or(u64::MAX));
    // n waits of delta in the order of the voters, and two round trips of delta / 2.
    let waits = u32::try_from(set.len()).unwrap_or(u32::MAX).saturating_add(1);
    Derived {
        quorum: set.quorum(),
        failures_tolerated: set.len().saturating_sub(set.quorum()),
        heartbeats_per_lease: nanos(election.lease) / nanos(election.heartbeat_interval).max(1),
        mean_failover: election.lease.saturating_sub(election.heartbeat_interval / 2),
        worst_failover_near: lease + Duration::from_millis(50) * waits,
        worst_failover_far: lease + Duration::from_secs(1) * waits,
    }
}
