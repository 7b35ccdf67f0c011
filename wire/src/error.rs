//! Errors: why bytes are no message, why a message has no bytes, and whose fault that is.

use core::fmt;
use core::net::SocketAddr;

use crate::update::MAX_UPDATES;
use crate::{MAX_DATAGRAM, NodeId};

/// Who has to change something for an error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody of ours: the bytes are noise, damaged on the way, or of some other program.
    Bytes,
    /// The sending program: a newer or a wrong one wrote this, checksum and all.
    Peer,
    /// An operator: the two nodes are configured for different clusters or keys.
    Operator,
}

impl Fault {
    /// The word for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Peer => "peer",
            Self::Operator => "operator",
        }
    }
}

/// Why a datagram is refused; in the order in which the checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecodeError {
    /// Shorter than the header.
    TooShort,
    /// Longer than [`MAX_DATAGRAM`].
    TooLong,
    /// It does not begin like a datagram of this protocol.
    Magic,
    /// Another version of the format; holds its number.
    Version(u8),
    /// A flag that this version does not know; holds all flags.
    Flags(u8),
    /// It is sealed, and this node has no key.
    Sealed,
    /// The tag of another cluster.
    Cluster,
    /// The length field and the datagram disagree.
    Length,
    /// The checksum is wrong.
    Checksum,
    /// A node name is empty, too long, or has a byte that names have not.
    Name,
    /// A kind of message that this program does not know; holds its number.
    UnknownKind(u8),
    /// The datagram ends within a field.
    Truncated,
    /// A flag or a choice has a value that it does not know.
    Choice,
    /// A number is wider than its field.
    Number,
    /// More than [`MAX_UPDATES`] updates.
    TooManyUpdates,
    /// Bytes follow the message.
    Trailing,
    /// A number is written in more bytes than it needs.
    NotMinimal,
    /// It is not sealed, and this node takes sealed ones only.
    Unsealed,
    /// It is sealed, and no key of this node opens it.
    Seal,
    /// It is sealed, and came before.
    Replayed,
}

impl DecodeError {
    /// One of each class; the numbers they hold are 0.
    pub const ALL: [Self; 20] = [
        Self::TooShort,
        Self::TooLong,
        Self::Magic,
        Self::Version(0),
        Self::Flags(0),
        Self::Sealed,
        Self::Cluster,
        Self::Length,
        Self::Checksum,
        Self::Name,
        Self::UnknownKind(0),
        Self::Truncated,
        Self::Choice,
        Self::Number,
        Self::TooManyUpdates,
        Self::Trailing,
        Self::NotMinimal,
        Self::Unsealed,
        Self::Seal,
        Self::Replayed,
    ];

    /// The class, as a word for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Magic => "magic",
            Self::Version(_) => "version",
            Self::Flags(_) => "flags",
            Self::Sealed => "sealed",
            Self::Cluster => "cluster",
            Self::Length => "length",
            Self::Checksum => "checksum",
            Self::Name => "name",
            Self::UnknownKind(_) => "unknown_kind",
            Self::Truncated => "truncated",
            Self::Choice => "choice",
            Self::Number => "number",
            Self::TooManyUpdates => "too_many_updates",
            Self::Trailing => "trailing",
            Self::NotMinimal => "not_minimal",
            Self::Unsealed => "unsealed",
            Self::Seal => "seal",
            Self::Replayed => "replayed",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::TooShort | Self::TooLong | Self::Magic | Self::Length | Self::Checksum => {
                Fault::Bytes
            }
            Self::Replayed => Fault::Bytes,
            Self::Sealed | Self::Unsealed | Self::Seal | Self::Cluster => Fault::Operator,
            Self::Version(_)
            | Self::Flags(_)
            | Self::Name
            | Self::UnknownKind(_)
            | Self::Truncated
            | Self::Choice
            | Self::Number
            | Self::TooManyUpdates
            | Self::Trailing
            | Self::NotMinimal => Fault::Peer,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the datagram is shorter than its header"),
            Self::TooLong => write!(f, "the datagram is longer than {MAX_DATAGRAM} bytes"),
            Self::Magic => f.write_str("the datagram is not of this protocol"),
            Self::Version(version) => write!(f, "the peer speaks format version {version}"),
            Self::Flags(flags) => write!(f, "the peer set unknown flags in {flags:#010b}"),
            Self::Sealed => f.write_str("the datagram is sealed, and no key is configured"),
            Self::Cluster => f.write_str("the datagram is of another cluster"),
            Self::Length => f.write_str("the datagram has another length than it says"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::Name => f.write_str("the peer sent a text that is no node name"),
            Self::UnknownKind(kind) => write!(f, "the peer sent the unknown message kind {kind}"),
            Self::Truncated => f.write_str("the peer's message ends within a field"),
            Self::Choice => f.write_str("the peer's message makes an unknown choice"),
            Self::Number => f.write_str("the peer's message has a number too wide for its field"),
            Self::TooManyUpdates => {
                write!(f, "the peer's message carries more than {MAX_UPDATES} updates")
            }
            Self::Trailing => f.write_str("bytes follow the peer's message"),
            Self::NotMinimal => f.write_str("the peer wrote a number in more bytes than it needs"),
            Self::Unsealed => {
                f.write_str("the datagram is not sealed, and only sealed ones are taken")
            }
            Self::Seal => f.write_str("no key of this node opens the sealed datagram"),
            Self::Replayed => f.write_str("the sealed datagram came before"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a message cannot be sent; always this program's own mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncodeError {
    /// It takes more than [`MAX_DATAGRAM`] bytes.
    TooLong,
    /// It carries more than [`MAX_UPDATES`] updates; holds how many.
    TooManyUpdates(usize),
    /// The address of this node has an IPv6 scope or flow label, which mean nothing elsewhere.
    LocalAddress(NodeId, SocketAddr),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the message takes more than {MAX_DATAGRAM} bytes"),
            Self::TooManyUpdates(count) => {
                write!(f, "the message carries {count} updates; at most {MAX_UPDATES} are allowed")
            }
            Self::LocalAddress(node, address) => {
                write!(f, "the address {address} of {node} has a meaning on this machine only")
            }
        }
    }
}

impl core::error::Error for EncodeError {}
