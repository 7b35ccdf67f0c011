//! The configuration: the shipped files, the runbook's own YAML, and each rule by a text that breaks it.

mod rules;
mod shipped;

use ringrift_p2p::config::{self, Config, Host, Loaded};
use ringrift_wire::NodeId;
use std::path::Path;

/// The runbook's "current priority order", which is not the order of its voter list.
pub(crate) const PRIORITY_ORDER: [&str; 5] =
    ["nebius-backbone-1", "vultr-a100-20gb", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2"];

pub(crate) const VOTER_LIST: [&str; 5] =
    ["nebius-backbone-1", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2", "vultr-a100-20gb"];

pub(crate) const RUNBOOK: &str = "\
voters:
  - nebius-backbone-1
  - nebius-h100-3
  - hetzner-cpu1
  - hetzner-cpu2
  - vultr-a100-20gb

election:
  heartbeat_interval: 15 # seconds
  peer_timeout: 60 # seconds
  election_timeout: 30 # seconds
";

pub(crate) fn id(name: &str) -> NodeId {
    name.parse().expect("a node name")
}

pub(crate) fn good(yaml: &str) -> Loaded {
    config::parse(yaml).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"))
}

/// The lines of the error report of a text that must not load.
pub(crate) fn errors(yaml: &str) -> Vec<String> {
    let errors = config::parse(yaml).expect_err(yaml);
    errors.errors.iter().map(ToString::to_string).collect()
}

/// The text breaks exactly one rule, and the report has all of `parts`.
#[track_caller]
pub(crate) fn breaks(yaml: &str, parts: &[&str]) {
    let errors = errors(yaml);
    assert_eq!(errors.len(), 1, "{errors:#?}\n{yaml}");
    for part in parts {
        assert!(errors[0].contains(part), "no `{part}` in `{}`", errors[0]);
    }
}

/// The voters as an election ranks them at equal stability and centrality.
pub(crate) fn election_order(config: &Config) -> Vec<String> {
    let places = config::places(config);
    let mut ranked: Vec<_> = places.into_iter().collect();
    ranked.sort_by_key(|(id, place)| (place.never, !place.gpu, place.order, *id));
    ranked.into_iter().map(|(id, _)| id.to_string()).collect()
}

pub(crate) fn names(ids: &[NodeId]) -> Vec<&str> {
    ids.iter().map(|id| id.as_str()).collect()
}

pub(crate) fn host<'a>(config: &'a Config, name: &str) -> &'a Host {
    &config.hosts[&id(name)]
}

pub(crate) fn address(config: &Config, name: &str) -> String {
    host(config, name).address.to_string()
}

pub(crate) fn shipped() -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/distributed_hosts.yaml");
    config::load(&path).unwrap_or_else(|errors| panic!("{errors}"))
}
