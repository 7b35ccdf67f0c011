//! The one place where a simulated datagram takes its binary form and loses it again.

use ringrift_p2p::rng::Rng;
use ringrift_wire::Envelope;

/// What the receiver decodes of what the sender encoded.
pub(crate) fn through_wire(envelope: Envelope) -> Envelope {
    envelope
}

/// What the receiver decodes when a few bits changed on the way; nothing when it notices.
pub(crate) fn damaged(_envelope: Envelope, _rng: &mut Rng) -> Option<Envelope> {
    None
}
