//! Each rule, by texts that keep it and texts that break it.

use super::{address, breaks, election_order, good, host, id, names};
use core::time::Duration;
use ringrift_p2p::config::{self, Gossip, HostPriority, Position, Surroundings, Unsealed, Warning};

#[test]
fn defaults_are_as_documented() {
    let config = good("voters: [a]").config;
    let election = &config.election;
    let seconds = Duration::from_secs;
    assert_eq!(election.heartbeat_interval, seconds(15));
    assert_eq!((election.peer_timeout, election.lease), (seconds(60), seconds(60)));
    assert_eq!(election.election_timeout, seconds(30));
    assert_eq!(election.clock_drift_ppm, 10_000);
    assert_eq!((election.takeover_after, election.takeover_every), (seconds(60), seconds(300)));
    assert_eq!(election.block_after_step_down, seconds(600));
    assert_eq!(config.membership.probe_interval, seconds(1));
    assert_eq!(config.membership.probe_timeout, None);
    assert!(!config.membership.open);
    assert_eq!(config.membership.max_members, 5_000);
    assert_eq!((config.gossip, config.data_dir), (Gossip::default(), None));
}

#[test]
fn the_lease_and_peer_timeout_default_to_each_other() {
    let timings = |election: &str| {
        let config = good(&format!("voters: [a]\nelection: {{{election}}}\n")).config;
        (config.election.lease.as_millis(), config.election.peer_timeout.as_millis())
    };
    assert_eq!(timings("heartbeat_interval: 100ms, lease: 400ms"), (400, 400));
    assert_eq!(timings("heartbeat_interval: 100ms, peer_timeout: 500ms"), (500, 500));
    assert_eq!(timings("heartbeat_interval: 1, lease: 2, peer_timeout: 10"), (2_000, 10_000));
}

#[test]
fn voters_may_be_called_p2p_voters_but_not_twice() {
    assert_eq!(names(&good("p2p_voters: [a, b, c]").config.voters), ["a", "b", "c"]);
    breaks("voters: [a]\np2p_voters: [a]", &["line 2", "p2p_voters", "remove one"]);
}

#[test]
fn the_voter_list_is_there_and_in_bounds() {
    breaks("election: {}", &["voters", "list the names"]);
    breaks("", &["there are no voters"]);
    breaks("voters: []", &["0 voters", "1 to 31"]);
    let many: Vec<String> = (0..32).map(|n| format!("v{n}")).collect();
    breaks(&format!("voters: [{}]", many.join(", ")), &["32 voters"]);
    assert_eq!(good(&format!("voters: [{}]", many[..31].join(", "))).config.voters.len(), 31);
    breaks("voters: a", &["a text where a list of names belongs"]);
    breaks("voters: [a, b, a]", &["voters[2]", "line 1 already", "once"]);
    breaks("voters: [a b]", &["line 1, column 10", "voters[0]", "letters, digits"]);
    breaks("voters: [1]", &["a number where the name", "quotes"]);
    breaks("voters: [a]\nvoters_version: 0", &["voters_version", "from 1"]);
}

/// Found by the fuzzer: such a configuration was written as a text that did not load, and the state
/// of a node called `..` would have lain outside of its folder.
#[test]
fn a_name_serves_as_address_and_folder_or_is_refused() {
    breaks("voters: [..]", &["line 1, column 10", "voters[0]", "nothing but dots"]);
    breaks("voters: [a]\nhosts:\n  .: {address: 10.0.0.1}\n", &["line 3", "nothing but dots"]);
    breaks("voters: [a..b]", &["line 1", "`a..b` is neither", "`address` under `hosts.a..b`"]);
    breaks("voters: [node.1]", &["neither an address nor a host name"]);
    breaks("voters: [0.0.0.0]", &["not the address of one host", "`hosts.0.0.0.0`"]);
    let config = good("voters: [a..b]\nhosts:\n  a..b: {address: 10.0.0.1}\n").config;
    assert_eq!(host(&config, "a..b").port, 8_770);
    let config = good("voters: [10.0.0.1]").config;
    let literal = config::Address::Ip([10, 0, 0, 1].into());
    assert_eq!(host(&config, "10.0.0.1").address, literal, "an address is one as a name too");
}

