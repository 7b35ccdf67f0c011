//! Whether the node on this machine leads, for a program to ask before everything it does as leader.
//!
//! A thread asks the node, at once when its events say that something has changed and otherwise a few
//! times per lease. The program asks a value in memory and the clock.
//!
//! Invariants:
//! 1. The end of a lease is counted from the sending of the question, on the clock that counts suspend;
//!    an answer that took long is worth less.
//! 2. Nothing that a program can ask is true after that end, whatever the thread or the node does.
//! 3. When the process that gave the answer is gone, the answer is gone: its next process may give up
//!    what it had.

use arc_swap::ArcSwapOption;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::io;
use std::sync::Arc;
use std::thread;
use tokio::sync::{Notify, watch};

use super::ask::{self, Node, Silence};
use super::sse;
use crate::config::DEFAULT_PORT;
use crate::driver::clock::{Clock as _, SystemClock, Timer, sleep_for};
use crate::time::Instant;

/// Where the node on this machine listens unless it is configured otherwise.
pub const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT);

/// How long an answer may take before the node counts as hung.
const PATIENCE: Duration = Duration::from_secs(2);

/// The shortest and the longest time between two questions on a node that leads.
const RENEW: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(2));

/// Between two questions on a node that does not lead, while its events are heard.
const IDLE: Duration = Duration::from_secs(2);

/// Likewise while they are not heard, or the node does not answer.
const RETRY: Duration = Duration::from_millis(100);

/// Who leads, as the node on this machine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub id: String,
    /// Where its HTTP server is, `host:port`.
    pub address: Option<String>,
    /// In which term it leads.
    pub term: u64,
}

/// What was known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether the node on this machine answers.
    pub attached: bool,
    /// The fencing token, when that node led.
    pub token: Option<u64>,
    /// Who led, as far as that node knew.
    pub leader: Option<Leader>,
}

/// The right to act as leader until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grant {
    term: u64,
    ends_at: Instant,
}

/// What the thread and the program share.
#[derive(Debug)]
struct Shared {
    grant: ArcSwapOption<Grant>,
    now: fn() -> Instant,
}

impl Shared {
    fn token_at(&self, now: Instant) -> Option<u64> {
        self.grant.load().as_ref().filter(|grant| now < grant.ends_at).map(|grant| grant.term)
    }
}

/// Whether the node on this machine leads.
///
/// Cheap to clone and to ask; every clone sees its own changes. The last one dropped ends the
/// thread. Only [`changed`](Self::changed) is asynchronous, on whatever runtime the program has or none.
///
/// A lease that ends by itself is never outlived: this is false before another node may lead. When the
/// leadership is *given up* early (the node is stopped, or an operator asks for an election), the next
/// leader may begin a few milliseconds before the program here has heard of it. What must not be
/// written by two has to compare [`token`](Self::token)s: see `examples/fencing.rs`.
///
/// # Examples
///
/// ```no_run
/// use ringrift_p2p::client::{LOCAL, Leadership};
///
/// let leadership = Leadership::attach(LOCAL)?;
/// loop {
///     if let Some(token) = leadership.token() {
///         println!("one piece of work, with the token {token}");
///     }
///     std::thread::sleep(std::time::Duration::from_millis(100));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
}

impl Leadership {
    /// Begins to ask the node that listens at `node`, which has to run under the same kernel: its
    /// clock is compared with this process's. [`LOCAL`] unless configured otherwise.
    ///
    /// The node need not run yet; until it answers, nobody leads.
    ///
    /// # Errors
    /// The thread or a descriptor cannot be had.
    pub fn attach(node: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let timer = {
            let _inside = runtime.enter();
            Timer::new()?
        };
        let shared = Arc::new(Shared { grant: ArcSwapOption::empty(), now: boot_clock });
        let (sender, standing) = watch::channel(Standing::default());
        let worker =
            Worker { shared: Arc::clone(&shared), standing: sender, granted: Notify::new() };
        thread::Builder::new().name("leadership".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = worker.ask_on(node) => {}
                    () = worker.expire(&timer) => {}
                    () = worker.standing.closed() => {}
                }
            });
            // Whatever ended it, nothing is renewed any more.
            worker.shared.grant.store(None);
        })?;
        Ok(Self { shared, standing })
    }

    /// Whether the node on this machine leads now. Asks the clock, and waits for nothing.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.token().is_some()
    }

    /// The fencing token while the node on this machine leads: the term. Every later leader has a higher
    /// one, so a resource that refuses a token below the highest it has seen is written by one leader at
    /// a time.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        self.shared.token_at((self.shared.now)())
    }

    /// What is known now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = self.standing.borrow().clone();
        standing.token = self.token();
        standing
    }

    /// Waits until who leads, or in which term, or whether the node answers has changed since the last
    /// call, and says what is known then. Several changes may come as one.
    ///
    /// The standing is of the past: ask [`is_leader`](Self::is_leader) before each piece of work.
    ///
    /// # Errors
    /// The thread has ended, which it does not do of itself; nobody leads any more here.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing: the change is seen by the next call.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn work(mut leadership: ringrift_p2p::client::Leadership) {
    /// while let Ok(standing) = leadership.changed().await {
    ///     match standing.token {
    ///         Some(token) => println!("this machine leads with the token {token}"),
    ///         None => println!("it does not; {:?} does", standing.leader),
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn changed(&mut self) -> io::Result<Standing> {
        let ended = |_| io::Error::other("the thread that asks the node has ended");
        self.standing.changed().await.map_err(ended)?;
        self.standing.borrow_and_update();
        Ok(self.standing())
    }
}

