//! The command line: one file per subcommand.
//!
//! Decides what a person types and what the program ends with; what a command does is its own file's
//! matter, and how a node runs the driver's.

pub mod check;
pub mod cluster;
pub mod events;
pub mod exec;
pub mod exit;
pub mod follow;
mod get;
pub mod history;
pub mod keygen;
pub mod members;
pub mod net;
pub mod old;
pub mod operator;
pub mod pages;
pub mod run;
pub mod status;
pub mod term;
pub mod voters;
mod why;
pub mod work;

use clap::{CommandFactory as _, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write as _};

pub use exit::{Exit, Failure};

const LONG_ABOUT: &str = "\
Gossip membership and exactly one leader among designated voters.

Every node keeps the list of who is alive by UDP gossip. The voters of the configuration elect one \
leader under a strict majority and a lease, so that two never lead at once. State, metrics and an \
election trigger are served over HTTP on the port of the gossip, 8770 by default.";

const AFTER_LONG_HELP: &str = "\
Configuration file: --config, else RINGRIFT_CONFIG, else ./config/distributed_hosts.yaml, else \
/etc/ringrift/distributed_hosts.yaml. Lengths of time in it are whole seconds, or texts with a unit \
such as 250ms, 1.5s or 2m.

Exit codes:
   0  done; a node stopped in good order
  64  wrong arguments or a wrong configuration
  69  an address cannot be bound, or another live process has the node's name; a command that asks a node: it cannot be reached
  70  an invariant was broken: a bug
  74  the vote store cannot be locked, read or written
  75  the node refuses what an operator asked; nothing has changed

Environment: RINGRIFT_CONFIG, RINGRIFT_NODE_ID, RINGRIFT_LOG (a tracing filter, such as info or \
ringrift_p2p=debug), RINGRIFT_CLUSTER_AUTH_TOKEN (the token that commands send to a node).";

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(name = "ringrift-p2p", version, about, long_about = LONG_ABOUT)]
#[command(after_long_help = AFTER_LONG_HELP, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one node until it is told to stop (SIGTERM or SIGINT)
    Run(run::RunArgs),
    /// Run one node, and a command while that node leads and only then
    Exec(exec::ExecArgs),
    /// Run every voter of a configuration on this machine, as child processes
    Cluster(cluster::ClusterArgs),
    /// Check a configuration and print what it comes to, or with --net the network
    Check(check::CheckArgs),
    /// Ask a node who leads and who is alive
    Status(status::StatusArgs),
    /// Ask a node for its member table
    Members(members::MembersArgs),
    /// Ask a node what has happened, and follow what happens
    Events(events::EventsArgs),
    /// Ask a node for the elections that it remembers
    History(history::HistoryArgs),
    /// Become another program that dies with its parent; for hooks and commands
    #[command(hide = true)]
    Work(work::WorkArgs),
    /// Have the leader hand over to the best voter that is ready
    StepDown(operator::NodeArgs),
    /// Have the leader hand over to a named voter
    Transfer(operator::TransferArgs),
    /// Have a node refuse to lead until resumed; a leader hands over
    Drain(operator::NodeArgs),
    /// Have a drained node lead again when its turn comes
    Resume(operator::NodeArgs),
    /// Have a fresh election held
    Trigger(operator::TriggerArgs),
    /// Print a new key for sealed gossip (`gossip.key_file`)
    Keygen,
    /// Have a node read its key ring again
    ReloadKeys(operator::NodeArgs),
    /// Change who the voters are, one at a time
    #[command(subcommand)]
    Voters(voters::VotersCommand),
    /// Print what a shell reads to complete the arguments of this program
    Completions(pages::CompletionsArgs),
    /// Print the manual page of this program, or write one for each subcommand
    Man(pages::ManArgs),
}

/// Parses the arguments (the first is the program's name), does what they say, prints what went wrong
/// and says how to end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = match Arguments::try_parse_from(old::with_command(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors. A reader that has gone away is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    let done = match arguments.command {
        Command::Run(args) => return ended(run::run(args)),
        Command::Exec(args) => return ended(exec::run(args)),
        Command::Work(args) => return ended(Err(work::become_program(&args))),
        Command::Cluster(args) => cluster::run(args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Members(args) => members::run(&args).and_then(|text| print(&text)),
        Command::Events(args) => events::run(&args),
        Command::History(args) => history::run(&args).and_then(|text| print(&text)),
        Command::StepDown(args) => operator::step_down(&args).and_then(|text| print(&text)),
        Command::Transfer(args) => operator::transfer(&args).and_then(|text| print(&text)),
        Command::Drain(args) => operator::drain(&args).and_then(|text| print(&text)),
        Command::Resume(args) => operator::resume(&args).and_then(|text| print(&text)),
        Command::Trigger(args) => operator::trigger(&args).and_then(|text| print(&text)),
        Command::ReloadKeys(args) => operator::reload_keys(&args).and_then(|text| print(&text)),
        Command::Completions(args) => print(&pages::completions(&args, Arguments::command())),
        Command::Man(args) => pages::man(&args, Arguments::command()).and_then(|text| print(&text)),
        Command::Keygen => keygen::run().and_then(|text| print(&text)),
        Command::Voters(voters::VotersCommand::Plan(args)) => {
            voters::run(&args).and_then(|text| print(&text))
        }
    };
    ended(done.map(|()| Exit::Success))
}

/// Prints what went wrong and says how to end.
fn ended(done: Result<Exit, Failure>) -> Exit {
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            failure.exit
        }
    }
}

/// Writes to standard output; a reader that closes it early, like `head`, is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Unavailable, format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_of(line: &str) -> u8 {
        main(line.split(' ').map(OsString::from)).code()
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_usage_exits_64_and_help_0() {
        assert_eq!(exit_of("ringrift-p2p --help"), 0);
        assert_eq!(exit_of("ringrift-p2p --version"), 0);
        assert_eq!(exit_of("ringrift-p2p help check"), 0);
        assert_eq!(exit_of("ringrift-p2p"), 64);
        assert_eq!(exit_of("ringrift-p2p runn"), 64);
        assert_eq!(exit_of("ringrift-p2p check --what"), 64);
        assert_eq!(exit_of("ringrift-p2p check --config /nowhere/at.yaml"), 64);
    }

    #[test]
    fn every_argument_has_a_long_help() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{argument}");
            }
        }
    }
}