#[test]
fn even_and_two_voters_warn() {
    let warnings = |list: &str| good(&format!("voters: [{list}]")).warnings;
    assert_eq!(warnings("a, b"), [Warning::TwoVoters]);
    assert_eq!(warnings("a, b, c, d"), [Warning::EvenVoters(4)]);
    assert_eq!(warnings("a"), []);
    assert_eq!(warnings("a, b, c"), []);
}

#[test]
fn a_repeated_key_is_an_error_wherever_it_stands() {
    breaks("voters: [a]\nvoters: [b]", &["line 2", "voters", "line 1 already"]);
    breaks(
        "voters: [a]\nelection:\n  lease: 60\n  lease: 61\n",
        &["line 4", "election.lease", "line 3 already"],
    );
    breaks("voters: [a]\nhosts:\n  a: {}\n  a: {}\n", &["line 4", "hosts.a", "line 3 already"]);
    breaks("voters: [a]\nhosts:\n  a: {ssh: 1, ssh: 2}\n", &["hosts.a.ssh"]);
    breaks("voters: [a]\nother:\n  - {deep: {x: 1, x: 1}}\n", &["line 3", "other.deep.x"]);
}

#[test]
fn an_unknown_key_inside_our_sections_is_an_error_with_the_nearest_name() {
    breaks(
        "voters: [a]\nelection:\n  leese: 60\n",
        &["line 3, column 3", "election.leese", "unknown key", "did you mean `lease`?"],
    );
    breaks("voters: [a]\nmembership: {prob_interval: 1}", &["did you mean `probe_interval`?"]);
    breaks("voters: [a]\ngossip: {keyfile: /k}", &["did you mean `key_file`?"]);
    breaks("voters: [a]\nhttp: {ports: 1}", &["did you mean `port`?"]);
    breaks("voters: [a]\nhosts:\n  a:\n    http: {prot: 1}\n", &["hosts.a.http.prot", "`port`"]);
    breaks("voters: [a]\nhttp: {colour: red}", &["the keys here are port, bind"]);
}

#[test]
fn foreign_keys_are_accepted_at_the_top_level_and_under_hosts() {
    let loaded = good(
        "\
voters: [gpu-1]
defaults: &defaults {ssh_user: ubuntu, retries: 3}
p2p_settings:
  relays: [a, b]
  ratio: .inf
hosts:
  gpu-1:
    <<: *defaults
    ssh_host: 10.0.0.9
    ssh_port: 22
    tailscale_ip: 100.64.1.2
    status: ready
    gpu: RTX 4090
    memory_gb: 64
    ringrift_path: ~/ringrift/ai-service
    venv_activate: source ~/venv/bin/activate
    selfplay: {enabled: true, boards: [hex8, square8]}
    1: odd
  vast-1:
    ssh_host: ssh5.vast.ai
    ssh_port: 14398
    gpu: false
    priority: high
    tailscale_ip: null
  vast-2:
",
    );
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(address(&config, "gpu-1"), "100.64.1.2");
    assert_eq!(host(&config, "gpu-1").tailscale_ip.as_deref(), Some("100.64.1.2"));
    assert_eq!(host(&config, "gpu-1").gpu.as_deref(), Some("RTX 4090"));
    assert_eq!(host(&config, "vast-1").gpu, None);
    assert_eq!(address(&config, "vast-1"), "vast-1");
    assert_eq!(address(&config, "vast-2"), "vast-2");
    for key in ["defaults", "p2p_settings", "hosts.gpu-1.ssh_host", "hosts.gpu-1.selfplay"] {
        assert!(loaded.foreign.iter().any(|found| found == key), "{key}: {:?}", loaded.foreign);
    }
    assert!(!loaded.foreign.iter().any(|key| key.contains("tailscale")), "{:?}", loaded.foreign);
}

#[test]
fn a_foreign_key_that_looks_like_ours_warns() {
    let found = String::from("elections");
    let warnings = good("voters: [a]\nelections: {lease: 1}").warnings;
    assert_eq!(warnings, [Warning::Lookalike { found, ours: "election" }]);
}

