//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringrift_p2p::cli::main(std::env::args_os()).into()
}
