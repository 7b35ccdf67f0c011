//! What a socket of a host binds, as the file says it.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

/// How long a start waits for the address of Tailscale, where the file does not say.
const TAILSCALE_WAIT: Duration = Duration::from_secs(60);

/// What a socket binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// This address; an unspecified one stands for all of the machine.
    Ip(IpAddr),
    /// The address that Tailscale gives this machine.
    Tailscale,
}

impl Bind {
    /// How long a start waits for these to be there, unless the file says otherwise.
    #[must_use]
    pub(super) fn usual_wait(binds: [Option<Self>; 2]) -> Duration {
        if binds.contains(&Some(Self::Tailscale)) { TAILSCALE_WAIT } else { Duration::ZERO }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Tailscale => f.write_str("tailscale"),
        }
    }
}
