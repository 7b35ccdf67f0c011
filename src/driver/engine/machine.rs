//! What the engine drives: a protocol machine, and the way out for its datagrams.

use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use crate::driver::udp::Socket;
use crate::node::{Deadline, Farewell, Input, Node, Output, Status};
use crate::time::Instant;

/// The protocol, as the driver sees it.
pub trait Machine {
    /// Takes one input.
    fn handle_input(&mut self, now: Instant, input: Input);

    /// The next output; to be called until there is none.
    fn poll_output(&mut self) -> Option<Output>;

    /// When it wants to be woken.
    fn poll_timeout(&self) -> Option<Deadline>;

    /// What it says of itself.
    fn status(&self, now: Instant) -> Status;

    /// What is to be said of it once its process has died.
    fn farewell(&self) -> Option<Farewell> {
        None
    }

    /// The end of its lease; `None` when it does not lead.
    fn lease_end(&self) -> Option<Instant> {
        None
    }

    /// Whether, told to stop, it has said its last word.
    fn has_left(&self) -> bool {
        true
    }
}

impl Machine for Node {
    fn handle_input(&mut self, now: Instant, input: Input) {
        Self::handle_input(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Self::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Self::poll_timeout(self)
    }

    fn status(&self, now: Instant) -> Status {
        Self::status(self, now)
    }

    fn farewell(&self) -> Option<Farewell> {
        Self::farewell(self)
    }

    fn lease_end(&self) -> Option<Instant> {
        Self::lease_end(self)
    }

    fn has_left(&self) -> bool {
        Self::has_left(self)
    }
}

/// Where datagrams go.
pub trait Outgoing {
    /// Sends one datagram or loses it.
    ///
    /// # Errors
    /// What the kernel says.
    fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;
}

impl Outgoing for Arc<Socket> {
    fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        Socket::send(self, datagram, to)
    }
}
