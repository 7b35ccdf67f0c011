//! What a node answers to "why", tried on live faults of whole nodes under virtual time.

#![cfg(test)]

#[expect(dead_code, reason = "tests/names uses the rest")]
#[path = "../names/net.rs"]
mod net;

use net::{LEASE, Net, SECOND, at, id, voters};
use ringrift_p2p::config::Config;
use ringrift_p2p::node::{Command, Input, Persisted, Status, Why};

/// The five voters and an observer, led by `v1`; `more` goes into the configuration of the hosts.
fn led(more: &str, seed: u64) -> Net {
    let mut net = Net::of_voters(config(more), seed);
    assert_eq!(net.settle(), 0, "v1 is the best");
    net.run(SECOND * 5);
    net
}

fn config(more: &str) -> Config {
    voters(&format!("  watcher: {{address: 10.0.0.9}}\n{more}"))
}

fn why(net: &Net, number: usize) -> Why {
    status(net, number).why(net.now)
}

fn status(net: &Net, number: usize) -> Status {
    net.node(number).status(net.now)
}

#[track_caller]
fn says(answer: Option<&String>, words: &[&str]) {
    let answer = answer.expect("an answer");
    for word in words {
        assert!(answer.contains(word), "`{word}` is not in: {answer}");
    }
}

/// Kills the best voter, and starts it again once another leads.
fn best_voter_restarted(net: &mut Net) -> usize {
    let record = net.processes[0].record;
    net.kill(0);
    net.run(LEASE * 3);
    assert_eq!(net.leaders(), [1]);
    let back = net.start("v1", at("10.0.0.1:8770"), record);
    net.run(SECOND * 6);
    back
}

#[test]
fn in_a_healthy_cluster_a_follower_names_the_leader_and_what_makes_it_better() {
    let net = led("", 1);
    let said = why(&net, 2);
    assert_eq!(said.no_leader, None);
    says(
        said.not_leading.as_ref(),
        &["v1 leads", "rank 1 of 5", "v3 has rank 3", "configured order 1 against 3"],
    );
    assert_eq!(said.no_takeover, None, "that is the leader's to say");
    let leader = why(&net, 0);
    assert_eq!((leader.no_leader, leader.not_leading), (None, None));
    says(leader.no_takeover.as_ref(), &["no reachable voter is better"]);
}

#[test]
fn without_a_quorum_the_missing_are_named() {
    let mut net = led("", 2);
    for gone in [0, 1, 2] {
        net.kill(gone);
    }
    net.run(SECOND * 60);
    let said = why(&net, 3);
    says(said.no_leader.as_ref(), &["no quorum", "2 of 5", "v1, v2, v3"]);
    says(said.not_leading.as_ref(), &["nobody leads", "v1, v2, v3"]);
}

#[test]
fn a_leader_that_is_cut_off_says_so() {
    let mut net = led("", 3);
    for other in 2..=5 {
        let (here, there) = (at("10.0.0.1:8770"), at(&format!("10.0.0.{other}:8770")));
        net.cut.extend([(here, there), (there, here)]);
    }
    net.run(SECOND * 60);
    says(why(&net, 0).no_leader.as_ref(), &["no quorum", "1 of 5"]);
    let past = status(&net, 0).history;
    let ended = past.iter().find(|past| past.winner == Some(id("v1"))).and_then(|past| past.ended);
    assert_eq!(ended.map(|(_, cause)| cause), Some("lease_expired"));
}

#[test]
fn an_observer_never_leads() {
    let mut net = led("", 4);
    let watcher = net.start("watcher", at("10.0.0.9:8770"), None);
    net.run(SECOND * 5);
    says(why(&net, watcher).not_leading.as_ref(), &["observer", "not in `voters`"]);
}

#[test]
fn a_drained_voter_says_how_to_end_that() {
    let mut net = led("", 5);
    net.command(0, Command::Drain);
    net.run(SECOND * 5);
    assert_eq!(net.leaders(), [1]);
    says(why(&net, 0).not_leading.as_ref(), &["v1 is drained", "ringrift-p2p resume"]);
    says(why(&net, 1).no_takeover.as_ref(), &["no reachable voter is better"]);
}

