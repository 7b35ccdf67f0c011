//! What many or slow HTTP clients cost a cluster: the time of `GET /health` on a connection of its own beside
//! them, and the heartbeats.

use core::time::Duration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::lab::{Lab, VOTERS};
use super::load::{TIMING, counts, length};
use super::support::net::Net;
use crate::report::{Report, asked_for};

const QUESTION: &[u8] = b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n";
const HALF: &[u8] = b"GET /health HTTP/1.1\r\nhost: local";
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Threads of the clients.
const THREADS: usize = 8;

/// Between two questions that are timed.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs it.
pub fn run() {
    let columns = [
        "clients of the leader",
        "answers /s",
        "/health alone, median ms",
        "beside them, median",
        "99 %",
        "ratio",
        "not 200",
        "leader changes",
        "heartbeats acknowledged, ratio",
    ];
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    raised.expect("up to the maximum");
    let mut report = Report::new("questions", &columns);
    for (name, count, whole) in [
        ("1,000 that ask for /status all the time", 1_000, true),
        ("1,000 that never end their request", 1_000, false),
        ("4,000 that never end their request", 4_000, false),
    ] {
        if asked_for(name) {
            series(&mut report, name, count, whole);
        }
    }
    report.hand_over();
}

fn series(report: &mut Report, name: &str, count: usize, whole: bool) {
    let mut lab = Lab::on_loopback(TIMING, false);
    let Some(net) = lab.net(0) else {
        println!("not run: it needs root, for network namespaces");
        return;
    };
    (0..VOTERS).for_each(|node| lab.start(node));
    let leader = lab.wait_settled();
    lab.enter(leader);
    let to = lab.http(leader);
    let calm = measure(&lab, to);
    let crowd = Crowd::gather(&net, to, count, whole);
    // They are all there before anything is measured.
    let all_there = Instant::now();
    while crowd.ready.load(Ordering::Relaxed) < THREADS as u64 {
        assert!(all_there.elapsed() < Duration::from_secs(60), "they do not get in");
        thread::sleep(Duration::from_millis(20));
    }
    let answered = crowd.answers.load(Ordering::Relaxed);
    let busy = measure(&lab, to);
    let answers = crowd.answers.load(Ordering::Relaxed) - answered;
    drop(crowd);
    let ratio = busy.median / calm.median;
    let beats = busy.acknowledged / calm.acknowledged;
    let per_second = answers as f64 / busy.seconds;
    report.line(json!({
        "clients": name, "answers_per_second": per_second, "health_alone_ms": calm.median,
        "health_ms": busy.median, "health_99_ms": busy.late, "ratio": ratio,
        "failed": busy.failed, "leader_changes": busy.changes, "acknowledged_ratio": beats,
    }));
    report.row([
        name.to_owned(),
        format!("{per_second:.0}"),
        format!("{:.2}", calm.median),
        format!("{:.2}", busy.median),
        format!("{:.2}", busy.late),
        format!("{ratio:.1}"),
        busy.failed.to_string(),
        format!("{:.0}", busy.changes),
        format!("{beats:.2}"),
    ]);
}

struct Figures {
    median: f64,
    late: f64,
    failed: usize,
    seconds: f64,
    changes: f64,
    acknowledged: f64,
}

fn measure(lab: &Lab, to: SocketAddr) -> Figures {
    let (before, began) = (counts(lab), Instant::now());
    let (mut times, mut failed) = (Vec::new(), 0);
    while began.elapsed() < length() {
        let asked = Instant::now();
        match health(to) {
            Some(()) => times.push(asked.elapsed().as_secs_f64() * 1e3),
            None => failed += 1,
        }
        thread::sleep(PAUSE);
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = counts(lab);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    Figures {
        median: at(0.5).unwrap_or(f64::NAN),
        late: at(0.99).unwrap_or(f64::NAN),
        failed,
        seconds,
        changes: after.changes - before.changes,
        acknowledged: after.acknowledged - before.acknowledged,
    }
}

/// One question on a connection of its own.
fn health(to: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(HEALTH).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}

/// Clients that are a nuisance; dropped, they go.
struct Crowd {
    stop: Arc<AtomicBool>,
    ready: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn gather(net: &Arc<Net>, to: SocketAddr, count: usize, whole: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let client = || {
            let (net, stop) = (Arc::clone(net), Arc::clone(&stop));
            let (ready, answers) = (Arc::clone(&ready), Arc::clone(&answers));
            thread::spawn(move || {
                net.enter();
                let mut clients: Vec<_> = (0..count / THREADS).map(|_| open(to, whole)).collect();
                ready.fetch_add(1, Ordering::Relaxed);
                while !stop.load(Ordering::Relaxed) {
                    if whole {
                        // Every question is under way before the first answer is read.
                        clients.iter_mut().for_each(|it| drop(it.write_all(QUESTION)));
                    } else {
                        thread::sleep(Duration::from_millis(10));
                    }
                    for client in &mut clients {
                        if whole && read_answer(client).is_some() {
                            answers.fetch_add(1, Ordering::Relaxed);
                        } else if whole || is_over(client) {
                            *client = open(to, whole);
                        }
                    }
                }
            })
        };
        let threads = (0..THREADS).map(|_| client()).collect();
        Self { stop, ready, answers, threads }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn open(to: SocketAddr, whole: bool) -> TcpStream {
    loop {
        let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        if whole {
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        } else {
            let _may_be_over = stream.write_all(HALF);
            stream.set_nonblocking(true).expect("a socket");
        }
        return stream;
    }
}

/// Whether the server has ended it.
fn is_over(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 512]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Reads one answer to its end; `None` if the connection is over.
fn read_answer(stream: &mut TcpStream) -> Option<()> {
    let mut read = Vec::new();
    let mut chunk = [0; 8_192];
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().ok()? {
                return (!head.contains("connection: close")).then_some(());
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(length) => read.extend_from_slice(&chunk[..length]),
        }
    }
}
