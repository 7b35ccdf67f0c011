//! The rules of safety, one by one.

use core::time::Duration;
use ringrift_wire::{
    Acknowledge, Answer, Coordinator, Election, Inquire, Message, NodeId, Priority, Refusal,
    Release, Report, Verdict,
};

use super::{Core, Counted, Output, Rules};
use crate::election::quorum::VoterSet;
use crate::election::record::{Promise, Restored, RestoredPromise, VoteRecord, Write};
use crate::time::Instant;

const L: Duration = Duration::from_secs(10);
const BEST: Priority =
    Priority { drained: false, last: false, stability: 0, centrality: 0, gpu: 0, order: 1 };

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn set() -> VoterSet {
    VoterSet::new(&["a", "b", "c", "d", "e"].map(id), 1)
}

fn rules() -> Rules {
    Rules { me: id("a"), nonce: 1, set: set(), lease: L, drift_ppm: 0 }
}

fn record(term: u64, voted_for: Option<(&str, u64)>) -> VoteRecord {
    VoteRecord {
        term,
        voted_for: voted_for.map(|(name, _)| id(name)),
        nonce: voted_for.map_or(0, |(_, nonce)| nonce),
        longest_lease: L,
        set_version: 1,
        led_version: 0,
        drained: false,
    }
}

/// Voter `a`, started at zero with a record and no promise.
fn voter() -> Core {
    let promise = RestoredPromise::Exact(None);
    let restored = Restored { record: Some(record(5, None)), promise, may_release: true };
    Core::new(rules(), restored, at(0))
}

fn election(term: u64, number: u64) -> Election {
    Election { set: set().tag(), term, number, lease_ms: 10_000, priority: BEST }
}

fn beat(term: u64, number: u64) -> Coordinator {
    Coordinator { set: set().tag(), term, number, lease_ms: 10_000 }
}

fn release(nonce: u64, term: u64, dead: bool) -> Release {
    Release { set: set().tag(), nonce, term, dead }
}

fn granted(term: u64, number: u64) -> Answer {
    Answer { set: set().tag(), term, number, verdict: Verdict::Granted }
}

fn drain(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.poll_output()).collect()
}

fn sends(outputs: &[Output]) -> Vec<(NodeId, Message)> {
    let send = |output: &Output| match output {
        Output::Send { to, message } => Some((*to, message.clone())),
        Output::Persist { .. } => None,
    };
    outputs.iter().filter_map(send).collect()
}

/// Answers every write, and returns what that lets go.
fn persist_all(core: &mut Core) -> Vec<Output> {
    let mut outputs = drain(core);
    let writes: Vec<u64> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Persist { number, .. } => Some(*number),
            Output::Send { .. } => None,
        })
        .collect();
    for number in writes {
        core.persisted(number, true);
    }
    outputs.extend(drain(core));
    outputs
}

/// Lets `a` win the term after its record's with the votes of `b` and `c`.
fn elect(core: &mut Core, now: Instant) -> u64 {
    let term = core.stand(now, 0).unwrap();
    persist_all(core);
    core.solicit(now, &[id("b"), id("c")], BEST).unwrap();
    let number = last_number(&drain(core));
    assert!(matches!(core.on_answer(now, id("b"), &granted(term, number)), Counted::Granted(_)));
    assert!(matches!(core.on_answer(now, id("c"), &granted(term, number)), Counted::Won(_)));
    term
}

fn last_number(outputs: &[Output]) -> u64 {
    let number = |(_, message): &(NodeId, Message)| match message {
        Message::Election(asked) => Some(asked.number),
        Message::Coordinator(beat) => Some(beat.number),
        _ => None,
    };
    sends(outputs).iter().filter_map(number).next_back().unwrap()
}

#[test]
fn a_vote_leaves_only_when_record_and_promise_are_written() {
    let mut core = voter();
    assert_eq!(core.vote(at(1), id("b"), 7, &election(6, 1)), Ok(()));
    let outputs = drain(&mut core);
    let [
        Output::Persist { number: first, write: Write::Record(written) },
        Output::Persist { number: second, write: Write::Promise(Some(promise)) },
    ] = outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((written.term, written.voted_for, written.nonce), (6, Some(id("b")), 7));
    assert_eq!(promise, Promise { to: id("b"), nonce: 7, term: 6, until: at(11) });
    core.persisted(second, true);
    assert_eq!(drain(&mut core), []);
    core.persisted(first, true);
    assert_eq!(sends(&drain(&mut core)), [(id("b"), Message::Answer(granted(6, 1)))]);
}

