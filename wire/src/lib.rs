//! The datagrams of ringrift-p2p: typed messages and their checksummed binary form.
//!
//! This crate turns an [`Envelope`] into bytes ([`encode`]) and bytes into an [`Envelope`]
//! ([`decode`]). It has no clock, no socket and no memory. What follows is the specification of the
//! format, version 1.
//!
//! # The datagram
//!
//! A datagram is a header of 22 bytes and a payload, at most [`MAX_DATAGRAM`] bytes together.
//! Numbers of the header are little-endian.
//!
//! | byte | length | field | value |
//! |---|---|---|---|
//! | 0 | 2 | magic | `52 52`, ASCII "RR" |
//! | 2 | 1 | version | 1 |
//! | 3 | 1 | flags | bit 0: sealed; every other bit is 0 |
//! | 4 | 4 | cluster tag | CRC32 of the cluster's name, [`cluster_tag`] |
//! | 8 | 2 | length | of the whole datagram |
//! | 10 | 4 | checksum | CRC32 of the whole datagram, with these four bytes as 0 |
//! | 14 | 8 | nonce | of the sender's boot |
//! | 22 | | payload | |
//!
//! CRC32 is the IEEE one of Ethernet and zlib: any one flipped bit, and any burst of up to 32 bits,
//! is found. It guards against damage, not against forgery.
//!
//! # The payload
//!
//! | length | field | value |
//! |---|---|---|
//! | 1 | name length | 1 to 63 |
//! | that | name | of the sender: letters, digits, `.`, `_`, `-` |
//! | 1 to 9 | sequence | of the sender's boot, a number as below |
//! | 1 | kind | what the body is: the table of [`Kind`] |
//! | rest | body | the fields of the message, in the order of its struct |
//!
//! Fields are written as bincode 2 does in its standard configuration:
//!
//! | type | form |
//! |---|---|
//! | `u8` | one byte |
//! | `u16`, `u32`, `u64` | below 251 one byte; else `fb` and two, `fc` and four, or `fd` and eight bytes, little-endian, whichever is the first that suffices |
//! | `bool` | 0 or 1 |
//! | `Option` | 0, or 1 and the value |
//! | an enum | the number of the variant from 0, as a `u32`, then its fields |
//! | [`NodeId`] | its length in one byte, then its bytes |
//! | `SocketAddr` | 0 and four bytes of IPv4, or 1 and sixteen bytes of IPv6; then the port as a `u16`. IPv6 scope and flow label are not carried |
//!
//! with one exception for what is sent all the time: the digest of [`Ping`] and [`Ack`] is four
//! bytes, little-endian, and what [`Ping`], [`Ack`], [`PingReq`] and [`Gossip`] carry along comes
//! last, in this form:
//!
//! | length | field | value |
//! |---|---|---|
//! | 1 | what follows | bit 7: `wants_beacon`, in a ping only; bit 6: a beacon follows, not in a ping-req; bits 0 to 5: the number of updates, at most [`MAX_UPDATES`] |
//! | | beacon | the fields of [`Beacon`], if announced |
//! | | updates | so many [`Update`]s, one after the other |
//!
//! # What is refused
//!
//! There is one form for each envelope: unknown flags and choices, numbers in more bytes than they
//! need, and bytes after the message are all refused, so that any bytes decode to an error or to an
//! envelope that encodes to the same bytes. Each way to be wrong is a class of [`DecodeError`], and
//! the header is checked before anything else is read.
//!
//! # Change
//!
//! Kinds, and variants of enums, are added at the end and never change their meaning. A node that
//! does not know one refuses the datagram ([`DecodeError::UnknownKind`], [`DecodeError::Choice`]),
//! which harms nothing. Within a version a body has the fields it has; more fields, at the end, come
//! with the next version, and so does any change of the header.
//!
//! # Sealed datagrams
//!
//! With a key, [`seal`] makes a sealed datagram of one that [`encode`] wrote, and [`open`] the plain one
//! again. Flag bit 0 is set and the header is the same, checksum included. The payload is
//!
//! | length | field | value |
//! |---|---|---|
//! | 8 | counter | never the same twice in one boot, little-endian |
//! | | ciphertext | of the payload above |
//! | 16 | tag | |
//!
//! by XChaCha20-Poly1305, with the header, its checksum as 0, as associated data, and with boot nonce,
//! counter and eight zero bytes as its own nonce. [`Message::room`] leaves room for the [`SEAL_LEN`] bytes
//! more, so what is filled up can be sealed.

mod codec;
mod envelope;
mod error;
mod id;
mod kind;
mod message;
mod piggyback;
mod seal;
mod update;

pub use codec::{decode, encode};
pub use envelope::{Envelope, VERSION, cluster_tag};
pub use error::{DecodeError, EncodeError, Fault};
pub use id::{Boot, NodeId, NodeIdError};
pub use kind::Kind;
pub use message::{
    Ack, Acknowledge, Answer, Beacon, Canvass, CanvassReply, Conflict, Coordinator, Election, Go,
    Gossip, Hearing, Inquire, MAX_ROW, Message, Nack, Offer, Opinion, Ping, PingReq, Priority,
    Pull, Ready, Record, Refusal, RelayedAck, Release, Report, StepDown, Unready, Verdict,
    VoterSetTag,
};
pub use seal::{BadKey, Key, KeyId, Opened, SEAL_LEN, claimed, is_sealed, open, seal};
pub use update::{MAX_UPDATES, MemberState, Update, Updates};

/// The largest datagram that a node sends or accepts, in bytes, header included.
///
/// Tailscale's MTU is 1,280; IPv6 and UDP headers take 48 of it.
pub const MAX_DATAGRAM: usize = 1_200;
