//! The intake: what arrives, from which queue it is taken first, and how much of it a turn.
//!
//! Decides the order: a little of each voter's queue, then of the node's own socket. What a datagram says, and
//! whether it counts, is decided elsewhere.
//!
//! 1. A turn takes at most [`PER_QUEUE`] datagrams of a voter and [`PER_TURN`] of all others, however many wait.
//! 2. What is refused costs no more than reading it; a flood of what begins wrong not even that, for long.

use core::future::poll_fn;
use core::net::SocketAddr;
use ringrift_wire::{DecodeError, Envelope, MAX_DATAGRAM, Message, Nack, NodeId, encode};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::clock::Clock;
use super::engine::{Engine, Machine, Speaker};
use super::reserved::Reserved;
use super::sealing::Unsealed;
use super::shield::{Beginning, Kinds, Shield};
use super::udp::{self, Buffer, Class, Socket, classify};
use crate::time::Instant;

/// The most datagrams of one turn from the node's own socket.
pub const PER_TURN: usize = 64;

/// The most datagrams of one turn from each reserved queue.
pub const PER_QUEUE: usize = 16;

/// Everything that datagrams come from.
#[derive(Debug)]
pub struct Intake {
    socket: Arc<Socket>,
    reserved: Reserved,
    shield: Shield,
}

impl Intake {
    /// Of this socket, with a queue for each of these voters.
    #[must_use]
    pub fn new(
        socket: Arc<Socket>,
        voters: BTreeMap<NodeId, Vec<SocketAddr>>,
        speaker: Speaker,
    ) -> Self {
        let shield = Shield::new(beginning(speaker));
        Self { socket, reserved: Reserved::new(voters), shield }
    }

    /// A peer was looked up.
    pub fn found(&mut self, peer: NodeId, addresses: &[SocketAddr]) {
        self.reserved.found(peer, addresses);
    }

    /// What is due: queues to be made, a filter to be taken away.
    pub fn tend(&mut self, now: Instant) {
        self.reserved.tend(now, &self.socket);
        self.shield.lower(now, core::iter::once(self.socket.outgoing()));
    }

    /// Waits until there may be a datagram.
    ///
    /// # Errors
    /// The reactor is gone.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| {
            let reserved = self.reserved.poll_readable(context);
            if reserved.is_ready() { reserved } else { self.socket.poll_readable(context) }
        })
        .await
    }

    /// Takes what has arrived, up to the bounds of a turn; tells whether there may be more.
    pub fn receive<M: Machine, C: Clock>(
        &mut self,
        now: Instant,
        engine: &mut Engine<M, Arc<Socket>, C>,
        batch: &mut Vec<(SocketAddr, Envelope)>,
    ) -> bool {
        let (mut more, mut foreign) = (false, 0);
        for queue in self.reserved.queues() {
            let mut heard = false;
            more |= take(engine, PER_QUEUE, batch, &mut foreign, |buffer| {
                let received = udp::receive(queue.incoming(), buffer);
                heard |= received.is_ok();
                received
            });
            if heard {
                queue.heard();
            }
        }
        let from_socket = |buffer: &mut Buffer| self.socket.receive(buffer);
        more |= take(engine, PER_TURN, batch, &mut foreign, from_socket);
        if foreign > 0 && self.shield.refused(now, foreign) {
            let kinds = match engine.sealing().describe() {
                None => Kinds::Plain,
                Some((_, Unsealed::Refuse)) => Kinds::Sealed,
                Some((_, Unsealed::Send | Unsealed::Accept)) => Kinds::Both,
            };
            self.shield.raise(now, kinds, core::iter::once(self.socket.outgoing()));
        }
        more
    }
}

/// Takes up to `most` datagrams; tells whether there may be more, and counts those that begin wrong.
fn take<M: Machine, C: Clock>(
    engine: &mut Engine<M, Arc<Socket>, C>,
    most: usize,
    batch: &mut Vec<(SocketAddr, Envelope)>,
    foreign: &mut u32,
    mut next: impl FnMut(&mut Buffer) -> io::Result<(usize, SocketAddr)>,
) -> bool {
    let mut buffer = [0; MAX_DATAGRAM + 1];
    for _ in 0..most {
        match next(&mut buffer) {
            Ok((length, from)) => {
                let datagram = buffer.get_mut(..length).unwrap_or_default();
                match engine.decode(datagram, from) {
                    Ok(envelope) => batch.push((from, envelope)),
                    Err(error) if begins_wrong(error) => *foreign += 1,
                    Err(_) => {}
                }
            }
            Err(error) if classify(&error) == Class::Later => return false,
            Err(error) => engine.socket_failed(error, None),
        }
    }
    true
}

/// Whether the shield would have kept it away, or it is too short to tell.
const fn begins_wrong(error: DecodeError) -> bool {
    matches!(
        error,
        DecodeError::TooShort
            | DecodeError::Magic
            | DecodeError::Version(_)
            | DecodeError::Flags(_)
            | DecodeError::Cluster
            | DecodeError::Sealed
            | DecodeError::Unsealed
    )
}

/// How unsealed datagrams of this cluster begin.
fn beginning(speaker: Speaker) -> Beginning {
    let Speaker { id, boot, cluster_tag } = speaker;
    let message = Message::Nack(Nack { number: 0, target: id });
    let mut buffer = [0; MAX_DATAGRAM];
    // What does not fit leaves zeros, and no datagram begins like that: this one fits.
    let _ = encode(&Envelope { sender: id, boot, message }, cluster_tag, &mut buffer);
    buffer.first_chunk().copied().unwrap_or_default()
}
