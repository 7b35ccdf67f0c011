//! A configuration's text with other voters: the rest of the file, comments and foreign keys, stays as it is.
//!
//! Decides where the voters stand in a text. Does not trust its own reading of YAML: the result is parsed,
//! and is an error unless it differs in the voters alone.

use ringrift_wire::NodeId;
use std::collections::BTreeSet;

use super::raw::{self, Node, Value};
use super::{Config, parse};

/// The names under `hosts` of a text; none where it is no configuration.
#[must_use]
pub fn listed_hosts(text: &str) -> BTreeSet<String> {
    let Ok(root) = raw::read(text) else { return BTreeSet::new() };
    let Value::Map(top) = &root.value else { return BTreeSet::new() };
    let key = |node: &Node| match &node.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    let hosts = top.iter().find(|(name, _)| key(name).as_deref() == Some("hosts"));
    match hosts.map(|(_, hosts)| &hosts.value) {
        Some(Value::Map(hosts)) => hosts.iter().filter_map(|(name, _)| key(name)).collect(),
        _ => BTreeSet::new(),
    }
}

/// The text of a configuration with these voters under that version.
///
/// # Errors
/// The list of voters stands in the file in a way that this cannot edit, in words.
pub fn with_voters(
    text: &str,
    config: &Config,
    voters: &[NodeId],
    version: u32,
) -> Result<String, String> {
    let key =
        ["voters:", "p2p_voters:"].into_iter().find(|key| starts(text, key)).unwrap_or("voters:");
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let top_level = line.starts_with(|c: char| c.is_alphanumeric() || c == '"' || c == '_');
        if line.starts_with(key) {
            skipping = true;
            out.push_str(key);
            out.push('\n');
            for voter in voters {
                out.push_str("  - ");
                out.push_str(voter.as_str());
                out.push('\n');
            }
            out.push_str(&format!("voters_version: {version}\n"));
            continue;
        }
        if top_level || (skipping && line.trim().is_empty()) {
            skipping = false;
        }
        if !skipping && !line.starts_with("voters_version:") {
            out.push_str(line);
            out.push('\n');
        }
    }
    let wanted = Config { voters: voters.to_vec(), voters_version: version, ..config.clone() };
    let found = parse(&out).map(|loaded| loaded.config);
    let as_wanted = found.is_ok_and(|found| {
        (&found.voters, found.voters_version) == (&wanted.voters, wanted.voters_version)
            && found.hosts.iter().all(|(id, host)| {
                wanted
                    .hosts
                    .get(id)
                    .is_none_or(|other| other.address == host.address && other.port == host.port)
            })
            && (&found.election, &found.cluster) == (&wanted.election, &wanted.cluster)
    });
    if as_wanted {
        return Ok(out);
    }
    Err("the list of voters stands in the new file in a way that cannot be edited: write it as `voters:` and \
         one `  - name` line for each, at the left margin"
        .to_owned())
}

fn starts(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.starts_with(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, voters: &[&str], version: u32) -> Result<String, String> {
        let config = parse(text).unwrap().config;
        let voters: Vec<NodeId> = voters.iter().map(|id| id.parse().unwrap()).collect();
        with_voters(text, &config, &voters, version)
    }

    #[test]
    fn comments_foreign_keys_and_hosts_stay_as_they_are() {
        let text = "# top\ncluster: x\nvoters:   # who\n  - a\n  # the second\n  - b\n\nvoters_version: 3\n\
                    foreign: {k: 1} # kept\nhosts:\n  a: {port: 7}\n  c: {port: 9}\n";
        let out = edited(text, &["b", "c"], 5).unwrap();
        assert_eq!(
            out,
            "# top\ncluster: x\nvoters:\n  - b\n  - c\nvoters_version: 5\n\nforeign: {k: 1} # kept\nhosts:\n  \
             a: {port: 7}\n  c: {port: 9}\n"
        );
    }

    #[test]
    fn lists_on_one_line_and_of_the_other_key_are_edited_too() {
        let out = edited("p2p_voters: [a, b,\n  c]\nhosts: {a: {port: 7}}\n", &["a"], 2).unwrap();
        assert_eq!(out, "p2p_voters:\n  - a\nvoters_version: 2\nhosts: {a: {port: 7}}\n");
        let out = edited("voters:\n- a\n- b\nhosts: {}\n", &["b"], 2).unwrap();
        assert_eq!(out, "voters:\n  - b\nvoters_version: 2\nhosts: {}\n");
    }

    #[test]
    fn the_shipped_file_can_be_edited() {
        let text = include_str!("../../config/distributed_hosts.yaml");
        let out = edited(text, &["hetzner-cpu1", "hetzner-cpu2"], 2).unwrap();
        assert_eq!(parse(&out).unwrap().config.voters_version, 2);
        assert_eq!(listed_hosts(text), listed_hosts(&out));
    }

    #[test]
    fn what_cannot_be_edited_is_said() {
        assert!(edited("{voters: [a, b]}", &["a"], 2).unwrap_err().contains("left margin"));
    }
}
