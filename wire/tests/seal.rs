//! Sealed datagrams: what opens them, and what is refused.

#![cfg(test)]

mod samples;

use proptest::prelude::*;
use ringrift_wire::{
    DecodeError, EncodeError, Key, MAX_DATAGRAM, Message, SEAL_LEN, decode, encode, is_sealed,
    open, seal,
};
use samples::{CLUSTER, samples};

fn key(byte: u8) -> Key {
    Key::new([byte; Key::LEN])
}

fn plain(at: usize) -> Vec<u8> {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(&samples()[at].1, CLUSTER, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn sealed(datagram: &[u8], key: &Key, counter: u64) -> Vec<u8> {
    let mut buffer = [0; MAX_DATAGRAM];
    buffer[..datagram.len()].copy_from_slice(datagram);
    let length = seal(key, counter, &mut buffer, datagram.len()).unwrap();
    buffer[..length].to_vec()
}

/// Makes the checksum right again, as a forger would.
fn mend(datagram: &mut [u8]) {
    datagram[10..14].fill(0);
    let checksum = crc32fast::hash(datagram);
    datagram[10..14].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn every_sample_comes_back_from_its_sealed_form() {
    for (at, (name, envelope)) in samples().into_iter().enumerate() {
        let before = plain(at);
        let mut datagram = sealed(&before, &key(1), 7);
        assert_eq!(datagram.len(), before.len() + SEAL_LEN, "{name}");
        assert!(is_sealed(&datagram) && !is_sealed(&before));
        assert_eq!(decode(&datagram, CLUSTER), Err(DecodeError::Sealed));
        let opened = open([&key(1)], CLUSTER, &mut datagram).unwrap();
        assert_eq!((opened.counter, opened.key, opened.nonce), (7, 0, envelope.boot.nonce));
        assert_eq!(datagram[..opened.length], before);
        assert_eq!(decode(&datagram[..opened.length], CLUSTER), Ok(envelope), "{name}");
    }
}

#[test]
fn the_sealed_form_is_what_other_programs_make() {
    // By PyCryptodome: ChaCha20_Poly1305.new(key=bytes([1])*32, nonce=...), header as associated data.
    let golden = include_str!("sealed.txt").trim();
    let hex: String = sealed(&plain(0), &key(1), 7).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, golden);
}

#[test]
fn another_key_does_not_open_it_and_any_of_several_does() {
    let before = sealed(&plain(0), &key(2), 1);
    let mut datagram = before.clone();
    assert_eq!(open([&key(1)], CLUSTER, &mut datagram), Err(DecodeError::Seal));
    assert_eq!(open([], CLUSTER, &mut datagram), Err(DecodeError::Seal));
    assert_eq!(datagram, before, "what does not open stays what it is");
    assert_eq!(open([&key(1), &key(2)], CLUSTER, &mut datagram).unwrap().key, 1);
}

#[test]
fn a_plain_datagram_and_one_of_another_cluster_do_not_open() {
    assert_eq!(open([&key(1)], CLUSTER, &mut plain(0)), Err(DecodeError::Unsealed));
    let mut datagram = sealed(&plain(0), &key(1), 1);
    assert_eq!(open([&key(1)], CLUSTER + 1, &mut datagram), Err(DecodeError::Cluster));
}

#[test]
fn any_flipped_bit_is_refused_even_with_the_checksum_made_right() {
    let datagram = sealed(&plain(0), &key(1), 9);
    for bit in 0..datagram.len() * 8 {
        let mut changed = datagram.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(open([&key(1)], CLUSTER, &mut changed.clone()).is_err(), "bit {bit}");
        // A forger cannot break the checksum's own bytes: mending restores them.
        if !(10..14).contains(&(bit / 8)) {
            mend(&mut changed);
            assert!(open([&key(1)], CLUSTER, &mut changed).is_err(), "bit {bit}, mended");
        }
    }
}

#[test]
fn no_length_that_is_too_short_opens_or_panics() {
    let datagram = sealed(&plain(0), &key(1), 9);
    for length in 0..datagram.len() {
        let mut cut = datagram[..length].to_vec();
        if length >= 22 {
            let said = u16::try_from(length).unwrap();
            cut[8..10].copy_from_slice(&said.to_le_bytes());
            mend(&mut cut);
        }
        assert!(open([&key(1)], CLUSTER, &mut cut).is_err(), "{length} bytes");
    }
}

#[test]
fn what_is_filled_to_its_room_can_be_sealed_and_no_more() {
    let mut buffer = [0; MAX_DATAGRAM];
    let most = MAX_DATAGRAM - SEAL_LEN;
    assert_eq!(seal(&key(1), 1, &mut buffer, most), Ok(MAX_DATAGRAM));
    assert_eq!(seal(&key(1), 1, &mut buffer, most + 1), Err(EncodeError::TooLong));
    assert_eq!(seal(&key(1), 1, &mut buffer, usize::MAX), Err(EncodeError::TooLong));
    for (name, envelope) in samples() {
        if matches!(envelope.message, Message::Ping(_) | Message::Gossip(_)) {
            let room = envelope.message.room(envelope.sender, envelope.boot);
            assert!(envelope.encoded_len() + room <= most || room == 0, "{name}");
        }
    }
}

#[test]
fn a_key_is_64_hexadecimal_digits_and_is_never_shown() {
    let text = "00ff".repeat(16);
    let parsed: Key = text.parse().unwrap();
    let mut bytes = [0; Key::LEN];
    bytes.chunks_mut(2).for_each(|pair| pair[1] = 0xff);
    assert_eq!(parsed.id(), Key::new(bytes).id());
    assert_ne!(parsed.id(), key(1).id());
    assert_eq!(format!("{parsed:?}"), format!("Key({})", parsed.id()));
    for bad in ["", "00", &text[1..], &format!("{text}0"), &text.replace("ff", "fg")] {
        let error = bad.parse::<Key>().unwrap_err();
        assert_eq!(error.to_string(), "a key is 64 hexadecimal digits");
    }
    assert!("é".repeat(32).parse::<Key>().is_err());
}

proptest! {
    #[test]
    fn what_opens_seals_to_the_same_bytes(counter: u64, at in 0..samples().len(), secret: [u8; 32]) {
        let secret = Key::new(secret);
        let before = sealed(&plain(at), &secret, counter);
        let mut datagram = before.clone();
        let opened = open([&secret], CLUSTER, &mut datagram).unwrap();
        prop_assert_eq!(sealed(&datagram[..opened.length], &secret, opened.counter), before);
    }

    #[test]
    fn any_bytes_open_to_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..1_300)) {
        prop_assert!(open([&key(1)], CLUSTER, &mut bytes).is_err());
    }
}
