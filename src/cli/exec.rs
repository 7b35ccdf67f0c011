//! `exec`: one node, and a command that runs while it leads.
//!
//! The command belongs to the node's own process and not to one beside it, because leadership can pass on within
//! milliseconds: only the node itself can hold its RELEASE back until the command has ended. Whoever merely
//! asks a node who leads learns of a handover when the next command has already begun.

use clap::{Args, ValueEnum};

use super::exit::{Exit, Failure};
use super::run::{RunArgs, run_with};
use crate::driver::work;

/// The arguments of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// How the node runs.
    #[command(flatten)]
    pub run: RunArgs,
    /// When COMMAND is started again after it has ended while this node leads
    ///
    /// It waits 250 ms at first and twice as long each time, up to 30 s. A command that is not started again ends this
    /// program: the lead is handed over, and its exit code passed on.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Restart::Always)]
    pub restart: Restart,
    /// The command and its arguments, behind `--`
    ///
    /// It is started when this node gains the lead, with RINGRIFT_TERM (the fencing token), RINGRIFT_NODE_ID,
    /// RINGRIFT_LEADER and RINGRIFT_PREVIOUS_LEADER in its environment, in a process group of its own.
    /// Before this node loses the lead, the group gets SIGTERM, and SIGKILL in time: it is gone before
    /// another node leads.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// When a command is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Restart {
    /// However it has ended.
    Always,
    /// When it has failed: ended with another exit code than 0, or by a signal.
    OnFailure,
    /// Not at all.
    Never,
}

/// Runs the node under a guardian, and the command while it leads.
///
/// # Errors
/// See [`Exit`].
pub fn run(mut args: ExecArgs) -> Result<Exit, Failure> {
    args.run.guardian = true;
    let restart = match args.restart {
        Restart::Always => work::Restart::Always,
        Restart::OnFailure => work::Restart::OnFailure,
        Restart::Never => work::Restart::Never,
    };
    run_with(args.run, Some(work::Command { words: args.command, restart }))
}
