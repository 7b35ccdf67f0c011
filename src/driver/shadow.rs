//! The comparison with the process that this node is to replace, while both run.
//!
//! Decides how often that process is asked and what counts as a disagreement. It runs on a thread of its own and shares
//! nothing with the loop but the published status: whatever the other process does, the node does not wait.
//!
//! Who leads: a cluster of shadows has no leader, since a shadow never leads. So where this node knows of none, it disagrees
//! with a leader that it cannot reach, and not with one that it can.

use arc_swap::ArcSwap;
use core::time::Duration;
use ringrift_wire::NodeId;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::thread;
use tokio::time::sleep;
use tracing::{info, warn};

use super::clock::{Clock as _, SystemClock};
use super::follow::way::Ways;
use crate::http::{Field, Shadow};
use crate::node::Status;
use crate::telemetry::metrics::COMPARED;
use crate::telemetry::{Metrics, View};
use crate::time::Instant;

/// Between two comparisons.
const EVERY: Duration = Duration::from_secs(1);

/// Begins to compare, until the process ends.
///
/// # Errors
/// The thread or a descriptor cannot be had.
pub fn spawn(
    ways: Ways,
    status: Arc<ArcSwap<Status>>,
    metrics: Arc<Metrics>,
) -> io::Result<Arc<ArcSwap<Shadow>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let url = ways.doors().first().map(|door| door.url.clone()).unwrap_or_default();
    let shown = Arc::new(ArcSwap::from_pointee(Shadow { url, ..Shadow::default() }));
    let shadow = Arc::clone(&shown);
    thread::Builder::new().name("shadow".to_owned()).spawn(move || {
        runtime.block_on(compare_on(&ways, &status, &metrics, &shadow));
    })?;
    Ok(shown)
}

async fn compare_on(
    ways: &Ways,
    status: &ArcSwap<Status>,
    metrics: &Metrics,
    shadow: &ArcSwap<Shadow>,
) {
    let Some(door) = ways.doors().first() else { return };
    loop {
        let at = SystemClock.now();
        let answer = door.ask().await;
        let answer = answer.and_then(|body| {
            let read = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
            read.ok_or_else(|| "its /status is no JSON object".to_owned())
        });
        let before = shadow.load_full();
        let mut next = Shadow::clone(&before);
        match answer {
            Ok(theirs) => {
                next.error = None;
                next.compared_at = Some(at);
                let status = status.load();
                next.fields = compare(&View::new(&status, SystemClock.now()), &theirs, &before, at);
                let disagree = COMPARED.map(|name| {
                    next.fields.iter().any(|field| field.name == name && field.since.is_some())
                });
                metrics.shadow.compared(SystemClock.unix().as_secs(), disagree);
                tell(&before, &next);
            }
            Err(why) => {
                if before.error.is_none() {
                    warn!(url = door.url, why, "the process to compare with does not answer");
                }
                metrics.shadow.failed();
                next.error = Some(why);
            }
        }
        shadow.store(Arc::new(next));
        sleep(EVERY).await;
    }
}

/// Tells what has begun or ended to disagree.
fn tell(before: &Shadow, next: &Shadow) {
    for field in &next.fields {
        let was = before.fields.iter().any(|it| it.name == field.name && it.since.is_some());
        let (name, ours, theirs) = (field.name, &field.ours, &field.theirs);
        match (was, field.since.is_some()) {
            (false, true) => {
                warn!(field = name, %ours, %theirs, "disagrees with the other process");
            }
            (true, false) => info!(field = name, %ours, %theirs, "agrees with the other process"),
            _ => {}
        }
    }
}

/// Each field as both say it. What the other process does not say disagrees with nothing.
fn compare(ours: &View<'_>, theirs: &Value, before: &Shadow, at: Instant) -> Vec<Field> {
    let field = |name: &'static str, ours: Value, differs: bool| {
        let earlier = before.fields.iter().find(|field| field.name == name);
        let since = earlier.and_then(|field| field.since).unwrap_or(at);
        let theirs = theirs.get(name).cloned().unwrap_or(Value::Null);
        Field { name, ours, theirs, since: differs.then_some(since) }
    };
    let number = |name: &'static str, ours: usize| {
        let differs = theirs.get(name).and_then(Value::as_u64).is_some_and(|it| it != ours as u64);
        field(name, json!(ours), differs)
    };
    let [leader, peers, voters] = COMPARED;
    let named = ours.leader.map_or(Value::Null, |id| json!(id.as_str()));
    vec![
        field(leader, named, leaders_differ(ours, theirs.get(leader))),
        number(peers, ours.peers.reachable()),
        number(voters, ours.voters_alive),
    ]
}

fn leaders_differ(ours: &View<'_>, theirs: Option<&Value>) -> bool {
    let theirs = match theirs {
        // It says nothing.
        None => return false,
        Some(Value::Null) => return ours.leader.is_some(),
        // How the old process has it between two leaders.
        Some(Value::String(name)) if name.is_empty() => return ours.leader.is_some(),
        Some(theirs) => theirs.as_str().and_then(|name| name.parse::<NodeId>().ok()),
    };
    match (ours.leader, theirs) {
        (_, None) => true,
        (Some(ours), Some(theirs)) => ours != theirs,
        (None, Some(theirs)) => !ours.is_reachable(theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::{self, NOW, VOTERS};

    /// The fields that disagree.
    fn differing(status: &Status, theirs: &Value) -> Vec<&'static str> {
        let fields = compare(&View::new(status, NOW), theirs, &Shadow::default(), NOW);
        fields.iter().filter(|field| field.since.is_some()).map(|field| field.name).collect()
    }

    #[test]
    fn the_same_view_agrees_and_each_field_is_compared() {
        let status = fixtures::follower();
        let same = json!({ "leader_id": VOTERS[0], "alive_peers": 4, "voters_alive": 5 });
        assert_eq!(differing(&status, &same), [""; 0]);
        let other = json!({ "leader_id": VOTERS[1], "alive_peers": 3, "voters_alive": 4 });
        assert_eq!(differing(&status, &other), COMPARED);
        for nobody in [json!(null), json!("")] {
            assert_eq!(differing(&status, &json!({ "leader_id": nobody })), ["leader_id"]);
        }
        assert_eq!(differing(&status, &json!({})), [""; 0], "what is not said");
    }

    #[test]
    fn without_a_leader_here_theirs_has_to_be_reachable() {
        let status = fixtures::no_leader();
        let leader = |name: &str| json!({ "leader_id": name });
        assert_eq!(differing(&status, &leader(VOTERS[3])), [""; 0]);
        assert_eq!(differing(&status, &leader(VOTERS[0])), ["leader_id"], "it is dead here");
        assert_eq!(differing(&status, &leader("stranger")), ["leader_id"]);
        for nobody in [json!(null), json!("")] {
            assert_eq!(differing(&status, &json!({ "leader_id": nobody })), [""; 0]);
        }
    }

    #[test]
    fn a_disagreement_keeps_its_beginning() {
        let (status, theirs) = (fixtures::follower(), json!({ "alive_peers": 1 }));
        let view = View::new(&status, NOW);
        let first = Shadow {
            fields: compare(&view, &theirs, &Shadow::default(), NOW),
            ..Shadow::default()
        };
        let later = NOW + Duration::from_secs(9);
        assert_eq!(compare(&view, &theirs, &first, later)[1].since, Some(NOW));
        let same = json!({ "alive_peers": 4 });
        assert_eq!(compare(&view, &same, &first, later)[1].since, None);
    }
}
