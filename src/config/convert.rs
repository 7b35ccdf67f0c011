//! The one conversion from the raw mirror to the checked configuration: every rule of a file.

use core::ops::RangeInclusive;
use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::BTreeMap;

use super::address;
use super::bind::Bind;
use super::error::{ConfigErrors, Position, Warning};
use super::hooks;
use super::raw::{self, Node, Value};
use super::scheduling;
use super::section::{Faults, Section, nearest, repeated_keys};
use super::together;
use super::yaml::{duration_text, fnv1a};
use super::{
    Address, Config, DEFAULT_PORT, Election, Gossip, Host, HostPriority, Http, Loaded, Membership,
    Unsealed,
};

/// The most voters of a cluster. Every election is a round trip with each of them, and every heartbeat
/// a datagram to each.
pub const MAX_VOTERS: usize = 31;

const TOP_LEVEL: [&str; 12] = [
    "cluster",
    "voters",
    "p2p_voters",
    "voters_version",
    "election",
    "membership",
    "gossip",
    "http",
    "hosts",
    "data_dir",
    "hooks",
    "scheduling",
];

const ELECTION: [&str; 8] = [
    "heartbeat_interval",
    "peer_timeout",
    "lease",
    "election_timeout",
    "clock_drift",
    "takeover_after",
    "takeover_every",
    "block_after_step_down",
];

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The default of each length of time that does not derive from another.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
const PEER_TIMEOUT: Duration = Duration::from_secs(60);
const ELECTION_TIMEOUT: Duration = Duration::from_secs(30);
const TAKEOVER_AFTER: Duration = Duration::from_secs(60);
const TAKEOVER_EVERY: Duration = Duration::from_secs(300);
const BLOCK_AFTER_STEP_DOWN: Duration = Duration::from_secs(600);
const LONGEST_PROBE_INTERVAL: Duration = Duration::from_secs(1);
const CLOCK_DRIFT_PPM: u32 = 10_000;
const MAX_MEMBERS: usize = 5_000;

/// NTP alone may run a clock fast or slow by 500 ppm; beyond 10 % the hardware is broken.
const CLOCK_DRIFT_RANGE: RangeInclusive<u32> = 500..=100_000;

/// Reads and checks a text as a configuration; it came from no file.
///
/// # Errors
/// The text is no YAML, or breaks rules: all of them are listed.
pub fn parse(text: &str) -> Result<Loaded, ConfigErrors> {
    let root = raw::read(text)?;
    let mut faults = Faults::default();
    let mut warnings = Vec::new();
    let mut foreign = Vec::new();
    repeated_keys("", &root, &mut faults);
    let mut top = Section::new("", Some(&root), &mut faults);

    let cluster = cluster(&mut top, &mut faults);
    let voters = voters(&mut top, &mut faults);
    let voters_version = top.integer("voters_version", 1..=u32::MAX, &mut faults).unwrap_or(1);
    let election = election(top.take("election"), &mut faults);
    let http = http("http", top.take("http"), &mut faults);
    let hosts = hosts(top.take("hosts"), &voters, &http, &mut foreign, &mut faults);
    let gossip = gossip(top.take("gossip"), &mut faults);
    let membership =
        membership(top.take("membership"), &election, &gossip, hosts.len(), &mut faults);
    let hooks = hooks::read(top.take("hooks"), &election, &mut faults);
    let data_dir = top.path("data_dir", &mut faults).map(|(path, _)| path);
    let scheduling = scheduling::read(top.take("scheduling"), &mut faults);

    let mut strangers: Vec<String> = Vec::new();
    for (key, ..) in top.rest() {
        if let Some(ours) = nearest(key, &TOP_LEVEL, 2) {
            warnings.push(Warning::Lookalike { found: key.to_owned(), ours });
        }
        strangers.push(key.to_owned());
    }
    strangers.append(&mut foreign);
    match voters.len() {
        2 => warnings.push(Warning::TwoVoters),
        count if count > 0 && count % 2 == 0 => warnings.push(Warning::EvenVoters(count)),
        _ => {}
    }

    let errors = faults.into_sorted();
    if !errors.is_empty() {
        return Err(ConfigErrors { path: None, errors });
    }
    let config = Config {
        path: None,
        hash: format!("{:016x}", fnv1a(text.as_bytes())),
        cluster,
        voters: voters.into_iter().map(|(id, _)| id).collect(),
        voters_version,
        election,
        membership,
        gossip,
        http,
        hosts,
        data_dir,
        hooks,
        scheduling,
    };
    Ok(Loaded { config, warnings, foreign: strangers })
}

