//! What a followed node says in its `/status`, read and bounded.
//!
//! Decides which answers can be believed at all; how long one counts is decided elsewhere. Whatever an answer lacks, it
//! does not say: nothing is made up for it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use ringrift_wire::{NodeId, VoterSetTag};
use serde::Deserialize;
use std::collections::BTreeMap;

use crate::config::Config;
use crate::node::status::Health;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Who gave it.
    pub from: NodeId,
    /// Where that node's HTTP server is, if it says so by address.
    pub address: Option<SocketAddr>,
    /// Who led, as far as that node knew.
    pub leader: Option<Leader>,
    /// Why it knew of no leader.
    pub no_leader_reason: Option<String>,
    /// The highest term that it had heard of.
    pub term: u64,
    /// Its set of voters.
    pub set: VoterSetTag,
    /// Voters whose set is another than its own.
    pub mismatches: Vec<NodeId>,
    /// What it said of the voters of this node's configuration.
    pub voters: BTreeMap<NodeId, Voter>,
    /// The other nodes that it knew, self excluded.
    pub members: BTreeMap<NodeId, Member>,
}

/// Who led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub id: NodeId,
    /// Its term.
    pub term: u64,
    /// How long before the answer it was heard by the node that answers.
    pub age: Duration,
    /// What was left of its lease, where the leader itself answers.
    pub left: Option<Duration>,
    /// Whether it was suspected there.
    pub suspected: bool,
}

/// What is said of one voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its place, 1 is best.
    pub rank: Option<usize>,
    /// Its term.
    pub term: Option<u64>,
    /// For whom it voted.
    pub voted_for: Option<NodeId>,
    /// Whom it calls leader.
    pub reports: Option<NodeId>,
}

/// What is said of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its state.
    pub health: Health,
    /// Where its HTTP server is, if it is said by address.
    pub address: Option<SocketAddr>,
    /// How long before the answer it was heard there.
    pub age: Option<Duration>,
}

#[derive(Deserialize)]
struct Answer {
    node_id: String,
    is_leader: bool,
    leader_id: Option<String>,
    effective_leader_id: Option<String>,
    term: u64,
    lease_ttl: f64,
    no_leader_reason: Option<String>,
    leader_last_seen_seconds: Option<f64>,
    voters: BTreeMap<String, SaidVoter>,
    voter_config_version: u32,
    voter_config_hash: String,
    #[serde(default)]
    voter_config_mismatch: Vec<String>,
    #[serde(rename = "self")]
    this: This,
    peers: BTreeMap<String, Peer>,
    all_peers: BTreeMap<String, Known>,
}

#[derive(Deserialize)]
struct This {
    host: String,
    port: u16,
    leader_term: u64,
}

#[derive(Deserialize)]
struct SaidVoter {
    priority: Option<usize>,
    voted_for: Option<String>,
    term: Option<u64>,
}

#[derive(Deserialize)]
struct Peer {
    leader_id: Option<String>,
}

#[derive(Deserialize)]
struct Known {
    host: String,
    port: u16,
    state: String,
    last_seen_seconds: Option<f64>,
}

impl Word {
    /// Reads an answer for the node `me` of that configuration.
    ///
    /// # Errors
    /// It is no `/status` of a node, of a node of another cluster, or of this very node; in words for people. Names that no
    /// node can have, and members beyond `membership.max_members`, are passed over.
    pub fn read(body: &[u8], config: &Config, me: NodeId) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| {
            format!("its /status is not that of a node of this program: {error}")
        })?;
        let from: NodeId = answer.node_id.parse().map_err(|error| format!("its name: {error}"))?;
        if from == me {
            return Err(format!("it calls itself {me}, which is the name of this node"));
        }
        let voters: BTreeMap<_, _> =
            config.voters.iter().filter_map(|id| Some((*id, answer.voter(*id, from)?))).collect();
        if voters.is_empty() {
            return Err("none of its voters is one of this configuration".to_owned());
        }
        let hash = u64::from_str_radix(&answer.voter_config_hash, 16)
            .map_err(|_| "its voter_config_hash is no number".to_owned())?;
        let most = config.membership.max_members;
        let known = answer
            .all_peers
            .iter()
            .filter_map(|(id, known)| Some((id.parse().ok()?, known.read()?)));
        let members = known.filter(|(id, _)| *id != me && *id != from).take(most).collect();
        Ok(Self {
            from,
            address: place(&answer.this.host, answer.this.port),
            leader: answer.leader(),
            no_leader_reason: answer.no_leader_reason.clone(),
            term: answer.term,
            set: VoterSetTag { version: answer.voter_config_version, hash },
            mismatches: answer
                .voter_config_mismatch
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect(),
            voters,
            members,
        })
    }
}

