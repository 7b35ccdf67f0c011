//! The side of a check that asks one voter.
//!
//! Decides what is asked and what is noted; what it means is `report`'s matter. Whoever answers may be
//! - another check, which says which datagrams came: so the direction that fails is known;
//! - a running node, which is asked over HTTP how many datagrams it has refused: those of a check are among
//!   them, and change nothing;
//! - another program, such as the process that is to be replaced: then only its port is known to be open.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use hyper::StatusCode;
use ringrift_wire::{MAX_DATAGRAM, NodeId};
use serde_json::Value;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::sleep;

use super::answer::Post;
use super::datagram::SHORT;
use crate::cli::get::{Base, GetError, get_within};
use crate::config::Address;
use crate::driver::entropy::random_u64;
use crate::driver::peers::Resolver as _;
use crate::driver::resolver::SystemResolver;

/// For one answer over HTTP.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two attempts to find a check that has not begun.
const AGAIN: Duration = Duration::from_millis(250);

/// The most addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Short datagrams that are sent.
pub(super) const SHORT_ONES: u16 = 10;

/// Between two datagrams.
const PAUSE: Duration = Duration::from_millis(20);

/// For the answers to datagrams, after the last.
const SETTLE: Duration = Duration::from_millis(700);

/// Lengths that are tried, and how often each.
const LENGTHS: [usize; 6] = [256, 512, 1_000, 1_100, 1_150, MAX_DATAGRAM];
const EACH: u16 = 3;

/// The time between the two readings of its clock, at least.
const CLOCK_SPAN: Duration = Duration::from_secs(3);

/// Readings of its clock each time; the quickest counts.
const READINGS: usize = 3;

/// Who is asked, and where.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) id: NodeId,
    pub(super) address: Address,
    /// Of its check, UDP and TCP.
    pub(super) udp: u16,
    pub(super) tcp: u16,
    /// Of its node.
    pub(super) gossip: u16,
    pub(super) http: u16,
}

/// Who answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Who {
    /// Another check.
    Check,
    /// A running node.
    Node,
    /// Something else, in words.
    Other(String),
    /// The port is closed: the host is there, and nothing listens.
    Closed,
    /// Nothing came.
    #[default]
    Silent,
}

/// What was found out about one voter.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    /// Its name here.
    pub(super) id: String,
    /// Where it was asked.
    pub(super) address: Option<SocketAddr>,
    /// Other addresses of its name, where it does not answer though it does at `address`.
    pub(super) silent: Vec<IpAddr>,
    /// Who answered over HTTP.
    pub(super) who: Who,
    /// The port where it did, or did not.
    pub(super) port: u16,
    /// The name that it gave.
    pub(super) named: Option<String>,
    /// The cluster that it is of, where it says so.
    pub(super) cluster: Option<String>,
    /// Short datagrams that left, that arrived as far as is known, and that were answered.
    pub(super) sent: u16,
    pub(super) arrived: Option<u16>,
    pub(super) answered: u16,
    /// Whether datagrams of its come here, where that is known.
    pub(super) comes: Option<bool>,
    /// The longest that passed, there and back, or only there.
    pub(super) longest: Option<usize>,
    pub(super) round_trip: Option<Duration>,
    /// Version and hash of its voter list.
    pub(super) config: Option<(u64, String)>,
    /// How much faster its clock runs, and how exact that is, both in parts of one.
    pub(super) clock: Option<(f64, f64)>,
}

