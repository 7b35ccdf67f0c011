//! See `processes/membership.rs` and `scale/mod.rs`; `BENCH_ONLY=processes` or `scale` runs one half.

mod processes;
mod report;
mod scale;

fn main() {
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    if only != "scale" {
        processes::main("membership");
    }
    if only != "processes" && std::env::args().any(|argument| argument == "--bench") {
        scale::run();
    }
}
