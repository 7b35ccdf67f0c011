//! The guardians: what is done and said when a guarded process has died.
//!
//! A guardian knows what its process has told it before anything that makes it true has left. When the
//! process is dead it ends the work of the leader, and says the last word from the process's address,
//! three times. Where the whole host goes down, and now and then otherwise, both die.

use ringrift_p2p::node::Farewell;
use ringrift_wire::{Envelope, Message};

use crate::host::{Ending, host_at};
use crate::liar::Lie;
use crate::options::{MS, between, chance};
use crate::sometimes::Path;
use crate::timeline::describe;
use crate::world::{What, World};

/// How many of a thousand guardians die with their process.
const BOTH: u64 = 150;

impl World {
    /// Whether a host has a guardian: drawn once from the seed, for every host.
    pub(crate) fn is_guarded(&self, host: usize) -> bool {
        let drawn =
            (self.options.seed ^ (host as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 1_000;
        drawn < self.options.guarded
    }

    /// The guardian is told what to say, before what makes it true leaves.
    pub(crate) fn tell_guardian(&mut self, host: usize) {
        if !self.is_guarded(host) {
            return;
        }
        let Some(process) = &self.hosts[host].process else { return };
        let farewell = process.node.farewell();
        let parted = process.stopping && process.node.has_left();
        self.last_words[host] = farewell.filter(|_| !parted);
        if self.liar.has(Lie::HastyGuardian)
            && self.leading[host].is_some()
            && let Some(farewell) = self.last_words[host].clone()
        {
            self.at(self.now + MS, What::LastWord { host, farewell: Box::new(farewell) });
        }
    }

    /// The process of a host has died: what its guardian does about it, or nobody.
    pub(crate) fn guard_executes(&mut self, host: usize, ending: Ending) {
        let farewell = self.last_words[host].take();
        let alone = !self.is_guarded(host) || ending != Ending::Killed;
        if alone || chance(&mut self.rng, BOTH) {
            if !alone {
                self.hits.hit(Path::BothDied);
            }
            self.leftover_ends(host);
            return;
        }
        let mut at = self.now + between(&mut self.rng, 0, 5 * MS);
        if let Some(work) = self.works[host].as_ref().map(|work| work.number) {
            self.at(at, What::WorkEnds { host, work });
        }
        at += between(&mut self.rng, 1, 2 * MS);
        if let Some(farewell) = farewell {
            for pause in [0, 2 * MS, 20 * MS] {
                at += pause;
                self.at(at, What::LastWord { host, farewell: Box::new(farewell.clone()) });
            }
        }
        self.guardian_until[host] = at;
    }

    /// A guardian speaks from the address of its process.
    pub(crate) fn last_word(&mut self, host: usize, farewell: &Farewell) {
        let Farewell { boot, message, to } = farewell;
        let Message::Release(release) = message else { return };
        self.hits.hit(Path::GuardianSpoke);
        let result =
            self.checkers.endings.released(self.now, release.nonce, release.term, "a guardian");
        self.check(result);
        for &to in to {
            let Some(to) = host_at(to).filter(|to| *to < self.hosts.len()) else { continue };
            if let Some(text) = describe(message) {
                let receiver = self.hosts[to].id;
                self.note(host, || format!("-> {receiver} {text}, by the guardian"));
            }
            let sender = self.hosts[host].id;
            self.put_on_the_wire(
                host,
                to,
                Envelope { sender, boot: *boot, message: message.clone() },
            );
        }
    }
}
