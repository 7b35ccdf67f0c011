//! The later versions of the datagrams' format that peers speak, as people are told of them.
//!
//! Such a datagram is refused and counted like any other that cannot be read. That a peer has been upgraded past what
//! this program understands is worth a line in the log, and no more than one for each version.

use core::net::SocketAddr;
use ringrift_wire::{DecodeError, VERSION};
use tracing::warn;

/// The highest version that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Newer(Option<u8>);

impl Newer {
    /// A datagram from there was refused for that reason; tells whether it was news.
    pub(super) fn seen(&mut self, error: DecodeError, from: SocketAddr) -> bool {
        let DecodeError::Version(version) = error else { return false };
        let news = version > self.0.unwrap_or(VERSION);
        if news {
            self.0 = Some(version);
            warn!(
                %from, version, own_version = VERSION,
                "a peer speaks a later format of datagrams, which this program cannot read: upgrade this node"
            );
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_later_version_is_told_once_and_nothing_else_is() {
        let from = "127.0.0.2:8770".parse().unwrap();
        let mut newer = Newer::default();
        let seen = [0, VERSION, VERSION + 1, VERSION + 1, VERSION + 2, VERSION + 1]
            .map(|version| newer.seen(DecodeError::Version(version), from));
        assert_eq!(seen, [false, false, true, false, true, false]);
        assert!(!newer.seen(DecodeError::Magic, from));
    }
}
