//! The shield: under a flood of what is refused anyway, the kernel drops it before it is queued.
//!
//! A socket filter that knows how each datagram of this cluster begins costs the node nothing for what begins
//! otherwise. But what the kernel drops nobody counts by its reason, and those counts are how an operator
//! finds a wrong cluster name or a wrong key. So the filter is set only while there is a flood.
//!
//! 1. It is set when more than [`FLOOD`] datagrams were refused within [`WINDOW`], and taken away after
//!    [`HELD`]: if the flood goes on, it is back within a window.
//! 2. It lets everything pass that the node would not refuse for how it begins.
//! 3. A system without such filters serves all the same.

use core::time::Duration;
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use std::io;
use std::net::UdpSocket;
use tracing::{debug, info};

use crate::time::Instant;

/// How many refused datagrams within a [`WINDOW`] are a flood.
pub const FLOOD: u32 = 1_000;

/// The time over which they are counted.
pub const WINDOW: Duration = Duration::from_millis(100);

/// How long the filter stays.
pub const HELD: Duration = Duration::from_secs(10);

/// What an unsealed datagram of this cluster begins with: magic, version, flags and tag.
pub type Beginning = [u8; 8];

/// Which datagrams are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Those in the clear.
    Plain,
    /// Those that are sealed.
    Sealed,
    /// Both.
    Both,
}

/// Of one node's sockets.
#[derive(Debug)]
pub struct Shield {
    beginning: Beginning,
    refused: u32,
    window_ends: Instant,
    up_until: Option<Instant>,
}

impl Shield {
    /// A lowered one, for datagrams that begin like this.
    #[must_use]
    pub const fn new(beginning: Beginning) -> Self {
        Self { beginning, refused: 0, window_ends: Instant::ZERO, up_until: None }
    }

    /// So many datagrams were refused for how they begin; tells whether that makes a flood.
    pub fn refused(&mut self, now: Instant, count: u32) -> bool {
        if now >= self.window_ends {
            self.window_ends = now + WINDOW;
            self.refused = 0;
        }
        self.refused = self.refused.saturating_add(count);
        self.refused > FLOOD && self.up_until.is_none()
    }

    /// Sets the filter on these sockets.
    pub fn raise<'a>(
        &mut self,
        now: Instant,
        kinds: Kinds,
        sockets: impl Iterator<Item = &'a UdpSocket>,
    ) {
        self.up_until = Some(now + HELD);
        for socket in sockets {
            if let Err(error) = set_filter(socket, self.beginning, kinds) {
                debug!(%error, "no filter against the flood");
                return;
            }
        }
        info!(seconds = HELD.as_secs(), "a flood of foreign datagrams: the kernel drops them");
    }

    /// Takes it away when its time is over.
    pub fn lower<'a>(&mut self, now: Instant, sockets: impl Iterator<Item = &'a UdpSocket>) {
        if self.up_until.is_some_and(|until| now >= until) {
            self.up_until = None;
            (self.refused, self.window_ends) = (0, Instant::ZERO);
            for socket in sockets {
                remove_filter(socket);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn set_filter(socket: &UdpSocket, beginning: Beginning, kinds: Kinds) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&filter(beginning, kinds))
}

#[cfg(not(target_os = "linux"))]
fn set_filter(_: &UdpSocket, _: Beginning, _: Kinds) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn remove_filter(socket: &UdpSocket) {
    // There may be none on it.
    let _ = SockRef::from(socket).detach_filter();
}

#[cfg(not(target_os = "linux"))]
const fn remove_filter(_: &UdpSocket) {}

/// Keeps what begins like this. Places are counted from the UDP header; to load from beyond the end of a
/// datagram drops it.
#[cfg(target_os = "linux")]
fn filter(beginning: Beginning, kinds: Kinds) -> [SockFilter; 7] {
    const LOAD_WORD: u16 = 0x20;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// The flag of a sealed datagram.
    const SEALED: u8 = 1;
    /// The length of a UDP header.
    const DATA: u32 = 8;
    let [a, b, c, d, tag @ ..] = beginning;
    let (mask, d) = match kinds {
        Kinds::Plain => (u32::MAX, d),
        Kinds::Sealed => (u32::MAX, d | SEALED),
        Kinds::Both => (0xffff_ff00, d),
    };
    let step = |code, value| SockFilter::new(code, 0, 0, value);
    let or_drop = |steps, value| SockFilter::new(JUMP_IF_EQUAL, 0, steps, value);
    [
        step(LOAD_WORD, DATA),
        step(AND, mask),
        or_drop(3, u32::from_be_bytes([a, b, c, d]) & mask),
        step(LOAD_WORD, DATA + 4),
        or_drop(1, u32::from_be_bytes(tag)),
        step(RETURN, u32::MAX),
        step(RETURN, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Beginning = *b"RR\x01\x00\xaa\xbb\xcc\xdd";

    #[test]
    fn only_many_in_a_short_time_are_a_flood_and_the_filter_goes_after_its_time() {
        let mut shield = Shield::new(OURS);
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        assert!(!shield.refused(at(0), FLOOD));
        assert!(!shield.refused(at(100), FLOOD), "another window");
        assert!(shield.refused(at(199), 1));
        shield.raise(at(199), Kinds::Plain, core::iter::empty());
        assert!(!shield.refused(at(200), FLOOD + 1), "it is up");
        shield.lower(at(10_198), core::iter::empty());
        assert!(!shield.refused(at(10_198), FLOOD + 1));
        shield.lower(at(10_199), core::iter::empty());
        assert!(shield.refused(at(10_199), FLOOD + 1), "the flood goes on");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_filter_keeps_what_begins_well_and_drops_the_rest() {
        let Ok(ours) = UdpSocket::bind("127.0.0.1:0") else { return };
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ours.local_addr().unwrap();
        let said: [&[u8]; 8] = [
            b"RR\x01\x00\xaa\xbb\xcc\xdd, unsealed",
            b"RR\x01\x01\xaa\xbb\xcc\xdc, another cluster",
            b"RR\x02\x01\xaa\xbb\xcc\xdd, another version",
            b"RS\x01\x01\xaa\xbb\xcc\xdd, no magic",
            b"RR\x01\x01\xaa\xbb\xcc",
            b"",
            b"RR\x01\x01\xaa\xbb\xcc\xdd, ours",
            b"RR\x01\x01\xaa\xbb\xcc\xdd",
        ];
        let mut buffer = [0; 64];
        let mut shield = Shield::new(OURS);
        for (kinds, kept) in
            [(Kinds::Plain, &[0][..]), (Kinds::Sealed, &[6, 7]), (Kinds::Both, &[0, 6, 7])]
        {
            shield.raise(Instant::ZERO, kinds, core::iter::once(&ours));
            said.iter().for_each(|it| assert!(sender.send_to(it, to).is_ok()));
            for &expected in kept {
                let length = ours.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], said[expected], "{kinds:?}");
            }
        }
        shield.lower(Instant::ZERO + HELD, core::iter::once(&ours));
        sender.send_to(said[3], to).unwrap();
        assert_eq!(ours.recv(&mut buffer).unwrap(), said[3].len(), "and nothing was left before");
    }
}
