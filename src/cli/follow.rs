//! `run --follow`: a node that takes no part in gossip.
//!
//! Decides what such a node cannot be asked to do besides, and which proxy it uses.

use clap::Args;
use std::env;
use tracing::warn;

use super::exit::{Exit, Failure};
use crate::config::Config;
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

    /// How the nodes are reached by `me`.
    ///
    /// # Errors
    /// 64: `me` is a voter, or a URL or the proxy cannot be used.
    pub(super) fn ways(&self, config: &Config, me: NodeId) -> Result<Ways, Failure> {
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
        let of_environment = |names: [&str; 2]| {
            names.into_iter().find_map(|name| env::var(name).ok().filter(|text| !text.is_empty()))
        };
        let (said, all) = (self.proxy.clone(), of_environment(["ALL_PROXY", "all_proxy"]));
        let direct = of_environment(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Ways::new(&self.follow, said.or(all).as_deref(), &direct)
            .map_err(|error| Failure::new(Exit::Usage, format!("--follow: {error}")))
    }
}
