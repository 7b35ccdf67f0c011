//! `step-down`, `transfer`, `drain`, `resume`, `trigger`: what an operator asks of one node.
//!
//! Decides how a node is asked and how its answer reads; what is done is the node's matter. A refusal
//! changes nothing and ends with 75, so that a script can tell it from success and from a node that is
//! not there.

use clap::Args;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::get::{Base, request};
use super::status::failure;
use crate::config::{Surroundings, token};

/// The environment variable that holds the token for a node that wants one.
const TOKEN_VARIABLE: &str = "RINGRIFT_CLUSTER_AUTH_TOKEN";

/// Where to ask.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Where the node listens; http:// and the port 8770 may be left out
    ///
    /// A node takes orders from its own machine, or from whoever shows its token:
    /// RINGRIFT_CLUSTER_AUTH_TOKEN, else the file of RINGRIFT_CLUSTER_AUTH_TOKEN_FILE, else
    /// ~/.ringrift/cluster_auth_token.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8770")]
    pub url: String,
    /// Print the node's answer as it is
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `transfer`.
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// The voter that is to lead
    #[arg(long, value_name = "ID")]
    pub to: String,
    /// Where to ask.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// The arguments of `trigger`.
#[derive(Debug, Args)]
pub struct TriggerArgs {
    /// Why, for the log of whoever asks
    #[arg(long, value_name = "TEXT", default_value = "triggered")]
    pub reason: String,
    /// Where to ask.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    StepDown,
    Transfer,
    Drain,
    Resume,
    Trigger,
    ReloadKeys,
}

impl Verb {
    const fn path(self) -> &'static str {
        match self {
            Self::StepDown => "/election/step_down",
            Self::Transfer => "/election/transfer",
            Self::Drain => "/election/drain",
            Self::Resume => "/election/resume",
            Self::Trigger => "/election/trigger",
            Self::ReloadKeys => "/keys/reload",
        }
    }
}

/// `step-down`: the leader hands over to the best voter that is ready.
///
/// # Errors
/// 64: the URL is not one. 69: the node cannot be reached, or what answers is no node. 75: refused.
pub fn step_down(args: &NodeArgs) -> Result<String, Failure> {
    ask(args, Verb::StepDown, &Value::Null)
}

/// `transfer`: the leader hands over to a named voter.
///
/// # Errors
/// As of [`step_down`].
pub fn transfer(args: &TransferArgs) -> Result<String, Failure> {
    ask(&args.node, Verb::Transfer, &json!({ "to": args.to }))
}

/// `drain`: the node refuses to lead until resumed.
///
/// # Errors
/// As of [`step_down`].
pub fn drain(args: &NodeArgs) -> Result<String, Failure> {
    ask(args, Verb::Drain, &Value::Null)
}

/// `resume`: the node may lead again.
///
/// # Errors
/// As of [`step_down`].
pub fn resume(args: &NodeArgs) -> Result<String, Failure> {
    ask(args, Verb::Resume, &Value::Null)
}

/// `trigger`: a fresh election.
///
/// # Errors
/// As of [`step_down`].
pub fn trigger(args: &TriggerArgs) -> Result<String, Failure> {
    ask(&args.node, Verb::Trigger, &json!({ "reason": args.reason }))
}

/// `reload-keys`: the node reads its key ring again.
///
/// # Errors
/// As of [`step_down`].
pub fn reload_keys(args: &NodeArgs) -> Result<String, Failure> {
    ask(args, Verb::ReloadKeys, &Value::Null)
}

fn ask(args: &NodeArgs, verb: Verb, body: &Value) -> Result<String, Failure> {
    let base = Base::parse(&args.url).map_err(|error| failure(&args.url, &error))?;
    let at = base.authority();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let token = token::find(&Surroundings::of_process())
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let (code, answer) = request(&base, &Method::POST, verb.path(), body, token.as_ref())
        .map_err(|error| failure(&at, &error))?;
    let said: Value = serde_json::from_slice(&answer).map_err(|_| {
        let what = format!("{at} does not answer as a node: {code} without JSON");
        Failure::new(Exit::Unavailable, what)
    })?;
    if code != StatusCode::OK {
        return Err(refusal(&at, code, &said));
    }
    if args.json {
        return Ok(String::from_utf8_lossy(&answer).trim_end().to_owned() + "\n");
    }
    Ok(told(verb, &said))
}

