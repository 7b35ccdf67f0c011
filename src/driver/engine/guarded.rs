//! What a guarded node tells its guardian, and when.
//!
//! 1. What is to be said after a death is told before the first message that makes it true leaves.

use ringrift_wire::{Envelope, encode};
use std::sync::Arc;
use tracing::warn;

use super::{Engine, Machine, Outgoing};
use crate::driver::clock::Clock;
use crate::driver::guardian::{Link, Note};
use crate::driver::sealing::{Unsealed, ring::Ring};
use crate::node::{Event, Farewell, Output, Write};

/// The line to the guardian, and what was told last.
#[derive(Debug)]
pub(super) struct Guarded {
    link: Link,
    told: Option<Farewell>,
}

impl Guarded {
    /// Sends what waits.
    pub(super) fn flush(&mut self) {
        self.link.flush();
    }
}

/// Whether this output can belong to another last word than before: a term in which this node stands, or
/// another address of a voter.
pub(super) const fn changes_farewell(output: &Output) -> bool {
    matches!(
        output,
        Output::Persist { write: Write::Record(_), .. } | Output::Notify(Event::Member(_))
    )
}

impl<M: Machine, S: Outgoing, C: Clock> Engine<M, S, C> {
    /// Has a guardian from now on.
    pub fn guard(&mut self, link: Link) {
        self.guarded = Some(Guarded { link, told: None });
    }

    /// Tells the guardian what else waits for it.
    pub(super) fn tell(&mut self, note: &Note) {
        if let Some(guarded) = &mut self.guarded {
            guarded.link.tell(note);
        }
    }

    /// Tells the guardian that this node ends in good order: nothing is left to be said or done.
    pub fn part(&mut self) {
        self.tell(&Note::Will { datagram: Vec::new(), to: Vec::new() });
        self.tell(&Note::Idle);
    }

    /// Seals with another ring from now on, and so does the guardian.
    pub fn reseal(&mut self, ring: Arc<Ring>, unsealed: Unsealed) {
        self.sealing.replace(ring, unsealed);
        if let Some(guarded) = &mut self.guarded {
            guarded.told = None;
        }
        self.tell_farewell();
    }

    /// Tells the guardian the last word of this node, if it is another than before.
    pub(super) fn tell_farewell(&mut self) {
        let Some(guarded) = &mut self.guarded else { return };
        let farewell = self.machine.farewell();
        if farewell == guarded.told {
            return;
        }
        let note = match &farewell {
            None => Note::Will { datagram: Vec::new(), to: Vec::new() },
            Some(Farewell { boot, message, to }) => {
                let message = message.clone();
                let envelope = Envelope { sender: self.speaker.id, boot: *boot, message };
                let buffer = &mut self.buffer;
                let encoded = encode(&envelope, self.speaker.cluster_tag, buffer);
                match encoded.and_then(|length| self.sealing.close_last_word(buffer, length)) {
                    Ok(length) => {
                        let datagram = self.buffer.get(..length).unwrap_or_default().to_vec();
                        Note::Will { datagram, to: to.clone() }
                    }
                    Err(error) => {
                        warn!(%error, "the guardian cannot be told what to say");
                        return;
                    }
                }
            }
        };
        guarded.link.tell(&note);
        guarded.told = farewell;
    }
}
