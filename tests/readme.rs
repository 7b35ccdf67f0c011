//! What the README and `docs/` say in tables, held against the code.
//!
//! `UPDATE=1 cargo test --test readme` writes `docs/metrics.md` anew.

#![cfg(test)]

use ringrift_p2p::cli::Exit;
use ringrift_p2p::http;
use ringrift_p2p::telemetry::events::NAMES;
use ringrift_p2p::telemetry::metrics::FAMILIES;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// The first cells of the table under the header row that starts with this cell.
fn column(text: &str, header: &str) -> Vec<String> {
    let start = format!("| {header} |");
    let rows = text.lines().skip_while(|line| !line.starts_with(&start)).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|'));
    cells
        .filter_map(|line| Some(line.split(" | ").next()?.trim_start_matches("| ").to_owned()))
        .collect()
}

#[test]
fn a_table_is_read_by_its_header() {
    let text = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n\n| c | d |\n|---|---|\n| 5 | 6 |\n";
    assert_eq!(column(text, "a"), ["1", "3"]);
    assert_eq!(column(text, "c"), ["5"]);
    assert!(column(text, "x").is_empty());
}

#[test]
fn the_readme_lists_every_route_and_no_other() {
    let said: BTreeSet<String> = column(&text("README.md"), "route").into_iter().collect();
    let served = http::routes().filter(|(method, _)| *method != "HEAD");
    let served: BTreeSet<String> =
        served.map(|(method, path)| format!("`{method} {path}`")).collect();
    assert_eq!(said, served);
}

#[test]
fn the_readme_lists_every_exit_code_and_no_other() {
    let said = column(&text("README.md"), "exit code");
    let all = [
        Exit::Success,
        Exit::Usage,
        Exit::Unavailable,
        Exit::Invariant,
        Exit::VoteStore,
        Exit::Refused,
    ];
    assert_eq!(said, all.map(|exit| exit.code().to_string()));
}

#[test]
fn the_page_about_events_lists_every_event_and_no_other() {
    let said: BTreeSet<String> = column(&text("docs/events.md"), "event").into_iter().collect();
    let told: BTreeSet<String> = NAMES.iter().map(|name| format!("`{name}`")).collect();
    assert_eq!(said, told);
}

#[test]
fn every_metric_that_is_named_exists() {
    let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    for place in ["README.md", "docs/runbook.md"] {
        let text = text(place);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let metrics: Vec<&str> = words
            .filter(|word| {
                word.starts_with("ringrift_") && *word != "ringrift_p2p" && *word != "ringrift_wire"
            })
            .collect();
        assert!(!metrics.is_empty(), "{place} names no metric");
        for metric in metrics {
            assert!(known.contains(metric), "{place} names {metric}, which does not exist");
        }
    }
}

#[test]
fn the_list_of_metrics_is_that_of_the_code() {
    let mut list = String::from(
        "# Metrics\n\nServed at `/metrics` and `/metrics/prometheus`. Histograms come with the usual `_bucket`, \
         `_sum` and `_count`.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let labels = family.labels.join(", ");
        let kind = family.kind.as_str();
        writeln!(list, "| `{}` | {kind} | {labels} | {} |", family.name, family.help).unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file("docs/metrics.md"), &list).unwrap();
    }
    assert_eq!(text("docs/metrics.md"), list, "run UPDATE=1 cargo test --test readme");
}
