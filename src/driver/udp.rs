//! The gossip socket: datagrams in and out, without ever waiting.
//!
//! Decides which errors of the kernel mean anything. What is in a datagram is the codec's business.
//!
//! 1. No peer can end the socket: what an address that a peer named, a full queue, a firewall or an
//!    ICMP message can cause is counted and forgotten. Only an error that says that the descriptor
//!    itself is unusable ends the process.
//! 2. An IPv4 peer has an IPv4 address, whichever family the socket is of.
//! 3. A datagram longer than [`MAX_DATAGRAM`] is seen to be longer, not cut to fit.

use core::net::{IpAddr, SocketAddr};
use core::task::{Context, Poll};
use ringrift_wire::MAX_DATAGRAM;
use rustix::io::Errno;
use std::io;
use std::net;

/// What an error of the kernel means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing there, or no room: later.
    Later,
    /// This datagram is lost; the next may not be. In a word of a closed set, for logs.
    Transient(&'static str),
    /// The socket is unusable.
    Fatal,
}

/// What this error means.
#[must_use]
pub fn classify(error: &io::Error) -> Class {
    // The runtime says "not ready" by kind alone, without an errno.
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
        return Class::Later;
    }
    let Some(errno) = Errno::from_io_error(error) else { return Class::Transient("other") };
    match errno {
        // The peer's port is closed: a hint that its process is gone, and no proof.
        Errno::CONNREFUSED => Class::Transient("refused"),
        Errno::NOBUFS | Errno::NOMEM => Class::Transient("no_buffer"),
        // A firewall rule of this machine.
        Errno::PERM | Errno::ACCESS => Class::Transient("forbidden"),
        Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN => {
            Class::Transient("unreachable")
        }
        Errno::MSGSIZE => Class::Transient("too_long"),
        // Addresses that mean nothing here: a peer may name any.
        Errno::INVAL | Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::DESTADDRREQ => {
            Class::Transient("bad_address")
        }
        Errno::BADF | Errno::NOTSOCK | Errno::FAULT | Errno::OPNOTSUPP => Class::Fatal,
        _ => Class::Transient("other"),
    }
}

/// A buffer that shows whether a datagram was longer than allowed.
pub type Buffer = [u8; MAX_DATAGRAM + 1];

/// The one socket of a node.
#[derive(Debug)]
pub struct Socket {
    incoming: tokio::net::UdpSocket,
    /// The same socket, sent to without asking the reactor first.
    outgoing: net::UdpSocket,
    is_v6: bool,
}

impl Socket {
    /// Takes over a bound socket that does not block.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(socket: net::UdpSocket) -> io::Result<Self> {
        let is_v6 = socket.local_addr()?.is_ipv6();
        let outgoing = socket.try_clone()?;
        Ok(Self { incoming: tokio::net::UdpSocket::from_std(socket)?, outgoing, is_v6 })
    }

    /// Whether datagrams to this address can leave at all.
    #[must_use]
    pub const fn speaks_to(&self, address: SocketAddr) -> bool {
        self.is_v6 || address.is_ipv4()
    }

    /// Waits until there may be a datagram.
    ///
    /// # Errors
    /// The reactor is gone.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        self.incoming.readable().await
    }

    /// The next datagram: its length in the buffer and where it came from.
    ///
    /// # Errors
    /// See [`classify`].
    pub fn receive(&self, buffer: &mut Buffer) -> io::Result<(usize, SocketAddr)> {
        receive(&self.incoming, buffer)
    }

    /// Polls [`Socket::readable`].
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.incoming.poll_recv_ready(context)
    }

    /// The socket itself, for its options.
    pub(super) const fn outgoing(&self) -> &net::UdpSocket {
        &self.outgoing
    }

    /// The address as this socket takes it.
    pub(super) fn as_sent(&self, to: SocketAddr) -> SocketAddr {
        as_sent(self.is_v6, to)
    }

    /// Sends one datagram or loses it.
    ///
    /// # Errors
    /// See [`classify`].
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.outgoing.send_to(datagram, as_sent(self.is_v6, to)).map(|_| ())
    }
}

