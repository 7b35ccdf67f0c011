//! The judge of leadership: asks every node all the time whether it leads, and rules on the answers.
//!
//! A thread for each node, in that node's namespace, asks `GET /leader` over a kept connection every
//! 5 ms. A 200 is a [`Claim`]: at some instant between the sending of the request and the reading of the answer, that
//! node led in that term. Nothing more is known of the instant, so the judge only condemns what no
//! choice of instants can excuse; a pause of this machine widens the window and never condemns.
//!
//! A node that led twice in one term led all the time between, since no lease comes back in its term.
//! So all claims of one (node, term) are one [`Tenure`], which began no later than the first answer was
//! read and lasted until the last request was sent at least.
//!
//! 1. One node a term.
//! 2. Of two tenures of two nodes, one can have ended before the other began.
//! 3. The one that surely began later has the higher term.
//! 4. Where nobody gave its lease up early, nobody else led before the time left that the last
//!    answers named had passed. Only tests without a graceful stop, a trigger or a change ask for this.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::http::Client;
use super::net::Net;

/// Between an answer and the next request to the same node.
const PERIOD: Duration = Duration::from_millis(5);

/// One answer of 200.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Which node said it, as an index.
    pub node: usize,
    /// The term that it named.
    pub term: u64,
    /// When the request left.
    pub sent: Instant,
    /// When the answer was read.
    pub read: Instant,
    /// What it said was left of its lease, rounded down.
    pub left: Duration,
}

/// What is known of one node's leadership in one term.
#[derive(Clone, Copy, Debug)]
pub struct Tenure {
    /// Who, as an index.
    pub node: usize,
    /// In which term.
    pub term: u64,
    /// It had begun by then.
    pub began_by: Instant,
    /// It had not ended by then.
    pub lasted_to: Instant,
    /// It would not end before then, unless given up.
    pub granted_to: Instant,
}

/// The tenures of these claims, in the order of their terms.
pub fn tenures(claims: &[Claim]) -> Vec<Tenure> {
    let mut found: BTreeMap<(u64, usize), Tenure> = BTreeMap::new();
    for claim in claims {
        let granted_to = claim.sent + claim.left;
        let tenure = found.entry((claim.term, claim.node)).or_insert(Tenure {
            node: claim.node,
            term: claim.term,
            began_by: claim.read,
            lasted_to: claim.sent,
            granted_to,
        });
        tenure.began_by = tenure.began_by.min(claim.read);
        tenure.lasted_to = tenure.lasted_to.max(claim.sent);
        tenure.granted_to = tenure.granted_to.max(granted_to);
    }
    found.into_values().collect()
}

/// What is wrong with these tenures by rules 1 to 3, and by rule 4 if `nobody_gave_up`.
pub fn wrongs(tenures: &[Tenure], nobody_gave_up: bool) -> Vec<String> {
    let mut wrongs = Vec::new();
    for (at, one) in tenures.iter().enumerate() {
        for other in &tenures[at + 1..] {
            let one_first = one.lasted_to <= other.began_by;
            let other_first = other.lasted_to <= one.began_by;
            let what = if one.node != other.node && one.term == other.term {
                "two nodes in one term"
            } else if one.node != other.node && !one_first && !other_first {
                "two nodes at one instant"
            } else if !one_first && other_first {
                // The list is sorted by term.
                "a later leader with a lower term"
            } else if nobody_gave_up && one.node != other.node && one.granted_to > other.began_by {
                "a leader within the lease of the one before"
            } else {
                continue;
            };
            wrongs.push(format!("{what}:\n  {one:?}\n  {other:?}"));
        }
    }
    wrongs
}

/// The threads that ask, and what they were told.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Claim>>>,
    answers: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Watches these nodes from now on.
    pub fn start(nodes: impl IntoIterator<Item = (Arc<Net>, SocketAddr)>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut answers, mut threads) = (Vec::new(), Vec::new());
        for (node, (net, http)) in nodes.into_iter().enumerate() {
            let count = Arc::new(AtomicU64::new(0));
            answers.push(Arc::clone(&count));
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            threads.push(thread::spawn(move || {
                net.enter();
                ask(node, http, &stop, &seen, &count);
            }));
        }
        Self { stop, seen, answers, threads }
    }

    /// Every claim so far.
    pub fn claims(&self) -> Vec<Claim> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many answers, of whatever kind, `node` has given so far.
    pub fn answers(&self, node: usize) -> u64 {
        self.answers[node].load(Ordering::Relaxed)
    }

    /// Ends the watch and passes judgement.
    ///
    /// # Panics
    /// With all that was wrong, or if some node was never heard: then it has proven nothing.
    #[track_caller]
    pub fn judge(self, nobody_gave_up: bool) -> Vec<Tenure> {
        let mute: Vec<_> =
            (0..self.answers.len()).filter(|&node| self.answers(node) == 0).collect();
        assert!(mute.is_empty(), "the nodes {mute:?} never answered the watch");
        let tenures = tenures(&self.claims());
        let wrongs = wrongs(&tenures, nobody_gave_up);
        assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
        tenures
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a thread of the watch panicked");
        }
        if thread::panicking() {
            // What was seen may explain why the test failed.
            let tenures = tenures(&self.claims());
            tenures.iter().for_each(|tenure| eprintln!("{tenure:?}"));
            wrongs(&tenures, false).iter().for_each(|wrong| eprintln!("{wrong}"));
        }
    }
}

fn ask(
    node: usize,
    http: SocketAddr,
    stop: &AtomicBool,
    seen: &Mutex<Vec<Claim>>,
    count: &AtomicU64,
) {
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(PERIOD);
        let Some(open) = client.as_mut() else {
            client = Client::connect(http).ok();
            continue;
        };
        let sent = Instant::now();
        let answer = Client::request(open, "GET", "/leader", || stop.load(Ordering::Relaxed));
        let read = Instant::now();
        let Ok(answer) = answer else {
            client = None;
            continue;
        };
        count.fetch_add(1, Ordering::Relaxed);
        if answer.status == 200 {
            let number = |name| answer.header(name).and_then(|text| text.parse::<u64>().ok());
            let term = number("x-leader-term").expect("a 200 of /leader has X-Leader-Term");
            let left = number("x-lease-remaining-ms").expect("a 200 has X-Lease-Remaining-Ms");
            let claim = Claim { node, term, sent, read, left: Duration::from_millis(left) };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
        }
    }
}
