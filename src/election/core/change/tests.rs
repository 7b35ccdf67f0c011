//! The rules of a change of voters, one by one; the numbers are those of the module's invariants.

use core::time::Duration;
use ringrift_wire::{
    Acknowledge, Answer, Coordinator, Election, Inquire, Message, NodeId, Priority, Refusal,
    Report, Verdict, VoterSetTag,
};

use super::super::{Core, Counted, Output, Rules};
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

/// Three voters, and one more in each version above 4.
fn set(version: u32) -> VoterSet {
    let all = ["a", "b", "c", "d", "e", "f"].map(id);
    VoterSet::new(&all[..(version as usize).saturating_sub(1).clamp(3, 6)], version)
}

fn tag(version: u32) -> VoterSetTag {
    set(version).tag()
}

/// Voter `a` with the file of version `own`.
fn voter(own: u32, set_version: u32, led_version: u32) -> Core {
    restored(own, set_version, led_version, None)
}

fn restored(own: u32, set_version: u32, led_version: u32, promise: Option<Promise>) -> Core {
    let rules = Rules { me: id("a"), nonce: 1, set: set(own), lease: L, drift_ppm: 0 };
    let record = VoteRecord {
        term: 5,
        voted_for: None,
        nonce: 0,
        longest_lease: L,
        set_version,
        led_version,
        drained: false,
    };
    let promise = RestoredPromise::Exact(promise);
    Core::new(rules, Restored { record: Some(record), promise, may_release: true }, at(0))
}

/// Answers every write; gives the last record among them and what was sent.
fn settle(core: &mut Core) -> (Option<VoteRecord>, Vec<(NodeId, Message)>) {
    let (mut record, mut sent) = (None, Vec::new());
    while let Some(output) = core.poll_output() {
        match output {
            Output::Persist { number, write } => {
                if let Write::Record(written) = write {
                    record = Some(written);
                }
                core.persisted(number, true);
            }
            Output::Send { to, message } => sent.push((to, message)),
        }
    }
    (record, sent)
}

fn asked(under: VoterSetTag, term: u64) -> Election {
    Election { set: under, term, number: 7, lease_ms: 10_000, priority: BEST }
}

fn beat(under: VoterSetTag, term: u64) -> Coordinator {
    Coordinator { set: under, term, number: 7, lease_ms: 10_000 }
}

/// Stands, and gives the number of its ELECTION.
fn stand(core: &mut Core, term_above: u64) -> u64 {
    core.stand(at(0), term_above).unwrap();
    settle(core);
    core.solicit(at(0), &[id("b")], BEST).unwrap();
    let sent = settle(core).1;
    match &sent[0].1 {
        Message::Election(asked) => asked.number,
        other => panic!("{other:?}"),
    }
}

fn granted(under: VoterSetTag, term: u64, number: u64) -> Answer {
    Answer { set: under, term, number, verdict: Verdict::Granted }
}

#[test]
fn without_evidence_nobody_stands() {
    assert_eq!(voter(5, 4, 3).stand(at(0), 0), None, "invariant 1");
    assert_eq!(voter(5, 4, 4).stand(at(0), 0), Some(6));
    assert_eq!(voter(5, 4, 7).stand(at(0), 0), Some(6), "of a later version is evidence too");
    assert_eq!(voter(1, 1, 0).stand(at(0), 0), Some(6), "the first version has none before it");
    assert_eq!(voter(5, 6, 6).stand(at(0), 0), None, "it has taken part under a later version");
}

#[test]
fn a_leader_that_is_heard_is_durable_evidence_also_when_it_is_refused() {
    let mut core = voter(5, 4, 3);
    core.acknowledge(at(0), id("b"), 9, &beat(tag(4), 6), BEST).unwrap();
    let (record, sent) = settle(&mut core);
    assert_eq!(record.map(|record| record.led_version), Some(4));
    assert!(matches!(sent[0].1, Message::Acknowledge(_)), "{sent:?}");
    // A second one is refused for the promise to the first.
    let refused = core.acknowledge(at(0), id("c"), 9, &beat(tag(6), 7), BEST);
    assert!(matches!(refused, Err(Refusal::Promised { .. })));
    assert_eq!(settle(&mut core).0.map(|record| record.led_version), Some(6));
    // And one that is no neighbour.
    let refused = core.acknowledge(at(0), id("c"), 9, &beat(tag(9), 7), BEST);
    assert_eq!(refused, Err(Refusal::VoterSet));
    assert_eq!(settle(&mut core).0.map(|record| record.led_version), Some(9));
}