#[test]
fn when_all_are_drained_nobody_leads_and_it_says_so() {
    let mut net = led("", 6);
    for voter in 1..5 {
        net.command(voter, Command::Drain);
    }
    net.run(SECOND * 5);
    net.command(0, Command::Drain);
    net.run(SECOND * 5);
    says(why(&net, 0).no_takeover.as_ref(), &["drained", "until another voter is ready"]);
    net.kill(0);
    net.run(LEASE * 2);
    says(
        why(&net, 3).no_leader.as_ref(),
        &["does not stand, being drained", "they all are", "resume"],
    );
}

#[test]
fn a_voter_that_never_leads_says_so() {
    let hosts = (1..=5).map(|n| {
        let never = if n == 5 { ", priority: never" } else { "" };
        format!("  v{n}: {{address: 10.0.0.{n}{never}}}\n")
    });
    let text = format!(
        "voters: [v1, v2, v3, v4, v5]\nelection: {{heartbeat_interval: 1s, lease: 4s, \
         peer_timeout: 10s}}\nhosts:\n{}",
        hosts.collect::<String>()
    );
    let mut net = Net::of_voters(ringrift_p2p::config::parse(&text).unwrap().config, 7);
    net.settle();
    says(why(&net, 4).not_leading.as_ref(), &["v5 votes only", "priority: never"]);
}

#[test]
fn a_voter_that_stepped_down_says_for_how_long_it_ranks_last() {
    let mut net = led("", 8);
    net.command(0, Command::StepDown);
    net.run(SECOND * 5);
    assert_eq!(net.leaders(), [1]);
    says(
        why(&net, 0).not_leading.as_ref(),
        &["v2 leads", "gave the lead up on request", "ranks last"],
    );
}

#[test]
fn a_better_voter_that_is_back_is_told_whom_to_ask_and_the_leader_what_it_waits_for() {
    let mut net = led("", 9);
    let back = best_voter_restarted(&mut net);
    // Its end was not clean for all that it knows: only uptime and order count here.
    says(why(&net, back).not_leading.as_ref(), &["v2 leads", "v1 is the better voter", "--to v1"]);
    says(why(&net, 1).no_takeover.as_ref(), &["v1 is better", "takeover_after", "more"]);
}

#[test]
fn a_takeover_waits_for_heartbeats_in_a_row() {
    let mut net = led("", 10);
    let back = best_voter_restarted(&mut net);
    net.run(SECOND * 50);
    // Three heartbeats do not arrive.
    let link = (at("10.0.0.2:8770"), at("10.0.0.1:8770"));
    net.cut.insert(link);
    net.run(SECOND * 3);
    net.cut.remove(&link);
    net.run(SECOND * 2);
    let takeover = status(&net, 1).takeover.expect("v1 is better");
    assert_eq!(takeover.candidate, id("v1"));
    net.run(SECOND * 120);
    assert_eq!(net.leaders(), [back], "and then it leads");
}

#[test]
fn the_rate_of_takeovers_is_told() {
    let mut net = led("", 11);
    let back = best_voter_restarted(&mut net);
    net.run(SECOND * 80);
    assert_eq!(net.leaders(), [back]);
    let record = net.processes[back].record;
    net.kill(back);
    net.run(LEASE * 3);
    net.start("v1", at("10.0.0.1:8770"), record);
    net.run(SECOND * 80);
    assert_eq!(net.leaders(), [1]);
    says(why(&net, 1).no_takeover.as_ref(), &["v1 is better", "takeover_every"]);
}

