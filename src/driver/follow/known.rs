//! What is known of a cluster from the words of others, as a status of this node.
//!
//! Decides how long a word counts and what is said when it does not any more. It asks nobody.
//!
//! 1. A leader is known for the lease of this node's own configuration from the moment at which somebody heard it, counted
//!    from the sending of the question: whatever took long on the way makes the word older, never younger.
//! 2. A leader of an older term than one that was heard of before is none.
//! 3. Members are known for as long, counted from the last answer; after it their state is unknown.
//! 4. Nothing here leads, votes or stands.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, NodeId, Priority};
use std::collections::BTreeMap;

use super::heard::Word;
use crate::config::{Address, Config, places};
use crate::election::VoterSet;
use crate::node::Status;
use crate::node::status::{
    Account, Counters, Health, KnownLeader, MemberStatus, Role, VoterStatus,
};
use crate::time::Instant;

/// What this node knows.
#[derive(Debug)]
pub struct Known {
    me: NodeId,
    boot: Boot,
    started_at: Instant,
    started_unix: u64,
    set: VoterSet,
    lease: Duration,
    priorities: BTreeMap<NodeId, Priority>,
    addresses: BTreeMap<NodeId, Option<SocketAddr>>,
    last: Option<(Instant, Word)>,
    /// Since when each member is in its state here.
    since: BTreeMap<NodeId, (Health, Instant)>,
    /// The highest term in which somebody led.
    led: u64,
    /// Whom the last change was to.
    leader: Option<NodeId>,
    counters: Counters,
    /// Why nobody was heard when all were asked last.
    trouble: String,
}

impl Known {
    /// Nothing yet.
    #[must_use]
    pub fn new(
        config: &Config,
        me: NodeId,
        boot: Boot,
        started_at: Instant,
        started_unix: u64,
    ) -> Self {
        let priority = |(id, place): (_, crate::election::Place)| {
            let gpu = u8::from(!place.gpu);
            let order = place.order;
            let drained = place.never;
            (id, Priority { drained, last: false, stability: 0, centrality: 0, gpu, order })
        };
        let at = |host: &crate::config::Host| match host.address {
            Address::Ip(ip) => Some(SocketAddr::new(ip, host.port)),
            Address::Name(_) => None,
        };
        let others = config.hosts.iter().filter(|(id, _)| **id != me);
        Self {
            me,
            boot,
            started_at,
            started_unix,
            set: VoterSet::new(&config.voters, config.voters_version),
            lease: config.election.lease,
            priorities: places(config).into_iter().map(priority).collect(),
            addresses: others.map(|(id, host)| (*id, at(host))).collect(),
            last: None,
            since: BTreeMap::new(),
            led: 0,
            leader: None,
            counters: Counters::default(),
            trouble: "no followed node was asked yet".to_owned(),
        }
    }

    /// Takes a word that was asked for at `sent`.
    pub fn hear(&mut self, sent: Instant, word: Word) {
        if let Some(leader) = word.leader.filter(|leader| leader.term > self.led) {
            self.led = leader.term;
            self.counters.elections += 1;
        }
        self.last = Some((sent, word));
    }

    /// Whether that word names a leader that is one by what was heard before.
    #[must_use]
    pub fn names_leader(&self, sent: Instant, word: &Word, now: Instant) -> bool {
        self.follow(sent, word).is_some_and(|known| now < known.valid_until)
    }

    /// Every node was asked, and none answered.
    pub fn miss(&mut self, trouble: String) {
        self.trouble = trouble;
    }

    /// The leader that is known at `now`, if it is another than at the last call; and its term.
    pub fn changed(&mut self, now: Instant) -> Option<(Option<NodeId>, u64)> {
        let known = self.last.as_ref().and_then(|(sent, word)| self.follow(*sent, word));
        let leader = known.filter(|known| now < known.valid_until).map(|known| known.id);
        if leader == self.leader {
            return None;
        }
        self.leader = leader;
        if leader.is_some() {
            self.counters.leader_changes += 1;
        }
        Some((leader, self.led))
    }

