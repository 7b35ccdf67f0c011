//! Reserved queues: a socket for each voter's address, so that no flood of others crowds it out.
//!
//! The kernel keeps what has arrived in a queue for each socket and drops what finds it full. A socket that
//! is connected to a peer takes that peer's datagrams from the node's own one, which keeps the rest: those
//! of strangers, of observers, and of voters that speak from elsewhere. Whoever forges a voter's address
//! fills that voter's queue and no other.
//!
//! Decides which addresses have a queue. What is sent leaves by the node's own socket.
//!
//! 1. At most [`MOST`] queues.
//! 2. No other process can share the port, but for the instant in which a queue is made.
//! 3. Without a queue nothing is lost but the place: a system that makes none serves all from one.
//! 4. A queue that hears nothing for [`STALE`] is made anew: the way to its peer may be another now, and
//!    with it the own address that the kernel has tied it to.

use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;
use std::io;
use tokio::net::UdpSocket;
use tracing::debug;

use super::ports;
use super::udp::Socket;
use crate::time::Instant;

/// The most reserved queues; each is a descriptor.
pub const MOST: usize = 64;

/// How long a queue may be silent before it is made anew.
pub const STALE: Duration = Duration::from_secs(60);

/// One reserved queue.
#[derive(Debug)]
pub(super) struct Queue {
    incoming: UdpSocket,
    heard: bool,
}

/// The queues of this node.
#[derive(Debug)]
pub struct Reserved {
    /// The voters but this one, and where each is known to be.
    peers: BTreeMap<NodeId, Vec<SocketAddr>>,
    queues: BTreeMap<SocketAddr, Queue>,
    look_at: Instant,
}

impl Reserved {
    /// For these voters; the queues are made by the first [`Reserved::tend`].
    #[must_use]
    pub const fn new(peers: BTreeMap<NodeId, Vec<SocketAddr>>) -> Self {
        Self { peers, queues: BTreeMap::new(), look_at: Instant::ZERO }
    }

    /// A peer was looked up; of others than the voters nothing is kept.
    pub fn found(&mut self, peer: NodeId, addresses: &[SocketAddr]) {
        if let Some(known) = self.peers.get_mut(&peer)
            && known != addresses
        {
            addresses.clone_into(known);
            self.look_at = Instant::ZERO;
        }
    }

    /// Makes the queues that are missing or stale, when that is due.
    pub fn tend(&mut self, now: Instant, socket: &Socket) {
        if now < self.look_at {
            return;
        }
        self.look_at = now + STALE;
        let wanted = self.peers.values().flatten().copied();
        let wanted: Vec<_> = wanted.filter(|&it| socket.speaks_to(it)).take(MOST).collect();
        self.queues
            .retain(|address, queue| wanted.contains(address) && core::mem::take(&mut queue.heard));
        self.share(socket, true);
        for address in wanted {
            if self.queues.contains_key(&address) {
                continue;
            }
            match queue_for(socket, address) {
                Ok(incoming) => {
                    self.queues.insert(address, Queue { incoming, heard: false });
                }
                Err(error) => debug!(%address, %error, "no queue of its own"),
            }
        }
        self.share(socket, false);
    }

    fn share(&self, socket: &Socket, is_shared: bool) {
        ports::shared(socket.outgoing(), is_shared);
        self.queues.values().for_each(|queue| ports::shared(&queue.incoming, is_shared));
    }

    /// Each queue.
    pub(super) fn queues(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.queues.values_mut()
    }

    /// Whether there may be a datagram in one of them.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for queue in self.queues.values() {
            if let Poll::Ready(ready) = queue.incoming.poll_recv_ready(context) {
                return Poll::Ready(ready);
            }
        }
        Poll::Pending
    }
}

impl Queue {
    /// The socket; it counts as heard from now on.
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }

    pub(super) const fn incoming(&self) -> &UdpSocket {
        &self.incoming
    }
}