/// Asks a voter all there is to ask, for as long as `wait` until it answers.
///
/// Of several addresses of its name, all are tried: the first that answers over HTTP and takes datagrams counts.
pub(super) async fn voter(
    target: &Target,
    post: &Post,
    wait: Duration,
    resolver: &SystemResolver,
) -> Finding {
    let mut none = Finding { id: target.id.to_string(), port: target.tcp, ..Finding::default() };
    let addresses = resolve(target, post, resolver).await;
    if addresses.is_empty() {
        return none;
    }
    let begun = Instant::now();
    let mut doors = loop {
        let doors = identify_all(&addresses, target.tcp, &none).await;
        if doors.iter().any(|door| door.base.is_some()) || begun.elapsed() >= wait {
            break doors;
        }
        sleep(AGAIN).await;
    };
    // Where no check is, there may be a node.
    if doors.iter().all(|door| door.base.is_none()) && target.http != target.tcp {
        none.port = target.http;
        doors = identify_all(&addresses, target.http, &none).await;
    }
    // Those where it answers itself, else those where anybody does, else all.
    let is_right =
        |door: &Door| door.base.is_some() && door.finding.named.as_ref() == Some(&none.id);
    let is_there = |door: &Door| door.base.is_some();
    for counts in [&is_right as &dyn Fn(&Door) -> bool, &is_there] {
        if doors.iter().any(counts) {
            let (good, silent): (Vec<_>, Vec<_>) = doors.into_iter().partition(counts);
            doors = good;
            none.silent = silent.iter().map(|door| door.ip).collect();
            break;
        }
    }
    let mut best: Option<Finding> = None;
    for door in doors {
        let finding = datagrams(door, target, post).await;
        let passes = finding.arrived.unwrap_or(finding.answered) > 0;
        if passes || best.is_none() {
            best = Some(finding);
        }
        if passes {
            break;
        }
    }
    let mut finding = best.unwrap_or_else(|| none.clone());
    finding.silent = none.silent;
    finding.comes = match finding.comes {
        None if post.heard().has_heard(target.id) => Some(true),
        known => known,
    };
    finding
}

/// One address of a voter, and who is there.
#[derive(Debug)]
struct Door {
    ip: IpAddr,
    /// Of the check or the node, where there is one.
    base: Option<Base>,
    finding: Finding,
}

/// Who answers HTTP at each address, all asked at once; in the order of the addresses.
async fn identify_all(addresses: &[IpAddr], port: u16, none: &Finding) -> Vec<Door> {
    let ask = |&ip| {
        let mut finding = none.clone();
        tokio::spawn(async move {
            let base = identify(ip, port, &mut finding).await;
            Door { ip, base, finding }
        })
    };
    let asked: Vec<_> = addresses.iter().map(ask).collect();
    let mut doors = Vec::new();
    for one in asked {
        doors.extend(one.await.ok());
    }
    doors
}

/// What becomes of datagrams to that address.
async fn datagrams(door: Door, target: &Target, post: &Post) -> Finding {
    let Door { ip, base, mut finding } = door;
    finding.address = Some(SocketAddr::new(ip, target.udp));
    let Ok(nonce) = random_u64() else { return finding };
    match (&finding.who, base) {
        (Who::Node, Some(base)) => {
            finding.address = Some(SocketAddr::new(ip, target.gossip));
            node(&base, post, nonce, &mut finding).await;
        }
        (who, base) => {
            if *who == Who::Check && finding.port != target.tcp {
                // Its check is at the ports of its node.
                finding.address = Some(SocketAddr::new(ip, target.gossip));
            }
            check(base.as_ref(), post, nonce, &mut finding).await;
        }
    }
    finding
}

/// The addresses of a voter, of the families that the socket here speaks; none where its name has none.
async fn resolve(target: &Target, post: &Post, resolver: &SystemResolver) -> Vec<IpAddr> {
    let name = match &target.address {
        Address::Ip(ip) => return vec![*ip],
        Address::Name(name) => name,
    };
    let found = resolver.look_up(name, target.udp).await.unwrap_or_default();
    let mut all = Vec::new();
    for ip in found.into_iter().map(|found| found.ip().to_canonical()) {
        if post.speaks_to(ip) && !all.contains(&ip) && all.len() < MOST_ADDRESSES {
            all.push(ip);
        }
    }
    all
}

