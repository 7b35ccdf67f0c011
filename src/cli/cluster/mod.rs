//! `cluster`: every voter of a configuration on this machine, as child processes.
//!
//! Decides where the voters live, and starts, watches and stops them. A voter runs the same program
//! with the same protocol as anywhere else; nothing here is known to it.

mod child;
mod view;

use clap::Args;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::fs::{self, DirBuilder};
use std::io::{self, BufRead as _, IsTerminal as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::child::{Asked, Program, Voter};
use self::view::{Lines, Screen, Table};
use super::exit::{Exit, Failure};
use crate::config::identity::machine_bears;
use crate::config::{self, Address, Config, Layout};
use crate::driver::{entropy, ports};

/// Time between two looks at the voters.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the voters may take to stop before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Time between two looks at voters that are stopping.
const STOP_LOOK_EVERY: Duration = Duration::from_millis(10);

const HELP: &str = "restart NAME starts a dead voter again; quit (or Ctrl-C) stops all";

/// The arguments of `cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Configuration file whose voters to run
    ///
    /// Addresses are replaced by 127.0.0.1, 127.0.0.2, ... in the order of the voter list; timings stay.
    /// Default: five built-in voters with a heartbeat of 100 ms and a lease of 400 ms.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the vote stores and logs, one vote store folder and one log per voter
    ///
    /// Default: a temporary folder, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Runs every voter as a child process until it is told to stop.
///
/// # Errors
/// See [`Exit`].
pub fn run(args: ClusterArgs) -> Result<(), Failure> {
    let loaded = match &args.config {
        Some(path) => config::load(path)?,
        None => config::loopback()?,
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let all_of_loopback = machine_bears([127, 0, 0, 2].into());
    let layout = if all_of_loopback { Layout::Addresses } else { Layout::Ports };
    let config = config::on_loopback(&loaded.config, layout);
    check_ports(&config)?;
    let folder = Folder::make(args.data_dir.as_deref()).map_err(folder_failure)?;
    let done = watch(&config, &folder);
    folder.clean_up(done.as_ref().is_ok_and(|all_well| *all_well));
    done.map(|_| ())
}

/// All ports are free, or nothing is started.
fn check_ports(config: &Config) -> Result<(), Failure> {
    let mut held = (Vec::new(), Vec::new());
    for host in config.hosts.values() {
        let Address::Ip(ip) = host.address else { continue };
        let bound = ports::bind_udp(Some(ip), host.port)
            .map(|udp| held.0.push(udp))
            .and_then(|()| ports::bind_tcp(Some(ip), host.http_port))
            .map(|tcp| held.1.push(tcp));
        bound.map_err(|error| {
            let message = format!("{error}; nothing was started");
            Failure::new(Exit::Unavailable, message)
        })?;
    }
    Ok(())
}

fn folder_failure(error: io::Error) -> Failure {
    Failure::new(Exit::VoteStore, format!("cannot use the data folder: {error}"))
}

/// The folder of vote stores and logs.
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn make(wanted: Option<&Path>) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        if let Some(path) = wanted {
            let path = std::path::absolute(path)?;
            builder.recursive(true).create(&path)?;
            return Ok(Self { path, is_temporary: false });
        }
        let name = format!("ringrift-p2p-{:016x}", entropy::random_u64()?);
        let path = std::env::temp_dir().join(name);
        builder.create(&path)?;
        Ok(Self { path, is_temporary: true })
    }

    /// Removes a temporary folder, unless its logs may explain something.
    fn clean_up(self, all_well: bool) {
        if !self.is_temporary {
            return;
        }
        if all_well {
            let _ = fs::remove_dir_all(&self.path);
        } else {
            eprintln!("logs are kept in {}", self.path.display());
        }
    }
}

fn watch(config: &Config, folder: &Folder) -> Result<bool, Failure> {
    let wrong = |error: io::Error| Failure::new(Exit::Invariant, error.to_string());
    let file = folder.path.join("cluster.yaml");
    let yaml = config.to_yaml().map_err(|error| Failure::new(Exit::Invariant, error))?;
    fs::write(&file, yaml).map_err(folder_failure)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(wrong)?;
    let done = runtime.block_on(async {
        let program = Program::this(file, folder.path.clone())?;
        let voters = config.voters.iter().filter_map(|id| Voter::of(config, *id, &folder.path));
        Cluster { program, voters: voters.collect(), folder: folder.path.clone() }.run().await
    });
    runtime.shutdown_background();
    done.map_err(wrong)
}

/// The voters and what is known of them.
struct Cluster {
    program: Program,
    voters: Vec<Voter>,
    folder: PathBuf,
}

