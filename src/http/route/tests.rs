//! Routing, held against the contract: every route, every refusal.

use super::*;
use crate::http::fixtures::{facts_of, head, present, present_at};
use crate::node::Status;
use crate::node::status::{Health, Lease};
use crate::node::status::{Heard, HearingRow, Refutation};
use crate::telemetry::fixtures::{self, NOW, id};
use core::time::Duration;
use serde_json::Value;

const ENDS: &str = "127.0.0.1:8770";

fn ends() -> Ends {
    let end = ENDS.parse().unwrap();
    Ends { peer: end, local: end }
}

fn numbers(status: &Status) -> Metrics {
    Metrics::new(status.node, &fixtures::config(), &["ping"], &["magic"], None).unwrap()
}

/// The answer to a GET at `now`.
fn get_at(status: &Status, uri: &str, now: crate::time::Instant) -> Answer {
    let facts = facts_of(status);
    match wish(&head(Method::GET, uri, &[]), ends(), &facts) {
        Ok(Wish::Tell(page)) => tell(page, &present_at(status, &facts, now), &numbers(status)),
        Ok(asked) => panic!("{uri} asks for {asked:?}"),
        Err(answer) => answer,
    }
}

fn get(status: &Status, uri: &str) -> Answer {
    get_at(status, uri, NOW)
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

/// Whether `value` is of the type that a table names: alternatives by `|`, `[id]` for a list of
/// names, `{}` for an object.
fn is_of(value: &Value, types: &str) -> bool {
    types.split('|').any(|kind| match kind {
        "str" => value.as_str().is_some_and(|text| !text.is_empty()),
        "bool" => value.is_boolean(),
        "int" => value.is_u64() || value.is_i64(),
        "float" => value.is_f64(),
        "null" => value.is_null(),
        "{}" => value.is_object(),
        "[]" => value.is_array(),
        "[id]" => value.as_array().is_some_and(|ids| {
            ids.iter()
                .all(|id| id.as_str().is_some_and(|id| id.parse::<ringrift_wire::NodeId>().is_ok()))
        }),
        word => value.as_str() == word.strip_prefix('=') && word.starts_with('='),
    })
}

/// Compares an object with a table of `key type` lines, in order and without a key more.
fn assert_schema(value: &Value, table: &str, place: &str) {
    let expected: Vec<(&str, &str)> =
        table.split(',').filter_map(|line| line.trim().split_once(' ')).collect();
    let object = value.as_object().unwrap_or_else(|| panic!("{place} is no object: {value}"));
    let keys: Vec<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(keys, expected.iter().map(|(key, _)| *key).collect::<Vec<_>>(), "{place}");
    for (key, types) in expected {
        assert!(is_of(&object[key], types.trim()), "{place}.{key} is no {types}: {}", object[key]);
    }
}

const ROLE: &str = "=leader|=follower|=candidate|=observer";
const STATE: &str = "=unknown|=alive|=suspect|=dead|=left";
const REACH: &str = "=self|=direct|=indirect|=unreachable";

#[test]
fn status_has_every_field_in_order_and_of_its_type() {
    let whole = format!(
        "node_id str, role {ROLE}, is_leader bool, leader_id str|null, effective_leader_id str|null,
        term int, lease_ttl float, no_leader_reason str|null, leader_last_seen_seconds float|null,
        alive_peers int, total_peers int, suspect_peers int, dead_peers int, voters {{}}, voter_node_ids [id], voter_quorum_size int,
        voters_alive int, voter_quorum_ok bool, voter_config_version int, voter_config_hash str,
        voter_config_mismatch [id], voter_config_led int|null, voter_health {{}}, leaders_reported [id], leaders_eligible [id],
        leader_consensus {{}}, leadership_consistency {{}}, self {{}}, peers {{}}, all_peers {{}},
        election_state =leading|=electing|=following|=waiting, election_count int,
        leader_changes int, version str, pid int, guardian_pid int|null, work {{}}|null,
        uptime_seconds float, uptime float, timestamp str,
        work_queue_size int, active_jobs int, selfplay_jobs int, training_jobs int,
        cluster str, lease_length float, config_version {{}}, network {{}}, partition {{}}, vote_store {{}}, gossip {{}},
        follows_over =gossip|=http, source {{}}|null, shadow {{}}|null, warnings []"
    );
    let voter = format!(
        "alive bool, is_self bool, address str, state {STATE}, priority int,
        last_seen_seconds float|null, rtt_ms float|null, voted_for str|null, term int|null,
        detail {REACH}, conflict str|null, address_refused str|null"
    );
    let node = format!(
        "node_id str, host str, port int, scheme =http, role {ROLE}, last_heartbeat float,
        leader_id str|null, leader_term int|null, has_gpu bool, gpu_name str|null,
        tailscale_ip str|null, version str|null, is_voter bool, status =alive|=dead"
    );
    let peer = format!(
        "{node}, is_alive bool, alive bool, state {STATE}, leader_eligible bool,
        seconds_since_heartbeat float|null, rtt_ms float|null, incarnation int,
        conflict str|null"
    );
    let any = format!(
        "node_id str, host str, port int, role {ROLE}, status =alive|=dead, state {STATE},
        is_alive bool, last_heartbeat float, last_seen_seconds float|null, capabilities [],
        load_score int"
    );
    for status in fixtures::all() {
        for uri in ["/status", "/status?alive_only=false"] {
            let body = json(&get(&status, uri));
            assert_schema(&body, &whole, "status");
            let voters = body["voters"].as_object().unwrap();
            assert_eq!(voters.keys().collect::<Vec<_>>(), fixtures::VOTERS);
            voters.values().for_each(|entry| assert_schema(entry, &voter, "voters"));
            assert_schema(&body["self"], &node, "self");
            let peers = body["peers"].as_object().unwrap();
            peers.values().for_each(|entry| assert_schema(entry, &peer, "peers"));
            let all = body["all_peers"].as_object().unwrap();
            assert_eq!(all.len(), status.members.len());
            all.values().for_each(|entry| assert_schema(entry, &any, "all_peers"));
            let health = "voters_total int, voters_alive int, voters_offline [id], quorum_size int,
                quorum_ok bool, quorum_threatened bool, voter_status {}";
            assert_schema(&body["voter_health"], health, "voter_health");
            for entry in body["voter_health"]["voter_status"].as_object().unwrap().values() {
                assert_schema(entry, &format!("alive bool, detail {REACH}"), "voter_status");
            }
            let consensus = "consensus_leader str|null, leader_agreement int, total_voters int";
            assert_schema(&body["leader_consensus"], consensus, "leader_consensus");
            let consistency =
                format!("role {ROLE}, leader_id str|null, node_id str, is_consistent bool");
            assert_schema(&body["leadership_consistency"], &consistency, "leadership_consistency");
            assert_schema(&body["config_version"], "hash str, path str|null", "config_version");
            assert_schema(&body["network"], "advertise_host str, advertise_port int", "network");
            let partition = "partition_status =none|=minority|=isolated, health_ratio float";
            assert_schema(&body["partition"], partition, "partition");
            assert_schema(&body["vote_store"], "works bool, problem str|null", "vote_store");
            assert_eq!(body["voter_config_hash"].as_str().map(str::len), Some(16));
            assert_eq!(body["timestamp"], "2025-12-06T05:50:00.25Z");
        }
    }
}

#[test]
fn election_status_has_every_field_in_order_and_of_its_type() {
    let whole = format!(
        "node_id str, role {ROLE}, leader_id str|null, no_leader_reason str|null, term int,
        voted_for str|null, voters [id], candidates [id], quorum_size int, voters_alive int,
        quorum_ok bool, election_in_progress bool, lease {{}}, promise {{}}, priority [],
        takeover {{}}|null, why {{}}, cooldown_seconds float, drained bool, last_elections []"
    );
    for status in fixtures::all() {
        let body = json(&get(&status, "/election/status"));
        assert_schema(&body, &whole, "election");
        let lease = "holder str|null, ttl_seconds float, renewed_seconds_ago float|null";
        assert_schema(&body["lease"], lease, "lease");
        assert_schema(&body["promise"], "to str|null, expires_in_seconds float", "promise");
        let order = body["priority"].as_array().unwrap();
        for (entry, rank) in order.iter().zip(1..) {
            let table = "node_id str, rank int, stability int, centrality int, gpu bool,
                configured int, drained bool, last bool, said {}|null";
            assert_schema(entry, table, "priority");
            assert_eq!(entry["rank"], rank);
        }
        assert_eq!(order.len(), 5);
        let past = &body["last_elections"][0];
        let table = "term int, cause str, winner str|null, started_at str, duration_seconds float,
            ended {}|null, votes {}";
        assert_schema(past, table, "last_elections");
        assert_eq!(past["votes"]["nebius-h100-3"], "refused");
        assert_eq!(past["started_at"], "2025-12-06T05:47:40.25Z");
    }
}

#[test]
fn health_has_every_field_in_order_and_of_its_type() {
    let whole = format!(
        "status =healthy, healthy bool, node_id str, role {ROLE}, leader_id str|null,
        leader_last_seen_seconds float|null, active_peers int, total_peers int,
        uptime_seconds float, timestamp str, disk_percent float|null, memory_percent float|null,
        cpu_percent float|null"
    );
    for status in fixtures::all() {
        let answer = get(&status, "/health");
        assert_eq!(answer.status, StatusCode::OK);
        assert_schema(&json(&answer), &whole, "health");
    }
}

#[test]
fn members_lists_the_table_and_this_node_first() {
    let table = format!(
        "node_id str, is_self bool, state {STATE}, since_seconds float, boot_sequence int|null,
        incarnation int, address str|null, rtt_ms float|null, packet_loss_rate float,
        last_seen_seconds float|null, suspected_by [id], suspicion {{}}|null,
        declared_dead_by str|null, last_refutation {{}}|null, held_off bool, held_off_seconds_left float|null, probes {{}}|null,
        conflict str|null, address_refused str|null"
    );
    for status in fixtures::all() {
        let body = json(&get(&status, "/members"));
        let members = body["members"].as_array().unwrap();
        assert_eq!(members.len(), status.members.len() + 1);
        assert_eq!(members[0]["node_id"], status.node.as_str());
        members.iter().for_each(|member| assert_schema(member, &table, "members"));
    }
    let body = json(&get(&fixtures::no_leader(), "/members"));
    let suspect = body["members"].as_array().unwrap().iter().find(|m| m["state"] == "suspect");
    assert_eq!(suspect.unwrap()["suspected_by"][0], "nebius-h100-3");
}

#[test]
fn members_says_who_suspected_whom_who_confirmed_it_and_how_it_was_refuted() {
    let mut status = fixtures::follower();
    let [a, b] = ["hetzner-cpu1", "hetzner-cpu2"].map(|name| name.parse().unwrap());
    let account = &mut status.members[0].account;
    account.accusers = vec![(a, status.taken_at), (b, status.taken_at)];
    account.refuted = Some((status.taken_at, Refutation::Incarnation));
    account.refuted_accusers = vec![b];
    account.held_off_until = Some(NOW + Duration::from_secs(8));
    let heard = Heard { round_trip: Duration::from_millis(2), loss: 50 };
    let hears = vec![(a, Some(heard)), (b, None)];
    status.hearing = vec![HearingRow { by: status.node, told_at: status.taken_at, hears }];
    let body = json(&get(&status, "/members"));
    let member = &body["members"][1];
    assert_eq!(member["suspicion"]["by"], a.as_str());
    assert_eq!(member["suspicion"]["confirmed_by"][0]["by"], b.as_str());
    assert_eq!(member["last_refutation"]["how"], "incarnation");
    assert_eq!(member["last_refutation"]["accused_by"][0], b.as_str());
    assert_eq!(member["held_off"], true);
    assert_eq!(member["held_off_seconds_left"], 8.0);
    let hears = &body["voters_hear"][status.node.as_str()]["hears"];
    assert_eq!(hears[a.as_str()]["rtt_ms_below"], 2.0);
    assert!(hears[b.as_str()].is_null());
}

#[test]
fn a_leader_says_so_everywhere_until_its_lease_ends() {
    let status = fixtures::leader();
    let end = status.lease.map(|lease| lease.ends_at).unwrap();
    for (now, leads) in [(NOW, true), (end - Duration::from_nanos(1), true), (end, false)] {
        let body = json(&get_at(&status, "/status", now));
        assert_eq!(body["is_leader"], leads);
        assert_eq!(body["role"] == "leader", leads);
        assert_eq!(body["self"]["role"] == "leader", leads);
        assert_eq!(body["leader_id"] == body["node_id"], leads);
        assert_eq!(body["no_leader_reason"].is_null(), leads);
        assert_eq!(body["leadership_consistency"]["is_consistent"], true);
        let election = json(&get_at(&status, "/election/status", now));
        assert_eq!(election["lease"]["holder"] == body["node_id"], leads);
        let leader = get_at(&status, "/leader", now);
        assert_eq!(leader.status == StatusCode::OK, leads);
        assert_eq!(get_at(&status, "/ready", now).status == StatusCode::OK, leads);
    }
}

#[test]
fn leader_answers_200_with_term_and_lease_only_on_the_leader() {
    let answer = get(&fixtures::leader(), "/leader");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["x-leader-term"], "7");
    assert_eq!(answer.headers["x-lease-remaining-ms"], "50000");
    let body = json(&answer);
    let table = "leader_id =nebius-backbone-1, address =100.64.0.1:8770, term int, lease_ttl float";
    assert_schema(&body, table, "leader");
    for (status, code) in [
        (fixtures::expired(), "NO_LEADER"),
        (fixtures::follower(), "NOT_LEADER"),
        (fixtures::no_leader(), "NO_LEADER"),
        (fixtures::observer(), "NOT_LEADER"),
    ] {
        let answer = get(&status, "/leader");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!answer.headers.contains_key("x-leader-term"));
        let body = json(&answer);
        assert_eq!(body["error_code"], code);
        assert_eq!(body["lease_ttl"], 0.0);
        let known = code == "NOT_LEADER";
        assert_eq!(body["leader_id"] == "nebius-backbone-1", known);
        assert_eq!(body["address"] == "100.64.0.1:8770", known);
        let header = answer.headers.get("x-leader-address").map(|it| it.as_bytes());
        assert_eq!(header, known.then_some(&b"100.64.0.1:8770"[..]));
        let header = answer.headers.get("x-leader-id").map(|it| it.as_bytes());
        assert_eq!(header, known.then_some(&b"nebius-backbone-1"[..]));
    }
}

