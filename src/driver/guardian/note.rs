//! What a node tells its guardian: one JSON object a line.
//!
//! Each replaces what was told before of the same kind, so the last word of a node is all that counts.

use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// The longest line, in bytes: a datagram and its receivers fit several times.
const MAX_LINE: usize = 1 << 16;

/// A program to run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Program and arguments.
    pub command: Vec<String>,
    /// What its environment has besides that of the node.
    pub environment: Vec<(String, String)>,
}

/// One thing that a node tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// Where its gossip socket is bound; without an address, everywhere.
    Bound {
        /// The address.
        ip: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// What is to be said after its death.
    Will {
        /// A datagram, ready to be sent; empty when there is nothing to say.
        datagram: Vec<u8>,
        /// To whom.
        to: Vec<SocketAddr>,
    },
    /// It has work that must end with its lease.
    Working {
        /// If nothing newer was told by then, the node is not able to end its work; nanoseconds of the boot clock.
        act_at: u64,
        /// Everything must have ended by then; likewise.
        end_at: u64,
    },
    /// What ends its work besides killing it; `None` when there is nothing to run.
    Lose(Option<Job>),
    /// It has no work that must end with its lease.
    Idle,
}

impl Note {
    /// The note as a line, with its end.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        // Serialising plain data into memory cannot fail; an empty line says nothing.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    fn of_line(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Lines as they come in, in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes a piece and gives the notes that it completes. What is no note is left out.
    pub(super) fn take(&mut self, piece: &[u8]) -> Vec<Note> {
        self.pending.extend_from_slice(piece);
        let Some(end) = self.pending.iter().rposition(|&byte| byte == b'\n') else {
            if self.pending.len() > MAX_LINE {
                self.pending.clear();
            }
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let lines = core::mem::replace(&mut self.pending, rest);
        lines.split(|&byte| byte == b'\n').filter_map(Note::of_line).collect()
    }
}

/// What a node has told so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) bound: Option<(Option<IpAddr>, u16)>,
    pub(super) will: Option<(Vec<u8>, Vec<SocketAddr>)>,
    pub(super) lose: Option<Job>,
    pub(super) working: Option<Working>,
}

/// Until when a node has to have ended its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Working {
    pub(super) act_at: Instant,
    pub(super) end_at: Instant,
}

impl Told {
    pub(super) fn note(&mut self, note: Note) {
        match note {
            Note::Bound { ip, port } => self.bound = Some((ip, port)),
            Note::Will { datagram, to } => {
                self.will = (!datagram.is_empty()).then_some((datagram, to));
            }
            Note::Working { act_at, end_at } => {
                let [act_at, end_at] = [act_at, end_at].map(Instant::from_nanos);
                self.working = Some(Working { act_at, end_at });
            }
            Note::Lose(job) => self.lose = job,
            Note::Idle => (self.working, self.lose) = (None, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Note> {
        let job = Job {
            command: vec!["/bin/true".into(), "a\nb".into()],
            environment: vec![("RINGRIFT_TERM".into(), "7".into())],
        };
        vec![
            Note::Bound { ip: "127.0.0.1".parse().ok(), port: 8770 },
            Note::Will { datagram: vec![0, 10, 255], to: vec!["[::1]:9".parse().unwrap()] },
            Note::Working { act_at: 5, end_at: u64::MAX },
            Note::Lose(Some(job)),
        ]
    }

    #[test]
    fn notes_arrive_whole_however_they_are_cut() {
        let bytes: Vec<u8> = all().iter().flat_map(Note::to_line).collect();
        for size in [1, 7, bytes.len()] {
            let mut lines = Lines::default();
            let notes: Vec<Note> = bytes.chunks(size).flat_map(|piece| lines.take(piece)).collect();
            assert_eq!(notes, all(), "pieces of {size}");
        }
    }

    #[test]
    fn nonsense_is_left_out_and_takes_no_memory() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"\n{}\nhello\n\"Idle\"\n"), [Note::Idle]);
        for _ in 0..100 {
            assert!(lines.take(&[b'x'; 4096]).is_empty());
        }
        assert!(lines.pending.len() <= MAX_LINE + 4096);
    }

    #[test]
    fn the_last_word_counts_and_idleness_ends_all_work() {
        let mut told = Told::default();
        all().into_iter().for_each(|note| told.note(note));
        assert_eq!(told.working.map(|it| it.act_at), Some(Instant::from_nanos(5)));
        assert!(told.lose.is_some() && told.will.is_some());
        told.note(Note::Idle);
        assert_eq!((told.lose.clone(), told.working), (None, None));
        told.note(Note::Will { datagram: Vec::new(), to: Vec::new() });
        assert_eq!(told.will, None);
    }
}
