//! Other nodes as JSON: `/members`, and the maps of `/status`.

use hyper::StatusCode;
use ringrift_wire::NodeId;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Present, millis, name, names, object, seconds};
use crate::node::status::{Health, MemberStatus, VoterStatus};

/// `GET /members`: the member table, this node first.
pub(super) fn table(present: &Present<'_>) -> Answer {
    let status = present.view.status;
    let this = json!({
        "node_id": status.node.as_str(),
        "is_self": true,
        "state": Health::Alive.as_str(),
        "since_seconds": seconds(present.ago(status.started_at)),
        "boot_sequence": status.boot.sequence,
        "incarnation": status.incarnation,
        "address": present.facts.address.to_string(),
        "rtt_ms": null,
        "packet_loss_rate": 0.0,
        "last_seen_seconds": 0.0,
        "suspected_by": [],
        "suspicion": null,
        "declared_dead_by": null,
        "last_refutation": null,
        "held_off": false,
        "held_off_seconds_left": null,
        "probes": null,
        "conflict": null,
        "address_refused": null,
    });
    let others = status.members.iter().map(|member| {
        json!({
            "node_id": member.id.as_str(),
            "is_self": false,
            "state": member.health.as_str(),
            "since_seconds": seconds(present.ago(member.since)),
            "boot_sequence": member.sequence,
            "incarnation": member.incarnation,
            "address": member.address.map(|address| address.to_string()),
            "rtt_ms": member.round_trip.map(millis),
            "packet_loss_rate": f64::from(member.loss_permille) / 1e3,
            "last_seen_seconds": last_seen(present, member),
            "suspected_by": names(member.suspected_by.iter().copied()),
            "suspicion": suspicion(present, member),
            "declared_dead_by": name(member.account.declared_dead_by),
            "last_refutation": member.account.refuted.map(|(at, how)| json!({
                "how": how.as_str(), "seconds_ago": seconds(present.ago(at)),
                "accused_by": names(member.account.refuted_accusers.iter().copied()),
            })),
            "held_off": member.account.held_off_until.is_some(),
            "held_off_seconds_left": member.account.held_off_until.map(|until| seconds(present.view.now.until(until))),
            "probes": {
                "answered": member.probes_answered,
                "failed": member.probes_failed,
                "late": member.account.late_answers,
            },
            "conflict": conflict(member),
            "address_refused": refused(member),
        })
    });
    let members: Vec<Value> = std::iter::once(this).chain(others).collect();
    let body = json!({
        "node_id": status.node.as_str(),
        "local_health": status.local_health,
        "members": members,
        "voters_hear": matrix(present),
    });
    Answer::json(StatusCode::OK, &body)
}

/// Who hears whom among the voters, by each one's own word; one that has said nothing is left out.
fn matrix(present: &Present<'_>) -> Value {
    let rows = present.view.status.hearing.iter().map(|row| {
        let hears = row.hears.iter().map(|(of, heard)| {
            let heard = heard.map(|heard| {
                json!({
                    "rtt_ms_below": millis(heard.round_trip),
                    "packet_loss_rate_up_to": f64::from(heard.loss) / 1e3,
                })
            });
            (of.as_str().to_owned(), heard.unwrap_or(Value::Null))
        });
        let said = json!({
            "told_seconds_ago": seconds(present.ago(row.told_at)),
            "hears": hears.collect::<Map<_, _>>(),
        });
        (row.by.as_str().to_owned(), said)
    });
    rows.collect()
}

/// Who suspects a member: the first accuser, and who confirmed it; null while nobody does.
fn suspicion(present: &Present<'_>, member: &MemberStatus) -> Value {
    let accusers = member.account.accusers.iter();
    let mut accusers = accusers.map(
        |&(by, since)| json!({ "by": by.as_str(), "since_seconds": seconds(present.ago(since)) }),
    );
    match accusers.next() {
        Some(first) => json!({
            "by": first["by"],
            "since_seconds": first["since_seconds"],
            "confirmed_by": accusers.collect::<Vec<_>>(),
        }),
        None => Value::Null,
    }
}

