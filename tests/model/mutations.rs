//! Every rule is needed: without it the model finds two leaders.

use stateright::{Checker, HasDiscoveries, Model};

use crate::cluster::Cluster;
use crate::reduced::Explorer;
use crate::setup::{Mutation, Restart, Setup};

/// The counterexample that the model finds within so many steps, printed.
fn counterexample(setup: Setup, depth: usize) {
    let began = std::time::Instant::now();
    let mutation = setup.mutation;
    let checker = Cluster { setup }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_max_depth(depth)
        .spawn_bfs()
        .join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().next();
    let Some((invariant, path)) = found else {
        panic!("{mutation:?} survives {states} states to depth {}", checker.max_depth());
    };
    let actions = path.into_actions();
    let (steps, took) = (actions.len(), began.elapsed());
    println!("{mutation:?} breaks {invariant} in {steps} steps, {states} states, {took:?}:");
    for action in &actions {
        println!("  {action:?}");
    }
}

fn voters(terms: u64, lease: u8) -> Setup {
    Setup::new(3, terms, lease)
}

fn same_boot() -> Setup {
    Setup { restarts: vec![Restart::SameBoot], ..voters(2, 2).crashing(1) }
}

fn reboot() -> Setup {
    Setup { restarts: vec![Restart::Reboot], ..voters(2, 2).crashing(1) }
}

/// One voter loses its disk.
fn wiped() -> Setup {
    Setup { restarts: Vec::new(), wipes: 1, ..voters(2, 2).crashing(1) }
}

/// A leader that asks for more than its voters do.
fn longer_lease(setup: Setup) -> Setup {
    Setup { lease: vec![3, 1, 1], ..setup }
}

#[test]
fn mutation_no_abstention_after_a_restart() {
    counterexample(reboot().elected().standing(&[2]).breaking(Mutation::NoAbstention), 10);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_abstention_for_the_own_lease_alone() {
    let setup = longer_lease(reboot()).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::OwnLeaseAbstained), 10);
}

#[test]
fn mutation_lease_counted_from_the_arrival_of_the_answer() {
    let setup = voters(2, 2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::LeaseFromArrival), 14);
}

#[test]
fn mutation_lease_counted_from_the_last_send() {
    let setup = voters(2, 2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::LeaseFromLastSend), 14);
}

#[test]
fn mutation_leader_resumes_after_release() {
    let setup = voters(2, 2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::ResumeAfterRelease), 10);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_candidate_that_gave_up_counts_late_votes() {
    let setup = voters(2, 2).standing(&[0, 1]);
    counterexample(setup.breaking(Mutation::LateVotes), 14);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_release_without_a_term() {
    let setup = voters(3, 2).standing(&[0, 2]);
    counterexample(setup.breaking(Mutation::ReleaseWithoutTerm), 16);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_release_after_a_failed_reelection() {
    let setup = voters(3, 2).elected().standing(&[0, 2]);
    counterexample(setup.breaking(Mutation::ReleaseAfterFailedReelection), 14);
}

#[test]
fn mutation_release_from_a_copied_store() {
    let setup = voters(2, 2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::ReleaseFromCopiedStore), 10);
}

#[test]
fn mutation_votes_that_ignore_promises() {
    let setup = voters(2, 2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::VoteIgnoresPromise), 10);
}

#[test]
fn mutation_vote_without_a_promise() {
    let setup = voters(2, 2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::VoteWithoutPromise), 10);
}

#[test]
fn mutation_voter_promises_its_own_lease() {
    let setup = longer_lease(voters(2, 2)).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::OwnLeasePromised), 10);
}

#[test]
fn mutation_promise_shortened() {
    let setup = Setup { shorter: true, ..voters(2, 3).elected().standing(&[2]) };
    counterexample(setup.breaking(Mutation::ShortenedPromise), 10);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_acknowledgement_before_the_promise_file() {
    let setup = same_boot().elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::AnswerBeforePromiseFile), 10);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_vote_before_the_record() {
    let setup = Setup { terms: 1, ..same_boot().elected().standing(&[2]) };
    counterexample(setup.breaking(Mutation::VoteBeforeRecord), 11);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_no_drift_margin() {
    let setup = voters(2, 2).drifting(2).elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::NoDriftMargin), 14);
}