/// Who answers HTTP at a port; `None` where no check and no node does.
async fn identify(ip: IpAddr, port: u16, finding: &mut Finding) -> Option<Base> {
    let base = Base::parse(&SocketAddr::new(ip, port).to_string()).ok()?;
    for (path, who, mark) in
        [("/check", Who::Check, "check"), ("/status", Who::Node, "voter_config_hash")]
    {
        let said = match get_within(PATIENCE, &base, path).await {
            Ok((StatusCode::OK, body)) => body,
            Ok((code, _)) => {
                finding.who = Who::Other(format!("it answers {code} to {path}"));
                continue;
            }
            Err(GetError::Connect(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                finding.who = Who::Closed;
                return None;
            }
            Err(GetError::Connect(_) | GetError::Timeout) => {
                finding.who = Who::Silent;
                return None;
            }
            Err(_) => {
                finding.who = Who::Other(String::from("it does not speak HTTP"));
                return None;
            }
        };
        let said: Value = serde_json::from_slice(&said).unwrap_or(Value::Null);
        if said[mark].is_null() {
            let what = "it answers as another program, such as the one that is to be replaced";
            finding.who = Who::Other(String::from(what));
            continue;
        }
        let text = |key: &str| said[key].as_str().map(ToOwned::to_owned);
        finding.who = who;
        finding.named = text("node_id");
        finding.cluster = text("cluster");
        let version = said["voter_config_version"].as_u64();
        finding.config = version.zip(text("voter_config_hash"));
        return Some(base);
    }
    None
}

/// Datagrams to a check, or to where one should be.
async fn check(base: Option<&Base>, post: &Post, nonce: u64, finding: &mut Finding) {
    let Some(to) = finding.address else { return };
    let clock = read_clock(base, "/check", "clock_seconds").await;
    let mut lengths = vec![SHORT; usize::from(SHORT_ONES)];
    for length in LENGTHS {
        lengths.extend([length; EACH as usize]);
    }
    for (number, &length) in (0..).zip(&lengths) {
        post.ask(nonce, number, length, to).await;
        sleep(PAUSE).await;
    }
    sleep(SETTLE).await;
    let answers = post.heard().answers(nonce);
    let is_short = |number: &u16| *number < SHORT_ONES;
    finding.sent = SHORT_ONES;
    finding.answered = count(answers.keys().filter(|number| is_short(number)).count());
    finding.round_trip = answers.values().min().copied();
    let length_of = |number: &u16| lengths.get(usize::from(*number)).copied();
    finding.longest = answers.keys().filter_map(length_of).max();
    if let Some(base) = base
        && let Ok((_, body)) = get_within(PATIENCE, base, "/check").await
    {
        let said: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let numbers = said["received"][format!("{nonce:016x}")].as_array();
        let arrived = numbers.into_iter().flatten().filter_map(Value::as_u64);
        finding.arrived = Some(count(arrived.filter(|&it| it < u64::from(SHORT_ONES)).count()));
    } else if finding.answered > 0 {
        finding.arrived = Some(finding.answered);
    }
    if finding.answered > 0 {
        finding.comes = Some(true);
    } else if finding.arrived.is_some_and(|arrived| arrived > 0) {
        finding.comes = Some(false);
    }
    finding.clock = compare(clock, base, "/check", "clock_seconds").await;
}

/// Datagrams to a running node, which counts and drops them.
async fn node(base: &Base, post: &Post, nonce: u64, finding: &mut Finding) {
    let Some(to) = finding.address else { return };
    let clock = read_clock(Some(base), "/status", "uptime_seconds").await;
    finding.round_trip = clock.map(|reading| reading.took);
    let mut refused = refused(base).await;
    finding.sent = SHORT_ONES;
    let mut number = 0;
    for (length, times) in [(SHORT, SHORT_ONES)].into_iter().chain(LENGTHS.map(|it| (it, EACH))) {
        for _ in 0..times {
            post.ask(nonce, number, length, to).await;
            number += 1;
            sleep(PAUSE).await;
        }
        sleep(SETTLE / 2).await;
        let after = self::refused(base).await;
        let more = after.zip(refused).map(|(after, before)| after.saturating_sub(before));
        refused = after.or(refused);
        let Some(more) = more else { return };
        if length == SHORT {
            finding.arrived = Some(count(usize::try_from(more).unwrap_or(0)).min(SHORT_ONES));
        }
        if more > 0 {
            finding.longest = Some(length);
        }
    }
    finding.clock = compare(clock, Some(base), "/status", "uptime_seconds").await;
}

/// How many datagrams a node has refused, whatever for.
async fn refused(base: &Base) -> Option<u64> {
    let (_, body) = get_within(PATIENCE, base, "/metrics").await.ok()?;
    let text = String::from_utf8_lossy(&body);
    let lines =
        text.lines().filter(|line| line.starts_with("ringrift_p2p_datagrams_rejected_total"));
    let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Some(numbers.sum::<f64>() as u64)
}

/// One reading of another clock.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// In the middle between question and answer, on the clock here.
    at: Instant,
    took: Duration,
    /// Seconds on the clock there.
    says: f64,
}

