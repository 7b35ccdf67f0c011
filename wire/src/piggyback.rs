//! What rides on the messages of membership: the leader's beacon and updates.
//!
//! One byte says what follows, so that an idle ping stays small: bit 7, the sender wants a beacon;
//! bit 6, a beacon follows; bits 0 to 5, how many updates follow then, at most [`MAX_UPDATES`].
//!
//! Invariants
//! 1. A bit that the kind has no field for is refused: it would be lost when encoded again.
//! 2. Nothing is allocated for more updates than [`MAX_UPDATES`], whatever the byte says.

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};

use crate::message::MAX_ROW;
use crate::update::MAX_UPDATES;
use crate::{Ack, Beacon, Gossip, Hearing, Ping, PingReq, Update, Updates};

/// The sender wants a beacon.
const WANTS_BEACON: u8 = 0b1000_0000;
/// A beacon follows.
const BEACON: u8 = 0b0100_0000;
/// How many updates follow.
const COUNT: u8 = 0b0011_1111;

/// What bincode's error says of a list that is too long.
pub(crate) const TOO_MANY_UPDATES: &str = "too many updates";
/// What bincode's error says of a bit that the kind has no field for.
pub(crate) const BAD_FLAG: &str = "bad piggyback flag";

/// What was carried along.
struct Piggyback {
    wants_beacon: bool,
    beacon: Option<Beacon>,
    updates: Updates,
}

fn encode<E: Encoder>(
    encoder: &mut E,
    wants_beacon: bool,
    beacon: Option<&Beacon>,
    updates: &[Update],
) -> Result<(), EncodeError> {
    if updates.len() > MAX_UPDATES {
        return Err(EncodeError::Other(TOO_MANY_UPDATES));
    }
    let mut what = updates.len() as u8;
    if wants_beacon {
        what |= WANTS_BEACON;
    }
    if beacon.is_some() {
        what |= BEACON;
    }
    what.encode(encoder)?;
    if let Some(beacon) = beacon {
        beacon.encode(encoder)?;
    }
    updates.iter().try_for_each(|update| update.encode(encoder))
}

/// Reads what was carried along; `flags` are those that the kind has a field for.
fn decode<D: Decoder>(decoder: &mut D, flags: u8) -> Result<Piggyback, DecodeError> {
    let what = u8::decode(decoder)?;
    if what & !COUNT & !flags != 0 {
        return Err(DecodeError::Other(BAD_FLAG));
    }
    let count = usize::from(what & COUNT);
    if count > MAX_UPDATES {
        return Err(DecodeError::Other(TOO_MANY_UPDATES));
    }
    let beacon = if what & BEACON == 0 { None } else { Some(Beacon::decode(decoder)?) };
    let mut updates = Updates::with_capacity(count);
    for _ in 0..count {
        updates.push(Update::decode(decoder)?);
    }
    Ok(Piggyback { wants_beacon: what & WANTS_BEACON != 0, beacon, updates })
}

impl Encode for Ping {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.number.encode(encoder)?;
        self.digest.to_le_bytes().encode(encoder)?;
        encode(encoder, self.wants_beacon, self.beacon.as_ref(), &self.updates)
    }
}

impl<Context> Decode<Context> for Ping {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let number = u32::decode(decoder)?;
        let digest = u32::from_le_bytes(Decode::decode(decoder)?);
        let Piggyback { wants_beacon, beacon, updates } = decode(decoder, WANTS_BEACON | BEACON)?;
        Ok(Self { number, digest, wants_beacon, beacon, updates })
    }
}

impl Encode for Ack {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.number.encode(encoder)?;
        self.digest.to_le_bytes().encode(encoder)?;
        encode(encoder, false, self.beacon.as_ref(), &self.updates)
    }
}

impl<Context> Decode<Context> for Ack {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let number = u32::decode(decoder)?;
        let digest = u32::from_le_bytes(Decode::decode(decoder)?);
        let Piggyback { beacon, updates, .. } = decode(decoder, BEACON)?;
        Ok(Self { number, digest, beacon, updates })
    }
}

impl Encode for PingReq {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.number.encode(encoder)?;
        self.target.encode(encoder)?;
        self.address.encode(encoder)?;
        self.nack_after_ms.encode(encoder)?;
        encode(encoder, false, None, &self.updates)
    }
}

impl<Context> Decode<Context> for PingReq {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self {
            number: Decode::decode(decoder)?,
            target: Decode::decode(decoder)?,
            address: Decode::decode(decoder)?,
            nack_after_ms: Decode::decode(decoder)?,
            updates: decode(decoder, 0)?.updates,
        })
    }
}

impl Encode for Gossip {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encode(encoder, false, self.beacon.as_ref(), &self.updates)
    }
}

impl<Context> Decode<Context> for Gossip {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let Piggyback { beacon, updates, .. } = decode(decoder, BEACON)?;
        Ok(Self { beacon, updates })
    }
}

impl Encode for Hearing {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        if self.row.len() > MAX_ROW {
            return Err(EncodeError::Other(TOO_MANY_UPDATES));
        }
        self.set.encode(encoder)?;
        (self.row.len() as u8).encode(encoder)?;
        self.row.iter().try_for_each(|word| word.encode(encoder))
    }
}

impl<Context> Decode<Context> for Hearing {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let set = Decode::decode(decoder)?;
        let count = usize::from(u8::decode(decoder)?);
        if count > MAX_ROW {
            return Err(DecodeError::Other(TOO_MANY_UPDATES));
        }
        let mut row = Vec::with_capacity(count);
        for _ in 0..count {
            row.push(u8::decode(decoder)?);
        }
        Ok(Self { set, row })
    }
}