/// The cluster's name: 1 to 63 bytes of printable text.
fn cluster(top: &mut Section<'_>, faults: &mut Faults) -> String {
    let Some((name, at)) = top.text("cluster", faults) else {
        return String::from("ringrift");
    };
    if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        let remedy = "write 1 to 63 bytes without control characters, the same on every node";
        faults.add("cluster", Some(at), "no name for a cluster", remedy);
    }
    name.to_owned()
}

/// The voters: one list, each name once, 1 to [`MAX_VOTERS`].
fn voters(top: &mut Section<'_>, faults: &mut Faults) -> Vec<(NodeId, Position)> {
    let (key, node) = match (top.take("voters"), top.take("p2p_voters")) {
        (Some(_), Some(second)) => {
            let problem = "the voters are listed under `voters` already";
            faults.add("p2p_voters", Some(second.at), problem, "remove one of the two lists");
            return Vec::new();
        }
        (Some(node), None) => ("voters", node),
        (None, Some(node)) => ("p2p_voters", node),
        (None, None) => {
            let remedy = "list the names of the voters under `voters`";
            faults.add("voters", None, "there are no voters", remedy);
            return Vec::new();
        }
    };
    let Value::List(list) = &node.value else {
        let problem = format!("{} where a list of names belongs", node.value.kind());
        faults.add(key, Some(node.at), problem, "write one `- name` line per voter");
        return Vec::new();
    };
    if list.is_empty() || list.len() > MAX_VOTERS {
        let problem = format!("{} voters", list.len());
        let remedy = format!("list 1 to {MAX_VOTERS}; other nodes follow as observers");
        faults.add(key, Some(node.at), problem, remedy);
    }
    let mut voters: Vec<(NodeId, Position)> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let path = format!("{key}[{index}]");
        let Some(id) = node_id(&path, &item.value, item.at, faults) else { continue };
        if let Some((_, first)) = voters.iter().find(|(other, _)| *other == id) {
            let problem = format!("{id} stands on line {} already", first.line);
            faults.add(path, Some(item.at), problem, "name every voter once");
        } else {
            voters.push((id, item.at));
        }
    }
    voters
}

/// A node name.
fn node_id(path: &str, value: &Value, at: Position, faults: &mut Faults) -> Option<NodeId> {
    let Value::Text(text) = value else {
        let problem = format!("{} where the name of a node belongs", value.kind());
        faults.add(path, Some(at), problem, "put the name in quotes");
        return None;
    };
    match text.parse() {
        Ok(id) if text.bytes().any(|byte| byte != b'.') => Some(id),
        Ok(_) => {
            // It also names the folder of the node's state.
            let remedy = "use a letter or a digit too";
            faults.add(path, Some(at), format!("`{text}` is nothing but dots"), remedy);
            None
        }
        Err(error) => {
            let remedy = "use 1 to 63 letters, digits, '.', '_' and '-'";
            faults.add(path, Some(at), format!("`{text}`: {error}"), remedy);
            None
        }
    }
}

/// The timings of elections.
fn election(node: Option<&Node>, faults: &mut Faults) -> Election {
    let section = &mut Section::new("election", node, faults);
    let ms = Duration::from_millis;
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let heartbeat = section.duration("heartbeat_interval", ms(10)..=minutes(10), faults);
    let peer_timeout = section.duration("peer_timeout", ms(20)..=DAY, faults);
    let lease = section.duration("lease", ms(20)..=HOUR, faults);
    let election_timeout = section.duration("election_timeout", ms(50)..=HOUR, faults);
    let drift = section.share_ppm("clock_drift", CLOCK_DRIFT_RANGE, faults);
    let takeover_after = section.duration("takeover_after", ms(10)..=DAY, faults);
    let takeover_every = section.duration("takeover_every", ms(10)..=DAY, faults);
    let block = section.duration("block_after_step_down", Duration::ZERO..=DAY, faults);
    section.forbid_rest(&ELECTION, faults);

    let given = |pair: Option<(Duration, Position)>| pair.map(|(length, _)| length);
    let heartbeat_interval = given(heartbeat).unwrap_or(HEARTBEAT_INTERVAL);
    let timeout = given(peer_timeout).or(given(lease)).unwrap_or(PEER_TIMEOUT);
    let length = given(lease).unwrap_or(timeout);
    let at = lease.or(peer_timeout).or(heartbeat).map(|(_, at)| at);
    if length < 2 * heartbeat_interval {
        let problem = format!(
            "a lease of {} does not hold two heartbeats of {}",
            duration_text(length),
            duration_text(heartbeat_interval)
        );
        let remedy = format!(
            "raise it (by default it is peer_timeout) to at least {}, or lower heartbeat_interval",
            duration_text(2 * heartbeat_interval)
        );
        faults.add("election.lease", at, problem, remedy);
    }
    if lease.is_none() && length > HOUR {
        let problem =
            format!("{} is too long for the lease, which it also sets", duration_text(length));
        faults.add("election.peer_timeout", at, problem, "give election.lease, 1h at most");
    }
    Election {
        heartbeat_interval,
        peer_timeout: timeout,
        lease: length,
        election_timeout: given(election_timeout).unwrap_or(ELECTION_TIMEOUT),
        clock_drift_ppm: drift.unwrap_or(CLOCK_DRIFT_PPM),
        takeover_after: given(takeover_after).unwrap_or(TAKEOVER_AFTER),
        takeover_every: given(takeover_every).unwrap_or(TAKEOVER_EVERY),
        block_after_step_down: given(block).unwrap_or(BLOCK_AFTER_STEP_DOWN),
    }
}