/// The next datagram of any socket, as [`Socket::receive`] gives it.
pub(super) fn receive(
    socket: &tokio::net::UdpSocket,
    buffer: &mut Buffer,
) -> io::Result<(usize, SocketAddr)> {
    let (len, from) = socket.try_recv_from(buffer)?;
    Ok((len, SocketAddr::new(from.ip().to_canonical(), from.port())))
}

/// The address as a socket of one family, or of both, takes it.
pub(super) fn as_sent(is_v6: bool, to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) if is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::ports::bind_udp;

    #[test]
    fn nothing_that_a_peer_can_cause_is_fatal() {
        for (errno, word) in [
            (Errno::CONNREFUSED, "refused"),
            (Errno::NOBUFS, "no_buffer"),
            (Errno::NOMEM, "no_buffer"),
            (Errno::PERM, "forbidden"),
            (Errno::NETUNREACH, "unreachable"),
            (Errno::HOSTUNREACH, "unreachable"),
            (Errno::MSGSIZE, "too_long"),
            (Errno::INVAL, "bad_address"),
            (Errno::AFNOSUPPORT, "bad_address"),
            (Errno::IO, "other"),
        ] {
            assert_eq!(classify(&errno.into()), Class::Transient(word), "{errno}");
        }
        assert_eq!(classify(&Errno::AGAIN.into()), Class::Later);
        assert_eq!(classify(&Errno::INTR.into()), Class::Later);
        assert_eq!(classify(&io::ErrorKind::WouldBlock.into()), Class::Later);
        assert_eq!(classify(&io::Error::other("no errno")), Class::Transient("other"));
    }

    #[test]
    fn an_unusable_descriptor_is_fatal() {
        for errno in [Errno::BADF, Errno::NOTSOCK, Errno::FAULT] {
            assert_eq!(classify(&errno.into()), Class::Fatal, "{errno}");
        }
    }

    async fn next(socket: &Socket, buffer: &mut Buffer) -> (usize, SocketAddr) {
        loop {
            socket.readable().await.unwrap();
            match socket.receive(buffer) {
                Ok(received) => return received,
                Err(error) => assert_eq!(classify(&error), Class::Later),
            }
        }
    }

    #[tokio::test]
    async fn ipv4_peers_of_a_socket_of_both_families_have_ipv4_addresses() {
        let both = Socket::new(bind_udp(None, 0).unwrap()).unwrap();
        let one = Socket::new(bind_udp("127.0.0.1".parse().ok(), 0).unwrap()).unwrap();
        let port = both.incoming.local_addr().unwrap().port();
        let mut buffer = [0; MAX_DATAGRAM + 1];
        one.send(b"ping", SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let (len, from) = next(&both, &mut buffer).await;
        assert_eq!((&buffer[..len], from), (&b"ping"[..], one.incoming.local_addr().unwrap()));
        // And the way back, over the IPv4 address just learnt.
        both.send(b"ack", from).unwrap();
        assert_eq!(next(&one, &mut buffer).await.0, 3);
        assert!(both.speaks_to(from) && one.speaks_to(from));
        assert!(!one.speaks_to("[::1]:1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_shows() {
        let socket = Socket::new(bind_udp("127.0.0.1".parse().ok(), 0).unwrap()).unwrap();
        let to = socket.incoming.local_addr().unwrap();
        let mut buffer = [0; MAX_DATAGRAM + 1];
        for (sent, seen) in [(MAX_DATAGRAM, MAX_DATAGRAM), (MAX_DATAGRAM + 9, MAX_DATAGRAM + 1)] {
            socket.send(&vec![0; sent], to).unwrap();
            assert_eq!(next(&socket, &mut buffer).await.0, seen);
        }
        assert!(ringrift_wire::decode(&buffer, 0).is_err());
    }

    #[tokio::test]
    async fn an_address_that_means_nothing_loses_the_datagram_and_not_the_socket() {
        let socket = Socket::new(bind_udp("127.0.0.1".parse().ok(), 0).unwrap()).unwrap();
        for to in ["127.0.0.1:0", "[::1]:9", "255.255.255.255:9"] {
            let error = socket.send(b"x", to.parse().unwrap()).unwrap_err();
            assert!(matches!(classify(&error), Class::Transient(_)), "{to}: {error}");
        }
        let own = socket.incoming.local_addr().unwrap();
        socket.send(b"x", own).unwrap();
    }
}
