//! `GET /status`: everything that the node knows, under the names that people and scripts use.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Present, name, names, object, seconds};
use super::members;

/// The answer; `alive_only` leaves unreachable nodes out of `peers`.
pub(super) fn answer(present: &Present<'_>, alive_only: bool) -> Answer {
    let body = object([
        leadership(present),
        voters(present),
        agreement(present),
        json!({
            "self": members::this(present),
            "peers": members::peers(present, alive_only),
            "all_peers": members::all_peers(present),
        }),
        process(present),
    ]);
    Answer::json(StatusCode::OK, &body)
}

fn leadership(present: &Present<'_>) -> Value {
    let view = &present.view;
    json!({
        "node_id": view.status.node.as_str(),
        "role": view.role.as_str(),
        "is_leader": view.is_leader,
        "leader_id": name(view.leader),
        "effective_leader_id": name(view.effective_leader),
        "term": view.status.term,
        "lease_ttl": seconds(view.lease_left),
        "no_leader_reason": present.no_leader_reason(),
        "leader_last_seen_seconds": view.leader_silence().map(seconds),
        "alive_peers": view.peers.reachable(),
        "total_peers": view.peers.total(),
        "suspect_peers": view.peers.suspect,
        "dead_peers": view.peers.dead,
    })
}

fn voters(present: &Present<'_>) -> Value {
    let view = &present.view;
    let mismatches = members::voters(present).filter(|voter| voter.set_mismatch);
    json!({
        "voters": members::voter_map(present),
        "voter_node_ids": names(members::voters(present).map(|voter| voter.id)),
        "voter_quorum_size": view.status.quorum,
        "voters_alive": view.voters_alive,
        "voter_quorum_ok": view.quorum_ok,
        "voter_config_version": view.status.voter_set.version,
        "voter_config_hash": format!("{:016x}", view.status.voter_set.hash),
        "voter_config_mismatch": names(mismatches.map(|voter| voter.id)),
        "voter_config_led": view.status.led_version,
        "voter_health": members::voter_health(present),
    })
}

fn agreement(present: &Present<'_>) -> Value {
    let view = &present.view;
    let reported = view.leaders_reported();
    let eligible = reported.iter().copied().filter(|&id| view.may_lead(id));
    let agreement = view.agreement();
    let leads = view.leader == Some(view.status.node);
    json!({
        "leaders_reported": names(reported.iter().copied()),
        "leaders_eligible": names(eligible),
        "leader_consensus": {
            "consensus_leader": name(agreement.leader),
            "leader_agreement": agreement.voters,
            "total_voters": view.status.voters.len(),
        },
        "leadership_consistency": {
            "role": view.role.as_str(),
            "leader_id": name(view.leader),
            "node_id": view.status.node.as_str(),
            "is_consistent": leads == view.is_leader,
        },
    })
}

fn process(present: &Present<'_>) -> Value {
    let (view, facts) = (&present.view, present.facts);
    let status = view.status;
    let uptime = seconds(present.ago(status.started_at));
    let host = facts.host(status.node).unwrap_or_else(|| facts.address.ip().to_string());
    json!({
        "election_state": election_state(present),
        "election_count": status.counters.elections,
        "leader_changes": status.counters.leader_changes,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "guardian_pid": facts.guardian_pid,
        "work": facts.work.load().to_value(),
        "uptime_seconds": uptime,
        "uptime": uptime,
        "timestamp": present.timestamp(),
        "work_queue_size": 0,
        "active_jobs": 0,
        "selfplay_jobs": 0,
        "training_jobs": 0,
        "cluster": facts.config.cluster,
        "lease_length": seconds(facts.config.election.lease),
        "config_version": {
            "hash": facts.config.hash,
            "path": facts.config.path.as_ref().map(|path| path.display().to_string()),
        },
        "network": { "advertise_host": host, "advertise_port": facts.address.port() },
        "partition": {
            "partition_status": view.partition().as_str(),
            "health_ratio": view.health_ratio(),
        },
        "vote_store": { "works": status.store_works, "problem": status.store_problem },
        "gossip": facts.keys.load().to_value(),
        "follows_over": if facts.source.is_some() { "http" } else { "gossip" },
        "source": facts.source.as_ref().map(|source| source.load().to_value(present)),
        "shadow": facts.shadow.as_ref().map(|shadow| shadow.load().to_value(present)),
        "warnings": facts.warnings,
    })
}

/// Where this node stands, in one word.
fn election_state(present: &Present<'_>) -> &'static str {
    let view = &present.view;
    if view.is_leader {
        "leading"
    } else if view.status.election_in_progress {
        "electing"
    } else if view.leader.is_some() {
        "following"
    } else {
        "waiting"
    }
}