/// A leader that stands for a higher term holds the token of the old one until it has won: should
/// another win that term, two would hold one token.
#[test]
fn the_token_of_a_leader_that_stands_again_is_the_term_it_leads_in() {
    let mut status = fixtures::leader();
    status.term = 8;
    let answer = get(&status, "/leader");
    assert_eq!(answer.headers["x-leader-term"], "7");
    assert_eq!(json(&answer)["term"], 7);
    // Likewise what a follower says of the leader.
    let mut status = fixtures::follower();
    status.term = 8;
    assert_eq!(json(&get(&status, "/leader"))["term"], 7);
}

#[test]
fn a_follower_forgets_the_leader_with_its_lease() {
    let status = fixtures::follower();
    let end = status.follows.map(|known| known.valid_until).unwrap();
    let before = json(&get_at(&status, "/status", end - Duration::from_nanos(1)));
    assert_eq!(before["leader_id"], "nebius-backbone-1");
    assert_eq!(before["lease_ttl"], 0.0);
    let after = json(&get_at(&status, "/status", end));
    assert!(after["leader_id"].is_null() && after["effective_leader_id"].is_null());
    assert_eq!(after["no_leader_reason"], status.no_leader_reason);
    assert_eq!(after["leader_consensus"]["leader_agreement"], 4);
}

