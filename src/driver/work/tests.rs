//! What the loop orders, and when.

use super::*;
use crate::config;

const L: Duration = Duration::from_secs(60);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

struct Desk {
    work: Work,
    orders: mpsc::UnboundedReceiver<Order>,
    end_by: watch::Receiver<Option<Instant>>,
}

/// Hooks for all, a grace of 15 s under a lease of 60 s.
fn desk() -> Desk {
    let text = "voters: [a]\nhooks: {on_gain: [g], on_lose: [l], on_leader_change: [c]}\n";
    let hooks = config::parse(text).unwrap().config.hooks;
    assert_eq!(hooks.grace, L / 4);
    let (orders, ordered) = mpsc::unbounded_channel();
    let (end_by, ends) = watch::channel(None);
    let plan = Plan { hooks, command: None };
    let work = Work::new(id("a"), String::from("/store"), plan, orders, end_by);
    Desk { work, orders: ordered, end_by: ends }
}

impl Desk {
    /// What was ordered since: a word and a term each.
    fn ordered(&mut self) -> Vec<(&'static str, u64)> {
        let all = core::iter::from_fn(|| self.orders.try_recv().ok());
        all.map(|order| match order {
            Order::Gain { term, .. } => ("gain", term),
            Order::End { term, .. } => ("end", term),
            Order::Change { .. } => ("change", 0),
        })
        .collect()
    }

    fn ends_by(&self) -> Option<Instant> {
        *self.end_by.borrow()
    }
}

/// Invariant 2, by choice: the node waits for the answer.
#[test]
fn an_end_by_choice_is_answered_once_all_has_ended() {
    let mut desk = desk();
    assert_eq!(desk.work.end(7, LossCause::Stopped, at(9)), Some(Step::Ended(7)), "there is none");
    desk.work.gained(7);
    assert_eq!(desk.work.end(7, LossCause::Stopped, at(900)), None);
    assert_eq!(desk.ends_by(), Some(at(900)), "whatever runs is interrupted");
    assert_eq!(desk.ordered(), [("gain", 7), ("end", 7)]);
    assert!(desk.work.is_busy());
    assert_eq!(desk.work.report(Report::Ended { term: 7 }), Some(Step::Ended(7)));
    assert_eq!((desk.ends_by(), desk.work.is_busy()), (None, false));
}

#[test]
fn the_answer_names_the_term_that_was_asked_for_though_the_work_began_in_a_lower_one() {
    let mut desk = desk();
    desk.work.gained(7);
    assert_eq!(desk.work.end(9, LossCause::Stopped, at(900)), None);
    assert_eq!(desk.ordered(), [("gain", 7), ("end", 7)]);
    assert_eq!(desk.work.report(Report::Ended { term: 7 }), Some(Step::Ended(9)));
}

/// Invariants 2 and 3.
#[test]
fn work_under_a_thin_lease_ends_in_time_and_the_lead_is_given_up_even_if_a_renewal_comes() {
    let mut desk = desk();
    desk.work.gained(7);
    let end = at(60_000);
    assert_eq!(desk.work.next_deadline(Some(end)), Some(end - L / 4));
    assert!(!desk.work.tick(at(44_999), Some(end)));
    assert!(desk.work.tick(at(45_000), Some(end)));
    assert_eq!(desk.ends_by(), Some(end));
    assert!(!desk.work.tick(at(45_001), Some(at(99_000))), "a renewal changes nothing");
    assert_eq!(desk.ordered(), [("gain", 7), ("end", 7)]);
    let step = desk.work.report(Report::Ended { term: 7 });
    assert_eq!(step, Some(Step::GiveUp(LossCause::LeaseThin)));
    assert!(desk.work.shown().failure.is_some_and(|why| why.contains("thin")));
    // Nothing begins again in this term.
    assert!(!desk.work.tick(at(45_002), Some(at(99_000))));
    assert_eq!(desk.ordered(), []);
    assert_eq!(desk.work.end(7, LossCause::LeaseThin, at(99_000)), Some(Step::Ended(7)));
}

