//! The two slots of the vote store: their layout, and the rule by which they are written in turn.
//!
//! The slots lie 4,096 bytes apart, so that no sector of any disk holds a byte of both.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | `RRVOTES` and a zero |
//! | 8..12 | format version, 1 |
//! | 12..20 | slot sequence: the higher of two valid slots counts |
//! | 20..36 | sequence and nonce of the last process start |
//! | 36..52 | machine id, 0 without one |
//! | 52..68 | the kernel's boot id, 0 without one |
//! | 68..84 | place: device and inode of this file |
//! | 84 | flags: 1 there is a record, 2 drained |
//! | 85..149 | voted for: length and name, length 0 for nobody |
//! | 149..165 | term, nonce |
//! | 165..173 | longest lease, nanoseconds |
//! | 173..181 | `set_version`, `led_version` |
//! | 181..245 | Unix seconds of the last eight starts after an end that was not clean, newest first, 0 for none |
//! | 245..253 | the FNV-1a hash of the name of the node whose store this is, 0 where that was not kept |
//! | 259 | how many voters it last took part with, 0 where that was not kept |
//! | 260..508 | the FNV-1a hashes of their names, 0 behind the last |
//! | 508..512 | CRC32 of all before it |
//!
//! All numbers are little endian; what is not named is zero and reserved. Magic, version and the
//! place of the checksum are the same in every version.
//!
//! 1. A write never touches the slot that was last known to be on stable storage: a write that is
//!    torn, or an fdatasync that fails, leaves that one as it was. After a failure the page cache
//!    may show what the disk does not hold, so the same slot is written again, never the other.
//! 2. A slot without a valid checksum does not exist.

use core::time::Duration;
use ringrift_wire::Boot;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::fields::{Reader, Writer, is_sealed};
use super::{Machine, Place, UncleanStarts};
use crate::election::record::VoteRecord;
use crate::election::roster::{MAX_ROSTER, Roster};

/// Length of a slot in bytes.
pub(super) const SLOT: usize = 512;
/// Distance of the slots in bytes.
pub(super) const STRIDE: usize = 4_096;
/// Length of the file in bytes.
pub(super) const FILE: usize = 2 * STRIDE;

const MAGIC: &[u8; 8] = b"RRVOTES\0";
/// The version that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

const HAS_RECORD: u8 = 1;
const DRAINED: u8 = 2;

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Orders the slots.
    pub(super) sequence: u64,
    /// The last process start.
    pub(super) boot: Boot,
    /// Where that process ran.
    pub(super) machine: Machine,
    /// The file that it wrote.
    pub(super) place: Place,
    /// The record; `None` until the voter has one.
    pub(super) record: Option<VoteRecord>,
    /// The hash of the name of the node whose store this is; 0 where that was not kept.
    pub(super) owner: u64,
    /// Unix seconds of starts after an end that was not clean, newest first, 0 for none.
    pub(super) unclean: UncleanStarts,
    /// The voters of the record's `set_version`; `None` where they were not kept.
    pub(super) roster: Option<Roster>,
}

/// Length of the fields of a record in bytes, the flags before them not counted.
const RECORD: usize = 96;

/// Bytes between the owner and the voters that say nothing yet.
const RESERVED: usize = 6;

/// The bytes of a slot.
pub(super) fn encode(slot: &Slot) -> [u8; SLOT] {
    let mut bytes = [0; SLOT];
    let mut to = Writer::new(&mut bytes);
    to.bytes(MAGIC);
    to.u32(VERSION);
    to.u64(slot.sequence);
    to.u64(slot.boot.sequence);
    to.u64(slot.boot.nonce);
    to.u128(slot.machine.id.unwrap_or(0));
    to.u128(slot.machine.kernel_boot.unwrap_or(0));
    to.u64(slot.place.device);
    to.u64(slot.place.inode);
    if let Some(record) = &slot.record {
        to.u8(HAS_RECORD | if record.drained { DRAINED } else { 0 });
        to.name(record.voted_for);
        to.u64(record.term);
        to.u64(record.nonce);
        to.u64(u64::try_from(record.longest_lease.as_nanos()).unwrap_or(u64::MAX));
        to.u32(record.set_version);
        to.u32(record.led_version);
    } else {
        to.u8(0);
        to.bytes(&[0; RECORD]);
    }
    for start in slot.unclean {
        to.u64(start);
    }
    to.u64(slot.owner);
    to.bytes(&[0; RESERVED]);
    to.u8(slot.roster.map_or(0, |roster| roster.count()));
    for name in slot.roster.map_or([0; MAX_ROSTER], |roster| *roster.places()) {
        to.u64(name);
    }
    to.seal();
    bytes
}