#[test]
fn a_failed_write_drops_the_vote_and_stops_voting() {
    let mut core = voter();
    core.vote(at(1), id("b"), 7, &election(6, 1)).unwrap();
    let Output::Persist { number, .. } = drain(&mut core)[0] else { panic!() };
    assert!(core.persisted(number, false));
    core.persisted(number + 1, true);
    assert_eq!(sends(&drain(&mut core)), []);
    assert_eq!(core.vote(at(30), id("b"), 7, &election(7, 2)), Err(Refusal::Store));
    core.retry_record();
    persist_all(&mut core);
    assert_eq!(core.vote(at(30), id("c"), 7, &election(6, 2)), Err(Refusal::Voted));
    assert_eq!(core.vote(at(30), id("c"), 7, &election(7, 2)), Ok(()));
}

/// On a disk that was slower than the attempts a store that had failed once never worked again.
#[test]
fn a_failed_record_is_tried_again_once_the_attempt_before_has_ended() {
    let mut core = voter();
    core.vote(at(1), id("b"), 7, &election(6, 1)).unwrap();
    let Output::Persist { number, .. } = drain(&mut core)[0] else { panic!() };
    assert!(core.persisted(number, false));
    core.retry_record();
    let Output::Persist { number, .. } = drain(&mut core)[0] else { panic!() };
    core.retry_record();
    assert_eq!(drain(&mut core), []);
    assert!(core.persisted(number, true));
    assert!(core.store_works());
}

#[test]
fn one_vote_per_term_and_process() {
    let mut core = voter();
    assert_eq!(core.vote(at(1), id("b"), 7, &election(5, 1)), Err(Refusal::Voted));
    assert_eq!(core.vote(at(1), id("b"), 7, &election(4, 1)), Err(Refusal::Term));
    assert_eq!(core.vote(at(1), id("b"), 7, &election(6, 1)), Ok(()));
    assert_eq!(core.vote(at(1), id("b"), 7, &election(6, 2)), Ok(()), "asked again");
    let late = at(20);
    assert_eq!(core.vote(late, id("c"), 7, &election(6, 1)), Err(Refusal::Voted));
    assert_eq!(
        core.vote(late, id("b"), 8, &election(6, 1)),
        Err(Refusal::Voted),
        "another process"
    );
}

#[test]
fn a_promise_binds_whatever_the_term_until_its_end() {
    let mut core = voter();
    core.acknowledge(at(0), id("b"), 7, &beat(6, 1), BEST).unwrap();
    let refused = Err(Refusal::Promised { free_in_us: 1_000_000 });
    assert_eq!(core.vote(at(9), id("c"), 7, &election(99, 1)), refused);
    assert_eq!(core.acknowledge(at(9), id("c"), 7, &beat(99, 1), BEST), refused);
    assert_eq!(core.acknowledge(at(9), id("b"), 8, &beat(99, 1), BEST), refused, "another process");
    assert_eq!(core.vote(at(10), id("c"), 7, &election(99, 1)), Ok(()));
}

#[test]
fn a_shorter_lease_shortens_nothing_and_a_longer_one_is_remembered() {
    let mut core = voter();
    core.acknowledge(at(0), id("b"), 7, &Coordinator { lease_ms: 40_000, ..beat(6, 1) }, BEST)
        .unwrap();
    core.acknowledge(at(1), id("b"), 7, &beat(6, 2), BEST).unwrap();
    assert_eq!(core.promise(at(1)).unwrap().until, at(40));
    assert_eq!(core.record().longest_lease, 4 * L);
    let too_long = Coordinator { lease_ms: 101_000, ..beat(6, 3) };
    assert_eq!(core.acknowledge(at(2), id("b"), 7, &too_long, BEST), Err(Refusal::Lease));
}

#[test]
fn release_frees_only_that_process_and_that_term() {
    let mut core = voter();
    core.acknowledge(at(0), id("b"), 7, &beat(6, 1), BEST).unwrap();
    assert!(!core.release(at(1), id("b"), &release(8, 6, false)), "another process");
    assert!(!core.release(at(1), id("b"), &release(7, 5, false)), "another term");
    assert!(!core.release(at(1), id("c"), &release(7, 6, false)), "another name");
    drain(&mut core);
    assert!(core.release(at(1), id("b"), &release(7, 6, false)));
    let written = drain(&mut core);
    assert!(
        matches!(written[..], [Output::Persist { write: Write::Promise(None), .. }]),
        "{written:?}"
    );
    assert_eq!(core.vote(at(1), id("c"), 7, &election(7, 1)), Ok(()));
}

#[test]
fn an_abstaining_voter_never_writes_that_it_has_promised_nothing() {
    let promise = RestoredPromise::Unknown { last_possible: at(0) };
    let restored = Restored { record: Some(record(5, None)), promise, may_release: true };
    let mut core = Core::new(rules(), restored, at(1));
    core.acknowledge(at(1), id("b"), 7, &beat(5, 1), BEST).unwrap();
    drain(&mut core);
    assert!(core.release(at(2), id("b"), &release(7, 5, false)));
    assert_eq!(drain(&mut core), []);
}

