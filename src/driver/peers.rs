//! Names of peers: looked up away from the loop, again and again.
//!
//! Decides when a name is looked up. What its addresses mean, and which of them counts, is the node's
//! business.
//!
//! 1. A name whose peer answers is looked up every [`REFRESH`]; one whose peer was not yet heard of or
//!    is lost at once, and then after twice as long each time.
//! 2. A name has one look-up at a time, and a resolver that hangs holds up so many names as are looked up at once.
//! 3. A look-up that fails takes no address away.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore, mpsc};
use tracing::{debug, info, warn};

use crate::membership::MAX_ADDRESSES;

/// Time until a name is looked up again whose peer answers.
pub const REFRESH: Duration = Duration::from_secs(60);

/// Time until a name is looked up again whose peer does not answer, the first time; it doubles up to
/// [`REFRESH`].
pub const FIRST_RETRY: Duration = Duration::from_secs(1);

/// After so long a look-up is called slow.
const SLOW: Duration = Duration::from_secs(5);

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

/// Whether a peer is lost, and a way to wake its task.
#[derive(Debug)]
struct Watched {
    lost: AtomicBool,
    wake: Notify,
}

/// The peers whose names are looked up.
#[derive(Clone, Debug, Default)]
pub struct Names {
    all: Arc<BTreeMap<NodeId, Watched>>,
}

impl Names {
    /// A peer is suspected or dead: its name may have another address by now.
    pub fn lost(&self, peer: NodeId) {
        if let Some(watched) = self.all.get(&peer)
            && !watched.lost.swap(true, Ordering::Relaxed)
        {
            watched.wake.notify_one();
        }
    }

    /// A peer answers.
    pub fn found(&self, peer: NodeId) {
        if let Some(watched) = self.all.get(&peer) {
            watched.lost.store(false, Ordering::Relaxed);
        }
    }
}

/// Looks a name up; how is the caller's choice, so that tests need no resolver.
pub trait Resolver: Clone + Send + 'static {
    /// The addresses of a name, the preferred one first. It may take long; it must not block.
    ///
    /// # Errors
    /// What the resolver says.
    fn look_up(
        &self,
        name: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// Starts to look up all names for ever; what changes goes to `found`. Addresses that the socket cannot
/// send to, as `speaks_to` says, are left out. Tasks of the current runtime.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn(
    names: Vec<Named>,
    resolver: impl Resolver + Sync,
    speaks_to: impl Fn(SocketAddr) -> bool + Clone + Send + Sync + 'static,
    found: &mpsc::Sender<(NodeId, Vec<SocketAddr>)>,
) -> Names {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let watched = || Watched { lost: AtomicBool::new(true), wake: Notify::new() };
    let all = names.iter().map(|named| (named.peer, watched())).collect();
    let all = Names { all: Arc::new(all) };
    for named in names {
        let task = Task {
            named,
            resolver: resolver.clone(),
            speaks_to: speaks_to.clone(),
            turns: Arc::clone(&turns),
            found: found.clone(),
            all: all.clone(),
        };
        tokio::spawn(task.follow());
    }
    all
}

struct Task<R, S> {
    named: Named,
    resolver: R,
    speaks_to: S,
    turns: Arc<Semaphore>,
    found: mpsc::Sender<(NodeId, Vec<SocketAddr>)>,
    all: Names,
}

impl<R: Resolver + Sync, S: Fn(SocketAddr) -> bool> Task<R, S> {
    async fn follow(self) {
        let Named { peer, name, .. } = &self.named;
        let mut known = BTreeSet::new();
        let mut retry = FIRST_RETRY;
        loop {
            let Ok(turn) = self.turns.acquire().await else { return };
            let addresses = self.look_up().await;
            drop(turn);
            let addresses = match addresses {
                Ok(all) => self.usable(all),
                Err(error) if retry == FIRST_RETRY => {
                    warn!(%peer, name, %error, "peer's name not found; trying again");
                    Vec::new()
                }
                Err(error) => {
                    debug!(%peer, name, %error, "peer's name not found");
                    Vec::new()
                }
            };
            let missing = addresses.is_empty();
            // The same ones in another order are no change.
            let set: BTreeSet<SocketAddr> = addresses.iter().copied().collect();
            if !missing && set != known {
                info!(%peer, name, ?addresses, "peer's name resolved");
                known = set;
                if self.found.send((*peer, addresses)).await.is_err() {
                    return;
                }
            }
            let Some(watched) = self.all.all.get(peer) else { return };
            let pause = if missing || watched.lost.load(Ordering::Relaxed) {
                let pause = retry;
                retry = (retry * 2).min(REFRESH);
                pause
            } else {
                retry = FIRST_RETRY;
                REFRESH
            };
            // However often a peer is lost: one look-up a second at most.
            tokio::time::sleep(FIRST_RETRY).await;
            let rest = pause.saturating_sub(FIRST_RETRY);
            if tokio::time::timeout(rest, watched.wake.notified()).await.is_ok() {
                retry = FIRST_RETRY;
            }
        }
    }

