//! The families as they are rendered, and the events that move them.

use super::*;
use crate::election::{ElectionCause, Event as Elect};
use crate::node::Event;
use crate::node::Status;
use crate::telemetry::fixtures::{self, NOW, id};
use core::time::Duration;
use ringrift_wire::Refusal;
use std::collections::BTreeSet;

const KINDS: [&str; 2] = ["ping", "ack"];
const REASONS: [&str; 2] = ["magic", "checksum"];

fn metrics(status: &Status) -> Metrics {
    Metrics::new(status.node, &fixtures::config(), &KINDS, &REASONS, None).unwrap()
}

fn text(metrics: &Metrics, status: &Status, now: Instant) -> String {
    metrics.render(&View::new(status, now)).unwrap()
}

/// The value of the one line that starts with `series`.
fn value(text: &str, series: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("no line for {series} in\n{text}"));
    assert_eq!(lines.next(), None, "{series} stands twice");
    value.parse().unwrap()
}

/// Invariant 1.
#[test]
fn the_table_and_the_text_name_the_same_families() {
    for status in fixtures::all() {
        let text = text(&metrics(&status), &status, NOW);
        for family in FAMILIES {
            let (name, kind) = (family.name, family.kind.as_str());
            assert!(text.contains(&format!("# HELP {name} {}\n", family.help)), "{name}");
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        }
        let shown: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(shown, known);
        assert_eq!(known.len(), FAMILIES.len(), "a family stands twice in the table");
    }
}

/// Invariant 2.
#[test]
fn no_family_is_empty_before_anything_happened() {
    let status = fixtures::no_leader();
    let text = text(&metrics(&status), &status, NOW);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# TYPE") {
            assert!(lines.peek().is_some_and(|next| !next.starts_with('#')), "{line} is empty");
        }
    }
    assert_eq!(value(&text, "ringrift_p2p_datagrams_sent_total{kind=\"ping\"}"), 0.0);
    assert_eq!(value(&text, "ringrift_p2p_votes_refused_total{reason=\"promised\"}"), 0.0);
}

/// Invariant 3.
#[test]
fn is_leader_ends_with_the_lease() {
    let status = fixtures::leader();
    let metrics = metrics(&status);
    let end = status.lease.map(|lease| lease.ends_at).unwrap();
    let before = text(&metrics, &status, end - Duration::from_nanos(1));
    assert_eq!(value(&before, "ringrift_p2p_is_leader"), 1.0);
    assert_eq!(value(&before, "ringrift_p2p_leader_id"), 3.0);
    let after = text(&metrics, &status, end);
    for name in ["ringrift_p2p_is_leader", "ringrift_is_leader", "ringrift_p2p_leader_id"] {
        assert_eq!(value(&after, name), 0.0, "{name}");
    }
    assert_eq!(value(&after, "ringrift_p2p_leader_lease_seconds"), 0.0);
}

#[test]
fn what_is_left_of_the_lease_can_be_held_against_its_length() {
    let mut status = fixtures::leader();
    let length = fixtures::config().election.lease.as_secs_f64();
    let before = text(&metrics(&status), &status, NOW);
    assert_eq!(value(&before, "ringrift_p2p_lease_length_seconds"), length);
    assert!(value(&before, "ringrift_p2p_leader_lease_seconds") <= length);
    assert_eq!(value(&before, "ringrift_p2p_drained"), 0.0);
    status.drained = true;
    assert_eq!(value(&text(&metrics(&status), &status, NOW), "ringrift_p2p_drained"), 1.0);
}

#[test]
fn a_second_scrape_shows_the_second_status() {
    let mut status = fixtures::follower();
    let metrics = metrics(&status);
    let series = "ringrift_node_alive{node=\"nebius-backbone-1\",role=\"leader\"}";
    let first = text(&metrics, &status, NOW);
    assert_eq!(value(&first, series), 1.0);
    assert_eq!(value(&first, "ringrift_p2p_election_count"), 3.0);
    status.follows = None;
    status.counters.elections = 4;
    let second = text(&metrics, &status, NOW);
    assert!(!second.contains(series), "a role that ended is still shown");
    assert_eq!(value(&second, "ringrift_p2p_election_count"), 4.0);
}

