//! `run --shadow`: a node beside the process that it is to replace.
//!
//! Decides what such a node leaves undone: it never leads and runs no hooks.

use clap::Args;
use ringrift_wire::NodeId;

use super::exit::{Exit, Failure};
use crate::config::{Config, HostPriority};
use crate::driver::follow::way::Ways;

/// The arguments that make a node a shadow.
#[derive(Clone, Debug, Default, Args)]
pub struct ShadowArgs {
    /// Run beside an old process whose HTTP server is at this URL, compare with it, and never lead
    ///
    /// It compares its own leader_id, alive_peers and voters_alive with those of the other's /status every second, and
    /// shows the disagreements in its own /status, as `shadow`, and in ringrift_p2p_shadow_disagreement. A voter votes,
    /// as with `priority: never`, so that the others can count it; it never leads, and no hooks are run. With --port PORT
    /// every node is taken to be at that port, for gossip and HTTP, whatever the configuration says: start all shadows with
    /// the same.
    #[arg(long, value_name = "URL", conflicts_with = "follow")]
    pub shadow: Option<String>,
}

impl ShadowArgs {
    /// What an operator should know of a shadow.
    pub(super) fn warning(&self) -> Option<String> {
        let url = self.shadow.as_ref()?;
        Some(format!("this node is the shadow of {url}: it never leads, and runs no hooks"))
    }

    /// How the other process is reached, and the configuration changed to that of a shadow; `None` where `me` is none.
    ///
    /// # Errors
    /// 64: the URL cannot be used.
    pub(super) fn ways(
        &self,
        config: &mut Config,
        me: NodeId,
        port: Option<u16>,
    ) -> Result<Option<Ways>, Failure> {
        let Some(url) = &self.shadow else { return Ok(None) };
        let ways = Ways::new(core::slice::from_ref(url), None, "")
            .map_err(|error| Failure::new(Exit::Usage, format!("--shadow: {error}")))?;
        if let Some(host) = config.hosts.get_mut(&me) {
            host.priority = HostPriority::Never;
        }
        if let Some(port) = port {
            for host in config.hosts.values_mut() {
                (host.port, host.http_port) = (port, port);
            }
        }
        let hooks = &mut config.hooks;
        (hooks.on_gain, hooks.on_lose, hooks.on_leader_change) = (None, None, None);
        Ok(Some(ways))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_shadow_never_leads_and_runs_no_hooks() {
        let text = "voters: [a, b]\nhooks: {on_gain: [/x], on_lose: [/x], on_leader_change: [/x]}\nhosts:\n  \
                    a: {address: 10.0.0.1, priority: 1}\n  b: {address: 10.0.0.2, priority: 2}\n";
        let config = parse(text).unwrap().config;
        let me = "a".parse().unwrap();
        let mut shadow = config.clone();
        assert!(ShadowArgs::default().ways(&mut shadow, me, Some(9)).unwrap().is_none());
        assert_eq!(shadow, config);
        let args = ShadowArgs { shadow: Some("localhost".to_owned()) };
        assert!(args.ways(&mut shadow, me, Some(9)).unwrap().is_some());
        assert_eq!(shadow.hosts[&me].priority, HostPriority::Never);
        let other = &shadow.hosts[&"b".parse().unwrap()];
        assert_eq!((other.priority, other.port, other.http_port), (HostPriority::Order(2), 9, 9));
        let hooks = shadow.hooks;
        assert_eq!((hooks.on_gain, hooks.on_lose, hooks.on_leader_change), (None, None, None));
    }
}
