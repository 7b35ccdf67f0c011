//! The datagrams by which two checks try the way between them.
//!
//! They are of a cluster of their own, so that a running node, which they may also be sent to, counts and
//! drops them by its cluster tag, before it reads anything else. An answer is as long as its question:
//! nobody can be made to send more than was sent.
//!
//! | byte | length | field |
//! |---|---|---|
//! | 0 | 4 | `52 52 01 00`, as every datagram of a node begins |
//! | 4 | 4 | the cluster tag of [`CLUSTER`] |
//! | 8 | 1 | 1 a question, 2 its answer |
//! | 9 | 1 | length of the name |
//! | 10 | 2 | number |
//! | 12 | 8 | nonce of the check that asks |
//! | 20 | | name of the node that sends, then zeros |

use ringrift_wire::{MAX_DATAGRAM, NodeId, cluster_tag};

/// The cluster that no node is of.
const CLUSTER: &str = "ringrift-p2p check --net";

const START: [u8; 4] = [0x52, 0x52, 1, 0];

/// The bytes before the name.
const HEAD: usize = 20;

/// The shortest that is sent: head and the longest name.
pub(super) const SHORT: usize = HEAD + 63;

/// What a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) is_answer: bool,
    pub(super) from: NodeId,
    pub(super) nonce: u64,
    pub(super) number: u16,
}

impl Datagram {
    /// Its bytes, filled up to a length from [`SHORT`] to [`MAX_DATAGRAM`].
    pub(super) fn encode(&self, length: usize) -> Vec<u8> {
        let name = self.from.as_bytes();
        let mut bytes = Vec::with_capacity(MAX_DATAGRAM);
        bytes.extend(START);
        bytes.extend(cluster_tag(CLUSTER).to_le_bytes());
        bytes.push(if self.is_answer { 2 } else { 1 });
        bytes.push(u8::try_from(name.len()).unwrap_or(0));
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.nonce.to_le_bytes());
        bytes.extend(name);
        bytes.resize(length.clamp(SHORT, MAX_DATAGRAM), 0);
        bytes
    }

    /// What bytes say; `None` of what no check has sent.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [a, b, c, d, e, f, g, h, kind, length, n0, n1, nonce @ ..] = *head;
        if [a, b, c, d] != START || [e, f, g, h] != cluster_tag(CLUSTER).to_le_bytes() {
            return None;
        }
        let is_answer = match kind {
            1 => false,
            2 => true,
            _ => return None,
        };
        let from = NodeId::from_bytes(rest.get(..usize::from(length))?).ok()?;
        let nonce = u64::from_le_bytes(nonce);
        Some(Self { is_answer, from, nonce, number: u16::from_le_bytes([n0, n1]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question() -> Datagram {
        let from = "hetzner-cpu1".parse().unwrap();
        Datagram { is_answer: false, from, nonce: u64::MAX - 7, number: 300 }
    }

    #[test]
    fn what_is_sent_is_read_and_as_long_as_wanted() {
        for length in [SHORT, 512, MAX_DATAGRAM] {
            let bytes = question().encode(length);
            assert_eq!((bytes.len(), Datagram::decode(&bytes)), (length, Some(question())));
        }
        assert_eq!(question().encode(0).len(), SHORT);
        assert_eq!(question().encode(9_000).len(), MAX_DATAGRAM);
    }

    /// A running node drops it for its cluster, whatever else is in it.
    #[test]
    fn a_node_takes_it_for_one_of_another_cluster() {
        let read = ringrift_wire::decode(&question().encode(SHORT), cluster_tag("ringrift"));
        assert_eq!(read, Err(ringrift_wire::DecodeError::Cluster));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, cut in 0..SHORT) {
            let _ = Datagram::decode(&bytes);
            let _ = Datagram::decode(&question().encode(SHORT)[..cut]);
        }
    }
}
