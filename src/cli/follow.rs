//! `run --follow`: a node that takes no part in gossip.
//!
//! Decides what such a node cannot be asked to do besides, which proxy it uses, and where its configuration comes from.

use clap::Args;
use std::env;
use std::path::Path;
use tracing::{info, warn};

use super::exit::{Exit, Failure};
use crate::config::{self, Config, Loaded, Surroundings};
use crate::driver::follow::learn;
use crate::driver::follow::way::Ways;
use ringrift_wire::NodeId;

/// The arguments that make a node follow over HTTP.
#[derive(Clone, Debug, Default, Args)]
pub struct FollowArgs {
    /// Follow these nodes over HTTP, without UDP: http://HOST:PORT, separated by commas
    ///
    /// For a host that UDP does not reach, such as one with Tailscale in userspace networking. It asks the first node
    /// that answers and knows of a leader, shows what that one says with its age, and counts no leader whose last
    /// heartbeat is older than election.lease. It is an observer that the others do not know of: it never votes, and a
    /// name in `voters` is refused. The name need not be in `hosts`.
    ///
    /// Where there is no configuration file, voters and lease are those that a followed node has; start the node again
    /// when the voters change.
    #[arg(long, value_name = "URL", value_delimiter = ',', conflicts_with_all = ["guardian", "guarded"])]
    pub follow: Vec<String>,
    /// Reach the followed nodes through this proxy: socks5://HOST:PORT, or http://HOST:PORT by CONNECT
    ///
    /// Names of nodes are looked up by the proxy. A user and password may stand before the host.
    ///
    /// Default: ALL_PROXY; hosts in NO_PROXY are asked without one.
    #[arg(long, value_name = "URL", requires = "follow")]
    pub proxy: Option<String>,
}

impl FollowArgs {
    /// Whether a node follows over HTTP.
    pub(super) fn is_set(&self) -> bool {
        !self.follow.is_empty()
    }

    /// How the nodes are reached.
    ///
    /// # Errors
    /// 64: a URL or the proxy cannot be used.
    pub(super) fn ways(&self) -> Result<Ways, Failure> {
        let of_environment = |names: [&str; 2]| {
            names.into_iter().find_map(|name| env::var(name).ok().filter(|text| !text.is_empty()))
        };
        let (said, all) = (self.proxy.clone(), of_environment(["ALL_PROXY", "all_proxy"]));
        let direct = of_environment(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Ways::new(&self.follow, said.or(all).as_deref(), &direct)
            .map_err(|error| Failure::new(Exit::Usage, format!("--follow: {error}")))
    }

    /// The configuration: that of the file; without one, what the followed nodes say.
    ///
    /// # Errors
    /// 64: a file that was named is missing, or is wrong. 69: there is none, and no followed node answers.
    pub(super) fn config(
        &self,
        flag: Option<&Path>,
        around: &Surroundings,
    ) -> Result<Loaded, Failure> {
        let is_there = config::find(flag, around).is_ok_and(|path| path.exists());
        if !self.is_set() || flag.is_some() || is_there {
            return Ok(config::open(flag, around)?);
        }
        let config = learn::ask(&self.ways()?).map_err(|error| {
            let message = format!(
                "there is no configuration file here, and none of the followed nodes says what stands in theirs: {error}"
            );
            Failure::new(Exit::Unavailable, message)
        })?;
        info!(
            voters = config.voters.iter().map(NodeId::as_str).collect::<Vec<_>>().join(","),
            voters_version = config.voters_version, lease = ?config.election.lease,
            "there is no configuration file: learned from a followed node"
        );
        Ok(Loaded { config, warnings: Vec::new(), foreign: Vec::new() })
    }

    /// Whether `me` may follow so.
    ///
    /// # Errors
    /// 64: it is a voter.
    pub(super) fn allow(config: &Config, me: NodeId) -> Result<(), Failure> {
        if config.voters.contains(&me) {
            let message = format!(
                "--follow: {me} is in `voters`, and a voter takes part in gossip; run it without --follow, or give \
                 this node a name of its own with --node"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        if config.hooks.on_leader_change.is_some() {
            warn!(
                warning = "hooks.on_leader_change is not run by a node that follows over HTTP",
                "configuration"
            );
        }
        Ok(())
    }
}