#[test]
fn release_of_the_dead_frees_every_term_up_to_it() {
    let mut core = voter();
    core.acknowledge(at(0), id("b"), 7, &beat(6, 1), BEST).unwrap();
    assert!(core.release(at(1), id("b"), &release(7, 8, true)));
}

#[test]
fn a_released_term_is_not_acknowledged_again() {
    let mut core = voter();
    core.acknowledge(at(0), id("b"), 7, &beat(6, 1), BEST).unwrap();
    core.release(at(1), id("b"), &release(7, 6, false));
    assert_eq!(core.acknowledge(at(1), id("b"), 7, &beat(6, 2), BEST), Err(Refusal::Term));
    assert_eq!(core.acknowledge(at(1), id("b"), 7, &beat(7, 3), BEST), Ok(()));
}

#[test]
fn an_abstaining_voter_acknowledges_no_lower_term_and_does_not_vote() {
    let promise = RestoredPromise::Unknown { last_possible: at(0) };
    let restored = Restored { record: Some(record(5, None)), promise, may_release: true };
    let mut core = Core::new(rules(), restored, at(1));
    let refused = Err(Refusal::Abstaining { free_in_us: 9_000_000 });
    assert_eq!(core.vote(at(1), id("b"), 7, &election(6, 1)), refused);
    assert_eq!(core.acknowledge(at(1), id("b"), 7, &beat(4, 1), BEST), Err(Refusal::Term));
    assert_eq!(core.stand(at(1), 0), None);
    assert_eq!(core.acknowledge(at(1), id("b"), 7, &beat(5, 1), BEST), Ok(()));
    assert_eq!(core.abstains_until(at(10)), None);
}

#[test]
fn the_exact_promise_survives_a_restart() {
    let kept = Promise { to: id("b"), nonce: 7, term: 5, until: at(4) };
    let promise = RestoredPromise::Exact(Some(kept));
    let restored = Restored { record: Some(record(5, None)), promise, may_release: true };
    let mut core = Core::new(rules(), restored, at(1));
    assert!(matches!(core.vote(at(3), id("c"), 7, &election(6, 1)), Err(Refusal::Promised { .. })));
    assert_eq!(core.vote(at(4), id("c"), 7, &election(6, 1)), Ok(()));
}

#[test]
fn a_dead_predecessor_is_released_and_a_copied_store_frees_nothing() {
    let own = Promise { to: id("a"), nonce: 9, term: 5, until: at(4) };
    let restored = |may_release| Restored {
        record: Some(record(5, Some(("a", 9)))),
        promise: RestoredPromise::Exact(Some(own)),
        may_release,
    };
    let mut core = Core::new(rules(), restored(true), at(1));
    let told = sends(&drain(&mut core));
    assert_eq!(told.len(), 4);
    assert_eq!(told[0], (id("b"), Message::Release(release(9, 5, true))));
    assert_eq!(core.promise(at(1)), None);
    let mut copied = Core::new(rules(), restored(false), at(1));
    assert_eq!(sends(&drain(&mut copied)), []);
    assert_eq!(copied.abstains_until(at(1)), Some(at(11)));
}

#[test]
fn an_empty_store_neither_votes_nor_acknowledges() {
    let promise = RestoredPromise::Exact(None);
    let mut core = Core::new(rules(), Restored { record: None, promise, may_release: true }, at(0));
    assert_eq!(core.vote(at(90), id("b"), 7, &election(6, 1)), Err(Refusal::Empty));
    assert_eq!(core.acknowledge(at(90), id("b"), 7, &beat(6, 1), BEST), Err(Refusal::Empty));
    assert_eq!(core.stand(at(90), 0), None);
    assert_eq!(core.adopt(at(90), 1_000), None, "nobody was asked");
}

#[test]
fn election_leaves_only_after_the_own_vote_is_durable() {
    let mut core = voter();
    assert_eq!(core.stand(at(0), 8), Some(9));
    assert_eq!(core.solicit(at(0), &[id("b")], BEST), None);
    persist_all(&mut core);
    assert!(core.solicit(at(0), &[id("b")], BEST).is_some());
}

#[test]
fn the_lease_counts_from_the_send_that_was_answered() {
    let mut core = voter();
    let term = elect(&mut core, at(0));
    let guard = Duration::from_millis(100);
    assert_eq!(core.lease(), Some((at(10) - guard, at(0))));
    core.beat(at(2), &[id("b"), id("c")]).unwrap();
    let second = last_number(&drain(&mut core));
    core.beat(at(4), &[id("b"), id("c")]).unwrap();
    drain(&mut core);
    // The answer to the beat of second 2 arrives at second 5: it is worth 2 + L.
    let answer = Acknowledge {
        set: set().tag(),
        term,
        number: second,
        priority: BEST,
        verdict: Verdict::Granted,
    };
    core.on_acknowledge(id("b"), &answer);
    assert_eq!(core.lease(), Some((at(10) - guard, at(0))), "one of two");
    core.on_acknowledge(id("c"), &answer);
    assert_eq!(core.lease(), Some((at(12) - guard, at(2))));
    let forged = Acknowledge { number: 0, ..answer };
    assert_eq!(core.on_acknowledge(id("d"), &forged), Counted::Nothing);
}