#[test]
fn a_stale_promise_is_not_shown() {
    let status = fixtures::follower();
    let end = status.promise.map(|promise| promise.until).unwrap();
    let promise = |now| json(&get_at(&status, "/election/status", now))["promise"].clone();
    assert_eq!(promise(NOW)["to"], "nebius-backbone-1");
    assert_eq!(promise(NOW)["expires_in_seconds"], 55.0);
    assert!(promise(end)["to"].is_null());
    assert_eq!(promise(end)["expires_in_seconds"], 0.0);
}

#[test]
fn a_healthy_cluster_reports_four_peers_and_itself_among_the_voters() {
    let body = json(&get(&fixtures::follower(), "/status"));
    assert_eq!(body["alive_peers"], 4);
    assert_eq!(body["voters_alive"], 5);
    let alive = body["voters"].as_object().unwrap().values().filter(|v| v["alive"] == true);
    assert_eq!(alive.count(), 5);
    assert_eq!(body["leader_consensus"]["leader_agreement"], 5);
    assert_eq!(body["peers"]["hetzner-cpu1"]["rtt_ms"], 1.5);
    assert_eq!(body["peers"]["hetzner-cpu1"]["last_heartbeat"], 1_765_000_199.25);
}

#[test]
fn peers_hold_the_reachable_ones_unless_all_are_asked_for() {
    let status = fixtures::no_leader();
    let peers = |uri: &str| json(&get(&status, uri))["peers"].as_object().unwrap().len();
    for uri in ["/status", "/status?alive_only=true", "/status?x=1&alive_only=1"] {
        assert_eq!(peers(uri), 3, "{uri}");
    }
    for uri in ["/status?alive_only=false", "/status?alive_only=False", "/status?alive_only=0"] {
        assert_eq!(peers(uri), 5, "{uri}");
    }
    let answer = get(&status, "/status?alive_only=maybe");
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[test]
fn voters_tell_direct_from_indirect_from_unreachable() {
    let mut status = fixtures::no_leader();
    for member in &mut status.members {
        if member.id == id("hetzner-cpu2") {
            member.last_heard = Some(NOW - Duration::from_secs(61));
        }
    }
    let body = json(&get(&status, "/status"));
    for (voter, detail) in [
        ("hetzner-cpu1", "self"),
        ("hetzner-cpu2", "indirect"),
        ("vultr-a100-20gb", "direct"),
        ("nebius-backbone-1", "unreachable"),
        ("nebius-h100-3", "unreachable"),
    ] {
        assert_eq!(body["voters"][voter]["detail"], detail, "{voter}");
        assert_eq!(body["voter_health"]["voter_status"][voter]["detail"], detail, "{voter}");
    }
    let offline = &body["voter_health"]["voters_offline"];
    assert_eq!(offline, &serde_json::json!(["nebius-backbone-1", "nebius-h100-3"]));
}

#[test]
fn leaders_eligible_are_those_reported_that_may_lead() {
    let mut status = fixtures::follower();
    let lists = |status: &Status| {
        let body = json(&get(status, "/status"));
        (body["leaders_reported"].clone(), body["leaders_eligible"].clone())
    };
    let one = serde_json::json!(["nebius-backbone-1"]);
    assert_eq!(lists(&status), (one.clone(), one.clone()));
    for member in &mut status.members {
        if member.id == id("nebius-backbone-1") {
            member.health = Health::Dead;
        }
    }
    assert_eq!(lists(&status), (one, serde_json::json!([])));
}

#[test]
fn ready_gives_the_reason_when_there_is_no_leader() {
    assert_eq!(get(&fixtures::follower(), "/ready").status, StatusCode::OK);
    let status = fixtures::no_leader();
    let answer = get(&status, "/ready");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let body = json(&answer);
    assert_eq!(
        (&body["error"], &body["error_code"]),
        (&status.no_leader_reason.into(), &"NO_LEADER".into())
    );
}

#[test]
fn both_metric_paths_tell_the_same() {
    let status = fixtures::leader();
    for uri in ["/metrics", "/metrics/prometheus"] {
        let answer = get(&status, uri);
        assert!(answer.body.contains("\nringrift_p2p_is_leader 1\n"), "{uri}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], metrics::CONTENT_TYPE);
    }
}

/// The verdict on a request of a loopback peer, by its head.
fn judge(method: Method, uri: &str) -> Result<Wish, Answer> {
    let facts = facts_of(&fixtures::leader());
    wish(&head(method, uri, &[("host", "localhost:8770")]), ends(), &facts)
}

#[test]
fn an_unknown_path_is_404() {
    for uri in ["//", "/nope", "/status/", "/Status", "/election", "/leader/x", "//health"] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let answer = judge(method, uri).unwrap_err();
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{uri}");
            assert_eq!(json(&answer)["error_code"], "NOT_FOUND");
        }
    }
}

