//! The service manager: told when the node is ready, that its loop turns, whom it follows, and that it stops.
//!
//! Speaks the protocol of sd_notify(3), over the datagram socket that the manager names in `NOTIFY_SOCKET`. Under a
//! guardian it is still the node that tells, since only the node knows whether its loop turns; the guardian stays the
//! manager's main process, because it has to outlive the node. What the manager does then is its own affair.
//!
//! 1. Telling never waits: what a manager does not take now is told again a little later.
//! 2. Only a turn of the protocol loop feeds the watchdog. No thread and no timer does it beside the loop.
//! 3. What a node starts does not inherit the way to the manager: see [`VARIABLES`].

use core::time::Duration;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixDatagram;
use tracing::debug;

use crate::node::Status;
use crate::telemetry::View;
use crate::time::Instant;

/// What a manager puts into the environment: where it is told, how long it waits for the watchdog, and whose watchdog
/// it is. Hooks and commands are started without them.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The longest time for which a manager does not hear whom the node follows, if that has changed.
const NEWS_EVERY: Duration = Duration::from_secs(1);

/// Until a manager that took nothing is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The way to the service manager; without one, nobody is told and nothing is done.
#[derive(Debug, Default)]
pub struct Manager {
    line: Option<Line>,
}

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    /// Between two words.
    every: Duration,
    /// The manager waits for its watchdog.
    fed: bool,
    next: Instant,
    ready: bool,
    stopping: bool,
    told: String,
}