#[test]
fn all_broken_rules_are_reported_together_in_the_order_of_the_file() {
    let yaml = "\
cluster: ''
voters: [a, b, a]
election:
  heartbeat_interval: 20s
  peer_timeout: -5
  leese: 3
membership: 7
http: {port: 70000}
hosts:
  a: {address: 0.0.0.0, port: 0}
  b: {priority: first}
";
    let errors = config::parse(yaml).unwrap_err();
    let keys: Vec<_> = errors.errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "cluster",
            "voters[2]",
            "election.peer_timeout",
            "election.leese",
            "membership",
            "http.port",
            "hosts.a.address",
            "hosts.a.port",
            "hosts.b.priority"
        ]
    );
    assert!(
        errors.errors.iter().all(|error| !error.problem.is_empty() && !error.remedy.is_empty())
    );
    assert_eq!(errors.errors[3].at, Some(Position { line: 6, column: 3 }));
    let text = errors.to_string();
    assert!(text.starts_with("configuration: 9 errors\n") && text.lines().count() == 10, "{text}");
}

#[test]
fn lengths_of_time_have_units_and_bounds() {
    let with = |value: &str| format!("voters: [a]\nelection: {{election_timeout: {value}}}");
    let length = |value: &str| good(&with(value)).config.election.election_timeout;
    assert_eq!(length("30"), Duration::from_secs(30));
    assert_eq!(length("250ms"), Duration::from_millis(250));
    assert_eq!(length("1.5s"), Duration::from_millis(1_500));
    assert_eq!(length("2m"), Duration::from_secs(120));
    for bad in ["0", "-1", "0s", "2h", "1000000000000", "30ms"] {
        breaks(&with(bad), &["election.election_timeout", "out of range", "from 50ms to 1h"]);
    }
    breaks(&with("-3s"), &["negative"]);
    breaks(&with("0.5"), &["a fraction and without a unit", "1.5s"]);
    breaks(&with("soon"), &["`soon` is no length of time", "250ms"]);
    breaks(&with("'30'"), &["no length of time", "whole seconds"]);
    breaks(&with("[1]"), &["a list where a length of time belongs"]);
    // Only where nothing is a sensible length.
    let none = "voters: [a]\nelection: {block_after_step_down: 0}";
    assert_eq!(good(none).config.election.block_after_step_down, Duration::ZERO);
}

#[test]
fn a_lease_holds_two_heartbeats() {
    let with = |text: &str| format!("voters: [a]\nelection: {{{text}}}");
    good(&with("heartbeat_interval: 30, lease: 60"));
    breaks(
        &with("heartbeat_interval: 30, lease: 59"),
        &["election.lease", "column 43", "59s", "two heartbeats of 30s", "1m"],
    );
    breaks(&with("peer_timeout: 29"), &["election.lease", "by default it is peer_timeout", "30s"]);
    breaks(&with("heartbeat_interval: 31"), &["a lease of 1m"]);
    breaks(&with("lease: 2h"), &["election.lease", "out of range"]);
    breaks(&with("peer_timeout: 2h"), &["too long for the lease", "election.lease"]);
    good(&with("peer_timeout: 2h, lease: 60"));
}

#[test]
fn a_clock_drift_has_a_unit_and_bounds() {
    let with = |text: &str| format!("voters: [a]\nelection: {{clock_drift: {text}}}");
    assert_eq!(good(&with("0.2 %")).config.election.clock_drift_ppm, 2_000);
    assert_eq!(good(&with("500ppm")).config.election.clock_drift_ppm, 500);
    breaks(&with("0.01"), &["a number without a unit", "1%"]);
    breaks(&with("0%"), &["out of range", "500ppm"]);
    breaks(&with("11%"), &["out of range", "10%"]);
    breaks(&with("low"), &["no share"]);
}

#[test]
fn probes_fit_their_interval_and_the_peer_timeout() {
    let with = |text: &str| format!("voters: [a]\nmembership: {{{text}}}");
    good(&with("probe_interval: 1, probe_timeout: 500ms"));
    breaks(
        &with("probe_interval: 1, probe_timeout: 501ms"),
        &["probe_timeout", "more than half", "leave it out"],
    );
    breaks(
        &with("probe_interval: 31"),
        &["membership.probe_interval", "election.peer_timeout, 1m"],
    );
    breaks(&with("open: maybe"), &["membership.open", "true or false"]);
    breaks(&with("max_members: 0"), &["max_members", "from 1 to 100000"]);
    let few = "voters: [a, b, c]\nmembership: {max_members: 2}";
    breaks(few, &["room for 2 members", "lists 3"]);
}