#[test]
fn a_wrong_method_is_405_with_allow() {
    let of = |wanted| move |(method, path)| (method == wanted).then_some(path);
    for uri in routes().filter_map(of("GET")) {
        for method in [Method::POST, Method::OPTIONS, Method::DELETE, Method::TRACE] {
            let answer = judge(method, uri).unwrap_err();
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{uri}");
            assert_eq!(answer.headers[header::ALLOW], "GET, HEAD");
            assert_eq!(json(&answer)["error_code"], "METHOD_NOT_ALLOWED");
        }
        assert_eq!(judge(Method::HEAD, uri), judge(Method::GET, uri));
    }
    for uri in routes().filter_map(of("POST")) {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT] {
            let answer = judge(method, uri).unwrap_err();
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{uri}");
            assert_eq!(answer.headers[header::ALLOW], "POST");
        }
        assert!(matches!(judge(Method::POST, uri), Ok(Wish::Act(_))), "{uri}");
    }
}

#[test]
fn reading_is_open_to_everybody_and_acting_is_not() {
    let facts = facts_of(&fixtures::leader());
    let ends = Ends { peer: "203.0.113.9:1".parse().unwrap(), local: ends().local };
    let headers = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert!(wish(&head(Method::GET, "/status", &headers), ends, &facts).is_ok());
    let answer = wish(&head(Method::POST, "/election/trigger", &headers), ends, &facts);
    assert_eq!(answer.unwrap_err().status, StatusCode::FORBIDDEN);
    let answer = wish(&head(Method::POST, "/election/trigger", &[]), ends, &facts).unwrap_err();
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(json(&answer)["error"], "unauthorized");
}

