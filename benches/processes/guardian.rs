//! How long nobody leads after the leader's process is killed under its guardian, and what guardians weigh.

use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::thread;
use std::time::Instant;

use super::add;
use super::lab::{Lab, Timing, VOTERS, sleep_a_share};
use super::sampler::Sampler;
use crate::report::{Report, asked_for};

const NAME: &str = "kill -9 with guardian";

/// Kills the node of the leader so many times, never its guardian: of a cluster that was just started, then again and
/// again of one cluster, whose voters then rank ever lower for their unclean ends.
pub fn series(report: &mut Report, timing: Timing, runs: usize) {
    if !asked_for(NAME) {
        return;
    }
    let mut lab = Lab::on_loopback(timing, false);
    lab.guarded = true;
    let mut memory = Vec::new();
    for (anew, name) in [(true, NAME), (false, "kill -9 with guardian, one after the other")] {
        let mut leaderless = Vec::new();
        for run in 0..runs {
            if anew {
                lab.start_anew();
            }
            leaderless.push(once(&mut lab, timing, run, &mut memory));
            println!("{name} {}: {:.1} ms", run + 1, leaderless[run]);
        }
        add(report, name, "ms", leaderless);
    }
    add(report, "own resident memory of a guardian", "MB", memory);
}

/// One kill; milliseconds without a leader.
fn once(lab: &mut Lab, timing: Timing, run: usize, memory: &mut Vec<f64>) -> f64 {
    for node in 0..VOTERS {
        lab.start_unless_running(node);
    }
    lab.wait_settled();
    thread::sleep(Duration::from_millis(u64::from(timing.lease_ms)) * 2);
    let old = lab.wait_settled();
    let pid = node_pid(lab, old);
    memory.push(resident_mb(lab.pid(old)));
    sleep_a_share(run, Duration::from_millis(u64::from(timing.heartbeat_ms)));
    let mut sampler = Sampler::new(lab, (0..VOTERS).filter(|&node| node != old).collect());
    let at = Instant::now();
    kill_process(pid, Signal::KILL).expect("it runs");
    let claim = sampler.first(Duration::ZERO);
    drop(sampler);
    lab.ended(old);
    claim.at.duration_since(at).as_secs_f64() * 1e3
}

/// The process that the guardian of `node` watches.
fn node_pid(lab: &Lab, node: usize) -> Pid {
    let answer = lab.ask(node, "/status").expect("an answer");
    let status: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let pid = status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(Pid::from_raw).expect("a process id")
}

/// What a process keeps in memory of its own, without the pages that it shares with others, in MB.
fn resident_mb(pid: Pid) -> f64 {
    let file = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(file).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    let kb: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kb / 1024.0
}
