//! Hooks: what a node runs when it gains or loses the lead, and when the leader changes.
//!
//! Decides which programs those are and how long they may take; when they run is the driver's business.

use core::time::Duration;
use serde_json::{Map, Value as Json, json};

use super::Election;
use super::raw::{Node, Value};
use super::section::{Faults, Section};
use super::yaml::duration_text;
use crate::election::lease::{guard, under_drift};

const KEYS: [&str; 5] = ["on_gain", "on_lose", "on_leader_change", "deadline", "grace"];

/// How long a hook may take, by default.
const DEADLINE: Duration = Duration::from_secs(30);

/// The most words of a hook.
const MAX_WORDS: usize = 256;

/// What a node runs; each a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// When this node has gained the lead.
    pub on_gain: Option<Vec<String>>,
    /// Before this node loses the lead.
    pub on_lose: Option<Vec<String>>,
    /// On every node, when another leader is known, or none.
    pub on_leader_change: Option<Vec<String>>,
    /// How long the first and the last may take, default 30 s.
    pub deadline: Duration,
    /// How long ending the work of a leader may take, all told; a quarter of the lease by default.
    pub grace: Duration,
}

impl Hooks {
    /// No hooks, and the default lengths of time under these timings.
    #[must_use]
    pub fn none(election: &Election) -> Self {
        let grace = election.lease / 4;
        Self { on_gain: None, on_lose: None, on_leader_change: None, deadline: DEADLINE, grace }
    }

    /// Whether leading begins or ends with a hook.
    #[must_use]
    pub const fn work(&self) -> bool {
        self.on_gain.is_some() || self.on_lose.is_some()
    }

    /// What is wrong with the grace under these timings, if anything: beside it, two heartbeats must fit in
    /// what a renewed lease is worth.
    #[must_use]
    pub fn grace_fault(&self, election: &Election) -> Option<String> {
        let lease = election.lease;
        let worth = under_drift(lease, election.clock_drift_ppm).saturating_sub(guard(lease));
        let room = worth.saturating_sub(2 * election.heartbeat_interval);
        (self.grace > room).then(|| {
            format!(
                "a grace of {} and two heartbeats of {} do not fit in a lease of {}, which is worth {}",
                duration_text(self.grace),
                duration_text(election.heartbeat_interval),
                duration_text(lease),
                duration_text(worth),
            )
        })
    }

    /// As it stands in a file; `None` for one that says nothing.
    pub(super) fn to_value(&self, election: &Election) -> Option<Json> {
        if *self == Self::none(election) {
            return None;
        }
        let mut table = Map::new();
        let hooks = [
            ("on_gain", &self.on_gain),
            ("on_lose", &self.on_lose),
            ("on_leader_change", &self.on_leader_change),
        ];
        for (key, hook) in hooks {
            if let Some(command) = hook {
                table.insert(key.to_owned(), json!(command));
            }
        }
        table.insert("deadline".to_owned(), duration_text(self.deadline).into());
        table.insert("grace".to_owned(), duration_text(self.grace).into());
        Some(Json::Object(table))
    }
}

/// Reads the group.
pub(super) fn read(node: Option<&Node>, election: &Election, faults: &mut Faults) -> Hooks {
    let section = &mut Section::new("hooks", node, faults);
    let ms = Duration::from_millis;
    let none = Hooks::none(election);
    let [on_gain, on_lose, on_leader_change] =
        ["on_gain", "on_lose", "on_leader_change"].map(|key| command(section, key, faults));
    let deadline = section.duration("deadline", ms(10)..=Duration::from_secs(3_600), faults);
    let grace = section.duration("grace", ms(10)..=Duration::from_secs(3_600), faults);
    section.forbid_rest(&KEYS, faults);
    let hooks = Hooks {
        on_gain,
        on_lose,
        on_leader_change,
        deadline: deadline.map_or(none.deadline, |(length, _)| length),
        grace: grace.map_or(none.grace, |(length, _)| length),
    };
    if (hooks.work() || grace.is_some())
        && let Some(problem) = hooks.grace_fault(election)
    {
        let at = grace.map(|(_, at)| at).or(section.position());
        let remedy = "lower hooks.grace or election.heartbeat_interval, or raise election.lease";
        faults.add("hooks.grace", at, problem, remedy);
    }
    hooks
}

