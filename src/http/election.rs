//! `/election/status`, and what is said to somebody who asks for an election.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Present, name, names, object, seconds};
use super::members;
use crate::node::Reply;
use crate::node::status::{Ballot, PastElection, VoterStatus};

/// The longest reason that may be given for an election, in characters.
const MAX_REASON: usize = 200;

/// The reason of somebody who gives none.
const DEFAULT_REASON: &str = "triggered";

/// `GET /election/status`.
pub(super) fn status(present: &Present<'_>) -> Answer {
    let view = &present.view;
    let status = view.status;
    let cooldown = status.trigger_blocked_until.map_or(0.0, |end| seconds(view.now.until(end)));
    let body = object([
        json!({
            "node_id": status.node.as_str(),
            "role": view.role.as_str(),
            "leader_id": name(view.leader),
            "no_leader_reason": present.no_leader_reason(),
            "term": status.term,
            "voted_for": name(status.voted_for),
            "voters": names(members::voters(present).map(|voter| voter.id)),
            "candidates": names(status.candidates.iter().copied()),
            "quorum_size": status.quorum,
            "voters_alive": view.voters_alive,
            "quorum_ok": view.quorum_ok,
            "election_in_progress": status.election_in_progress,
        }),
        json!({
            "lease": lease(present),
            "promise": promise(present),
            "priority": priority(present),
            "takeover": takeover(present),
            "why": why(present),
            "cooldown_seconds": cooldown,
            "drained": status.drained,
            "last_elections": past(present),
        }),
    ]);
    Answer::json(StatusCode::OK, &body)
}

/// The lease: this node's own with its time left, or whose it follows and when it was last heard.
fn lease(present: &Present<'_>) -> Value {
    let view = &present.view;
    let renewed = if view.is_leader {
        view.status.lease.map(|lease| lease.renewed_at)
    } else {
        view.leader.and(view.status.follows).map(|known| known.heard_at)
    };
    json!({
        "holder": name(view.leader),
        "ttl_seconds": seconds(view.lease_left),
        "renewed_seconds_ago": renewed.map(|moment| seconds(present.ago(moment))),
    })
}

/// The better voter that would take over from this leader, and what keeps it; null elsewhere.
fn takeover(present: &Present<'_>) -> Value {
    let view = &present.view;
    let Some(takeover) = view.status.takeover.filter(|_| view.is_leader) else {
        return Value::Null;
    };
    json!({
        "candidate": takeover.candidate.as_str(),
        "blocked_by": takeover.blocked_by.as_str(),
        "in_seconds": takeover.until.map(|until| seconds(view.now.until(until))),
    })
}

/// Why there is no leader, why this node does not lead, why nobody takes over.
fn why(present: &Present<'_>) -> Value {
    let why = present.view.status.why(present.view.now);
    json!({
        "no_leader": why.no_leader, "not_leading": why.not_leading, "no_takeover": why.no_takeover,
    })
}

fn promise(present: &Present<'_>) -> Value {
    let now = present.view.now;
    let promise = present.view.status.promise.filter(|promise| now < promise.until);
    json!({
        "to": name(promise.map(|promise| promise.to)),
        "expires_in_seconds": promise.map_or(0.0, |promise| seconds(now.until(promise.until))),
    })
}

/// The present order, best first.
fn priority(present: &Present<'_>) -> Value {
    let voters = &present.view.status.voters;
    let mut voters: Vec<&VoterStatus> = voters.iter().collect();
    voters.sort_by_key(|voter| (voter.rank, voter.id));
    let entry = |voter: &VoterStatus| {
        json!({
            "node_id": voter.id.as_str(),
            "rank": voter.rank,
            "stability": voter.priority.stability,
            "centrality": voter.priority.centrality,
            "gpu": voter.priority.gpu == 0,
            "configured": voter.priority.order,
            "drained": voter.priority.drained,
            "last": voter.priority.last,
            "said": voter.said.map(|(at, said)| json!({
                "what": said.as_str(), "why": said.why(), "seconds_ago": seconds(present.ago(at)),
            })),
        })
    };
    voters.into_iter().map(entry).collect()
}

fn past(present: &Present<'_>) -> Value {
    let entry = |election: &PastElection| {
        let votes = election.votes.iter().map(|(voter, ballot)| {
            let ballot = match ballot {
                Ballot::Granted => "granted",
                Ballot::Refused => "refused",
                Ballot::Silent => "silent",
            };
            (voter.as_str().to_owned(), Value::from(ballot))
        });
        json!({
            "term": election.term,
            "cause": election.cause,
            "winner": name(election.winner),
            "started_at": present.timestamp_of(election.started_at),
            "duration_seconds": seconds(election.took),
            "ended": election.ended.map(|(at, cause)| json!({
                "cause": cause,
                "at": present.timestamp_of(at),
                "lasted_seconds": seconds(at.since(election.started_at + election.took)),
            })),
            "votes": votes.collect::<Value>(),
        })
    };
    present.view.status.history.iter().map(entry).collect()
}

