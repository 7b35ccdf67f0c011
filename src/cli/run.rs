//! `run`: one node.

use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use tracing::debug;

use super::exit::{Exit, Failure};
use super::follow::FollowArgs;
use super::old::{self, OldArgs};
use super::shadow::ShadowArgs;
use crate::config::{self, Surroundings, token};
use crate::driver;
use crate::driver::binding;
use crate::driver::follow;
use crate::driver::guardian::{self, Link};
use crate::driver::own::Said;
use crate::driver::start::{self, Plan};
use crate::driver::work;
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
    #[arg(long, value_name = "ID", alias = "node-id")]
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
    /// Run under a guardian: a parent that releases the voters at once when the node is killed
    ///
    /// The guardian is this process, and the node its child. When the node dies, the guardian ends what the
    /// node has started for its leadership, hooks and commands, and frees the voters of their promises, so that another
    /// leads at once and not after the lease. It never starts the node again; it ends with the node's exit
    /// code, or 128 and the signal that killed it. SIGTERM, SIGINT and SIGHUP are passed on. When the
    /// guardian is killed, the node hands over and ends.
    #[arg(long)]
    pub guardian: bool,
    /// This process is a guarded node; for the guardian
    #[arg(long, hide = true)]
    pub guarded: bool,
    /// Stop when the process of this id, which must be the parent, ends; for `cluster`
    #[arg(long, value_name = "PID", hide = true)]
    pub die_with_parent: Option<i32>,
    /// Keep the promise of this kernel boot in the data folder; for `cluster`
    #[arg(long, hide = true)]
    pub promise_in_data_dir: bool,
    /// Whether it follows others over HTTP.
    #[command(flatten)]
    pub follow: FollowArgs,
    /// Whether it runs beside the process that it is to replace.
    #[command(flatten)]
    pub shadow: ShadowArgs,
    /// What the command line of p2p_orchestrator had.
    #[command(flatten)]
    pub old: OldArgs,
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
pub fn run(args: RunArgs) -> Result<Exit, Failure> {
    run_with(args, None)
}

/// Runs one node, and a command while it leads.
pub(super) fn run_with(args: RunArgs, command: Option<work::Command>) -> Result<Exit, Failure> {
    // A guarded node ends with its guardian, which ends with the parent.
    if let Some(parent) = args.die_with_parent.filter(|_| !args.guarded) {
        die_with_parent(parent)?;
    }
    if (args.follow.is_set() || args.shadow.shadow.is_some()) && command.is_some() {
        let message = "--follow, --shadow: a node that never leads runs no command";
        return Err(Failure::new(Exit::Usage, message));
    }
    if args.guardian && !args.guarded {
        return guard(args.log_format);
    }
    let around = Surroundings::of_process();
    let guard = log_to(args.log_format)?;
    let loaded = args.follow.config(args.config.as_deref(), &around)?;
    let mut config = loaded.config;
    // Whoever takes no part in gossip need not be admitted to it.
    config.membership.open |= args.follow.is_set();
    if let Some(problem) = command.as_ref().and_then(|_| config.hooks.grace_fault(&config.election))
    {
        let message = format!("{problem}; lower hooks.grace, or raise election.lease");
        return Err(Failure::new(Exit::Usage, message));
    }
    let me = binding::identify(args.node.as_deref(), &around, &config)?;
    let shadow = args.shadow.ways(&mut config, me, args.old.port)?;
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
    let (said, old) = args.old.understand(&config, me, args.address)?;
    let kind = args.shadow.warning();
    let warnings = loaded.warnings.iter().map(ToString::to_string).chain(old).chain(kind).collect();
    let token =
        token::find(&around).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let log = Some(guard.error_counter());
    if args.follow.is_set() {
        FollowArgs::allow(&config, me)?;
        let ways = args.follow.ways()?;
        follow::run(follow::Plan { config, me, said, data_dir, token, warnings, log, ways })?;
        return Ok(Exit::Success);
    }
    let guardian = args.guarded.then(Link::of_stdin).transpose();
    let guardian = guardian.map_err(driver::Error::Descriptor)?;
    let plan = Plan {
        config,
        me,
        said,
        data_dir,
        promise_file,
        token,
        warnings,
        log,
        command,
        guardian,
        shadow,
    };
    Ok(start::run(plan)?.map_or(Exit::Success, Exit::PassedOn))
}

/// Starts the log lines of this process.
fn log_to(format: LogFormat) -> Result<logs::Guard, Failure> {
    let format = match format {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    logs::init(format).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// Runs this very command again, as a guarded node, and watches it to its end.
fn guard(format: LogFormat) -> Result<Exit, Failure> {
    let _guard = log_to(format)?;
    let wrong = |error: io::Error| Failure::new(Exit::Unavailable, format!("no guardian: {error}"));
    let program = std::env::current_exe().map_err(wrong)?;
    let mut arguments: Vec<OsString> = old::with_command(std::env::args_os()).skip(1).collect();
    // Behind the name of the subcommand, which comes first.
    arguments.insert(1.min(arguments.len()), OsString::from("--guarded"));
    let died = guardian::watch(program, arguments).map_err(wrong)?;
    Ok(Exit::PassedOn(died.code()))
}

impl From<driver::Error> for Failure {
    fn from(error: driver::Error) -> Self {
        let exit = match error {
            driver::Error::Bind(_)
            | driver::Error::Lack(_)
            | driver::Error::Descriptor(_)
            | driver::Error::NameTaken { .. } => Exit::Unavailable,
            driver::Error::Ring(_) | driver::Error::VoterSet(_) => Exit::Usage,
            driver::Error::Store(_) | driver::Error::Record(_) => Exit::VoteStore,
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