    /// When something ends that is known.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let (sent, word) = self.last.as_ref()?;
        let ends = self.follow(*sent, word).map(|known| known.valid_until);
        [ends, Some(*sent + self.lease)].into_iter().flatten().filter(|end| now < *end).min()
    }

    /// Who leads by that word, whatever its age.
    fn follow(&self, sent: Instant, word: &Word) -> Option<KnownLeader> {
        let leader =
            word.leader.filter(|leader| leader.term >= self.led && leader.id != self.me)?;
        let heard_at = sent - leader.age;
        let ends = heard_at + self.lease;
        let valid_until = leader.left.map_or(ends, |left| ends.min(sent + left));
        let suspected = leader.suspected;
        Some(KnownLeader {
            id: leader.id,
            term: leader.term,
            heard_at,
            valid_until,
            direct: false,
            suspected,
        })
    }

    /// Everything that is known at `now`.
    pub fn status(&mut self, now: Instant) -> Status {
        let last = self.last.take();
        let word = last.as_ref().filter(|(sent, _)| now.since(*sent) < self.lease);
        let members = self.members(now, word);
        let follows = last.as_ref().and_then(|(sent, word)| self.follow(*sent, word));
        let status = Status {
            taken_at: now,
            node: self.me,
            boot: self.boot,
            incarnation: 0,
            started_at: self.started_at,
            started_unix: self.started_unix,
            role: Role::Observer,
            term: last.as_ref().map_or(0, |(_, word)| word.term).max(self.led),
            voted_for: None,
            lease: None,
            follows: follows.filter(|known| now < known.valid_until),
            no_leader_reason: self.no_leader_reason(word.map(|(_, word)| word)),
            promise: None,
            abstains_until: None,
            store_works: true,
            store_problem: None,
            drained: false,
            blocked_until: None,
            set_back_until: None,
            takeover: None,
            trigger_blocked_until: None,
            voter_set: self.set.tag(),
            led_version: None,
            quorum: self.set.quorum(),
            voters: self.voters(word.map(|(_, word)| word)),
            hearing: Vec::new(),
            members,
            election_in_progress: false,
            candidates: Vec::new(),
            local_health: 0,
            history: Vec::new(),
            counters: self.counters,
        };
        self.last = last;
        status
    }

    fn no_leader_reason(&self, word: Option<&Word>) -> String {
        let Some(word) = word else { return self.trouble.clone() };
        let from = word.from;
        match (&word.leader, &word.no_leader_reason) {
            (Some(leader), _) if leader.term < self.led => format!(
                "{from} still names {} of term {}, and another has led in term {} since",
                leader.id, leader.term, self.led
            ),
            (Some(leader), _) => {
                format!("{from} named {}, whose last heartbeat is older than the lease", leader.id)
            }
            (None, Some(reason)) => format!("{from} says: {reason}"),
            (None, None) => format!("{from} does not say when it last heard of a leader"),
        }
    }

    fn voters(&self, word: Option<&Word>) -> Vec<VoterStatus> {
        let voter = |id: &NodeId| {
            let said = word.and_then(|word| word.voters.get(id));
            let priority = self.priorities.get(id).copied().unwrap_or(Priority {
                drained: false,
                last: false,
                stability: 0,
                centrality: 0,
                gpu: 1,
                order: u16::MAX,
            });
            let other_set = |word: &Word| {
                word.mismatches.contains(id) || (word.from == *id && word.set != self.set.tag())
            };
            VoterStatus {
                id: *id,
                is_self: false,
                rank: said
                    .and_then(|said| said.rank)
                    .unwrap_or_else(|| usize::from(priority.order)),
                priority,
                term: said.and_then(|said| said.term),
                voted_for: said.and_then(|said| said.voted_for),
                round_trip_at: None,
                set_mismatch: word.is_some_and(other_set),
                reports_leader: said.and_then(|said| said.reports),
                said: None,
            }
        };
        self.set.ids().iter().map(voter).collect()
    }

    /// Every other node of the configuration and of the word, sorted by name.
    fn members(&mut self, now: Instant, word: Option<&(Instant, Word)>) -> Vec<MemberStatus> {
        let mut found: BTreeMap<NodeId, MemberStatus> =
            self.addresses.iter().map(|(id, address)| (*id, unheard(*id, *address))).collect();
        if let Some((sent, word)) = word {
            for (id, member) in &word.members {
                let entry = found.entry(*id).or_insert_with(|| unheard(*id, member.address));
                entry.health = member.health;
                entry.last_heard = member.age.map(|age| *sent - age);
            }
            let source = found.entry(word.from).or_insert_with(|| unheard(word.from, word.address));
            source.health = Health::Alive;
            source.last_heard = Some(*sent);
        }
        self.since.retain(|id, _| found.contains_key(id));
        for member in found.values_mut() {
            let since = self.since.entry(member.id).or_insert((member.health, now));
            if since.0 != member.health {
                *since = (member.health, now);
            }
            member.since = since.1;
        }
        found.into_values().collect()
    }
}

