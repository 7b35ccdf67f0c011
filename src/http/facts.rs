//! What the configuration says of this node and the others, for answers.

use arc_swap::ArcSwap;
use core::net::{IpAddr, SocketAddr};
use ringrift_wire::NodeId;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Source, Work};
use crate::config::token::Token;
use crate::config::{Address, Config};

/// The part of an answer that does not change while the process runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// This node.
    pub node: NodeId,
    /// The configuration.
    pub config: Arc<Config>,
    /// Where this node takes datagrams, as it tells others.
    pub address: SocketAddr,
    /// Where this node's HTTP server listens, as others reach it.
    pub http_port: u16,
    /// The folder whose disk `/health` measures.
    pub data_dir: PathBuf,
    /// The work of a leader, replaced by the driver.
    pub work: Arc<ArcSwap<Work>>,
    /// The process that watches this one; `None` without a guardian.
    pub guardian_pid: Option<u32>,
    /// What an operator should know about this start, one sentence each.
    pub warnings: Vec<String>,
    /// The keys of sealed gossip in use.
    pub keys: Arc<ArcSwap<Keys>>,
    /// What a POST must show; `None` admits the processes of this machine.
    pub token: Option<Token>,
    /// The nodes that this one follows over HTTP, replaced by the driver; `None` on a node that takes part in gossip.
    pub source: Option<Arc<ArcSwap<Source>>>,
}

/// The keys of sealed gossip in use; none when it is not sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Their public names, that of the key that seals first.
    pub ids: Vec<String>,
    /// What becomes of datagrams in the clear.
    pub unsealed: Option<&'static str>,
}

impl Keys {
    /// As answers show them.
    pub(super) fn to_value(&self) -> Value {
        let sealed = matches!(self.unsealed, Some("accept" | "refuse"));
        json!({ "sealed": sealed, "unsealed": self.unsealed, "keys": self.ids })
    }
}

impl Facts {
    /// Whether what is known of a member can come from itself.
    pub(super) fn hears(&self, id: NodeId) -> bool {
        let heard = |source: &Arc<ArcSwap<Source>>| {
            source.load().heard.as_ref().is_some_and(|heard| heard.node == id)
        };
        self.source.as_ref().is_none_or(heard)
    }

    /// The configured address or name of a host.
    pub(super) fn host(&self, id: NodeId) -> Option<String> {
        self.config.hosts.get(&id).map(|host| match &host.address {
            Address::Ip(address) => address.to_string(),
            Address::Name(name) => name.clone(),
        })
    }

    /// The HTTP port of a host; of an unconfigured one its gossip port, since both are one number
    /// unless configured.
    pub(super) fn http_port_of(&self, id: NodeId, gossip: SocketAddr) -> u16 {
        if id == self.node {
            return self.http_port;
        }
        self.config.hosts.get(&id).map_or(gossip.port(), |host| host.http_port)
    }

    /// Where the HTTP server of a host is reached, `host:port`.
    pub(super) fn http_address(&self, id: NodeId, gossip: SocketAddr) -> String {
        let port = self.http_port_of(id, gossip);
        match self.config.hosts.get(&id).map(|host| &host.address) {
            Some(Address::Name(name)) => format!("{name}:{port}"),
            Some(Address::Ip(address)) => SocketAddr::new(*address, port).to_string(),
            None => SocketAddr::new(gossip.ip(), port).to_string(),
        }
    }

    /// Whether an address is one of this node's own, apart from loopback.
    pub(super) fn is_own_address(&self, address: IpAddr) -> bool {
        let configured = self.config.hosts.get(&self.node).map(|host| &host.address);
        address == self.address.ip().to_canonical()
            || matches!(configured, Some(Address::Ip(own)) if own.to_canonical() == address)
    }

    /// Whether a host name is this node's own: its node name or its configured name.
    pub(super) fn is_own_name(&self, name: &str) -> bool {
        let configured = self.config.hosts.get(&self.node).map(|host| &host.address);
        name.eq_ignore_ascii_case(self.node.as_str())
            || matches!(configured, Some(Address::Name(own)) if own.eq_ignore_ascii_case(name))
    }
}
