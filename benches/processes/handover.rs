//! How long nobody leads when the lead is moved: by a step-down, a transfer, a takeover.
//!
//! Five voters. The time runs from the last 200 of `GET /leader` of the old leader to the first of another;
//! two threads' worth of questions cannot be exact to more than some tenths of a millisecond. A takeover is that of the best
//! voter after a transfer away from it, with hysteresis turned down to the ten heartbeats that remain.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use super::lab::{Lab, Timing, VOTERS, sleep_a_share};
use super::sampler::Sampler;
use super::support::{NAMES, PATIENCE};
use super::{SPREAD, add};
use crate::report::{Report, asked_for, setting};

const TIMING: Timing = Timing { heartbeat_ms: 250, lease_ms: 1_000, probe_ms: 250 };

/// Runs the bench.
pub fn run() {
    let runs = setting("BENCH_RUNS", 20);
    let mut report = Report::new("handover", &SPREAD);
    println!("five voters, heartbeat {} ms, lease {} ms", TIMING.heartbeat_ms, TIMING.lease_ms);
    for (name, once) in [
        ("step-down", step_down as fn(&Lab) -> Duration),
        ("transfer", transfer),
        ("takeover", takeover),
    ] {
        if !asked_for(name) {
            continue;
        }
        let mut lab = Lab::on_loopback(TIMING, false);
        if name == "takeover" {
            let often = "takeover_after: 10ms\n  takeover_every: 10ms\n  block_after_step_down: 0";
            lab.reconfigure("takeover_after: 3600", often);
        }
        (0..VOTERS).for_each(|node| lab.start(node));
        let mut values = Vec::new();
        for run in 0..runs {
            lab.wait_settled();
            sleep_a_share(run, Duration::from_millis(u64::from(TIMING.heartbeat_ms)));
            let took = once(&lab).as_secs_f64() * 1e3;
            println!("{name} {}: {took:.1} ms", run + 1);
            values.push(took);
        }
        add(&mut report, &format!("{name}, time without a leader"), "ms", values);
    }
    report.hand_over();
}

fn step_down(lab: &Lab) -> Duration {
    let old = lab.wait_settled();
    moved(lab, old, "/election/step_down", String::new())
}

fn transfer(lab: &Lab) -> Duration {
    let old = lab.wait_settled();
    let to = format!("{{\"to\":\"{}\"}}", NAMES[(old + 1) % VOTERS]);
    moved(lab, old, "/election/transfer", to)
}

/// Waits for the best voter to lead, sends the lead away, and watches it come back.
fn takeover(lab: &Lab) -> Duration {
    let best = loop {
        let leader = lab.wait_settled();
        if leader == 0 {
            break leader;
        }
        thread::sleep(Duration::from_millis(u64::from(TIMING.heartbeat_ms)));
    };
    moved(lab, best, "/election/transfer", format!("{{\"to\":\"{}\"}}", NAMES[4]));
    watch(lab, 4)
}

/// Posts to the leader, and watches meanwhile.
fn moved(lab: &Lab, old: usize, path: &'static str, body: String) -> Duration {
    let at = lab.http(old);
    lab.enter(old);
    thread::scope(|scope| {
        scope.spawn(move || post(at, path, &body));
        watch(lab, old)
    })
}

/// From the last claim of the old leader to the first of another.
fn watch(lab: &Lab, old: usize) -> Duration {
    let mut sampler = Sampler::new(lab, (0..VOTERS).collect());
    let began = Instant::now();
    let mut last = began;
    loop {
        for node in 0..VOTERS {
            match sampler.ask(node) {
                Some(claim) if node == old => last = claim.at,
                Some(claim) => return claim.at.duration_since(last),
                None => {}
            }
        }
        assert!(began.elapsed() < PATIENCE, "the lead does not move");
    }
}

fn post(at: SocketAddr, path: &str, body: &str) {
    let mut stream = TcpStream::connect(at).expect("the leader listens");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("the leader reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the leader answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
