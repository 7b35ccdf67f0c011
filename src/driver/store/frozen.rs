//! The files of earlier releases, as they must be read for ever.
//!
//! `FREEZE=1 cargo test --lib frozen` writes the folder of the present version, and refuses to where there is one.

use super::slot::{self, FILE, SLOT, STRIDE, Slot};
use super::{Machine, Place, promise};
use crate::election::VoterSet;
use crate::election::record::{Promise, RestoredPromise, VoteRecord};
use crate::election::roster::{self, Roster};
use crate::time::Instant;
use core::time::Duration;
use ringrift_wire::{Boot, NodeId};
use std::path::{Path, PathBuf};
use std::{fs, io};

const KERNEL: u128 = 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00;
const NAMES: [&str; 5] =
    ["nebius-backbone-1", "vultr-a100-20gb", "nebius-h100-3", "hetzner-cpu1", "hetzner-cpu2"];

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

/// What the store of `nebius-backbone-1` says, in the slot of this number.
fn said(sequence: u64, drained: bool) -> Slot {
    Slot {
        sequence,
        boot: Boot { sequence: 1_790_000_000, nonce: 0x0102_0304_0506_0708 },
        machine: Machine { id: Some(77), kernel_boot: Some(KERNEL) },
        place: Place { device: 2049, inode: 1234 },
        record: Some(VoteRecord {
            term: 1_790_000_000 + sequence,
            voted_for: Some(id("hetzner-cpu1")),
            nonce: 5,
            longest_lease: Duration::from_millis(400),
            set_version: 1,
            led_version: 1,
            drained,
        }),
        owner: roster::hash(id(NAMES[0])),
        unclean: [9, 8, 7, 6, 5, 4, 3, 2],
        roster: Some(Roster::of(&VoterSet::new(&NAMES.map(id), 1))),
    }
}

fn promised() -> RestoredPromise {
    let until = Instant::from_nanos(99_000_000_000);
    RestoredPromise::Exact(Some(Promise { to: id("hetzner-cpu1"), nonce: 5, term: 7, until }))
}

/// Writes what the tests below read, in the form of this program.
#[test]
fn a_release_is_frozen_once() {
    if std::env::var_os("FREEZE").is_none() {
        return;
    }
    let folder = folder(env!("CARGO_PKG_VERSION"));
    let new = |name: &str, content: &[u8]| {
        let mut file = fs::File::create_new(folder.join(name)).expect("a fixture is never changed");
        io::Write::write_all(&mut file, content).unwrap();
    };
    for (name, drained) in [("votes", false), ("votes-drained", true)] {
        let mut content = vec![0; FILE];
        content[..SLOT].copy_from_slice(&slot::encode(&said(6, false)));
        content[STRIDE..STRIDE + SLOT].copy_from_slice(&slot::encode(&said(7, drained)));
        new(name, &content);
    }
    new("promise", &promise::encode(KERNEL, 0x0102_0304_0506_0708, &promised()));
    let mut sealed = String::new();
    for line in fs::read_to_string(folder.join("datagrams.txt")).unwrap().lines() {
        let (name, hex) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect();
        let mut buffer = [0; ringrift_wire::MAX_DATAGRAM];
        buffer[..bytes.len()].copy_from_slice(&bytes);
        let key = ringrift_wire::Key::new([1; ringrift_wire::Key::LEN]);
        let length = ringrift_wire::seal(&key, 7, &mut buffer, bytes.len()).unwrap();
        let hex: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
        sealed += &format!("{name} {hex}\n");
    }
    new("sealed.txt", sealed.as_bytes());
}

#[test]
fn the_votes_of_0_1_0_say_what_they_said() {
    for (name, drained) in [("votes", false), ("votes-drained", true)] {
        let content = fs::read(folder("0.1.0").join(name)).unwrap();
        assert_eq!(content.len(), FILE);
        assert_eq!(slot::newest(&content), Ok(Some((1, said(7, drained)))), "{name}");
        assert_eq!(slot::decode(&content[..SLOT]), Ok(Some(said(6, false))));
        // And this release writes what that one reads.
        assert_eq!(content[STRIDE..STRIDE + SLOT], slot::encode(&said(7, drained)));
    }
}

#[test]
fn the_promise_of_0_1_0_says_what_it_said() {
    let path = folder("0.1.0").join("promise");
    let boot = Boot { sequence: 1, nonce: 0x0102_0304_0506_0708 };
    assert_eq!(promise::read(&path, Some(KERNEL), boot), Some(promised()));
    let now = promise::encode(KERNEL, boot.nonce, &promised());
    assert_eq!(fs::read(&path).unwrap(), now);
}