#[test]
fn another_list_of_the_same_version_is_no_evidence_and_gets_nothing() {
    let other = VoterSet::new(&["a", "b", "x"].map(id), 5).tag();
    let mut core = voter(5, 4, 2);
    assert_eq!(core.vote(at(0), id("b"), 9, &asked(other, 6)), Err(Refusal::VoterSet));
    let refused = core.acknowledge(at(0), id("b"), 9, &beat(other, 6), BEST);
    assert_eq!(refused, Err(Refusal::VoterSet));
    assert_eq!(core.record().led_version, 4, "that its predecessor has led it does prove");
    assert!(!core.counts(other));
}

#[test]
fn a_promise_goes_to_neighbours_and_no_further() {
    for (under, expected) in [
        (2, Err(Refusal::VoterSet)),
        (3, Ok(())),
        (4, Ok(())),
        (5, Ok(())),
        (6, Err(Refusal::VoterSet)),
    ] {
        let mut core = voter(4, 1, 3);
        assert_eq!(core.vote(at(0), id("b"), 9, &asked(tag(under), 6)), expected, "under {under}");
    }
}

#[test]
fn who_has_promised_under_its_version_promises_nothing_below_it() {
    let mut core = voter(5, 4, 4);
    core.vote(at(0), id("b"), 9, &asked(tag(4), 6)).unwrap();
    assert_eq!(settle(&mut core).0.map(|record| record.set_version), Some(4));
    core.vote(at(10), id("b"), 9, &asked(tag(5), 7)).unwrap();
    let (record, sent) = settle(&mut core);
    assert_eq!(record.map(|record| record.set_version), Some(5));
    assert!(matches!(sent[..], [(_, Message::Answer(_))]));
    let refused = core.vote(at(20), id("b"), 9, &asked(tag(4), 8));
    assert_eq!(refused, Err(Refusal::VoterSet));
    let refused = core.acknowledge(at(20), id("b"), 9, &beat(tag(4), 8), BEST);
    assert_eq!(refused, Err(Refusal::VoterSet));
    // Neither does the next process, whatever its file says.
    assert!(!voter(4, 5, 4).may_promise_under(tag(4)));
    assert!(!voter(4, 5, 4).may_promise_under(tag(5)), "an older file takes no part");
}

#[test]
fn the_promise_waits_until_the_version_is_durable() {
    let mut core = voter(5, 4, 4);
    core.vote(at(0), id("b"), 9, &asked(tag(5), 6)).unwrap();
    let outputs: Vec<Output> = core::iter::from_fn(|| core.poll_output()).collect();
    let of_record = outputs.iter().find_map(|output| match output {
        Output::Persist { number, write: Write::Record(record) } => Some((*number, *record)),
        _ => None,
    });
    assert_eq!(of_record.map(|(_, record)| record.set_version), Some(5));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Send { .. })), "{outputs:?}");
    // The acknowledgement of a leader in a term that is known waits likewise.
    let mut core = voter(5, 4, 5);
    core.acknowledge(at(0), id("b"), 9, &beat(tag(4), 6), BEST).unwrap();
    settle(&mut core);
    let until = at(10);
    core.acknowledge(until, id("b"), 9, &beat(tag(5), 6), BEST).unwrap();
    let first = core.poll_output();
    let written = matches!(first, Some(Output::Persist { write: Write::Record(r), .. })
        if r.set_version == 5);
    assert!(written, "{first:?}");
}

#[test]
fn standing_counts_as_a_promise_under_the_own_version() {
    let mut core = voter(5, 4, 4);
    core.stand(at(0), 0).unwrap();
    assert_eq!(settle(&mut core).0.map(|record| record.set_version), Some(5));
    assert!(core.has_switched());
}

#[test]
fn votes_of_a_lower_version_do_not_make_the_first_leader() {
    // Four voters: three votes are a quorum.
    let mut core = voter(5, 4, 4);
    let number = stand(&mut core, 0);
    for name in ["b", "c", "d"] {
        let counted = core.on_answer(at(0), id(name), &granted(tag(4), 6, number));
        assert_eq!(counted, Counted::Nothing, "{name}");
    }
    assert!(matches!(
        core.on_answer(at(0), id("b"), &granted(tag(5), 6, number)),
        Counted::Granted(_)
    ));
    let won = core.on_answer(at(0), id("c"), &granted(tag(6), 6, number));
    assert!(matches!(won, Counted::Won(_)), "the next version counts");
    assert_eq!(settle(&mut core).0.map(|record| record.led_version), Some(5));
}

