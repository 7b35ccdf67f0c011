//! The precedence of two rumours about one member.
//!
//! Decides which of two rumours about one name wins. What follows from a rumour that wins is decided
//! in `rumour`.
//!
//! Invariants
//! 1. Precedence is one table: sequence first, then incarnation and state.
//! 2. Of two nodes that hear the same rumours in any order, both end with the same record, apart
//!    from the list of accusers.
//! 3. Only the member itself raises its incarnation, so a word of life must be newer than what it
//!    denies.

use ringrift_wire::{MemberState, Update};

/// What a rumour says, apart from whom it is about and where that member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) sequence: u64,
    pub(super) incarnation: u32,
    pub(super) state: MemberState,
}

impl From<&Update> for Claim {
    fn from(update: &Update) -> Self {
        Self { sequence: update.sequence, incarnation: update.incarnation, state: update.state }
    }
}

/// What a heard rumour is worth beside what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It says less than is known.
    Stale,
    /// It is the known accusation, perhaps by another accuser.
    Confirms,
    /// It replaces what is known.
    Wins,
}

/// The precedence of rumours [SWIM §4.2], with boots above incarnations (invariant 1).
///
/// Unlike in SWIM the dead and the left can answer: only the member itself raises its incarnation,
/// so a newer word of life is its own and was said later. A process that leaves raises its
/// incarnation a last time, so that nothing said before outranks the leave.
pub(super) fn weigh(known: Claim, heard: Claim) -> Worth {
    use MemberState::{Alive, Dead, Left, Suspect};
    if heard.sequence != known.sequence {
        return wins_if(heard.sequence > known.sequence);
    }
    let newer = heard.incarnation > known.incarnation;
    let not_older = heard.incarnation >= known.incarnation;
    match (known.state, heard.state) {
        (Alive | Suspect { .. } | Dead { .. } | Left, Alive)
        | (Dead { .. } | Left, Suspect { .. } | Dead { .. })
        | (Left, Left) => wins_if(newer),
        (Alive, Suspect { .. } | Dead { .. } | Left)
        | (Suspect { .. }, Dead { .. } | Left)
        | (Dead { .. }, Left) => wins_if(not_older),
        (Suspect { .. }, Suspect { .. }) if not_older && !newer => Worth::Confirms,
        (Suspect { .. }, Suspect { .. }) => wins_if(newer),
    }
}

const fn wins_if(wins: bool) -> Worth {
    if wins { Worth::Wins } else { Worth::Stale }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberState::{Alive, Dead, Left, Suspect};
    use Worth::{Confirms, Stale, Wins};
    use proptest::prelude::*;
    use ringrift_wire::NodeId;

    fn by(name: &str) -> NodeId {
        NodeId::from_bytes(name.as_bytes()).expect("a good name")
    }

    /// Invariant 1: the whole table, written out.
    #[test]
    fn precedence_of_every_pair_of_states_at_lower_equal_and_higher_incarnation() {
        let suspect = Suspect { by: by("a") };
        let dead = Dead { by: by("a") };
        let table = [
            (Alive, Alive, [Stale, Stale, Wins]),
            (Alive, suspect, [Stale, Wins, Wins]),
            (Alive, dead, [Stale, Wins, Wins]),
            (Alive, Left, [Stale, Wins, Wins]),
            (suspect, Alive, [Stale, Stale, Wins]),
            (suspect, suspect, [Stale, Confirms, Wins]),
            (suspect, dead, [Stale, Wins, Wins]),
            (suspect, Left, [Stale, Wins, Wins]),
            (dead, Alive, [Stale, Stale, Wins]),
            (dead, suspect, [Stale, Stale, Wins]),
            (dead, dead, [Stale, Stale, Wins]),
            (dead, Left, [Stale, Wins, Wins]),
            (Left, Alive, [Stale, Stale, Wins]),
            (Left, suspect, [Stale, Stale, Wins]),
            (Left, dead, [Stale, Stale, Wins]),
            (Left, Left, [Stale, Stale, Wins]),
        ];
        for (known, heard, expected) in table {
            for (incarnation, worth) in [4, 5, 6].into_iter().zip(expected) {
                let known = Claim { sequence: 1, incarnation: 5, state: known };
                let heard = Claim { sequence: 1, incarnation, state: heard };
                assert_eq!(weigh(known, heard), worth, "{known:?} then {heard:?}");
            }
        }
    }

    #[test]
    fn a_newer_boot_wins_and_an_older_one_loses_whatever_they_say() {
        let states = [Alive, Suspect { by: by("a") }, Dead { by: by("a") }, Left];
        for known in states {
            for heard in states {
                let known = Claim { sequence: 7, incarnation: 5, state: known };
                let newer = Claim { sequence: 8, incarnation: 0, state: heard };
                let older = Claim { sequence: 6, incarnation: u32::MAX, state: heard };
                assert_eq!(weigh(known, newer), Wins);
                assert_eq!(weigh(known, older), Stale);
            }
        }
    }

    /// Invariant 2.
    #[test]
    fn no_two_rumours_win_over_each_other() {
        let states = [Alive, Suspect { by: by("a") }, Dead { by: by("a") }, Left];
        let claims = states.into_iter().flat_map(|state| {
            [1, 2].into_iter().flat_map(move |sequence| {
                [0, 1, u32::MAX].map(|incarnation| Claim { sequence, incarnation, state })
            })
        });
        let claims: Vec<Claim> = claims.collect();
        for &one in &claims {
            for &other in &claims {
                let both = (weigh(one, other), weigh(other, one));
                let tied = one == other;
                assert_eq!(tied, !matches!(both, (Wins, Stale) | (Stale, Wins)), "{both:?}");
            }
        }
    }

    fn any_claim() -> impl Strategy<Value = Claim> {
        let state = prop_oneof![
            Just(Alive),
            prop_oneof![Just("a"), Just("b")].prop_map(|name| Suspect { by: by(name) }),
            prop_oneof![Just("a"), Just("b")].prop_map(|name| Dead { by: by(name) }),
            Just(Left),
        ];
        let sequence = prop_oneof![0..3u64, Just(u64::MAX)];
        let incarnation = prop_oneof![0..3u32, Just(u32::MAX)];
        (sequence, incarnation, state).prop_map(|(sequence, incarnation, state)| Claim {
            sequence,
            incarnation,
            state,
        })
    }

    proptest! {
        /// Invariant 2: in whatever order rumours arrive and however often, all who heard the same
        /// ones come to say the same, the accuser apart.
        #[test]
        fn the_order_of_rumours_does_not_matter(
            claims in prop::collection::vec(any_claim(), 1..6), seed: u64,
        ) {
            let settle = |claims: &[Claim]| {
                claims.iter().copied().reduce(|known, heard| {
                    if weigh(known, heard) == Wins { heard } else { known }
                })
            };
            let mut shuffled = [claims.clone(), claims.clone()].concat();
            crate::rng::Rng::new(seed).shuffle(&mut shuffled);
            let word = |claim: Option<Claim>| {
                claim.map(|claim| {
                    let state = match claim.state {
                        Alive => 0,
                        Suspect { .. } => 1,
                        Dead { .. } => 2,
                        Left => 3,
                    };
                    (claim.sequence, claim.incarnation, state)
                })
            };
            prop_assert_eq!(word(settle(&claims)), word(settle(&shuffled)));
        }
    }
}