#[test]
fn an_address_is_one_hosts_own() {
    let with = |text: &str| format!("voters: [a]\nhosts:\n  a: {{address: '{text}'}}\n");
    let read = |text: &str| address(&good(&with(text)).config, "a");
    assert_eq!(read("10.0.0.1"), "10.0.0.1");
    assert_eq!(read("fd7a:115c::1"), "fd7a:115c::1");
    assert_eq!(read("::ffff:10.0.0.1"), "10.0.0.1");
    assert_eq!(read("a.tailnet.ts.net"), "a.tailnet.ts.net");
    assert_eq!(read(""), "a");
    for bad in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:0.0.0.0"] {
        breaks(&with(bad), &["hosts.a.address", "line 3", "not the address of one host"]);
    }
    for bad in ["10.0.0.1:8770", "[::1]", "10.0.0", "300.1.1.1", "a..b", "a b", "fe80::1%eth0"] {
        breaks(&with(bad), &["hosts.a.address", "without port and brackets"]);
    }
    breaks("voters: [a]\nhosts: {a: {address: 7}}", &["a number where a text belongs"]);
    let both = "voters: [a]\nhosts: {a: {address: x.example, tailscale_ip: 100.64.0.1}}";
    assert_eq!(address(&good(both).config, "a"), "x.example");
}

#[test]
fn ports_and_binds_are_in_range_and_nearest_first() {
    let with = |text: &str| format!("voters: [a]\nhttp: {{port: 80}}\nhosts:\n  a: {{{text}}}\n");
    let ports = |text: &str| {
        let config = good(&with(text)).config;
        (host(&config, "a").port, host(&config, "a").http_port)
    };
    assert_eq!(ports(""), (8770, 80));
    assert_eq!(ports("port: 9, http: {port: 10}"), (9, 10));
    let own = good("voters: [a]\nhosts: {a: {port: 9}}").config;
    assert_eq!((host(&own, "a").port, host(&own, "a").http_port), (9, 9));
    for bad in ["port: 0", "port: 65536", "port: -1", "http: {port: 0}"] {
        breaks(&with(bad), &["from 1 to 65535"]);
    }
    let binds = good(&with("bind: 10.0.0.1, http: {bind: '::'}")).config;
    assert_eq!(host(&binds, "a").bind.unwrap().to_string(), "10.0.0.1");
    assert_eq!(host(&binds, "a").http_bind.unwrap().to_string(), "::");
    breaks(&with("bind: 224.0.0.1"), &["hosts.a.bind", "no address that a socket can bind"]);
    breaks(&with("bind: eth0"), &["hosts.a.bind", "0.0.0.0"]);
}

#[test]
fn only_what_comes_later_is_waited_for() {
    let wait = |text: &str| {
        let config = good(&format!("voters: [a]\nhosts:\n  a: {{{text}}}\n")).config;
        host(&config, "a").bind_wait.as_secs()
    };
    assert_eq!(wait("address: 10.0.0.1"), 0);
    assert_eq!(wait("bind: 10.0.0.1"), 0);
    assert_eq!(wait("bind: 10.0.0.1, bind_wait: 2m"), 120);
    assert_eq!(wait("bind: tailscale"), 60);
    assert_eq!(wait("bind: 0.0.0.0, http: {bind: tailscale}"), 60);
    assert_eq!(wait("bind: tailscale, bind_wait: 0"), 0);
    let with = |text: &str| format!("voters: [a]\nhosts:\n  a: {{{text}}}\n");
    breaks(&with("bind_wait: 60"), &["hosts.a.bind_wait", "nothing is named to wait for"]);
    breaks(&with("bind: tailscale, bind_wait: 2h"), &["hosts.a.bind_wait", "out of range"]);
    let everywhere = "voters: [a]\nhttp: {bind: tailscale}\nhosts:\n  a: {port: 9}\n";
    assert_eq!(host(&good(everywhere).config, "a").bind_wait.as_secs(), 60);
}

