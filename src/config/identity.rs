//! Which host of the configuration this process is.
//!
//! Decides by what was said, most explicit first; an address speaks only when nothing else does.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use ringrift_wire::NodeId;
use std::net::UdpSocket;

use super::{Address, Config, Surroundings};

/// Why it is not known which host this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The name that was given is no node name.
    BadName {
        /// Who gave it.
        source: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The name is not in the file, and the cluster is not open.
    Unknown {
        /// Who gave it.
        source: &'static str,
        /// The name.
        name: NodeId,
        /// The hosts of the file.
        choices: Vec<NodeId>,
    },
    /// Nothing was said, and no address of the file is this machine's.
    NotFound {
        /// The hosts of the file.
        choices: Vec<NodeId>,
    },
    /// Nothing was said, and the addresses of several hosts are this machine's.
    Ambiguous {
        /// Those hosts.
        choices: Vec<NodeId>,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |choices: &[NodeId]| {
            let mut names: Vec<_> = choices.iter().take(20).map(|id| id.as_str()).collect();
            if choices.len() > names.len() {
                names.push("...");
            }
            names.join(", ")
        };
        match self {
            Self::BadName { source, problem } => write!(f, "the node name of {source}: {problem}"),
            Self::Unknown { source, name, choices } => write!(
                f,
                "{source} names the node {name}, which the configuration does not; it has {}",
                list(choices)
            ),
            Self::NotFound { choices } => write!(
                f,
                "it is not known which node this is: no host of the configuration has an address of \
                 this machine; say it with --node, RINGRIFT_NODE_ID or /etc/ringrift/node-id; the \
                 choices are {}",
                list(choices)
            ),
            Self::Ambiguous { choices } => write!(
                f,
                "it is not known which node this is: several hosts of the configuration have an \
                 address of this machine; say it with --node, RINGRIFT_NODE_ID or \
                 /etc/ringrift/node-id; the choices are {}",
                list(choices)
            ),
        }
    }
}

impl core::error::Error for IdentityError {}

/// The name of this node: `flag` (`--node`), else `RINGRIFT_NODE_ID`, else `/etc/ringrift/node-id`,
/// else the one host whose address this machine bears, as `bears` says (see [`machine_bears`]).
///
/// Loopback addresses are every machine's and so identify none. A name that is not in the file is
/// accepted only in an open cluster, as observer.
///
/// # Errors
/// See [`IdentityError`].
pub fn identify(
    flag: Option<&str>,
    around: &Surroundings,
    config: &Config,
    bears: impl Fn(IpAddr) -> bool,
) -> Result<NodeId, IdentityError> {
    let said = [
        ("--node", flag),
        ("RINGRIFT_NODE_ID", around.node.as_deref()),
        ("/etc/ringrift/node-id", around.node_file.as_deref()),
    ];
    let all = || config.hosts.keys().copied().collect();
    if let Some((source, name)) =
        said.into_iter().find_map(|(source, name)| name.map(|name| (source, name.trim())))
    {
        let name: NodeId = name
            .parse()
            .map_err(|error| IdentityError::BadName { source, problem: format!("{error}") })?;
        if !config.hosts.contains_key(&name) && !config.membership.open {
            return Err(IdentityError::Unknown { source, name, choices: all() });
        }
        return Ok(name);
    }
    let own = |address: &Address| match address {
        Address::Ip(ip) => !ip.is_loopback() && bears(*ip),
        Address::Name(_) => false,
    };
    let mine: Vec<NodeId> =
        config.hosts.iter().filter(|(_, host)| own(&host.address)).map(|(id, _)| *id).collect();
    match mine.as_slice() {
        [one] => Ok(*one),
        [] => Err(IdentityError::NotFound { choices: all() }),
        _ => Err(IdentityError::Ambiguous { choices: mine }),
    }
}

/// Whether an address is this machine's: a socket can be bound to it.
#[must_use]
pub fn machine_bears(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const FILE: &str = "voters: [a, b, c]\nhosts:\n  a: {address: 10.0.0.1}\n  \
                        b: {address: 10.0.0.2}\n  c: {address: 127.0.0.1}\n";

    fn name(
        flag: Option<&str>,
        env: Option<&str>,
        file: Option<&str>,
        local: &[&str],
    ) -> Result<String, IdentityError> {
        let config = parse(FILE).unwrap().config;
        let around = Surroundings {
            node: env.map(str::to_owned),
            node_file: file.map(str::to_owned),
            ..Default::default()
        };
        identify(flag, &around, &config, |ip| local.contains(&ip.to_string().as_str()))
            .map(|id| id.to_string())
    }

    #[test]
    fn the_most_explicit_word_wins() {
        assert_eq!(name(Some("a"), Some("b"), Some("c"), &["10.0.0.2"]).unwrap(), "a");
        assert_eq!(name(None, Some("b"), Some("c"), &["10.0.0.1"]).unwrap(), "b");
        assert_eq!(name(None, None, Some(" c\n"), &["10.0.0.1"]).unwrap(), "c");
        assert_eq!(name(None, None, None, &["10.0.0.1", "192.168.0.1"]).unwrap(), "a");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_choices() {
        let error = name(Some("z"), None, None, &[]).unwrap_err().to_string();
        assert!(error.contains("--node") && error.contains("a, b, c"), "{error}");
        assert!(matches!(name(Some("a b"), None, None, &[]), Err(IdentityError::BadName { .. })));
        assert!(matches!(name(None, None, Some(""), &[]), Err(IdentityError::BadName { .. })));
        let open = parse("voters: [a]\nmembership: {open: true}\n").unwrap().config;
        let around = Surroundings::default();
        assert!(identify(Some("z"), &around, &open, |_| false).is_ok());
    }

    #[test]
    fn an_address_identifies_only_if_it_is_one_hosts_and_not_loopback() {
        assert!(matches!(name(None, None, None, &[]), Err(IdentityError::NotFound { .. })));
        assert!(matches!(
            name(None, None, None, &["127.0.0.1"]),
            Err(IdentityError::NotFound { .. })
        ));
        let both = name(None, None, None, &["10.0.0.1", "10.0.0.2"]);
        assert!(matches!(both, Err(IdentityError::Ambiguous { choices }) if choices.len() == 2));
    }

    #[test]
    fn this_machine_bears_the_loopback_address_and_no_documentation_address() {
        assert!(machine_bears(IpAddr::from([127, 0, 0, 1])));
        assert!(!machine_bears(IpAddr::from([192, 0, 2, 1])));
    }
}
