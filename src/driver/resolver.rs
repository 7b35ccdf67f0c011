//! The addresses of a name: what the system says, and where that is nothing, what Tailscale says.
//!
//! Decides whom to ask. MagicDNS is part of the system where Tailscale may set the resolver; where it may not, the
//! program `tailscale` knows the same names.
//!
//! 1. Neither the system nor the program is waited for on the loop.
//! 2. However many names are looked up, the program runs once at a time, and its answer serves all for a while.

use core::cell::OnceCell;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::peers::Resolver;
use super::tailscale::{self, Tailscale};

/// For so long an answer of Tailscale serves other names.
const FRESH: Duration = Duration::from_secs(5);

/// What Tailscale said, and when.
type Said = (Instant, Option<Tailscale>);

/// The resolver of the system, on threads of its own, and Tailscale behind it.
#[derive(Clone, Debug, Default)]
pub struct SystemResolver {
    said: Arc<Mutex<Option<Said>>>,
}

impl Resolver for SystemResolver {
    async fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = tokio::net::lookup_host((name, port)).await.map(Iterator::collect::<Vec<_>>);
        if found.as_ref().is_ok_and(|all| !all.is_empty()) {
            return found;
        }
        let all = self.by_tailscale(name).await;
        if all.is_empty() {
            return found;
        }
        debug!(name, "the name is one of Tailscale's");
        Ok(all.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}

impl SystemResolver {
    async fn by_tailscale(&self, name: &str) -> Vec<IpAddr> {
        // Whoever comes meanwhile waits for the answer that is under way.
        let mut said = self.said.lock().await;
        if said.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH) {
            // To start a program may take a while, too.
            let answer = tokio::task::spawn_blocking(|| tailscale::ask_and_wait(true)).await;
            *said = Some((Instant::now(), answer.ok().flatten()));
        }
        let known = said.as_ref().and_then(|(_, known)| known.as_ref());
        known.map(|it| it.look_up(name).to_vec()).unwrap_or_default()
    }
}

/// The same for a thread that waits; the program is asked once.
#[derive(Debug, Default)]
pub(super) struct WaitingResolver {
    said: OnceCell<Option<Tailscale>>,
}

impl WaitingResolver {
    /// The addresses of a name; none where nobody knows any.
    pub(super) fn look_up(&self, name: &str, port: u16) -> Vec<IpAddr> {
        let found = (name, port).to_socket_addrs().into_iter().flatten();
        let found: Vec<_> = found.map(|it| it.ip().to_canonical()).collect();
        if !found.is_empty() {
            return found;
        }
        let said = self.said.get_or_init(|| tailscale::ask_and_wait(true));
        said.as_ref().map(|it| it.look_up(name).to_vec()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_resolver_of_the_system_takes_an_address_for_a_name() {
        let found = SystemResolver::default().look_up("127.0.0.9", 7).await.unwrap();
        assert_eq!(found, ["127.0.0.9:7".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_an_error() {
        assert!(SystemResolver::default().look_up("nowhere.invalid", 7).await.is_err());
    }
}
