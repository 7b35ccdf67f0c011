//! The judge of the watch condemns two leaders, and nothing that one leader at a time can explain.

use core::time::Duration;
use std::time::Instant;

use crate::support::watch::{Claim, tenures, wrongs};

/// A claim of `node` in `term`, asked at `sent` and read at `read`, with `left` of its lease; all in milliseconds.
struct Said(usize, u64, u64, u64, u64);

fn verdict(said: &[Said], nobody_gave_up: bool) -> Vec<String> {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let claim = |&Said(node, term, sent, read, left): &Said| Claim {
        node,
        term,
        sent: at(sent),
        read: at(read),
        left: Duration::from_millis(left),
    };
    let claims: Vec<_> = said.iter().map(claim).collect();
    let wrongs = wrongs(&tenures(&claims), nobody_gave_up);
    wrongs.iter().map(|wrong| wrong.lines().next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn one_after_the_other_is_right() {
    let said = [Said(0, 1, 0, 1, 400), Said(0, 1, 90, 91, 400), Said(1, 2, 100, 101, 400)];
    assert_eq!(verdict(&said, false), [""; 0]);
}

#[test]
fn the_same_node_may_raise_its_term() {
    let said = [Said(0, 1, 0, 1, 400), Said(0, 2, 10, 11, 400), Said(0, 3, 20, 21, 400)];
    assert_eq!(verdict(&said, true), [""; 0]);
}

#[test]
fn two_in_one_term_are_condemned() {
    let said = [Said(0, 7, 0, 1, 0), Said(1, 7, 900, 901, 0)];
    assert_eq!(verdict(&said, false), ["two nodes in one term:"]);
}

#[test]
fn coming_back_after_another_has_led_is_condemned() {
    let said = [Said(0, 1, 0, 1, 0), Said(1, 2, 10, 11, 0), Said(0, 1, 20, 21, 0)];
    assert_eq!(verdict(&said, false), ["two nodes at one instant:"]);
}

#[test]
fn a_slow_answer_is_given_the_benefit_of_the_doubt() {
    // Node 0 may have answered at 5 and been read at 50.
    let said = [Said(0, 1, 0, 50, 0), Said(1, 2, 10, 11, 0)];
    assert_eq!(verdict(&said, false), [""; 0]);
}

#[test]
fn a_lower_term_after_a_higher_one_is_condemned() {
    let said = [Said(0, 5, 0, 1, 0), Said(1, 4, 10, 11, 0)];
    assert_eq!(verdict(&said, false), ["a later leader with a lower term:"]);
}

#[test]
fn leading_within_a_lease_that_nobody_gave_up_is_condemned() {
    let said = [Said(0, 1, 0, 1, 400), Said(1, 2, 380, 390, 400)];
    assert_eq!(verdict(&said, true), ["a leader within the lease of the one before:"]);
    assert_eq!(verdict(&said, false), [""; 0]);
    let said = [Said(0, 1, 0, 1, 400), Said(1, 2, 390, 400, 400)];
    assert_eq!(verdict(&said, true), [""; 0]);
}
