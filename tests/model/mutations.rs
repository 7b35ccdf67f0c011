//! Every rule is needed: without it the model finds two leaders, from the first start on.

use crate::explorer::Explorer;
use crate::setup::{Mutation, Restart, Setup};

/// The shortest counterexample, printed; gives the invariant.
fn counterexample(setup: Setup) -> &'static str {
    let began = std::time::Instant::now();
    let mutation = setup.mutation.expect("a rule is broken");
    let found = Explorer::new(setup).explore(usize::MAX);
    let Some((invariant, steps)) = found.broken else {
        panic!("{mutation:?} survives all {} states", found.states);
    };
    let (count, took) = (found.depth, began.elapsed());
    println!(
        "{mutation:?} breaks {invariant} in {count} steps, {} states, {took:?}:",
        found.states
    );
    for step in &steps {
        println!("  {step:?}");
    }
    invariant
}

/// Two terms, leases of two ticks.
fn two_terms() -> Setup {
    Setup::new(3, 2, 2)
}

fn three_terms() -> Setup {
    Setup::new(3, 3, 2)
}

fn same_boot() -> Setup {
    Setup { restarts: vec![Restart::SameBoot], ..two_terms().crashing(1) }
}

fn reboot() -> Setup {
    Setup { restarts: vec![Restart::Reboot], ..two_terms().crashing(1) }
}

/// One voter loses its disk.
fn wiped() -> Setup {
    Setup { restarts: Vec::new(), wipes: 1, ..two_terms().crashing(1) }
}

/// One voter asks for more than the others do.
fn longer_lease(setup: Setup) -> Setup {
    Setup { lease: vec![3, 1, 1], ..setup }
}

/// Answers take their time.
fn slow_answers(setup: Setup) -> Setup {
    Setup { slow_answers: true, ..setup }
}

/// Five voters, of whom two stand. States that differ in names alone are one, so the voters may change names
/// from step to step.
fn five(setup: Setup) -> Setup {
    let five = Setup::new(5, 2, 2).standing(&[0, 1]);
    Setup { late: false, crashes: 1, restarts: setup.restarts, wipes: setup.wipes, ..five }
}

#[test]
fn mutation_no_abstention_after_a_restart() {
    counterexample(reboot().breaking(Mutation::NoAbstention));
}

#[test]
fn mutation_abstention_for_the_own_lease_alone() {
    counterexample(longer_lease(reboot()).breaking(Mutation::OwnLeaseAbstained));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_abstaining_voter_that_acknowledges_lower_terms() {
    let broken = five(reboot()).breaking(Mutation::AbstainerAcknowledgesLower);
    // Who crashes is one that does not stand: the other's lease rests on its forgotten vote.
    let invariant =
        counterexample(Setup { symmetric: true, frail: vec![2], in_turn: true, ..broken });
    assert_eq!(invariant, "I2");
}

#[test]
fn mutation_lease_counted_from_the_arrival_of_the_answer() {
    counterexample(slow_answers(two_terms()).breaking(Mutation::LeaseFromArrival));
}

#[test]
fn mutation_lease_counted_from_the_last_send() {
    counterexample(slow_answers(two_terms()).breaking(Mutation::LeaseFromLastSend));
}

#[test]
fn mutation_leader_resumes_after_release() {
    counterexample(two_terms().breaking(Mutation::ResumeAfterRelease));
}

#[test]
fn mutation_candidate_that_gave_up_counts_late_votes() {
    counterexample(slow_answers(two_terms()).breaking(Mutation::LateVotes));
}

#[test]
fn mutation_release_without_a_term() {
    counterexample(three_terms().breaking(Mutation::ReleaseWithoutTerm));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_release_after_a_failed_reelection() {
    counterexample(three_terms().breaking(Mutation::ReleaseAfterFailedReelection));
}

#[test]
fn mutation_release_from_a_copied_store() {
    counterexample(two_terms().breaking(Mutation::ReleaseFromCopiedStore));
}

#[test]
fn mutation_votes_that_ignore_promises() {
    counterexample(two_terms().breaking(Mutation::VoteIgnoresPromise));
}

#[test]
fn mutation_vote_without_a_promise() {
    counterexample(two_terms().breaking(Mutation::VoteWithoutPromise));
}

#[test]
fn mutation_voter_promises_its_own_lease() {
    counterexample(longer_lease(two_terms()).breaking(Mutation::OwnLeasePromised));
}

#[test]
fn mutation_promise_shortened() {
    counterexample(
        Setup { shorter: true, ..Setup::new(3, 2, 3) }.breaking(Mutation::ShortenedPromise),
    );
}

#[test]
fn mutation_acknowledgement_before_the_promise_file() {
    counterexample(same_boot().breaking(Mutation::AnswerBeforePromiseFile));
}

#[test]
fn mutation_vote_before_the_record() {
    counterexample(same_boot().breaking(Mutation::VoteBeforeRecord));
}

#[test]
fn mutation_no_drift_margin() {
    counterexample(two_terms().uneven().breaking(Mutation::NoDriftMargin));
}

#[test]
fn mutation_quorum_below_the_majority() {
    counterexample(two_terms().breaking(Mutation::SmallQuorum));
}

#[test]
fn mutation_heartbeat_accepted_over_another_promise() {
    counterexample(three_terms().breaking(Mutation::HeartbeatOverPromise));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_that_acknowledges() {
    let broken = five(wiped()).breaking(Mutation::WipedAcknowledges);
    let invariant =
        counterexample(Setup { symmetric: true, frail: vec![2], in_turn: true, ..broken });
    assert_eq!(invariant, "I2");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_asks_before_it_has_waited() {
    counterexample(Setup { late: false, ..wiped() }.breaking(Mutation::WipedAsksEarly));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_votes_in_the_adopted_term() {
    counterexample(Setup { terms: 1, ..wiped() }.breaking(Mutation::WipedVotesInAdopted));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_takes_no_floor() {
    counterexample(Setup { terms: 1, ..wiped() }.breaking(Mutation::WipedNoFloor));
}

#[test]
fn mutation_one_name_twice() {
    let setup = Setup { names: vec![0, 1, 2, 0], lease: vec![2; 4], ..two_terms() };
    counterexample(setup.breaking(Mutation::OneNameTwice));
}
