//! `cluster`: every voter of a configuration on this machine.

use clap::Args;
use std::path::PathBuf;

use super::exit::{Exit, Failure};

/// The arguments of `cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Configuration file whose voters to run
    ///
    /// Addresses are replaced by 127.0.0.1, 127.0.0.2, ... in the order of the voter list; timings stay.
    /// Default: five built-in voters with a heartbeat of 100 ms and a lease of 400 ms.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the vote stores, one folder per voter below it
    ///
    /// Default: a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Runs every voter as a child process until it is told to stop.
///
/// # Errors
/// See [`Exit`].
pub fn run(_args: ClusterArgs) -> Result<(), Failure> {
    Err(Failure::new(Exit::Invariant, "`cluster` is not built in"))
}
