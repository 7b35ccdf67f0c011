//! Ports: which address a node's sockets take, and who has taken it already.
//!
//! Decides what to bind, for UDP and TCP alike; what goes over the sockets is decided elsewhere.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Receive and send buffer that is asked of the kernel, in bytes; it may grant less.
const BUFFER: usize = 4 << 20;

/// Connections that wait to be accepted.
/// Beyond it the kernel drops them, and a client tries again after a second.
const BACKLOG: i32 = 1_024;

/// Which kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Gossip.
    Udp,
    /// HTTP.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// A port that cannot be had.
#[derive(Debug)]
pub struct BindError {
    /// Of which kind.
    pub transport: Transport,
    /// Where; the unspecified address stands for every address of the machine.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
    /// Who has it, if that can be known.
    pub holder: Option<Holder>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, address, source, holder } = self;
        match (holder, source.kind()) {
            (Some(holder), _) => write!(f, "{transport} {address} is taken by {holder}"),
            (None, io::ErrorKind::AddrInUse) => {
                write!(f, "{transport} {address} is taken by another process")
            }
            _ => write!(f, "cannot bind {transport} {address}: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// The one address to bind; `None` for every address of both families.
///
/// What the configuration says counts, then a node on a loopback address binds that only.
#[must_use]
pub fn address_to_bind(own: IpAddr, configured: Option<IpAddr>) -> Option<IpAddr> {
    match configured {
        Some(bind) if bind.is_unspecified() && bind.is_ipv6() => None,
        Some(bind) => Some(bind),
        None => own.is_loopback().then_some(own),
    }
}

/// Binds a UDP socket, ready for non-blocking use.
///
/// # Errors
/// The port is taken or the address is not this machine's.
pub fn bind_udp(ip: Option<IpAddr>, port: u16) -> Result<UdpSocket, BindError> {
    let socket = bind(Transport::Udp, ip, port)?;
    Ok(socket.into())
}

/// Lets more sockets, of processes of the same user, bind the port of this one, or no longer. Every socket of
/// the port must say the same: the kernel asks the first that it finds.
pub(super) fn shared(socket: &impl AsFd, is_shared: bool) {
    // A system that cannot has no queues either.
    let _ = SockRef::from(socket).set_reuse_port(is_shared);
}

/// Binds one more UDP socket to the port of `own`, connected to `peer`, ready for non-blocking use: what
/// comes from there it takes from `own`.
///
/// All sockets of the port must be [`shared`] meanwhile.
///
/// # Errors
/// There is no way to that peer, no descriptor left, or the system lets no two sockets share a port.
pub(super) fn beside(own: &UdpSocket, peer: SocketAddr) -> io::Result<UdpSocket> {
    let address = own.local_addr()?;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(SockRef::from(own).only_v6()?)?;
    }
    let _ = socket.set_recv_buffer_size(BUFFER);
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.connect(&SockAddr::from(peer))?;
    Ok(socket.into())
}

/// Binds a TCP listener, ready for non-blocking use.
///
/// # Errors
/// The port is taken or the address is not this machine's.
pub fn bind_tcp(ip: Option<IpAddr>, port: u16) -> Result<TcpListener, BindError> {
    let socket = bind(Transport::Tcp, ip, port)?;
    Ok(socket.into())
}

fn bind(transport: Transport, ip: Option<IpAddr>, port: u16) -> Result<Socket, BindError> {
    let v4 = SocketAddr::new(ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port);
    let (address, bound) = match ip {
        Some(_) => (v4, try_bind(transport, v4, false)),
        None => {
            let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
            match try_bind(transport, v6, true) {
                // A machine without IPv6 is served by IPv4 alone.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    (v4, try_bind(transport, v4, false))
                }
                bound => (v6, bound),
            }
        }
    };
    bound.map_err(|source| {
        let taken = source.kind() == io::ErrorKind::AddrInUse;
        let holder = if taken { holder(transport, address) } else { None };
        BindError { transport, address, source, holder }
    })
}

fn try_bind(transport: Transport, address: SocketAddr, both: bool) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    match transport {
        // Best effort: the kernel has bounds of its own.
        Transport::Udp => {
            let _ = socket.set_recv_buffer_size(BUFFER);
            let _ = socket.set_send_buffer_size(BUFFER);
        }
        // A restart must not wait for the last connections of the process before; on a UDP socket
        // the same option would let two processes share the port.
        Transport::Tcp => socket.set_reuse_address(true)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    if transport == Transport::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Who holds this port, as far as `/proc` tells this user.
#[must_use]
pub fn holder(transport: Transport, address: SocketAddr) -> Option<Holder> {
    let tables = match transport {
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let inode = tables.iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().skip(1).find_map(|line| inode_in_the_way(line, transport, address))
    })?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        files
            .any(|file| {
                // The link of a socket reads `socket:[inode]`, and so does the file behind it.
                fs::metadata(file.path()).is_ok_and(|file| file.ino() == inode)
                    && fs::read_link(file.path())
                        .is_ok_and(|link| link.to_string_lossy().starts_with("socket:"))
            })
            .then(|| {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                Holder { pid, name: name.trim().to_owned() }
            })
    })
}

