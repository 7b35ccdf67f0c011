//! What `tailscale status --json` says, where the program is there.
//!
//! Decides what of it matters to a node: whether Tailscale runs, whether its interface is one of the kernel,
//! which addresses it gives, and which machine of the network has a name. In userspace mode there is no interface:
//! datagrams neither arrive nor leave by Tailscale's addresses, and a node there has no gossip. Whether the program
//! is asked at all is decided by whoever needs it.
//!
//! 1. The program is asked for three seconds at most, and no more than eight megabytes of its answer are read.
//! 2. A name is one that MagicDNS would know, never what a machine calls itself: those are not unique.

use core::net::IpAddr;
use core::time::Duration;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;

use super::service;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most of an answer that is read, in bytes: room for some thousand machines.
const MAX_ANSWER: u64 = 8 << 20;

/// What is known of Tailscale here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailscale {
    /// Its state in its own word: `Running`, `Stopped`, `NeedsLogin`.
    pub state: String,
    /// Whether it has an interface of the kernel; `None` when it does not say.
    pub has_interface: Option<bool>,
    /// The addresses of this machine.
    pub addresses: Vec<IpAddr>,
    /// What it warns of itself.
    pub warnings: Vec<String>,
    /// The domain of the network, without dots at its ends; empty where there is none.
    domain: String,
    /// Every machine of the network, this one first: its name in full, lower case, and its addresses.
    machines: Vec<(String, Vec<IpAddr>)>,
}

/// Asks the program; `None` where there is none, or none that answers. With `everybody`, the other machines too.
///
/// # Panics
/// Outside of a tokio runtime that has time and processes.
pub async fn ask(everybody: bool) -> Option<Tailscale> {
    let mut command = tokio::process::Command::new("tailscale");
    command.args(["status", "--json"]).args((!everybody).then_some("--peers=false"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    for name in service::VARIABLES {
        command.env_remove(name);
    }
    let answer = async {
        let mut child = command.spawn().ok()?;
        let mut text = Vec::new();
        child.stdout.take()?.take(MAX_ANSWER).read_to_end(&mut text).await.ok()?;
        // It may say more than is read, and must not wait for a reader.
        let _ = child.start_kill();
        let _ = child.wait().await;
        parse(&text)
    };
    tokio::time::timeout(PATIENCE, answer).await.ok()?
}

/// The same, waited for by the calling thread.
///
/// # Panics
/// On a thread that runs a tokio runtime.
#[must_use]
pub fn ask_and_wait(everybody: bool) -> Option<Tailscale> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(ask(everybody))
}

/// Reads what the program prints.
pub(super) fn parse(text: &[u8]) -> Option<Tailscale> {
    let said: Value = serde_json::from_slice(text).ok()?;
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|it| Some(it.as_str()?.to_owned())).collect()
    };
    let addresses = |value: &Value| -> Vec<IpAddr> {
        texts(value).iter().filter_map(|it| it.parse().ok()).collect()
    };
    let own = addresses(&said["Self"]["TailscaleIPs"]);
    let own = if own.is_empty() { addresses(&said["TailscaleIPs"]) } else { own };
    let name = |machine: &Value| Some(plain(machine["DNSName"].as_str()?));
    let others = said["Peer"].as_object().into_iter().flat_map(|peers| peers.values());
    let others = others.filter_map(|it| Some((name(it)?, addresses(&it["TailscaleIPs"]))));
    let this = name(&said["Self"]).map(|name| (name, own.clone()));
    Some(Tailscale {
        state: said["BackendState"].as_str()?.to_owned(),
        has_interface: said["TUN"].as_bool(),
        warnings: texts(&said["Health"]),
        domain: plain(said["MagicDNSSuffix"].as_str().unwrap_or_default()),
        machines: this.into_iter().chain(others).filter(|(name, _)| !name.is_empty()).collect(),
        addresses: own,
    })
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    name.trim_matches('.').to_ascii_lowercase()
}

impl Tailscale {
    /// The addresses of a machine, of both families, as MagicDNS would say: by its name in full, or by the first
    /// part alone where it is of this network. None unless Tailscale runs, since others are not reached then.
    #[must_use]
    pub fn look_up(&self, name: &str) -> &[IpAddr] {
        let name = plain(name);
        let short = |full: &str| {
            full.strip_suffix(&self.domain).and_then(|it| it.strip_suffix('.')) == Some(&name)
        };
        let found = self.machines.iter().find(|(full, _)| *full == name || short(full));
        found.filter(|_| self.state == "Running").map_or(&[], |(_, addresses)| addresses)
    }

