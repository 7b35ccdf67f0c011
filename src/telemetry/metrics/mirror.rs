//! The numbers that follow from a status at the moment of the scrape.

use ringrift_wire::NodeId;

use crate::node::status::Health;
use crate::telemetry::{Partition, View};

/// The one transport.
const TRANSPORT: &str = "udp";

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) labels: Vec<String>,
    pub(super) value: f64,
}

/// Every number that follows from the view; labels are closed words or names of `hosts`.
pub(super) fn samples(view: &View<'_>, hosts: &[NodeId]) -> Vec<Sample> {
    let mut samples = Samples(Vec::new());
    leadership(view, &mut samples);
    quorum(view, &mut samples);
    membership(view, &mut samples);
    for &host in hosts {
        host_samples(view, host, &mut samples);
    }
    process(view, &mut samples);
    samples.0
}

struct Samples(Vec<Sample>);

impl Samples {
    fn put(&mut self, name: &'static str, value: f64) {
        self.put_with(name, &[], value);
    }

    fn put_with(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        self.0.push(Sample { name, labels, value });
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

fn leadership(view: &View<'_>, out: &mut Samples) {
    let status = view.status;
    let index = |leader| status.voters.iter().position(|voter| voter.id == leader);
    let leader = view.leader.and_then(index).map_or(0, |index| index + 1);
    out.put("ringrift_p2p_is_leader", flag(view.is_leader));
    out.put("ringrift_is_leader", flag(view.is_leader));
    out.put("ringrift_p2p_leader_id", leader as f64);
    out.put("ringrift_p2p_leader_changes_total", status.counters.leader_changes as f64);
    out.put("ringrift_p2p_leader_lease_seconds", view.lease_left.as_secs_f64());
    out.put(
        "ringrift_p2p_leader_heartbeats_acknowledged_total",
        status.counters.heartbeats_acknowledged as f64,
    );
    out.put("ringrift_p2p_drained", flag(status.drained));
    out.put("ringrift_leader_agreement", view.agreement().voters as f64);
    out.put("ringrift_p2p_term", status.term as f64);
    out.put("ringrift_p2p_election_count", status.counters.elections as f64);
    out.put("ringrift_p2p_election_in_progress", flag(status.election_in_progress));
}

fn quorum(view: &View<'_>, out: &mut Samples) {
    let status = view.status;
    let margin = view.voters_alive as f64 - status.quorum as f64;
    let mismatches = status.voters.iter().filter(|voter| voter.set_mismatch).count();
    out.put("ringrift_p2p_quorum_status", flag(view.quorum_ok));
    out.put("ringrift_quorum_health_level", f64::from(view.quorum_level()));
    out.put("ringrift_quorum_alive_voters", view.voters_alive as f64);
    out.put("ringrift_quorum_total_voters", status.voters.len() as f64);
    out.put_with("ringrift_quorum_margin", &[status.node.as_str()], margin);
    out.put("ringrift_p2p_voter_set_mismatches", mismatches as f64);
    out.put("ringrift_p2p_voters_version", f64::from(status.voter_set.version));
    out.put("ringrift_p2p_voters_led_version", f64::from(status.led_version.unwrap_or(0)));
    out.put("ringrift_p2p_partition_detected", flag(view.partition() != Partition::None));
}

fn membership(view: &View<'_>, out: &mut Samples) {
    let (peers, counters) = (view.peers, &view.status.counters);
    let reachable = peers.reachable() as f64;
    out.put("ringrift_p2p_alive_peers", reachable);
    out.put("ringrift_p2p_active_peers", reachable);
    out.put("ringrift_cluster_peers_alive", reachable);
    out.put("ringrift_cluster_peers_total", peers.total() as f64);
    for (health, count) in [
        (Health::Alive, peers.alive),
        (Health::Suspect, peers.suspect),
        (Health::Dead, peers.dead),
        (Health::Left, peers.left),
        (Health::Unknown, peers.unknown),
    ] {
        out.put_with("ringrift_p2p_peer_count", &[health.as_str()], count as f64);
    }
    let confirmed = counters.suspicions_confirmed as f64;
    out.put("ringrift_peer_failures_total", confirmed);
    out.put("ringrift_p2p_suspicions_confirmed_total", confirmed);
    out.put("ringrift_p2p_suspicions_raised_total", counters.suspicions_raised as f64);
    out.put("ringrift_p2p_suspicions_refuted_total", counters.suspicions_refuted as f64);
    out.put("ringrift_p2p_returns_held_off_total", counters.returns_held_off as f64);
    out.put("ringrift_p2p_local_health", f64::from(view.status.local_health));
    out.put("ringrift_gossip_state_updates", counters.updates_applied as f64);
    out.put("ringrift_p2p_foreign_addresses_total", counters.foreign_addresses as f64);
    out.put("ringrift_p2p_name_conflicts_total", counters.name_conflicts as f64);
    out.put("ringrift_p2p_addresses_refused_total", counters.addresses_refused as f64);
}

fn host_samples(view: &View<'_>, host: NodeId, out: &mut Samples) {
    let (peer, role) = (host.as_str(), view.role_of(host).as_str());
    out.put_with("ringrift_node_alive", &[peer, role], flag(view.is_reachable(host)));
    if host == view.status.node {
        return;
    }
    let member = view.status.member(host);
    let health = match member.map(|member| member.health) {
        Some(Health::Alive) => 1.0,
        Some(Health::Suspect) => 0.5,
        Some(Health::Dead | Health::Left | Health::Unknown) | None => 0.0,
    };
    let round_trip = member.and_then(|member| member.round_trip).unwrap_or_default();
    let loss = member.map_or(0.0, |member| f64::from(member.loss_permille) / 1e3);
    let answered = member.map_or(0, |member| member.probes_answered);
    let failed = member.map_or(0, |member| member.probes_failed);
    let link = [peer, TRANSPORT];
    out.put_with("ringrift_p2p_rtt_seconds", &link, round_trip.as_secs_f64());
    out.put_with("ringrift_p2p_packet_loss_rate", &[peer], loss);
    out.put_with("ringrift_p2p_transport_health", &link, health);
    out.put_with("ringrift_p2p_transport_success_total", &link, answered as f64);
    out.put_with("ringrift_p2p_transport_failure_total", &link, failed as f64);
}

fn process(view: &View<'_>, out: &mut Samples) {
    let status = view.status;
    out.put("ringrift_p2p_store_works", flag(status.store_works));
    out.put("ringrift_p2p_queue_overflows_total", status.counters.overflows as f64);
    out.put_with("ringrift_p2p_build_info", &[env!("CARGO_PKG_VERSION")], 1.0);
    let uptime = view.now.since(status.started_at);
    out.put("ringrift_orchestrator_uptime_seconds", uptime.as_secs_f64());
    out.put("process_start_time_seconds", status.started_unix as f64);
}