#[test]
fn a_suspected_better_voter_is_not_waited_for_in_silence() {
    let mut net = led("", 12);
    let back = best_voter_restarted(&mut net);
    net.kill(back);
    let suspected = |net: &Net| {
        let no_takeover = why(net, 1).no_takeover.unwrap_or_default();
        no_takeover.contains("is suspected here")
    };
    assert!(net.run_until(SECOND * 30, suspected).is_some(), "{:?}", why(&net, 1));
    let dead = |net: &Net| status(net, 1).takeover.is_none();
    assert!(net.run_until(SECOND * 60, dead).is_some(), "the dead are better than nobody");
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let mut net = led("", 13);
    let failed = Persisted { number: u64::MAX, done: false };
    let now = net.now;
    net.processes[3].node.handle_input(now, Input::Persisted(failed));
    says(why(&net, 3).not_leading.as_ref(), &["vote store of v4", "log"]);
}

#[test]
fn a_restarted_voter_that_abstains_says_for_how_long() {
    let mut net = led("", 14);
    let record = net.processes[2].record;
    net.kill(2);
    net.run(SECOND);
    let back = net.start("v3", at("10.0.0.3:8770"), record);
    net.run(SECOND);
    says(why(&net, back).not_leading.as_ref(), &["v3 restarted", "abstains for", "more"]);
}

#[test]
fn a_voter_with_another_list_is_no_silent_minority() {
    let mut net = Net::new(config(""), 15);
    let other = voters("  watcher: {address: 10.0.0.9}\n");
    for n in 1..=2 {
        net.start(&format!("v{n}"), at(&format!("10.0.0.{n}:8770")), None);
    }
    let mut other = other;
    other.voters_version = 7;
    net.config = other;
    for n in 3..=4 {
        net.start(&format!("v{n}"), at(&format!("10.0.0.{n}:8770")), None);
    }
    net.run(SECOND * 10);
    says(why(&net, 0).no_leader.as_ref(), &["another voter list", "v3, v4"]);
}

#[test]
fn what_each_voter_last_said_is_kept_with_its_moment() {
    let net = led("", 16);
    let status = status(&net, 0);
    for voter in status.voters.iter().filter(|voter| !voter.is_self) {
        let (when, what) = voter.said.expect("an answer to a heartbeat");
        assert_eq!(what.as_str(), "acknowledged", "{}", voter.id);
        assert!(net.now.since(when) <= SECOND * 2);
    }
    let follower = net.node(3).status(net.now);
    let leader = follower.voters.iter().find(|voter| voter.id == id("v1")).and_then(|it| it.said);
    assert_eq!(leader.map(|(_, said)| said.as_str()), Some("leads"));
}

#[test]
fn the_history_says_how_each_lead_ended() {
    let mut net = led("", 17);
    net.command(0, Command::StepDown);
    net.run(SECOND * 5);
    let ended = |number: usize| {
        let past = status(&net, number).history;
        let first = past.iter().find(|past| past.winner == Some(id("v1"))).cloned();
        first.and_then(|past| past.ended).map(|(_, cause)| cause)
    };
    assert_eq!(ended(0), Some("step_down"), "its own account");
    assert_eq!(ended(3), Some("leader_released"), "what the others saw of it");
    let past = status(&net, 1).history;
    let won = past.iter().find(|past| past.winner == Some(id("v2"))).expect("the one that it won");
    assert_eq!(won.cause, "handed_over");
    assert_eq!(won.votes.len(), 5);
}

#[test]
fn a_target_whose_voters_abstain_is_not_ready_and_the_leader_stays() {
    let mut net = led("", 18);
    let term = status(&net, 0).term;
    for voter in [2, 3, 4] {
        let record = net.processes[voter].record;
        net.kill(voter);
        let name = format!("v{}", voter + 1);
        net.start(&name, at(&format!("10.0.0.{}:8770", voter + 1)), record);
    }
    net.run(SECOND * 2);
    net.command(0, Command::Transfer { to: id("v2") });
    net.run(SECOND);
    assert_eq!((net.leaders(), status(&net, 0).term), (vec![0], term), "nobody would vote yet");
    net.run(LEASE * 2);
    net.command(0, Command::Transfer { to: id("v2") });
    net.run(SECOND);
    assert_eq!(net.leaders(), [1]);
}