/// The inode of the socket of one line of a table of `/proc/net`, if it keeps `address` from being
/// bound.
fn inode_in_the_way(line: &str, transport: Transport, address: SocketAddr) -> Option<u64> {
    /// `TCP_LISTEN` of the kernel.
    const LISTEN: &str = "0A";
    let mut words = line.split_ascii_whitespace().skip(1);
    let (ip, port) = words.next()?.split_once(':')?;
    let _peer = words.next()?;
    let state = words.next()?;
    let inode = words.nth(5)?.parse().ok()?;
    if u16::from_str_radix(port, 16).ok()? != address.port() {
        return None;
    }
    if transport == Transport::Tcp && state != LISTEN {
        return None;
    }
    let ip = ip_of_table(ip)?;
    let meets = ip.is_unspecified() || address.ip().is_unspecified() || ip == address.ip();
    meets.then_some(inode)
}

/// An address as the tables of `/proc/net` write it: words of 32 bits in the byte order of the
/// machine, in hexadecimal.
fn ip_of_table(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, room) in bytes.chunks_exact_mut(4).enumerate() {
                room.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_node_on_loopback_binds_that_only_and_others_everything() {
        assert_eq!(address_to_bind(ip("127.0.0.3"), None), Some(ip("127.0.0.3")));
        assert_eq!(address_to_bind(ip("::1"), None), Some(ip("::1")));
        assert_eq!(address_to_bind(ip("100.64.0.1"), None), None);
        assert_eq!(address_to_bind(ip("100.64.0.1"), Some(ip("10.0.0.1"))), Some(ip("10.0.0.1")));
        assert_eq!(address_to_bind(ip("127.0.0.3"), Some(ip("0.0.0.0"))), Some(ip("0.0.0.0")));
        assert_eq!(address_to_bind(ip("127.0.0.3"), Some(ip("::"))), None);
    }

    #[test]
    fn a_taken_port_is_refused_and_its_holder_named() {
        let loopback = Some(ip("127.0.0.1"));
        let udp = bind_udp(loopback, 0).unwrap();
        let tcp = bind_tcp(loopback, 0).unwrap();
        let (udp_port, tcp_port) =
            (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
        for error in [
            bind_udp(loopback, udp_port).unwrap_err(),
            bind_udp(None, udp_port).unwrap_err(),
            bind_tcp(loopback, tcp_port).unwrap_err(),
            bind_tcp(None, tcp_port).unwrap_err(),
        ] {
            assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
            if cfg!(target_os = "linux") {
                let pid = error.holder.as_ref().map(|holder| holder.pid);
                assert_eq!(pid, Some(std::process::id()), "{error}");
            }
            assert!(error.to_string().contains("is taken by"), "{error}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_said_to_be_the_trouble() {
        // TEST-NET-1 is nobody's.
        let error = bind_udp(Some(ip("192.0.2.1")), 0).unwrap_err();
        assert_eq!(error.holder, None);
        assert!(error.to_string().starts_with("cannot bind UDP 192.0.2.1:0: "), "{error}");
    }

    #[test]
    fn the_wildcard_takes_both_families() {
        let udp = bind_udp(None, 0).unwrap();
        let port = udp.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"x", ("127.0.0.1", port)).unwrap();
        udp.set_nonblocking(false).unwrap();
        let (len, from) = udp.recv_from(&mut [0; 2]).unwrap();
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        assert_eq!((len, from), (1, client.local_addr().unwrap()));
    }

    #[test]
    fn lines_of_the_tables_are_read() {
        if cfg!(target_endian = "big") {
            return;
        }
        let udp = "  12: 0200007F:2242 00000000:0000 07 00000000:00000000 00:00000000 00000000 \
                   0 0 4711 2 0 0";
        let at = |text: &str| text.parse().unwrap();
        let inode = |address: &str| inode_in_the_way(udp, Transport::Udp, at(address));
        assert_eq!(inode("127.0.0.2:8770"), Some(4711));
        assert_eq!(inode("[::]:8770"), Some(4711));
        assert_eq!(inode("127.0.0.3:8770"), None);
        assert_eq!(inode("127.0.0.2:8771"), None);
        // A connection is no listener.
        assert_eq!(inode_in_the_way(udp, Transport::Tcp, at("127.0.0.2:8770")), None);
        assert_eq!(ip_of_table("0000000000000000FFFF00000100007F"), Some(ip("127.0.0.1")));
        assert_eq!(ip_of_table("00000000000000000000000001000000"), Some(ip("::1")));
        assert_eq!(ip_of_table("01"), None);
    }
}