#[test]
fn a_candidate_that_still_leads_is_shown_as_leader() {
    let mut status = fixtures::no_leader();
    status.lease = Some(Lease { term: 7, ends_at: NOW + Duration::from_secs(1), renewed_at: NOW });
    let body = json(&get(&status, "/status"));
    assert_eq!((&body["role"], &body["is_leader"]), (&"leader".into(), &true.into()));
    assert!(present(&status, &facts_of(&status)).no_leader_reason().is_none());
}

#[test]
fn a_second_process_of_a_name_and_a_refused_address_are_said_in_words() {
    let mut status = fixtures::follower();
    let leader = status.members.iter_mut().find(|member| member.id == id("hetzner-cpu1"));
    let member = leader.unwrap();
    member.rival = "10.9.9.9:8770".parse().ok();
    let loopback = "127.0.0.1:8770".parse().unwrap();
    member.refused = Some((loopback, crate::membership::Unusable::Loopback));
    member.address = None;
    let voter = &json(&get(&status, "/status"))["voters"]["hetzner-cpu1"];
    assert!(voter["conflict"].as_str().unwrap().contains("10.9.9.9:8770"));
    assert!(voter["address_refused"].as_str().unwrap().contains("127.0.0.1:8770 is a loopback"));
    // Until it is resolved, the configured one is shown, and never this node's own.
    assert_eq!(voter["address"], json(&get(&status, "/status"))["peers"]["hetzner-cpu1"]["host"]);
}