/// Reads the optional body of a trigger: the reason that its answer repeats.
///
/// # Errors
/// The answer 400: the body is no JSON object, or its reason is no text, longer than 200
/// characters, or has control characters.
pub(super) fn reason(body: &[u8]) -> Result<String, Answer> {
    let bad = |why: &str| Answer::error(StatusCode::BAD_REQUEST, "BAD_REQUEST", why);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(DEFAULT_REASON.to_owned());
    }
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Err(bad("the body is no JSON object"));
    };
    match fields.get("reason") {
        None | Some(Value::Null) => Ok(DEFAULT_REASON.to_owned()),
        Some(Value::String(reason)) if reason.chars().count() > MAX_REASON => {
            Err(bad("the reason is longer than 200 characters"))
        }
        Some(Value::String(reason)) if reason.chars().any(char::is_control) => {
            Err(bad("the reason has control characters"))
        }
        Some(Value::String(reason)) => Ok(reason.clone()),
        Some(_) => Err(bad("the reason is no text")),
    }
}

/// What the node said to a trigger.
pub(super) fn triggered(reply: &Reply, reason: &str, node: &str) -> Answer {
    match reply {
        Reply::Started { term } => Answer::json(
            StatusCode::OK,
            &json!({
                "accepted": true, "started": true, "reason": reason, "node_id": node, "term": term,
            }),
        ),
        Reply::AlreadyInProgress => Answer::json(
            StatusCode::OK,
            &json!({
                "accepted": true,
                "started": false,
                "reason": "election_already_in_progress",
                "node_id": node,
            }),
        ),
        Reply::Refused { code, why } => not_accepted(StatusCode::CONFLICT, code, why),
        // A trigger is never answered so.
        Reply::Done { .. } | Reply::NotLeader { .. } => {
            not_accepted(StatusCode::CONFLICT, "NOT_LEADER", "ask /election/status")
        }
    }
}

/// A trigger that led to nothing, as far as is known.
pub(super) fn not_accepted(status: StatusCode, code: &str, why: &str) -> Answer {
    let body = json!({ "accepted": false, "started": false, "error_code": code, "error": why });
    Answer::json(status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reply: &Reply) -> (u16, String) {
        let answer = triggered(reply, "drill", "a");
        (answer.status.as_u16(), answer.body.trim_end().to_owned())
    }

    #[test]
    fn every_reply_has_its_answer() {
        let refused = Reply::Refused { code: "NO_QUORUM", why: "2 of 5 voters".to_owned() };
        for (reply, status, body) in [
            (
                Reply::Started { term: 7 },
                200,
                r#"{"accepted":true,"started":true,"reason":"drill","node_id":"a","term":7}"#,
            ),
            (
                Reply::AlreadyInProgress,
                200,
                r#"{"accepted":true,"started":false,"reason":"election_already_in_progress","node_id":"a"}"#,
            ),
            (
                refused,
                409,
                r#"{"accepted":false,"started":false,"error_code":"NO_QUORUM","error":"2 of 5 voters"}"#,
            ),
        ] {
            assert_eq!(told(&reply), (status, body.to_owned()));
        }
    }

    #[test]
    fn a_reason_is_optional() {
        for body in ["", " \r\n", "{}", r#"{"reason":null}"#, r#"{"other":[1]}"#] {
            assert_eq!(reason(body.as_bytes()), Ok(DEFAULT_REASON.to_owned()), "{body}");
        }
        assert_eq!(reason(br#"{"reason":"drill"}"#), Ok("drill".to_owned()));
        let longest = "é".repeat(MAX_REASON);
        assert_eq!(reason(format!(r#"{{"reason":"{longest}"}}"#).as_bytes()), Ok(longest));
    }

    #[test]
    fn a_malformed_body_is_400() {
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(MAX_REASON + 1));
        let deep = "[".repeat(10_000);
        let bodies = [
            "{",
            "[]",
            "\"x\"",
            r#"{"reason":1}"#,
            r#"{"reason":"a\nb"}"#,
            "reason=x",
            &long,
            &deep,
        ];
        for body in bodies {
            let answer = reason(body.as_bytes()).expect_err(body);
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert!(answer.body.contains("BAD_REQUEST"), "{}", answer.body);
        }
        assert!(reason(b"{\"reason\":\"\xff\"}").is_err());
    }
}