#[test]
fn once_a_version_has_led_votes_of_the_one_below_count() {
    let mut core = voter(5, 5, 5);
    let number = stand(&mut core, 0);
    assert!(matches!(
        core.on_answer(at(0), id("b"), &granted(tag(4), 6, number)),
        Counted::Granted(_)
    ));
    assert!(matches!(core.on_answer(at(0), id("c"), &granted(tag(4), 6, number)), Counted::Won(_)));
    let (number, _) = core.beat(at(1), &[id("d")]).unwrap();
    let answer = |under, number| Acknowledge {
        set: under,
        term: 6,
        number,
        priority: BEST,
        verdict: Verdict::Granted,
    };
    let counted = core.on_acknowledge(id("d"), &answer(tag(4), number));
    assert!(matches!(counted, Counted::Granted(_)));
    assert_eq!(core.on_acknowledge(id("d"), &answer(tag(7), number)), Counted::Nothing);
}

#[test]
fn a_quorum_is_one_of_the_own_set() {
    // Five voters: `f` is none of them, and two votes beside the own are needed.
    let mut core = voter(6, 6, 6);
    let number = stand(&mut core, 0);
    core.on_answer(at(0), id("f"), &granted(tag(7), 6, number));
    core.on_answer(at(0), id("b"), &granted(tag(5), 6, number));
    assert_eq!(core.leading_term(), None);
    core.on_answer(at(0), id("e"), &granted(tag(7), 6, number));
    assert_eq!(core.leading_term(), Some(6));
}

#[test]
fn a_promise_survives_the_switch() {
    let promise = Promise { to: id("b"), nonce: 9, term: 5, until: at(10) };
    let mut core = restored(5, 4, 4, Some(promise));
    let refused = core.vote(at(9), id("c"), 9, &asked(tag(5), 6));
    assert!(matches!(refused, Err(Refusal::Promised { .. })));
    assert_eq!(core.stand(at(9), 0), None);
    assert_eq!(core.vote(at(10), id("c"), 9, &asked(tag(5), 6)), Ok(()));
}

#[test]
fn an_empty_store_takes_the_evidence_of_others_and_the_floor_of_its_file() {
    let rules = Rules { me: id("a"), nonce: 1, set: set(5), lease: L, drift_ppm: 0 };
    let promise = RestoredPromise::Unknown { last_possible: at(0) };
    let mut core = Core::new(rules, Restored { record: None, promise, may_release: false }, at(0));
    for (name, number) in [("b", 1), ("c", 2)] {
        core.genesis_mut().unwrap().asked(at(10), number);
        let record = Some(ringrift_wire::Record { term: 9, led_version: 4 });
        let longest_lease_ms = 10_000;
        let set = tag(4);
        let report = Report { set, number, record, met_as_new: false, longest_lease_ms };
        core.on_report(id(name), 3, &report);
    }
    assert_eq!(core.adopt(at(10), 0), Some(9));
    assert_eq!((core.record().set_version, core.record().led_version), (5, 4));
    assert!(!core.may_promise_under(tag(4)) && core.has_evidence());
    let report = core.report(id("b"), 3, &Inquire { set: tag(5), number: 4 });
    assert_eq!(report.record.map(|record| record.led_version), Some(4));
}

#[test]
fn a_new_voter_of_a_neighbouring_version_does_not_shorten_the_wait() {
    let rules = Rules { me: id("a"), nonce: 1, set: set(1), lease: L, drift_ppm: 0 };
    let promise = RestoredPromise::Unknown { last_possible: at(0) };
    let restored = Restored { record: None, promise, may_release: false };
    let hear = |under: VoterSetTag| {
        let mut core = Core::new(rules.clone(), restored, at(0));
        for (name, number) in [("b", 1), ("c", 2)] {
            core.genesis_mut().unwrap().asked(at(0), number);
            let (record, longest_lease_ms) = (None, 10_000);
            let report = Report { set: under, number, record, met_as_new: true, longest_lease_ms };
            core.on_report(id(name), 3, &report);
        }
        core.adopt(at(0), 100)
    };
    assert_eq!(hear(tag(1)), Some(100));
    assert_eq!(hear(tag(2)), None);
}
