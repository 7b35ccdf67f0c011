//! Floods: one thread that sends to one node as fast as a core can, and what it sends.

use ringrift_p2p::election::VoterSet;
use ringrift_wire::{
    Boot, Coordinator, Envelope, Key, MAX_DATAGRAM, Message, NodeId, cluster_tag, encode, seal,
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::NAMES;
use super::net::Net;

/// Where strangers send from.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// How many different datagrams a flood of made ones has.
const SORTS: u64 = 512;

/// Datagrams between two looks whether to stop.
const BATCH: usize = 64;

/// `ETH_P_ALL`, as a packet socket takes it.
const EVERY_PROTOCOL: u16 = 3;

/// The bytes of an IPv4 header without options, and of a UDP header.
const HEADERS: usize = 28;

/// A flood under way; dropped, it stops.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends these, over and over, from an address that is nobody's.
    pub fn of_stranger(net: Arc<Net>, to: SocketAddrV4, datagrams: Vec<Vec<u8>>) -> Self {
        Self::start(net, move || {
            let socket = UdpSocket::bind((STRANGER, 0)).expect("a socket");
            socket.connect(to).expect("a UDP socket");
            // A full buffer or a closed port is no reason to stop.
            (datagrams, move |datagram: &[u8]| socket.send(datagram).is_ok())
        })
    }

    /// Sends these, over and over, under the addresses that they come with.
    pub fn of_liar(net: Arc<Net>, to: SocketAddrV4, said: &[(SocketAddrV4, Vec<u8>)]) -> Self {
        let packets = said.iter().map(|(from, datagram)| packet(*from, to, datagram)).collect();
        Self::start(net, move || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP));
            let socket = socket.expect("root may send what it likes");
            socket.set_header_included_v4(true).expect("a raw socket");
            let to = SockAddr::from(SocketAddr::from(to));
            (packets, move |packet: &[u8]| socket.send_to(packet, &to).is_ok())
        })
    }

    fn start<S: Fn(&[u8]) -> bool>(
        net: Arc<Net>,
        prepare: impl FnOnce() -> (Vec<Vec<u8>>, S) + Send + 'static,
    ) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            net.enter();
            let (datagrams, send) = prepare();
            let mut next = datagrams.iter().cycle();
            while !stopped.load(Ordering::Relaxed) {
                let gone = next.by_ref().take(BATCH).filter(|datagram| send(datagram)).count();
                count.fetch_add(gone as u64, Ordering::Relaxed);
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// How many it has sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking(), "the flood panicked");
    }
}

/// Noise.
pub fn garbage() -> Vec<Vec<u8>> {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.to_be_bytes()[0]
    };
    (0..SORTS).map(|length| (0..20 + length % 200).map(|_| byte()).collect()).collect()
}

/// Heartbeats as a voter of the cluster of that name might send them.
pub fn heartbeats(cluster: &str) -> Vec<Vec<u8>> {
    let voters: Vec<NodeId> = NAMES.iter().map(|name| name.parse().expect("a name")).collect();
    let set = VoterSet::new(&voters, 1).tag();
    let datagram = |number| {
        let heartbeat = Coordinator { set, term: u64::MAX - 1, number, lease_ms: 400 };
        let boot = Boot { sequence: u64::MAX, nonce: 1 };
        let message = Message::Coordinator(heartbeat);
        let envelope = Envelope { sender: voters[1], boot, message };
        let mut buffer = [0; MAX_DATAGRAM];
        let length = encode(&envelope, cluster_tag(cluster), &mut buffer).expect("it fits");
        buffer[..length].to_vec()
    };
    (1..=SORTS).map(datagram).collect()
}

/// The same, sealed with a key of this byte all over.
pub fn sealed_heartbeats(cluster: &str, key: u8) -> Vec<Vec<u8>> {
    let key = Key::new([key; Key::LEN]);
    let sealed = |(counter, plain): (u64, Vec<u8>)| {
        let mut buffer = [0; MAX_DATAGRAM];
        buffer[..plain.len()].copy_from_slice(&plain);
        let length = seal(&key, counter, &mut buffer, plain.len()).expect("it fits");
        buffer[..length].to_vec()
    };
    (1..).zip(heartbeats(cluster)).map(sealed).collect()
}

/// Listens in until `count` datagrams have gone to `to`, and gives them with their senders.
pub fn overhear(net: &Net, to: SocketAddrV4, count: usize) -> Vec<(SocketAddrV4, Vec<u8>)> {
    net.within(|| {
        let protocol = Protocol::from(i32::from(EVERY_PROTOCOL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol));
        let socket = socket.expect("root may listen in");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let mut heard = Vec::new();
        let mut packet = [0; 2_048];
        while heard.len() < count {
            let length = (&socket).read(&mut packet).expect("somebody speaks");
            // Over the loopback everything is seen twice, leaving and arriving.
            let new = unpack(&packet[..length], to).filter(|it| !heard.contains(it));
            heard.extend(new);
        }
        heard
    })
}

/// The sender and the datagram of an IPv4 packet to `to`.
fn unpack(packet: &[u8], to: SocketAddrV4) -> Option<(SocketAddrV4, Vec<u8>)> {
    let ip: &[u8; HEADERS] = packet.first_chunk()?;
    let address = |at: usize, port: usize| {
        let ip4 = Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        SocketAddrV4::new(ip4, u16::from_be_bytes([ip[port], ip[port + 1]]))
    };
    let is_udp = ip[0] == 0x45 && ip[9] == 17;
    (is_udp && address(16, 22) == to).then(|| (address(12, 20), packet[HEADERS..].to_vec()))
}

/// An IPv4 packet; the kernel fills in its length and checksum, and UDP needs none.
fn packet(from: SocketAddrV4, to: SocketAddrV4, datagram: &[u8]) -> Vec<u8> {
    let length = u16::try_from(datagram.len() + 8).expect("a datagram");
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend_from_slice(datagram);
    packet
}
