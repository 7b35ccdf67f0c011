//! `check`: what a configuration comes to, or all that is wrong with it.
//!
//! The answer is YAML itself: what the file leaves open is written out, what follows from it stands in
//! comments above.

use clap::Args;
use core::fmt::{self, Write as _};
use ringrift_wire::NodeId;
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::net::{self, NetArgs};
use crate::config::identity::{IdentityError, identify, machine_bears};
use crate::config::{self, Config, Loaded, Surroundings};

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration file
    ///
    /// Default: RINGRIFT_CONFIG, else ./config/distributed_hosts.yaml, else
    /// /etc/ringrift/distributed_hosts.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the node to check for
    ///
    /// Default: as `run` finds it; it is no error here when there is none.
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// The network.
    #[command(flatten)]
    pub net: NetArgs,
}

/// Prints what a valid configuration comes to, or what a check of the network finds.
///
/// # Errors
/// 64: the file is missing or breaks rules (all are listed), or the node is none of its hosts. With
/// `--net` as of [`net::run`].
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let around = Surroundings::of_process();
    let loaded = config::open(args.config.as_deref(), &around)?;
    let me = match identify(args.node.as_deref(), &around, &loaded.config, machine_bears) {
        Ok(me) => Some(me),
        Err(IdentityError::NotFound { .. } | IdentityError::Ambiguous { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if args.net.net {
        return net::run(&args.net, loaded.config, me, &around);
    }
    let yaml = loaded.config.to_yaml().map_err(|error| Failure::new(Exit::Invariant, error))?;
    let mut text = String::new();
    summary(&mut text, &loaded, me, &around)
        .map_err(|error| Failure::new(Exit::Invariant, error.to_string()))?;
    super::print(&(text + "\n" + &yaml))
}

fn summary(
    out: &mut String,
    loaded: &Loaded,
    me: Option<NodeId>,
    around: &Surroundings,
) -> fmt::Result {
    let config = &loaded.config;
    let derived = config::derived(config);
    match &config.path {
        Some(path) => writeln!(out, "# {} is valid.", path.display())?,
        None => writeln!(out, "# The configuration is valid.")?,
    }
    for warning in &loaded.warnings {
        writeln!(out, "# warning: {warning}")?;
    }
    writeln!(
        out,
        "#\n# quorum               {} of {} voters; {} may be down",
        derived.quorum,
        config.voters.len(),
        derived.failures_tolerated
    )?;
    let lease = config.election.lease;
    let heartbeats = derived.heartbeats_per_lease;
    writeln!(out, "# lease                {lease:?}, {heartbeats} heartbeats")?;
    writeln!(
        out,
        "# failover             {:?} on average after the leader's host is lost; at worst {:?} with \
         round\n#                      trips below 25 ms, {:?} with half a second; fsync comes on top",
        derived.mean_failover, derived.worst_failover_near, derived.worst_failover_far
    )?;
    writeln!(out, "# order, at equal stability and connectivity (GPU first, then as configured):")?;
    for (rank, line) in order(config).into_iter().enumerate() {
        writeln!(out, "#   {}. {line}", rank + 1)?;
    }
    match me {
        Some(me) => this_node(out, config, me, around)?,
        None => writeln!(out, "# this machine is none of the hosts, as far as can be told")?,
    }
    if !loaded.foreign.is_empty() {
        let shown = loaded.foreign.iter().take(10).map(String::as_str).collect::<Vec<_>>();
        let more = if loaded.foreign.len() > shown.len() { ", ..." } else { "" };
        let count = loaded.foreign.len();
        writeln!(out, "# {count} keys are not read here: {}{more}", shown.join(", "))?;
    }
    Ok(())
}

/// The voters as an election ranks them when nothing but the file tells them apart.
fn order(config: &Config) -> Vec<String> {
    let places = config::places(config);
    let mut ranked: Vec<_> = places.iter().collect();
    ranked.sort_by_key(|(id, place)| (place.never, !place.gpu, place.order, **id));
    let line = |(id, place): (&NodeId, &crate::election::Place)| {
        let gpu = config.hosts.get(id).and_then(|host| host.gpu.as_deref());
        match (place.never, gpu) {
            (true, _) => format!("{id}, votes and never leads"),
            (false, Some(gpu)) => format!("{id}, {gpu}"),
            (false, None) => id.to_string(),
        }
    };
    ranked.into_iter().map(line).collect()
}

fn this_node(out: &mut String, config: &Config, me: NodeId, around: &Surroundings) -> fmt::Result {
    let part = if config.voters.contains(&me) { "voter" } else { "observer" };
    write!(out, "# this node            {me}, {part}")?;
    if let Some(host) = config.hosts.get(&me) {
        write!(out, ", {} UDP {} TCP {}", host.address, host.port, host.http_port)?;
    }
    match config::data_dir(None, config, me, around) {
        Some(dir) => writeln!(out, "\n# state folder         {}", dir.display()),
        None => writeln!(out, "\n# state folder         none: give --data-dir or data_dir"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(yaml: &str, me: Option<&str>) -> String {
        let loaded = config::parse(yaml).unwrap();
        let mut text = String::new();
        let around = Surroundings { is_root: true, ..Default::default() };
        summary(&mut text, &loaded, me.map(|me| me.parse().unwrap()), &around).unwrap();
        text
    }

    #[test]
    fn the_summary_has_quorum_failover_order_and_node() {
        let text = summary_of(
            "voters: [a, b, c]\nhosts:\n  a: {priority: never}\n  c: {gpu: L40S}\n\
             election: {heartbeat_interval: 1, peer_timeout: 4}\n",
            Some("c"),
        );
        assert!(text.contains("2 of 3 voters; 1 may be down"), "{text}");
        // 4 s of lease and 2 % of drift, and n + 1 = 4 waits of 50 ms and of 1 s.
        assert!(text.contains("3.5s on average") && text.contains("4.28s"), "{text}");
        assert!(text.contains("8.08s with half a second"), "{text}");
        assert!(text.contains("1. c, L40S\n#   2. b\n#   3. a, votes and never leads"), "{text}");
        assert!(text.contains("c, voter, c UDP 8770 TCP 8770"), "{text}");
        assert!(text.contains("/var/lib/ringrift-p2p/c"), "{text}");
    }

    #[test]
    fn the_summary_has_warnings_and_foreign_keys() {
        let text = summary_of("voters: [a, b]\nssh: {}\nelektion: {}\n", None);
        assert!(text.contains("# warning: two voters"), "{text}");
        assert!(text.contains("did you mean `election`?"), "{text}");
        assert!(text.contains("2 keys are not read here: ssh, elektion"), "{text}");
    }

    #[test]
    fn every_line_above_the_yaml_is_a_comment() {
        let text = summary_of("voters: [a, b]", Some("a"));
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
}
