//! Sealing: a datagram encrypted and authenticated under a key, and opened again.
//!
//! Decides the form of a sealed datagram. It keeps nothing: that a counter is never used twice, and
//! that no datagram is taken twice, is the caller's duty.
//!
//! Invariants
//! 1. What was sealed opens to the same bytes under the same key, and under no other.
//! 2. Any change of any bit of a sealed datagram is refused; nothing of it is read before the tag held.
//! 3. A key is never shown: not in `Debug`, not in an error.
//!
//! XChaCha20-Poly1305 is `draft-irtf-cfrg-xchacha-03`, on RFC 8439.

use chacha20poly1305::{AeadInOut, KeyInit, Tag, XChaCha20Poly1305, XNonce};
use core::fmt;
use core::str::FromStr;

use crate::envelope::{HEADER_LEN, Seal, check_header, finish_header, header_without_checksum};
use crate::{DecodeError, EncodeError, MAX_DATAGRAM};

/// How much longer a datagram is sealed, in bytes: a counter of 8 and a tag of 16.
pub const SEAL_LEN: usize = COUNTER_LEN + TAG_LEN;

const COUNTER_LEN: usize = 8;
const TAG_LEN: usize = 16;
/// Where the sealed bytes begin.
const BODY: usize = HEADER_LEN + COUNTER_LEN;

/// A secret that all nodes of a cluster share: 256 bits.
#[derive(Clone)]
pub struct Key(XChaCha20Poly1305);

impl Key {
    /// The length of a key in bytes.
    pub const LEN: usize = 32;

    /// The key of these bytes, which should come from the system's source of randomness.
    #[must_use]
    pub fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(XChaCha20Poly1305::new(&bytes.into()))
    }

    /// A name for this key that tells nothing of it: the first four bytes of the tag of nothing, under a
    /// nonce that no datagram has.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let nonce = XNonce::from([0xff; 24]);
        let tag = self.0.encrypt_inout_detached(&nonce, b"id", (&mut [][..]).into());
        let [a, b, c, d, ..] = tag.unwrap_or_default().0;
        KeyId(u32::from_be_bytes([a, b, c, d]))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

/// The public name of a key: eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A text is no key; it says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key is {} hexadecimal digits", Key::LEN * 2)
    }
}

impl core::error::Error for BadKey {}

impl FromStr for Key {
    type Err = BadKey;

    /// A key as `keygen` prints it: 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let mut bytes = [0; Self::LEN];
        if text.len() != bytes.len() * 2 {
            return Err(BadKey);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| pair.get(at).and_then(|&digit| char::from(digit).to_digit(16));
            let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(BadKey) };
            *byte = u8::try_from(high << 4 | low).map_err(|_| BadKey)?;
        }
        Ok(Self::new(bytes))
    }
}

/// What opening a sealed datagram gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The length of the plain datagram, in bytes, which stands where the sealed one stood.
    pub length: usize,
    /// Its counter.
    pub counter: u64,
    /// The nonce of the sender's boot.
    pub nonce: u64,
    /// Which of the keys opened it, from 0.
    pub key: usize,
}

/// Whether a datagram says of itself that it is sealed.
#[must_use]
pub fn is_sealed(datagram: &[u8]) -> bool {
    datagram.get(3) == Some(&Seal::Sealed.flags())
}

/// The nonce and the counter that a sealed datagram says it has; `None` of one that is too short to be sealed.
///
/// Nothing of it is proven before the datagram is opened. It serves to refuse what came before without the
/// work of opening it.
#[must_use]
pub fn claimed(datagram: &[u8]) -> Option<(u64, u64)> {
    let is_whole = is_sealed(datagram) && datagram.len() >= BODY + TAG_LEN;
    let number = |at| u64::from_le_bytes(array_at(datagram, at));
    is_whole.then(|| (number(HEADER_LEN - 8), number(HEADER_LEN)))
}

