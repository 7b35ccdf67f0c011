//! The envelope: who says something, and the fixed header that carries it.
//!
//! Decides the layout of the header and the order of its checks; what comes after it is the
//! codec's business.

use crc32fast::Hasher;

use crate::{Boot, DecodeError, MAX_DATAGRAM, Message, NodeId};

/// The bytes before the payload.
pub(crate) const HEADER_LEN: usize = 22;

/// The first two bytes of every datagram.
const MAGIC: [u8; 2] = *b"RR";

/// The version of the format: the one that is written, and the only one that is read.
pub const VERSION: u8 = 1;

/// The flag of a sealed datagram; no other flag is in use.
const SEALED: u8 = 0b0000_0001;

/// A message and who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The node that sent it.
    pub sender: NodeId,
    /// The process start of that node.
    pub boot: Boot,
    /// What it says.
    pub message: Message,
}

/// The tag of a cluster's name: datagrams of another cluster are dropped unread.
///
/// The CRC32 (IEEE) of the name's bytes. It keeps clusters apart by mistake, not by force.
#[must_use]
pub fn cluster_tag(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

/// Whether a datagram is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// Anybody can read it.
    Plain,
    /// Encrypted and authenticated.
    Sealed,
}

impl Seal {
    /// The flags byte.
    pub(crate) const fn flags(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Sealed => SEALED,
        }
    }
}

/// Writes the header of a datagram whose payload stands already in its place.
///
/// `datagram` is as long as the length field can say: at most [`MAX_DATAGRAM`].
pub(crate) fn write_header(datagram: &mut [u8], cluster_tag: u32, nonce: u64) {
    let Some(header) = datagram.first_chunk_mut::<HEADER_LEN>() else { return };
    header[0..2].copy_from_slice(&MAGIC);
    header[2] = VERSION;
    header[4..8].copy_from_slice(&cluster_tag.to_le_bytes());
    header[14..22].copy_from_slice(&nonce.to_le_bytes());
    header_without_checksum(datagram, Seal::Plain);
    finish_header(datagram);
}

/// Makes flags and length of a header right, sets its checksum to zero, and gives it.
pub(crate) fn header_without_checksum(datagram: &mut [u8], seal: Seal) -> [u8; HEADER_LEN] {
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    let Some(header) = datagram.first_chunk_mut::<HEADER_LEN>() else { return [0; HEADER_LEN] };
    header[3] = seal.flags();
    header[8..10].copy_from_slice(&length.to_le_bytes());
    header[10..14].fill(0);
    *header
}

/// Writes the checksum of a datagram that is otherwise complete.
pub(crate) fn finish_header(datagram: &mut [u8]) {
    let Some((header, payload)) = datagram.split_first_chunk_mut::<HEADER_LEN>() else { return };
    let checksum = checksum(header, payload);
    header[10..14].copy_from_slice(&checksum.to_le_bytes());
}

/// Checks the header, cheapest first, and gives the sender's nonce and the payload.
pub(crate) fn read_header(datagram: &[u8], cluster_tag: u32) -> Result<(u64, &[u8]), DecodeError> {
    if datagram.get(3) == Some(&SEALED) {
        begins_well(datagram)?;
        return Err(DecodeError::Sealed);
    }
    let (_, nonce) = check_header(datagram, cluster_tag)?;
    Ok((nonce, datagram.get(HEADER_LEN..).unwrap_or_default()))
}

/// Checks the header, cheapest first, and gives whether the payload is sealed, and the sender's nonce.
pub(crate) fn check_header(datagram: &[u8], cluster_tag: u32) -> Result<(Seal, u64), DecodeError> {
    let (header, payload) = begins_well(datagram)?;
    if u32_at(header, 4) != cluster_tag {
        return Err(DecodeError::Cluster);
    }
    if usize::from(u16::from_le_bytes([header[8], header[9]])) != datagram.len() {
        return Err(DecodeError::Length);
    }
    if u32_at(header, 10) != checksum(header, payload) {
        return Err(DecodeError::Checksum);
    }
    let nonce = u64::from(u32_at(header, 14)) | u64::from(u32_at(header, 18)) << 32;
    let seal = if header[3] == SEALED { Seal::Sealed } else { Seal::Plain };
    Ok((seal, nonce))
}

/// The checks up to the flags; gives header and payload.
fn begins_well(datagram: &[u8]) -> Result<(&[u8; HEADER_LEN], &[u8]), DecodeError> {
    let Some((header, payload)) = datagram.split_first_chunk::<HEADER_LEN>() else {
        return Err(DecodeError::TooShort);
    };
    if datagram.len() > MAX_DATAGRAM {
        return Err(DecodeError::TooLong);
    }
    if header[0..2] != MAGIC {
        return Err(DecodeError::Magic);
    }
    if header[2] != VERSION {
        return Err(DecodeError::Version(header[2]));
    }
    if header[3] & !SEALED != 0 {
        return Err(DecodeError::Flags(header[3]));
    }
    Ok((header, payload))
}

/// CRC32 (IEEE) over the whole datagram, its own field taken as zero.
fn checksum(header: &[u8; HEADER_LEN], payload: &[u8]) -> u32 {
    let mut header = *header;
    header[10..14].fill(0);
    let mut hasher = Hasher::new();
    hasher.update(&header);
    hasher.update(payload);
    hasher.finalize()
}

/// The little-endian number at a place of the header.
fn u32_at(header: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
