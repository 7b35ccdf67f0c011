//! What a node binds, waited for where it comes to the machine later.
//!
//! Decides which address `bind` means on this machine, and for how long a start waits for it. At boot a node may well
//! be there before Tailscale or an interface is. What is bound, and whether the port is free, is the business of
//! [`ports`](super::ports).
//!
//! 1. Only what the file names is waited for, and only as long as its `bind_wait` says.
//! 2. `tailscale` means the literal address that the file has for this host, else what the program `tailscale` says.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::thread;
use std::time::Instant;
use tracing::{info, warn};

use super::service::Manager;
use super::tailscale::{self, Tailscale};
use crate::config::identity::{self, IdentityError, machine_bears};
use crate::config::{Address, Bind, Config, Host, Surroundings};

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(500);

/// Between two lines of the log that say that it still waits.
const REMINDER: Duration = Duration::from_secs(10);

/// What is asked of the service manager each time; well above [`AGAIN`] and what a look takes.
const EXTENSION: Duration = Duration::from_secs(10);

/// The addresses that the file tells to bind; `None` where it tells nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// For gossip.
    pub gossip: Option<IpAddr>,
    /// For HTTP.
    pub http: Option<IpAddr>,
}

/// An address to bind that this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What the file says.
    bind: Bind,
    /// Which address that is; `None` where nobody says.
    address: Option<IpAddr>,
    /// What Tailscale has to say, where it is asked.
    tailscale: Option<Box<Tailscale>>,
    /// For how long it was waited for.
    waited: Duration,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bind, address, tailscale, waited } = self;
        match address {
            Some(ip) => write!(f, "this machine does not have {ip}, which `bind: {bind}` names")?,
            None => write!(f, "it is not known which address `bind: {bind}` names")?,
        }
        if waited.as_secs() > 0 {
            write!(f, ", after {} s", waited.as_secs())?;
        }
        if *bind != Bind::Tailscale {
            return f.write_str(
                "; correct it, bring the interface up, or let the start wait for it with `bind_wait`",
            );
        }
        let Some(said) = tailscale else {
            return f.write_str(
                "; the program `tailscale` is not there or does not answer: start Tailscale, or bind an address",
            );
        };
        for advice in said.advice() {
            write!(f, "; {advice}")?;
        }
        match (address, said.addresses.as_slice()) {
            (_, []) => Ok(()),
            (Some(ip), all) if all.contains(ip) => Ok(()),
            (_, all) => {
                let all: Vec<_> = all.iter().map(ToString::to_string).collect();
                write!(f, "; Tailscale gives it {}", all.join(" and "))
            }
        }
    }
}

impl core::error::Error for Lack {}

/// What a node binds; waits until this machine has it, as long as the file says.
///
/// # Errors
/// It does not have it by then.
pub fn wait(config: &Config, me: NodeId) -> Result<Binding, Lack> {
    let patience = config.hosts.get(&me).map_or(Duration::ZERO, |host| host.bind_wait);
    let ask = || tailscale::ask_and_wait(false);
    let waited = until(patience, || look(config, me, machine_bears, ask), Some);
    waited.map_err(|(lack, waited)| {
        let tailscale = match (lack.bind, lack.tailscale) {
            (Bind::Tailscale, None) => ask().map(Box::new),
            (_, said) => said,
        };
        Lack { tailscale, waited, ..lack }
    })
}

/// The same at this moment.
///
/// # Errors
/// This machine does not have it.
pub fn now(config: &Config, me: NodeId) -> Result<Binding, Lack> {
    look(config, me, machine_bears, || tailscale::ask_and_wait(false))
}