/// The timings and bounds of membership.
fn membership(
    node: Option<&Node>,
    election: &Election,
    gossip: &Gossip,
    hosts: usize,
    faults: &mut Faults,
) -> Membership {
    let section = &mut Section::new("membership", node, faults);
    let ms = Duration::from_millis;
    let interval = section.duration("probe_interval", ms(10)..=Duration::from_secs(60), faults);
    let timeout = section.duration("probe_timeout", ms(1)..=Duration::from_secs(30), faults);
    let open = section.boolean("open", faults).unwrap_or(gossip.is_closed());
    let max_members = section.integer("max_members", 1..=100_000, faults);
    section.forbid_rest(&["probe_interval", "probe_timeout", "open", "max_members"], faults);

    let probe_interval = interval
        .map_or(election.heartbeat_interval.min(LONGEST_PROBE_INTERVAL), |(length, _)| length);
    if election.peer_timeout < 2 * probe_interval {
        let problem = format!(
            "two rounds of {} do not fit in election.peer_timeout, {}",
            duration_text(probe_interval),
            duration_text(election.peer_timeout)
        );
        let at = interval.map(|(_, at)| at);
        faults.add("membership.probe_interval", at, problem, "lower it or raise the other");
    }
    if let Some((length, at)) = timeout
        && 2 * length > probe_interval
    {
        let problem = format!(
            "{} is more than half of probe_interval, {}",
            duration_text(length),
            duration_text(probe_interval)
        );
        let remedy = "lower it, or leave it out: it then follows the measured round trip";
        faults.add("membership.probe_timeout", Some(at), problem, remedy);
    }
    let max_members = max_members.unwrap_or(MAX_MEMBERS);
    if hosts > max_members {
        let problem = format!("room for {max_members} members, and `hosts` lists {hosts}");
        faults.add("membership.max_members", section.position(), problem, "raise it");
    }
    let probe_timeout = timeout.map(|(length, _)| length);
    Membership { probe_interval, probe_timeout, open, max_members }
}

/// Gossip and its keys.
fn gossip(node: Option<&Node>, faults: &mut Faults) -> Gossip {
    let section = &mut Section::new("gossip", node, faults);
    let key_file = section.path("key_file", faults).map(|(path, _)| path);
    let said = section.text("unsealed", faults);
    let unsealed = said.and_then(|(text, at)| {
        let found = Unsealed::ALL.into_iter().find(|choice| choice.as_str() == text);
        if found.is_none() {
            let remedy = "write send, accept or refuse";
            faults.add("gossip.unsealed", Some(at), format!("`{text}` is no choice"), remedy);
        }
        found
    });
    if let (None, Some((_, at))) = (&key_file, said) {
        let problem = "without a key every datagram is unsealed";
        let remedy = "remove it, or name a `key_file` beside it";
        faults.add("gossip.unsealed", Some(at), problem, remedy);
    }
    section.forbid_rest(&["key_file", "unsealed"], faults);
    Gossip { key_file, unsealed: unsealed.unwrap_or_default() }
}

/// An HTTP server.
fn http(path: &str, node: Option<&Node>, faults: &mut Faults) -> Http {
    let section = &mut Section::new(path, node, faults);
    let port = section.integer("port", 1..=u16::MAX, faults);
    let bind = section.bind_or_word("bind", faults);
    section.forbid_rest(&["port", "bind"], faults);
    Http { port, bind }
}

/// Every host, voters without an entry included.
fn hosts(
    node: Option<&Node>,
    voters: &[(NodeId, Position)],
    http: &Http,
    foreign: &mut Vec<String>,
    faults: &mut Faults,
) -> BTreeMap<NodeId, Host> {
    let mut hosts = BTreeMap::new();
    let mut places: BTreeMap<NodeId, Position> = BTreeMap::new();
    let mut section = Section::new("hosts", node, faults);
    section.forbid_unnamed(faults);
    for (name, at, entry) in section.rest() {
        let path = format!("hosts.{name}");
        let Some(id) = node_id(&path, &Value::Text(name.to_owned()), at, faults) else {
            continue;
        };
        let is_voter = voters.iter().any(|(voter, _)| *voter == id);
        hosts.insert(id, host(id, &path, entry, is_voter, http, foreign, faults));
        places.insert(id, at);
    }
    for (id, at) in voters {
        if !hosts.contains_key(id) {
            let address = address::of_name(*id, "voters", *at, faults);
            hosts.insert(*id, Host::named(address, http));
        }
        places.entry(*id).or_insert(*at);
    }
    together::distinct_addresses(&hosts, &places, faults);
    together::priorities(&hosts, &places, voters, faults);
    hosts
}

