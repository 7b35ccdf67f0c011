//! More connections than a node keeps, more questions than it answers at once, and where it listens.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::support::cluster::{Cluster, Host, PORT, on_loopback};
use crate::support::net::Net;
use crate::support::{PATIENCE, wait_for};
use crate::{ALL, TIMING, acknowledged, alone, configure};

/// More than a node keeps connections.
const MANY: usize = 2_500;

/// Questions at once.
const QUESTIONS: usize = 1_000;

/// Enough files for [`MANY`] connections.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(Some(8_192), |most| Some(most.min(8_192)));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("up to the maximum");
}

fn connect(to: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    // It may be ended already.
    let _ = stream.write_all(said.as_bytes());
    stream
}

/// The status code of what comes, if anything.
fn status_of(mut stream: TcpStream) -> Option<u16> {
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    std::str::from_utf8(&answer).ok()?.rsplit(' ').next()?.parse().ok()
}

fn started() -> Option<(Cluster, (usize, u64))> {
    open_files();
    let mut cluster = on_loopback(TIMING)?;
    cluster.start_all();
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    Some((cluster, before))
}

#[test]
fn whoever_keeps_thousands_of_connections_waiting_keeps_no_question_out() {
    let _alone = alone();
    let Some((cluster, before)) = started() else { return };
    let watch = cluster.watch();
    let heard = acknowledged(&cluster, before.0);
    let to = cluster.http(before.0);
    cluster.net(0).within(|| {
        let slow: Vec<_> = (0..MANY).map(|_| connect(to, "GET /health HTTP/1.1\r\nHost")).collect();
        for _ in 0..50 {
            let asked = connect(to, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(status_of(asked), Some(200));
        }
        // Those that came last are still kept, and go on.
        let mut last = slow.into_iter().next_back().expect("one of many");
        last.write_all(b": localhost\r\n\r\n").expect("it is open");
        assert_eq!(status_of(last), Some(200));
    });
    let more = || (acknowledged(&cluster, before.0) > heard + 20.0).then_some(());
    wait_for("heartbeats", more);
    assert_eq!(cluster.wait_agreed(&ALL), before);
    watch.judge(true);
}

#[test]
fn a_thousand_questions_at_once_are_all_answered() {
    let _alone = alone();
    let Some((cluster, before)) = started() else { return };
    let watch = cluster.watch();
    let to = cluster.http(before.0);
    let files = format!("/proc/{}/fd", cluster.status(before.0).number("pid"));
    let open = || fs::read_dir(&files).expect("it runs").count();
    cluster.net(0).within(|| {
        let line = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut asked: Vec<_> = (0..QUESTIONS).map(|_| connect(to, "")).collect();
        // None of them is answered before all are there.
        wait_for("a thousand connections", || (open() > QUESTIONS).then_some(()));
        for stream in &mut asked {
            stream.write_all(line.as_bytes()).expect("it is open");
        }
        let health = connect(to, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(status_of(health), Some(200));
        let answers: Vec<_> = asked.into_iter().map(status_of).collect();
        let missing = answers.iter().filter(|it| **it != Some(200)).count();
        assert_eq!(missing, 0, "of {QUESTIONS}");
    });
    assert_eq!(cluster.wait_agreed(&ALL), before);
    watch.judge(true);
}

#[test]
fn http_listens_where_it_is_told_and_gossip_elsewhere() {
    let own = Ipv4Addr::new(10, 66, 0, 1);
    for (bind, open) in [("loopback", false), ("all", true), ("10.66.0.1", true)] {
        let Some(net) = Net::new(&[]).map(Arc::new) else { return };
        net.ip("address add 10.66.0.1/32 dev lo");
        let asked_at = if bind == "10.66.0.1" { own } else { Ipv4Addr::LOCALHOST };
        let host = Host { net, address: own, http: SocketAddr::from((asked_at, PORT)) };
        let mut cluster = Cluster::new(TIMING, vec![host]);
        configure(&cluster, &format!("http: {{bind: {bind}}}\n"));
        cluster.start(0);
        cluster.wait_agreed(&[0]);
        let counted = "ringrift_p2p_datagrams_rejected_total";
        cluster.net(0).within(|| {
            let timeout = Duration::from_secs(5);
            let tried = TcpStream::connect_timeout(&(own, PORT).into(), timeout);
            let refused = tried.as_ref().is_err_and(|it| it.kind() == ErrorKind::ConnectionRefused);
            assert_eq!((tried.is_ok(), refused), (open, !open), "{bind}");
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.send_to(b"anything", (own, PORT)).expect("room to send");
        });
        wait_for("the datagram", || (cluster.metric(0, counted) > 0.5).then_some(()));
    }
}
