//! Log lines: where they go, which event gives which line, and at which level.
//!
//! A line is a static message and fields. INFO is what an operator would put into a timeline, WARN
//! is worth waking someone. It decides nothing else; the driver reports its own errors with the
//! macros of `tracing`.
//!
//! Invariants:
//! 1. Writing a line never waits: a full queue drops the line and counts it.
//! 2. Text that a peer supplied is a field, never the message.

use core::fmt;
use ringrift_wire::NodeId;
use std::io;
use std::str::FromStr;
use tracing::{debug, error, info, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::metrics::refusal_word;
use crate::election::{self, LossCause};
use crate::membership;
use crate::node::Event;

/// The environment variable with the filter, in the syntax of `tracing`; default `info`.
pub const FILTER_VARIABLE: &str = "RINGRIFT_LOG";

/// The most lines that wait for a slow reader of standard error. Each place takes 32 bytes of memory from the start.
pub const MAX_WAITING_LINES: usize = 2_048;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("the log format is none of 'text' and 'json'"),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug)]
pub enum Error {
    /// The filter is not in the syntax of `tracing`.
    Filter(tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    Twice(tracing_subscriber::util::TryInitError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => write!(f, "{FILTER_VARIABLE} is no log filter: {error}"),
            Self::Twice(error) => write!(f, "logging is already set up: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Keeps the writing thread; dropped at the end of the process, it writes what waits, for at most
/// about a second.
#[derive(Debug)]
#[must_use = "lines are written only while the guard lives"]
pub struct Guard {
    dropped: ErrorCounter,
    _worker: WorkerGuard,
}

impl Guard {
    /// The count of lines dropped because the queue was full.
    #[must_use]
    pub fn error_counter(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// Sends the lines of this process to standard error, filtered by [`FILTER_VARIABLE`].
///
/// # Errors
/// The filter is malformed, or logging was set up before.
pub fn init(format: Format) -> Result<Guard, Error> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let (writer, guard) = queue(io::stderr());
    subscriber(format, &filter, writer)?.try_init().map_err(Error::Twice)?;
    Ok(guard)
}

/// A bounded queue before a writer that may be slow or stuck.
fn queue(writer: impl io::Write + Send + 'static) -> (NonBlocking, Guard) {
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .thread_name("log")
        .finish(writer);
    let dropped = writer.error_counter();
    (writer, Guard { dropped, _worker: worker })
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber(format: Format, filter: &str, writer: NonBlocking) -> Result<Subscriber, Error> {
    let filter = if filter.trim().is_empty() { "info" } else { filter };
    let filter = EnvFilter::try_new(filter).map_err(Error::Filter)?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    Ok(match format {
        Format::Text => Box::new(builder.finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).finish()),
    })
}

/// What a line says beside the event.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// This node.
    pub node: NodeId,
}

/// Writes one line about an event of the node.
pub fn log_event(event: &Event, context: &Context) {
    let node = context.node.as_str();
    match event {
        Event::Member(event) => log_member(event, node),
        Event::Election(event) => log_election(event, node),
        Event::ForeignAddress { voter } => {
            warn!(node, voter = voter.as_str(), "voter's name used from a foreign address");
        }
    }
}

fn log_election(event: &election::Event, node: &str) {
    use election::Event;
    match event {
        Event::CanvassStarted { cause } => {
            info!(node, cause = cause.as_str(), "canvass started");
        }
        Event::ElectionStarted { term, cause } => {
            info!(node, term, cause = cause.as_str(), "election started");
        }
        Event::ElectionLost { term, why } => info!(node, term, why, "election lost"),
        Event::LeadershipGained { term, took } => {
            info!(node, term, took_ms = took.as_micros() as f64 / 1e3, "leadership gained");
        }
        Event::TermRaised { term } => info!(node, term, "term raised"),
        Event::LeadershipLost { term, cause } => match cause {
            LossCause::LeaseExpired
            | LossCause::WorkFailed
            | LossCause::LeaseThin
            | LossCause::StoreFailed => {
                warn!(node, term, cause = cause.as_str(), "leadership lost");
            }
            LossCause::Stopped
            | LossCause::Triggered
            | LossCause::SteppedDown
            | LossCause::Transferred
            | LossCause::Drained
            | LossCause::TakenOver => {
                info!(node, term, cause = cause.as_str(), "leadership given up");
            }
        },
        Event::LeaderChanged { leader: Some(leader), term } => {
            info!(node, leader = leader.as_str(), term, "leader changed");
        }
        Event::LeaderChanged { leader: None, term } => warn!(node, term, "no leader"),
        Event::VoteGranted { candidate, term } => {
            info!(node, candidate = candidate.as_str(), term, "vote granted");
        }
        Event::VoteRefused { candidate, term, why } => {
            let why = refusal_word(*why);
            debug!(node, candidate = candidate.as_str(), term, why, "vote refused");
        }
        Event::PromiseReleased { holder, term } => {
            info!(node, holder = holder.as_str(), term, "promise released");
        }
        Event::RecordAdopted { term } => info!(node, term, "empty vote store got its first record"),
        Event::VoterSetMismatch { voter, theirs, ours } => {
            let voter = voter.as_str();
            match theirs.abs_diff(*ours) {
                0 => warn!(
                    node,
                    voter,
                    theirs,
                    ours,
                    "voter has another voter list under the same voters_version: give both one file"
                ),
                1 => info!(node, voter, theirs, ours, "voter has a neighbouring voters_version"),
                _ => warn!(
                    node,
                    voter,
                    theirs,
                    ours,
                    "voter has a voters_version that is no neighbour: neither votes for the other"
                ),
            }
        }
        Event::HandoverEnded { term, cause, to, outcome } => {
            let to = to.as_ref().map(NodeId::as_str);
            let (cause, outcome) = (cause.as_str(), outcome.as_str());
            info!(node, term, cause, to, outcome, "handover ended");
        }
        Event::StoreHealth { works: true } => info!(node, "vote store works again"),
        Event::StoreHealth { works: false } => warn!(node, "vote store failed"),
    }
}

fn log_member(event: &membership::Event, node: &str) {
    use membership::Event;
    match event {
        Event::MemberJoined { member, address } => {
            info!(node, member = member.as_str(), %address, "member joined");
        }
        Event::MemberSuspected { member, by } => {
            info!(node, member = member.as_str(), by = by.as_str(), "member suspected");
        }
        Event::SuspicionConfirmed { member, by } => {
            info!(node, member = member.as_str(), by = by.as_str(), "suspicion confirmed");
        }
        Event::MemberHeldOff { member, length } => {
            let seconds = length.as_secs_f64();
            info!(node, member = member.as_str(), seconds, "member held off");
        }
        Event::MemberRefuted { member, how } => {
            info!(node, member = member.as_str(), how = how.as_str(), "member refuted a suspicion");
        }
        Event::MemberDied { member, by } => {
            info!(node, member = member.as_str(), by = by.as_str(), "member died");
        }
        Event::MemberLeft { member } => info!(node, member = member.as_str(), "member left"),
        Event::MemberRestarted { member } => {
            info!(node, member = member.as_str(), "member restarted");
        }
        Event::MemberMoved { member, address } => {
            info!(node, member = member.as_str(), %address, "member moved");
        }
        Event::AddressRefused { member, address, why } => {
            let why = why.as_str();
            warn!(node, member = member.as_str(), %address, why, "address of a member refused");
        }
        Event::NameInConflict { member, address, second } => {
            warn!(
                node, member = member.as_str(), %address, %second,
                "second live process of a name refused"
            );
        }
        Event::NameTaken { address } => {
            error!(node, %address, "another live process has the name of this node");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::election::{ElectionCause, Event as Elect};
    use crate::telemetry::fixtures::{NOW, id};
    use core::time::Duration;
    use ringrift_wire::Refusal;
    use serde_json::Value;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};

    /// One of each event, with the level that its line must have.
    pub(crate) fn events() -> Vec<(Event, &'static str)> {
        use membership::Event as Member;
        let (a, b, cause) = (id("peer-1"), id("peer-2"), ElectionCause::NoLeader);
        let address = core::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let lost = |cause| Event::Election(Elect::LeadershipLost { term: 3, cause });
        vec![
            (Event::Member(Member::MemberJoined { member: a, address }), "INFO"),
            (Event::Member(Member::MemberSuspected { member: a, by: b }), "INFO"),
            (
                Event::Member(Member::MemberRefuted {
                    member: a,
                    how: membership::Refutation::Answered,
                }),
                "INFO",
            ),
            (Event::Member(Member::SuspicionConfirmed { member: a, by: b }), "INFO"),
            (
                Event::Member(Member::MemberHeldOff { member: a, length: Duration::from_secs(8) }),
                "INFO",
            ),
            (Event::Member(Member::MemberDied { member: a, by: b }), "INFO"),
            (Event::Member(Member::MemberLeft { member: a }), "INFO"),
            (Event::Member(Member::MemberRestarted { member: a }), "INFO"),
            (Event::Member(Member::MemberMoved { member: a, address }), "INFO"),
            (
                Event::Member(Member::AddressRefused {
                    member: a,
                    address,
                    why: membership::Unusable::Loopback,
                }),
                "WARN",
            ),
            (Event::Member(Member::NameInConflict { member: a, address, second: address }), "WARN"),
            (Event::Member(Member::NameTaken { address }), "ERROR"),
            (Event::Election(Elect::CanvassStarted { cause }), "INFO"),
            (Event::Election(Elect::ElectionStarted { term: 3, cause }), "INFO"),
            (Event::Election(Elect::ElectionLost { term: 3, why: "silence" }), "INFO"),
            (
                Event::Election(Elect::LeadershipGained {
                    term: 3,
                    took: Duration::from_millis(7),
                }),
                "INFO",
            ),
            (Event::Election(Elect::TermRaised { term: 3 }), "INFO"),
            (lost(LossCause::LeaseExpired), "WARN"),
            (lost(LossCause::Stopped), "INFO"),
            (lost(LossCause::Triggered), "INFO"),
            (Event::Election(Elect::LeaderChanged { leader: Some(a), term: 3 }), "INFO"),
            (Event::Election(Elect::LeaderChanged { leader: None, term: 3 }), "WARN"),
            (Event::Election(Elect::VoteGranted { candidate: a, term: 3 }), "INFO"),
            (
                Event::Election(Elect::VoteRefused { candidate: a, term: 3, why: Refusal::Voted }),
                "DEBUG",
            ),
            (Event::Election(Elect::PromiseReleased { holder: a, term: 3 }), "INFO"),
            (Event::Election(Elect::RecordAdopted { term: 3 }), "INFO"),
            (Event::Election(Elect::VoterSetMismatch { voter: a, theirs: 1, ours: 1 }), "WARN"),
            (Event::Election(Elect::VoterSetMismatch { voter: a, theirs: 2, ours: 1 }), "INFO"),
            (Event::Election(Elect::VoterSetMismatch { voter: a, theirs: 3, ours: 1 }), "WARN"),
            (Event::ForeignAddress { voter: a }, "WARN"),
            (
                Event::Election(Elect::HandoverEnded {
                    term: 3,
                    cause: LossCause::Triggered,
                    to: Some(a),
                    outcome: election::HandoverOutcome::Handed,
                }),
                "INFO",
            ),
            (Event::Election(Elect::StoreHealth { works: true }), "INFO"),
            (Event::Election(Elect::StoreHealth { works: false }), "WARN"),
        ]
    }

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn all() -> Vec<Event> {
        events().into_iter().map(|(event, _)| event).collect()
    }

    fn lines_of(format: Format, filter: &str, events: &[Event]) -> Vec<String> {
        let memory = Memory::default();
        let (writer, guard) = queue(memory.clone());
        let subscriber = subscriber(format, filter, writer).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for event in events {
                log_event(event, &Context { node: id("self") });
            }
        });
        drop(guard);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    /// The message of the line about an event.
    pub(crate) fn message_of(event: &Event) -> String {
        let line = lines_of(Format::Json, "trace", &[*event]).concat();
        let line: Value = serde_json::from_str(&line).unwrap();
        line["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn each_event_is_one_line_of_its_level() {
        let lines = lines_of(Format::Json, "trace", &all());
        assert_eq!(lines.len(), events().len());
        for (line, (event, level)) in lines.iter().zip(events()) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], level, "{event:?}");
            assert_eq!(line["node"], "self", "{event:?}");
        }
    }

    /// Invariant 2.
    #[test]
    fn no_name_and_no_number_is_in_a_message() {
        for line in lines_of(Format::Json, "trace", &all()) {
            let line: Value = serde_json::from_str(&line).unwrap();
            let message = line["message"].as_str().unwrap();
            assert!(!message.contains("peer") && !message.contains(char::is_numeric), "{message}");
        }
    }

    #[test]
    fn the_default_filter_hides_what_is_below_info() {
        let hidden = events().iter().filter(|(_, level)| *level == "DEBUG").count();
        assert_eq!(lines_of(Format::Text, "", &all()).len(), events().len() - hidden);
    }

    #[test]
    fn a_malformed_filter_is_an_error() {
        let (writer, _guard) = queue(io::sink());
        assert!(matches!(subscriber(Format::Text, "info,=x=", writer), Err(Error::Filter(_))));
    }

    struct Stuck(Sender<()>, Receiver<()>);

    impl io::Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Invariant 1.
    #[test]
    fn a_stuck_pipe_drops_lines_and_counts_them() {
        let ((entered, is_entered), (release, released)) = (channel(), channel());
        let (writer, guard) = queue(Stuck(entered, released));
        let dropped = guard.error_counter();
        let subscriber = subscriber(Format::Text, "info", writer).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            info!("the line that gets stuck");
            is_entered.recv().unwrap();
            for _ in 0..MAX_WAITING_LINES + 5 {
                info!(now = %NOW, "a line");
            }
        });
        assert_eq!(dropped.dropped_lines(), 5);
        drop(release);
        drop(guard);
    }
}
