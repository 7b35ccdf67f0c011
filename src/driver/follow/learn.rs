//! The configuration of a node that follows over HTTP and has no file: what the followed nodes say of their own.
//!
//! Decides what is asked of such a word, and how long it is waited for. Nothing is made up: the voters, their version and the
//! lease are those that a followed node has, and the hash of its voter list shows that none was lost on the way.

use core::time::Duration;
use ringrift_wire::NodeId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;
use tokio::time::sleep;

use super::way::Ways;
use crate::config::{self, Config};
use crate::election::VoterSet;

/// How long the first word is waited for: a service manager takes a start for failed after 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two rounds of asking.
const AGAIN: Duration = Duration::from_millis(500);

/// The parts of a `/status` from which a configuration can be made.
#[derive(Deserialize)]
struct Said {
    node_id: String,
    cluster: String,
    lease_length: f64,
    voters: BTreeMap<String, Voter>,
    voter_config_version: u32,
    voter_config_hash: String,
    #[serde(rename = "self")]
    this: Place,
    all_peers: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
struct Voter {
    priority: Option<usize>,
}

#[derive(Deserialize)]
struct Place {
    host: String,
    port: u16,
}

/// Asks the followed nodes until one answers.
///
/// # Errors
/// None has given a usable answer within 20 s, in words for people; or the runtime cannot be had.
pub fn ask(ways: &Ways) -> io::Result<Config> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let learned = runtime.block_on(ask_until(ways, Instant::now() + PATIENCE));
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    learned.map_err(io::Error::other)
}

async fn ask_until(ways: &Ways, end: Instant) -> Result<Config, String> {
    loop {
        let mut failing = Vec::new();
        for door in ways.doors() {
            match door.ask().await.and_then(|body| read(&body)) {
                Ok(config) => return Ok(config),
                Err(why) => failing.push(format!("{}: {why}", door.url)),
            }
        }
        if Instant::now() >= end {
            return Err(failing.join("; "));
        }
        sleep(AGAIN).await;
    }
}

/// The configuration of whoever gave this answer, as far as a follower needs it.
fn read(body: &[u8]) -> Result<Config, String> {
    let said: Said = serde_json::from_slice(body)
        .map_err(|error| format!("its /status is not that of a node of this program: {error}"))?;
    let mut voters: Vec<_> = said.voters.iter().collect();
    voters.sort_by_key(|(id, voter)| (voter.priority.unwrap_or(usize::MAX), *id));
    let lease = Duration::try_from_secs_f64(said.lease_length)
        .map_err(|_| "its lease_length is no length of time".to_owned())?;
    let mut hosts = Map::new();
    for (id, _) in &voters {
        let place = if **id == said.node_id { Some(&said.this) } else { said.all_peers.get(*id) };
        let place = place.filter(|place| !place.host.is_empty());
        let host = place.map_or(json!({}), |it| json!({ "address": it.host, "port": it.port }));
        hosts.insert((*id).clone(), host);
    }
    // JSON is YAML as well, and the rules for a file hold here, too.
    let text = json!({
        "cluster": said.cluster,
        "voters": voters.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        "voters_version": said.voter_config_version,
        "election": { "lease": millis(lease), "heartbeat_interval": millis(lease / 4) },
        "membership": { "open": true },
        "hosts": Value::Object(hosts),
    });
    let loaded = config::parse(&text.to_string()).map_err(|error| error.to_string())?;
    let ids: Vec<NodeId> = loaded.config.voters.clone();
    let hash = VoterSet::new(&ids, loaded.config.voters_version).tag().hash;
    if format!("{hash:016x}") != said.voter_config_hash {
        return Err("its voters are not those of its voter_config_hash".to_owned());
    }
    Ok(loaded.config)
}

fn millis(length: Duration) -> String {
    format!("{}ms", length.as_millis())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::answer_with;
    use super::super::known::tests::config;
    use super::*;

    fn learned(fields: &Value) -> Result<Config, String> {
        let mut answer = answer_with(&json!({ "cluster": "a cluster", "lease_length": 2.5 }));
        for (key, value) in fields.as_object().unwrap() {
            answer[key] = value.clone();
        }
        read(answer.to_string().as_bytes())
    }

    #[test]
    fn voters_lease_and_cluster_are_those_of_the_node_that_answers() {
        let learned = learned(&json!({})).unwrap();
        assert_eq!((&learned.voters, learned.voters_version), (&config().voters, 1));
        assert_eq!(learned.cluster, "a cluster");
        assert_eq!(learned.election.lease, Duration::from_millis(2_500));
        assert_eq!(learned.election.heartbeat_interval, Duration::from_millis(625));
        let host = |id: &str| learned.hosts[&id.parse().unwrap()].address.to_string();
        assert_eq!(["v1", "v2", "v3"].map(host), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }

    #[tokio::test]
    async fn where_nobody_answers_it_is_said_of_each_why() {
        let urls = ["http://127.0.0.1:1".to_owned(), "http://127.0.0.2:1".to_owned()];
        let ways = Ways::new(&urls, None, "").unwrap();
        let error = ask_until(&ways, Instant::now()).await.unwrap_err();
        assert!(urls.iter().all(|url| error.contains(url)), "{error}");
    }

    #[test]
    fn a_word_that_lacks_a_voter_or_a_lease_is_refused() {
        for (fields, why) in [
            (json!({ "voters": { "v1": { "priority": 1 } } }), "voter_config_hash"),
            (json!({ "voter_config_version": 2 }), "voter_config_hash"),
            (json!({ "lease_length": -1.0 }), "no length of time"),
            (json!({ "lease_length": 1e-6 }), "lease"),
            (json!({ "lease_length": null }), "not that of a node"),
            (json!({ "voters": {} }), "voters"),
            (json!({ "all_peers": { "v1": { "host": "no host!", "port": 1 } } }), "no host!"),
        ] {
            let error = learned(&fields).unwrap_err();
            assert!(error.contains(why), "{fields}: {error}");
        }
    }
}
