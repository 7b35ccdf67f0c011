//! Statuses of the runbook's cluster, for tests.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_wire::{Boot, NodeId, Priority, VoterSetTag};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{self, Config, Gossip, Host, HostPriority};
use crate::node::Status;
use crate::node::status::{
    Ballot, Counters, Health, KnownLeader, Lease, MemberStatus, PastElection, PromiseStatus, Role,
    VoterStatus,
};
use crate::time::Instant;

/// The present moment of every fixture.
pub(crate) const NOW: Instant = Instant::from_nanos(200_000_000_000);

/// The voters in the order of the file.
pub(crate) const VOTERS: [&str; 5] =
    ["nebius-backbone-1", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2", "vultr-a100-20gb"];

/// A configured host that is no voter.
pub(crate) const OBSERVER: &str = "lambda-gh200";

/// A name.
pub(crate) fn id(name: &str) -> NodeId {
    name.parse().expect("a fixture's name is valid")
}

fn ago(seconds: u64) -> Instant {
    NOW - Duration::from_secs(seconds)
}

fn ahead(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

fn address(name: &str) -> SocketAddr {
    let place = VOTERS.iter().position(|&voter| voter == name).unwrap_or(9) as u8;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(100, 64, 0, place + 1)), 8770)
}

/// The runbook's configuration with one observer.
pub(crate) fn config() -> Config {
    let seconds = Duration::from_secs;
    let host = |name: &str, order| Host {
        address: config::Address::Ip(address(name).ip()),
        port: 8770,
        http_port: 8770,
        bind: None,
        http_bind: None,
        bind_wait: Duration::ZERO,
        priority: HostPriority::Order(order),
        gpu: name.contains("100").then(|| "A100 40GB".to_owned()),
        tailscale_ip: Some(address(name).ip().to_string()),
    };
    let names = VOTERS.iter().chain([&OBSERVER]);
    let hooks = config::Hooks {
        on_gain: None,
        on_lose: None,
        on_leader_change: None,
        deadline: seconds(30),
        grace: seconds(15),
    };
    Config {
        path: Some(PathBuf::from("config/distributed_hosts.yaml")),
        hash: "0123456789abcdef".to_owned(),
        cluster: "ringrift".to_owned(),
        voters: VOTERS.iter().map(|name| id(name)).collect(),
        voters_version: 1,
        election: config::Election {
            heartbeat_interval: seconds(15),
            peer_timeout: seconds(60),
            lease: seconds(60),
            election_timeout: seconds(30),
            clock_drift_ppm: 10_000,
            takeover_after: seconds(60),
            takeover_every: seconds(300),
            block_after_step_down: seconds(600),
        },
        membership: config::Membership {
            probe_interval: seconds(1),
            probe_timeout: None,
            open: false,
            max_members: 5_000,
        },
        gossip: Gossip::default(),
        http: config::Http { port: None, bind: None },
        hosts: names.zip(1..).map(|(name, order)| (id(name), host(name, order))).collect(),
        data_dir: None,
        hooks,
        scheduling: config::Scheduling::default(),
    }
}

fn member(name: &str) -> MemberStatus {
    MemberStatus {
        id: id(name),
        address: Some(address(name)),
        refused: None,
        rival: None,
        health: Health::Alive,
        since: ago(100),
        sequence: Some(1_765_000_000),
        incarnation: 2,
        last_heard: Some(ago(1)),
        round_trip: Some(Duration::from_micros(1_500)),
        loss_permille: 10,
        suspected_by: Vec::new(),
        account: crate::node::status::Account::default(),
        probes_answered: 99,
        probes_failed: 1,
    }
}

