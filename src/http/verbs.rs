//! `/election/step_down`, `/election/transfer`, `/election/drain`, `/election/resume`: what is asked, and
//! how the node's reply reads.

use hyper::StatusCode;
use ringrift_wire::NodeId;
use serde_json::{Value, json};

use super::answer::{Answer, Present, name, object};
use super::election::not_accepted;
use crate::node::{Command, Reply};

/// What an operator wants of the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Another leader.
    StepDown,
    /// This leader.
    Transfer,
    /// Not to lead until resumed.
    Drain,
    /// May lead again.
    Resume,
}

/// What to tell the node.
///
/// # Errors
/// The answer 400: the body is no JSON object, or a transfer names no voter.
pub(super) fn command(verb: Verb, body: &[u8]) -> Result<Command, Answer> {
    let bad = |why: &str| Answer::error(StatusCode::BAD_REQUEST, "BAD_REQUEST", why);
    let fields = if body.iter().all(u8::is_ascii_whitespace) {
        Value::Null
    } else {
        match serde_json::from_slice(body) {
            Ok(fields @ Value::Object(_)) => fields,
            Ok(_) | Err(_) => return Err(bad("the body is no JSON object")),
        }
    };
    match verb {
        Verb::StepDown => Ok(Command::StepDown),
        Verb::Drain => Ok(Command::Drain),
        Verb::Resume => Ok(Command::Resume),
        Verb::Transfer => {
            let Some(to) = fields["to"].as_str() else {
                return Err(bad("name a voter: {\"to\": \"NAME\"}"));
            };
            match to.parse::<NodeId>() {
                Ok(to) => Ok(Command::Transfer { to }),
                Err(error) => Err(bad(&format!("`to` is no name of a node: {error}"))),
            }
        }
    }
}

/// What the node said to it.
pub(super) fn answer(reply: &Reply, present: &Present<'_>) -> Answer {
    let node = present.view.status.node.as_str();
    match reply {
        Reply::Done { leader, term, note } => Answer::json(
            StatusCode::OK,
            &json!({
                "accepted": true,
                "node_id": node,
                "leader_id": name(*leader),
                "address": leader.map(|leader| present.http_address(leader)),
                "term": term,
                "note": note,
            }),
        ),
        Reply::NotLeader { leader } => {
            let address = leader.map(|leader| present.http_address(leader));
            let why = match (leader, &address) {
                (Some(leader), Some(address)) => {
                    format!("{node} does not lead; ask the leader {leader} at {address}")
                }
                _ => format!("{node} does not lead, and knows of no leader"),
            };
            let refusal = json!({ "accepted": false, "error_code": "NOT_LEADER", "error": why });
            let leader = json!({ "leader_id": name(*leader), "address": address });
            Answer::json(StatusCode::CONFLICT, &object([refusal, leader]))
        }
        Reply::Refused { code, why } => not_accepted(StatusCode::CONFLICT, code, why),
        // No verb of this module is answered so.
        Reply::Started { .. } | Reply::AlreadyInProgress => not_accepted(
            StatusCode::CONFLICT,
            "IN_PROGRESS",
            "an election is under way; ask /election/status",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_names_a_voter() {
        let to = "b".parse().unwrap();
        assert_eq!(command(Verb::Transfer, br#"{"to":"b"}"#), Ok(Command::Transfer { to }));
        for bad in ["", "{}", r#"{"to":1}"#, r#"{"to":"a b"}"#, "[]", "{"] {
            let answer = command(Verb::Transfer, bad.as_bytes()).expect_err(bad);
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        }
    }

    #[test]
    fn the_other_verbs_need_no_body() {
        for (deed, wanted) in [
            (Verb::StepDown, Command::StepDown),
            (Verb::Drain, Command::Drain),
            (Verb::Resume, Command::Resume),
        ] {
            assert_eq!(command(deed, b""), Ok(wanted.clone()));
            assert_eq!(command(deed, br#"{"reason":"kernel update"}"#), Ok(wanted));
            assert!(command(deed, b"yes").is_err());
        }
    }
}
