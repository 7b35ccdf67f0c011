//! From one release to the next: what an earlier one wrote and sent is read, and voters are replaced one by one.
//!
//! `tests/fixtures` holds, for each release, what its datagrams and files look like. They are never written anew: a
//! test that fails here says that a format was changed without a new version of it.

#![cfg(test)]

mod frozen;
mod rolling;
#[path = "../../wire/tests/samples/mod.rs"]
mod samples;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

/// Every node.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];
