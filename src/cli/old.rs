//! The command line of `p2p_orchestrator`, the program whose place this one takes.
//!
//! Watchdogs, units and scripts that start or look for a process of that name keep working: called by that name, this
//! program is `run`; and what they passed to it is understood, or known to be of no use any more. It decides
//! nothing that the configuration says otherwise.

use clap::Args;
use ringrift_wire::NodeId;
use std::ffi::OsString;
use std::path::Path;

use super::exit::{Exit, Failure};
use crate::config::{Address, Config, DEFAULT_PORT};
use crate::driver::own::Said;

/// The name, with or without an ending such as `.py`.
const NAME: &str = "p2p_orchestrator";

/// What `p2p_orchestrator` took, besides `--node-id`.
#[derive(Debug, Default, Args)]
pub struct OldArgs {
    /// Port of this node, as the configuration has it
    #[arg(long, value_name = "PORT", hide = true)]
    pub port: Option<u16>,
    /// The same as --address; a name is not used
    #[arg(long, value_name = "HOST", hide = true)]
    pub advertise_host: Option<String>,
    /// Not used: the configuration has the hosts
    #[arg(long, value_name = "LIST", hide = true)]
    pub peers: Option<String>,
    /// Not used: whoever can be reached at all is reached directly
    #[arg(long, value_name = "LIST", hide = true)]
    pub relay_peers: Option<String>,
    /// Not used
    #[arg(long, value_name = "DIR", hide = true)]
    pub ringrift_path: Option<String>,
}

impl OldArgs {
    /// The address that this node says of itself, and what an operator should know: `address` is that of `--address`.
    ///
    /// # Errors
    /// 64: the port is another than the others look for this node at.
    pub fn understand(
        &self,
        config: &Config,
        me: NodeId,
        address: Option<Said>,
    ) -> Result<(Option<Said>, Vec<String>), Failure> {
        let host = config.hosts.get(&me);
        let configured = host.map_or(DEFAULT_PORT, |host| host.port);
        if let Some(port) = self.port.filter(|&port| port != configured) {
            let message = format!(
                "--port {port}: the others look for {me} at port {configured}; write hosts.{me}.port into the \
                 configuration of every node"
            );
            return Err(Failure::new(Exit::Usage, message));
        }
        let mut warnings = Vec::new();
        let mut said = address;
        if let Some(text) = &self.advertise_host {
            let is_configured =
                |name: &Address| matches!(name, Address::Name(name) if name == text);
            match text.parse::<Said>() {
                Ok(advertised) => said = said.or(Some(advertised)),
                Err(_) if host.is_some_and(|host| is_configured(&host.address)) => {}
                Err(_) => warnings.push(format!(
                    "--advertise-host {text} is not used: write hosts.{me}.address into the configuration of every \
                     node, or an address after --address"
                )),
            }
        }
        if self.peers.is_some() || self.relay_peers.is_some() {
            let text = "--peers and --relay-peers are not used: the configuration has the hosts";
            warnings.push(text.to_owned());
        }
        Ok((said, warnings))
    }
}

/// The arguments, with `run` put in where they are those of `p2p_orchestrator`.
pub fn with_command(
    arguments: impl IntoIterator<Item = OsString>,
) -> impl Iterator<Item = OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().and_then(|name| Path::new(name).file_name());
    let called = called.is_some_and(|name| name.as_encoded_bytes().starts_with(NAME.as_bytes()));
    let names_command = arguments.get(1).is_some_and(|first| {
        let first = first.as_encoded_bytes();
        !first.starts_with(b"-") || matches!(first, b"--version" | b"-V" | b"--help" | b"-h")
    });
    if called && !names_command {
        arguments.insert(1, OsString::from("run"));
    }
    arguments.into_iter()
}

#[cfg(test)]
mod tests {
    use super::super::{Arguments, Command};
    use super::*;
    use crate::config;
    use clap::Parser as _;

    const FILE: &str = "voters: [a, b, c]\nhosts:\n  a: {address: 10.0.0.1}\n  b: {address: b.example, port: 9}\n  \
                        c: {address: 10.0.0.3}\n";

    fn config() -> Config {
        config::parse(FILE).unwrap().config
    }

    fn run_args(line: &str) -> super::super::run::RunArgs {
        let words = with_command(line.split(' ').map(OsString::from));
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Run(args) => args,
            other => panic!("{other:?}"),
        }
    }

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    #[test]
    fn the_old_command_lines_run_a_node() {
        for line in [
            "/usr/bin/p2p_orchestrator --node-id a --port 8770 --peers 100.64.0.1:8770,http://b:8770",
            "scripts/p2p_orchestrator.py --node-id a --port 8770 --advertise-host 10.0.0.1 --relay-peers b",
            "p2p_orchestrator run --guardian --node a",
            "ringrift-p2p run --node-id a --peers b --ringrift-path /home",
        ] {
            let args = run_args(line);
            assert_eq!(args.node.as_deref(), Some("a"), "{line}");
            let (said, _) = args.old.understand(&config(), id("a"), args.address).unwrap();
            assert!(said.is_none_or(|said| said.ip.to_string() == "10.0.0.1"), "{line}");
        }
        assert_eq!(run_args("p2p_orchestrator").node, None);
    }

    #[test]
    fn another_name_and_other_commands_are_left_alone() {
        let same = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(with_command(words.clone()).collect::<Vec<_>>(), words);
        };
        same("ringrift-p2p --node-id a");
        same("ringrift-p2p");
        same("p2p_orchestrator status");
        same("p2p_orchestrator --version");
        same("/opt/p2p_orchestrator/ringrift-p2p --help");
    }

    #[test]
    fn a_port_that_the_others_do_not_know_is_refused() {
        let old = |port| OldArgs { port: Some(port), ..Default::default() };
        let config = config();
        assert!(old(8770).understand(&config, id("a"), None).is_ok());
        assert!(old(9).understand(&config, id("b"), None).is_ok());
        assert!(old(8770).understand(&config, id("stranger"), None).is_ok());
        let refused = old(8770).understand(&config, id("b"), None).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.to_string().contains("at port 9; write hosts.b.port"), "{refused}");
    }

    #[test]
    fn what_is_not_used_is_said() {
        let old = OldArgs {
            advertise_host: Some("elsewhere.example".to_owned()),
            peers: Some("x".to_owned()),
            ..Default::default()
        };
        let (said, warnings) = old.understand(&config(), id("a"), None).unwrap();
        assert_eq!((said, warnings.len()), (None, 2));
        let known = OldArgs { advertise_host: Some("b.example".to_owned()), ..Default::default() };
        assert!(known.understand(&config(), id("b"), None).unwrap().1.is_empty());
    }

    #[test]
    fn an_address_that_was_said_in_the_new_way_counts() {
        let old = OldArgs { advertise_host: Some("10.0.0.9".to_owned()), ..Default::default() };
        let address = "10.0.0.8".parse().ok();
        assert_eq!(old.understand(&config(), id("a"), address).unwrap().0, address);
    }
}
