//! `status`: what one node says of the cluster, for a person.
//!
//! A cluster without a leader is an answer, not a failure: the reason is printed and the exit code is
//! 0. Scripts ask `GET /leader` or `GET /ready`, or read `--json`.

use clap::Args;
use core::fmt;
use core::fmt::Write as _;
use core::time::Duration;
use hyper::StatusCode;
use serde_json::Value;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::thread;

use super::exit::{Exit, Failure};
use super::get::{Base, GetError, TIMEOUT, get};
use super::term::{self, Colour, Hue, Paint};
use super::why;

/// The arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the node listens; http:// and the port 8770 may be left out
    ///
    /// A node without a leader answers too: the reason is printed, and the exit code is 0. It is 69
    /// when there is no answer within 5 seconds, or none that a node would give.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8770")]
    pub url: String,
    /// Print the node's /status as it is
    #[arg(long)]
    pub json: bool,
    /// Say why there is no leader, why this node does not lead, and why nobody takes over
    ///
    /// Also what each voter last said, and the last ten elections; /election/status has fifty.
    #[arg(long, conflicts_with = "json")]
    pub why: bool,
    /// Ask again and again, every so many seconds; 2 without a number
    ///
    /// On a terminal the answer takes the place of the one before. Ends with Ctrl-C.
    #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          require_equals = true, value_parser = every)]
    pub watch: Option<Duration>,
    /// When to write in colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// A time between two questions: a tenth of a second to an hour.
fn every(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| String::from("write a number of seconds"))?;
    if !(0.1..=3_600.0).contains(&seconds) {
        return Err(String::from("write a number from 0.1 to 3600"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A node that is asked.
pub(super) struct Asked {
    base: Base,
}

impl Asked {
    /// The node at a URL.
    pub(super) fn at(url: &str) -> Result<Self, Failure> {
        Base::parse(url).map(|base| Self { base }).map_err(|error| failure(url, &error))
    }

    fn bytes(&self, path: &str) -> Result<(StatusCode, hyper::body::Bytes), Failure> {
        get(&self.base, path).map_err(|error| failure(&self.base.authority(), &error))
    }

    /// The JSON at a path, if it can be had.
    pub(super) fn value(&self, path: &str) -> Option<Value> {
        self.bytes(path).ok().and_then(|(_, body)| serde_json::from_slice(&body).ok())
    }
}

/// The answer of a node at a path, as it came and as JSON; only a node has that key in it.
pub(super) fn ask_json(asked: &Asked, path: &str, key: &str) -> Result<(String, Value), Failure> {
    let stranger = |what: String| {
        let at = asked.base.authority();
        let remedy = "is it another program's port?";
        Failure::new(Exit::Unavailable, format!("{at} does not answer as a node: {what}; {remedy}"))
    };
    let (code, body) = asked.bytes(path)?;
    if code != StatusCode::OK {
        return Err(stranger(format!("GET {path} gives {code}")));
    }
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| stranger(format!("{path} is not JSON: {error}")))?;
    if value[key].is_null() {
        return Err(stranger(format!("{path} has no {key}")));
    }
    Ok((String::from_utf8_lossy(&body).trim_end().to_owned() + "\n", value))
}

/// Prints what the node says, once or again and again.
///
/// # Errors
/// 64: the URL is not one. 69: the node cannot be reached, or what answers is no node; of a node that is
/// watched this is shown, and it is asked again.
pub fn run(args: &StatusArgs) -> Result<(), Failure> {
    let asked = Asked::at(&args.url)?;
    let Some(every) = args.watch else { return super::print(&told(args, &asked)?) };
    let terminal = io::stdout().is_terminal();
    let mut first = true;
    loop {
        let text = match told(args, &asked) {
            Ok(text) => text,
            // What was true is not shown beside it: nobody knows whether it still is.
            Err(failure) if !args.json => {
                format!("{}\n", args.color.paint().on(Hue::Bad, &failure.to_string()))
            }
            Err(_) => String::new(),
        };
        let text = if args.json { text } else { term::frame(&text, terminal, first) };
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(Failure::new(Exit::Unavailable, format!("cannot write: {error}")));
            }
            Ok(()) => {}
        }
        drop(out);
        first = false;
        thread::sleep(every);
    }
}

/// The text to print.
fn told(args: &StatusArgs, asked: &Asked) -> Result<String, Failure> {
    let (text, status) = ask_json(asked, "/status", "node_id")?;
    if args.json {
        return Ok(text);
    }
    // Ranks and history only: their absence is no reason to say nothing.
    let election = asked.value("/election/status").unwrap_or(Value::Null);
    let mut text = String::new();
    let paint = args.color.paint();
    render(&mut text, &status, &election, paint)
        .and_then(|()| if args.why { why::render(&mut text, &election, paint) } else { Ok(()) })
        .map_err(|error| Failure::new(Exit::Invariant, error.to_string()))?;
    Ok(text)
}

