//! `check --net`: whether the voters can reach each other, before anything is switched.
//!
//! Decides what a check binds and whom it asks: every voter but its own. While it asks, it answers the checks of
//! others; with `--listen` it only answers. It never speaks as a node: it changes nothing at those that run.
//!
//! Invariants:
//! 1. It uses a port of its own where the node's, or that of the process to be replaced, is taken.
//! 2. No datagram of it is one that a node acts on.

mod answer;
mod ask;
mod datagram;
mod disk;
mod report;

use clap::Args;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use ringrift_wire::NodeId;
use serde_json::Value;
use std::io::{self, Write as _};
use std::sync::Arc;
use tokio::net::TcpListener;

use self::answer::Post;
use self::ask::Target;
use self::report::{Here, Report};
use super::exit::{Exit, Failure};
use super::get::{Base, get_within};
use super::term::{Colour, Progress};
use crate::config::{self, Address, Config, DEFAULT_PORT, Surroundings};
use crate::driver::binding::{self, Binding, Lack};
use crate::driver::ports::{self, BindError};
use crate::driver::tailscale;
use crate::election::VoterSet;

/// For the answer of the node on this machine.
const LOCAL: Duration = Duration::from_secs(2);

/// The arguments of `check` that concern the network.
#[derive(Debug, Args)]
pub struct NetArgs {
    /// Try the way to every other voter
    ///
    /// Asks the check that runs there, or the node. Start it on several machines at once, or with --listen
    /// on the others first. What is wrong is listed with what to do about it, and the exit code is 69.
    #[arg(long)]
    pub net: bool,
    /// Only answer the checks of other machines, until interrupted
    #[arg(long, requires = "net")]
    pub listen: bool,
    /// UDP and TCP port of the checks, the same on every machine
    ///
    /// Default: each host's own ports of the configuration. Give a free one while the node, or the process
    /// that it is to replace, holds them.
    #[arg(long, value_name = "PORT", requires = "net", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// How long to wait for checks that have not begun, in seconds
    #[arg(long, value_name = "SECONDS", requires = "net", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(0..=3_600))]
    pub wait: u16,
    /// What was found, as JSON
    #[arg(long, requires = "net", conflicts_with = "listen")]
    pub json: bool,
    /// When to write in colour
    #[arg(long, value_enum, value_name = "WHEN", requires = "net", default_value_t)]
    pub color: Colour,
}

/// Checks the network, and prints what was found.
///
/// # Errors
/// 64: this machine is none of the hosts. 69: something is wrong, or the port of `--listen` is taken.
pub fn run(
    args: &NetArgs,
    config: Config,
    me: Option<NodeId>,
    around: &Surroundings,
) -> Result<(), Failure> {
    let me = me.ok_or_else(|| {
        let what = "this machine is none of the hosts, as far as can be told; name it with --node";
        Failure::new(Exit::Usage, what.to_owned())
    })?;
    let binding = binding::now(&config, me);
    let unavailable = |error: io::Error| Failure::new(Exit::Unavailable, error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unavailable)?;
    runtime.block_on(check(args, Arc::new(config), me, around, binding))
}