#[test]
fn http_binds_apart_from_gossip() {
    let bound = |http: &str, of_host: &str| {
        let text = format!("voters: [a]\nhttp: {{{http}}}\nhosts:\n  a: {{{of_host}}}\n");
        let config = good(&text).config;
        let host = host(&config, "a");
        [host.bind, host.http_bind].map(|ip| ip.map_or(String::from("-"), |ip| ip.to_string()))
    };
    assert_eq!(bound("", ""), ["-", "-"]);
    assert_eq!(bound("bind: loopback", ""), ["-", "127.0.0.1"]);
    assert_eq!(bound("bind: all", "bind: 10.0.0.1"), ["10.0.0.1", "::"]);
    assert_eq!(bound("", "bind: 10.0.0.1"), ["10.0.0.1", "10.0.0.1"]);
    assert_eq!(bound("bind: loopback", "http: {bind: 10.0.0.2}"), ["-", "10.0.0.2"]);
    let with = |http: &str| format!("voters: [a]\nhttp: {{{http}}}\n");
    for bad in ["bind: everywhere", "bind: lo", "bind: 224.0.0.1", "bind: localhost"] {
        breaks(&with(bad), &["http.bind", "no address that a socket can bind"]);
    }
    breaks(&with("bind: 4"), &["http.bind", "a number where a text belongs"]);
    breaks(&with("binds: all"), &["http.binds", "did you mean `bind`?"]);
    // For gossip there is nothing to choose.
    breaks("voters: [a]\nhosts: {a: {bind: loopback}}\n", &["hosts.a.bind"]);
}

#[test]
fn what_is_asked_of_the_system_only_helps() {
    let asked =
        |text: &str| good(&format!("voters: [a]\nscheduling: {{{text}}}\n")).config.scheduling;
    assert_eq!((asked("").nice, asked("").lock_memory), (None, false));
    assert_eq!(
        (asked("nice: -20").nice, asked("lock_memory: true").lock_memory),
        (Some(-20), true)
    );
    let with = |text: &str| format!("voters: [a]\nscheduling: {{{text}}}\n");
    breaks(&with("nice: 1"), &["scheduling.nice", "from -20 to 0"]);
    breaks(&with("lock_memory: 1"), &["scheduling.lock_memory", "true or false"]);
    breaks(&with("nise: -1"), &["scheduling.nise", "did you mean `nice`?"]);
}

#[test]
fn two_hosts_share_no_address_with_port() {
    let with = |a: &str, b: &str| format!("voters: [a]\nhosts:\n  a: {{{a}}}\n  b: {{{b}}}\n");
    let one = "address: 10.0.0.1";
    breaks(&with(one, one), &["line 4", "hosts.b", "10.0.0.1 with port 8770", "of a too"]);
    breaks(
        &with(one, "address: 10.0.0.1, port: 1, http: {port: 8770}"),
        &["http.port 8770", "of a too"],
    );
    good(&with(one, "address: 10.0.0.1, port: 8771"));
    breaks("voters: [a, b]\nhosts: {a: {address: b}}", &["b with port 8770", "of a too"]);
}

#[test]
fn a_priority_is_a_number_of_its_own_or_never() {
    let with = |a: &str, b: &str| {
        format!("voters: [a, b, c]\nhosts:\n  a: {{priority: {a}}}\n  b: {{priority: {b}}}\n")
    };
    let config = good(&with("never", "7")).config;
    assert_eq!(host(&config, "a").priority, HostPriority::Never);
    assert_eq!(election_order(&config), ["b", "c", "a"]);
    let places = config::places(&config);
    assert_eq!(places[&id("b")].order, 1);
    assert!(places[&id("a")].never && !places[&id("c")].never);
    for bad in ["0", "-1", "65536", "first", "1.5", "true"] {
        breaks(&with("1", bad), &["line 4", "hosts.b.priority", "from 1 (the best)", "never"]);
    }
    breaks(&with("3", "3"), &["hosts.b.priority", "a has priority 3 too"]);
    let all = "voters: [a, b, c]\nhosts:\n  a: &n {priority: never}\n  b: *n\n  c: *n\n";
    breaks(all, &["none may lead"]);
}

