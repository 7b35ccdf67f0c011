//! Rules over all hosts at once: what one host may not share with another.

use ringrift_wire::NodeId;
use std::collections::BTreeMap;

use super::error::Position;
use super::section::Faults;
use super::{Host, HostPriority};

/// No two hosts share an address and a port, neither for gossip nor for HTTP.
pub(super) fn distinct_addresses(
    hosts: &BTreeMap<NodeId, Host>,
    places: &BTreeMap<NodeId, Position>,
    faults: &mut Faults,
) {
    let mut taken: BTreeMap<(&'static str, String, u16), NodeId> = BTreeMap::new();
    for (id, host) in hosts {
        let address = host.address.to_string();
        for (what, port) in [("port", host.port), ("http.port", host.http_port)] {
            if let Some(other) = taken.insert((what, address.clone(), port), *id) {
                let problem = format!("{address} with {what} {port} is that of {other} too");
                let remedy = "give each host an address or a port of its own";
                faults.add(format!("hosts.{id}"), places.get(id).copied(), problem, remedy);
                break;
            }
        }
    }
}

/// Each number belongs to one voter, and some voter may lead.
pub(super) fn priorities(
    hosts: &BTreeMap<NodeId, Host>,
    places: &BTreeMap<NodeId, Position>,
    voters: &[(NodeId, Position)],
    faults: &mut Faults,
) {
    let mut taken: BTreeMap<u16, NodeId> = BTreeMap::new();
    let mut may_lead = voters.is_empty();
    for (id, _) in voters {
        match hosts.get(id).map_or(HostPriority::Unnumbered, |host| host.priority) {
            HostPriority::Never => {}
            HostPriority::Unnumbered => may_lead = true,
            HostPriority::Order(order) => {
                may_lead = true;
                if let Some(other) = taken.insert(order, *id) {
                    let key = format!("hosts.{id}.priority");
                    let problem = format!("{other} has priority {order} too");
                    let remedy = "give each voter a number of its own";
                    faults.add(key, places.get(id).copied(), problem, remedy);
                }
            }
        }
    }
    if !may_lead {
        let problem = "every voter has priority `never`, so none may lead";
        faults.add("hosts", None, problem, "let at least one lead");
    }
}
