//! The files that ship, the runbook's own, and what they come to.

use super::{
    PRIORITY_ORDER, RUNBOOK, VOTER_LIST, address, election_order, good, host, id, names, shipped,
};
use core::net::IpAddr;
use core::time::Duration;
use ringrift_p2p::config::{self, Address, Bind, Layout};
use ringrift_wire::Boot;
use std::path::Path;

#[test]
fn the_shipped_file_gives_the_runbooks_cluster() {
    let loaded = shipped();
    assert_eq!((loaded.warnings, loaded.foreign), (vec![], vec![]));
    let config = loaded.config;
    assert_eq!(names(&config.voters), VOTER_LIST);
    assert_eq!(election_order(&config), PRIORITY_ORDER);
    // The numbers say the same order even where nobody's GPU counts.
    let mut by_number: Vec<_> = config::places(&config).into_iter().collect();
    by_number.sort_by_key(|(_, place)| place.order);
    let by_number: Vec<_> = by_number.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(by_number, PRIORITY_ORDER);
    assert_eq!(config.election.heartbeat_interval, Duration::from_secs(15));
    assert_eq!(config.election.peer_timeout, Duration::from_secs(60));
    assert_eq!(config.election.lease, Duration::from_secs(60));
    assert_eq!(config.election.election_timeout, Duration::from_secs(30));
    assert!(config.path.is_some());
    assert_eq!(config.hash.len(), 16);
}

#[test]
fn the_runbooks_grep_finds_exactly_the_five_addresses() {
    let text = include_str!("../../config/distributed_hosts.yaml");
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.contains("tailscale_ip"))
        .map(|line| line.split_whitespace().nth(1).unwrap_or_default())
        .collect();
    let config = shipped().config;
    let listed: Vec<_> = VOTER_LIST.iter().map(|name| address(&config, name)).collect();
    assert_eq!(found, listed);
}

#[test]
fn every_key_of_ours_stands_in_the_shipped_file() {
    let text = include_str!("../../config/distributed_hosts.yaml");
    for key in [
        "cluster",
        "voters",
        "voters_version",
        "election",
        "heartbeat_interval",
        "peer_timeout",
        "lease",
        "election_timeout",
        "clock_drift",
        "takeover_after",
        "takeover_every",
        "block_after_step_down",
        "hooks",
        "on_gain",
        "on_lose",
        "on_leader_change",
        "deadline",
        "grace",
        "membership",
        "probe_interval",
        "probe_timeout",
        "open",
        "max_members",
        "http",
        "port",
        "bind",
        "scheduling",
        "nice",
        "lock_memory",
        "data_dir",
        "hosts",
        "priority",
        "gpu",
    ] {
        let as_key = text.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with(&format!("{key}:"))
        });
        assert!(as_key, "{key}");
    }
    // What is commented out is valid where it stands.
    let uncommented: String = text
        .lines()
        .map(|line| {
            let body = line.trim_start().strip_prefix("# ").unwrap_or_default();
            let key = body.trim_start().split(':').next().unwrap_or_default();
            let is_key = body.contains(':') && !key.contains(' ') && !key.contains('`');
            if is_key { line.replacen("# ", "", 1) + "\n" } else { format!("{line}\n") }
        })
        .collect();
    let all = good(&uncommented).config;
    let defaults = shipped().config;
    assert_eq!(all.election, defaults.election, "a comment names another default");
    assert_eq!(all.membership.max_members, defaults.membership.max_members);
    assert_eq!(all.membership.probe_timeout, Some(Duration::from_millis(200)));
    assert_eq!(all.http.port, Some(8770));
    assert_eq!(all.http.bind, Some(Bind::Ip(IpAddr::from([127, 0, 0, 1]))));
    assert_eq!((all.scheduling.nice, all.scheduling.lock_memory), (Some(-20), true));
    assert_eq!(all.data_dir.as_deref(), Some(Path::new("/var/lib/ringrift-p2p")));
}