#[test]
fn an_observers_priority_is_not_ours() {
    let yaml = "voters: [a]\nhosts:\n  a: {priority: 1}\n  b: {priority: 1}\n  c: {priority: x}\n";
    let config = good(yaml).config;
    assert_eq!(host(&config, "b").priority, HostPriority::Unnumbered);
    assert_eq!(config::places(&config).len(), 1);
}

#[test]
fn any_text_counts_as_a_gpu() {
    let gpu = |text: &str| {
        let config = good(&format!("voters: [a]\nhosts: {{a: {{gpu: {text}}}}}")).config;
        let place = config::places(&config)[&id("a")];
        assert_eq!(place.gpu, host(&config, "a").gpu.is_some());
        host(&config, "a").gpu.clone()
    };
    assert_eq!(gpu("L40S").as_deref(), Some("L40S"));
    assert_eq!(gpu("4090").as_deref(), Some("4090"));
    assert_eq!(gpu("true").as_deref(), Some("yes"));
    assert_eq!((gpu("''"), gpu("null"), gpu("false")), (None, None, None));
    breaks("voters: [a]\nhosts: {a: {gpu: [x]}}", &["hosts.a.gpu", "a list where"]);
}

#[test]
fn hosts_are_groups_under_node_names() {
    breaks("voters: [a]\nhosts: [a]", &["hosts", "a list where a group of keys belongs"]);
    breaks("voters: [a]\nhosts: {a: up}", &["hosts.a", "a text where a group of keys belongs"]);
    breaks("voters: [a]\nhosts: {a b: {}}", &["hosts.a b", "letters, digits"]);
    breaks("voters: [a]\nhosts: {7: {}}", &["a number as a key", "quotes"]);
}

#[test]
fn gossip_with_a_key_refuses_what_is_unsealed_unless_told() {
    let text = "voters: [a]\ngossip: {key_file: /etc/ringrift/key}";
    let config = good(text).config;
    assert_eq!(config.gossip.unsealed, Unsealed::Refuse);
    assert!(config.membership.open, "who has the key may join");
    let config = good("voters: [a]\ngossip: {key_file: /k, unsealed: accept}").config;
    assert_eq!(config.gossip.unsealed, Unsealed::Accept);
    assert!(!config.membership.open, "anybody could join");
    breaks("voters: [a]\ngossip: {key_file: k}", &["gossip.key_file", "absolute path"]);
    breaks("voters: [a]\ngossip: {unsealed: send}", &["gossip.unsealed", "without a key"]);
    breaks(
        "voters: [a]\ngossip: {key_file: /k, unsealed: never}",
        &["gossip.unsealed", "send, accept or refuse"],
    );
}

#[test]
fn paths_and_names_are_checked() {
    breaks("voters: [a]\ndata_dir: state", &["data_dir", "write an absolute path"]);
    breaks("voters: [a]\ncluster: 7", &["cluster", "a number where a text belongs"]);
    breaks(&format!("voters: [a]\ncluster: {}", "x".repeat(64)), &["1 to 63 bytes"]);
}

#[test]
fn a_file_that_is_none_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        config::load(&path).map_err(|errors| errors.to_string())
    };
    let missing = config::load(&dir.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("none: cannot be read") && missing.contains("--config"), "{missing}");
    assert!(load("latin", b"voters: [\xe4]").unwrap_err().contains("UTF-8"));
    assert!(load("broken", b"voters: [a").unwrap_err().contains("not valid YAML"));
    assert!(load("bomb", &vec![b'['; 1 << 20]).is_err());
    assert!(load("list", b"- a\n").unwrap_err().contains("a group of keys"));
    let long = usize::try_from(config::MAX_FILE_BYTES).unwrap() + 1;
    assert!(load("long", &vec![b'#'; long]).unwrap_err().contains("longer than"));
    assert!(load("good", b"voters: [a]").is_ok());
}

#[test]
fn the_environments_voter_list_is_ignored_with_a_warning() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "voters: [a]").unwrap();
    let around = Surroundings { voters: true, ..Default::default() };
    let loaded = config::open(Some(file.path()), &around).unwrap();
    assert_eq!(loaded.warnings, [Warning::VotersInEnvironment]);
    assert_eq!(names(&loaded.config.voters), ["a"]);
}
