//! Server-sent events, from bytes in pieces of any size.
//!
//! Decides what an event is; comments and unknown fields are passed over. What an event means is the
//! reader's matter.
//!
//! Invariants:
//! 1. However the bytes are cut, the events are the same.
//! 2. An event longer than [`MAX_EVENT_BYTES`] is an error, before it is held.

use core::fmt;

/// The longest event, in bytes.
pub const MAX_EVENT_BYTES: usize = 64 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id; that of an earlier event when it has none of its own.
    pub id: String,
    /// Its name; empty when it has none.
    pub name: String,
    /// Its data, lines joined by line feeds.
    pub data: String,
}

/// An event is longer than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event is longer than {MAX_EVENT_BYTES} bytes")
    }
}

impl std::error::Error for TooLong {}

/// Reads one stream from its beginning.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// A carriage return ended the last line: a line feed that follows belongs to it.
    after_return: bool,
    id: String,
    name: String,
    data: Option<String>,
    held: usize,
}

impl Reader {
    /// A reader of a stream that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, and gives the events that they complete.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is of no use from there on.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_of_line()),
                _ => {
                    self.held += 1;
                    if self.held > MAX_EVENT_BYTES {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let line = core::mem::take(&mut self.line);
        if line.is_empty() {
            self.held = 0;
            let name = core::mem::take(&mut self.name);
            let data = self.data.take()?;
            return Some(Event { id: self.id.clone(), name, data });
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            // A comment, which does not count towards the event.
            "" => self.held = self.held.saturating_sub(line.len()),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "retry: 1000\n\nid: a-1\nevent: state\ndata: {\"x\":1}\n\n: keep-alive\n\n\
                          event: leader_changed\r\ndata: one\r\ndata:two\r\n\r\nid\ndata\n\n";

    fn told() -> Vec<Event> {
        let event = |id: &str, name: &str, data: &str| Event {
            id: id.to_owned(),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        vec![
            event("a-1", "state", "{\"x\":1}"),
            event("a-1", "leader_changed", "one\ntwo"),
            event("", "", ""),
        ]
    }

    #[test]
    fn events_are_read_and_comments_passed_over() {
        assert_eq!(Reader::new().read(STREAM.as_bytes()), Ok(told()));
    }

    /// Invariant 2.
    #[test]
    fn a_stream_without_an_end_is_an_error_and_one_of_comments_is_not() {
        let mut reader = Reader::new();
        let piece = [b'x'; 1_024];
        let mut pieces = (0..65).map(|_| reader.read(&piece));
        assert_eq!(pieces.find(Result::is_err), Some(Err(TooLong)));
        let mut reader = Reader::new();
        for _ in 0..100_000 {
            assert_eq!(reader.read(b": keep-alive\n"), Ok(vec![]));
        }
        let mut reader = Reader::new();
        let many = (0..10_000).map(|_| reader.read(b"data: 0123456789\n"));
        assert!(many.into_iter().any(|read| read.is_err()));
    }

    proptest! {
        /// Invariant 1.
        #[test]
        fn however_it_is_cut_it_reads_the_same(cuts in prop::collection::vec(1..20_usize, 200)) {
            let (mut reader, mut rest, mut events) = (Reader::new(), STREAM.as_bytes(), vec![]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                events.extend(reader.read(piece).unwrap());
                rest = after;
            }
            prop_assert_eq!(events, told());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Reader::new().read(&bytes);
        }
    }
}
