//! Bytes as a datagram.

use ringrift_wire::{DecodeError, Envelope, MAX_DATAGRAM, decode, encode};

/// The tag under which the corpus is encoded.
pub(crate) const CLUSTER: u32 = 0x1234_5678;

/// Where the payload of a datagram begins.
const PAYLOAD: usize = 22;

/// Any bytes decode to an error or to an envelope that encodes to the same bytes.
///
/// Tried twice: as they are, and under a right header, because hardly any bytes have a right
/// checksum by chance.
pub(crate) fn decode_is_canonical(bytes: &[u8]) {
    let _ = checked(bytes);
    if let Some(mended) = mend(bytes) {
        let _ = checked(&mended);
    }
}

/// Decodes, and demands that what was decoded encodes to the same bytes.
pub(crate) fn checked(datagram: &[u8]) -> Result<Envelope, DecodeError> {
    let envelope = decode(datagram, CLUSTER)?;
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(&envelope, CLUSTER, &mut buffer).expect("what was decoded encodes");
    assert_eq!(&buffer[..length], datagram, "{envelope:?}");
    assert_eq!(envelope.encoded_len(), length, "{envelope:?}");
    Ok(envelope)
}

/// The same nonce and payload under a right header; nothing where there are too few or too many
/// bytes.
pub(crate) fn mend(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < PAYLOAD || bytes.len() > MAX_DATAGRAM {
        return None;
    }
    let mut datagram = bytes.to_vec();
    datagram[0..4].copy_from_slice(&[b'R', b'R', 1, 0]);
    datagram[4..8].copy_from_slice(&CLUSTER.to_le_bytes());
    datagram[8..10].copy_from_slice(&(bytes.len() as u16).to_le_bytes());
    datagram[10..14].fill(0);
    let checksum = crc32(&datagram);
    datagram[10..14].copy_from_slice(&checksum.to_le_bytes());
    Some(datagram)
}

/// CRC32 (IEEE), bit by bit: the codec's own is checked against it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 }
        })
    })
}