/// A program and its arguments.
fn command(section: &mut Section<'_>, key: &str, faults: &mut Faults) -> Option<Vec<String>> {
    let node = section.take(key)?;
    let remedy = "write a list of a program and its arguments: [/usr/local/bin/on-gain, now]";
    let problem = match &node.value {
        Value::List(list) if (1..=MAX_WORDS).contains(&list.len()) => {
            let word = |item: &Node| match &item.value {
                Value::Text(text) => Some(text.clone()),
                Value::Integer(number) => Some(number.to_string()),
                _ => None,
            };
            let words: Option<Vec<String>> = list.iter().map(word).collect();
            match words {
                Some(words) if words[0].is_empty() => "a program without a name".to_owned(),
                Some(words) if words.iter().any(|word| word.contains('\0')) => {
                    "a word with a null byte".to_owned()
                }
                Some(words) => return Some(words),
                None => "an argument that is no text".to_owned(),
            }
        }
        Value::List(list) => format!("{} words", list.len()),
        other => format!("{} where a command belongs", other.kind()),
    };
    faults.add(section.key(key), Some(node.at), problem, remedy);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn hooks(text: &str) -> Result<Hooks, String> {
        let text = format!("voters: [a]\nelection: {{heartbeat_interval: 1, lease: 4}}\n{text}");
        parse(&text).map(|loaded| loaded.config.hooks).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_hook_is_a_program_and_its_arguments() {
        let read = hooks("hooks:\n  on_gain: [/bin/x, -n, 5]\n  deadline: 2\n").unwrap();
        assert_eq!(read.on_gain, Some(["/bin/x", "-n", "5"].map(str::to_owned).to_vec()));
        assert_eq!((read.deadline, read.grace), (Duration::from_secs(2), Duration::from_secs(1)));
        assert!(read.work() && !hooks("").unwrap().work());
        for wrong in ["on_lose: /bin/x", "on_lose: []", "on_lose: ['']", "on_lose: [[x]]"] {
            let said = hooks(&format!("hooks:\n  {wrong}\n")).unwrap_err();
            assert!(said.contains("hooks.on_lose") && said.contains("4:"), "{wrong}: {said}");
        }
        let said = hooks("hooks: {on_gian: [x]}\n").unwrap_err();
        assert!(said.contains("did you mean `on_gain`?"), "{said}");
    }

    #[test]
    fn the_grace_leaves_room_for_two_heartbeats_in_a_lease() {
        let said = hooks("hooks:\n  on_lose: [x]\n  grace: 1900ms\n").unwrap_err();
        assert!(said.contains("5:") && said.contains("two heartbeats"), "{said}");
        assert!(hooks("hooks:\n  on_lose: [x]\n  grace: 1800ms\n").is_ok());
        // Only what is used must fit.
        let tight = "voters: [a]\nelection: {heartbeat_interval: 1, lease: 2}\n";
        assert!(parse(tight).is_ok());
        assert!(parse(&format!("{tight}hooks: {{on_leader_change: [x]}}\n")).is_ok());
        let said = parse(&format!("{tight}hooks: {{on_gain: [x]}}\n")).unwrap_err().to_string();
        assert!(said.contains("hooks.grace"), "{said}");
    }

    #[test]
    fn hooks_are_written_as_they_are_read() {
        let text = "voters: [a]\nhooks: {on_lose: [a, 'b c'], grace: 1500ms}\n";
        let config = parse(text).unwrap().config;
        let again = parse(&config.to_yaml().unwrap()).unwrap().config;
        assert_eq!(again.hooks, config.hooks);
        let bare = parse("voters: [a]\n").unwrap().config;
        assert!(!bare.to_yaml().unwrap().contains("hooks"));
    }
}