fn boot_clock() -> Instant {
    SystemClock.now()
}

/// The thread's side.
struct Worker {
    shared: Arc<Shared>,
    standing: watch::Sender<Standing>,
    /// A lease has begun or was renewed.
    granted: Notify,
}

impl Worker {
    /// Asks the node again and again.
    async fn ask_on(&self, at: SocketAddr) {
        let mut node = Node::new(at, PATIENCE);
        let mut events = Events { stream: None, reader: sse::Reader::new() };
        loop {
            let answer = node.ask(self.shared.now).await;
            let pause = self.take(answer);
            if events.stream.is_some() {
                events.changed_within(pause).await;
                continue;
            }
            // Its first event is the state, so what happened meanwhile is asked for at once.
            let stream = ask::follow(at, pause.min(PATIENCE)).await;
            events = Events { stream, reader: sse::Reader::new() };
            if events.stream.is_none() {
                tokio::time::sleep(pause.min(RETRY)).await;
            }
        }
    }

    /// Takes an answer; returns when to ask again.
    fn take(&self, answer: Result<(ask::Said, Instant), Silence>) -> Duration {
        let (attached, leader, pause) = match answer {
            Ok((said, sent)) => {
                let grant = said.leads.map(|(term, left)| Grant { term, ends_at: sent + left });
                self.shared.grant.store(grant.map(Arc::new));
                self.granted.notify_one();
                let (shortest, longest) = RENEW;
                let pause =
                    said.leads.map_or(IDLE, |(_, left)| (left / 4).clamp(shortest, longest));
                (true, said.leader, pause)
            }
            Err(Silence::Gone) => {
                self.shared.grant.store(None);
                (false, None, RETRY)
            }
            // The lease goes on to its end; nobody else can lead before.
            Err(Silence::Late) => (false, self.standing.borrow().leader.clone(), RETRY),
        };
        let token = self.shared.token_at((self.shared.now)());
        self.say(Standing { attached, token, leader });
        pause
    }

    /// Says when a lease has ended by itself.
    async fn expire(&self, timer: &Timer) {
        loop {
            let now = (self.shared.now)();
            let end = self.shared.grant.load().as_ref().map(|grant| grant.ends_at);
            if end.is_some_and(|end| end <= now) {
                let mut said = self.standing.borrow().clone();
                // Nobody is known to lead once this node's own lease has ended.
                if said.token.take().is_some() {
                    said.leader = None;
                }
                self.say(said);
            }
            let sleep = sleep_for(now, end.filter(|end| now < *end));
            tokio::select! {
                slept = timer.sleep(sleep) => if slept.is_err() { return },
                () = self.granted.notified() => {}
            }
        }
    }

    fn say(&self, said: Standing) {
        self.standing.send_if_modified(|standing| {
            let changed = *standing != said;
            *standing = said;
            changed
        });
    }
}

/// The node's events, which say when to ask.
struct Events {
    stream: Option<Incoming>,
    reader: sse::Reader,
}

impl Events {
    /// Waits until something happens that has to do with the leader, or so long; a stream that has
    /// ended counts as something.
    async fn changed_within(&mut self, pause: Duration) {
        let changed = async {
            while let Some(stream) = &mut self.stream {
                let piece = stream.frame().await.and_then(Result::ok);
                let piece = piece.and_then(|frame| frame.into_data().ok());
                let told = piece.and_then(|bytes| self.reader.read(&bytes).ok());
                match told {
                    Some(events) if events.iter().any(concerns_leader) => return,
                    Some(_) => {}
                    None => self.stream = None,
                }
            }
        };
        // Cancelled or not, no piece is lost: a frame is taken whole or not at all.
        let _ = tokio::time::timeout(pause, changed).await;
    }
}

