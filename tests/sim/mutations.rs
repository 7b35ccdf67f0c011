//! Planted bugs: each must be noticed by its checker within so many seeds, or the checkers prove
//! nothing. The same seed without the bug breaks no rule.

use crate::checkers::Violation;
use crate::liar::Lie;
use crate::options::{Kind, MS, Options, Quality, SECOND};
use crate::run::run;

/// The most seeds that a bug may take to be noticed.
const SEEDS: u64 = 400;

/// Five voters with a heartbeat of 50 ms and a lease of 200 ms, and only these faults.
fn cluster(seed: u64, kinds: &[Kind]) -> Options {
    let mut options = Options::draw(seed);
    options.voters = 5;
    options.observers = 0;
    options.open = false;
    options.twin = None;
    options.other_set = None;
    options.never = 0;
    options.first_start = false;
    options.heartbeat = 50 * MS;
    options.lease = 200 * MS;
    options.election_timeout = 200 * MS;
    options.probe = 50 * MS;
    options.silence = 200 * MS;
    options.loop_lag = MS;
    options.fsync_max = MS;
    options.drift_ppm = 10_000;
    options.quality = Quality::calm(MS);
    options.start_spread = MS;
    options.fault_span = 40 * options.lease;
    options.fault_gap = options.lease;
    options.takeover = None;
    options.block = 600 * SECOND;
    options.work_grace = 0;
    options.guarded = 0;
    options.planned = false;
    options.kinds = kinds.to_vec();
    options
}

/// A bug must break one of these rules.
fn noticed(lie: Lie, rules: &[&str], kinds: &[Kind], prepare: impl Fn(&mut Options)) {
    let found = (1..=SEEDS).find_map(|seed| {
        let mut options = cluster(seed, kinds);
        prepare(&mut options);
        let broken = |lie| run(options.clone(), lie, false).violation;
        let violation: Violation = broken(lie).filter(|it| rules.contains(&it.rule))?;
        if let Some(violation) = broken(Lie::None) {
            for line in run(options.clone(), Lie::None, true).timeline {
                println!("{line}");
            }
            panic!("seed {seed:#x} breaks {} without the bug: {}", violation.rule, violation.what);
        }
        Some((seed, violation))
    });
    let (seed, violation) = found.unwrap_or_else(|| panic!("{lie:?} goes unnoticed by {rules:?}"));
    println!("{lie:?}: seed {seed:#x} breaks {}: {}", violation.rule, violation.what);
}

/// A voter that restarts with the record from before its last vote votes twice in a term.
#[test]
fn mutation_a_vote_is_forgotten() {
    noticed(Lie::ForgetsVote, &["I4"], &[Kind::Crash, Kind::Reboot, Kind::Cut], |options| {
        options.fault_gap = options.lease / 2;
    });
}

/// A voter that restarts without its promise is free while a lease rests on it.
#[test]
fn mutation_a_promise_is_forgotten() {
    noticed(Lie::ForgetsPromise, &["I3"], &[Kind::Crash], |options| {
        options.fault_gap = options.lease / 4;
    });
}

/// A disk that comes back with an older record lets a durable term fall.
#[test]
fn mutation_an_older_record_comes_back() {
    noticed(Lie::OlderRecord, &["I4"], &[Kind::Crash, Kind::Cut], |_| {});
}

/// A disk that says "done" and drops the write lets a vote leave that is nowhere written.
#[test]
fn mutation_a_write_is_dropped() {
    noticed(Lie::DropsWrites, &["I4"], &[Kind::Crash, Kind::Cut], |_| {});
}

/// A lease that counts from the arrival of a late acknowledgement outlives the promises.
#[test]
fn mutation_an_echoed_number_is_rewritten() {
    noticed(Lie::LeaseFromArrival, &["I3"], &[Kind::Cut, Kind::Pause], |_| {});
}

/// The same, noticed by what it leads to.
#[test]
fn mutation_a_lease_from_the_arrival_makes_two_leaders() {
    noticed(Lie::LeaseFromArrival, &["I2"], &[Kind::Cut, Kind::Pause], |options| {
        options.unwatched = vec!["I3"];
    });
}

/// With a quorum of two of five both sides of a split have a leader, of one term even.
#[test]
fn mutation_a_quorum_of_two() {
    for rule in ["I1", "I2", "I3"] {
        noticed(Lie::QuorumOfTwo, &[rule], &[Kind::Cut], |options| {
            options.fault_gap = 4 * options.lease;
            options.unwatched = vec![
                "I1",
                "I2",
                "I3",
                "I4",
                "I5",
                "I6",
                "I7",
                "I8",
                "I9",
                "I10",
                "agreement",
                "replies",
            ];
            options.unwatched.retain(|other| *other != rule);
        });
    }
}

/// A canvass that anybody answers for everybody lets a minority raise the term.
#[test]
fn mutation_a_minority_stands() {
    noticed(Lie::ForgedYes, &["I6"], &[Kind::Cut], |_| {});
}

