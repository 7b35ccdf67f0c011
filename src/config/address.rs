//! Where a host is: what of a text is an address, a name to resolve, or neither.

use core::net::IpAddr;
use ringrift_wire::NodeId;

use super::section::{Faults, is_broadcast};
use super::{Address, Position};

/// An address that datagrams can be sent to, or a name to resolve.
///
/// # Errors
/// What is wrong with the text, and what to do.
pub(super) fn read(text: &str) -> Result<Address, (String, &'static str)> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) {
            let problem = format!("{text} is not the address of one host");
            return Err((problem, "write the address at which the others reach it"));
        }
        return Ok(Address::Ip(ip));
    }
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(inner)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last_is_number =
        name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if text.len() > 253 || !name.split('.').all(label) || last_is_number {
        let problem = format!("`{text}` is neither an address nor a host name");
        let remedy = "write an IPv4 or IPv6 address without port and brackets, or a host name";
        return Err((problem, remedy));
    }
    Ok(Address::Name(text.to_owned()))
}

/// The address of a host that is given none: its own name.
pub(super) fn of_name(id: NodeId, path: &str, at: Position, faults: &mut Faults) -> Address {
    read(id.as_str()).unwrap_or_else(|(problem, _)| {
        let remedy = format!("give it an `address` under `hosts.{id}`");
        faults.add(
            path,
            Some(at),
            format!("without an address its name is one, and {problem}"),
            remedy,
        );
        Address::Name(id.as_str().to_owned())
    })
}
