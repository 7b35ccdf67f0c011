//! See `processes/idle.rs`.

mod processes;
mod report;

fn main() {
    processes::main("idle");
}
