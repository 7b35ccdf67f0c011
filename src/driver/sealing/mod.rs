//! Sealed gossip: what leaves is sealed, what comes is opened, and what came before is dropped.
//!
//! Decides whether a datagram of the other kind is taken, by the operator's [`Unsealed`]. The form of a
//! sealed datagram is the wire's business.
//!
//! 1. With a ring and [`Unsealed::Refuse`] nothing leaves in the clear and nothing clear is read.
//! 2. No counter is used twice in one process: it only rises, whatever happens to the ring.
//! 3. Without a ring no sealed datagram is read, and none of it is believed.
//! 4. What is sealed to be sent after the death of the process has a counter above all others of it, so that
//!    it is no old one by then.
//! 5. A new ring counts from the next datagram on; windows outlast it.

pub mod reload;
pub mod replay;
pub mod ring;

use ringrift_wire::{
    DecodeError, EncodeError, Envelope, KeyId, MAX_DATAGRAM, claimed, decode, open, seal,
};
use std::sync::Arc;

pub use crate::config::Unsealed;
use replay::Windows;
use ring::Ring;

/// The sealing of one process.
#[derive(Clone, Debug, Default)]
pub struct Sealing {
    with: Option<(Arc<Ring>, Unsealed)>,
    counter: u64,
    last_words: u64,
    windows: Windows,
}

/// The counters from here on are of last words. A node that seals a million datagrams a second gets there
/// in 290,000 years.
const LAST_WORDS: u64 = 1 << 63;

impl Sealing {
    /// Sealing with this ring, or none.
    #[must_use]
    pub fn new(with: Option<(Arc<Ring>, Unsealed)>) -> Self {
        Self { with, ..Self::default() }
    }

    /// Goes on with another ring.
    pub fn replace(&mut self, ring: Arc<Ring>, unsealed: Unsealed) {
        self.with = Some((ring, unsealed));
    }

    /// Seals the datagram of `length` bytes at the front of `buffer`, if this node seals; gives its length.
    ///
    /// # Errors
    /// There is no room for the seal.
    pub fn close(
        &mut self,
        buffer: &mut [u8; MAX_DATAGRAM],
        length: usize,
    ) -> Result<usize, EncodeError> {
        self.counter += 1;
        self.seal_as(self.counter, buffer, length)
    }

    /// Seals likewise what is sent, if at all, when this process has died.
    ///
    /// # Errors
    /// There is no room for the seal.
    pub fn close_last_word(
        &mut self,
        buffer: &mut [u8; MAX_DATAGRAM],
        length: usize,
    ) -> Result<usize, EncodeError> {
        self.last_words += 1;
        self.seal_as(LAST_WORDS | self.last_words, buffer, length)
    }

    fn seal_as(
        &self,
        counter: u64,
        buffer: &mut [u8; MAX_DATAGRAM],
        length: usize,
    ) -> Result<usize, EncodeError> {
        match &self.with {
            Some((ring, Unsealed::Refuse | Unsealed::Accept)) => {
                seal(ring.first(), counter, buffer, length)
            }
            Some((_, Unsealed::Send)) | None => Ok(length),
        }
    }

    /// Reads a datagram of that cluster, opening it where it is sealed. The buffer holds nothing of use
    /// afterwards.
    ///
    /// # Errors
    /// One class for each way to be wrong.
    pub fn read(&mut self, datagram: &mut [u8], cluster_tag: u32) -> Result<Envelope, DecodeError> {
        let Some((ring, unsealed)) = &self.with else { return decode(datagram, cluster_tag) };
        // What came before is not worth opening. A forgery that says so is refused all the same.
        if claimed(datagram).is_some_and(|(nonce, counter)| self.windows.had(nonce, counter)) {
            return Err(DecodeError::Replayed);
        }
        match open(ring.keys(), cluster_tag, datagram) {
            Ok(opened) => {
                if !self.windows.takes(opened.nonce, opened.counter) {
                    return Err(DecodeError::Replayed);
                }
                decode(datagram.get(..opened.length).unwrap_or_default(), cluster_tag)
            }
            Err(DecodeError::Unsealed) if *unsealed != Unsealed::Refuse => {
                decode(datagram, cluster_tag)
            }
            Err(error) => Err(error),
        }
    }

