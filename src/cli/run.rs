//! `run`: one node.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tracing::debug;

use super::exit::{Exit, Failure};
use crate::config::identity::{identify, machine_bears};
use crate::config::{self, Surroundings};
use crate::driver;
use crate::driver::own::Said;
use crate::driver::start::{self, Plan};
use crate::telemetry::logs;

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
    /// One that the configuration does not name may join as observer where membership.open is set. A
    /// second live process of a name is refused by the voters and ends with exit code 69; the restart
    /// of a process that is gone never is.
    ///
    /// Default: RINGRIFT_NODE_ID, else the text of /etc/ringrift/node-id, else the host of the
    /// configuration whose address this machine bears.
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// Address at which others reach this node
    ///
    /// Default: that of the configuration, a name being looked up; for a node that the configuration
    /// does not name (membership.open), the address of this machine on the way to the hosts that it
    /// names, with port 8770. The others use it after the node has answered from there, or use where
    /// its datagrams come from; so behind a router that translates addresses nothing need be said. A
    /// voter's votes count only from where the configuration has it. A loopback address is also the
    /// one that is bound; otherwise every address of the machine is.
    #[arg(long, value_name = "IP[:PORT]")]
    pub address: Option<Said>,
    /// Folder of the vote store
    ///
    /// Default: ID in the configuration's data_dir, else in /var/lib/ringrift-p2p for root, else in
    /// ringrift-p2p of the XDG state folder (~/.local/state).
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Form of the log lines on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Stop when the process of this id, which must be the parent, ends; for `cluster`
    #[arg(long, value_name = "PID", hide = true)]
    pub die_with_parent: Option<i32>,
    /// Keep the promise of this kernel boot in the data folder; for `cluster`
    #[arg(long, hide = true)]
    pub promise_in_data_dir: bool,
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
pub fn run(args: RunArgs) -> Result<(), Failure> {
    if let Some(parent) = args.die_with_parent {
        die_with_parent(parent)?;
    }
    let around = Surroundings::of_process();
    let loaded = config::open(args.config.as_deref(), &around)?;
    let config = loaded.config;
    let me = identify(args.node.as_deref(), &around, &config, machine_bears)?;
    let format = match args.log_format {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    let guard = logs::init(format).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    if !loaded.foreign.is_empty() {
        debug!(keys = loaded.foreign.join(", "), "keys of the configuration that are not ours");
    }
    let data_dir = config::data_dir(args.data_dir.as_deref(), &config, me, &around)
        .and_then(|dir| std::path::absolute(dir).ok())
        .ok_or_else(|| {
            let message = "this user has no home for the vote store; name a folder with --data-dir";
            Failure::new(Exit::Usage, message)
        })?;
    let promise_file = if args.promise_in_data_dir {
        data_dir.join("promise")
    } else {
        config::promise_file(&data_dir, me, &around)
    };
    let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
    let log = Some(guard.error_counter());
    start::run(Plan { config, me, said: args.address, data_dir, promise_file, warnings, log })?;
    Ok(())
}

impl From<driver::Error> for Failure {
    fn from(error: driver::Error) -> Self {
        let exit = match error {
            driver::Error::Bind(_)
            | driver::Error::Descriptor(_)
            | driver::Error::NameTaken { .. } => Exit::Unavailable,
            driver::Error::Store(_) | driver::Error::Record(_) => Exit::VoteStore,
            driver::Error::VoterSet(_) => Exit::Usage,
            driver::Error::Invariant(_) => Exit::Invariant,
        };
        Self::new(exit, error.to_string())
    }
}

/// Asks the kernel for SIGTERM when the parent ends, and ends at once if it has already.
fn die_with_parent(parent: i32) -> Result<(), Failure> {
    use rustix::process::getppid;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        let asked = set_parent_process_death_signal(Some(Signal::TERM));
        asked.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    }
    if getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent) {
        return Ok(());
    }
    Err(Failure::new(Exit::Unavailable, format!("the parent process {parent} is gone")))
}