    /// What is wrong with it, and what to do.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        match self.state.as_str() {
            "Running" => {}
            "Stopped" => advice.push(String::from("Tailscale is stopped here: run `tailscale up`")),
            "NeedsLogin" | "NeedsMachineAuth" => advice.push(String::from(
                "Tailscale is not logged in here: run `tailscale up` and follow it",
            )),
            _ => advice
                .push(String::from("Tailscale does not run here yet: look at `tailscale status`")),
        }
        if self.has_interface == Some(false) {
            advice.push(String::from(
                "Tailscale runs in userspace here and has no interface: datagrams do not pass, and this \
                 machine cannot be a voter; run tailscaled with --tun=tailscale0, use another address, or follow the \
                 voters over HTTP: `ringrift-p2p run --follow http://VOTER:8770 --proxy socks5://localhost:1055`, where \
                 tailscaled was started with --socks5-server=localhost:1055",
            ));
        }
        advice.extend(self.warnings.iter().map(|it| format!("Tailscale says: {it}")));
        advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Written by hand after the documented format, not recorded.
    const RUNNING: &[u8] = include_bytes!("tailscale/running.json");
    const USERSPACE: &[u8] = include_bytes!("tailscale/userspace.json");
    const STOPPED: &[u8] = include_bytes!("tailscale/stopped.json");
    const EVERYBODY: &[u8] = include_bytes!("tailscale/everybody.json");

    fn ips<const N: usize>(all: [&str; N]) -> Vec<IpAddr> {
        all.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn a_machine_with_an_interface_is_as_it_should_be() {
        let said = parse(RUNNING).unwrap();
        assert_eq!(said.has_interface, Some(true));
        assert_eq!(said.addresses, ips(["100.101.102.103", "fd7a:115c:a1e0::6667"]));
        assert_eq!(said.advice(), [""; 0]);
    }

    #[test]
    fn userspace_and_stopped_are_told_with_what_to_do() {
        let advice = parse(USERSPACE).unwrap().advice();
        assert!(advice[0].contains("--tun=tailscale0"), "{advice:?}");
        assert!(advice[0].contains("run --follow"), "{advice:?}");
        let advice = parse(STOPPED).unwrap().advice();
        assert!(advice[0].contains("tailscale up"), "{advice:?}");
    }

    #[test]
    fn a_machine_has_its_addresses_of_both_families_by_its_short_name_and_in_full() {
        let said = parse(EVERYBODY).unwrap();
        let both = ips(["100.64.10.2", "fd7a:115c:a1e0::a02"]);
        for name in [
            "nebius-backbone-1",
            "Nebius-Backbone-1",
            "nebius-backbone-1.tailnet-example.ts.net",
            "nebius-backbone-1.tailnet-example.ts.net.",
        ] {
            assert_eq!(said.look_up(name), both, "{name}");
        }
        assert_eq!(said.look_up("hetzner-cpu1"), said.addresses, "this machine");
        assert_eq!(said.look_up("vultr-a100-20gb"), ips(["fd7a:115c:a1e0::a03"]));
    }

    #[test]
    fn a_machine_is_not_found_by_what_it_calls_itself_nor_by_the_short_name_of_another_network() {
        let said = parse(EVERYBODY).unwrap();
        for name in ["localhost", "exit-1", "backbone", "nebius-backbone-1.other.example", "", "."]
        {
            assert_eq!(said.look_up(name), [] as [IpAddr; 0], "{name:?}");
        }
        assert_eq!(said.look_up("exit-1.mullvad.ts.net"), ips(["100.65.216.68"]));
        assert_eq!(parse(STOPPED).unwrap().look_up(""), [] as [IpAddr; 0]);
    }

    #[test]
    fn who_is_not_reached_is_not_found() {
        let text = String::from_utf8(EVERYBODY.to_vec()).unwrap().replace("Running", "Stopped");
        let said = parse(text.as_bytes()).unwrap();
        assert_eq!(said.look_up("nebius-backbone-1"), [] as [IpAddr; 0]);
    }

    #[test]
    fn what_is_no_answer_of_the_program_is_none() {
        for text in [&b""[..], b"not running", b"[]", b"{\"BackendState\":1}"] {
            assert_eq!(parse(text), None);
        }
    }
}