/// The name of this node, as [`identity::identify`] finds it; where only an address can tell, and the file has hosts whose
/// address is waited for, it is waited for here, too.
///
/// # Errors
/// Those of [`identity::identify`].
pub fn identify(
    flag: Option<&str>,
    around: &Surroundings,
    config: &Config,
) -> Result<NodeId, IdentityError> {
    let comes = |host: &&Host| matches!(host.address, Address::Ip(ip) if !ip.is_loopback());
    let waits = config.hosts.values().filter(comes).map(|host| host.bind_wait);
    let look = || identity::identify(flag, around, config, machine_bears);
    let is_worth_a_wait = |error| matches!(error, IdentityError::NotFound { .. }).then_some(error);
    let found = until(waits.max().unwrap_or_default(), look, is_worth_a_wait);
    found.map_err(|(error, _)| error)
}

/// Looks until it finds, or is out of patience; gives the last error and the time that it took.
fn until<T, E: fmt::Display + Clone>(
    patience: Duration,
    look: impl Fn() -> Result<T, E>,
    is_worth_a_wait: impl Fn(E) -> Option<E>,
) -> Result<T, (E, Duration)> {
    let begun = Instant::now();
    let manager = Manager::of_process();
    let mut reminder = Duration::ZERO;
    loop {
        let lack = match look() {
            Ok(found) => {
                if !reminder.is_zero() {
                    let waited = begun.elapsed().as_secs_f64();
                    info!(waited, "the address of this node is there");
                }
                return Ok(found);
            }
            Err(error) => error,
        };
        let waited = begun.elapsed();
        if waited >= patience || is_worth_a_wait(lack.clone()).is_none() {
            return Err((lack, waited));
        }
        if waited >= reminder {
            reminder = waited + REMINDER;
            let left = (patience - waited).as_secs();
            warn!(%lack, left, "waiting for the address of this node");
        }
        manager.waiting("waits for its address", EXTENSION);
        thread::sleep(AGAIN);
    }
}

/// One look; `bears` tells whether this machine has an address.
fn look(
    config: &Config,
    me: NodeId,
    bears: impl Fn(IpAddr) -> bool,
    ask: impl Fn() -> Option<Tailscale>,
) -> Result<Binding, Lack> {
    let host = config.hosts.get(&me);
    let http = host.map_or(config.http.bind, |host| host.http_bind);
    let gossip = host.and_then(|host| host.bind);
    let find = |bind: Bind| address_of(bind, host, &bears, &ask);
    let gossip_ip = gossip.map(find).transpose()?;
    let http_ip = if http == gossip { gossip_ip } else { http.map(find).transpose()? };
    Ok(Binding { gossip: gossip_ip, http: http_ip })
}

fn address_of(
    bind: Bind,
    host: Option<&Host>,
    bears: impl Fn(IpAddr) -> bool,
    ask: impl Fn() -> Option<Tailscale>,
) -> Result<IpAddr, Lack> {
    let lack = |address, tailscale| Lack { bind, address, tailscale, waited: Duration::ZERO };
    let said = match bind {
        Bind::Ip(ip) => Some(ip),
        Bind::Tailscale => host.and_then(literal),
    };
    if let Some(ip) = said {
        let is_there = ip.is_unspecified() || bears(ip);
        return if is_there { Ok(ip) } else { Err(lack(said, None)) };
    }
    let tailscale = ask();
    let all = tailscale.as_ref().map_or(&[][..], |it| &it.addresses);
    match all.iter().find(|ip| bears(**ip)) {
        Some(ip) => Ok(*ip),
        None => Err(lack(all.first().copied(), tailscale.map(Box::new))),
    }
}

/// The address in the network of Tailscale that the file has for a host.
fn literal(host: &Host) -> Option<IpAddr> {
    let said = host.tailscale_ip.as_ref().and_then(|text| text.parse().ok());
    said.or(match host.address {
        Address::Ip(ip) if is_of_tailscale(ip) => Some(ip),
        Address::Ip(_) | Address::Name(_) => None,
    })
}

