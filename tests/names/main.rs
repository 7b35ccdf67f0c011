//! Names and addresses: who is who, where it is, and what happens when two say the same name.
//!
//! Whole nodes on a network in memory under virtual time, so every run is the same; and a few of the
//! same stories with real processes ([`real`]).

#![cfg(test)]

mod addresses;
mod net;
mod observers;
mod real;
#[expect(dead_code, reason = "tests/daemon and tests/netns use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod tailscale;
mod twins;
