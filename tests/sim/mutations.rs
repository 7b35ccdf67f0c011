//! Planted bugs: each must be noticed within so many seeds, or the checkers prove nothing.

use crate::checkers::Violation;
use crate::liar::Lie;
use crate::options::{Kind, MS, Options, Quality};
use crate::run::run;

/// The first violation of one of these rules that a bug leads to.
fn noticed(
    lie: Lie,
    seeds: u64,
    rules: &[&str],
    prepare: impl Fn(&mut Options),
) -> Option<(u64, Violation)> {
    (1..=seeds).find_map(|seed| {
        let mut options = Options::draw(seed);
        options.voters = 5;
        options.never = 0;
        options.first_start = false;
        options.heartbeat = 50 * MS;
        options.lease = 200 * MS;
        options.election_timeout = 200 * MS;
        options.probe = 50 * MS;
        options.fault_span = 40 * options.lease;
        options.fault_gap = options.lease;
        prepare(&mut options);
        let broken = |lie| {
            let violation = run(options.clone(), lie, false).violation;
            violation.filter(|violation| rules.contains(&violation.rule))
        };
        let violation = broken(lie)?;
        assert_eq!(broken(Lie::None), None, "seed {seed:#x} breaks a rule without the bug");
        Some((seed, violation))
    })
}

/// A voter that restarts with the record from before its last vote votes twice in a term.
#[test]
fn mutation_two_votes_in_a_term() {
    let found = noticed(Lie::ForgetsVote, 400, &["I1", "I2", "I4"], |options| {
        options.kinds = vec![Kind::Crash, Kind::Reboot, Kind::Cut];
        options.fault_gap = options.lease / 2;
    });
    let (seed, violation) = found.expect("two votes in a term go unnoticed");
    println!("noticed with seed {seed:#x}: {violation:?}");
}

/// A lease that counts from the arrival of a late acknowledgement outlives the promises.
#[test]
fn mutation_lease_from_arrival() {
    let found = noticed(Lie::LeaseFromArrival, 400, &["I2"], |options| {
        options.kinds = vec![Kind::Cut, Kind::Pause];
        options.quality = Quality::calm(MS);
    });
    let (seed, violation) = found.expect("a lease from the arrival goes unnoticed");
    println!("noticed with seed {seed:#x}: {violation:?}");
}

/// A quorum of two of five lets both sides of a split have a leader.
#[test]
fn mutation_quorum_of_two() {
    let found = noticed(Lie::QuorumOfTwo, 400, &["I1", "I2", "I4"], |options| {
        options.kinds = vec![Kind::Cut];
        options.fault_gap = 4 * options.lease;
        options.quality = Quality::calm(MS);
    });
    let (seed, violation) = found.expect("a quorum of two goes unnoticed");
    println!("noticed with seed {seed:#x}: {violation:?}");
}