/// Where a second live process of a member's name is, in words.
fn conflict(member: &MemberStatus) -> Option<String> {
    let second = member.rival?;
    Some(format!("another live process uses this name at {second}; it is refused"))
}

/// Which address of a member is not used, in words.
fn refused(member: &MemberStatus) -> Option<String> {
    member.refused.map(|(address, why)| format!("{address} is {why} and is not used"))
}

fn last_seen(present: &Present<'_>, member: &MemberStatus) -> Option<f64> {
    member.last_heard.map(|heard| seconds(present.ago(heard)))
}

/// `self` of `/status`.
pub(super) fn this(present: &Present<'_>) -> Value {
    let view = &present.view;
    let node = view.status.node;
    let host = present.facts.host(node).unwrap_or_else(|| present.facts.address.ip().to_string());
    let leader = json!({ "leader_id": name(view.leader), "leader_term": view.leader_term.unwrap_or(view.status.term) });
    let version = Value::from(env!("CARGO_PKG_VERSION"));
    node_fields(present, node, &host, present.unix(view.now), leader, version)
}

/// The fields that `self` and each of `peers` share.
fn node_fields(
    present: &Present<'_>,
    id: NodeId,
    host: &str,
    last_heartbeat: f64,
    leader: Value,
    version: Value,
) -> Value {
    let (view, facts) = (&present.view, present.facts);
    let gossip = view.status.member(id).and_then(|member| member.address);
    let gossip = gossip.unwrap_or(facts.address);
    let configured = facts.config.hosts.get(&id);
    let gpu = configured.and_then(|host| host.gpu.as_deref());
    let is_voter = view.status.voters.iter().any(|voter| voter.id == id);
    object([
        json!({
            "node_id": id.as_str(),
            "host": host,
            "port": facts.http_port_of(id, gossip),
            "scheme": "http",
            "role": view.role_of(id).as_str(),
            "last_heartbeat": last_heartbeat,
        }),
        leader,
        json!({
            "has_gpu": gpu.is_some(),
            "gpu_name": gpu,
            "tailscale_ip": configured.and_then(|host| host.tailscale_ip.as_deref()),
            "version": version,
            "is_voter": is_voter,
            "status": life(view.is_reachable(id)),
        }),
    ])
}

const fn life(reachable: bool) -> &'static str {
    if reachable { "alive" } else { "dead" }
}

/// `peers` of `/status`: the reachable ones, or all.
pub(super) fn peers(present: &Present<'_>, alive_only: bool) -> Value {
    let members = present.view.status.members.iter();
    let shown = members.filter(|member| !alive_only || member.health.is_reachable());
    shown.map(|member| (member.id.as_str().to_owned(), peer(present, member))).collect()
}

fn peer(present: &Present<'_>, member: &MemberStatus) -> Value {
    let view = &present.view;
    let reachable = member.health.is_reachable();
    let voter = view.status.voters.iter().find(|voter| voter.id == member.id);
    let leader = json!({
        "leader_id": name(voter.and_then(|voter| view.reported_by(voter))),
        "leader_term": voter.and_then(|voter| voter.term),
    });
    let host = host_of(present, member);
    object([
        // What version another node runs is not known.
        node_fields(present, member.id, &host, heard(present, member), leader, Value::Null),
        json!({
            "is_alive": reachable,
            "alive": reachable,
            "state": member.health.as_str(),
            "leader_eligible": view.may_lead(member.id),
            "seconds_since_heartbeat": last_seen(present, member),
            "rtt_ms": member.round_trip.map(millis),
            "incarnation": member.incarnation,
            "conflict": conflict(member),
        }),
    ])
}

fn host_of(present: &Present<'_>, member: &MemberStatus) -> String {
    let gossip = || member.address.map(|address| address.ip().to_string()).unwrap_or_default();
    present.facts.host(member.id).unwrap_or_else(gossip)
}

