//! What release 0.1.0 sent and wrote, read by this one.

use ringrift_p2p::config;
use ringrift_p2p::driver::sealing::ring::Ring;
use ringrift_wire::{DecodeError, Kind, MAX_DATAGRAM, VERSION, cluster_tag, decode, encode, open};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ALL;
use crate::samples::{CLUSTER, samples};
use crate::support::cluster::{Timing, on_loopback};
use crate::support::wait_for;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/0.1.0").join(name)
}

/// The lines of a list of datagrams: name and bytes.
fn datagrams(name: &str) -> BTreeMap<String, Vec<u8>> {
    let text = fs::read_to_string(fixture(name)).expect("a fixture");
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').expect("a name and bytes");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        (name.to_owned(), (0..hex.len()).step_by(2).map(byte).collect())
    };
    text.lines().map(line).collect()
}

/// A key ring as it lay on a host; what is checked out is readable by all.
fn ring(dir: &Path) -> Ring {
    let path = dir.join("keys");
    fs::copy(fixture("keys"), &path).expect("it is copied");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("our own file");
    Ring::read(&path).expect("a key ring")
}

#[test]
fn every_datagram_of_0_1_0_says_what_it_said() {
    let frozen = datagrams("datagrams.txt");
    let now: BTreeMap<_, _> = samples().into_iter().collect();
    let mut kinds = BTreeSet::new();
    for (name, bytes) in &frozen {
        let envelope = decode(bytes, CLUSTER).expect(name);
        assert_eq!(Some(&envelope), now.get(name.as_str()), "{name}");
        let mut buffer = [0; MAX_DATAGRAM];
        let length = encode(&envelope, CLUSTER, &mut buffer).expect(name);
        assert_eq!(buffer[..length], bytes[..], "{name}: this release says it otherwise");
        kinds.insert(envelope.message.kind());
    }
    assert_eq!((frozen.len(), kinds.len()), (23, 22));
    assert!(kinds.is_subset(&BTreeSet::from(Kind::ALL)));
}

#[test]
fn every_sealed_datagram_of_0_1_0_opens_with_its_key_ring_and_says_what_it_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let ring = ring(dir.path());
    assert_eq!(ring.keys().len(), 2);
    let plain = datagrams("datagrams.txt");
    let sealed = datagrams("sealed.txt");
    assert_eq!(sealed.keys().collect::<Vec<_>>(), plain.keys().collect::<Vec<_>>());
    for (name, mut bytes) in sealed {
        assert_eq!(decode(&bytes, CLUSTER), Err(DecodeError::Sealed), "{name}");
        let opened = open(ring.keys(), CLUSTER, &mut bytes).expect(&name);
        assert_eq!(bytes[..opened.length], plain[&name][..], "{name}");
    }
}

#[test]
fn a_datagram_of_a_later_version_is_refused_by_its_version() {
    for (name, mut bytes) in datagrams("datagrams.txt") {
        bytes[2] = VERSION + 1;
        // Whatever else a later version changes.
        bytes[10..14].fill(0x5a);
        bytes.extend([1, 2, 3]);
        assert_eq!(decode(&bytes, CLUSTER), Err(DecodeError::Version(VERSION + 1)), "{name}");
    }
}

#[test]
fn the_configuration_of_0_1_0_means_what_it_meant() {
    let text = fs::read_to_string(fixture("config.yaml")).expect("a fixture");
    let checked = config::parse(&text).expect("it is right");
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    let config = checked.config;
    assert_eq!(
        (config.cluster.as_str(), config.voters.len(), config.voters_version),
        ("fleet", 3, 4)
    );
    let election = &config.election;
    assert_eq!(election.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(election.lease, Duration::from_millis(8_500));
    assert_eq!(config.hosts.len(), 4);
}

/// What a node does that was left behind in an upgrade.
#[test]
fn a_node_names_a_later_version_in_its_log_once_and_counts_its_datagrams() {
    let Some(mut cluster) = on_loopback(Timing::SHORT) else { return };
    cluster.start(0);
    cluster.status(0);
    let mut later = datagrams("datagrams.txt").remove("ping_idle").expect("a ping");
    later[2] = VERSION + 1;
    later[4..8].copy_from_slice(&cluster_tag("test").to_le_bytes());
    let to = cluster.http(0);
    let counted = || {
        let name = "ringrift_p2p_datagrams_rejected_total{reason=\"version\"}";
        cluster.metric(0, name) > 9.0
    };
    wait_for("datagrams to be counted", || {
        cluster.net(0).within(|| {
            let socket = UdpSocket::bind("127.0.0.9:0").expect("a socket");
            socket.send_to(&later, to).expect("room to send");
        });
        counted().then_some(())
    });
    let log = cluster.process(0).log();
    assert_eq!(log.matches("a later format of datagrams").count(), 1, "{log}");
}

/// The store of `nebius-backbone-1`, drained, and copied to a host where it never was.
#[test]
fn a_voter_starts_with_the_store_of_0_1_0_and_knows_its_term_and_its_drain() {
    let timing = Timing { heartbeat_ms: 100, lease_ms: 400 };
    let Some(mut cluster) = on_loopback(timing) else { return };
    let store = cluster.store(0);
    fs::create_dir_all(&store).expect("a folder");
    fs::set_permissions(&store, Permissions::from_mode(0o700)).expect("our own folder");
    fs::copy(fixture("votes-drained"), store.join("votes")).expect("it is copied");
    let begun = Instant::now();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    assert_ne!(leader, 0, "it is drained");
    assert!(term > 1_790_000_007, "the stored term is the floor of the next");
    let status = wait_for("its election status", || cluster.ask(0, "GET", "/election/status"));
    let said: Value = serde_json::from_str(&status.body).expect("an object");
    assert_eq!(said["drained"], true, "after {:?}: {said}", begun.elapsed());
    cluster.signal(0, Signal::TERM);
    assert_eq!(cluster.ended(0), Some(0));
}
