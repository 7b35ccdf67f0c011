//! I10 of the answers to operators.
//!
//! 1. A command is answered once, and only the process that it was given to answers it.
//! 2. A leader that is named has led the term that is named.
//! 3. Where there was no target the leader has led on without a break, at most in a higher term.
//! 4. A drain or a resume that is done is on the disk.
//! 5. No command stays unanswered while its process lives.

use std::collections::BTreeMap;

use ringrift_p2p::election::Reply;

use super::Violation;
use crate::operator::Verb;
use crate::options::{Nanos, SECOND};

/// By when the last of a row of commands is answered: four seconds for a successor and four until it
/// leads, and a drain that waits behind another handover and for the disk.
pub(crate) const ANSWERED: Nanos = 24 * SECOND;

/// A command without an answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    host: usize,
    verb: Verb,
    at: Nanos,
    /// How often the host had lost the lead.
    losses: u64,
}

/// What is true when an answer comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    /// How often the host has lost the lead.
    pub(crate) losses: u64,
    /// Whether it leads.
    pub(crate) leads: bool,
    /// Whether the leader named has led the term named.
    pub(crate) led: bool,
    /// Whether its disk says that it is drained.
    pub(crate) drained: bool,
}

/// The checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies {
    open: BTreeMap<u64, Asked>,
}

impl Replies {
    /// A process is given a command.
    pub(crate) fn asked(&mut self, now: Nanos, host: usize, number: u64, verb: Verb, losses: u64) {
        self.open.insert(number, Asked { host, verb, at: now, losses });
    }

    /// The process of a host has ended.
    pub(crate) fn ended(&mut self, host: usize) {
        self.open.retain(|_, asked| asked.host != host);
    }

    /// Hosts that owe an answer.
    pub(crate) fn owed(&self) -> impl Iterator<Item = usize> {
        self.open.values().map(|asked| asked.host)
    }

    /// A process answers.
    pub(crate) fn replied(
        &mut self,
        now: Nanos,
        host: usize,
        number: u64,
        reply: &Reply,
        truth: Truth,
    ) -> Result<Verb, Violation> {
        let broken = |what| Err(Violation { at: now, rule: "replies", what });
        let Some(asked) = self.open.remove(&number).filter(|asked| asked.host == host) else {
            return broken(format!(
                "host {host} answers #{number}, which it does not owe: {reply:?}"
            ));
        };
        let verb = asked.verb;
        match reply {
            Reply::Done { leader: Some(leader), term, .. } if !truth.led => broken(format!(
                "host {host} answers {verb:?} with {leader} in term {term}, which it did not lead"
            )),
            Reply::Done { .. }
                if (verb == Verb::Drain && !truth.drained)
                    || (verb == Verb::Resume && truth.drained) =>
            {
                broken(format!("host {host} says that {verb:?} is done, and its disk does not"))
            }
            Reply::Refused { code: "NO_TARGET", .. } => {
                // Whoever named a target that is no voter was refused at once.
                if truth.leads && truth.losses == asked.losses {
                    Ok(verb)
                } else {
                    broken(format!("host {host} finds no target, and has not led on"))
                }
            }
            _ => Ok(verb),
        }
    }

    /// A long time has passed in which nothing else was asked: what should have been answered was.
    pub(crate) fn settled(&self, now: Nanos, host: usize) -> Result<(), Violation> {
        match self.open.values().find(|asked| asked.host == host && now - asked.at > ANSWERED) {
            Some(asked) => {
                let what =
                    format!("host {host} never answered {:?} of {} ns", asked.verb, asked.at);
                Err(Violation { at: now, rule: "replies", what })
            }
            None => Ok(()),
        }
    }
}