/// Invariant 4.
#[test]
fn a_failed_beginning_gives_the_lead_up_and_is_ended_like_any_other() {
    let mut desk = desk();
    desk.work.gained(7);
    let failed = |term| Report::Failed { term, why: String::from("it did not work") };
    assert_eq!(desk.work.report(failed(6)), None, "of an old term");
    let step = desk.work.report(failed(7));
    assert_eq!(step, Some(Step::GiveUp(LossCause::WorkFailed)));
    assert_eq!(desk.work.shown().failure.as_deref(), Some("it did not work, in term 7"));
    assert_eq!(desk.work.end(7, LossCause::WorkFailed, at(50)), None);
    assert_eq!(desk.ordered(), [("gain", 7), ("end", 7)]);
}

/// Invariant 1.
#[test]
fn a_term_gained_while_the_one_before_is_ending_begins_after_it() {
    let mut desk = desk();
    desk.work.gained(7);
    desk.work.lost(at(5), LossCause::LeaseExpired);
    assert_eq!(desk.ends_by(), Some(at(5)), "it is killed at once");
    desk.work.gained(8);
    assert_eq!(desk.ordered(), [("gain", 7), ("end", 7)]);
    desk.work.report(Report::Ended { term: 7 });
    assert_eq!(desk.ordered(), [("gain", 8)]);
    assert_eq!(desk.ends_by(), None);
    // One that is lost before it began never begins.
    desk.work.lost(at(6), LossCause::LeaseExpired);
    desk.work.gained(9);
    desk.work.lost(at(7), LossCause::LeaseExpired);
    desk.work.report(Report::Ended { term: 8 });
    assert_eq!(desk.ordered(), [("end", 8)]);
}

#[test]
fn a_change_of_leader_is_told_on_every_node_with_the_one_before() {
    let mut desk = desk();
    for leader in [Some(id("b")), None, Some(id("c"))] {
        desk.work.changed(leader, 5);
    }
    let told = core::iter::from_fn(|| desk.orders.try_recv().ok()).map(|order| {
        let Order::Change { job, .. } = order else { panic!("{order:?}") };
        let value = |name: &str| job.environment.iter().find(|(key, _)| key == name).unwrap();
        ["RINGRIFT_LEADER", "RINGRIFT_PREVIOUS_LEADER"].map(|name| value(name).1.clone())
    });
    assert_eq!(told.collect::<Vec<_>>(), [["b", ""], ["", "b"], ["c", "b"]]);
}

#[test]
fn the_guardian_knows_until_when_the_work_must_have_ended_and_what_ends_it() {
    let mut desk = desk();
    assert!(desk.work.to_tell(None).is_empty());
    desk.work.gained(7);
    let working = |act_at: u64, end_at: u64| Note::Working {
        act_at: at(act_at).as_nanos(),
        end_at: at(end_at).as_nanos(),
    };
    let told = desk.work.to_tell(Some(at(60_000)));
    assert_eq!(told[0], working(52_500, 60_000), "half of the grace is the guardian's");
    assert!(matches!(&told[1], Note::Lose(Some(job)) if job.command == ["l"]), "{told:?}");
    assert!(desk.work.to_tell(Some(at(60_000))).is_empty(), "once");
    assert_eq!(desk.work.to_tell(Some(at(70_000))), [working(62_500, 70_000)]);
    desk.work.end(7, LossCause::Stopped, at(20_000));
    assert_eq!(desk.work.to_tell(Some(at(80_000))), [working(79_250, 80_000)]);
    // A loss that nobody asked for is not held against the node before it can have killed.
    desk.work.lost(at(10), LossCause::LeaseExpired);
    assert_eq!(desk.work.to_tell(None), [working(210, 10)]);
    desk.work.report(Report::Ended { term: 7 });
    assert_eq!(desk.work.to_tell(None), [Note::Idle]);
}
