//! The codec: envelopes to datagrams and back.
//!
//! Decides what is a legal payload; the header's layout is `envelope.rs`, the numbers of the kinds
//! are `kind.rs`. It neither sends nor counts anything: the caller does, by [`DecodeError::as_str`].
//!
//! Invariants
//! 1. Any bytes decode to an error or to an envelope that encodes to the same bytes. Every field but
//!    bincode's variable-length numbers has exactly one form (flags and choices outside their set are
//!    refused), and such a number has exactly one form of each length, of which the encoder takes the
//!    shortest. So an envelope that needs as many bytes as were read was read from its own encoding,
//!    and counting the bytes proves it.
//! 2. What encodes, decodes to the same envelope under the same cluster tag.
//! 3. A message that does not fit a datagram is an error, never a shorter message.
//! 4. Decoding allocates for at most [`MAX_UPDATES`] updates, and never before the checksum held.

use bincode::config::{Configuration, LittleEndian, Varint};
use bincode::de::read::{Reader, SliceReader};
use bincode::de::{Decoder, DecoderImpl};
use bincode::enc::write::{SizeWriter, SliceWriter};
use bincode::enc::{Encoder, EncoderImpl};
use bincode::{Decode, Encode, config, error};
use core::net::SocketAddr;

use crate::envelope::{HEADER_LEN, read_header, write_header};
use crate::id::BAD_NAME;
use crate::kind::Kind;
use crate::piggyback::{BAD_FLAG, TOO_MANY_UPDATES};
use crate::seal::SEAL_LEN;
use crate::update::MAX_UPDATES;
use crate::{Boot, DecodeError, EncodeError, Envelope, MAX_DATAGRAM, Message, NodeId, Update};

/// What bincode may account for one datagram, in bytes.
///
/// It counts a number at its full width, up to eight times what the number took, so no legal
/// datagram reaches this.
const LIMIT: usize = 8 * MAX_DATAGRAM;

const CONFIG: Configuration<LittleEndian, Varint, config::Limit<LIMIT>> =
    config::standard().with_limit::<LIMIT>();

/// Writes `envelope` as a datagram of that cluster to the front of `buffer` and gives its length in
/// bytes.
///
/// # Errors
/// The message is too long, carries too many updates, or has an address that means nothing
/// elsewhere. `buffer` then holds nothing of use.
pub fn encode(
    envelope: &Envelope,
    cluster_tag: u32,
    buffer: &mut [u8; MAX_DATAGRAM],
) -> Result<usize, EncodeError> {
    check(envelope)?;
    let writer = SliceWriter::new(&mut buffer[HEADER_LEN..]);
    let mut encoder = EncoderImpl::new(writer, CONFIG);
    let Envelope { sender, boot, message } = envelope;
    // The one error that is left after the check is that the buffer is full.
    write_payload(&mut encoder, *sender, *boot, message).map_err(|_| EncodeError::TooLong)?;
    let length = HEADER_LEN + encoder.into_writer().bytes_written();
    write_header(&mut buffer[..length], cluster_tag, boot.nonce);
    Ok(length)
}

/// Reads a datagram of that cluster.
///
/// # Errors
/// One class for each way in which a datagram can be wrong, the first that is found in the order of
/// [`DecodeError`]'s variants up to the checksum, in the order of the bytes after it.
pub fn decode(datagram: &[u8], cluster_tag: u32) -> Result<Envelope, DecodeError> {
    let (nonce, payload) = read_header(datagram, cluster_tag)?;
    let mut decoder = DecoderImpl::new(SliceReader::new(payload), CONFIG, ());
    let sender = NodeId::decode(&mut decoder).map_err(class)?;
    let sequence = u64::decode(&mut decoder).map_err(class)?;
    let number = u8::decode(&mut decoder).map_err(class)?;
    let kind = Kind::from_number(number).ok_or(DecodeError::UnknownKind(number))?;
    let message = Message::decode_body(kind, &mut decoder).map_err(class)?;
    if decoder.reader().peek_read(1).is_some() {
        return Err(DecodeError::Trailing);
    }
    let boot = Boot { sequence, nonce };
    if datagram_len(sender, boot, &message) != datagram.len() {
        return Err(DecodeError::NotMinimal);
    }
    Ok(Envelope { sender, boot, message })
}

