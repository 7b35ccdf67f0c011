//! `cargo +nightly fuzz run decode`: any bytes into the decoder.
#![no_main]
#![expect(dead_code, reason = "the bodies of the other targets")]

mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::decode::decode_is_canonical(bytes));
