//! See `processes/handover.rs`.

mod processes;
mod report;

fn main() {
    processes::main("handover");
}
