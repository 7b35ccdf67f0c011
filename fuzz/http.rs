//! `cargo +nightly fuzz run http`: any bytes over a connection.
#![no_main]
#![expect(dead_code, reason = "the bodies of the other targets")]

mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::http::requests_are_answered_well(bytes));
