//! Reading one group of keys: every value is taken by name, what is wrong is noted and reading goes on.

use core::fmt::Display;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::bind::Bind;
use super::error::{ConfigError, Position};
use super::raw::{Node, Value};
use super::yaml::duration_text;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<ConfigError>);

impl Faults {
    /// Notes one broken rule.
    pub(super) fn add(
        &mut self,
        key: impl Into<String>,
        at: Option<Position>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(ConfigError {
            key: key.into(),
            at,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// All of them in the order of the file; those without a place come last.
    pub(super) fn into_sorted(mut self) -> Vec<ConfigError> {
        self.0.sort_by_key(|error| error.at.map_or((1, u64::MAX, 0), |at| (0, at.line, at.column)));
        self.0
    }
}

/// One group of keys, from which each of ours is taken once.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    at: Option<Position>,
    entries: Vec<(&'a str, Position, &'a Node)>,
    unnamed: Vec<(Position, &'static str)>,
}

impl<'a> Section<'a> {
    /// The keys of `node`; none where it is absent or empty. Notes what is no group. Of a repeated
    /// key the first counts (see [`repeated_keys`]).
    pub(super) fn new(path: &str, node: Option<&'a Node>, faults: &mut Faults) -> Self {
        let mut section = Self {
            path: path.to_owned(),
            at: node.map(|node| node.at),
            entries: Vec::new(),
            unnamed: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        match node.map(|node| &node.value) {
            None | Some(Value::Null) => {}
            Some(Value::Map(map)) => {
                for (key, value) in map {
                    match &key.value {
                        Value::Text(name) if seen.insert(name) => {
                            section.entries.push((name, key.at, value));
                        }
                        Value::Text(_) => {}
                        other => section.unnamed.push((key.at, other.kind())),
                    }
                }
            }
            Some(other) => {
                let problem = format!("{} where a group of keys belongs", other.kind());
                faults.add(
                    path,
                    section.at,
                    problem,
                    "write `key: value` lines below it, indented",
                );
            }
        }
        section
    }

    /// Notes every key of the group that is no text.
    pub(super) fn forbid_unnamed(&mut self, faults: &mut Faults) {
        for (at, kind) in core::mem::take(&mut self.unnamed) {
            faults.add(&self.path, Some(at), format!("{kind} as a key"), "put the key in quotes");
        }
    }

    /// The full path of a key of this group.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Where the group itself stands.
    pub(super) const fn position(&self) -> Option<Position> {
        self.at
    }

    /// Takes a key with its value; a key without one counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a Node> {
        let at = self.entries.iter().position(|(key, ..)| *key == name)?;
        let (.., node) = self.entries.remove(at);
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// Takes every key that is left.
    pub(super) fn rest(&mut self) -> Vec<(&'a str, Position, &'a Node)> {
        core::mem::take(&mut self.entries)
    }

    /// Notes every key that is left as unknown, with the nearest of `ours`.
    pub(super) fn forbid_rest(&mut self, ours: &[&'static str], faults: &mut Faults) {
        self.forbid_unnamed(faults);
        for (name, at, _) in self.rest() {
            let remedy = match nearest(name, ours, 3) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", ours.join(", ")),
            };
            faults.add(self.key(name), Some(at), "unknown key", remedy);
        }
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str, faults: &mut Faults) -> Option<(&'a str, Position)> {
        let node = self.take(name)?;
        if let Value::Text(text) = &node.value {
            return Some((text, node.at));
        }
        let problem = format!("{} where a text belongs", node.value.kind());
        faults.add(self.key(name), Some(node.at), problem, "put it in quotes if it is meant");
        None
    }

    /// Takes a number within `range`.
    pub(super) fn integer<T>(
        &mut self,
        name: &str,
        range: RangeInclusive<T>,
        faults: &mut Faults,
    ) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let node = self.take(name)?;
        let remedy = format!("write a whole number from {} to {}", range.start(), range.end());
        let problem = match node.value {
            Value::Integer(number) => {
                match T::try_from(number).ok().filter(|number| range.contains(number)) {
                    Some(number) => return Some(number),
                    None => format!("{number} is out of range"),
                }
            }
            ref other => format!("{} where a whole number belongs", other.kind()),
        };
        faults.add(self.key(name), Some(node.at), problem, remedy);
        None
    }

    /// Takes true or false.
    pub(super) fn boolean(&mut self, name: &str, faults: &mut Faults) -> Option<bool> {
        let node = self.take(name)?;
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let problem = format!("{} where true or false belongs", node.value.kind());
        faults.add(self.key(name), Some(node.at), problem, "write true or false");
        None
    }

    /// Takes a length of time within `range`: whole seconds, or a text with units.
    pub(super) fn duration(
        &mut self,
        name: &str,
        range: RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Option<(Duration, Position)> {
        let node = self.take(name)?;
        let (low, high) = (duration_text(*range.start()), duration_text(*range.end()));
        let remedy = format!(
            "write whole seconds, or a number with a unit as in 250ms, 1.5s or 2m, from {low} to {high}"
        );
        let problem = match read_duration(&node.value) {
            Ok(length) if range.contains(&length) => return Some((length, node.at)),
            Ok(length) => format!("{} is out of range", duration_text(length)),
            Err(problem) => problem,
        };
        faults.add(self.key(name), Some(node.at), problem, remedy);
        None
    }

    /// Takes a share, written in percent or parts per million, within `range` of parts per million.
    pub(super) fn share_ppm(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
        faults: &mut Faults,
    ) -> Option<u32> {
        let node = self.take(name)?;
        let problem = match &node.value {
            Value::Text(text) => match read_share_ppm(text) {
                Some(ppm) if range.contains(&ppm) => return Some(ppm),
                Some(_) => format!("{text} is out of range"),
                None => format!("`{text}` is no share"),
            },
            Value::Integer(_) | Value::Float(_) => String::from("a number without a unit"),
            other => format!("{} where a share belongs", other.kind()),
        };
        let remedy = format!(
            "write it in percent as in 1%, or in parts per million as in 500ppm, from {}ppm to {}%",
            range.start(),
            range.end() / 10_000
        );
        faults.add(self.key(name), Some(node.at), problem, remedy);
        None
    }

    /// Takes an address that a socket can bind, or `tailscale`.
    pub(super) fn bind(&mut self, name: &str, faults: &mut Faults) -> Option<Bind> {
        let (text, at) = self.text(name, faults)?;
        match text.parse::<IpAddr>() {
            Ok(ip) if !ip.is_multicast() && !is_broadcast(ip) => Some(Bind::Ip(ip.to_canonical())),
            Err(_) if text == "tailscale" => Some(Bind::Tailscale),
            _ => {
                let problem = format!("`{text}` is no address that a socket can bind");
                let remedy = "write an IPv4 or IPv6 address of that host, 0.0.0.0, :: or tailscale";
                faults.add(self.key(name), Some(at), problem, remedy);
                None
            }
        }
    }

    /// Takes an address to bind, `tailscale`, `loopback` or `all`.
    pub(super) fn bind_or_word(&mut self, name: &str, faults: &mut Faults) -> Option<Bind> {
        let word = self.entries.iter().find(|(key, ..)| *key == name).map(|(.., node)| &node.value);
        let ip = match word {
            Some(Value::Text(text)) if text == "loopback" => Ipv4Addr::LOCALHOST.into(),
            Some(Value::Text(text)) if text == "all" => Ipv6Addr::UNSPECIFIED.into(),
            _ => return self.bind(name, faults),
        };
        self.take(name);
        Some(Bind::Ip(ip))
    }

    /// Takes an absolute path.
    pub(super) fn path(&mut self, name: &str, faults: &mut Faults) -> Option<(PathBuf, Position)> {
        let (text, at) = self.text(name, faults)?;
        let path = PathBuf::from(text);
        if path.is_absolute() {
            return Some((path, at));
        }
        let problem = format!("`{text}` depends on where the program is started");
        faults.add(self.key(name), Some(at), problem, "write an absolute path");
        None
    }
}

/// Notes every key that stands twice in one group, foreign groups included. The parser bounds the depth.
pub(super) fn repeated_keys(path: &str, node: &Node, faults: &mut Faults) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match &node.value {
        Value::List(list) => list.iter().for_each(|item| repeated_keys(path, item, faults)),
        Value::Map(map) => {
            let mut first: BTreeMap<&str, Position> = BTreeMap::new();
            for (key, value) in map {
                let Value::Text(name) = &key.value else {
                    repeated_keys(path, value, faults);
                    continue;
                };
                if let Some(first) = first.get(name.as_str()) {
                    let problem = format!("the key stands on line {} already", first.line);
                    faults.add(below(name), Some(key.at), problem, "keep one of the two");
                } else {
                    first.insert(name, key.at);
                }
                repeated_keys(&below(name), value, faults);
            }
        }
        _ => {}
    }
}

/// Whether it is the IPv4 address of everybody.
pub(super) fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip.to_canonical(), IpAddr::V4(v4) if v4.is_broadcast())
}

/// The one of `ours` that `name` can be a misspelling of, at most `most` edits away.
pub(super) fn nearest(name: &str, ours: &[&'static str], most: usize) -> Option<&'static str> {
    let distance = |key: &&'static str| strsim::damerau_levenshtein(name, key);
    let near = ours.iter().copied().min_by_key(distance)?;
    let most = most.min(near.len().max(name.len()) / 2);
    (distance(&near) <= most).then_some(near)
}

/// A length of time as the file may write it.
fn read_duration(value: &Value) -> Result<Duration, String> {
    let text = match value {
        Value::Integer(seconds) => {
            return u64::try_from(*seconds)
                .map(Duration::from_secs)
                .map_err(|_| format!("{seconds} seconds is out of range"));
        }
        Value::Text(text) => text,
        Value::Float(_) => return Err(String::from("a number with a fraction and without a unit")),
        other => return Err(format!("{} where a length of time belongs", other.kind())),
    };
    let length = text.trim().parse::<jiff::SignedDuration>();
    length
        .map_err(|_| format!("`{text}` is no length of time"))?
        .try_into()
        .map_err(|_| format!("`{text}` is negative"))
}

/// A share in parts per million: `1%`, `0.5 %`, `500ppm`.
fn read_share_ppm(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(ppm) = text.strip_suffix("ppm") {
        return ppm.trim_end().parse().ok();
    }
    let percent = text.strip_suffix('%')?.trim_end();
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    let fraction = format!("{fraction:0<4}").parse::<u32>().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(10_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_whole_seconds_or_has_a_unit() {
        let read = |text: &str| read_duration(&Value::Text(text.to_owned())).ok();
        assert_eq!(read_duration(&Value::Integer(15)), Ok(Duration::from_secs(15)));
        assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(read("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(read("1m 30s"), Some(Duration::from_secs(90)));
        for bad in ["15", "", "-3s", "3 parsecs", "s", "1s ago"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(read_duration(&Value::Integer(-1)).is_err());
        assert!(read_duration(&Value::Float(0.5)).is_err());
    }

    #[test]
    fn a_share_has_a_unit() {
        assert_eq!(read_share_ppm("1%"), Some(10_000));
        assert_eq!(read_share_ppm("0.05 %"), Some(500));
        assert_eq!(read_share_ppm("500ppm"), Some(500));
        for bad in ["1", "", "%", "-1%", "1.%", ".5%", "0.00001%", "99999999999%", "+1%"] {
            assert_eq!(read_share_ppm(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_must_be_near() {
        assert_eq!(nearest("leese", &["lease", "peer_timeout"], 3), Some("lease"));
        assert_eq!(nearest("heartbeat", &["lease", "peer_timeout"], 3), None);
        assert_eq!(nearest("xy", &["to", "lease"], 3), None);
    }
}
