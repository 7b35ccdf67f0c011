//! When a better voter takes over, under virtual time.

use super::super::lab::{H, LEASE, Lab, id};
use super::super::{Event, HandoverOutcome, LossCause};
use super::*;

const THREE: [&str; 3] = ["a", "b", "c"];
const AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(300);

/// The leaders from now on, each with how long after now it won.
fn moves(lab: &Lab, since: Instant) -> Vec<(NodeId, Duration)> {
    let won = |(at, who, event): &(Instant, NodeId, Event)| {
        let gained = matches!(event, Event::LeadershipGained { .. }) && *at >= since;
        gained.then(|| (*who, at.since(since)))
    };
    lab.events.iter().filter_map(won).collect()
}

/// `a` is dead and `b` leads; nobody is young any more, so that only the order decides.
fn led_by_the_second(change: impl FnOnce(&mut super::super::Params)) -> Lab {
    let mut lab = Lab::led(&THREE, change);
    lab.run(Duration::from_secs(700));
    lab.kill("a");
    lab.run(LEASE * 2);
    assert_eq!(lab.leader(), Some(id("b")));
    lab
}

fn block(lab: &Lab) -> TakeoverBlock {
    lab.machines[&lab.leader().unwrap()].takeover(lab.now).expect("a better voter").blocked_by
}

#[test]
fn the_best_voter_returns_and_leads_again_once_after_its_time() {
    let mut lab = Lab::led(&THREE, |_| {});
    lab.kill("a");
    lab.run(LEASE * 2);
    let back = lab.now;
    lab.start("a");
    lab.run(Duration::from_secs(1_000));
    let moved = moves(&lab, back);
    let [(leader, took)] = moved[..] else { panic!("{moved:?}") };
    assert_eq!(leader, id("a"));
    assert!(took >= AFTER && took < AFTER + H * 3, "{took:?}");
}

#[test]
fn a_restart_of_the_best_voter_does_not_cost_two_changes_in_a_minute() {
    let mut lab = Lab::led(&THREE, |_| {});
    lab.run(Duration::from_secs(120));
    let before = lab.now;
    lab.with(id("a"), Machine::stop);
    lab.wait_moved("a");
    lab.kill("a");
    lab.run(H);
    lab.start("a");
    lab.run(AFTER);
    assert_eq!(moves(&lab, before).len(), 1, "{:?}", moves(&lab, before));
    assert_eq!(lab.leader(), Some(id("b")), "and the second comes after more than a minute");
}

#[test]
fn a_voter_that_is_younger_by_its_stability_is_not_better() {
    let mut lab = led_by_the_second(|_| {});
    lab.start("a");
    lab.run(H * 2);
    assert_eq!(lab.machines[&id("b")].takeover(lab.now), None);
    let back = lab.now;
    lab.run(Duration::from_secs(599) + AFTER);
    assert_eq!(moves(&lab, back), [], "ten minutes of uptime, and the time of a takeover");
    lab.run(AFTER);
    assert_eq!(lab.leader(), Some(id("a")));
}

#[test]
fn ten_heartbeats_in_a_row_are_acknowledged_before_a_takeover() {
    let mut lab = Lab::led(&THREE, |params| params.hysteresis.takeover_after = H);
    lab.kill("a");
    lab.run(LEASE * 2);
    lab.start("a");
    let back = lab.now;
    lab.run(H * 8);
    assert!(matches!(block(&lab), TakeoverBlock::Heartbeats(1..=3)), "{:?}", block(&lab));
    // Those that miss one begin again.
    lab.loses = |from, to, message| {
        let beat = matches!(message, ringrift_wire::Message::Coordinator(_));
        from == id("b") && to == id("a") && beat
    };
    lab.run(H * 2);
    lab.loses = |_, _, _| false;
    lab.wait("the takeover", |lab| lab.leader() == Some(id("a")));
    let took = lab.now.since(back);
    assert!(took > H * 18 && took < H * 24, "{took:?}");
}

#[test]
fn a_voter_that_comes_and_goes_is_not_better_for_long_enough() {
    let mut lab = Lab::led(&THREE, |_| {});
    lab.kill("a");
    lab.run(LEASE * 2);
    lab.start("a");
    // About thirty seconds of every forty are heard.
    lab.loses = |from, to, message| match message {
        ringrift_wire::Message::Coordinator(beat) => {
            from == id("b") && to == id("a") && beat.number % 60 < 30
        }
        _ => false,
    };
    let back = lab.now;
    lab.run(AFTER * 20);
    assert_eq!(moves(&lab, back), []);
}

/// The best voter acknowledged heartbeats and could not lead; the next best never took over.
#[test]
fn where_the_best_is_not_ready_the_next_best_takes_over() {
    let mut lab = Lab::led(&["a", "b", "c", "d", "e"], |_| {});
    lab.kill("a");
    lab.kill("b");
    lab.run(LEASE * 2);
    assert_eq!(lab.leader(), Some(id("c")));
    lab.start("a");
    lab.start("b");
    lab.loses =
        |from, _, message| from == id("a") && matches!(message, ringrift_wire::Message::Ready(_));
    lab.run(AFTER + H * 5);
    assert_eq!(lab.leader(), Some(id("b")));
}

