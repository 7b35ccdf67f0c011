//! See `processes/failover.rs`.

mod processes;
mod report;

fn main() {
    processes::main("failover");
}
