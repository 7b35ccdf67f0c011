//! `events`: what has happened at a node, and what happens there, line by line.
//!
//! Decides how a stream is asked for and how an event reads. A stream that ends is asked for again where
//! it ended, so that nothing is missed; what cannot be told any more is said to be so.

use clap::Args;
use core::time::Duration;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use std::io::{self, ErrorKind, Write as _};
use tokio::time::{sleep, timeout};

use super::exit::{Exit, Failure};
use super::get::{Base, TIMEOUT, stream};
use super::status::{failure, shown};
use super::term::{Colour, Hue, Paint, Progress};
use crate::client::sse::{Event, Reader};

/// The longest silence of a stream: a node says something every five seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// Between two attempts to come again.
const AGAIN: Duration = Duration::from_secs(1);

/// The widest name of an event that the columns are made for.
const NAME_WIDTH: usize = 20;

/// The arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Where the node listens; http:// and the port 8770 may be left out
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8770")]
    pub url: String,
    /// Go on with what happens, until interrupted
    ///
    /// A connection that is lost is opened again; nothing is missed as long as the node still knows it.
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the past events to tell first
    ///
    /// A node keeps the last 1,024 of its process.
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub lines: u64,
    /// One JSON object for each event
    #[arg(long)]
    pub json: bool,
    /// When to write in colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// Prints the events.
///
/// # Errors
/// 64: the URL is not one. 69: the node cannot be reached, what answers is no node, or it has no place
/// for another reader.
pub fn run(args: &EventsArgs) -> Result<(), Failure> {
    let base = Base::parse(&args.url).map_err(|error| failure(&args.url, &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    runtime.block_on(tell(args, &base))
}

/// A stream of events that are told as they come.
struct Told {
    body: Incoming,
    reader: Reader,
    ready: std::vec::IntoIter<Event>,
}

impl Told {
    async fn open(base: &Base, last: Option<&str>) -> Result<Self, Failure> {
        let asked = timeout(TIMEOUT, stream(base, "/events", last)).await;
        let (status, body) = asked
            .unwrap_or(Err(super::get::GetError::Timeout))
            .map_err(|error| failure(&base.authority(), &error))?;
        if status != StatusCode::OK {
            let what = format!("{} gives no events: {status}", base.authority());
            return Err(Failure::new(Exit::Unavailable, what));
        }
        Ok(Self { body, reader: Reader::new(), ready: Vec::new().into_iter() })
    }

    /// The next event; `None` when the stream has ended or gone silent.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(event);
            }
            let frame = timeout(SILENCE, self.body.frame()).await.ok()??.ok()?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.ready = self.reader.read(&bytes).ok()?.into_iter();
        }
    }
}

async fn tell(args: &EventsArgs, base: &Base) -> Result<(), Failure> {
    let paint = args.color.paint();
    let progress = Progress::of(format!("waiting for {}", base.authority()));
    let mut told = Told::open(base, None).await?;
    let gone = || {
        let what = format!("{} ended the stream before its first event", base.authority());
        Failure::new(Exit::Unavailable, what)
    };
    let state = told.next().await.ok_or_else(gone)?;
    let (process, newest) = place(&state.id).ok_or_else(|| {
        let what =
            format!("{} does not answer as a node: an event without a number", base.authority());
        Failure::new(Exit::Unavailable, what)
    })?;
    drop(progress);
    let mut last = state.id.clone();
    let first = newest.saturating_sub(args.lines);
    if first < newest {
        told = Told::open(base, Some(&format!("{process}-{first}"))).await?;
        loop {
            let event = told.next().await.ok_or_else(gone)?;
            // The state takes the place of what is no longer kept.
            let at = place(&event.id).filter(|&(it, _)| it == process).map(|(_, number)| number);
            last.clone_from(&event.id);
            if !put(&event, args.json, paint)? {
                return Ok(());
            }
            if event.name == "reset" || at.is_none_or(|at| at >= newest) {
                break;
            }
        }
    }
    if !args.follow || !put(&state, args.json, paint)? {
        return Ok(());
    }
    loop {
        while let Some(event) = told.next().await {
            last.clone_from(&event.id);
            if !put(&event, args.json, paint)? {
                return Ok(());
            }
        }
        let _ = writeln!(io::stderr(), "connection to {} lost; trying again", base.authority());
        told = loop {
            sleep(AGAIN).await;
            if let Ok(told) = Told::open(base, Some(&last)).await {
                break told;
            }
        };
    }
}

