//! I12: any bytes decode to an error or to a message that encodes to the same bytes.

use ringrift_wire::{Envelope, MAX_DATAGRAM, encode};

use super::Violation;
use crate::options::Nanos;

/// Whether what was decoded of some bytes encodes to them.
pub(crate) fn decoded(
    now: Nanos,
    tag: u32,
    bytes: &[u8],
    envelope: &Envelope,
) -> Result<(), Violation> {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(envelope, tag, &mut buffer);
    if length.is_ok_and(|length| &buffer[..length] == bytes) {
        return Ok(());
    }
    let what = format!("{bytes:02x?} decode to {envelope:?}, which encodes otherwise: {length:?}");
    Err(Violation { at: now, rule: "I12", what })
}
