//! Fields of a fixed layout: numbers and names, little endian, with a checksum at the end.
//!
//! Both directions are bounded by the buffer; a read past its end is `None`, never a panic.

use ringrift_wire::NodeId;

/// Bytes that a name takes: its length, then room for the longest.
const NAME: usize = 64;

/// Fills a buffer from its start; what does not fit is left out and fails the check of
/// [`Writer::seal`].
pub(super) struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
    fits: bool,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0, fits: true }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.at..self.at.saturating_add(bytes.len())) {
            Some(room) => room.copy_from_slice(bytes),
            None => self.fits = false,
        }
        self.at = self.at.saturating_add(bytes.len());
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u128(&mut self, value: u128) {
        self.bytes(&value.to_le_bytes());
    }

    /// A name, or none.
    pub(super) fn name(&mut self, name: Option<NodeId>) {
        let mut field = [0; NAME];
        if let Some(name) = &name {
            let text = name.as_bytes();
            field[0] = text.len() as u8;
            field[1..=text.len()].copy_from_slice(text);
        }
        self.bytes(&field);
    }

    /// Puts the checksum of everything before it into the last four bytes.
    ///
    /// # Panics
    /// The fields are longer than the buffer, which is a mistake in the layout.
    pub(super) fn seal(self) {
        let end = self.buffer.len().saturating_sub(4);
        assert!(self.fits && self.at <= end, "the layout is longer than its buffer");
        let sum = crc32fast::hash(&self.buffer[..end]);
        self.buffer[end..].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Whether the last four bytes are the checksum of the others.
pub(super) fn is_sealed(buffer: &[u8]) -> bool {
    buffer
        .split_last_chunk::<4>()
        .is_some_and(|(content, sum)| crc32fast::hash(content) == u32::from_le_bytes(*sum))
}

/// Reads a buffer from its start.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.bytes().map(u128::from_le_bytes)
    }

    /// A name or none; the outer `None` is a field that is neither.
    pub(super) fn name(&mut self) -> Option<Option<NodeId>> {
        let field = self.bytes::<NAME>()?;
        let (len, text) = field.split_first()?;
        match usize::from(*len) {
            0 => Some(None),
            len => NodeId::from_bytes(text.get(..len)?).ok().map(Some),
        }
    }
}
