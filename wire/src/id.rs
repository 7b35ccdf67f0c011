//! Names: who sent a datagram, and which life of that process.

use bincode::de::read::Reader;
use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Decode, Encode};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

/// The longest node name, in bytes.
pub(crate) const MAX_ID: usize = 63;

/// What bincode's error says when a name is none; the codec tells it from other errors by this.
pub(crate) const BAD_NAME: &str = "bad node name";

/// Operator-given stable name of a node, such as `hetzner-cpu1`.
///
/// 1 to 63 bytes of `[A-Za-z0-9._-]`. The value is stored inline, so it is `Copy` and a datagram is
/// decoded without allocating for it. Ordered as text.
#[derive(Clone, Copy)]
pub struct NodeId {
    len: u8,
    bytes: [u8; MAX_ID],
}

/// Why a text is no node name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeIdError {
    /// The text is empty.
    Empty,
    /// The text is longer than 63 bytes; holds its length.
    TooLong(usize),
    /// A byte outside `[A-Za-z0-9._-]`; holds its position.
    BadByte(usize),
}

impl fmt::Display for NodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a node name is empty"),
            Self::TooLong(len) => {
                write!(f, "a node name has {len} bytes; at most {MAX_ID} are allowed")
            }
            Self::BadByte(at) => write!(
                f,
                "byte {at} of a node name is none of the letters, digits, '.', '_' and '-'"
            ),
        }
    }
}

impl core::error::Error for NodeIdError {}

impl NodeId {
    /// Checks the bytes of a name.
    ///
    /// # Errors
    /// The name is empty, longer than 63 bytes, or has a byte outside `[A-Za-z0-9._-]`.
    pub fn from_bytes(name: &[u8]) -> Result<Self, NodeIdError> {
        if name.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if name.len() > MAX_ID {
            return Err(NodeIdError::TooLong(name.len()));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if let Some(at) = name.iter().position(|&byte| !allowed(byte)) {
            return Err(NodeIdError::BadByte(at));
        }
        let mut bytes = [0; MAX_ID];
        bytes[..name.len()].copy_from_slice(name);
        Ok(Self { len: name.len() as u8, bytes })
    }

    /// The name as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;
    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for NodeId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for NodeId {}

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for NodeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Encode for NodeId {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.len.encode(encoder)?;
        encoder.writer().write(self.as_bytes())
    }
}

impl<Context> Decode<Context> for NodeId {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let len = usize::from(u8::decode(decoder)?);
        if len > MAX_ID {
            return Err(DecodeError::Other(BAD_NAME));
        }
        decoder.claim_bytes_read(len)?;
        let mut bytes = [0; MAX_ID];
        decoder.reader().read(&mut bytes[..len])?;
        Self::from_bytes(&bytes[..len]).map_err(|_| DecodeError::Other(BAD_NAME))
    }
}

impl<'de, Context> BorrowDecode<'de, Context> for NodeId {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        Self::decode(decoder)
    }
}

/// One process start of a node.
///
/// The sequence orders rumours about one name; the nonce tells two processes apart whatever their
/// sequences say, and is what a promise is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Boot {
    /// The larger of the stored sequence plus one and the Unix time in seconds.
    pub sequence: u64,
    /// 64 random bits.
    pub nonce: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_63_bytes_of_letters_digits_and_three_signs() {
        let longest = "a".repeat(MAX_ID);
        for good in ["a", "hetzner-cpu1", "A.b_c-9", longest.as_str()] {
            assert_eq!(good.parse::<NodeId>().unwrap().as_str(), good);
        }
        assert_eq!("".parse::<NodeId>(), Err(NodeIdError::Empty));
        assert_eq!("a".repeat(64).parse::<NodeId>(), Err(NodeIdError::TooLong(64)));
        for (bad, at) in [("a b", 1), ("/a", 0), ("ab\u{e9}", 2), ("a\n", 1), ("a\0", 1)] {
            assert_eq!(bad.parse::<NodeId>(), Err(NodeIdError::BadByte(at)));
        }
    }

    #[test]
    fn names_are_ordered_as_text() {
        let name = |text: &str| text.parse::<NodeId>().unwrap();
        assert!(name("a") < name("aa"));
        assert!(name("aa") < name("b"));
        assert!(name("Z") < name("a"));
        assert_eq!(name("n1").cmp(&name("n1")), Ordering::Equal);
    }
}
