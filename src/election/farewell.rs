//! Farewells: the RELEASE of a dead predecessor, said again to those who were not there to hear it.
//!
//! A process that finds its predecessor dead frees the promises given to it, once, at its start. Where
//! all voters start together most of them do not listen yet; without a second word they would wait
//! for the end of a promise to nobody.
//!
//! 1. Only what the core has said is repeated, to whom it was said, and once.

use ringrift_wire::{Message, NodeId};

use super::{Machine, Output};

impl Machine {
    /// Says what the core has to say at the start, and keeps it for a second time. It leaves before
    /// any question whether promises are free.
    pub(super) fn say_farewells(&mut self) {
        self.drain_core();
        for output in &self.outputs {
            if let Output::Send { to, message: Message::Release(release) } = output
                && let Some(voter) = self.voters.get_mut(*to)
            {
                voter.farewell = Some(*release);
            }
        }
    }

    /// A voter gives a sign of life: now it listens.
    pub(super) fn repeat_farewell(&mut self, voter: NodeId) {
        let farewell = self.voters.get_mut(voter).and_then(|voter| voter.farewell.take());
        if let Some(release) = farewell {
            self.send(voter, Message::Release(release));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Restored, RestoredPromise, VoteRecord};
    use super::super::{Hysteresis, Params, Setup, VoterSet};
    use super::*;
    use crate::time::Instant;
    use core::time::Duration;
    use ringrift_wire::{Boot, Inquire};
    use std::collections::BTreeMap;

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn machine(may_release: bool) -> Machine {
        let set = VoterSet::new(&["a", "b", "c"].map(id), 1);
        let record = VoteRecord {
            term: 9,
            voted_for: Some(id("a")),
            nonce: 1,
            longest_lease: Duration::from_secs(4),
            set_version: 1,
            led_version: 1,
            drained: false,
        };
        let setup = Setup {
            me: id("a"),
            boot: Boot { sequence: 2, nonce: 2 },
            started_unix: 1_000,
            set,
            params: Params {
                heartbeat_interval: Duration::from_secs(1),
                lease: Duration::from_secs(4),
                election_timeout: Duration::from_secs(1),
                clock_drift_ppm: 10_000,
                work_grace: Duration::ZERO,
                hysteresis: Hysteresis::default(),
                places: BTreeMap::new(),
            },
            evidence_window: Duration::from_secs(10),
            seed: 1,
        };
        let promise = RestoredPromise::Exact(None);
        let restored = Restored { record: Some(record), promise, may_release };
        Machine::new(setup, restored, Instant::ZERO)
    }

    fn released(machine: &mut Machine) -> Vec<(NodeId, u64, u64)> {
        let outputs = core::iter::from_fn(|| machine.poll_output());
        let of = |output| match output {
            Output::Send { to, message: Message::Release(it) } => Some((to, it.nonce, it.term)),
            _ => None,
        };
        outputs.filter_map(of).collect()
    }

    #[test]
    fn a_predecessor_is_released_again_at_the_first_sign_of_life_of_each_voter() {
        let mut machine = machine(true);
        let [b, c] = ["b", "c"].map(id);
        assert_eq!(released(&mut machine), [(b, 1, 9), (c, 1, 9)]);
        machine.round_trip(Instant::ZERO, b, Duration::from_millis(1));
        assert_eq!(released(&mut machine), [(b, 1, 9)]);
        machine.round_trip(Instant::ZERO, b, Duration::from_millis(1));
        assert_eq!(released(&mut machine), [], "once is enough");
        let set = machine.setup.set.tag();
        let asked = Message::Inquire(Inquire { set, number: 1 });
        machine.on_message(Instant::ZERO, c, 7, &asked);
        assert_eq!(released(&mut machine), [(c, 1, 9)]);
    }

    #[test]
    fn a_predecessor_that_may_live_is_never_released() {
        let mut machine = machine(false);
        machine.round_trip(Instant::ZERO, id("b"), Duration::from_millis(1));
        assert_eq!(released(&mut machine), []);
    }
}
