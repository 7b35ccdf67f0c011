//! `members`: the member table of one node, for a person.

use clap::Args;
use core::fmt;
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::status::{Asked, ask_json, seconds, shown};
use super::term::{Colour, Hue, Paint, table};
use crate::node::status::USUAL_LOSS;

/// The arguments of `members`.
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// Where the node listens; http:// and the port 8770 may be left out
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8770")]
    pub url: String,
    /// Print the node's /members as it is
    #[arg(long)]
    pub json: bool,
    /// Also who hears whom among the voters, by each one's own word
    #[arg(long, conflicts_with = "json")]
    pub hearing: bool,
    /// When to write in colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// The text to print.
///
/// # Errors
/// 64: the URL is not one. 69: the node cannot be reached, or what answers is no node.
pub fn run(args: &MembersArgs) -> Result<String, Failure> {
    let asked = Asked::at(&args.url)?;
    let (text, members) = ask_json(&asked, "/members", "members")?;
    if args.json {
        return Ok(text);
    }
    // Who votes only: its absence is no reason to say nothing.
    let election = asked.value("/election/status").unwrap_or(Value::Null);
    let mut out = String::new();
    let paint = args.color.paint();
    render(&mut out, &members, &election, paint)
        .and_then(|()| if args.hearing { hearing(&mut out, &members, paint) } else { Ok(()) })
        .map_err(|error| Failure::new(Exit::Invariant, error.to_string()))?;
    Ok(out)
}

fn render(out: &mut String, members: &Value, election: &Value, paint: Paint) -> fmt::Result {
    let heading = ["NODE", "PART", "STATE", "RTT", "LOSS", "LAST SEEN", "ADDRESS", "NOTE"];
    let voters = election["voters"].as_array();
    let part = |id: &Value| match voters {
        None => "-",
        Some(voters) if voters.contains(id) => "voter",
        Some(_) => "observer",
    };
    let rows = members["members"].as_array().into_iter().flatten().map(|member| {
        let is_self = member["is_self"] == true;
        let loss = member["packet_loss_rate"].as_f64().filter(|_| !is_self);
        let seen =
            if is_self { String::from("self") } else { seconds(&member["last_seen_seconds"]) };
        [
            shown(&member["node_id"]),
            String::from(part(&member["node_id"])),
            shown(&member["state"]),
            millis(&member["rtt_ms"]),
            loss.map_or_else(|| String::from("-"), |loss| format!("{:.0} %", loss * 100.0)),
            seen,
            shown(&member["address"]),
            note(member),
        ]
    });
    let rows: Vec<[String; 8]> = core::iter::once(heading.map(String::from)).chain(rows).collect();
    table(out, &rows, paint, |at, row| match at {
        2 => paint.state(&row[2]),
        7 => Some(Hue::Warn),
        _ => None,
    })
}

/// What is unusual about a member.
fn note(member: &Value) -> String {
    let mut notes = Vec::new();
    if let Some(by) = member["suspicion"]["by"].as_str() {
        let since = seconds(&member["suspicion"]["since_seconds"]);
        notes.push(format!("suspected by {by} for {since}"));
    }
    if let Some(by) = member["declared_dead_by"].as_str() {
        notes.push(format!("declared dead by {by}"));
    }
    if member["held_off"] == true {
        let left = seconds(&member["held_off_seconds_left"]);
        notes.push(format!("comes and goes; held off for {left} more"));
    }
    notes.extend(
        ["conflict", "address_refused"]
            .iter()
            .filter_map(|key| Some(member[key].as_str()?.to_owned())),
    );
    shown(&notes.join("; ").into())
}

fn millis(value: &Value) -> String {
    value.as_f64().map_or_else(|| String::from("-"), |ms| format!("{ms:.1} ms"))
}

fn loss_words(up_to: f64) -> String {
    format!("<= {:.0} %", up_to * 100.0)
}

/// A row for each voter that has spoken: how it hears each other.
fn hearing(out: &mut String, members: &Value, paint: Paint) -> fmt::Result {
    let heading = ["VOTER", "HEARS", "ROUND TRIP", "LOSS", "SAID"].map(String::from);
    let mut rows = vec![heading];
    for (by, row) in members["voters_hear"].as_object().into_iter().flatten() {
        let said = format!("{} ago", seconds(&row["told_seconds_ago"]));
        for (of, heard) in row["hears"].as_object().into_iter().flatten() {
            let (trip, loss) =
                match (heard["rtt_ms_below"].as_f64(), heard["packet_loss_rate_up_to"].as_f64()) {
                    (Some(trip), Some(loss)) => (format!("< {trip} ms"), loss_words(loss)),
                    _ => (String::from("does not hear it"), String::from("-")),
                };
            let clean = |name: &str| shown(&name.into());
            rows.push([clean(by), clean(of), trip, loss, said.clone()]);
        }
    }
    out.push('\n');
    let usual = loss_words(f64::from(USUAL_LOSS) / 1e3);
    table(out, &rows, paint, |at, row| match at {
        2 if row[3] == "-" => Some(Hue::Bad),
        3 if row[3] != usual => Some(Hue::Warn),
        _ => None,
    })
}
