//! The node's end of the line to its guardian.
//!
//! 1. Telling never waits: a guardian that does not read costs the node nothing but a bounded queue.
//! 2. What is told leaves before anything that is sent after it, as long as the guardian reads.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::Note;

/// The most notes that wait for a guardian that does not read; the oldest go first.
const MAX_WAITING: usize = 256;

/// The line to the guardian.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    waiting: VecDeque<Vec<u8>>,
    /// How much of the first one has left.
    sent: usize,
}

impl Link {
    /// A line over this socket.
    ///
    /// # Errors
    /// The socket cannot be set not to block.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, waiting: VecDeque::new(), sent: 0 })
    }

    /// The line over the standard input of this process, where its guardian has put it.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    pub fn of_stdin() -> io::Result<Self> {
        Self::new(io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    /// The same socket, to see when the guardian is gone.
    ///
    /// # Errors
    /// The kernel has no file descriptor left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn hearing(&self) -> io::Result<tokio::net::UnixStream> {
        tokio::net::UnixStream::from_std(self.stream.try_clone()?)
    }

    /// Tells, or keeps for later what does not leave now.
    pub fn tell(&mut self, note: &Note) {
        if self.waiting.len() >= MAX_WAITING {
            // The first may have left in part.
            self.waiting.remove(1);
        }
        self.waiting.push_back(note.to_line());
        self.flush();
    }

    /// Sends what waits, as far as the guardian reads. A guardian that is gone is seen elsewhere.
    pub fn flush(&mut self) {
        while let Some(line) = self.waiting.front() {
            match self.stream.write(line.get(self.sent..).unwrap_or_default()) {
                Ok(0) | Err(_) => return,
                Ok(length) => self.sent += length,
            }
            if self.sent >= line.len() {
                self.waiting.pop_front();
                self.sent = 0;
            }
        }
    }
}

/// Waits until the guardian is gone.
pub(in crate::driver) async fn gone(hearing: &tokio::net::UnixStream) {
    let mut nothing = [0; 64];
    loop {
        if hearing.readable().await.is_err() {
            return;
        }
        match hearing.try_read(&mut nothing) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A guardian says nothing; its end or an error of the line is its end.
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::Lines;
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_guardian_that_does_not_read_costs_a_bounded_queue_and_hears_whole_notes_later() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours).unwrap();
        let note = Note::Will { datagram: vec![255; 1_200], to: Vec::new() };
        for _ in 0..1_000 {
            link.tell(&note);
        }
        assert!(link.waiting.len() <= MAX_WAITING);
        link.tell(&Note::Idle);
        theirs.set_nonblocking(true).unwrap();
        let (mut lines, mut heard) = (Lines::default(), Vec::new());
        let mut piece = [0; 4_096];
        while !link.waiting.is_empty() || heard.last() != Some(&Note::Idle) {
            link.flush();
            while let Ok(length) = theirs.read(&mut piece) {
                heard.extend(lines.take(&piece[..length]));
            }
        }
        assert!(heard.iter().rev().skip(1).all(|it| *it == note));
    }

    #[tokio::test]
    async fn the_end_of_the_guardian_is_seen() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours).unwrap();
        let hearing = link.hearing().unwrap();
        drop(theirs);
        gone(&hearing).await;
    }
}
