//! `cargo +nightly fuzz run config`: any configuration file.
#![no_main]
#![expect(dead_code, reason = "the bodies of the other targets")]

mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::config::text_is_refused_or_loads_again(bytes));
