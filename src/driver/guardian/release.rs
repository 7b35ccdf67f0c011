//! The last word of a dead node, said by its guardian.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use tracing::warn;

use super::note::Told;
use crate::driver::ports;
use crate::driver::udp::as_sent;

/// When it is said, each time after the one before. Once more costs nothing; lost for good, it costs a lease.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(2), Duration::from_millis(20)];

/// Tries to have the port of the dead node.
const TRIES: usize = 50;

/// Between two of them.
const RETRY: Duration = Duration::from_millis(1);

/// Sends what the node has left to be said, from where it has spoken. Tells how many voters were sent it.
pub(super) async fn send(told: &Told) -> usize {
    let (Some((ip, port)), Some((datagram, to))) = (told.bound, &told.will) else { return 0 };
    let mut tries = 1;
    let socket = loop {
        match ports::bind_udp(ip, port) {
            Ok(socket) => break socket,
            Err(error) if tries == TRIES => {
                warn!(%error, "the voters are not released: they wait for the end of the lease");
                return 0;
            }
            Err(_) => tries += 1,
        }
        tokio::time::sleep(RETRY).await;
    };
    let mut sent = 0;
    for pause in PAUSES {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let reached = to.iter().filter(|&&to| send_one(&socket, datagram, to).is_ok());
        sent = sent.max(reached.count());
    }
    sent
}

fn send_one(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
    socket.send_to(datagram, as_sent(socket.local_addr()?.is_ipv6(), to)).map(|_| ())
}
