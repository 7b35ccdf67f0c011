//! A configuration as YAML text, for a child process and for `check`.

use core::fmt;
use core::time::Duration;
use serde_json::{Map, Value, json};

use super::{Address, Bind, Config, Host, HostPriority, Http};

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Config {
    /// The effective configuration, every key of ours written out; loads as the same configuration
    /// (its `path` and `hash` apart).
    ///
    /// # Errors
    /// The serialiser fails, in words; it does not for a checked configuration.
    pub fn to_yaml(&self) -> Result<String, String> {
        serde_saphyr::to_string(&self.to_value()).map_err(|error| error.to_string())
    }

    fn to_value(&self) -> Value {
        let text = |length| Value::from(duration_text(length));
        let election = &self.election;
        let membership = &self.membership;
        let mut root = Map::new();
        let mut put = |key: &str, value: Value| root.insert(key.to_owned(), value);
        put("cluster", json!(self.cluster));
        put("voters", self.voters.iter().map(|id| id.as_str()).collect());
        put("voters_version", json!(self.voters_version));
        put(
            "election",
            json!({
                "heartbeat_interval": text(election.heartbeat_interval),
                "peer_timeout": text(election.peer_timeout),
                "lease": text(election.lease),
                "election_timeout": text(election.election_timeout),
                "clock_drift": format!("{}ppm", election.clock_drift_ppm),
                "takeover_after": text(election.takeover_after),
                "takeover_every": text(election.takeover_every),
                "block_after_step_down": text(election.block_after_step_down),
            }),
        );
        let mut table = Map::new();
        table.insert("probe_interval".to_owned(), text(membership.probe_interval));
        if let Some(timeout) = membership.probe_timeout {
            table.insert("probe_timeout".to_owned(), text(timeout));
        }
        table.insert("open".to_owned(), json!(membership.open));
        table.insert("max_members".to_owned(), json!(membership.max_members));
        put("membership", Value::Object(table));
        if let Some(path) = &self.gossip.key_file {
            let unsealed = self.gossip.unsealed.as_str();
            put("gossip", json!({ "key_file": path, "unsealed": unsealed }));
        }
        if let Some(http) = http(self.http.port, self.http.bind) {
            put("http", http);
        }
        if let Some(path) = &self.data_dir {
            put("data_dir", json!(path));
        }
        if let Some(hooks) = self.hooks.to_value(election) {
            put("hooks", hooks);
        }
        if let Some(scheduling) = self.scheduling.to_value() {
            put("scheduling", scheduling);
        }
        let hosts = self.hosts.iter().map(|(id, host)| (id.to_string(), host.to_value(&self.http)));
        put("hosts", Value::Object(hosts.collect()));
        Value::Object(root)
    }
}

impl Host {
    fn to_value(&self, default: &Http) -> Value {
        let mut root = Map::new();
        let mut put = |key: &str, value: Value| root.insert(key.to_owned(), value);
        put("address", json!(self.address.to_string()));
        if let Some(tailscale) = &self.tailscale_ip {
            put("tailscale_ip", json!(tailscale));
        }
        put("port", json!(self.port));
        if let Some(bind) = self.bind {
            put("bind", json!(bind.to_string()));
        }
        if self.bind_wait != Bind::usual_wait([self.bind, self.http_bind]) {
            put("bind_wait", json!(duration_text(self.bind_wait)));
        }
        // What the defaults give anyway is left out.
        let port = (self.http_port != default.port.unwrap_or(self.port)).then_some(self.http_port);
        let bind = self.http_bind.filter(|_| self.http_bind != default.bind.or(self.bind));
        if let Some(http) = http(port, bind) {
            put("http", http);
        }
        match self.priority {
            HostPriority::Order(order) => put("priority", json!(order)),
            HostPriority::Never => put("priority", json!("never")),
            HostPriority::Unnumbered => None,
        };
        if let Some(gpu) = &self.gpu {
            put("gpu", json!(gpu));
        }
        Value::Object(root)
    }
}

fn http(port: Option<u16>, bind: Option<Bind>) -> Option<Value> {
    let mut root = Map::new();
    if let Some(port) = port {
        root.insert("port".to_owned(), json!(port));
    }
    if let Some(bind) = bind {
        root.insert("bind".to_owned(), json!(bind.to_string()));
    }
    (!root.is_empty()).then_some(Value::Object(root))
}

/// A length of time as a file may write it: `15s`, `250ms`, `1m 30s`.
pub(super) fn duration_text(length: Duration) -> String {
    match jiff::SignedDuration::try_from(length) {
        Ok(length) => format!("{length:#}"),
        Err(_) => format!("{}s", length.as_secs()),
    }
}

/// FNV-1a, 64 bits: names a text; it protects nothing.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