fn status(node: &str) -> Status {
    let mut sorted = VOTERS;
    sorted.sort_unstable();
    let order = |name: &str| VOTERS.iter().position(|&voter| voter == name).unwrap_or(9) as u16 + 1;
    let voter = |name: &str| VoterStatus {
        id: id(name),
        is_self: name == node,
        rank: usize::from(order(name)),
        priority: Priority {
            drained: false,
            last: false,
            stability: 0,
            centrality: 0,
            gpu: u8::from(!name.contains("100")),
            order: order(name),
        },
        term: Some(7),
        voted_for: Some(id(VOTERS[0])),
        round_trip_at: Some(ago(1)),
        set_mismatch: false,
        reports_leader: Some(id(VOTERS[0])),
        said: None,
    };
    let mut others: Vec<&str> = sorted.iter().copied().chain([OBSERVER]).collect();
    others.retain(|&name| name != node);
    others.sort_unstable();
    Status {
        taken_at: ago(1),
        node: id(node),
        boot: Boot { sequence: 1_765_000_000, nonce: 42 },
        incarnation: 1,
        started_at: ago(150),
        started_unix: 1_765_000_000,
        role: Role::Follower,
        term: 7,
        voted_for: Some(id(VOTERS[0])),
        lease: None,
        follows: None,
        no_leader_reason: "waiting for the votes of 3 of 5 voters".to_owned(),
        promise: None,
        abstains_until: None,
        store_works: true,
        store_problem: None,
        drained: false,
        trigger_blocked_until: None,
        blocked_until: None,
        set_back_until: None,
        takeover: None,
        voter_set: VoterSetTag { version: 1, hash: 0xabc },
        led_version: Some(1),
        quorum: 3,
        voters: sorted.iter().map(|name| voter(name)).collect(),
        hearing: Vec::new(),
        members: others.iter().map(|name| member(name)).collect(),
        election_in_progress: false,
        candidates: Vec::new(),
        local_health: 0,
        history: vec![PastElection {
            term: 7,
            cause: "no_leader",
            winner: Some(id(VOTERS[0])),
            started_at: ago(140),
            took: Duration::from_millis(12),
            ended: None,
            votes: BTreeMap::from([
                (id(VOTERS[0]), Ballot::Granted),
                (id(VOTERS[1]), Ballot::Refused),
                (id(VOTERS[2]), Ballot::Silent),
            ]),
        }],
        counters: Counters { elections: 3, leader_changes: 2, ..Counters::default() },
    }
}

/// The first voter, leading for another 50 s.
pub(crate) fn leader() -> Status {
    let mut status = status(VOTERS[0]);
    status.role = Role::Leader;
    status.lease = Some(Lease { term: 7, ends_at: ahead(50), renewed_at: ago(10) });
    status.promise = Some(PromiseStatus { to: status.node, until: ahead(50) });
    status
}

/// The first voter, whose lease ended 1 s ago.
pub(crate) fn expired() -> Status {
    let mut status = leader();
    status.lease = Some(Lease { term: 7, ends_at: ago(1), renewed_at: ago(61) });
    status
}

fn followed(mut status: Status) -> Status {
    status.follows = Some(KnownLeader {
        id: id(VOTERS[0]),
        term: 7,
        heard_at: ago(5),
        valid_until: ahead(55),
        direct: true,
        suspected: false,
    });
    status
}

/// `vultr-a100-20gb`, following the first voter; all others are alive.
pub(crate) fn follower() -> Status {
    let mut status = followed(status(VOTERS[4]));
    status.members.retain(|member| member.id != id(OBSERVER));
    status.promise = Some(PromiseStatus { to: id(VOTERS[0]), until: ahead(55) });
    status
}

/// `hetzner-cpu1` without a leader: one voter dead, one suspected, one unknown; it stands itself.
pub(crate) fn no_leader() -> Status {
    let mut status = status(VOTERS[2]);
    status.role = Role::Candidate;
    status.election_in_progress = true;
    status.candidates = vec![id(VOTERS[2])];
    for voter in &mut status.voters {
        voter.reports_leader = None;
        voter.term = None;
        voter.voted_for = None;
    }
    for member in &mut status.members {
        match member.id.as_str() {
            "nebius-backbone-1" => member.health = Health::Dead,
            "vultr-a100-20gb" => {
                member.health = Health::Suspect;
                member.suspected_by = vec![id(VOTERS[1])];
            }
            "nebius-h100-3" => {
                member.health = Health::Unknown;
                member.sequence = None;
                member.last_heard = None;
                member.round_trip = None;
            }
            _ => {}
        }
    }
    status
}

/// The observer, following the first voter.
pub(crate) fn observer() -> Status {
    let mut status = followed(status(OBSERVER));
    status.role = Role::Observer;
    status.voted_for = None;
    status
}

/// Each of the above.
pub(crate) fn all() -> [Status; 5] {
    [leader(), expired(), follower(), no_leader(), observer()]
}