#[test]
fn the_built_in_cluster_is_the_runbooks_on_five_loopback_addresses() {
    let loaded = config::loopback().unwrap();
    assert_eq!((loaded.warnings, loaded.foreign), (vec![], vec![]));
    let config = loaded.config;
    assert_eq!(names(&config.voters), VOTER_LIST);
    assert_eq!(election_order(&config), PRIORITY_ORDER);
    for (index, name) in VOTER_LIST.iter().enumerate() {
        assert_eq!(address(&config, name), format!("127.0.0.{}", index + 1));
        assert_eq!((host(&config, name).port, host(&config, name).http_port), (8770, 8770));
    }
    assert_eq!(config.election.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(config.election.lease, Duration::from_millis(400));
    assert_eq!(config.election.election_timeout, Duration::from_millis(500));
    assert_eq!(config.membership.probe_interval, Duration::from_millis(100));
    let real = shipped().config;
    for name in VOTER_LIST {
        assert_eq!(host(&config, name).priority, host(&real, name).priority, "{name}");
        assert_eq!(host(&config, name).gpu, host(&real, name).gpu, "{name}");
    }
}

#[test]
fn the_runbooks_own_yaml_loads_and_its_names_are_addresses() {
    let loaded = good(RUNBOOK);
    assert_eq!((loaded.warnings, loaded.foreign), (vec![], vec![]));
    let config = loaded.config;
    assert_eq!(config.hosts.len(), 5);
    for name in VOTER_LIST {
        assert_eq!(host(&config, name).address, Address::Name(name.to_owned()));
        assert_eq!((host(&config, name).port, host(&config, name).http_port), (8770, 8770));
    }
    assert_eq!(election_order(&config), VOTER_LIST);
    assert_eq!(config.cluster, "ringrift");
    assert_eq!(config.voters_version, 1);
}

#[test]
fn a_configuration_written_out_loads_as_the_same() {
    let rich = "\
cluster: 'yes'
voters: [a, b, c, '1e3']
voters_version: 9
election: {heartbeat_interval: 250ms, lease: 1.5s, clock_drift: 0.3%, takeover_every: 1h}
membership: {probe_interval: 200ms, probe_timeout: 90ms, open: true, max_members: 77}
http: {port: 8080, bind: 10.0.0.3}
data_dir: /srv/state
scheduling: {nice: -5, lock_memory: true}
hosts:
  a: {address: 'fd7a::1', tailscale_ip: 100.64.0.1, port: 9, bind: '::', http: {port: 10}, gpu: '4090'}
  b: {priority: never, http: {bind: 10.0.0.4}}
  c: {priority: 3, http: {bind: 10.0.0.3}}
  obs-1: {address: obs.example, bind: tailscale}
  obs-2: {address: 10.0.0.9, bind: 10.0.0.9, bind_wait: 90}
  obs-3: {http: {bind: tailscale}, bind_wait: 0}
";
    for config in [good(rich).config, good(RUNBOOK).config, shipped().config] {
        let yaml = config.to_yaml().unwrap();
        let mut again = good(&yaml).config;
        assert_ne!(again.hash, config.hash);
        again.path.clone_from(&config.path);
        again.hash.clone_from(&config.hash);
        assert_eq!(again, config, "{yaml}");
    }
}

#[test]
fn a_cluster_on_one_machine_has_addresses_in_list_order_and_the_same_timings() {
    let real = shipped().config;
    let moved = config::on_loopback(&real, Layout::Addresses);
    for (index, name) in VOTER_LIST.iter().enumerate() {
        assert_eq!(address(&moved, name), format!("127.0.0.{}", index + 1));
        assert_eq!(host(&moved, name).port, 8770);
    }
    assert_eq!(moved.election, real.election);
    assert_eq!(election_order(&moved), PRIORITY_ORDER);
    let moved = config::on_loopback(&real, Layout::Ports);
    for (index, name) in (8770..).zip(VOTER_LIST) {
        assert_eq!(address(&moved, name), "127.0.0.1");
        assert_eq!((host(&moved, name).port, host(&moved, name).http_port), (index, index));
    }
    let with_more = "voters: [a]\nhttp: {bind: 10.0.0.1}\ndata_dir: /srv\nhosts:\n  \
                     a: {bind: 10.0.0.1}\n  observer: {}\n";
    let moved = config::on_loopback(&good(with_more).config, Layout::Addresses);
    assert_eq!(moved.hosts.len(), 1);
    assert_eq!((host(&moved, "a").bind, host(&moved, "a").http_bind), (None, None));
    assert_eq!((moved.http.bind, moved.data_dir.clone()), (None, None));
    good(&moved.to_yaml().unwrap());
}

#[test]
fn the_node_is_told_what_the_file_says() {
    let yaml = "\
voters: [b, a]
voters_version: 3
election: {heartbeat_interval: 1, peer_timeout: 8, lease: 4, election_timeout: 3, clock_drift: 2%}
membership: {probe_timeout: 100ms}
hosts: {a: {address: 10.0.0.1}, b: {address: 10.0.0.2, port: 9}, c: {address: c.example}}
";
    let config = good(yaml).config;
    let boot = Boot { sequence: 5, nonce: 6 };
    let at = "10.0.0.1:8770".parse().unwrap();
    let params = config::node_params(&config, id("a"), boot, 1_700, at, 42);
    assert_eq!((params.id, params.boot, params.started_unix), (id("a"), boot, 1_700));
    assert_eq!((params.address, params.seed), (at, 42));
    assert_eq!(params.voter_set.ids(), [id("a"), id("b")]);
    assert_eq!(params.voter_set.tag().version, 3);
    let peers: Vec<_> = params.peers.iter().map(|peer| (peer.id, peer.address)).collect();
    assert_eq!(peers, [(id("b"), Some("10.0.0.2:9".parse().unwrap())), (id("c"), None)]);
    assert_eq!(params.election.heartbeat_interval, Duration::from_secs(1));
    assert_eq!(params.election.lease, Duration::from_secs(4));
    assert_eq!(params.election.election_timeout, Duration::from_secs(3));
    assert_eq!(params.election.clock_drift_ppm, 20_000);
    assert_eq!(params.election.places[&id("b")].order, 1);
    assert_eq!(params.membership.peer_timeout, Duration::from_secs(8));
    assert_eq!(params.membership.probe_interval, Duration::from_secs(1));
    assert_eq!(params.membership.probe_timeout, Some(Duration::from_millis(100)));
    assert_eq!((params.membership.open, params.membership.max_members), (false, 5_000));
}

#[test]
fn derived_numbers_follow_the_protocol() {
    let derived = config::derived(&good(RUNBOOK).config);
    assert_eq!((derived.quorum, derived.failures_tolerated), (3, 2));
    assert_eq!(derived.heartbeats_per_lease, 4);
    assert_eq!(derived.mean_failover, Duration::from_millis(52_500));
    // 60 s and 2 %, then n = 5 waits and two round trips of half a wait.
    assert_eq!(derived.worst_failover_near, Duration::from_millis(61_200 + 6 * 50));
    assert_eq!(derived.worst_failover_far, Duration::from_millis(61_200 + 6 * 1_000));
    let alone = config::derived(&good("voters: [a]").config);
    assert_eq!((alone.quorum, alone.failures_tolerated), (1, 0));
}