#[test]
fn peers_are_counted_by_state_and_quorum_by_reachability() {
    let status = fixtures::no_leader();
    let text = text(&metrics(&status), &status, NOW);
    for (series, expected) in [
        ("ringrift_p2p_alive_peers", 3.0),
        ("ringrift_cluster_peers_total", 5.0),
        ("ringrift_p2p_peer_count{status=\"dead\"}", 1.0),
        ("ringrift_p2p_peer_count{status=\"suspect\"}", 1.0),
        ("ringrift_p2p_peer_count{status=\"unknown\"}", 1.0),
        ("ringrift_quorum_alive_voters", 3.0),
        ("ringrift_quorum_margin{node_id=\"hetzner-cpu1\"}", 0.0),
        ("ringrift_quorum_health_level", 1.0),
        ("ringrift_p2p_rtt_seconds{peer=\"hetzner-cpu2\",transport=\"udp\"}", 0.0015),
        ("ringrift_p2p_rtt_seconds{peer=\"nebius-h100-3\",transport=\"udp\"}", 0.0),
        ("ringrift_p2p_transport_health{peer=\"vultr-a100-20gb\",transport=\"udp\"}", 0.5),
        ("ringrift_p2p_packet_loss_rate{peer=\"hetzner-cpu2\"}", 0.01),
        ("process_start_time_seconds", 1_765_000_000.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
}

#[test]
fn a_name_that_is_not_configured_is_no_label() {
    let mut status = fixtures::leader();
    status.members[0].id = id("a-stranger");
    let text = text(&metrics(&status), &status, NOW);
    assert!(!text.contains("a-stranger"), "{text}");
}

#[test]
fn traffic_is_counted_by_kind_and_reason() {
    let status = fixtures::leader();
    let metrics = metrics(&status);
    metrics.traffic.sent(0, 100);
    metrics.traffic.sent(1, 50);
    metrics.traffic.received(1, 70);
    metrics.traffic.rejected(1);
    metrics.traffic.unsent();
    metrics.traffic.loop_delayed(Duration::from_millis(3));
    metrics.traffic.record_written(Duration::from_millis(2));
    // Indices beyond the lists are ignored.
    metrics.traffic.sent(2, 1);
    metrics.traffic.received(2, 1);
    metrics.traffic.rejected(2);
    let text = text(&metrics, &status, NOW);
    for (series, expected) in [
        ("ringrift_p2p_sent_bytes_total{kind=\"ping\"}", 100.0),
        ("ringrift_p2p_received_bytes_total{kind=\"ack\"}", 70.0),
        ("ringrift_p2p_datagrams_rejected_total{reason=\"checksum\"}", 1.0),
        ("ringrift_p2p_datagrams_unsent_total", 1.0),
        ("ringrift_gossip_messages_sent", 2.0),
        ("ringrift_gossip_messages_received", 1.0),
        ("ringrift_p2p_loop_delay_seconds_bucket{le=\"0.005\"}", 1.0),
        ("ringrift_p2p_loop_delay_seconds_bucket{le=\"0.0025\"}", 0.0),
        ("ringrift_p2p_fsync_seconds_count", 1.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
}

#[test]
fn elections_are_timed_from_the_first_canvass() {
    let status = fixtures::leader();
    let metrics = metrics(&status);
    let canvass = Event::Election(Elect::CanvassStarted { cause: ElectionCause::NoLeader });
    let later = |millis| NOW + Duration::from_millis(millis);
    metrics.record(&canvass, later(0));
    metrics.record(&canvass, later(30));
    metrics.record(&Event::Election(Elect::ElectionLost { term: 8, why: "silence" }), later(40));
    metrics.record(&canvass, later(50));
    metrics.record(
        &Event::Election(Elect::LeaderChanged { leader: Some(id("hetzner-cpu1")), term: 9 }),
        later(58),
    );
    // Without a canvass of this node there is nothing to time.
    metrics.record(
        &Event::Election(Elect::LeaderChanged { leader: Some(id("hetzner-cpu2")), term: 9 }),
        later(99),
    );
    metrics.record(
        &Event::Election(Elect::LeadershipGained { term: 10, took: Duration::from_millis(200) }),
        later(300),
    );
    let text = text(&metrics, &status, NOW);
    let series = |part: &str, outcome: &str| {
        let labels = format!("{{node_id=\"nebius-backbone-1\",outcome=\"{outcome}\"}}");
        value(&text, &format!("ringrift_leader_election_latency_seconds_{part}{labels}"))
    };
    assert_eq!((series("count", "lost"), series("sum", "lost")), (1.0, 0.04));
    assert_eq!((series("count", "adopted"), series("sum", "adopted")), (1.0, 0.008));
    assert_eq!((series("count", "won"), series("sum", "won")), (1.0, 0.2));
}

#[test]
fn votes_are_counted_by_reason() {
    let status = fixtures::leader();
    let metrics = metrics(&status);
    let candidate = id("hetzner-cpu1");
    let refusals = [
        Refusal::VoterSet,
        Refusal::Term,
        Refusal::Voted,
        Refusal::Promised { free_in_us: 1 },
        Refusal::Abstaining { free_in_us: 1 },
        Refusal::Empty,
        Refusal::Store,
        Refusal::LeaderAlive { free_in_us: 1 },
        Refusal::Lease,
    ];
    for why in refusals {
        metrics.record(&Event::Election(Elect::VoteRefused { candidate, term: 8, why }), NOW);
    }
    metrics.record(&Event::Election(Elect::VoteGranted { candidate, term: 8 }), NOW);
    let text = text(&metrics, &status, NOW);
    for reason in REFUSALS {
        let series = format!("ringrift_p2p_votes_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(value(&text, &series), 1.0, "{reason}");
    }
    assert_eq!(value(&text, "ringrift_p2p_votes_granted_total"), 1.0);
}

#[test]
fn the_runbooks_grep_finds_leader_and_elections() {
    let status = fixtures::leader();
    let text = text(&metrics(&status), &status, NOW);
    let found = |part: &str| text.lines().any(|line| !line.starts_with('#') && line.contains(part));
    assert!(found("p2p_leader") && found("p2p_election"));
}

/// The rules of `promtool check metrics`, but for the names that existing dashboards use.
#[test]
fn names_follow_the_conventions_but_for_the_inherited_ones() {
    const INHERITED: [&str; 6] = [
        "ringrift_p2p_election_count",
        "ringrift_p2p_peer_count",
        "ringrift_cluster_peers_total",
        "ringrift_gossip_messages_sent",
        "ringrift_gossip_messages_received",
        "ringrift_gossip_state_updates",
    ];
    for family in FAMILIES.iter().filter(|family| !INHERITED.contains(&family.name)) {
        let name = family.name;
        let is_counter = family.kind == Kind::Counter;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
        );
        for suffix in ["_count", "_sum", "_bucket", "_milliseconds", "_minutes"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        assert!(!family.help.is_empty() && family.help.ends_with('.'), "{name}");
        for kind in ["counter", "gauge", "histogram", "summary"] {
            assert!(!name.contains(kind), "{name} has its kind in its name");
        }
    }
}
