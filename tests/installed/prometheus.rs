//! Metrics, alert rules and the dashboard, read by `promtool`.

use ringrift_p2p::telemetry::metrics::{FAMILIES, Kind};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use crate::support::cluster::{Timing, on_loopback};
use crate::{file, said, text, tool};

/// Names that other programs gave, and that break promtool's rules for names.
const INHERITED: [&str; 6] = [
    "ringrift_cluster_peers_total",
    "ringrift_gossip_messages_received",
    "ringrift_gossip_messages_sent",
    "ringrift_gossip_state_updates",
    "ringrift_p2p_election_count",
    "ringrift_p2p_peer_count",
];

/// Every name that a query may use: families, the parts of histograms, and what Prometheus makes itself.
fn known() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["up".to_owned()]);
    for family in FAMILIES {
        if family.kind == Kind::Histogram {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", family.name)));
        } else {
            names.insert(family.name.to_owned());
        }
    }
    names
}

/// The metrics that a query names.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let words = query.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_' || it == ':'));
    let ours = |word: &&str| {
        *word == "up"
            || ["ringrift_", "ringrift:", "process_"].iter().any(|it| word.starts_with(it))
    };
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn promtool_complains_of_inherited_names_only_and_both_paths_say_the_same() {
    let Some(mut promtool) = tool("promtool") else { return };
    let Some(mut cluster) = on_loopback(Timing::SHORT) else { return };
    cluster.start_all();
    cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let page = |path| cluster.ask(0, "GET", path).expect("an answer").body;
    let text = page("/metrics");
    let child = promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.stdout(Stdio::piped()).spawn().expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let complaints = [output.stdout, output.stderr].concat();
    let complaints = String::from_utf8_lossy(&complaints).into_owned();
    let named = complaints.lines().filter_map(|line| line.split(' ').next());
    assert_eq!(named.collect::<BTreeSet<_>>(), BTreeSet::from(INHERITED), "{complaints}");
    // Numbers that changes() and sum() work on.
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for sample in samples {
        let value = sample.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        assert!(value.is_some_and(f64::is_finite), "{sample}");
    }
    let series = |text: &str| {
        let lines = text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        lines.collect::<BTreeSet<_>>()
    };
    assert_eq!(series(&page("/metrics/prometheus")), series(&page("/metrics")));
}

/// The alerts of the rules, in order.
fn alerts() -> Vec<String> {
    let rules = text("config/prometheus/alerts.yaml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let Some(mut promtool) = tool("promtool") else { return };
    let cases = text("config/prometheus/alerts.test.yaml");
    for alert in alerts() {
        let of_alert = |line: &&str| line.starts_with(&format!("  - name: {alert} "));
        let names: Vec<_> = cases.lines().filter(of_alert).collect();
        for what in [" fires", " is quiet"] {
            assert!(names.iter().any(|name| name.contains(what)), "{alert}: no case{what}");
        }
    }
    said(promtool.args(["test", "rules"]).arg(file("config/prometheus/alerts.test.yaml")));
}

#[test]
fn the_rules_are_well_formed_and_use_metrics_that_exist() {
    let rules = text("config/prometheus/alerts.yaml");
    let recorded = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    let mut known = known();
    known.extend(recorded.map(str::to_owned));
    let queries: Vec<_> = rules.lines().filter(|line| !line.trim().starts_with('#')).collect();
    let used = metrics_of(&queries.join("\n"));
    assert!(used.len() > 15, "{used:?}");
    let unknown: Vec<_> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let Some(mut promtool) = tool("promtool") else { return };
    said(promtool.args(["check", "rules"]).arg(file("config/prometheus/alerts.yaml")));
}

#[test]
fn each_alert_leads_to_a_chapter_that_exists() {
    let rules = text("config/prometheus/alerts.yaml");
    let links: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")).collect();
    assert_eq!(links.len(), alerts().len());
    for link in links {
        let (page, chapter) = link.split_once('#').unwrap_or((link, ""));
        let anchor = |line: &str| {
            let title = line.strip_prefix("## ")?.to_lowercase();
            Some(title.replace(' ', "-").replace(['\'', ',', '?'], ""))
        };
        let anchors: Vec<_> = text(page).lines().filter_map(anchor).collect();
        assert!(
            chapter.is_empty() || anchors.iter().any(|it| it == chapter),
            "{link}: {anchors:?}"
        );
    }
}

/// Every query of the dashboard.
fn queries_of(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value.as_str() {
                    Some(query) if key == "expr" => found.push(query.to_owned()),
                    _ => queries_of(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| queries_of(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist_in_queries_that_parse() {
    let board: Value = serde_json::from_str(&text("config/grafana/ringrift.json")).expect("JSON");
    let mut queries = Vec::new();
    queries_of(&board, &mut queries);
    assert!(queries.len() > 20, "{queries:?}");
    let known = known();
    let mut rules = String::from("groups:\n  - name: board\n    rules:\n");
    for query in &queries {
        let used = metrics_of(query);
        assert!(!used.is_empty(), "{query} asks for nothing");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{query}: {unknown:?}");
        let query = serde_json::to_string(query).expect("text");
        rules.push_str(&format!("      - {{record: 'a:b', expr: {query}}}\n"));
    }
    let ids: Vec<_> = board["panels"].as_array().expect("a list").iter().collect();
    let unique: BTreeSet<_> = ids.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(unique.len(), ids.len(), "two panels with one id");
    let Some(mut promtool) = tool("promtool") else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("board.yaml");
    std::fs::write(&path, rules).expect("a file");
    said(promtool.args(["check", "rules", "--lint=none"]).arg(path));
}