/// What to tell a person about a node that does not answer.
pub(super) fn failure(at: &str, error: &GetError) -> Failure {
    let (exit, message) = match error {
        GetError::Url(problem) => {
            (Exit::Usage, format!("`{at}` is no URL to ask: {problem}; write http://HOST:PORT"))
        }
        GetError::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => (
            Exit::Unavailable,
            format!(
                "nothing listens on {at}; start the node there, or name another with --url (a node \
                 whose address is a loopback one listens on that address only)"
            ),
        ),
        GetError::Connect(error) => (
            Exit::Unavailable,
            format!("{at} cannot be reached: {error}; check the name, the route and the firewall"),
        ),
        GetError::Http(error) => {
            (Exit::Unavailable, format!("{at} does not answer as a node: {error}"))
        }
        GetError::Timeout => (
            Exit::Unavailable,
            format!(
                "{at} gave no answer within {} s; the host is down, the port is filtered, or the \
                 process is stopped",
                TIMEOUT.as_secs()
            ),
        ),
    };
    Failure::new(exit, message)
}

fn render(out: &mut String, status: &Value, election: &Value, paint: Paint) -> fmt::Result {
    let text = |key: &str| shown(&status[key]);
    let up = seconds(&status["uptime_seconds"]);
    writeln!(
        out,
        "node     {} ({}), up {up}, version {}",
        text("node_id"),
        text("role"),
        text("version")
    )?;
    match status["leader_id"].as_str() {
        Some(leader) => {
            let name = paint.on(Hue::Strong, &shown(&leader.into()));
            write!(out, "leader   {name} in term {}", text("term"))?;
            if status["effective_leader_id"].is_null() {
                write!(out, ", {}", paint.on(Hue::Warn, "suspected"))?;
            }
            if let Some(since) = since(election, leader, &status["term"]) {
                write!(out, ", since {since}")?;
            }
            if status["is_leader"] == true {
                write!(out, ", lease {} left", seconds(&status["lease_ttl"]))?;
            }
            writeln!(out)?;
        }
        None => {
            let reason = status["no_leader_reason"].as_str().unwrap_or("the node gives no reason");
            let none = paint.on(Hue::Bad, "none");
            writeln!(out, "leader   {none}: {}", shown(&reason.into()))?;
        }
    }
    let alive = text("voters_alive");
    let verdict = match status["voter_quorum_ok"] == true {
        true => paint.on(Hue::Good, "enough"),
        false => paint.on(Hue::Bad, "NOT enough"),
    };
    let all = status["voters"].as_object().map_or(0, |voters| voters.len());
    writeln!(
        out,
        "quorum   {} of {all} voters; {alive} alive, {verdict}",
        text("voter_quorum_size")
    )?;
    writeln!(
        out,
        "peers    {} of {} alive, {} suspect, {} dead",
        text("alive_peers"),
        text("total_peers"),
        text("suspect_peers"),
        text("dead_peers")
    )?;
    if let Some(mismatch) = status["voter_config_mismatch"].as_array().filter(|ids| !ids.is_empty())
    {
        let ids: Vec<String> = mismatch.iter().map(shown).collect();
        let warning = paint.on(Hue::Warn, "warning");
        writeln!(out, "{warning}  other voter lists than this node's: {}", ids.join(", "))?;
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        writeln!(out, "{}  {}", paint.on(Hue::Warn, "warning"), shown(warning))?;
    }
    out.push('\n');
    term::table(out, &voter_rows(status, election), paint, |at, row| match at {
        0 if row[0].ends_with(" *") => Some(Hue::Strong),
        1 => paint.state(&row[1]),
        _ => None,
    })
}

/// When that leader won that term, as the history of elections has it.
fn since(election: &Value, leader: &str, term: &Value) -> Option<String> {
    let history = election["last_elections"].as_array()?;
    let won = history.iter().find(|past| past["winner"] == leader && past["term"] == *term)?;
    (!won["started_at"].is_null()).then(|| shown(&won["started_at"]))
}

/// One row per voter in the present order of priority, headings first.
fn voter_rows(status: &Value, election: &Value) -> Vec<[String; 7]> {
    let heading = ["VOTER", "STATE", "RANK", "RTT", "LAST SEEN", "TERM", "VOTED FOR"];
    let mut rows = Vec::new();
    let voters = status["voters"].as_object();
    for (id, voter) in voters.into_iter().flatten() {
        let is_self = voter["is_self"] == true;
        let rank = rank(election, id).unwrap_or_else(|| voter["priority"].clone());
        let mark = if status["leader_id"] == id.as_str() { " *" } else { "" };
        let state = match voter["state"].as_str() {
            Some(state) => state.to_owned(),
            None if voter["alive"] == true => String::from("alive"),
            None => String::from("dead"),
        };
        let rtt =
            voter["rtt_ms"].as_f64().map_or_else(|| String::from("-"), |ms| format!("{ms:.1} ms"));
        let seen =
            if is_self { String::from("self") } else { seconds(&voter["last_seen_seconds"]) };
        let row = [
            format!("{id}{mark}"),
            state,
            shown(&rank),
            rtt,
            seen,
            shown(&voter["term"]),
            shown(&voter["voted_for"]),
        ];
        rows.push((rank.as_u64().unwrap_or(u64::MAX), row));
    }
    rows.sort();
    core::iter::once(heading.map(String::from))
        .chain(rows.into_iter().map(|(_, row)| row))
        .collect()
}

