//! The checks of a store whose disk answers, fails, or hangs.

use super::super::tests::bench;
use super::*;
use crate::driver::engine::tests::Bench;
use crate::node::Input;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};

const LEASE: Duration = Duration::from_secs(30);

fn checked_bench() -> (Bench, Receiver<()>) {
    let mut bench = bench(1);
    let (ask, asked) = sync_channel(1);
    bench.engine.check_store(ask, LEASE);
    (bench, asked)
}

fn sound() -> Checked {
    Checked { took: Some(Duration::from_millis(1)), error: None }
}

/// What the node was told of its store, in order.
fn told(bench: &Bench) -> Vec<Option<String>> {
    let of = |input: &Input| match input {
        Input::Command { command: Command::StoreChecked { problem }, .. } => Some(problem.clone()),
        _ => None,
    };
    bench.engine.machine.inputs.iter().filter_map(of).collect()
}

/// Turns of the loop for so long, each no later than the engine wants.
fn turns(bench: &mut Bench, length: Duration) {
    let end = bench.clock.now() + length;
    while bench.clock.now() < end {
        let next = bench.engine.next_deadline().unwrap_or(end).min(end);
        bench.clock.advance(bench.clock.now().until(next).min(LONGEST_SLEEP));
        bench.engine.tick();
    }
}

#[test]
fn a_store_is_checked_once_a_lease_and_never_twice_at_once() {
    let (mut bench, asked) = checked_bench();
    bench.engine.tick();
    bench.engine.tick();
    assert_eq!(asked.try_iter().count(), 1, "at the start");
    bench.engine.checked(sound());
    turns(&mut bench, LEASE - Duration::from_secs(1));
    assert_eq!(asked.try_iter().count(), 0);
    turns(&mut bench, Duration::from_secs(1));
    assert_eq!(asked.try_iter().count(), 1);
    turns(&mut bench, LEASE * 3);
    assert_eq!(asked.try_iter().count(), 0, "it has not answered");
    assert_eq!(told(&bench).len(), 1);
}

#[test]
fn a_check_that_fails_is_told_once_and_so_is_the_next_that_succeeds() {
    let (mut bench, _asked) = checked_bench();
    for _ in 0..2 {
        let error = Some(io::Error::other("no such folder"));
        bench.engine.checked(Checked { took: None, error });
    }
    for _ in 0..2 {
        bench.engine.checked(sound());
    }
    assert_eq!(told(&bench), [Some("no such folder".to_owned()), None]);
}

#[test]
fn a_disk_that_hangs_is_told_after_its_patience_and_its_late_answer_counts() {
    let (mut bench, _asked) = checked_bench();
    bench.engine.tick();
    turns(&mut bench, STORE_PATIENCE - Duration::from_millis(100));
    assert_eq!(told(&bench), []);
    turns(&mut bench, Duration::from_millis(200));
    assert!(matches!(&told(&bench)[..], [Some(why)] if why.contains("not answered for 5 s")));
    turns(&mut bench, LEASE * 2);
    assert_eq!(told(&bench).len(), 1);
    bench.engine.checked(sound());
    assert_eq!(told(&bench)[1..], [None]);
}

#[test]
fn a_suspend_during_a_check_is_no_hanging_disk() {
    let (mut bench, _asked) = checked_bench();
    bench.engine.tick();
    bench.clock.suspend(Duration::from_secs(3_600));
    bench.engine.tick();
    bench.engine.checked(sound());
    assert_eq!(told(&bench), []);
}