/// What these bytes say; nothing when they were never written, are torn or damaged.
///
/// # Errors
/// The format version of a later program.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Slot>, u32> {
    if bytes.len() != SLOT || !is_sealed(bytes) {
        return Ok(None);
    }
    let mut from = Reader(bytes);
    if from.bytes() != Some(*MAGIC) {
        return Ok(None);
    }
    match from.u32() {
        Some(VERSION) => Ok(fields(&mut from)),
        Some(newer) if newer > VERSION => Err(newer),
        _ => Ok(None),
    }
}

fn fields(from: &mut Reader<'_>) -> Option<Slot> {
    let sequence = from.u64()?;
    let boot = Boot { sequence: from.u64()?, nonce: from.u64()? };
    let machine = Machine {
        id: Some(from.u128()?).filter(|&id| id != 0),
        kernel_boot: Some(from.u128()?).filter(|&id| id != 0),
    };
    let place = Place { device: from.u64()?, inode: from.u64()? };
    let flags = from.u8()?;
    let record = if flags & HAS_RECORD == 0 {
        from.bytes::<RECORD>()?;
        None
    } else {
        Some(VoteRecord {
            voted_for: from.name()?,
            term: from.u64()?,
            nonce: from.u64()?,
            longest_lease: Duration::from_nanos(from.u64()?),
            set_version: from.u32()?,
            led_version: from.u32()?,
            drained: flags & DRAINED != 0,
        })
    };
    let mut unclean = UncleanStarts::default();
    for start in &mut unclean {
        *start = from.u64()?;
    }
    let owner = from.u64()?;
    from.bytes::<RESERVED>()?;
    let count = from.u8()?;
    let mut names = [0; MAX_ROSTER];
    for name in &mut names {
        *name = from.u64()?;
    }
    let roster = Roster::stored(count, names);
    Some(Slot { sequence, boot, machine, place, record, owner, unclean, roster })
}

/// Where slots are written to.
pub(super) trait Medium: Send {
    /// Writes at this offset and returns when it is on stable storage.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)?;
        self.sync_data()
    }
}

/// The slots of an open store, and which of them must not be touched.
pub(super) struct Slots<M> {
    medium: M,
    /// Index of the slot that is on stable storage.
    safe: u64,
    /// What it says.
    newest: Slot,
}

impl<M: Medium> Slots<M> {
    /// The slots of a medium whose slot number `safe` says `newest`.
    pub(super) const fn new(medium: M, safe: u64, newest: Slot) -> Self {
        Self { medium, safe, newest }
    }

    /// What the newest slot on stable storage says.
    pub(super) const fn newest(&self) -> &Slot {
        &self.newest
    }

    /// Writes the newest slot once more, byte by byte the same: a predecessor whose fdatasync failed
    /// may have left it in the page cache alone. The same bytes over themselves cannot be torn.
    pub(super) fn harden(&mut self) -> io::Result<()> {
        self.medium.write(self.safe * STRIDE as u64, &encode(&self.newest))
    }

    /// Writes the next slot into the place of the older one.
    ///
    /// # Errors
    /// It is not known to be on stable storage; the newest slot is what it was.
    pub(super) fn write(&mut self, change: impl FnOnce(&mut Slot)) -> io::Result<()> {
        let mut next = self.newest;
        change(&mut next);
        next.sequence = self.newest.sequence.saturating_add(1);
        let other = 1 - self.safe;
        self.medium.write(other * STRIDE as u64, &encode(&next))?;
        self.safe = other;
        self.newest = next;
        Ok(())
    }
}