/// Whether an address is of the ranges that Tailscale takes: 100.64.0.0/10 and fd7a:115c:a1e0::/48.
const fn is_of_tailscale(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => matches!(ip.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn said(text: &[u8]) -> Option<Tailscale> {
        tailscale::parse(text)
    }

    /// What a host of this entry binds on a machine with these addresses.
    fn bound(
        entry: &str,
        has: &[&str],
        ask: impl Fn() -> Option<Tailscale>,
    ) -> Result<Binding, String> {
        let config = config::parse(&format!("voters: [a]\nhosts:\n  a: {{{entry}}}")).unwrap();
        let bears = |own: IpAddr| has.iter().any(|it| ip(it) == own);
        look(&config.config, "a".parse().unwrap(), bears, ask).map_err(|lack| lack.to_string())
    }

    fn both(text: &str) -> Binding {
        Binding { gossip: Some(ip(text)), http: Some(ip(text)) }
    }

    const EVERYBODY: &[u8] = include_bytes!("tailscale/everybody.json");
    const USERSPACE: &[u8] = include_bytes!("tailscale/userspace.json");

    #[test]
    fn nothing_is_waited_for_that_the_file_does_not_name() {
        let nobody = || panic!("it needs no answer of Tailscale");
        assert_eq!(bound("address: 100.64.0.1", &[], nobody), Ok(Binding::default()));
        let all = bound("address: 100.64.0.1, bind: 0.0.0.0", &[], nobody);
        assert_eq!(all, Ok(both("0.0.0.0")));
    }

    #[test]
    fn tailscale_is_the_literal_address_of_the_file_before_what_the_program_says() {
        let nobody = || panic!("it needs no answer of Tailscale");
        let has = ["100.64.0.1", "fd7a:115c:a1e0::1", "10.0.0.1"];
        for (entry, binds) in [
            ("address: 10.0.0.1, tailscale_ip: 100.64.0.1", "100.64.0.1"),
            ("tailscale_ip: 'fd7a:115c:a1e0::1'", "fd7a:115c:a1e0::1"),
            ("address: 100.64.0.1", "100.64.0.1"),
        ] {
            let entry = format!("{entry}, bind: tailscale");
            assert_eq!(bound(&entry, &has, nobody), Ok(both(binds)), "{entry}");
        }
        let apart = bound("tailscale_ip: 100.64.0.1, http: {bind: tailscale}", &has, nobody);
        assert_eq!(apart, Ok(Binding { gossip: None, http: Some(ip("100.64.0.1")) }));
    }

    #[test]
    fn without_a_literal_it_is_the_first_address_of_the_program_that_the_machine_has() {
        let ask = || said(EVERYBODY);
        for entry in ["address: a.example", "address: 203.0.113.5"] {
            let entry = format!("{entry}, bind: tailscale");
            let v6 = "fd7a:115c:a1e0::6667";
            assert_eq!(bound(&entry, &["100.101.102.103", v6], ask), Ok(both("100.101.102.103")));
            assert_eq!(bound(&entry, &[v6], ask), Ok(both(v6)));
            let lack = bound(&entry, &["203.0.113.5"], ask).unwrap_err();
            assert!(lack.contains("100.101.102.103"), "{lack}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let lack =
            |entry: &str, ask: fn() -> Option<Tailscale>| bound(entry, &[], ask).unwrap_err();
        let address = lack("address: 10.0.0.1, bind: 10.0.0.9", || None);
        assert!(address.contains("10.0.0.9") && address.contains("`bind_wait`"), "{address}");
        let absent = lack("address: a.example, bind: tailscale", || None);
        assert!(absent.contains("start Tailscale"), "{absent}");
        let userspace = lack("address: a.example, bind: tailscale", || said(USERSPACE));
        assert!(userspace.contains("--tun=tailscale0"), "{userspace}");
        let other = Lack {
            bind: Bind::Tailscale,
            address: Some(ip("100.64.0.9")),
            tailscale: said(EVERYBODY).map(Box::new),
            waited: Duration::from_secs(60),
        };
        let other = other.to_string();
        assert!(
            other.contains("100.64.0.9") && other.contains("gives it 100.101.102.103"),
            "{other}"
        );
        assert!(other.contains("after 60 s"), "{other}");
    }
}
