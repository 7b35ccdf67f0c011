//! Golden bytes: the format stays what it is, byte by byte.
//!
//! `UPDATE=1 cargo test -p ringrift-wire --test golden` writes `golden.txt` anew; a change of a line
//! that stood there before is a change of the format.

#![cfg(test)]

mod samples;

use core::fmt::Write;
use ringrift_wire::{Kind, MAX_DATAGRAM, cluster_tag, decode, encode};
use samples::{CLUSTER, samples};
use std::collections::BTreeSet;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn every_kind_has_the_bytes_it_has_always_had() {
    let mut now = String::new();
    for (name, envelope) in samples() {
        let mut buffer = [0; MAX_DATAGRAM];
        let length = encode(&envelope, CLUSTER, &mut buffer).unwrap();
        writeln!(now, "{name} {}", hex(&buffer[..length])).unwrap();
        assert_eq!(decode(&buffer[..length], CLUSTER), Ok(envelope), "{name}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    assert_eq!(now, std::fs::read_to_string(path).unwrap());
}

#[test]
fn the_samples_are_of_every_kind() {
    let sampled: BTreeSet<Kind> = samples().iter().map(|(_, it)| it.message.kind()).collect();
    assert_eq!(sampled, BTreeSet::from(Kind::ALL));
}

#[test]
fn the_first_sample_reads_as_the_specification_says() {
    let expected = [
        "5252",             // magic
        "01",               // version
        "00",               // flags
        "78563412",         // cluster tag
        "2a00",             // length: 42
        "6b68fde9",         // checksum, by Python's zlib.crc32
        "8877665544332211", // nonce
        "07",
        "6865747a6e6572", // "hetzner"
        "fc80054369",     // sequence 1,766,000,000
        "01",             // kind: ping
        "c8",             // number 200
        "efbeadde",       // digest
        "00",             // nothing is carried along
    ];
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(&samples()[0].1, CLUSTER, &mut buffer).unwrap();
    assert_eq!(hex(&buffer[..length]), expected.concat());
}

#[test]
fn cluster_tags_are_crc32_of_the_name() {
    assert_eq!(cluster_tag("123456789"), 0xcbf4_3926);
    assert_ne!(cluster_tag("ringrift"), cluster_tag("ringrift-test"));
}