/// The newest valid slot of a file's content and its index.
///
/// # Errors
/// The version of a slot that is newer than this program.
pub(super) fn newest(content: &[u8]) -> Result<Option<(u64, Slot)>, u32> {
    let mut newest: Option<(u64, Slot)> = None;
    for index in 0..2_u8 {
        let at = usize::from(index) * STRIDE;
        if let Some(slot) = decode(content.get(at..at + SLOT).unwrap_or_default())?
            && newest.is_none_or(|(_, best)| best.sequence < slot.sequence)
        {
            newest = Some((u64::from(index), slot));
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::VoterSet;

    fn roster() -> Roster {
        Roster::of(&VoterSet::new(&["a".parse().unwrap(), "b".parse().unwrap()], 3))
    }

    fn slot(sequence: u64) -> Slot {
        Slot {
            sequence,
            boot: Boot { sequence: 1_790_000_000, nonce: 0x0102_0304_0506_0708 },
            machine: Machine { id: Some(77), kernel_boot: Some(u128::MAX) },
            place: Place { device: 2049, inode: 1234 },
            record: Some(VoteRecord {
                term: 1_790_000_000 + sequence,
                voted_for: Some("hetzner-cpu1".parse().unwrap()),
                nonce: 5,
                longest_lease: Duration::from_millis(400),
                set_version: 3,
                led_version: 2,
                drained: true,
            }),
            owner: 0x1122_3344_5566_7788,
            unclean: [9, 8, 7, 6, 5, 4, 3, 2],
            roster: Some(roster()),
        }
    }

    /// The content of a file, in memory.
    struct Memory(Vec<u8>);

    impl Medium for Memory {
        fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    /// Takes the bytes, then says that they are not stable.
    struct Failing {
        offsets: Vec<u64>,
        failures: u32,
    }

    impl Medium for Failing {
        fn write(&mut self, offset: u64, _: &[u8]) -> io::Result<()> {
            self.offsets.push(offset);
            if self.failures == 0 {
                return Ok(());
            }
            self.failures -= 1;
            Err(io::Error::other("injected"))
        }
    }

    #[test]
    fn every_field_comes_back() {
        let bare = Slot {
            machine: Machine { id: None, kernel_boot: None },
            record: slot(1).record.map(|record| VoteRecord { voted_for: None, ..record }),
            ..slot(1)
        };
        for slot in [slot(1), bare, Slot { record: None, roster: None, ..slot(2) }] {
            assert_eq!(decode(&encode(&slot)), Ok(Some(slot)));
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = encode(&slot(6));
        assert_eq!(bytes[..20], *b"RRVOTES\0\x01\0\0\0\x06\0\0\0\0\0\0\0");
        assert_eq!(bytes[68..70], 2049_u16.to_le_bytes());
        assert_eq!((bytes[84], bytes[85], &bytes[86..98]), (3, 12, b"hetzner-cpu1".as_slice()));
        assert_eq!(bytes[149..157], 1_790_000_006_u64.to_le_bytes());
        assert_eq!(bytes[173..181], [3, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(bytes[181..189], 9_u64.to_le_bytes());
        assert_eq!(bytes[245..253], 0x1122_3344_5566_7788_u64.to_le_bytes());
        assert!(bytes[253..259].iter().all(|&byte| byte == 0));
        assert_eq!(bytes[259], 2);
        assert_eq!(bytes[260..268], roster().places()[0].to_le_bytes());
        assert!(bytes[276..508].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_slot_from_before_the_owner_and_the_roster_is_read() {
        let mut bytes = encode(&slot(1));
        bytes[245..508].fill(0);
        let sum = crc32fast::hash(&bytes[..SLOT - 4]);
        bytes[SLOT - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(decode(&bytes), Ok(Some(Slot { owner: 0, roster: None, ..slot(1) })));
    }

    #[test]
    fn a_slot_with_any_byte_changed_is_nothing() {
        for at in 0..SLOT {
            let mut bytes = encode(&slot(1));
            bytes[at] ^= 0x10;
            assert_eq!(decode(&bytes), Ok(None), "byte {at}");
        }
    }

    #[test]
    fn a_write_torn_at_any_byte_leaves_the_older_slot() {
        let mut slots = Slots::new(Memory(vec![0; FILE]), 1, slot(0));
        slots.write(|next| *next = slot(1)).unwrap();
        slots.write(|next| *next = slot(2)).unwrap();
        let before = slots.medium.0.clone();
        slots.write(|next| *next = slot(3)).unwrap();
        let after = slots.medium.0;
        assert_eq!(newest(&before), Ok(Some((1, slot(2)))));
        assert_eq!(newest(&after), Ok(Some((0, slot(3)))));
        for cut in 0..SLOT {
            // From the front and from the back: sectors arrive in any order.
            for torn in [
                [&after[..cut], &before[cut..]].concat(),
                [&before[..SLOT - cut], &after[SLOT - cut..]].concat(),
            ] {
                let left = if torn == after { (0, slot(3)) } else { (1, slot(2)) };
                assert_eq!(newest(&torn), Ok(Some(left)), "torn at byte {cut}");
            }
        }
    }

    #[test]
    fn a_newer_version_is_named_and_not_read() {
        let mut bytes = encode(&slot(1));
        bytes[8] = 2;
        let sum = crc32fast::hash(&bytes[..SLOT - 4]);
        bytes[SLOT - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(decode(&bytes), Err(2));
        let mut file = vec![0; FILE];
        file[..SLOT].copy_from_slice(&encode(&slot(9)));
        file[STRIDE..STRIDE + SLOT].copy_from_slice(&bytes);
        assert_eq!(newest(&file), Err(2));
    }

    #[test]
    fn a_failed_write_is_repeated_in_its_own_slot_and_never_over_the_safe_one() {
        let mut slots = Slots::new(Failing { offsets: Vec::new(), failures: 2 }, 0, slot(1));
        assert!(slots.write(|next| *next = slot(2)).is_err());
        assert!(slots.write(|next| *next = slot(3)).is_err());
        assert_eq!(slots.newest(), &slot(1));
        slots.write(|next| *next = slot(3)).unwrap();
        assert_eq!(slots.newest().record, slot(3).record);
        slots.write(|next| *next = slot(4)).unwrap();
        assert_eq!(slots.medium.offsets, [STRIDE as u64, STRIDE as u64, STRIDE as u64, 0]);
    }
}
