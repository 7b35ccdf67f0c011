//! `history`: the elections that one node remembers, newest first.

use clap::Args;
use serde_json::Value;

use super::exit::{Exit, Failure};
use super::status::{Asked, ask_json};
use super::term::Colour;
use super::why;

/// The arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Where the node listens; http:// and the port 8770 may be left out
    ///
    /// A node remembers the last fifty elections since its start, as it saw them itself: of an election
    /// in which another node stood it knows the winner, and not why it was held.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8770")]
    pub url: String,
    /// Print the elections as JSON
    #[arg(long)]
    pub json: bool,
    /// When to write in colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// The text to print.
///
/// # Errors
/// 64: the URL is not one. 69: the node cannot be reached, or what answers is no node.
pub fn run(args: &HistoryArgs) -> Result<String, Failure> {
    let (_, election) = ask_json(&Asked::at(&args.url)?, "/election/status", "last_elections")?;
    if args.json {
        return Ok(format!("{:#}\n", election["last_elections"]));
    }
    if election["last_elections"].as_array().is_some_and(Vec::is_empty) {
        return Ok(String::from("no election since this node was started\n"));
    }
    let mut out = String::new();
    why::elections(&mut out, &election, usize::MAX, args.color.paint())
        .map_err(|error| Failure::new(Exit::Invariant, error.to_string()))?;
    if let Some(reason) = Value::as_str(&election["no_leader_reason"]) {
        out.push_str(&format!("\nno leader now: {}\n", super::status::shown(&reason.into())));
    }
    Ok(out)
}
