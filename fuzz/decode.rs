//! `cargo +nightly fuzz run decode`: any bytes into the decoder.
#![no_main]

mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::decode_is_canonical(bytes));
