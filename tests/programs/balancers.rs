//! HAProxy and nginx from Debian, with the files that `config/` ships.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::process::Process;
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

/// The service beside every voter: it answers with the voter's name, whoever leads.
struct Services {
    asked: [Arc<AtomicUsize>; 5],
}

impl Services {
    fn start(cluster: &Cluster) -> Self {
        let asked: [Arc<AtomicUsize>; 5] = Default::default();
        for (node, count) in asked.iter().enumerate() {
            let (at, count) =
                (SocketAddr::new(cluster.address(node).into(), 9000), Arc::clone(count));
            let listener = cluster.net(node).within(|| TcpListener::bind(at)).expect("a free port");
            thread::spawn(move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    let mut request = Vec::new();
                    let mut byte = [0];
                    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1))
                    {
                        request.push(byte[0]);
                    }
                    // A connection that was only tried is no request.
                    if request.is_empty() {
                        continue;
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let name = NAMES[node];
                    let head = format!("content-length: {}\r\nconnection: close", name.len());
                    let _gone = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{name}");
                }
            });
        }
        Self { asked }
    }

    fn asked(&self) -> [usize; 5] {
        self.asked.each_ref().map(|count| count.load(Ordering::SeqCst))
    }
}

/// Status and body of one POST to the balancer; `None` without an answer.
fn post(cluster: &Cluster, port: u16) -> Option<(u16, String)> {
    cluster.net(0).within(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let head = "POST /work HTTP/1.1\r\nHost: service\r\nContent-Length: 0\r\nConnection: close";
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.trim().to_owned()))
    })
}

/// Whether this machine has the program; under `CI` it must.
fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let there = command.arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "this test needs {program}");
    if !there {
        eprintln!("not run: this test needs {program}");
    }
    there
}

fn shipped(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// Through a failover: requests go to the leader's service and to no other.
fn follows_the_leader(cluster: &mut Cluster, mut balancer: Process, port: u16) {
    let services = Services::start(cluster);
    let serves = |cluster: &Cluster| loop {
        let (leader, term) = cluster.wait_agreed(&cluster.running());
        let served = (200, NAMES[leader].to_owned());
        wait_for("the balancer to find the leader, or another leader", || {
            let found = post(cluster, port)? == served;
            (found || cluster.agreed(&cluster.running()) != Some((leader, term))).then_some(())
        });
        let before = services.asked();
        let answers: Vec<_> = (0..50).filter_map(|_| post(cluster, port)).collect();
        if cluster.agreed(&cluster.running()) != Some((leader, term)) {
            // A busy machine changes its leader now and then, and proves nothing.
            continue;
        }
        assert_eq!(answers, vec![served; 50]);
        let mut expected = before;
        expected[leader] += 50;
        assert_eq!(services.asked(), expected);
        return leader;
    };
    let first = serves(cluster);
    // The node goes, and the service beside it stays: only the check can tell.
    cluster.kill(first);
    let second = serves(cluster);
    assert_ne!(first, second);
    // Without a leader nobody is served.
    for node in cluster.running().into_iter().filter(|&node| node != second).take(2) {
        cluster.kill(node);
    }
    cluster.wait_leaderless(&[second]);
    wait_for("a refusal", || (post(cluster, port)?.0 == 503).then_some(()));
    let before = services.asked();
    for _ in 0..10 {
        assert_eq!(post(cluster, port).map(|(status, _)| status), Some(503));
    }
    assert_eq!(services.asked(), before);
    assert!(balancer.ends_within(Duration::ZERO).is_none(), "{}", balancer.log());
}

#[test]
fn haproxy_sends_requests_to_the_leader_only() {
    let Some(mut cluster) = five().filter(|_| has("haproxy")) else { return };
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    let mut command = cluster.net(0).command("haproxy");
    command.args(["-db", "-f", &shipped("config/haproxy/haproxy.cfg")]);
    let balancer = Process::start(command, cluster.dir.path(), "haproxy");
    follows_the_leader(&mut cluster, balancer, 8080);
}

#[test]
fn nginx_sends_requests_to_the_leader_only() {
    let Some(mut cluster) = five().filter(|_| has("nginx")) else { return };
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    let dir = cluster.dir.path().join("nginx");
    std::fs::create_dir(&dir).expect("a folder");
    let main = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr;\n\
         events {{}}\nhttp {{ access_log off; client_body_temp_path {dir}/body; \
         proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; \
         scgi_temp_path {dir}/s; include {}; }}\n",
        shipped("config/nginx/leader.conf"),
        dir = dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, main).expect("a file");
    let mut command = cluster.net(0).command("nginx");
    command.arg("-p").arg(&dir).arg("-c").arg(&file);
    let balancer = Process::start(command, cluster.dir.path(), "nginx");
    follows_the_leader(&mut cluster, balancer, 8081);
}