impl Answer {
    /// Who leads; nobody where it is not said how old that is.
    fn leader(&self) -> Option<Leader> {
        let id: NodeId = self.leader_id.as_ref()?.parse().ok()?;
        let suspected = self.effective_leader_id != self.leader_id;
        let term = self.this.leader_term;
        if self.is_leader {
            let left = Some(length(self.lease_ttl)?);
            return Some(Leader { id, term, age: Duration::ZERO, left, suspected });
        }
        let age = length(self.leader_last_seen_seconds?)?;
        Some(Leader { id, term, age, left: None, suspected })
    }

    fn voter(&self, id: NodeId, from: NodeId) -> Option<Voter> {
        let said = self.voters.get(id.as_str())?;
        let reports = match self.peers.get(id.as_str()) {
            _ if id == from => self.leader_id.as_ref(),
            Some(peer) => peer.leader_id.as_ref(),
            None => None,
        };
        let name = |name: &String| name.parse().ok();
        Some(Voter {
            rank: said.priority,
            term: said.term,
            voted_for: said.voted_for.as_ref().and_then(name),
            reports: reports.and_then(name),
        })
    }
}

impl Known {
    fn read(&self) -> Option<Member> {
        let all = [Health::Unknown, Health::Alive, Health::Suspect, Health::Dead, Health::Left];
        let health = all.into_iter().find(|health| health.as_str() == self.state)?;
        let age = self.last_seen_seconds.and_then(length);
        Some(Member { health, address: place(&self.host, self.port), age })
    }
}

fn length(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

fn place(host: &str, port: u16) -> Option<SocketAddr> {
    let ip: IpAddr = host.parse().ok()?;
    (!ip.is_unspecified()).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{answer, answer_with};
    use super::super::known::tests::{config, id};
    use super::*;
    use serde_json::{Value, json};

    fn read(answer: &Value) -> Result<Word, String> {
        Word::read(answer.to_string().as_bytes(), &config(), id("me"))
    }

    #[test]
    fn an_answer_is_read_without_this_node_and_without_what_has_no_name() {
        let word = read(&answer()).unwrap();
        assert_eq!(word.from, id("v2"));
        let leader = word.leader.unwrap();
        assert_eq!((leader.id, leader.term, leader.left), (id("v1"), 7, None));
        assert_eq!(leader.age, Duration::from_secs(1));
        let names: Vec<_> = word.members.keys().map(|id| id.as_str()).collect();
        assert_eq!(names, ["guest", "v1", "v3"]);
        assert_eq!(word.members[&id("v3")].health, Health::Dead);
        assert_eq!(word.voters[&id("v1")].reports, Some(id("v1")));
        assert_eq!(word.voters[&id("v3")].reports, None);
    }

    #[test]
    fn a_leader_whose_age_is_not_said_is_none() {
        for age in [Value::Null, json!(-1.0), json!(1e300)] {
            let word = read(&answer_with(&json!({ "leader_last_seen_seconds": age }))).unwrap();
            assert_eq!(word.leader, None, "{age}");
        }
        let mut without = answer();
        without.as_object_mut().unwrap().remove("leader_last_seen_seconds");
        assert_eq!(read(&without).unwrap().leader, None);
    }

    #[test]
    fn the_leader_itself_says_what_is_left_of_its_lease() {
        let said = json!({ "node_id": "v1", "is_leader": true, "lease_ttl": 2.5 });
        let leader = read(&answer_with(&said)).unwrap().leader.unwrap();
        assert_eq!(leader.age, Duration::ZERO);
        assert_eq!(leader.left, Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn what_is_no_answer_for_this_node_is_refused() {
        for (fields, why) in [
            (json!({ "node_id": "me" }), "the name of this node"),
            (json!({ "node_id": "no name!" }), "its name"),
            (json!({ "voters": { "x": { "priority": 1 } } }), "none of its voters"),
            (json!({ "voter_config_hash": "x" }), "no number"),
            (json!({ "all_peers": [] }), "not that of a node"),
        ] {
            let error = read(&answer_with(&fields)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(Word::read(b"<html>", &config(), id("me")).is_err());
    }
}