#[test]
fn mutation_quorum_below_the_majority() {
    counterexample(voters(2, 2).breaking(Mutation::SmallQuorum), 8);
}

#[test]
fn mutation_one_name_twice() {
    let setup = Setup { names: vec![0, 1, 2, 0], lease: vec![2; 4], ..voters(2, 2) };
    counterexample(setup.elected().standing(&[3]).breaking(Mutation::OneNameTwice), 10);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_asks_before_it_has_waited() {
    let setup = wiped().elected().standing(&[2]);
    counterexample(setup.breaking(Mutation::WipedAsksEarly), 16);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_votes_in_the_adopted_term() {
    let setup = Setup { terms: 1, ..wiped().elected().standing(&[2]) };
    counterexample(setup.breaking(Mutation::WipedVotesInAdopted), 14);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_wiped_voter_takes_no_floor() {
    let setup = Setup { terms: 1, ..wiped().elected().standing(&[2]) };
    counterexample(setup.breaking(Mutation::WipedNoFloor), 14);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without optimisation")]
fn mutation_heartbeat_accepted_over_another_promise() {
    counterexample(voters(3, 2).elected().breaking(Mutation::HeartbeatOverPromise), 9);
}

/// The same for the model that is explored to its end, from the first start on.
fn counterexample_from_the_start(setup: Setup) {
    let began = std::time::Instant::now();
    let mutation = setup.mutation;
    let found = Explorer::new(setup).explore(30);
    let Some((invariant, steps)) = found.broken else {
        panic!("{mutation:?} survives {} states to depth {}", found.states, found.depth);
    };
    let (count, took) = (steps.len(), began.elapsed());
    println!(
        "{mutation:?} breaks {invariant} in {count} steps, {} states, {took:?}:",
        found.states
    );
    for step in &steps {
        println!("  {step:?}");
    }
}

#[test]
fn mutations_all() {
    use Mutation::*;
    let only = std::env::var("ONLY").ok();
    let slow = |setup: Setup| Setup { slow_answers: true, ..setup };
    for setup in [
        reboot().breaking(NoAbstention),
        longer_lease(reboot()).breaking(OwnLeaseAbstained),
        slow(voters(2, 2)).breaking(LeaseFromArrival),
        slow(voters(2, 2)).breaking(LeaseFromLastSend),
        voters(2, 2).breaking(ResumeAfterRelease),
        slow(voters(2, 2)).breaking(LateVotes),
        voters(3, 2).breaking(ReleaseWithoutTerm),
        voters(3, 2).breaking(ReleaseAfterFailedReelection),
        voters(2, 2).breaking(ReleaseFromCopiedStore),
        voters(2, 2).breaking(VoteIgnoresPromise),
        voters(2, 2).breaking(VoteWithoutPromise),
        longer_lease(voters(2, 2)).breaking(OwnLeasePromised),
        same_boot().breaking(AnswerBeforePromiseFile),
        same_boot().breaking(VoteBeforeRecord),
        voters(2, 2).uneven().breaking(NoDriftMargin),
        voters(2, 2).breaking(SmallQuorum),
        voters(3, 2).breaking(HeartbeatOverPromise),
        Setup { names: vec![0, 1, 2, 0], lease: vec![2; 4], ..voters(2, 2) }.breaking(OneNameTwice),
        wiped().breaking(WipedAsksEarly),
        wiped().breaking(WipedVotesInAdopted),
        wiped().breaking(WipedNoFloor),
    ] {
        if only.as_ref().is_none_or(|only| format!("{:?}", setup.mutation).contains(only)) {
            counterexample_from_the_start(setup);
        }
    }
}
