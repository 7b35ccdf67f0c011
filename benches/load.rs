//! See `processes/load.rs`.

mod processes;
mod report;

fn main() {
    processes::main("load");
}
