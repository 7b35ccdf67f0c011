//! Answers of followed nodes, for tests.

use serde_json::{Value, json};

/// The `/status` of `v2`, which heard `v1` lead in term 7 a second ago.
pub(super) fn answer() -> Value {
    json!({
        "node_id": "v2",
        "is_leader": false,
        "leader_id": "v1",
        "effective_leader_id": "v1",
        "term": 7,
        "lease_ttl": 0.0,
        "no_leader_reason": null,
        "leader_last_seen_seconds": 1.0,
        "voters": {
            "v1": { "priority": 1, "voted_for": "v1", "term": 7, "alive": true },
            "v2": { "priority": 2, "voted_for": "v1", "term": 7, "alive": true },
            "v3": { "priority": 3, "voted_for": null, "term": null, "alive": false },
        },
        "voter_config_version": 1,
        "voter_config_hash": format!("{:016x}", super::known::tests::set().tag().hash),
        "voter_config_mismatch": [],
        "self": { "host": "10.0.0.2", "port": 8770, "leader_term": 7 },
        "peers": { "v1": { "leader_id": "v1" } },
        "all_peers": {
            "v1": { "host": "10.0.0.1", "port": 8770, "state": "alive", "last_seen_seconds": 0.5 },
            "v3": { "host": "10.0.0.3", "port": 8770, "state": "dead", "last_seen_seconds": null },
            "guest": { "host": "10.0.0.9", "port": 8771, "state": "suspect", "last_seen_seconds": 4.0 },
            "me": { "host": "10.0.0.5", "port": 8770, "state": "unknown", "last_seen_seconds": null },
            "no name!": { "host": "", "port": 1, "state": "alive", "last_seen_seconds": null },
        },
    })
}

/// That answer with some fields replaced.
pub(super) fn answer_with(fields: &Value) -> Value {
    let mut answer = answer();
    for (key, value) in fields.as_object().expect("an object") {
        answer[key] = value.clone();
    }
    answer
}