    /// What is configured, for people: the public names of the keys, the one that seals first, and what
    /// becomes of unsealed datagrams.
    #[must_use]
    pub fn describe(&self) -> Option<(Vec<KeyId>, Unsealed)> {
        self.with.as_ref().map(|(ring, unsealed)| (ring.ids(), *unsealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringrift_wire::{Boot, Key, Message, Nack, encode};

    const TAG: u32 = 9;

    fn ring(keys: &[u8]) -> Arc<Ring> {
        Arc::new(Ring::new(keys.iter().map(|&it| Key::new([it; Key::LEN])).collect()).unwrap())
    }

    fn node(keys: &[u8], unsealed: Unsealed) -> Sealing {
        Sealing::new(Some((ring(keys), unsealed)))
    }

    /// A message of the process with this nonce.
    fn envelope_of(nonce: u64) -> Envelope {
        let boot = Boot { sequence: 1, nonce };
        let message = Message::Nack(Nack { number: 3, target: "b".parse().unwrap() });
        Envelope { sender: "a".parse().unwrap(), boot, message }
    }

    fn envelope() -> Envelope {
        envelope_of(5)
    }

    fn sent_by(sealing: &mut Sealing) -> Vec<u8> {
        sent_as(5, sealing)
    }

    fn sent_as(nonce: u64, sealing: &mut Sealing) -> Vec<u8> {
        let mut buffer = [0; MAX_DATAGRAM];
        let length = encode(&envelope_of(nonce), TAG, &mut buffer).unwrap();
        let length = sealing.close(&mut buffer, length).unwrap();
        buffer[..length].to_vec()
    }

    fn read_by(sealing: &mut Sealing, datagram: &[u8]) -> Result<Envelope, DecodeError> {
        sealing.read(&mut datagram.to_vec(), TAG)
    }

    #[test]
    fn nodes_of_one_key_hear_each_other_and_nobody_else_does() {
        let [mut a, mut b] = [node(&[1], Unsealed::Refuse), node(&[1], Unsealed::Refuse)];
        let datagram = sent_by(&mut a);
        assert_eq!(read_by(&mut b, &datagram), Ok(envelope()));
        let mut other = node(&[2], Unsealed::Refuse);
        assert_eq!(read_by(&mut other, &datagram), Err(DecodeError::Seal));
        let mut plain = Sealing::default();
        assert_eq!(read_by(&mut plain, &datagram), Err(DecodeError::Sealed));
        let clear = sent_by(&mut plain);
        assert_eq!(read_by(&mut b, &clear), Err(DecodeError::Unsealed));
        assert_eq!(read_by(&mut plain, &clear), Ok(envelope()));
    }

    #[test]
    fn a_sealed_datagram_is_taken_once_and_a_clear_one_as_often_as_it_comes() {
        let [mut a, mut b] = [node(&[1], Unsealed::Refuse), node(&[1], Unsealed::Accept)];
        let datagram = sent_by(&mut a);
        assert!(read_by(&mut b, &datagram).is_ok());
        assert_eq!(read_by(&mut b, &datagram), Err(DecodeError::Replayed));
        b.replace(ring(&[1, 2]), Unsealed::Accept);
        assert_eq!(read_by(&mut b, &datagram), Err(DecodeError::Replayed), "windows outlast rings");
        assert!(read_by(&mut b, &sent_by(&mut a)).is_ok());
        let clear = sent_by(&mut Sealing::default());
        assert!((0..2).all(|_| read_by(&mut b, &clear).is_ok()));
    }

    #[test]
    fn a_last_word_is_not_old_however_much_was_said_after_it_was_sealed() {
        let [mut a, mut b] = [node(&[1], Unsealed::Refuse), node(&[1], Unsealed::Refuse)];
        let mut buffer = [0; MAX_DATAGRAM];
        let length = encode(&envelope(), TAG, &mut buffer).unwrap();
        let length = a.close_last_word(&mut buffer, length).unwrap();
        for _ in 0..2 * replay::WINDOW {
            assert!(read_by(&mut b, &sent_by(&mut a)).is_ok());
        }
        assert_eq!(read_by(&mut b, &buffer[..length]), Ok(envelope()));
    }

    /// Each step on one node after the other: at any time every node hears every other.
    fn never_deaf(steps: &[(&[u8], Unsealed)], mut nodes: Vec<Sealing>) {
        for &(keys, unsealed) in steps {
            for at in 0..nodes.len() {
                nodes[at].replace(ring(keys), unsealed);
                let named = (0..).zip(nodes.iter_mut());
                let sent: Vec<_> = named.map(|(from, node)| (from, sent_as(from, node))).collect();
                for (from, datagram) in sent {
                    let others = (0..).zip(nodes.iter_mut()).filter(|(to, _)| *to != from);
                    for (to, node) in others {
                        let heard = read_by(node, &datagram);
                        let wanted = Ok(envelope_of(from));
                        assert_eq!(heard, wanted, "{from} to {to} at {keys:?} {unsealed:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_came_before_is_refused_without_being_opened() {
        let (mut a, mut b) = (node(&[1], Unsealed::Refuse), node(&[1], Unsealed::Refuse));
        let mut datagram = sent_by(&mut a);
        assert!(read_by(&mut b, &datagram).is_ok());
        // The seal is broken, and is not looked at.
        *datagram.last_mut().unwrap() ^= 1;
        assert_eq!(read_by(&mut b, &datagram), Err(DecodeError::Replayed));
        let mut fresh = sent_by(&mut a);
        *fresh.last_mut().unwrap() ^= 1;
        assert_eq!(read_by(&mut b, &fresh), Err(DecodeError::Checksum));
    }

    #[test]
    fn a_key_is_changed_in_three_steps_without_a_datagram_lost() {
        let all = Unsealed::Refuse;
        let nodes = (0..3).map(|_| node(&[1], all)).collect();
        never_deaf(&[(&[1, 2], all), (&[2, 1], all), (&[2], all)], nodes);
    }

    #[test]
    fn sealing_is_switched_on_in_three_steps_without_a_datagram_lost() {
        let steps = [Unsealed::Send, Unsealed::Accept, Unsealed::Refuse];
        let nodes = (0..3).map(|_| node(&[1], Unsealed::Send)).collect();
        never_deaf(&steps.map(|step| (&[1][..], step)), nodes);
        // The first step itself, beside nodes without a key.
        let (mut old, mut new) = (Sealing::default(), node(&[1], Unsealed::Send));
        assert!(read_by(&mut old, &sent_by(&mut new)).is_ok());
        assert!(read_by(&mut new, &sent_by(&mut old)).is_ok());
    }
}