impl Envelope {
    /// The length of this envelope's datagram, in bytes; above [`MAX_DATAGRAM`] where there is none.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        datagram_len(self.sender, self.boot, &self.message)
    }
}

impl Message {
    /// How many bytes of updates can still be added to this message when `sender` sends it, so that it
    /// can also be sealed; an update takes [`Update::encoded_len`].
    ///
    /// 0 when it carries [`MAX_UPDATES`] already.
    #[must_use]
    pub fn room(&self, sender: NodeId, boot: Boot) -> usize {
        if self.updates().len() >= MAX_UPDATES {
            return 0;
        }
        (MAX_DATAGRAM - SEAL_LEN).saturating_sub(datagram_len(sender, boot, self))
    }

    /// The updates that this message carries.
    #[must_use]
    pub fn updates(&self) -> &[Update] {
        match self {
            Self::Ping(ping) => &ping.updates,
            Self::Ack(ack) => &ack.updates,
            Self::PingReq(request) => &request.updates,
            Self::Gossip(gossip) => &gossip.updates,
            Self::Nack(_)
            | Self::RelayedAck(_)
            | Self::Pull(_)
            | Self::Canvass(_)
            | Self::CanvassReply(_)
            | Self::Election(_)
            | Self::Answer(_)
            | Self::Coordinator(_)
            | Self::Acknowledge(_)
            | Self::Release(_)
            | Self::Inquire(_)
            | Self::Report(_)
            | Self::StepDown(_)
            | Self::Offer(_)
            | Self::Ready(_)
            | Self::Go(_)
            | Self::Conflict(_)
            | Self::Hearing(_) => &[],
        }
    }
}

/// The length of a value's encoding, in bytes; more than any datagram has where there is none.
pub(crate) fn encoded_len(value: &impl Encode) -> usize {
    count(|encoder| value.encode(encoder))
}

fn datagram_len(sender: NodeId, boot: Boot, message: &Message) -> usize {
    count(|encoder| write_payload(encoder, sender, boot, message)).saturating_add(HEADER_LEN)
}

fn count(
    write: impl FnOnce(
        &mut EncoderImpl<SizeWriter, Configuration<LittleEndian, Varint, config::Limit<LIMIT>>>,
    ) -> Result<(), error::EncodeError>,
) -> usize {
    let mut encoder = EncoderImpl::new(SizeWriter::default(), CONFIG);
    write(&mut encoder).map_or(usize::MAX, |()| encoder.into_writer().bytes_written)
}

fn write_payload(
    encoder: &mut impl Encoder,
    sender: NodeId,
    boot: Boot,
    message: &Message,
) -> Result<(), error::EncodeError> {
    sender.encode(encoder)?;
    boot.sequence.encode(encoder)?;
    (message.kind() as u8).encode(encoder)?;
    message.encode_body(encoder)
}

/// Refuses what the format has no bytes for.
fn check(envelope: &Envelope) -> Result<(), EncodeError> {
    let message = &envelope.message;
    match message {
        Message::PingReq(request) => check_address(request.target, request.address)?,
        Message::Conflict(conflict) => check_address(envelope.sender, conflict.address)?,
        _ => {}
    }
    let updates = message.updates();
    if updates.len() > MAX_UPDATES {
        return Err(EncodeError::TooManyUpdates(updates.len()));
    }
    updates.iter().try_for_each(|update| check_address(update.member, update.address))
}

fn check_address(node: NodeId, address: SocketAddr) -> Result<(), EncodeError> {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 || v6.flowinfo() != 0 => {
            Err(EncodeError::LocalAddress(node, address))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => Ok(()),
    }
}

/// The class of bincode's error.
fn class(error: error::DecodeError) -> DecodeError {
    match error {
        error::DecodeError::Other(BAD_NAME) => DecodeError::Name,
        error::DecodeError::Other(TOO_MANY_UPDATES) => DecodeError::TooManyUpdates,
        error::DecodeError::InvalidIntegerType { .. } => DecodeError::Number,
        error::DecodeError::Other(BAD_FLAG)
        | error::DecodeError::UnexpectedVariant { .. }
        | error::DecodeError::InvalidBooleanValue(_) => DecodeError::Choice,
        // The end of the payload; bincode's other errors are of types that no message has.
        _ => DecodeError::Truncated,
    }
}