impl Host {
    /// A host of which the file says nothing but where it is.
    pub(super) fn named(address: Address, http: &Http) -> Self {
        Self {
            address,
            port: DEFAULT_PORT,
            http_port: http.port.unwrap_or(DEFAULT_PORT),
            bind: None,
            http_bind: http.bind,
            bind_wait: Bind::usual_wait([None, http.bind]),
            priority: HostPriority::Unnumbered,
            gpu: None,
            tailscale_ip: None,
        }
    }
}

/// One entry of `hosts`; only a voter's priority is read.
fn host(
    id: NodeId,
    path: &str,
    entry: &Node,
    is_voter: bool,
    http_default: &Http,
    foreign: &mut Vec<String>,
    faults: &mut Faults,
) -> Host {
    let section = &mut Section::new(path, Some(entry), faults);
    let own = address(section, "address", faults);
    let tailscale = address(section, "tailscale_ip", faults);
    let port = section.integer("port", 1..=u16::MAX, faults).unwrap_or(DEFAULT_PORT);
    let bind = section.bind("bind", faults);
    let http = http(&section.key("http"), section.take("http"), faults);
    let http_bind = http.bind.or(http_default.bind).or(bind);
    let bind_wait = bind_wait(section, [bind, http_bind], faults);
    let priority = if is_voter { priority(section, faults) } else { HostPriority::Unnumbered };
    let gpu = gpu(section, faults);
    foreign.extend(section.rest().into_iter().map(|(key, ..)| section.key(key)));
    let tailscale_ip = tailscale.as_ref().map(ToString::to_string);
    let address = own.or(tailscale).unwrap_or_else(|| address::of_name(id, path, entry.at, faults));
    Host {
        address,
        port,
        http_port: http.port.or(http_default.port).unwrap_or(port),
        bind,
        http_bind,
        bind_wait,
        priority,
        gpu,
        tailscale_ip,
    }
}

/// How long a start waits for what it binds.
fn bind_wait(section: &mut Section<'_>, binds: [Option<Bind>; 2], faults: &mut Faults) -> Duration {
    let said = section.duration("bind_wait", Duration::ZERO..=HOUR, faults);
    if let (Some((_, at)), [None, None]) = (said, binds) {
        let remedy = "name what to `bind` beside it, or remove it";
        faults.add(section.key("bind_wait"), Some(at), "nothing is named to wait for", remedy);
    }
    said.map_or_else(|| Bind::usual_wait(binds), |(length, _)| length)
}

/// An address that datagrams can be sent to, or a name to resolve. An empty text counts as absent.
fn address(section: &mut Section<'_>, name: &str, faults: &mut Faults) -> Option<Address> {
    let (text, at) = section.text(name, faults)?;
    if text.is_empty() {
        return None;
    }
    match address::read(text) {
        Ok(address) => Some(address),
        Err((problem, remedy)) => {
            faults.add(section.key(name), Some(at), problem, remedy);
            None
        }
    }
}

/// The configured place of a voter.
fn priority(section: &mut Section<'_>, faults: &mut Faults) -> HostPriority {
    let Some(node) = section.take("priority") else { return HostPriority::Unnumbered };
    match &node.value {
        Value::Text(text) if text == "never" => return HostPriority::Never,
        Value::Integer(number) => {
            if let Some(order) = u16::try_from(*number).ok().filter(|order| *order > 0) {
                return HostPriority::Order(order);
            }
        }
        _ => {}
    }
    let remedy = "write a whole number from 1 (the best) to 65535, or `never`";
    faults.add(section.key("priority"), Some(node.at), "no priority", remedy);
    HostPriority::Unnumbered
}

/// The GPU: any text but an empty one counts as having one; a number is taken as a text.
fn gpu(section: &mut Section<'_>, faults: &mut Faults) -> Option<String> {
    let node = section.take("gpu")?;
    match &node.value {
        Value::Text(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(has) => has.then(|| String::from("yes")),
        Value::Null => None,
        other @ (Value::List(_) | Value::Map(_)) => {
            let problem = format!("{} where the name of a GPU belongs", other.kind());
            faults.add(section.key("gpu"), Some(node.at), problem, "write its model as a text");
            None
        }
    }
}