/// A member of which nothing is known.
fn unheard(id: NodeId, address: Option<SocketAddr>) -> MemberStatus {
    MemberStatus {
        id,
        address,
        refused: None,
        rival: None,
        health: Health::Unknown,
        since: Instant::ZERO,
        sequence: None,
        incarnation: 0,
        last_heard: None,
        round_trip: None,
        loss_permille: 0,
        suspected_by: Vec::new(),
        account: Account::default(),
        probes_answered: 0,
        probes_failed: 0,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::fixtures::{answer, answer_with};
    use super::*;
    use serde_json::{Value, json};

    const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    pub(in super::super) fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    /// Three voters with a lease of ten seconds.
    pub(in super::super) fn config() -> Config {
        let text = "voters: [v1, v2, v3]\nelection: {heartbeat_interval: 2, lease: 10}\nhosts:\n  \
                    v1: {address: 10.0.0.1}\n  v2: {address: 10.0.0.2}\n  v3: {address: v3.example}\n";
        crate::config::parse(text).unwrap().config
    }

    pub(in super::super) fn set() -> VoterSet {
        VoterSet::new(&config().voters, 1)
    }

    fn known() -> Known {
        Known::new(&config(), id("me"), Boot { sequence: 1, nonce: 1 }, NOW, 1)
    }

    fn word(answer: &Value) -> Word {
        Word::read(answer.to_string().as_bytes(), &config(), id("me")).unwrap()
    }

    fn with(fields: &Value) -> Word {
        word(&answer_with(fields))
    }

    fn leader(known: &mut Known, now: Instant) -> Option<&'static str> {
        let all = ["v1", "v2", "v3"];
        let leader = known.status(now).leader_at(now)?;
        all.into_iter().find(|name| id(name) == leader)
    }

    #[test]
    fn a_word_counts_for_a_lease_from_when_the_leader_was_heard() {
        let mut known = known();
        known.hear(NOW, word(&answer()));
        // Heard by the source a second before.
        let end = NOW + SECOND * 9;
        assert_eq!(leader(&mut known, end - Duration::from_nanos(1)), Some("v1"));
        assert_eq!(leader(&mut known, end), None);
        assert_eq!(known.next_deadline(NOW), Some(end));
        assert!(known.status(end).no_leader_reason.contains("older than the lease"));
    }

    #[test]
    fn the_leaders_own_word_ends_with_its_lease() {
        let mut known = known();
        known.hear(NOW, with(&json!({ "node_id": "v1", "is_leader": true, "lease_ttl": 2.0 })));
        assert_eq!(leader(&mut known, NOW + SECOND), Some("v1"));
        assert_eq!(leader(&mut known, NOW + SECOND * 2), None);
        let long = json!({ "node_id": "v1", "is_leader": true, "lease_ttl": 1e9 });
        known.hear(NOW, with(&long));
        assert_eq!(leader(&mut known, NOW + SECOND * 10), None);
    }

    #[test]
    fn a_leader_of_an_older_term_is_none() {
        let mut known = known();
        let later = json!({ "leader_id": "v2", "effective_leader_id": "v2", "term": 8,
            "self": { "host": "", "port": 1, "leader_term": 8 } });
        known.hear(NOW, with(&later));
        assert_eq!(leader(&mut known, NOW), Some("v2"));
        let old = word(&answer());
        assert!(!known.names_leader(NOW, &old, NOW));
        known.hear(NOW, old);
        assert_eq!(leader(&mut known, NOW), None);
        let status = known.status(NOW);
        assert!(status.no_leader_reason.contains("another has led in term 8"));
        assert_eq!((status.term, status.counters.elections), (8, 1));
    }

    #[test]
    fn members_are_forgotten_with_the_lease_and_nobody_is_left_out() {
        let mut known = known();
        known.miss("all are gone".to_owned());
        let unheard = known.status(NOW);
        assert!(unheard.members.iter().all(|member| member.health == Health::Unknown));
        assert_eq!(
            (unheard.voters_alive(), unheard.no_leader_reason.as_str()),
            (0, "all are gone")
        );
        known.hear(NOW, word(&answer()));
        let status = known.status(NOW);
        let states: Vec<_> = status.members.iter().map(|it| (it.id.as_str(), it.health)).collect();
        assert_eq!(
            states,
            [
                ("guest", Health::Suspect),
                ("v1", Health::Alive),
                ("v2", Health::Alive),
                ("v3", Health::Dead)
            ]
        );
        assert_eq!(status.voters_alive(), 2);
        assert_eq!(status.member(id("guest")).unwrap().last_heard, Some(NOW - SECOND * 4));
        assert_eq!(known.status(NOW + SECOND * 10).voters_alive(), 0);
    }

    #[test]
    fn it_is_an_observer_that_never_leads_even_if_it_is_called_leader() {
        let mut known = known();
        known.hear(NOW, with(&json!({ "leader_id": "me", "effective_leader_id": "me" })));
        let status = known.status(NOW);
        assert_eq!(
            (status.role, status.lease, status.leader_at(NOW)),
            (Role::Observer, None, None)
        );
        assert_eq!(known.changed(NOW), None);
    }

    #[test]
    fn a_change_is_told_once_and_the_end_too() {
        let mut known = known();
        known.hear(NOW, word(&answer()));
        assert_eq!(known.changed(NOW), Some((Some(id("v1")), 7)));
        assert_eq!(known.changed(NOW), None);
        assert_eq!(known.changed(NOW + SECOND * 9), Some((None, 7)));
        assert_eq!(known.status(NOW).counters.leader_changes, 1);
    }

    #[test]
    fn another_set_of_voters_is_shown() {
        let mut known = known();
        let odd = |status: Status| {
            status.voters.iter().filter(|it| it.set_mismatch).map(|it| it.id).collect::<Vec<_>>()
        };
        known.hear(NOW, word(&answer()));
        assert_eq!(odd(known.status(NOW)), []);
        let mismatch = json!({ "voter_config_version": 2, "voter_config_mismatch": ["v3"] });
        known.hear(NOW, with(&mismatch));
        assert_eq!(odd(known.status(NOW)), [id("v2"), id("v3")]);
    }
}