async fn check(
    args: &NetArgs,
    config: Arc<Config>,
    me: NodeId,
    around: &Surroundings,
    binding: Result<Binding, Lack>,
) -> Result<(), Failure> {
    let (udp, tcp) = own_ports(args.port, &config, me);
    let own_ip = config.hosts.get(&me).and_then(|host| match host.address {
        Address::Ip(ip) => Some(ip),
        Address::Name(_) => None,
    });
    let mut taken = Vec::new();
    let configured = binding.unwrap_or_else(|lack| {
        taken.push(lack.to_string());
        Binding::default()
    });
    let own_ip = own_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let ip = ports::address_to_bind(own_ip, configured.gossip);
    let socket = match ports::bind_udp(ip, udp) {
        Ok(socket) => socket,
        Err(error) if args.listen => return Err(cannot_listen(&error)),
        Err(error) => {
            taken.push(error.to_string());
            ports::bind_udp(ip, 0).map_err(|error| cannot_listen(&error))?
        }
    };
    let failed = |error: io::Error| Failure::new(Exit::Unavailable, error.to_string());
    let post = Arc::new(Post::new(socket, me).map_err(failed)?);
    let serving = Arc::clone(&post);
    tokio::spawn(async move { serving.serve().await });
    match ports::bind_tcp(ip, tcp) {
        Ok(listener) => {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            tokio::spawn(answer::http(listener, Arc::clone(&post), Arc::clone(&config)));
        }
        Err(error) if args.listen => return Err(cannot_listen(&error)),
        Err(error) => taken.push(error.to_string()),
    }
    if args.listen {
        let said = format!("{me} answers checks on UDP {udp} and TCP {tcp}; Ctrl-C ends it\n");
        super::print(&said)?;
        return tokio::signal::ctrl_c().await.map_err(failed);
    }
    let others = config.voters.iter().filter(|id| **id != me);
    let targets: Vec<Target> = others.map(|&id| target(args.port, &config, id)).collect();
    let progress = Progress::of(format!("asking {} voters", targets.len()));
    let wait = Duration::from_secs(u64::from(args.wait));
    let folder = config::data_dir(None, &config, me, around).unwrap_or_default();
    let disk = tokio::task::spawn_blocking(move || disk::measure(&folder));
    let tailscale = tailscale::ask(false);
    let (mut findings, tailscale, disk) =
        tokio::join!(ask::all(targets, &post, wait), tailscale, disk);
    let local = own_members(&config, me, ip).await;
    for finding in &mut findings {
        finding.comes = finding.comes.or_else(|| hears(&local, &finding.id));
    }
    drop(progress);
    let set = VoterSet::new(&config.voters, config.voters_version).tag();
    let disk = match disk {
        Ok(Ok(writes)) => Ok(writes),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    // The node on this machine holds the ports: it answers others in the check's place.
    if local.is_object() {
        taken.clear();
    }
    let ours = (u64::from(set.version), format!("{:016x}", set.hash));
    let here = Here { node: me.to_string(), port: udp, taken, disk, tailscale, config: ours };
    tell(args, &Report { config: &config, here, findings })
}

fn tell(args: &NetArgs, report: &Report<'_>) -> Result<(), Failure> {
    let mut text = String::new();
    if args.json {
        text = format!("{:#}\n", report.to_json());
    } else {
        report
            .render(&mut text, args.color.paint())
            .map_err(|error| Failure::new(Exit::Invariant, error.to_string()))?;
    }
    super::print(&text)?;
    let wrong = report.advice().len();
    if wrong == 0 {
        return Ok(());
    }
    let _ = io::stdout().flush();
    Err(Failure::new(
        Exit::Unavailable,
        match wrong {
            1 => String::from("one thing needs a look; it stands above"),
            _ => format!("{wrong} things need a look; they stand above"),
        },
    ))
}

fn cannot_listen(error: &BindError) -> Failure {
    Failure::new(
        Exit::Unavailable,
        format!("{error}; give another --port, the same on every machine"),
    )
}

/// UDP and TCP port of the check here.
fn own_ports(port: Option<u16>, config: &Config, me: NodeId) -> (u16, u16) {
    let host = config.hosts.get(&me);
    let configured = host.map_or((DEFAULT_PORT, DEFAULT_PORT), |host| (host.port, host.http_port));
    port.map_or(configured, |port| (port, port))
}

fn target(port: Option<u16>, config: &Config, id: NodeId) -> Target {
    let host = config.hosts.get(&id);
    let (gossip, http) = own_ports(None, config, id);
    let (udp, tcp) = own_ports(port, config, id);
    let address = host.map(|host| host.address.clone());
    let address = address.unwrap_or_else(|| Address::Name(id.to_string()));
    Target { id, address, udp, tcp, gossip, http }
}

/// The member table of the node on this machine, where it runs.
async fn own_members(config: &Config, me: NodeId, ip: Option<IpAddr>) -> Value {
    let (_, http) = own_ports(None, config, me);
    let at = ip.map_or_else(
        || format!("127.0.0.1:{http}"),
        |ip| core::net::SocketAddr::new(ip, http).to_string(),
    );
    let Ok(base) = Base::parse(&at) else { return Value::Null };
    let Ok((_, body)) = get_within(LOCAL, &base, "/members").await else { return Value::Null };
    let members: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if members["node_id"] == me.as_str() { members } else { Value::Null }
}

/// Whether the node on this machine hears that one itself.
fn hears(members: &Value, id: &str) -> Option<bool> {
    let member = members["members"].as_array()?.iter().find(|member| member["node_id"] == id)?;
    let answered = member["probes"]["answered"].as_u64()?;
    match member["state"].as_str()? {
        "alive" if answered > 0 => Some(true),
        "suspect" | "dead" => Some(false),
        _ => None,
    }
}