/// Seals the datagram of `length` bytes at the front of `buffer`, as [`crate::encode`] left it, and gives
/// its new length in bytes.
///
/// `counter` must never be used twice with one key and one boot nonce.
///
/// # Errors
/// [`EncodeError::TooLong`]: with [`SEAL_LEN`] bytes more it is no datagram. `buffer` is unchanged then.
pub fn seal(
    key: &Key,
    counter: u64,
    buffer: &mut [u8; MAX_DATAGRAM],
    length: usize,
) -> Result<usize, EncodeError> {
    let sealed = length.saturating_add(SEAL_LEN);
    if sealed > MAX_DATAGRAM || length < HEADER_LEN {
        return Err(EncodeError::TooLong);
    }
    buffer.copy_within(HEADER_LEN..length, BODY);
    buffer[HEADER_LEN..BODY].copy_from_slice(&counter.to_le_bytes());
    let datagram = &mut buffer[..sealed];
    let header = header_without_checksum(datagram, Seal::Sealed);
    let nonce = nonce_of(datagram);
    let (body, tag) = datagram[BODY..].split_at_mut(length - HEADER_LEN);
    let made = key.0.encrypt_inout_detached(&nonce, &header, body.into());
    tag.copy_from_slice(&made.map_err(|_| EncodeError::TooLong)?);
    finish_header(datagram);
    Ok(sealed)
}

/// Opens the sealed datagram of that cluster with the first of `keys` that does, and leaves the plain one
/// in its place, as [`crate::decode`] takes it.
///
/// # Errors
/// Those of the header, in their order; [`DecodeError::Unsealed`]; [`DecodeError::Seal`] when no key
/// opens it. `datagram` is unchanged then.
pub fn open<'a>(
    keys: impl IntoIterator<Item = &'a Key>,
    cluster_tag: u32,
    datagram: &mut [u8],
) -> Result<Opened, DecodeError> {
    let (seal, nonce) = check_header(datagram, cluster_tag)?;
    if seal == Seal::Plain {
        return Err(DecodeError::Unsealed);
    }
    let Some(body_len) = datagram.len().checked_sub(BODY + TAG_LEN) else {
        return Err(DecodeError::Truncated);
    };
    let counter = u64::from_le_bytes(array_at(datagram, HEADER_LEN));
    let tag = Tag::from(array_at::<TAG_LEN>(datagram, BODY + body_len));
    let mut header = [0; HEADER_LEN];
    header.copy_from_slice(&datagram[..HEADER_LEN]);
    header[10..14].fill(0);
    let xnonce = nonce_of(datagram);
    for (index, key) in keys.into_iter().enumerate() {
        let body = &mut datagram[BODY..BODY + body_len];
        if key.0.decrypt_inout_detached(&xnonce, &header, body.into(), &tag).is_ok() {
            datagram.copy_within(BODY..BODY + body_len, HEADER_LEN);
            let length = HEADER_LEN + body_len;
            let plain = &mut datagram[..length];
            header_without_checksum(plain, Seal::Plain);
            finish_header(plain);
            return Ok(Opened { length, counter, nonce, key: index });
        }
    }
    Err(DecodeError::Seal)
}

/// The nonce of a sealed datagram: its boot's, its counter, zeros.
fn nonce_of(datagram: &[u8]) -> XNonce {
    let mut nonce = XNonce::default();
    nonce[..8].copy_from_slice(&array_at::<8>(datagram, HEADER_LEN - 8));
    nonce[8..16].copy_from_slice(&array_at::<8>(datagram, HEADER_LEN));
    nonce
}

/// So many bytes from there on; zeros where there are none, which the callers have excluded.
fn array_at<const N: usize>(datagram: &[u8], at: usize) -> [u8; N] {
    let bytes = datagram.get(at..).and_then(<[u8]>::first_chunk);
    bytes.copied().unwrap_or([0; N])
}