fn rank(election: &Value, id: &str) -> Option<Value> {
    let order = election["priority"].as_array()?;
    let entry = order.iter().find(|entry| entry["node_id"] == id)?;
    entry["rank"].is_u64().then(|| entry["rank"].clone())
}

/// A JSON value in a line of text; what is absent is a dash. Control characters of whoever answered do
/// not reach the terminal.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::from("-"),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

/// Seconds in a form for people: `0.31 s`, `42 s`, `3m 12s`, `2h 5m`, `3d 4h`.
pub(super) fn seconds(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return String::from("-") };
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.2} s"),
        10..60 => format!("{whole} s"),
        60..3_600 => format!("{}m {}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> Value {
        json!({
            "node_id": "a", "role": "leader", "is_leader": true, "leader_id": "a",
            "effective_leader_id": "a", "term": 7, "lease_ttl": 0.31, "no_leader_reason": null,
            "alive_peers": 1, "total_peers": 2, "suspect_peers": 0, "dead_peers": 1,
            "voter_quorum_size": 2, "voters_alive": 2, "voter_quorum_ok": true, "version": "0.1.0",
            "uptime_seconds": 192.4, "voter_config_mismatch": [],
            "voters": {
                "a": {"alive": true, "is_self": true, "state": "alive", "priority": 2, "term": 7},
                "b": {"alive": true, "state": "alive", "priority": 1, "rtt_ms": 1.26,
                      "last_seen_seconds": 0.2, "voted_for": "a", "term": 7},
                "c": {"alive": false, "state": "dead", "priority": 3, "last_seen_seconds": 75.0},
            },
        })
    }

    fn rendered(status: &Value, election: &Value) -> String {
        let mut text = String::new();
        render(&mut text, status, election, Paint::default()).unwrap();
        text
    }

    #[test]
    fn a_person_sees_leader_quorum_peers_and_voters_in_their_order() {
        let election = json!({
            "priority": [{"node_id": "a", "rank": 1}, {"node_id": "b", "rank": 2}],
            "last_elections": [
                {"term": 8, "winner": null, "started_at": "later"},
                {"term": 7, "winner": "a", "started_at": "2026-01-01T00:00:00Z"},
            ],
        });
        assert_eq!(
            rendered(&status(), &election),
            "node     a (leader), up 3m 12s, version 0.1.0\n\
             leader   a in term 7, since 2026-01-01T00:00:00Z, lease 0.31 s left\n\
             quorum   2 of 3 voters; 2 alive, enough\n\
             peers    1 of 2 alive, 0 suspect, 1 dead\n\
             \n\
             VOTER  STATE  RANK  RTT     LAST SEEN  TERM  VOTED FOR\n\
             a *    alive  1     -       self       7     -\n\
             b      alive  2     1.3 ms  0.20 s     7     a\n\
             c      dead   3     -       1m 15s     -     -\n"
        );
    }

    #[test]
    fn without_a_leader_the_reason_is_told() {
        let mut status = status();
        status["leader_id"] = Value::Null;
        status["no_leader_reason"] = json!("1 of 3 voters reachable, 2 needed");
        status["voter_quorum_ok"] = json!(false);
        let text = rendered(&status, &Value::Null);
        assert!(text.contains("leader   none: 1 of 3 voters reachable, 2 needed\n"), "{text}");
        assert!(text.contains("NOT enough"), "{text}");
    }

    #[test]
    fn a_suspected_leader_and_other_voter_lists_are_told() {
        let mut status = status();
        status["effective_leader_id"] = Value::Null;
        status["voter_config_mismatch"] = json!(["c"]);
        let text = rendered(&status, &Value::Null);
        assert!(text.contains("a in term 7, suspected"), "{text}");
        assert!(text.contains("other voter lists than this node's: c"), "{text}");
    }

    #[test]
    fn a_stranger_answer_never_breaks_the_terminal() {
        assert_eq!(shown(&json!("a\u{1b}[2Jb\n")), "a[2Jb");
        assert!(rendered(&json!({"node_id": "x"}), &json!([1])).contains("leader   none"));
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let refused = GetError::Connect(ErrorKind::ConnectionRefused.into());
        let told = failure("a:1", &refused);
        assert_eq!(told.exit, Exit::Unavailable);
        assert!(told.message.contains("start the node"), "{told}");
        assert_eq!(failure("x", &GetError::Url("bad".into())).exit, Exit::Usage);
        assert!(failure("a:1", &GetError::Timeout).message.contains("5 s"));
    }
}