async fn read_clock(base: Option<&Base>, path: &str, key: &str) -> Option<Reading> {
    let base = base?;
    let mut best: Option<Reading> = None;
    for _ in 0..READINGS {
        let begun = Instant::now();
        let (_, body) = get_within(PATIENCE, base, path).await.ok()?;
        let took = begun.elapsed();
        let said: Value = serde_json::from_slice(&body).ok()?;
        let reading = Reading { at: begun + took / 2, took, says: said[key].as_f64()? };
        if best.is_none_or(|best| took < best.took) {
            best = Some(reading);
        }
    }
    best
}

/// How much faster the clock there runs, from a reading before and one now.
async fn compare(
    before: Option<Reading>,
    base: Option<&Base>,
    path: &str,
    key: &str,
) -> Option<(f64, f64)> {
    let before = before?;
    sleep(CLOCK_SPAN.saturating_sub(before.at.elapsed())).await;
    let after = read_clock(base, path, key).await?;
    rate(before, after)
}

fn rate(before: Reading, after: Reading) -> Option<(f64, f64)> {
    let here = after.at.checked_duration_since(before.at)?.as_secs_f64();
    let there = after.says - before.says;
    // A clock that went back is that of a process that was started anew.
    (here > 0.0 && there > 0.0).then(|| {
        let error = (before.took + after.took).as_secs_f64() / 2.0 / here;
        (there / here - 1.0, error)
    })
}

fn count(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Asks all of them at once.
pub(super) async fn all(targets: Vec<Target>, post: &Arc<Post>, wait: Duration) -> Vec<Finding> {
    let mut asked = Vec::new();
    let resolver = SystemResolver::default();
    for target in targets {
        let (post, resolver) = (Arc::clone(post), resolver.clone());
        asked.push(tokio::spawn(async move { voter(&target, &post, wait, &resolver).await }));
    }
    let mut findings = Vec::new();
    for one in asked {
        findings.extend(one.await.ok());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_a_clock_is_known_as_exactly_as_the_answers_were_quick() {
        let ms = Duration::from_millis;
        let at = Instant::now();
        let reading =
            |seconds: u64, took, says| Reading { at: at + ms(1_000 * seconds), took, says };
        let (rate, error) = rate(reading(0, ms(10), 100.0), reading(10, ms(30), 110.1)).unwrap();
        assert!((rate - 0.01).abs() < 1e-9 && (error - 0.002).abs() < 1e-9, "{rate} {error}");
        let anew = super::rate(reading(0, ms(1), 100.0), reading(10, ms(1), 5.0));
        assert_eq!(anew, None, "another process answered");
    }
}