/// The process and the number in an id.
fn place(id: &str) -> Option<(&str, u64)> {
    let (process, number) = id.split_once('-')?;
    Some((process, number.parse().ok()?))
}

/// Prints an event; false when nobody reads any more.
fn put(event: &Event, json: bool, paint: Paint) -> Result<bool, Failure> {
    let line = if json { as_json(event) } else { as_text(event, paint) };
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Unavailable, format!("cannot write: {error}"))),
    }
}

fn fields(event: &Event) -> Map<String, Value> {
    match serde_json::from_str(&event.data) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn as_json(event: &Event) -> String {
    let mut line = Map::new();
    line.insert(String::from("event"), event.name.as_str().into());
    line.insert(String::from("id"), event.id.as_str().into());
    line.extend(fields(event));
    Value::Object(line).to_string()
}

fn as_text(event: &Event, paint: Paint) -> String {
    let fields = fields(event);
    let clean = |text: &str| shown(&text.into());
    let hue = match event.name.as_str() {
        "leader_changed" | "leadership_gained" | "state" | "reset" => Some(Hue::Strong),
        "leadership_lost" | "member_died" | "election_lost" | "name_taken" => Some(Hue::Bad),
        "member_suspected"
        | "suspicion_confirmed"
        | "voter_set_mismatch"
        | "address_refused"
        | "name_in_conflict"
        | "foreign_address"
        | "member_held_off" => Some(Hue::Warn),
        "member_refuted" | "member_joined" => Some(Hue::Good),
        _ => None,
    };
    let name = format!("{:NAME_WIDTH$}", clean(&event.name));
    let name = hue.map_or_else(|| name.clone(), |hue| paint.on(hue, &name));
    let at = paint
        .on(Hue::Soft, &format!("{:24}", shown(&fields.get("at").cloned().unwrap_or_default())));
    let said = match event.name.as_str() {
        "state" | "reset" => state(&fields),
        _ => {
            let told = fields.iter().filter(|(key, _)| !matches!(key.as_str(), "at" | "node_id"));
            let told = told.map(|(key, value)| {
                let key = clean(key).replace('_', " ");
                let value = if value.is_null() { String::from("none") } else { shown(value) };
                format!("{key} {value}")
            });
            told.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{at}  {name}  {said}").trim_end().to_owned()
}

/// The state in a line.
fn state(fields: &Map<String, Value>) -> String {
    let text = |key: &str| fields.get(key).map(shown).unwrap_or_default();
    let leader = match fields.get("leader_id").and_then(Value::as_str) {
        Some(_) => format!("{} leads in term {}", text("leader_id"), text("term")),
        None => format!("no leader: {}", text("no_leader_reason")),
    };
    format!(
        "{leader}; {} of {} peers alive, told by {}",
        text("alive_peers"),
        text("total_peers"),
        text("node_id")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_without_control_characters() {
        let event = |name: &str, data: &str| Event {
            id: String::from("p-1"),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let text = |name, data| as_text(&event(name, data), Paint::default());
        assert_eq!(
            text("leader_changed", r#"{"at":"now","node_id":"a","leader_id":null,"term":7}"#),
            "now                       leader_changed        leader id none, term 7"
        );
        assert_eq!(text("x\u{1b}[2J", "no json"), format!("{:24}  x[2J", "-").trim_end());
        assert_eq!(as_json(&event("x", "[]")), r#"{"event":"x","id":"p-1"}"#);
    }

    #[test]
    fn a_place_is_a_process_and_a_number() {
        assert_eq!(place("00c5-41"), Some(("00c5", 41)));
        assert_eq!(place(""), None);
        assert_eq!(place("a-b"), None);
    }
}
