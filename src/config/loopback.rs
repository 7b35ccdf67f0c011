//! Clusters that live on one machine: the built-in one, and any other moved to 127.0.0.0/8.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use super::convert::parse;
use super::error::ConfigErrors;
use super::{Address, Config, DEFAULT_PORT, Host, Loaded};

const BUILT_IN: &str = include_str!("../../config/loopback.yaml");

/// How the voters of one machine are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// 127.0.0.1, 127.0.0.2, ... with the ports of the file.
    Addresses,
    /// 127.0.0.1 with the ports 8770, 8771, ...: for machines that bind no other loopback address.
    Ports,
}

/// The built-in configuration: the five voters of `config/loopback.yaml`.
///
/// # Errors
/// Never, unless the program was built with a broken file.
pub fn loopback() -> Result<Loaded, ConfigErrors> {
    parse(BUILT_IN)
}

/// The voters of a configuration, moved to this machine in the order of the voter list. Timings,
/// priorities and GPUs stay; hosts that are no voters, binds and the state folder go.
#[must_use]
pub fn on_loopback(config: &Config, layout: Layout) -> Config {
    let mut moved = config.clone();
    moved.http.bind = None;
    moved.data_dir = None;
    moved.hosts.clear();
    // The voter list is far shorter than 254 addresses.
    for (number, id) in (1_u8..=254).zip(&config.voters) {
        let known = config.hosts.get(id).cloned();
        let mut host = known
            .unwrap_or_else(|| Host::named(Address::Name(id.as_str().to_owned()), &config.http));
        host.bind = None;
        host.http_bind = None;
        host.bind_wait = Duration::ZERO;
        host.tailscale_ip = None;
        let last = match layout {
            Layout::Addresses => number,
            Layout::Ports => {
                host.port = DEFAULT_PORT + u16::from(number - 1);
                host.http_port = host.port;
                1
            }
        };
        host.address = Address::Ip(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        moved.hosts.insert(*id, host);
    }
    moved
}
