//! `/health`, `/ready` and `/leader`: what load balancers and supervisors probe.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::json;

use super::answer::{Answer, Present, name, object, seconds};

/// `GET /health`: the process lives and answers.
pub(super) fn health(present: &Present<'_>) -> Answer {
    let (view, machine) = (&present.view, present.machine);
    let body = json!({
        "status": "healthy",
        "healthy": true,
        "node_id": view.status.node.as_str(),
        "role": view.role.as_str(),
        "leader_id": name(view.leader),
        "leader_last_seen_seconds": view.leader_silence().map(seconds),
        "active_peers": view.peers.reachable(),
        "total_peers": view.peers.total(),
        "uptime_seconds": seconds(present.ago(view.status.started_at)),
        "timestamp": present.timestamp(),
        "disk_percent": machine.disk,
        "memory_percent": machine.memory,
        "cpu_percent": machine.cpu,
    });
    Answer::json(StatusCode::OK, &body)
}

/// `GET /ready`: the node leads or knows who does.
pub(super) fn ready(present: &Present<'_>) -> Answer {
    let view = &present.view;
    let known = json!({
        "ready": view.leader.is_some(),
        "node_id": view.status.node.as_str(),
        "leader_id": name(view.leader),
    });
    match present.no_leader_reason() {
        None => Answer::json(StatusCode::OK, &known),
        Some(reason) => {
            let error = json!({ "error": reason, "error_code": "NO_LEADER" });
            Answer::json(StatusCode::SERVICE_UNAVAILABLE, &object([known, error]))
        }
    }
}

/// `GET /leader`: 200 from the node that leads now, and from no other.
///
/// `X-Leader-Term` and `X-Lease-Remaining-Ms` come with the 200 only; `X-Leader-Id` and
/// `X-Leader-Address`, where its HTTP server is, come with every answer while a leader is known.
pub(super) fn leader(present: &Present<'_>) -> Answer {
    let view = &present.view;
    let address = present.leader_address();
    let id = view.leader.map(|leader| leader.as_str().to_owned());
    let headers = [("x-leader-id", id), ("x-leader-address", address.clone())];
    let told = |answer: Answer| {
        headers.iter().fold(answer, |answer, (name, value)| {
            match value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                Some(value) => answer.with(HeaderName::from_static(name), value),
                None => answer,
            }
        })
    };
    let known = json!({
        "leader_id": name(view.leader),
        "address": address,
        "term": view.leader_term.unwrap_or(view.status.term),
        "lease_ttl": seconds(view.lease_left),
    });
    if let Some(lease) = view.status.lease.filter(|_| view.is_leader) {
        let remaining = u64::try_from(view.lease_left.as_millis()).unwrap_or(u64::MAX);
        return told(Answer::json(StatusCode::OK, &known))
            .with(HeaderName::from_static("x-leader-term"), HeaderValue::from(lease.term))
            .with(HeaderName::from_static("x-lease-remaining-ms"), HeaderValue::from(remaining));
    }
    let error = match present.no_leader_reason() {
        None => json!({ "error": "this node does not lead", "error_code": "NOT_LEADER" }),
        Some(reason) => json!({ "error": reason, "error_code": "NO_LEADER" }),
    };
    told(Answer::json(StatusCode::SERVICE_UNAVAILABLE, &object([known, error])))
}
