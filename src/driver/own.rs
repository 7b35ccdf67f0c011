//! This node's own address: where others reach it, as far as it can be known at the start.
//!
//! Decides what the node says of itself and, through [`ports`](super::ports), what it binds. Others
//! believe it only once it has answered from there, so a wrong guess harms nothing.
//!
//! 1. What the operator said counts: `--address`, else a literal address of the configuration.
//! 2. A name of the configuration is looked up once, for three seconds at most; a resolver that is absent
//!    or wrong keeps no node from starting.
//! 3. Else it is the address of this machine on the way to the other hosts; where there is none, the
//!    wildcard, and others find out by themselves where the datagrams come from.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_wire::NodeId;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;

use super::resolver::WaitingResolver;
use crate::config::identity::machine_bears;
use crate::config::{Address, Config, DEFAULT_PORT};

/// How long a start waits for the resolver.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most other hosts that are looked at for the way to them.
const MAX_HOSTS: usize = 16;

/// What the operator says with `--address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The address.
    pub ip: IpAddr,
    /// The port; `None` for that of the configuration.
    pub port: Option<u16>,
}

impl core::str::FromStr for Said {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole =
            text.parse::<SocketAddr>().map(|it| Self { ip: it.ip(), port: Some(it.port()) });
        let said = whole.or_else(|_| text.parse().map(|ip| Self { ip, port: None }));
        let said = said.map_err(|_| "no address; write IP, IPv4:PORT or [IPv6]:PORT".to_owned())?;
        if said.ip.is_multicast() || said.port == Some(0) {
            return Err("no address that a node can have".to_owned());
        }
        Ok(said)
    }
}

/// Where this node takes datagrams, and what an operator should know about that; `bound` is the address that its
/// socket binds, where the file says so.
pub fn find(
    config: &Config,
    me: NodeId,
    said: Option<Said>,
    bound: Option<IpAddr>,
) -> (SocketAddr, Option<String>) {
    let host = config.hosts.get(&me);
    let port = host.map_or(DEFAULT_PORT, |host| host.port);
    if let Some(Said { ip, port: other }) = said {
        return (SocketAddr::new(ip, other.unwrap_or(port)), None);
    }
    let name = match host.map(|host| &host.address) {
        Some(Address::Ip(ip)) => return (SocketAddr::new(*ip, port), None),
        Some(Address::Name(name)) => Some(name.clone()),
        None => None,
    };
    let others: Vec<_> = config
        .hosts
        .iter()
        .filter(|(id, _)| **id != me)
        .map(|(_, host)| (host.address.clone(), host.port))
        .take(MAX_HOSTS)
        .collect();
    let own = name.clone();
    let bound = bound.filter(|ip| !ip.is_unspecified());
    let bears = move |ip| bound.is_none_or(|bound| ip == bound) && machine_bears(ip);
    // The resolver may hang: it is asked on a thread that is left behind then.
    let (found, answer) = mpsc::channel();
    let ask = move || {
        let resolver = WaitingResolver::default();
        let named = own.map(|name| resolver.look_up(&name, port)).unwrap_or_default();
        // Nobody listens any more when it took too long.
        let _ = found.send(choose(&named, bears, || way_to(&others, &resolver)));
    };
    let asked = thread::Builder::new().name("own-address".to_owned()).spawn(ask);
    let chosen = asked.ok().and_then(|_| answer.recv_timeout(PATIENCE).ok());
    let (ip, by_name) = chosen.unwrap_or((Ipv4Addr::UNSPECIFIED.into(), false));
    let warning = name.filter(|_| !by_name).map(|name| {
        format!(
            "this node's own address {name} does not resolve to an address of use to others; it \
             says {ip} of itself"
        )
    });
    (SocketAddr::new(ip, port), warning)
}

