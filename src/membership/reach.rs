//! Addresses that mean nothing here: where no datagram for a peer can be sent.
//!
//! Decides which addresses are never used, whoever names them: a resolver, or a peer that speaks of
//! itself. It does not decide which of the others is a member's; `contact` does.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Why an address is of no use to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is of every machine; only a cluster on loopback speaks over it.
    Loopback,
    /// It stands for every address of a machine.
    Wildcard,
    /// It is of a group.
    Multicast,
    /// It is of everybody on the link.
    Broadcast,
    /// It means something on one link only.
    LinkLocal,
    /// It has port 0.
    NoPort,
    /// It is this node's own.
    Own,
}

impl Unusable {
    /// The word for logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::Wildcard => "the wildcard address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::LinkLocal => "an address of one link only",
            Self::NoPort => "port 0",
            Self::Own => "this node's own address",
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a node that takes datagrams at `own` does not send to a peer at `address`; `None` if it does.
#[must_use]
pub fn unusable(address: SocketAddr, own: SocketAddr) -> Option<Unusable> {
    let ip = address.ip().to_canonical();
    let own_ip = own.ip().to_canonical();
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
        || matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    if address.port() == 0 {
        Some(Unusable::NoPort)
    } else if ip.is_unspecified() {
        Some(Unusable::Wildcard)
    } else if ip.is_multicast() {
        Some(Unusable::Multicast)
    } else if matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        Some(Unusable::Broadcast)
    } else if link_local {
        Some(Unusable::LinkLocal)
    } else if (ip, address.port()) == (own_ip, own.port()) {
        Some(Unusable::Own)
    } else if ip.is_loopback() && !own_ip.is_loopback() {
        Some(Unusable::Loopback)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(address: &str, own: &str) -> Option<Unusable> {
        unusable(address.parse().expect("an address"), own.parse().expect("an address"))
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_of_no_use() {
        let own = "10.0.0.1:8770";
        for (address, why) in [
            ("127.0.0.1:8770", Unusable::Loopback),
            ("127.0.1.1:8770", Unusable::Loopback),
            ("[::1]:8770", Unusable::Loopback),
            ("[::ffff:127.0.0.1]:8770", Unusable::Loopback),
            ("0.0.0.0:8770", Unusable::Wildcard),
            ("[::]:8770", Unusable::Wildcard),
            ("224.0.0.1:8770", Unusable::Multicast),
            ("[ff02::1]:8770", Unusable::Multicast),
            ("255.255.255.255:8770", Unusable::Broadcast),
            ("[fe80::1]:8770", Unusable::LinkLocal),
            ("[2001:db8::1%7]:8770", Unusable::LinkLocal),
            ("10.0.0.2:0", Unusable::NoPort),
            ("10.0.0.1:8770", Unusable::Own),
        ] {
            assert_eq!(judged(address, own), Some(why), "{address}");
        }
        for address in ["10.0.0.1:8771", "10.0.0.2:8770", "[fd7a::1]:8770", "169.254.1.1:1"] {
            assert_eq!(judged(address, own), None, "{address}");
        }
    }

    #[test]
    fn a_cluster_on_loopback_speaks_over_loopback() {
        assert_eq!(judged("127.0.0.2:8770", "127.0.0.1:8770"), None);
        assert_eq!(judged("[::1]:8771", "[::1]:8770"), None);
        assert_eq!(judged("127.0.0.1:8770", "127.0.0.1:8770"), Some(Unusable::Own));
        assert_eq!(judged("127.0.0.2:8770", "0.0.0.0:8770"), Some(Unusable::Loopback));
    }
}
