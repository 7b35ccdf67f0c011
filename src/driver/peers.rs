//! Names of peers: resolved away from the loop, again and again.
//!
//! Decides when a name is looked up and which of its addresses counts. What a new address means is
//! the node's business.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, info, warn};

/// Time until a name that was found is looked up again.
pub const REFRESH: Duration = Duration::from_secs(60);

/// Time until a name that was not found is looked up again, the first time; it doubles up to
/// [`REFRESH`].
pub const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The most look-ups at once.
const AT_ONCE: usize = 16;

/// A peer whose address is a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Who.
    pub peer: NodeId,
    /// The name to look up.
    pub name: String,
    /// The port that goes with it.
    pub port: u16,
}

/// Starts to look up all names for ever; changes go to `found`. Tasks of the current runtime, which
/// does the look-ups on threads of their own.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn(
    names: Vec<Named>,
    speaks_to: impl Fn(SocketAddr) -> bool + Clone + Send + 'static,
    found: &mpsc::Sender<(NodeId, SocketAddr)>,
) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    for named in names {
        tokio::spawn(follow(named, speaks_to.clone(), Arc::clone(&turns), found.clone()));
    }
}

async fn follow(
    named: Named,
    speaks_to: impl Fn(SocketAddr) -> bool,
    turns: Arc<Semaphore>,
    found: mpsc::Sender<(NodeId, SocketAddr)>,
) {
    let Named { peer, name, port } = named;
    let mut known = None;
    let mut retry = FIRST_RETRY;
    loop {
        let Ok(turn) = turns.acquire().await else { return };
        let addresses = tokio::net::lookup_host((name.as_str(), port)).await;
        drop(turn);
        let chosen = addresses.map(|all| choose(all, known, &speaks_to));
        let pause = match chosen {
            Ok(Some(address)) => {
                if known != Some(address) {
                    info!(%peer, name, %address, "peer's name resolved");
                    known = Some(address);
                    if found.send((peer, address)).await.is_err() {
                        return;
                    }
                }
                retry = FIRST_RETRY;
                REFRESH
            }
            missing => {
                match missing {
                    Err(error) if retry == FIRST_RETRY => {
                        warn!(%peer, name, %error, "peer's name not found; trying again");
                    }
                    Err(error) => debug!(%peer, name, %error, "peer's name not found"),
                    Ok(_) => debug!(%peer, name, "peer's name has no address of our family"),
                }
                let pause = retry;
                retry = (retry * 2).min(REFRESH);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The known address for as long as the name has it, else the first that can be spoken to.
fn choose(
    all: impl Iterator<Item = SocketAddr>,
    known: Option<SocketAddr>,
    speaks_to: impl Fn(SocketAddr) -> bool,
) -> Option<SocketAddr> {
    let mut usable = all.filter(|address| speaks_to(*address)).peekable();
    let first = usable.peek().copied();
    usable.find(|address| Some(*address) == known).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_address_that_can_be_spoken_to_counts() {
        let addresses = all(&["[::1]:8770", "10.0.0.1:8770", "10.0.0.2:8770"]);
        let first = |known, speaks_to: fn(SocketAddr) -> bool| {
            choose(addresses.iter().copied(), known, speaks_to)
        };
        assert_eq!(first(None, |_| true), Some(addresses[0]));
        assert_eq!(first(None, |address| address.is_ipv4()), Some(addresses[1]));
        assert_eq!(first(None, |_| false), None);
    }

    #[test]
    fn an_address_stays_while_the_name_has_it() {
        let addresses = all(&["10.0.0.1:8770", "10.0.0.2:8770"]);
        let gone = "10.0.0.3:8770".parse().ok();
        let choose = |known| choose(addresses.iter().copied(), known, |_| true);
        assert_eq!(choose(Some(addresses[1])), Some(addresses[1]));
        assert_eq!(choose(gone), Some(addresses[0]));
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_told_once() {
        let (found, mut told) = mpsc::channel(4);
        let peer = "a".parse().unwrap();
        let named = Named { peer, name: "127.0.0.9".to_owned(), port: 7 };
        spawn(vec![named], |_| true, &found);
        assert_eq!(told.recv().await, Some((peer, "127.0.0.9:7".parse().unwrap())));
        assert!(told.try_recv().is_err());
    }
}