/// A refusal in a line; what names the leader names where to ask.
fn refusal(at: &str, code: StatusCode, said: &Value) -> Failure {
    let error = shown(&said["error"]);
    let word = shown(&said["error_code"]);
    let message = match (code, said["address"].as_str()) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => format!(
            "{at} refuses this: {error}; run it on the node's own machine, or set {TOKEN_VARIABLE}"
        ),
        (_, Some(_)) => {
            let leader = clean(said["address"].as_str().unwrap_or_default());
            format!("{word}: {error}; repeat it there, with --url http://{leader}")
        }
        _ => format!("{word}: {error}"),
    };
    // A node that has not answered may still do it: nothing was refused.
    let exit = if word == "TIMEOUT" { Exit::Unavailable } else { Exit::Refused };
    Failure::new(exit, message)
}

/// What a node that accepted has done, in a sentence.
fn told(verb: Verb, said: &Value) -> String {
    let (node, term) = (shown(&said["node_id"]), &said["term"]);
    let leads = match said["leader_id"].as_str() {
        Some(leader) => format!("{} leads in term {term}", clean(leader)),
        None => format!("no leader is known yet after term {term}"),
    };
    let note = said["note"].as_str().map(|note| format!("note: {}\n", clean(note)));
    let note = note.unwrap_or_default();
    match verb {
        Verb::StepDown | Verb::Transfer => format!("{leads}\n{note}"),
        Verb::Drain => format!("{node} is drained; {leads}\n{note}"),
        Verb::Resume => format!("{node} may lead again; {leads}\n{note}"),
        Verb::Trigger if said["started"] == true => {
            format!("{node} started an election above term {term}\n")
        }
        Verb::ReloadKeys => {
            let keys = said["keys"].as_array().map_or(&[][..], Vec::as_slice);
            let keys: Vec<String> = keys.iter().map(shown).collect();
            format!("keys in use: {}; the first one seals\n", keys.join(", "))
        }
        Verb::Trigger => format!("{node} started none: {}\n", shown(&said["reason"])),
    }
}

fn shown(value: &Value) -> String {
    clean(value.as_str().unwrap_or("-"))
}

/// Control characters of whoever answered do not reach the terminal.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_who_leads_now() {
        let said =
            json!({"accepted": true, "node_id": "a", "leader_id": "b", "term": 7, "note": null});
        assert_eq!(told(Verb::StepDown, &said), "b leads in term 7\n");
        assert_eq!(told(Verb::Drain, &said), "a is drained; b leads in term 7\n");
        assert_eq!(told(Verb::Resume, &said), "a may lead again; b leads in term 7\n");
        let nobody = json!({"node_id": "a", "leader_id": null, "term": 6, "note": "x\u{1b}"});
        assert_eq!(told(Verb::Transfer, &nobody), "no leader is known yet after term 6\nnote: x\n");
        let started = json!({"node_id": "a", "started": true, "term": 6});
        assert_eq!(told(Verb::Trigger, &started), "a started an election above term 6\n");
        let none =
            json!({"node_id": "a", "started": false, "reason": "election_already_in_progress"});
        assert!(told(Verb::Trigger, &none).contains("election_already_in_progress"));
    }

    #[test]
    fn a_refusal_says_where_to_ask() {
        let said = json!({"error_code": "NOT_LEADER", "error": "c does not lead", "leader_id": "a",
                          "address": "10.0.0.1:8770"});
        let failure = refusal("x", StatusCode::CONFLICT, &said);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("--url http://10.0.0.1:8770"), "{failure}");
        let late = json!({"error_code": "TIMEOUT", "error": "no answer in time"});
        let failure = refusal("x", StatusCode::SERVICE_UNAVAILABLE, &late);
        assert_eq!(failure.exit, Exit::Unavailable, "it may have changed something");
        let stranger = json!({"error": "unauthorized"});
        let failure = refusal("x:1", StatusCode::UNAUTHORIZED, &stranger);
        assert!(failure.message.contains(TOKEN_VARIABLE), "{failure}");
    }
}
