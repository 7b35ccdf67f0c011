//! `run`: one node.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

use super::exit::{Exit, Failure};

/// The arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file
    ///
    /// Default: RINGRIFT_CONFIG, else ./config/distributed_hosts.yaml, else
    /// /etc/ringrift/distributed_hosts.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of this node
    ///
    /// Default: RINGRIFT_NODE_ID, else the text of /etc/ringrift/node-id, else the host of the
    /// configuration whose address this machine bears.
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// Folder of the vote store
    ///
    /// Default: ID in the configuration's data_dir, else in /var/lib/ringrift-p2p for root, else in
    /// ringrift-p2p of the XDG state folder (~/.local/state).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Form of the log lines on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs one node until it is told to stop.
///
/// # Errors
/// See [`Exit`].
pub fn run(_args: RunArgs) -> Result<(), Failure> {
    Err(Failure::new(Exit::Invariant, "`run` is not built in"))
}