fn concerns_leader(event: &sse::Event) -> bool {
    let names =
        ["leader_changed", "leadership_gained", "leadership_lost", "term_raised", "state", "reset"];
    names.contains(&event.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Instant> = const { Cell::new(Instant::from_nanos(1_000_000_000)) };
    }

    fn now() -> Instant {
        NOW.get()
    }

    fn pass(millis: u64) {
        NOW.set(NOW.get() + Duration::from_millis(millis));
    }

    fn pair(clock: fn() -> Instant) -> (Worker, Leadership) {
        let shared = Arc::new(Shared { grant: ArcSwapOption::empty(), now: clock });
        let (sender, standing) = watch::channel(Standing::default());
        let worker =
            Worker { shared: Arc::clone(&shared), standing: sender, granted: Notify::new() };
        (worker, Leadership { shared, standing })
    }

    fn leads(term: u64, millis: u64) -> ask::Said {
        let leader = Leader { id: "a".to_owned(), address: None, term };
        ask::Said { leads: Some((term, Duration::from_millis(millis))), leader: Some(leader) }
    }

    /// Invariant 1.
    #[test]
    fn the_lease_counts_from_the_question() {
        let (worker, leadership) = pair(now);
        let sent = now();
        pass(600);
        worker.take(Ok((leads(7, 1_000), sent)));
        assert_eq!(leadership.token(), Some(7));
        pass(399);
        assert!(leadership.is_leader());
        pass(1);
        assert!(!leadership.is_leader());
        // An answer that took longer than the lease is worth nothing.
        let sent = now();
        pass(1_000);
        worker.take(Ok((leads(7, 1_000), sent)));
        assert_eq!((leadership.token(), leadership.standing().token), (None, None));
    }

    /// Invariant 2.
    #[test]
    fn a_node_that_is_silent_extends_nothing() {
        let (worker, leadership) = pair(now);
        worker.take(Ok((leads(7, 1_000), now())));
        pass(999);
        worker.take(Err(Silence::Late));
        assert!(leadership.is_leader());
        pass(1);
        worker.take(Err(Silence::Late));
        assert!(!leadership.is_leader());
    }

    /// Invariant 3.
    #[test]
    fn when_the_node_is_gone_so_is_what_it_said() {
        let (worker, leadership) = pair(now);
        worker.take(Ok((leads(7, 1_000), now())));
        worker.take(Err(Silence::Gone));
        assert_eq!(leadership.token(), None);
        assert_eq!(leadership.standing(), Standing::default());
    }

    #[test]
    fn a_leader_that_leads_no_more_is_believed_at_once() {
        let (worker, leadership) = pair(now);
        worker.take(Ok((leads(7, 1_000), now())));
        worker.take(Ok((ask::Said { leads: None, ..leads(8, 0) }, now())));
        assert_eq!(leadership.token(), None);
        assert_eq!(leadership.standing().leader.map(|leader| leader.term), Some(8));
    }

    #[test]
    fn it_asks_again_well_before_the_lease_ends() {
        let (worker, _leadership) = pair(now);
        for millis in [100, 400, 60_000] {
            let pause = worker.take(Ok((leads(7, millis), now())));
            assert!(pause * 4 <= Duration::from_millis(millis), "{pause:?}");
            assert!(pause >= RENEW.0);
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_not_lost_by_cancelling() {
        let (worker, mut leadership) = pair(now);
        let mut other = leadership.clone();
        worker.take(Ok((leads(7, 1_000), now())));
        tokio::select! {
            biased;
            () = core::future::ready(()) => {}
            _ = leadership.changed() => {}
        }
        assert_eq!(leadership.changed().await.unwrap().token, Some(7));
        // A renewal is no change.
        worker.take(Ok((leads(7, 1_000), now())));
        tokio::select! {
            biased;
            _ = leadership.changed() => panic!("nothing has changed"),
            () = core::future::ready(()) => {}
        }
        assert_eq!(other.changed().await.unwrap().token, Some(7));
        drop(worker);
        assert!(leadership.changed().await.is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_lease_is_a_change() {
        let (worker, mut leadership) = pair(boot_clock);
        worker.take(Ok((leads(7, 30), boot_clock())));
        leadership.changed().await.unwrap();
        let timer = Timer::new().unwrap();
        tokio::select! {
            () = worker.expire(&timer) => panic!("it has no end"),
            standing = leadership.changed() => {
                let standing = standing.unwrap();
                assert_eq!((standing.token, standing.leader), (None, None));
                assert!(standing.attached);
            }
        }
    }

    #[test]
    fn the_last_one_dropped_ends_the_thread() {
        let leadership = Leadership::attach(SocketAddr::from(([127, 0, 0, 1], 1))).unwrap();
        let shared = Arc::downgrade(&leadership.shared);
        let other = leadership.clone();
        drop(leadership);
        assert!(!other.is_leader());
        drop(other);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while shared.upgrade().is_some() {
            assert!(std::time::Instant::now() < end, "the thread goes on");
            thread::yield_now();
        }
    }
}