impl Manager {
    /// The manager that this process finds in its environment.
    ///
    /// A watchdog that is meant for another process (`WATCHDOG_PID`) is that one's business.
    #[must_use]
    pub fn of_process() -> Self {
        let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self::default();
        };
        let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&it| mine && it > 0);
        match connect(&path) {
            Ok(socket) => Self::new(socket, watchdog.map(Duration::from_micros)),
            Err(error) => {
                debug!(%error, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// A manager behind this connected socket, which must not block, that waits so long for its watchdog: it is fed
    /// three times in that, or more often.
    #[must_use]
    pub fn new(socket: UnixDatagram, watchdog: Option<Duration>) -> Self {
        let every = watchdog.map_or(NEWS_EVERY, |allowed| NEWS_EVERY.min(allowed / 3));
        let (fed, next, told) = (watchdog.is_some(), Instant::ZERO, String::new());
        Self { line: Some(Line { socket, every, fed, next, ready: false, stopping: false, told }) }
    }

    /// The loop has turned: the manager is told what is due.
    pub fn turned(&mut self, now: Instant, status: &Status) {
        let Some(line) = self.line.as_mut().filter(|line| line.next <= now) else { return };
        let mut words = String::from(if line.fed { "WATCHDOG=1\n" } else { "" });
        if !line.ready {
            words.push_str("READY=1\n");
        }
        let text = describe(&View::new(status, now));
        let news = !line.stopping && text != line.told;
        if news {
            words.push_str("STATUS=");
            words.push_str(&text);
            words.push('\n');
        }
        if words.is_empty() || line.say(&words) {
            line.ready = true;
            if news {
                line.told = text;
            }
            line.next = now + line.every;
        } else {
            line.next = now + RETRY.min(line.every);
        }
    }

    /// The start waits for something, and needs so much more time from now on.
    pub fn waiting(&self, what: &str, more: Duration) {
        if let Some(line) = &self.line {
            line.say(&format!("EXTEND_TIMEOUT_USEC={}\nSTATUS={what}\n", more.as_micros()));
        }
    }

    /// The node begins to stop.
    pub fn stopping(&mut self) {
        if let Some(line) = self.line.as_mut().filter(|line| !line.stopping) {
            line.stopping = true;
            // A manager that asked for it knows already.
            line.say("STOPPING=1\nSTATUS=stopping\n");
        }
    }

    /// When the loop has to turn next for the manager's sake.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.line.as_ref().map(|line| line.next)
    }
}

impl Line {
    /// Tells whether the manager took it.
    fn say(&self, words: &str) -> bool {
        let sent = self.socket.send(words.as_bytes());
        if let Err(error) = &sent {
            debug!(%error, "the service manager takes nothing now");
        }
        sent.is_ok()
    }
}

/// A socket that speaks to this address; a leading `@` stands for an abstract one.
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match path.as_encoded_bytes().strip_prefix(b"@") {
        None => socket.connect(path)?,
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(socket)
}

/// One line for a person who asks the manager how the node is.
fn describe(view: &View<'_>) -> String {
    let (term, alive, all) = (view.status.term, view.voters_alive, view.status.voters.len());
    let voters = format!("{alive} of {all} voters reachable");
    match view.leader {
        Some(_) if view.is_leader => format!("leads in term {term}; {voters}"),
        Some(leader) => format!("follows {leader} in term {term}; {voters}"),
        None => format!("no leader; {voters}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::{self, NOW};

    const WATCHDOG: Duration = Duration::from_secs(3);

    /// A manager and what it is told.
    fn manager() -> (Manager, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (Manager::new(ours, Some(WATCHDOG)), theirs)
    }

    /// Everything told so far, a line each.
    fn told(theirs: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 4_096];
        let words =
            core::iter::from_fn(|| theirs.recv(&mut buffer).ok().map(|it| buffer[..it].to_vec()));
        let text: Vec<u8> = words.flatten().collect();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_turn_says_ready_and_each_third_of_the_watchdog_feeds_it() {
        let (mut manager, theirs) = manager();
        let status = fixtures::leader();
        assert_eq!(told(&theirs), [""; 0], "nothing before the loop turns");
        manager.turned(NOW, &status);
        let first = told(&theirs);
        assert_eq!(first[..2], ["WATCHDOG=1", "READY=1"]);
        assert!(first[2].starts_with("STATUS=leads in term "), "{first:?}");
        manager.turned(NOW + Duration::from_millis(999), &status);
        assert_eq!(told(&theirs), [""; 0]);
        assert_eq!(manager.next_deadline(), Some(NOW + Duration::from_secs(1)));
        manager.turned(NOW + Duration::from_secs(1), &status);
        assert_eq!(told(&theirs), ["WATCHDOG=1"], "what was told is not told again");
    }

    #[test]
    fn a_manager_that_does_not_listen_costs_no_wait_and_is_told_later() {
        let (mut manager, theirs) = manager();
        let line = manager.line.as_ref().unwrap();
        while line.socket.send(b"STATUS=full\n").is_ok() {}
        let status = fixtures::leader();
        manager.turned(NOW, &status);
        manager.stopping();
        assert!(told(&theirs).iter().all(|line| line == "STATUS=full"));
        manager.turned(NOW + RETRY, &status);
        assert!(told(&theirs).contains(&"READY=1".to_owned()));
    }

    #[test]
    fn stopping_is_said_once_and_no_state_after_it() {
        let (mut manager, theirs) = manager();
        manager.turned(NOW, &fixtures::leader());
        told(&theirs);
        manager.stopping();
        manager.stopping();
        assert_eq!(told(&theirs), ["STOPPING=1", "STATUS=stopping"]);
        manager.turned(NOW + WATCHDOG, &fixtures::follower());
        assert_eq!(told(&theirs), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_start_that_waits_is_given_more_time_and_is_not_ready() {
        let (mut manager, theirs) = manager();
        manager.waiting("waits for its address", Duration::from_secs(10));
        assert_eq!(told(&theirs), ["EXTEND_TIMEOUT_USEC=10000000", "STATUS=waits for its address"]);
        manager.turned(NOW, &fixtures::leader());
        assert_eq!(told(&theirs)[..2], ["WATCHDOG=1", "READY=1"]);
    }

    #[test]
    fn a_manager_without_a_watchdog_hears_news_and_nothing_else() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut manager = Manager::new(ours, None);
        manager.turned(NOW, &fixtures::leader());
        assert_eq!(told(&theirs)[0], "READY=1");
        manager.turned(NOW + NEWS_EVERY, &fixtures::leader());
        assert_eq!(told(&theirs), [""; 0]);
    }

    #[test]
    fn without_a_manager_there_is_nothing_to_wake_for() {
        let mut manager = Manager::default();
        manager.turned(NOW, &fixtures::leader());
        manager.stopping();
        assert_eq!(manager.next_deadline(), None);
    }

    #[test]
    fn a_person_reads_who_leads() {
        let text = |status: Status| describe(&View::new(&status, NOW));
        assert!(text(fixtures::follower()).starts_with("follows nebius-backbone-1 in term "));
        let mut alone = fixtures::leader();
        alone.lease = None;
        assert!(text(alone).starts_with("no leader; "));
    }
}