/// A RELEASE that nobody sent frees promises while the lease on them runs.
#[test]
fn mutation_a_release_is_forged() {
    noticed(Lie::ForgedRelease, &["I3"], &[Kind::Cut], |_| {});
}

/// Clocks that differ by more than the configured bound let promises end before the lease.
#[test]
fn mutation_clocks_beyond_the_bound() {
    noticed(Lie::FastClocks, &["I3"], &[Kind::Cut], |_| {});
    noticed(Lie::FastClocks, &["I2"], &[Kind::Cut], |options| options.unwatched = vec!["I3"]);
}

/// A second process of a voter's name that is heard has votes of its own.
#[test]
fn mutation_one_name_twice() {
    let rules = ["I1", "I2", "I3", "I4", "I6"];
    noticed(Lie::TwinIsHeard, &rules, &[Kind::Twin, Kind::Crash, Kind::Cut], |options| {
        options.twin = Some((options.seed % 5) as usize);
        options.fault_gap = options.lease / 2;
    });
}

/// A status that is published once in a while says that a leader leads that has stepped down.
#[test]
fn mutation_a_status_is_published_late() {
    noticed(Lie::LateStatus, &["I10"], &[Kind::Trigger, Kind::Stop], |_| {});
}

/// A status that shows the lease too long says that a leader leads after its lapse.
#[test]
fn mutation_a_status_outlives_the_lease() {
    noticed(Lie::LongStatus, &["I10"], &[Kind::Cut], |_| {});
}

/// A member that has left and is said to live comes back by gossip alone.
#[test]
fn mutation_a_member_is_resurrected() {
    noticed(Lie::Resurrects, &["returns"], &[Kind::Stop], |options| {
        options.fault_gap = 4 * options.lease;
    });
}

/// Outputs that are not carried out pile up.
#[test]
fn mutation_a_queue_is_never_drained() {
    noticed(Lie::NeverDrained, &["bounds"], &[Kind::Cut], |_| {});
}

/// A leader that does not hear its acknowledgements loses a lease that it should keep.
#[test]
fn mutation_acknowledgements_are_not_heard() {
    noticed(Lie::DeafToAcknowledgements, &["I7"], &[Kind::WallStep], |_| {});
}

/// When no canvass is answered nobody leads a healed quorum.
#[test]
fn mutation_nobody_ever_stands() {
    noticed(Lie::NobodyStands, &["I8"], &[Kind::Cut], |_| {});
}

/// A healed member whose answers nobody hears is not seen by everybody.
#[test]
fn mutation_a_member_is_not_heard() {
    noticed(Lie::MuteMember, &["agreement"], &[Kind::Cut], |options| {
        options.fault_span = 4 * options.lease;
    });
}

/// A decoder that overlooks what follows a message reads bytes that no message encodes to.
#[test]
fn mutation_bytes_after_a_message_are_overlooked() {
    noticed(Lie::LooseBytes, &["I12"], &[Kind::Cut], |options| {
        options.quality.corrupt = 20;
    });
}

/// A leader that goes on after it has told another to stand has a lease of a term that it has released.
#[test]
fn mutation_a_leader_resumes_after_go() {
    noticed(Lie::ResumesAfterGo, &["I5"], &[Kind::Operator], |_| {});
}

/// Takeovers that follow each other at once come too often.
#[test]
fn mutation_takeovers_without_a_rate() {
    noticed(Lie::RestlessTakeovers, &["I9"], &[Kind::Operator], |options| {
        options.takeover = Some((options.lease, 100 * options.lease));
        options.block = 0;
        options.fault_gap = 4 * options.lease;
        options.fault_span = 100 * options.lease;
    });
}

/// A better voter that never takes over is missed.
#[test]
fn mutation_nobody_takes_over() {
    noticed(Lie::NoTakeover, &["I9"], &[Kind::Crash, Kind::Cut], |options| {
        options.takeover = Some((options.lease, 4 * options.lease));
    });
}

/// Work that runs on when it is said to have ended runs while another leader begins its own.
#[test]
fn mutation_work_runs_on() {
    noticed(Lie::WorkRunsOn, &["I11"], &[Kind::Operator], |options| {
        options.work_grace = options.lease / 8;
    });
}

/// A guardian that says the last word of a process that lives ends the term of a running lease.
#[test]
fn mutation_a_guardian_is_hasty() {
    noticed(Lie::HastyGuardian, &["I5"], &[Kind::Crash], |options| options.guarded = 1_000);
    noticed(Lie::HastyGuardian, &["I3"], &[Kind::Crash], |options| {
        options.guarded = 1_000;
        options.unwatched = vec!["I5"];
    });
}

/// An operator who is never answered, and one who is told what is not so.
#[test]
fn mutation_operators_are_misled() {
    noticed(Lie::LosesReplies, &["replies"], &[Kind::Operator], |_| {});
    noticed(Lie::SaysDone, &["replies"], &[Kind::Operator], |_| {});
}