fn queue_for(socket: &Socket, address: SocketAddr) -> io::Result<UdpSocket> {
    let queue = ports::beside(socket.outgoing(), socket.as_sent(address))?;
    UdpSocket::from_std(queue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::ports::Transport;
    use crate::driver::ports::{bind_udp, holder};
    use core::future::poll_fn;
    use core::net::IpAddr;
    use ringrift_wire::MAX_DATAGRAM;
    use std::net;
    use std::os::fd::AsRawFd as _;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn address(socket: &net::UdpSocket) -> SocketAddr {
        socket.local_addr().unwrap()
    }

    /// Where a socket of this machine bound to everything is reached over IPv4.
    fn reached(socket: &net::UdpSocket) -> SocketAddr {
        SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address(socket).port())
    }

    async fn next(queue: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; MAX_DATAGRAM + 1];
        loop {
            queue.readable().await.unwrap();
            if let Ok((length, _)) = crate::driver::udp::receive(queue, &mut buffer) {
                return buffer[..length].to_vec();
            }
        }
    }

    #[tokio::test]
    async fn a_voters_datagrams_have_a_queue_and_a_flood_of_others_takes_no_room_there() {
        for own_ip in ["127.0.0.1".parse().ok(), None] {
            let own = bind_udp(own_ip, 0).unwrap();
            let to = reached(&own);
            let voter = net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let stranger = net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let socket = Socket::new(own).unwrap();
            let voters = BTreeMap::from([(id("b"), vec![address(&voter)])]);
            let mut reserved = Reserved::new(voters);
            reserved.tend(Instant::ZERO, &socket);
            assert_eq!(reserved.queues().count(), 1);
            // More than any socket keeps.
            for _ in 0..20_000 {
                stranger.send_to(&[0; 1_000], to).unwrap();
            }
            voter.send_to(b"heartbeat", to).unwrap();
            poll_fn(|context| reserved.poll_readable(context)).await.unwrap();
            let queue = reserved.queues().next().unwrap();
            assert_eq!(next(queue.incoming()).await, b"heartbeat");
            // What is sent still leaves from the port that the others know.
            socket.send(b"ack", address(&voter)).unwrap();
            assert_eq!(voter.recv_from(&mut [0; 9]).unwrap(), (3, to));
        }
    }

    #[tokio::test]
    async fn the_port_stays_one_processs_own() {
        let own = bind_udp("127.0.0.1".parse().ok(), 0).unwrap();
        let to = address(&own);
        let socket = Socket::new(own).unwrap();
        let peers = [7, 9].map(|port| SocketAddr::new(to.ip(), port)).to_vec();
        let mut reserved = Reserved::new(BTreeMap::from([(id("b"), peers)]));
        reserved.tend(Instant::ZERO, &socket);
        assert_eq!(reserved.queues().count(), 2);
        assert!(bind_udp(Some(to.ip()), to.port()).is_err());
        let greedy = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None);
        let greedy = greedy.unwrap();
        greedy.set_reuse_port(true).unwrap();
        assert!(greedy.bind(&to.into()).is_err());
        assert_eq!(holder(Transport::Udp, to).map(|it| it.pid), Some(std::process::id()));
    }

    #[tokio::test]
    async fn a_queue_follows_its_peer_and_a_silent_one_is_made_anew() {
        let socket = Socket::new(bind_udp("127.0.0.1".parse().ok(), 0).unwrap()).unwrap();
        let [first, second]: [SocketAddr; 2] =
            ["127.0.0.1:7", "127.0.0.1:9"].map(|it| it.parse().unwrap());
        let mut reserved = Reserved::new(BTreeMap::from([(id("b"), Vec::new())]));
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        reserved.tend(at(0), &socket);
        assert_eq!(reserved.queues().count(), 0);
        reserved.found(id("stranger"), &[first]);
        reserved.tend(at(1), &socket);
        assert_eq!(reserved.queues().count(), 0);
        for known in [first, second] {
            reserved.found(id("b"), &[known]);
            reserved.tend(at(1), &socket);
            assert_eq!(reserved.queues.keys().collect::<Vec<_>>(), [&known]);
        }
        // Heard of, it stays; silent for a minute, it is another.
        reserved.queues().for_each(Queue::heard);
        reserved.tend(at(61), &socket);
        let file = |reserved: &Reserved| {
            let link = format!("/proc/self/fd/{}", reserved.queues[&second].incoming.as_raw_fd());
            std::fs::read_link(link).unwrap()
        };
        let kept = file(&reserved);
        reserved.tend(at(120), &socket);
        assert_eq!(file(&reserved), kept);
        reserved.tend(at(121), &socket);
        assert_ne!(file(&reserved), kept);
    }

    #[tokio::test]
    async fn there_are_never_more_than_the_most() {
        let socket = Socket::new(bind_udp("127.0.0.1".parse().ok(), 0).unwrap()).unwrap();
        let many = (1..=200).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let mut reserved = Reserved::new(BTreeMap::from([(id("b"), many)]));
        reserved.tend(Instant::ZERO, &socket);
        assert_eq!(reserved.queues().count(), MOST);
    }
}