#[test]
fn a_lapsed_leader_never_leads_that_term_again() {
    let mut core = voter();
    let term = elect(&mut core, at(0));
    core.beat(at(5), &[id("b"), id("c")]).unwrap();
    let number = last_number(&drain(&mut core));
    assert!(core.leads(at(9)) && !core.leads(at(10)));
    assert_eq!(core.expire(at(10)), Some(term));
    let told = sends(&drain(&mut core));
    assert!(told.contains(&(id("e"), Message::Release(release(1, term, false)))), "{told:?}");
    let verdict = Verdict::Granted;
    let late = Acknowledge { set: set().tag(), term, number, priority: BEST, verdict };
    assert_eq!(core.on_acknowledge(id("b"), &late), Counted::Nothing);
    assert_eq!(core.on_acknowledge(id("c"), &late), Counted::Nothing);
    assert!(!core.leads(at(10)));
    assert!(core.stand(at(10), 0).unwrap() > term);
}

#[test]
fn a_candidate_that_gave_up_counts_no_late_vote() {
    let mut core = voter();
    let term = core.stand(at(0), 0).unwrap();
    persist_all(&mut core);
    core.solicit(at(0), &[id("b"), id("c")], BEST).unwrap();
    let number = last_number(&drain(&mut core));
    assert_eq!(core.give_up(at(1)), Some(term));
    for voter in ["b", "c", "d", "e"] {
        assert_eq!(core.on_answer(at(1), id(voter), &granted(term, number)), Counted::Nothing);
    }
    assert!(!core.leads(at(1)));
}

#[test]
fn a_leader_raises_its_term_without_ceasing_to_lead() {
    let mut core = voter();
    let term = elect(&mut core, at(0));
    let higher = core.stand(at(1), 40).unwrap();
    assert_eq!(higher, 41);
    persist_all(&mut core);
    assert!(core.leads(at(1)) && core.leading_term() == Some(term));
    assert_eq!(core.give_up(at(1)), Some(41), "a failed re-election");
    assert_eq!(sends(&drain(&mut core)), [], "sends no RELEASE");
    assert!(core.leads(at(1)));
    let higher = core.stand(at(2), 0).unwrap();
    persist_all(&mut core);
    core.solicit(at(2), &[id("b"), id("c")], BEST).unwrap();
    let number = last_number(&drain(&mut core));
    core.on_answer(at(2), id("b"), &granted(higher, number));
    core.on_answer(at(2), id("c"), &granted(higher, number));
    assert_eq!(core.leading_term(), Some(42));
    assert_eq!(core.lease().unwrap().1, at(2));
}

#[test]
fn a_leader_votes_for_nobody() {
    let mut core = voter();
    elect(&mut core, at(0));
    assert!(matches!(
        core.vote(at(1), id("b"), 7, &election(99, 1)),
        Err(Refusal::Promised { .. })
    ));
    assert!(matches!(
        core.acknowledge(at(1), id("b"), 7, &beat(99, 1), BEST),
        Err(Refusal::Promised { .. })
    ));
}

#[test]
fn a_candidate_makes_room_for_a_leader() {
    let mut core = voter();
    let term = core.stand(at(0), 0).unwrap();
    persist_all(&mut core);
    assert_eq!(core.acknowledge(at(1), id("b"), 7, &beat(term, 1), BEST), Ok(()));
    assert!(!core.is_candidate());
    assert_eq!(core.promise(at(1)).unwrap().to, id("b"));
}

#[test]
fn whoever_was_new_together_with_this_voter_is_told_so_later() {
    let promise = RestoredPromise::Exact(None);
    let mut core = Core::new(rules(), Restored { record: None, promise, may_release: true }, at(0));
    core.genesis_mut().unwrap().asked(at(0), 3);
    let new = Report {
        set: set().tag(),
        number: 3,
        record: None,
        met_as_new: false,
        longest_lease_ms: 10_000,
    };
    for voter in ["b", "c", "d", "e"] {
        core.on_report(id(voter), 7, &new);
    }
    assert_eq!(core.adopt(at(0), 1_000), Some(1_000));
    let asked = Inquire { set: set().tag(), number: 1 };
    let told = core.report(id("e"), 7, &asked);
    assert!(told.met_as_new && told.record.is_some());
    assert!(!core.report(id("e"), 8, &asked).met_as_new, "another process of that name");
}