/// The best voter never acknowledged ten heartbeats in a row.
#[test]
fn where_the_best_comes_and_goes_the_next_best_takes_over() {
    let mut lab = Lab::led(&["a", "b", "c", "d", "e"], |_| {});
    lab.kill("a");
    lab.kill("b");
    lab.run(LEASE * 2);
    lab.start("a");
    lab.start("b");
    lab.loses = |from, to, message| match message {
        ringrift_wire::Message::Coordinator(beat) => {
            from == id("c") && to == id("a") && beat.number % 20 < 10
        }
        _ => false,
    };
    lab.run(AFTER * 2);
    assert_eq!(lab.leader(), Some(id("b")));
}

#[test]
fn what_a_takeover_waits_for_is_told() {
    let mut lab = Lab::led(&THREE, |_| {});
    assert_eq!(lab.machines[&id("a")].takeover(lab.now), None, "the best has nobody above it");
    assert_eq!(lab.machines[&id("b")].takeover(lab.now), None, "and a follower does not decide");
    lab.kill("a");
    lab.run(LEASE * 2);
    lab.start("a");
    lab.run(H * 2);
    let takeover = lab.machines[&id("b")].takeover(lab.now).unwrap();
    assert_eq!(takeover.candidate, id("a"));
    assert_eq!(takeover.blocked_by, TakeoverBlock::BetterTooBriefly);
    let left = lab.now.until(takeover.until.unwrap());
    assert!(left > AFTER - H * 4 && left <= AFTER, "{left:?}");
    let now = lab.now;
    lab.with(id("b"), |machine, _| machine.standing(now, id("a"), Standing::Suspected(now)));
    assert_eq!(block(&lab), TakeoverBlock::Unreachable);
    lab.with(id("b"), |machine, _| machine.standing(now, id("a"), Standing::Well));
    lab.run(AFTER + H * 3);
    assert_eq!(lab.leader(), Some(id("a")));
    // It fails at once and comes back at once: the next takeover has to wait for its turn.
    lab.kill("a");
    lab.run(LEASE * 2);
    lab.start("a");
    lab.run(AFTER + H * 4);
    assert_eq!(lab.leader(), Some(id("b")));
    assert_eq!(block(&lab), TakeoverBlock::Rate);
}

#[test]
fn takeovers_that_do_not_last_become_rarer() {
    let mut takeovers = Takeovers::default();
    let at = |seconds: u64| Instant::ZERO + Duration::from_secs(10_000 + seconds);
    assert_eq!(takeovers.free_at(EVERY), Instant::ZERO, "the first is free");
    let (a, b) = (id("a"), id("b"));
    takeovers.led_by(at(0), b, EVERY);
    let mut now = 0;
    for gap in [300, 600, 1_200, 2_400, 3_600, 3_600] {
        takeovers.note(at(now), EVERY);
        takeovers.led_by(at(now), a, EVERY);
        assert_eq!(takeovers.gap(EVERY), Duration::from_secs(gap));
        takeovers.led_by(at(now + 10), b, EVERY);
        let free = takeovers.free_at(EVERY);
        assert!(free >= at(now) + EVERY);
        now += free.since(at(now)).as_secs();
    }
    now += 100_000;
    takeovers.note(at(now), EVERY);
    assert_eq!(takeovers.gap(EVERY), EVERY, "calm for long enough");
}

#[test]
fn a_better_voter_that_is_not_ready_is_not_asked_all_the_time() {
    let mut lab = Lab::led(&THREE, |_| {});
    lab.kill("a");
    lab.run(LEASE * 2);
    lab.start("a");
    lab.loses = |_, _, message| matches!(message, ringrift_wire::Message::Ready(_));
    lab.run(AFTER * 2);
    assert_eq!(lab.leader(), Some(id("b")), "nothing has changed");
    let in_vain = |(_, _, event): &(Instant, NodeId, Event)| {
        let (cause, outcome) = (LossCause::TakenOver, HandoverOutcome::NoTarget);
        matches!(event, Event::HandoverEnded { cause: c, outcome: o, .. } if (*c, *o) == (cause, outcome))
    };
    let times = lab.events.iter().filter(|it| in_vain(it)).count();
    assert!((1..=60).contains(&times), "{times}");
    lab.loses = |_, _, _| false;
    lab.run(H * 5);
    assert_eq!(lab.leader(), Some(id("a")));
}

#[test]
fn whoever_never_leads_takes_nothing_over() {
    let mut lab = Lab::led(&["b", "c"], |params| {
        let never = super::super::Place { order: 0, gpu: true, never: true };
        params.places.insert(id("a"), never);
    });
    lab.start("a");
    lab.run(AFTER * 3);
    assert_eq!(lab.leader(), Some(id("b")));
    assert_eq!(lab.machines[&id("b")].takeover(lab.now), None);
    lab.with(id("b"), |machine, now| machine.transfer(now, 1, id("a")));
    lab.run(H);
    assert!(matches!(lab.reply(1), super::super::Reply::Refused { code: "NO_TARGET", .. }));
}