/// Unix seconds of the last datagram of a member; 0 without one.
fn heard(present: &Present<'_>, member: &MemberStatus) -> f64 {
    member.last_heard.map_or(0.0, |heard| present.unix(heard))
}

/// `all_peers` of `/status`.
pub(super) fn all_peers(present: &Present<'_>) -> Value {
    let view = &present.view;
    let entry = |member: &MemberStatus| {
        let reachable = member.health.is_reachable();
        let fields = json!({
            "node_id": member.id.as_str(),
            "host": host_of(present, member),
            "port": present.facts.http_port_of(member.id, member.address.unwrap_or(present.facts.address)),
            "role": view.role_of(member.id).as_str(),
            "status": life(reachable),
            "state": member.health.as_str(),
            "is_alive": reachable,
            "last_heartbeat": heard(present, member),
            "last_seen_seconds": last_seen(present, member),
            "capabilities": [],
            "load_score": 0,
        });
        (member.id.as_str().to_owned(), fields)
    };
    view.status.members.iter().map(entry).collect()
}

/// How this node reaches a voter: by its own datagrams, only by what others say, or not.
fn reach(present: &Present<'_>, voter: &VoterStatus) -> &'static str {
    if voter.is_self {
        return "self";
    }
    let silence = present.facts.config.election.peer_timeout;
    match present.view.status.member(voter.id) {
        Some(member) if member.health.is_reachable() => match member.last_heard {
            Some(heard) if present.facts.hears(voter.id) && present.ago(heard) <= silence => {
                "direct"
            }
            _ => "indirect",
        },
        _ => "unreachable",
    }
}

/// Every voter, in the order of the configuration.
pub(super) fn voters<'a>(present: &Present<'a>) -> impl Iterator<Item = &'a VoterStatus> {
    let voters = &present.view.status.voters;
    let order = present.facts.config.voters.iter();
    order.filter_map(move |id| voters.iter().find(|voter| voter.id == *id))
}

/// `voters` of `/status`.
pub(super) fn voter_map(present: &Present<'_>) -> Map<String, Value> {
    let entry = |voter: &VoterStatus| {
        let member = present.view.status.member(voter.id);
        let address = match member {
            None => present.facts.address.to_string(),
            // Until its name is resolved, the name.
            Some(member) => member
                .address
                .map_or_else(|| host_of(present, member), |address| address.to_string()),
        };
        let state = match member {
            _ if voter.is_self => Health::Alive,
            Some(member) => member.health,
            None => Health::Unknown,
        };
        let seen = match member {
            _ if voter.is_self => Some(0.0),
            Some(member) => last_seen(present, member),
            None => None,
        };
        let fields = json!({
            "alive": present.view.is_reachable(voter.id),
            "is_self": voter.is_self,
            "address": address,
            "state": state.as_str(),
            "priority": voter.rank,
            "last_seen_seconds": seen,
            "rtt_ms": member.and_then(|member| member.round_trip).map(millis),
            "voted_for": name(voter.voted_for),
            "term": voter.term,
            "detail": reach(present, voter),
            "conflict": member.and_then(conflict),
            "address_refused": member.and_then(refused),
        });
        (voter.id.as_str().to_owned(), fields)
    };
    voters(present).map(entry).collect()
}

/// `voter_health` of `/status`.
pub(super) fn voter_health(present: &Present<'_>) -> Value {
    let view = &present.view;
    let offline = voters(present).map(|voter| voter.id).filter(|&id| !view.is_reachable(id));
    let states = voters(present).map(|voter| {
        let alive = view.is_reachable(voter.id);
        let state = json!({ "alive": alive, "detail": reach(present, voter) });
        (voter.id.as_str().to_owned(), state)
    });
    json!({
        "voters_total": view.status.voters.len(),
        "voters_alive": view.voters_alive,
        "voters_offline": names(offline),
        "quorum_size": view.status.quorum,
        "quorum_ok": view.quorum_ok,
        // One more loss, and there is no quorum.
        "quorum_threatened": view.voters_alive <= view.status.quorum,
        "voter_status": states.collect::<Map<_, _>>(),
    })
}
