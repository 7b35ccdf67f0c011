//! The kinds of messages: the one table of their numbers and words.
//!
//! Invariants
//! 1. A number means the same kind for ever: rows are added at the end, never changed or reused.

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::{Decode, Encode, error};

use crate::Message;

/// Writes the table out as [`Kind`] and as what depends on a message's kind.
macro_rules! kinds {
    ($($number:literal $kind:ident $word:literal)+) => {
        /// What sort of message a datagram carries.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = concat!("[`Message::", stringify!($kind), "`], number ", $number, ".")]
            $kind = $number,)+
        }

        impl Kind {
            /// Every kind, in the order of the numbers.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$kind),+];

            /// The word for logs and metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $word,)+ }
            }

            /// The kind of that number, if there is one.
            pub(crate) const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind),)+
                    _ => None,
                }
            }
        }

        impl Message {
            /// The sort of this message.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)+ }
            }

            /// Writes the body.
            pub(crate) fn encode_body<E: Encoder>(
                &self,
                encoder: &mut E,
            ) -> Result<(), error::EncodeError> {
                match self { $(Self::$kind(body) => body.encode(encoder),)+ }
            }

            /// Reads the body of a message of that kind.
            pub(crate) fn decode_body<D: Decoder<Context = ()>>(
                kind: Kind,
                decoder: &mut D,
            ) -> Result<Self, error::DecodeError> {
                match kind {
                    $(Kind::$kind => Decode::decode(decoder).map(Self::$kind),)+
                }
            }
        }
    };
}

kinds! {
    1 Ping "ping"
    2 Ack "ack"
    3 PingReq "ping_req"
    4 Nack "nack"
    5 RelayedAck "relayed_ack"
    6 Gossip "gossip"
    7 Pull "pull"
    8 Canvass "canvass"
    9 CanvassReply "canvass_reply"
    10 Election "election"
    11 Answer "answer"
    12 Coordinator "coordinator"
    13 Acknowledge "acknowledge"
    14 Release "release"
    15 Inquire "inquire"
    16 Report "report"
    17 StepDown "step_down"
    18 Conflict "conflict"
    19 Hearing "hearing"
    20 Offer "offer"
    21 Ready "ready"
    22 Go "go"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_kind_name_each_other() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind as u8), Some(kind));
        }
        let known = (0..=u8::MAX).filter(|&number| Kind::from_number(number).is_some()).count();
        assert_eq!(known, Kind::ALL.len());
    }
}
