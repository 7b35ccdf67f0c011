//! `cargo +nightly fuzz run node`: any history of one node.
#![no_main]
#![expect(dead_code, reason = "the bodies of the other targets")]

mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    bodies::node::one_node_keeps_its_word(bytes);
});
