//! The one place where a simulated datagram takes its binary form and loses it again.

use ringrift_p2p::rng::Rng;
use ringrift_wire::{Envelope, MAX_DATAGRAM, decode, encode};

/// The cluster of every simulated host.
const TAG: u32 = 0x51b5_7a6e;

/// What the receiver decodes of what the sender encoded.
///
/// # Panics
/// A node sent what does not fit a datagram, or what another cannot read.
pub(crate) fn through_wire(envelope: &Envelope) -> Envelope {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(envelope, TAG, &mut buffer)
        .unwrap_or_else(|error| panic!("{envelope:?} does not encode: {error}"));
    let decoded = decode(&buffer[..length], TAG)
        .unwrap_or_else(|error| panic!("{envelope:?} does not decode: {error}"));
    assert_eq!(decoded, *envelope, "a datagram changed on its way");
    decoded
}

/// What the receiver decodes when bits changed on the way or the end is missing; nothing when it
/// notices, as it must for so few bits.
pub(crate) fn damaged(envelope: &Envelope, rng: &mut Rng) -> Option<Envelope> {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(envelope, TAG, &mut buffer).ok()?;
    if rng.below(4) == 0 {
        let kept = rng.below(length as u64) as usize;
        return decode(&buffer[..kept], TAG).ok();
    }
    for _ in 0..=rng.below(3) {
        let bit = rng.below(8 * length as u64) as usize;
        buffer[bit / 8] ^= 1 << (bit % 8);
    }
    decode(&buffer[..length], TAG).ok()
}
