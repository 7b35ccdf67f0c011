//! What `tailscale status --json` says of this machine, where the program is there.
//!
//! Decides what of it matters to a node: whether Tailscale runs, whether its interface is one of the kernel,
//! and which addresses it gives. In userspace mode there is no interface: datagrams neither arrive nor
//! leave by Tailscale's addresses, and a node there has no gossip.

use core::net::IpAddr;
use core::time::Duration;
use serde_json::Value;
use std::process::Stdio;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of Tailscale here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tailscale {
    /// Its state in its own word: `Running`, `Stopped`, `NeedsLogin`.
    pub(super) state: String,
    /// Whether it has an interface of the kernel; `None` when it does not say.
    pub(super) has_interface: Option<bool>,
    /// The addresses of this machine.
    pub(super) addresses: Vec<IpAddr>,
    /// What it warns of itself.
    pub(super) warnings: Vec<String>,
}

/// Asks the program; `None` where there is none, or none that answers.
pub(super) async fn ask() -> Option<Tailscale> {
    let mut command = tokio::process::Command::new("tailscale");
    command.args(["status", "--json", "--peers=false"]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    parse(&output.stdout)
}

/// Reads what the program prints.
pub(super) fn parse(text: &[u8]) -> Option<Tailscale> {
    let said: Value = serde_json::from_slice(text).ok()?;
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.filter_map(|it| Some(it.as_str()?.to_owned())).collect()
    };
    let own = texts(&said["Self"]["TailscaleIPs"]);
    let all = if own.is_empty() { texts(&said["TailscaleIPs"]) } else { own };
    Some(Tailscale {
        state: said["BackendState"].as_str()?.to_owned(),
        has_interface: said["TUN"].as_bool(),
        addresses: all.iter().filter_map(|it| it.parse().ok()).collect(),
        warnings: texts(&said["Health"]),
    })
}

impl Tailscale {
    /// What is wrong with it, and what to do.
    pub(super) fn advice(&self) -> Vec<String> {
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
                 machine cannot be a voter; run tailscaled with --tun=tailscale0, or use another address",
            ));
        }
        advice.extend(self.warnings.iter().map(|it| format!("Tailscale says: {it}")));
        advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &[u8] = include_bytes!("tailscale/running.json");
    const USERSPACE: &[u8] = include_bytes!("tailscale/userspace.json");
    const STOPPED: &[u8] = include_bytes!("tailscale/stopped.json");

    #[test]
    fn a_machine_with_an_interface_is_as_it_should_be() {
        let said = parse(RUNNING).unwrap();
        assert_eq!(said.has_interface, Some(true));
        let addresses = ["100.101.102.103", "fd7a:115c:a1e0::6667"];
        assert_eq!(said.addresses, addresses.map(|it| it.parse::<IpAddr>().unwrap()));
        assert_eq!(said.advice(), [""; 0]);
    }

    #[test]
    fn userspace_and_stopped_are_told_with_what_to_do() {
        let advice = parse(USERSPACE).unwrap().advice();
        assert!(advice[0].contains("--tun=tailscale0"), "{advice:?}");
        let advice = parse(STOPPED).unwrap().advice();
        assert!(advice[0].contains("tailscale up"), "{advice:?}");
    }

    #[test]
    fn what_is_no_answer_of_the_program_is_none() {
        for text in [&b""[..], b"not running", b"[]", b"{\"BackendState\":1}"] {
            assert_eq!(parse(text), None);
        }
    }
}