    async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        let Named { peer, name, port } = &self.named;
        let mut answer = core::pin::pin!(self.resolver.look_up(name, *port));
        if let Ok(answer) = tokio::time::timeout(SLOW, &mut answer).await {
            return answer;
        }
        warn!(%peer, name, "the resolver is slow");
        answer.await
    }

    fn usable(&self, mut all: Vec<SocketAddr>) -> Vec<SocketAddr> {
        all.retain(|address| (self.speaks_to)(*address));
        all.truncate(MAX_ADDRESSES);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::time::Instant;

    /// A resolver that says what it is told to, and when it was asked.
    #[derive(Clone, Default)]
    struct Script {
        says: Arc<Mutex<Vec<SocketAddr>>>,
        asked: Arc<Mutex<Vec<Instant>>>,
        takes: Arc<Mutex<Duration>>,
    }

    impl Script {
        fn say(&self, addresses: &[&str]) {
            *self.says.lock().unwrap() =
                addresses.iter().map(|text| text.parse().unwrap()).collect();
        }

        /// Seconds from the start to each look-up so far.
        fn asked_at(&self, start: Instant) -> Vec<u64> {
            self.asked.lock().unwrap().iter().map(|at| (*at - start).as_secs()).collect()
        }
    }

    impl Resolver for Script {
        async fn look_up(&self, _name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
            self.asked.lock().unwrap().push(Instant::now());
            let takes = *self.takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            let all = self.says.lock().unwrap().clone();
            if all.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(all) }
        }
    }

    type Told = mpsc::Receiver<(NodeId, Vec<SocketAddr>)>;

    fn begin(script: &Script, speaks_to: fn(SocketAddr) -> bool) -> (Names, Told, NodeId) {
        let (found, told) = mpsc::channel(4);
        let peer = "a".parse().unwrap();
        let named = Named { peer, name: "a.example".to_owned(), port: 7 };
        (spawn(vec![named], script.clone(), speaks_to, &found), told, peer)
    }

    fn all(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_is_absent_at_boot_is_asked_ever_less_often_until_it_is_there() {
        let (script, start) = (Script::default(), Instant::now());
        let (_names, mut told, peer) = begin(&script, |_| true);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(script.asked_at(start), [0, 1, 3, 7, 15, 31]);
        script.say(&["10.0.0.1:7"]);
        assert_eq!(told.recv().await, Some((peer, all(&["10.0.0.1:7"]))));
        assert_eq!((Instant::now() - start).as_secs(), 63);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_looked_up_every_minute_and_at_once_when_its_peer_is_lost() {
        let (script, start) = (Script::default(), Instant::now());
        script.say(&["10.0.0.1:7", "[fd7a::1]:7"]);
        let (names, mut told, peer) = begin(&script, |_| true);
        names.found(peer);
        assert_eq!(told.recv().await, Some((peer, all(&["10.0.0.1:7", "[fd7a::1]:7"]))));
        // In another order they are the same.
        script.say(&["[fd7a::1]:7", "10.0.0.1:7"]);
        tokio::time::sleep(Duration::from_millis(90_500)).await;
        assert_eq!(script.asked_at(start), [0, 60]);
        script.say(&["10.0.0.2:7"]);
        names.lost(peer);
        assert_eq!(told.recv().await, Some((peer, all(&["10.0.0.2:7"]))));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(script.asked_at(start), [0, 60, 90, 91, 93, 97]);
        assert!(told.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_flaps_has_its_name_looked_up_once_a_second_at_most() {
        let (script, start) = (Script::default(), Instant::now());
        script.say(&["10.0.0.1:7"]);
        let (names, _told, peer) = begin(&script, |_| true);
        for _ in 0..100 {
            names.found(peer);
            tokio::time::sleep(Duration::from_millis(50)).await;
            names.lost(peer);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let asked = script.asked_at(start).len();
        assert!((9..=11).contains(&asked), "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_resolver_has_one_question_at_a_time() {
        let (script, start) = (Script::default(), Instant::now());
        script.say(&["10.0.0.1:7"]);
        *script.takes.lock().unwrap() = Duration::from_secs(100);
        let (_names, mut told, _) = begin(&script, |_| true);
        assert!(told.recv().await.is_some());
        assert_eq!(script.asked_at(start), [0]);
        assert_eq!((Instant::now() - start).as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_a_family_that_the_socket_does_not_speak_are_left_out() {
        let script = Script::default();
        script.say(&["[::1]:7", "10.0.0.1:7"]);
        let (_names, mut told, peer) = begin(&script, |address| address.is_ipv4());
        assert_eq!(told.recv().await, Some((peer, all(&["10.0.0.1:7"]))));
    }
}