/// The address to say of itself, and whether it is one that the own name resolved to.
fn choose(
    named: &[IpAddr],
    bears: impl Fn(IpAddr) -> bool,
    way: impl FnOnce() -> Option<IpAddr>,
) -> (IpAddr, bool) {
    let of_use = |ip: &&IpAddr| !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast();
    let mut others = named.iter().filter(of_use);
    // One that this machine bears, else one that a router may translate.
    if let Some(ip) = others.clone().find(|ip| bears(**ip)).or_else(|| others.next()) {
        return (*ip, true);
    }
    let way = way();
    // A cluster on one machine: the others are reached over loopback, too.
    let loopback = named.iter().find(|ip| ip.is_loopback());
    match (loopback, way) {
        (Some(ip), Some(way)) if way.is_loopback() => (*ip, true),
        (_, Some(way)) => (way, false),
        (_, None) => (Ipv4Addr::UNSPECIFIED.into(), false),
    }
}

/// The address of this machine on the way to the first of these hosts that the kernel has a route to.
fn way_to(hosts: &[(Address, u16)], resolver: &WaitingResolver) -> Option<IpAddr> {
    hosts.iter().find_map(|(address, port)| {
        let all = match address {
            Address::Ip(ip) => vec![*ip],
            Address::Name(name) => resolver.look_up(name, *port),
        };
        all.into_iter().find_map(|ip| {
            let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
            let socket = UdpSocket::bind((any, 0)).ok()?;
            // Asks the routing table; nothing is sent.
            socket.connect((ip, *port)).ok()?;
            socket.local_addr().ok().map(|own| own.ip())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_gives_an_address_of_this_machine_before_another() {
        let named = [ip("127.0.1.1"), ip("203.0.113.5"), ip("10.0.0.5")];
        let bears = |own: IpAddr| own == ip("10.0.0.5");
        assert_eq!(choose(&named, bears, || None), (ip("10.0.0.5"), true));
        assert_eq!(choose(&named, |_| false, || None), (ip("203.0.113.5"), true));
    }

    #[test]
    fn an_own_name_on_loopback_counts_only_where_the_others_are_on_loopback() {
        let named = [ip("127.0.1.1")];
        let choose = |way: Option<&str>| choose(&named, |_| true, || way.map(ip));
        assert_eq!(choose(Some("10.0.0.7")), (ip("10.0.0.7"), false));
        assert_eq!(choose(Some("127.0.0.1")), (ip("127.0.1.1"), true));
        assert_eq!(choose(None), (ip("0.0.0.0"), false));
    }

    #[test]
    fn a_node_without_a_place_in_the_file_speaks_from_the_way_to_the_others() {
        let config = config::loopback().unwrap().config;
        let stranger = "stranger".parse().unwrap();
        let (own, warning) = find(&config, stranger, None, None);
        assert!(own.ip().is_loopback() && own.port() == DEFAULT_PORT && warning.is_none());
        let said = "10.9.9.9:7".parse().ok();
        assert_eq!(find(&config, stranger, said, None).0, "10.9.9.9:7".parse().unwrap());
    }

    #[test]
    fn a_name_that_nobody_knows_keeps_no_node_from_starting() {
        let text = "voters: [a]\nhosts:\n  a: {address: nowhere.invalid}\n";
        let config = config::parse(text).unwrap().config;
        let (own, warning) = find(&config, "a".parse().unwrap(), None, None);
        assert!(own.ip().is_unspecified());
        assert!(warning.is_some_and(|text| text.contains("nowhere.invalid")));
    }

    #[test]
    fn what_the_operator_says_is_an_address_with_or_without_port() {
        let said = |text: &str| text.parse::<Said>();
        assert_eq!(said("10.0.0.1"), Ok(Said { ip: ip("10.0.0.1"), port: None }));
        assert_eq!(said("fd7a::1"), Ok(Said { ip: ip("fd7a::1"), port: None }));
        assert_eq!(said("[fd7a::1]:9"), Ok(Said { ip: ip("fd7a::1"), port: Some(9) }));
        for wrong in ["", "host", "10.0.0.1:0", "224.0.0.1", "10.0.0.1:99999"] {
            assert!(said(wrong).is_err(), "{wrong}");
        }
    }
}
