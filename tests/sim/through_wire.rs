//! The one place where a simulated datagram takes its binary form and loses it again.

use ringrift_p2p::rng::Rng;
use ringrift_wire::{Envelope, MAX_DATAGRAM, decode, encode};

/// The cluster of every simulated host.
pub(crate) const TAG: u32 = 0x51b5_7a6e;

/// Where the header has the length and the checksum of the datagram.
const LENGTH: core::ops::Range<usize> = 8..10;
const CHECKSUM: core::ops::Range<usize> = 10..14;

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

/// The bytes of a datagram in which bits changed on the way, or whose end is missing, or to which
/// something was added. `repaired` gives them a length and a checksum that hold: no damage, but what
/// somebody else's program might send.
pub(crate) fn damaged(envelope: &Envelope, rng: &mut Rng, repaired: bool) -> Vec<u8> {
    let mut buffer = [0; MAX_DATAGRAM];
    let Ok(length) = encode(envelope, TAG, &mut buffer) else { return Vec::new() };
    let mut bytes = buffer[..length].to_vec();
    match rng.below(8) {
        0 | 1 => bytes.truncate(rng.below(length as u64) as usize),
        2 => bytes.push(rng.next_u64() as u8),
        _ => {
            for _ in 0..=rng.below(3) {
                let bit = rng.below(8 * length as u64) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
    if repaired {
        repair(&mut bytes);
    }
    bytes
}

/// Gives a datagram a length and a checksum that hold.
pub(crate) fn repair(bytes: &mut [u8]) {
    if bytes.len() >= CHECKSUM.end {
        let length = (bytes.len() as u16).to_le_bytes();
        bytes[LENGTH].copy_from_slice(&length);
        bytes[CHECKSUM].fill(0);
        let checksum = crc32fast::hash(bytes).to_le_bytes();
        bytes[CHECKSUM].copy_from_slice(&checksum);
    }
}
