//! See `processes/coldstart.rs`.

mod processes;
mod report;

fn main() {
    processes::main("coldstart");
}
