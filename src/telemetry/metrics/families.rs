//! The table of metric families: each name once, with its kind, its labels and its help.

/// What a family is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises while the process lives.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one line.
    pub help: &'static str,
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Histogram, labels, help }
}

const LINK: &[&str] = &["peer", "transport"];

/// Every family that a node shows.
pub const FAMILIES: &[Family] = &[
    // Leadership and elections.
    gauge("ringrift_p2p_is_leader", &[], "1 while this node leads, computed when asked."),
    gauge("ringrift_is_leader", &[], "The same as ringrift_p2p_is_leader."),
    gauge(
        "ringrift_p2p_leader_id",
        &[],
        "The known leader as 1 + its index in the sorted voter names; 0 without one.",
    ),
    counter(
        "ringrift_p2p_leader_changes_total",
        &[],
        "Changes of the known leader, from another node or from none.",
    ),
    gauge("ringrift_p2p_leader_lease_seconds", &[], "Time left of this node's lease; 0 without."),
    gauge(
        "ringrift_p2p_lease_length_seconds",
        &[],
        "The lease of the configuration, election.lease.",
    ),
    gauge(
        "ringrift_p2p_drained",
        &[],
        "1 while this voter was told to refuse to lead and was not resumed.",
    ),
    counter(
        "ringrift_p2p_leader_heartbeats_acknowledged_total",
        &[],
        "Heartbeats of this leader that voters acknowledged.",
    ),
    gauge("ringrift_leader_agreement", &[], "Voters that name the leader most voters name."),
    gauge("ringrift_p2p_term", &[], "The highest term taken part in or heard of."),
    counter(
        "ringrift_p2p_election_count",
        &[],
        "Elections that this node stood in, voted in or saw won, one a term.",
    ),
    gauge("ringrift_p2p_election_in_progress", &[], "1 while this node canvasses or stands."),
    histogram(
        "ringrift_leader_election_latency_seconds",
        &["node_id", "outcome"],
        "From this node's first canvass to the decision: won, lost or adopted (another won).",
    ),
    counter("ringrift_p2p_votes_granted_total", &[], "Votes that this voter granted."),
    counter(
        "ringrift_p2p_votes_refused_total",
        &["reason"],
        "Votes and acknowledgements that this voter refused.",
    ),
    counter(
        "ringrift_p2p_handovers_total",
        &["cause", "outcome"],
        "Handovers of this leader: why, and whether a successor was told to stand (handed), none (released), \
         nothing changed (no_target), or the lease ended first.",
    ),
    // Quorum.
    gauge("ringrift_p2p_quorum_status", &[], "1 while a quorum of the voters is reachable."),
    gauge(
        "ringrift_quorum_health_level",
        &[],
        "0 quorum lost, 1 exactly a quorum, 2 some voter missing, 3 all voters reachable.",
    ),
    gauge("ringrift_quorum_alive_voters", &[], "Reachable voters, self included."),
    gauge("ringrift_quorum_total_voters", &[], "Configured voters."),
    gauge("ringrift_quorum_margin", &["node_id"], "Reachable voters beyond a quorum."),
    gauge(
        "ringrift_p2p_voter_set_mismatches",
        &[],
        "Voters that count with other voters than this node.",
    ),
    gauge("ringrift_p2p_voters_version", &[], "voters_version of this node's file."),
    gauge(
        "ringrift_p2p_voters_led_version",
        &[],
        "The highest voters_version that this voter knows to have led; 0 for none.",
    ),
    // Membership.
    gauge("ringrift_p2p_alive_peers", &[], "Reachable peers, without self."),
    gauge("ringrift_p2p_active_peers", &[], "The same as ringrift_p2p_alive_peers."),
    gauge("ringrift_p2p_peer_count", &["status"], "Peers by state, without self."),
    gauge("ringrift_cluster_peers_total", &[], "Peers that have not left, without self."),
    gauge("ringrift_cluster_peers_alive", &[], "The same as ringrift_p2p_alive_peers."),
    gauge(
        "ringrift_node_alive",
        &["node", "role"],
        "1 while the configured node is reachable; its role as this node sees it.",
    ),
    gauge(
        "ringrift_p2p_partition_detected",
        &[],
        "1 while this node reaches nobody or fewer voters than a quorum.",
    ),
    gauge("ringrift_p2p_rtt_seconds", LINK, "Smoothed round trip; 0 until measured."),
    gauge(
        "ringrift_p2p_packet_loss_rate",
        &["peer"],
        "Share of this node's recent probes that the peer left unanswered, 0 to 1.",
    ),
    gauge(
        "ringrift_p2p_transport_health",
        LINK,
        "1 while the peer is alive, 0.5 while suspected, 0 otherwise.",
    ),
    counter("ringrift_p2p_transport_success_total", LINK, "Probes that the peer answered."),
    counter("ringrift_p2p_transport_failure_total", LINK, "Probes that the peer did not answer."),
    counter("ringrift_peer_failures_total", &[], "Suspicions that ended in a death."),
    counter("ringrift_p2p_suspicions_raised_total", &[], "Suspicions that this node raised."),
    counter("ringrift_p2p_suspicions_refuted_total", &[], "Suspicions that their subject refuted."),
    counter("ringrift_p2p_suspicions_confirmed_total", &[], "Suspicions that ended in a death."),
    counter(
        "ringrift_p2p_returns_held_off_total",
        &[],
        "Returns from the dead that were put off because the member comes and goes.",
    ),
    gauge(
        "ringrift_p2p_local_health",
        &[],
        "How much this node distrusts itself; 0 when it is well.",
    ),
    // Following over HTTP.
    gauge(
        "ringrift_p2p_follows_over_http",
        &[],
        "1 on a node that follows others over HTTP (run --follow) and takes no part in gossip.",
    ),
    gauge(
        "ringrift_p2p_source_silence_seconds",
        &[],
        "On a node that follows over HTTP, time since a followed node answered; else 0.",
    ),
    counter(
        "ringrift_p2p_source_failures_total",
        &[],
        "On a node that follows over HTTP, questions that a followed node did not answer.",
    ),
    // Gossip traffic.
    counter("ringrift_gossip_messages_sent", &[], "Datagrams sent, of every kind."),
    counter("ringrift_gossip_messages_received", &[], "Datagrams accepted, of every kind."),
    counter("ringrift_gossip_state_updates", &[], "Updates applied to the member table."),
    counter("ringrift_p2p_datagrams_sent_total", &["kind"], "Datagrams sent."),
    counter("ringrift_p2p_datagrams_received_total", &["kind"], "Datagrams accepted."),
    counter("ringrift_p2p_sent_bytes_total", &["kind"], "Bytes of datagrams sent."),
    counter("ringrift_p2p_received_bytes_total", &["kind"], "Bytes of datagrams accepted."),
    counter(
        "ringrift_p2p_datagrams_rejected_total",
        &["reason"],
        "Datagrams that were not decoded or not meant for this node.",
    ),
    counter("ringrift_p2p_datagrams_unsent_total", &[], "Datagrams that the kernel did not take."),
    counter(
        "ringrift_p2p_foreign_addresses_total",
        &[],
        "Election messages under a voter's name from an address that is not that voter's.",
    ),
    counter(
        "ringrift_p2p_name_conflicts_total",
        &[],
        "Second live processes seen under a member's name, and refused.",
    ),
    counter(
        "ringrift_p2p_addresses_refused_total",
        &[],
        "Addresses of peers refused because they mean nothing here, such as loopback ones.",
    ),
    // This process.
    histogram(
        "ringrift_p2p_loop_delay_seconds",
        &[],
        "How late the protocol loop ran, against its own deadline.",
    ),
    histogram(
        "ringrift_p2p_fsync_seconds",
        &[],
        "Time of one durable write of the vote store, or of a check of its disk.",
    ),
    counter(
        "ringrift_p2p_work_failures_total",
        &[],
        "Times the lead was given up because its hook failed or its lease ran thin.",
    ),
    counter(
        "ringrift_p2p_clock_steps_total",
        &[],
        "Times that the wall clock of this machine was set by half a second or more.",
    ),
    counter(
        "ringrift_p2p_suspends_total",
        &[],
        "Times that this machine was suspended for half a second or more.",
    ),
    gauge(
        "ringrift_p2p_store_works",
        &[],
        "1 while the vote store works: its last write and its last check succeeded.",
    ),
    counter(
        "ringrift_p2p_queue_overflows_total",
        &[],
        "Inputs and outputs dropped because a queue was full.",
    ),
    counter(
        "ringrift_p2p_log_lines_dropped_total",
        &[],
        "Log lines dropped because standard error was slow.",
    ),
    counter(
        "ringrift_p2p_http_connections_refused_total",
        &[],
        "HTTP connections closed at once because too many were open.",
    ),
    gauge("ringrift_p2p_event_readers", &[], "Clients that follow /events."),
    counter(
        "ringrift_p2p_event_readers_refused_total",
        &[],
        "Readers of /events that were refused because too many were there.",
    ),
    counter(
        "ringrift_p2p_event_resets_total",
        &[],
        "Times that a reader of /events had missed events and was told the present state instead.",
    ),
    counter(
        "ringrift_p2p_events_dropped_total",
        &[],
        "Events that did not reach /events because the HTTP thread was slow.",
    ),
    gauge("ringrift_p2p_build_info", &["version"], "Always 1; the version is the label."),
    gauge("ringrift_orchestrator_uptime_seconds", &[], "Time since the start of the process."),
    gauge("process_start_time_seconds", &[], "Start of the process, in Unix seconds."),
    counter("process_cpu_seconds_total", &[], "Processor time of the process."),
    gauge("process_resident_memory_bytes", &[], "Resident memory of the process."),
    gauge("process_virtual_memory_bytes", &[], "Virtual memory of the process."),
    gauge("process_open_fds", &[], "Open file descriptors."),
    gauge("process_max_fds", &[], "The most file descriptors that may be open."),
    gauge("process_threads", &[], "Threads of the process."),
];