impl Cluster {
    /// Runs until it is told to stop; tells whether every voter ended well.
    async fn run(mut self) -> io::Result<bool> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let on_terminal = io::stdout().is_terminal();
        let mut typed = read_lines(on_terminal)?;
        let (answers, mut answered) = mpsc::channel(self.voters.len().max(1));
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut screen = Screen::new(on_terminal);
        let mut lines = Lines::default();
        for voter in &mut self.voters {
            voter.start(&self.program)?;
        }
        let mut said = HELP.to_owned();
        loop {
            let table = Table::of(&self.voters, &self.folder, &said);
            let shown = if on_terminal { screen.show(&table) } else { lines.show(&table) };
            if shown.is_err() {
                // Nobody reads any more.
                break;
            }
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => break,
                _ = ticks.tick() => {
                    for voter in &mut self.voters {
                        voter.look();
                        voter.ask(&answers);
                    }
                }
                Some(asked) = answered.recv() => self.heard(asked),
                Some(line) = typed.recv() => match self.obey(line.trim()) {
                    Some(answer) => {
                        if !on_terminal && !answer.is_empty() {
                            println!("{answer}");
                        }
                        said = answer;
                        screen.typed();
                    }
                    None => break,
                },
            }
        }
        screen.leave();
        self.stop().await;
        Ok(self.voters.iter().all(Voter::ended_well))
    }

    fn heard(&mut self, asked: Asked) {
        if let Some(voter) = self.voters.iter_mut().find(|voter| voter.id == asked.id) {
            voter.heard(asked);
        }
    }

    /// Does what was typed and says what there is to say; `None` for the end.
    fn obey(&mut self, line: &str) -> Option<String> {
        let mut words = line.split_ascii_whitespace();
        let answer = match (words.next(), words.next(), words.next()) {
            (None, _, _) => String::new(),
            (Some("quit" | "exit"), None, _) => return None,
            (Some("help"), None, _) => HELP.to_owned(),
            (Some("restart"), Some(name), None) => self.restart(name),
            _ => format!("not understood: {line}; {HELP}"),
        };
        Some(answer)
    }

    fn restart(&mut self, name: &str) -> String {
        let Some(voter) = self.voters.iter_mut().find(|voter| voter.id.as_str() == name) else {
            let names: Vec<&str> = self.voters.iter().map(|voter| voter.id.as_str()).collect();
            return format!("no voter is named {name}; there are {}", names.join(", "));
        };
        voter.look();
        if voter.pid().is_some() {
            let pid =
                voter.node_pid().map_or_else(|| "its process".to_owned(), |pid| pid.to_string());
            return format!("{name} is running: kill -9 {pid} to see it replaced");
        }
        match voter.start(&self.program) {
            Ok(()) => format!("{name} is started again"),
            Err(error) => format!("{name} cannot be started: {error}"),
        }
    }

    /// Asks all voters to stop, waits, and kills those that do not.
    async fn stop(&mut self) {
        for voter in &mut self.voters {
            voter.terminate();
        }
        let patience = async {
            while self.voters.iter_mut().any(Voter::is_running) {
                tokio::time::sleep(STOP_LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(STOP_GRACE, patience).await.is_err() {
            for voter in &mut self.voters {
                voter.kill().await;
            }
        }
        println!("all voters are stopped");
    }
}

/// Lines that a person types, from a thread that may wait for them for ever. The end of the input is
/// a wish to stop only on a terminal: elsewhere it was never open.
fn read_lines(on_terminal: bool) -> io::Result<mpsc::Receiver<String>> {
    let (to, lines) = mpsc::channel(16);
    let ends = on_terminal && io::stdin().is_terminal();
    std::thread::Builder::new().name("input".into()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if to.blocking_send(line).is_err() {
                return;
            }
        }
        if ends {
            let _ = to.blocking_send("quit".to_owned());
        }
    })?;
    Ok(lines)
}

/// A voter's name as a file name.
fn log_name(id: NodeId) -> String {
    format!("{id}.log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};

    fn cluster() -> Cluster {
        let config = config::on_loopback(&config::loopback().unwrap().config, Layout::Addresses);
        let folder = PathBuf::from("/nowhere");
        let program = Program::this(folder.join("cluster.yaml"), folder.clone()).unwrap();
        let voters = config.voters.iter().filter_map(|id| Voter::of(&config, *id, &folder));
        Cluster { program, voters: voters.collect(), folder }
    }

    #[test]
    fn what_is_typed_is_obeyed_or_explained() {
        let mut cluster = cluster();
        assert_eq!(cluster.obey("quit"), None);
        assert_eq!(cluster.obey("").as_deref(), Some(""));
        assert_eq!(cluster.obey("help").as_deref(), Some(HELP));
        assert!(cluster.obey("restart nobody").unwrap().contains("hetzner-cpu1"));
        assert!(cluster.obey("restart").unwrap().starts_with("not understood"));
        assert!(cluster.obey("quit now").unwrap().starts_with("not understood"));
        // The folder of the logs does not exist.
        assert!(cluster.obey("restart hetzner-cpu1").unwrap().contains("cannot be started"));
    }

    #[test]
    fn a_taken_port_stops_the_start_and_names_the_holder() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for taken_by_tcp in [false, true] {
            let (udp, tcp) =
                (ports::bind_udp(Some(loopback), 0), ports::bind_tcp(Some(loopback), 0));
            let (udp, tcp) = (udp.unwrap(), tcp.unwrap());
            let mut config = config::loopback().unwrap().config;
            config.hosts.retain(|id, _| id.as_str() == "hetzner-cpu1");
            for host in config.hosts.values_mut() {
                host.address = Address::Ip(loopback);
                (host.port, host.http_port) = (0, 0);
                if taken_by_tcp {
                    host.http_port = tcp.local_addr().unwrap().port();
                } else {
                    host.port = udp.local_addr().unwrap().port();
                }
            }
            let failure = check_ports(&config).unwrap_err();
            assert_eq!(failure.exit, Exit::Unavailable);
            assert!(failure.message.contains("is taken by"), "{failure}");
        }
    }

    #[test]
    fn a_temporary_folder_goes_and_a_named_one_stays() {
        let temporary = Folder::make(None).unwrap();
        let path = temporary.path.clone();
        assert!(path.is_dir());
        temporary.clean_up(true);
        assert!(!path.exists());
        let dir = tempfile::tempdir().unwrap();
        let named = Folder::make(Some(&dir.path().join("a/b"))).unwrap();
        let path = named.path.clone();
        named.clean_up(true);
        assert!(path.is_dir());
    }
}
