//! A stand-in for `p2p_orchestrator.py`: its `/status` as that process writes it, and nothing else.

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::NAMES;
use super::net::Net;

/// What it says; dropped, the stand-in says it on until its network goes.
pub struct Old {
    says: Arc<Mutex<Option<Value>>>,
}

impl Old {
    /// One on that host, which sees all five voters and `leader` as theirs.
    pub fn start(net: &Net, at: SocketAddr, leader: &str) -> Self {
        let listener = net.within(|| TcpListener::bind(at).expect("the address is free"));
        let says = Arc::new(Mutex::new(Some(status(leader))));
        let shared = Arc::clone(&says);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { says }
    }

    /// Says another value of a field from now on.
    pub fn say(&self, field: &str, value: Value) {
        if let Some(status) = &mut *self.says.lock().expect("no panic") {
            status[field] = value;
        }
    }

    /// Answers 500, as it does when a lock cannot be had.
    pub fn fail(&self) {
        *self.says.lock().expect("no panic") = None;
    }
}

/// Answers requests of one connection, which is kept, as aiohttp does.
fn serve(stream: &TcpStream, says: &Mutex<Option<Value>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut writer = stream;
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let said = says.lock().ok()?.clone();
        let (code, body) = match said {
            Some(status) if request.starts_with("GET /status ") => ("200 OK", status.to_string()),
            Some(_) => ("404 Not Found", "404: Not Found".to_owned()),
            None => ("500 Internal Server Error", json!({ "error": "timeout" }).to_string()),
        };
        write!(
            writer,
            "HTTP/1.1 {code}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\
             Date: Mon, 05 Jan 2026 10:00:00 GMT\r\nServer: Python/3.11 aiohttp/3.9.1\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
    }
}

/// The fields that it writes, those about jobs and training left out. It has no `term`, no `voters` and no age of its leader.
fn status(leader: &str) -> Value {
    let peer = |id: &str| {
        json!({
            "node_id": id, "host": "100.64.0.2", "port": 8770, "scheme": "http",
            "role": if id == leader { "leader" } else { "follower" }, "last_heartbeat": 1_767_607_200.25,
            "leader_id": leader, "leader_term": 12, "has_gpu": true, "gpu_name": "A100", "tailscale_ip": "100.64.0.2",
            "is_alive": true, "consecutive_failures": 0, "nat_blocked": false, "selfplay_jobs": 0, "training_jobs": 0,
        })
    };
    let peers: Value = NAMES[1..].iter().map(|id| ((*id).to_owned(), peer(id))).collect();
    let unknown = json!({ "error": "not_collected" });
    json!({
        "node_id": NAMES[0], "role": "follower", "leader_id": leader, "forced_leader_override": false,
        "effective_leader_id": leader, "is_provisional_leader": false, "leaders_reported": [leader],
        "leaders_eligible": [leader], "voter_node_ids": NAMES, "voter_quorum_size": 3, "voters_alive": 5,
        "voter_quorum_ok": true, "voter_config_version": 1, "voter_config_hash": "5f1c9d2e80a3b764",
        "voter_health": { "voters_total": 5, "voters_alive": 5, "voters_offline": [], "quorum_size": 3, "quorum_ok": true },
        "self": peer(NAMES[0]), "peers": peers, "all_peers": peers, "local_jobs": {}, "alive_peers": 4,
        "gossip_metrics": unknown, "leader_consensus": unknown, "partition": unknown, "background_loops": unknown,
        "work_queue_size": 17, "active_jobs": 3, "selfplay_jobs": 40, "training_jobs": 1,
        "network": { "advertise_host": "100.64.0.1", "alternate_ips": [] },
        "leadership_consistency": unknown, "is_leader": false, "config_version": unknown, "_cache_time": 1_767_607_200.5,
    })
}
