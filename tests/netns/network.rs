//! Hosts on one Ethernet, and what each of them hears.
//!
//! Every host is a namespace with one link to a bridge, or to a relay, in a namespace of its own. Datagrams are dropped
//! where they arrive: a rule on the way out would tell the sender, which no real network does. HTTP of
//! the watch goes over each host's own loopback, so it is never cut.

use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::relay::Relay;
use crate::support::cluster::{Cluster, Host, PORT, Timing};
use crate::support::net::{Net, feed};

/// The hosts and what is between them.
pub struct Network {
    hosts: Vec<Arc<Net>>,
    relay: Option<Relay>,
    /// Where the other ends of the hosts' links are, held for as long as the hosts.
    _centre: Net,
}

/// Which host hears which; nothing else is ever cut.
#[derive(Clone, Debug)]
pub struct Links {
    hosts: usize,
    /// (hears, sends)
    cut: BTreeSet<(usize, usize)>,
    loss_percent: u8,
    /// Of what this host sends, so many of a hundred are lost.
    muffled: Option<(usize, u8)>,
}

impl Links {
    /// Everybody hears everybody.
    pub const fn whole(hosts: usize) -> Self {
        Self { hosts, cut: BTreeSet::new(), loss_percent: 0, muffled: None }
    }

    /// Only these pairs hear each other.
    pub fn only(hosts: usize, pairs: &[(usize, usize)]) -> Self {
        let linked = |a, b| pairs.contains(&(a, b)) || pairs.contains(&(b, a));
        Self::whole(hosts).but(|hears, sends| !linked(hears, sends))
    }

    /// Only those of one group hear each other.
    pub fn groups(groups: &[&[usize]]) -> Self {
        let hosts = groups.iter().map(|group| group.len()).sum();
        let group = |host| groups.iter().position(|group| group.contains(&host));
        Self::whole(hosts).but(|hears, sends| group(hears) != group(sends))
    }

    /// The links without those that are `cut`, which is asked of (who hears, who sends).
    pub fn but(mut self, cut: impl Fn(usize, usize) -> bool) -> Self {
        let all =
            (0..self.hosts).flat_map(|hears| (0..self.hosts).map(move |sends| (hears, sends)));
        self.cut.extend(all.filter(|&(hears, sends)| hears != sends && cut(hears, sends)));
        self
    }

    /// The links, with so many of a hundred datagrams lost on each.
    pub const fn lossy(mut self, percent: u8) -> Self {
        self.loss_percent = percent;
        self
    }

    /// The links, with so many of a hundred datagrams lost that `host` sends.
    pub const fn muffled(mut self, host: usize, percent: u8) -> Self {
        self.muffled = Some((host, percent));
        self
    }
}

impl Network {
    /// So many hosts on one bridge; `None` as of [`Net::new`].
    pub fn new(hosts: usize) -> Option<Self> {
        let centre = Net::new(&[])?;
        centre.ip("link add bridge type bridge");
        centre.ip("link set bridge up");
        let hosts = plugged_into(&centre, hosts)?;
        for host in 0..hosts.len() {
            centre.ip(&format!("link set port{host} master bridge up"));
        }
        Some(Self { hosts, relay: None, _centre: centre })
    }

    /// So many hosts with a [`Relay`] between them; `None` as of [`Net::new`].
    pub fn slow(hosts: usize, delay: Range<Duration>) -> Option<Self> {
        let centre = Net::new(&[])?;
        let hosts = plugged_into(&centre, hosts)?;
        centre.ip("route add local 10.77.0.0/24 dev lo table 77");
        for host in 0..hosts.len() {
            centre.ip(&format!("address add 10.77.1.1/32 dev port{host}"));
            centre.ip(&format!("link set port{host} up"));
            centre.ip(&format!("route add {}/32 dev port{host}", address(host)));
            centre.ip(&format!("rule add iif port{host} lookup 77 priority 7"));
        }
        let addresses: Vec<_> =
            (0..hosts.len()).map(|host| SocketAddr::new(address(host).into(), PORT)).collect();
        let relay = centre.within(|| Relay::start(&addresses, delay));
        Some(Self { hosts, relay: Some(relay), _centre: centre })
    }

    /// From now on a slow network delays by so much.
    pub fn set_delay(&self, delay: Range<Duration>) {
        self.relay.as_ref().expect("the network is a slow one").set_delay(delay);
    }

    /// Voters on the hosts, none of them started.
    pub fn cluster(&self, timing: Timing) -> Cluster {
        let http = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
        let host = |(host, net): (usize, &Arc<Net>)| Host {
            net: Arc::clone(net),
            address: address(host),
            http,
        };
        Cluster::new(timing, self.hosts.iter().enumerate().map(host).collect())
    }

    /// From now on the hosts hear each other as `links` says.
    pub fn set(&self, links: &Links) {
        for (hears, net) in self.hosts.iter().enumerate() {
            let mut rules = String::from(
                "add table inet cut\nadd chain inet cut input { type filter hook input priority 0; }\n\
                 flush chain inet cut input\n",
            );
            let mut add = |rule: &str| {
                rules.push_str("add rule inet cut input ");
                rules.push_str(rule);
                rules.push('\n');
            };
            for &(_, sends) in links.cut.iter().filter(|cut| cut.0 == hears) {
                add(&format!("ip saddr {} drop", address(sends)));
            }
            if let Some((sends, percent)) = links.muffled.filter(|muffled| muffled.0 != hears) {
                add(&format!("ip saddr {} numgen random mod 100 < {percent} drop", address(sends)));
            }
            if links.loss_percent > 0 {
                add(&format!("iif eth0 numgen random mod 100 < {} drop", links.loss_percent));
            }
            feed("ip", &["netns", "exec", net.name(), "nft", "-f", "-"], &rules);
        }
    }

    /// Everybody hears everybody again.
    pub fn heal(&self) {
        self.set(&Links::whole(self.hosts.len()));
    }

    /// Takes the link of a host down or up.
    pub fn link(&self, host: usize, state: &str) {
        self.hosts[host].ip(&format!("link set eth0 {state}"));
    }
}

/// So many hosts, each with a link to a port of `centre`.
fn plugged_into(centre: &Net, hosts: usize) -> Option<Vec<Arc<Net>>> {
    let plug = |host| {
        let net = Net::new(&[])?;
        centre.ip(&format!("link add port{host} type veth peer name eth0 netns {}", net.name()));
        net.ip(&format!("address add {}/24 dev eth0", address(host)));
        net.ip("link set eth0 up");
        Some(Arc::new(net))
    };
    (0..hosts).map(plug).collect()
}

/// The address of a host.
fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(host + 1).expect("few hosts"))
}
