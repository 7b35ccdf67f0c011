//! A real Prometheus with the shipped rules, over a real cluster: each alert fires when something is wrong, and none
//! when nothing is.
//!
//! Time runs sixty times faster than in the rules: their minutes are seconds here, and so are the leases. What no test can
//! do to a machine, such as to set its clock, a stand-in target says.

use core::time::Duration;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::net::{Net, feed};
use crate::support::old::Old;
use crate::support::process::{Process, program};
use crate::support::{NAMES, within};
use crate::{text, tool};

/// The runbook's timing, sixty times faster.
const FAST: Timing = Timing { heartbeat_ms: 250, lease_ms: 1_000 };

/// How long an alert may take to come or to go: the longest window of the rules, and a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the stand-in answers.
const STAND_IN: &str = "127.0.0.99:8770";

/// The rules with seconds for minutes and hours.
fn faster(rules: &str) -> String {
    let mut fast = String::new();
    let mut digits = false;
    let mut letters = rules.chars().peekable();
    while let Some(letter) = letters.next() {
        let ends = letters.peek().is_none_or(|next| !next.is_ascii_alphanumeric() && *next != '_');
        let unit = digits && ends && matches!(letter, 'm' | 'h');
        fast.push(if unit { 's' } else { letter });
        digits = letter.is_ascii_digit();
    }
    fast.replace("> 1800", "> 30")
}

#[test]
fn the_minutes_of_the_rules_become_seconds_and_nothing_else_does() {
    let said = "for: 5m\nx[10m] > 3m1 4h max_1m_x 1d 0.5 (5m) up";
    assert_eq!(faster(said), "for: 5s\nx[10s] > 3m1 4s max_1m_x 1d 0.5 (5s) up");
}

/// A target that says what it is told to.
struct StandIn {
    says: Arc<Mutex<String>>,
}

impl StandIn {
    fn start(cluster: &Cluster) -> Self {
        let listener = cluster.net(0).within(|| TcpListener::bind(STAND_IN).expect("it is free"));
        let says = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&says);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = [0; 2_048];
                let _read = stream.read(&mut request);
                let body = shared.lock().expect("no panic").clone();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let _sent = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        let this = Self { says };
        this.say(&[]);
        this
    }

    /// Says these besides what a quiet node says.
    fn say(&self, more: &[(&str, u32)]) {
        let mut text = String::new();
        for name in ["clock_steps_total", "suspends_total", "work_failures_total"] {
            let value = more.iter().find(|(it, _)| *it == name).map_or(0, |(_, value)| *value);
            writeln!(text, "ringrift_p2p_{name} {value}").expect("memory");
        }
        for (name, value) in more.iter().filter(|(name, _)| !name.ends_with("_total")) {
            writeln!(text, "ringrift_p2p_{name} {value}").expect("memory");
        }
        *self.says.lock().expect("no panic") = text;
    }
}

/// Where the voters are scraped.
fn voters(cluster: &Cluster) -> impl Iterator<Item = String> {
    (0..cluster.len()).map(|it| cluster.http(it).to_string())
}

/// A running Prometheus.
struct Prometheus {
    net: Arc<Net>,
    targets: usize,
    _process: Process,
}

impl Prometheus {
    fn start(cluster: &Cluster, jobs: &[(&str, Vec<String>)]) -> Self {
        let dir = cluster.dir.path();
        let rules = faster(&text("config/prometheus/alerts.yaml"));
        std::fs::write(dir.join("alerts.yaml"), rules).expect("a file");
        let mut config =
            "global: {scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms}\n\
             rule_files: [alerts.yaml]\nscrape_configs:\n"
                .to_owned();
        for (job, targets) in jobs {
            let line =
                format!("  - {{job_name: {job}, static_configs: [{{targets: {targets:?}}}]}}\n");
            config.push_str(&line);
        }
        std::fs::write(dir.join("prometheus.yml"), config).expect("a file");
        let mut command = cluster.net(0).command("prometheus");
        command.current_dir(dir).args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]);
        command.args(["--web.listen-address=127.0.0.1:9090", "--log.level=warn"]);
        let net = Arc::clone(cluster.net(0));
        let targets = jobs.iter().map(|(_, targets)| targets.len()).sum();
        Self { net, targets, _process: Process::start(command, dir, "prometheus") }
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut curl = self.net.command("curl");
        let said = curl.args(["-sfg", &format!("http://127.0.0.1:9090/api/v1/{path}")]).output();
        serde_json::from_slice(&said.ok()?.stdout).ok()
    }

    /// Waits until every target was scraped that long ago, which is longer than the window of any rule.
    fn wait_for_windows(&self) {
        let query = "query?query=count(up%20offset%2035s%20==%201)";
        let seen = within(PATIENCE, || {
            let said = self.get(query)?;
            let count = said["data"]["result"][0]["value"][1].as_str()?.parse::<usize>().ok()?;
            (count == self.targets).then_some(())
        });
        assert!(seen.is_some(), "not each of {} targets answers", self.targets);
    }

    /// The alerts that fire now.
    fn firing(&self) -> Option<BTreeSet<String>> {
        let all = self.get("alerts")?;
        let all = all["data"]["alerts"].as_array()?;
        for alert in all {
            let notes = alert["annotations"].to_string();
            assert!(!notes.contains("<error"), "{notes}");
        }
        let firing = all.iter().filter(|alert| alert["state"] == "firing");
        Some(firing.filter_map(|it| Some(it["labels"]["alertname"].as_str()?.to_owned())).collect())
    }

    /// Waits until these fire, and no others but `maybe`.
    #[track_caller]
    fn wait_for(&self, what: &str, must: &[&str], maybe: &[&str]) {
        let names =
            |of: &[&str]| of.iter().map(|it| format!("Ringrift{it}")).collect::<BTreeSet<_>>();
        let (must, maybe) = (names(must), names(maybe));
        let allowed: BTreeSet<_> = must.union(&maybe).cloned().collect();
        let begun = Instant::now();
        let mut seen = None;
        let done = within(PATIENCE, || {
            seen = self.firing();
            let firing = seen.as_ref()?;
            (must.is_subset(firing) && firing.is_subset(&allowed)).then_some(())
        });
        assert!(
            done.is_some(),
            "{what}: {must:?} must fire and {maybe:?} may; what fires is {seen:?}"
        );
        eprintln!("{what}: {must:?} after {:?}", begun.elapsed());
    }
}

#[test]
#[ignore = "takes minutes: cargo test --test installed -- --ignored scraped"]
fn each_alert_fires_when_something_is_wrong_and_none_when_nothing_is() {
    let (Some(_), Some(_)) = (tool("prometheus"), tool("strace")) else { return };
    let Some(mut cluster) = on_loopback(FAST) else { return };
    cluster.start_all();
    cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let stand_in = StandIn::start(&cluster);
    let targets = voters(&cluster).chain([STAND_IN.to_owned()]).collect();
    let prometheus = Prometheus::start(&cluster, &[("ringrift", targets)]);
    prometheus.wait_for_windows();
    prometheus.wait_for("nothing is wrong", &[], &[]);

    cluster.kill(4);
    cluster.kill(3);
    let lost = ["QuorumThin", "NotScraped", "NodeAbsent"];
    prometheus.wait_for("two of five are killed", &lost, &["ElectionsTooOften", "LeaseThin"]);
    cluster.kill(2);
    let none = ["QuorumLost", "NoLeader", "Partitioned", "NotScraped", "NodeAbsent"];
    prometheus.wait_for(
        "a third is killed",
        &none,
        &["QuorumThin", "LeaseThin", "ElectionsTooOften"],
    );
    (2..5).for_each(|node| cluster.start(node));
    prometheus.wait_for("they are back", &[], &[]);

    let leader = cluster.wait_agreed(&[0, 1, 2, 3, 4]).0;
    let others: Vec<_> = (0..5).filter(|&node| node != leader).collect();
    others[..3].iter().for_each(|&node| cluster.signal(node, Signal::STOP));
    let left = || {
        let left = cluster.metric(leader, "ringrift_p2p_leader_lease_seconds ");
        (left < 0.36).then_some(())
    };
    within(PATIENCE, left).expect("the lease runs out");
    let seen = || {
        let thin = prometheus.get("query?query=ringrift:lease_left:ratio%20%3C%200.4")?;
        (!thin["data"]["result"].as_array()?.is_empty()).then_some(())
    };
    within(PATIENCE, seen).expect("Prometheus sees it");
    others[..3].iter().for_each(|&node| cluster.signal(node, Signal::CONT));
    prometheus.wait_for("heartbeats are late", &["LeaseThin"], &["ElectionsTooOften", "LoopLate"]);
    prometheus.wait_for("they are in time", &[], &[]);

    let end = Instant::now() + PATIENCE;
    let often = || prometheus.firing().is_some_and(|it| it.contains("RingriftElectionsTooOften"));
    while !often() && Instant::now() < end {
        let (leader, _) = cluster.wait_agreed(&[0, 1, 2, 3, 4]);
        cluster.ask(leader, "POST", "/election/step_down");
    }
    prometheus.wait_for("the leader is asked to step down", &["ElectionsTooOften"], &["LeaseThin"]);
    prometheus.wait_for("it is left alone", &[], &[]);

    cluster.ask(4, "POST", "/election/drain");
    prometheus.wait_for("a voter is drained", &["Drained"], &[]);
    cluster.ask(4, "POST", "/election/resume");
    prometheus.wait_for("it is resumed", &[], &[]);

    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-q", "-e", "trace=fdatasync,fsync"]);
    strace.args([
        "-e",
        "inject=fdatasync,fsync:error=EIO",
        "-p",
        &cluster.status(4).number("pid").to_string(),
    ]);
    let strace = Process::start(strace, cluster.dir.path(), "strace");
    let voted = ["ElectionsTooOften", "LeaseThin"];
    // A write shows that the disk fails; an election makes one.
    cluster.ask(cluster.wait_agreed(&[0, 1, 2, 3]).0, "POST", "/election/step_down");
    prometheus.wait_for("a disk fails", &["VoteStoreFails"], &voted);
    drop(strace);
    prometheus.wait_for("it works again", &[], &[]);

    let mut twin = program(cluster.net(3));
    twin.args(["run", "--node", NAMES[3], "--address", "127.0.0.77", "--promise-in-data-dir"]);
    twin.arg("--data-dir").arg(cluster.dir.path().join("twin")).current_dir(cluster.dir.path());
    let twin = Process::start(twin, cluster.dir.path(), "twin");
    prometheus.wait_for("a second process has a name", &["NameTaken"], &["Forgery"]);
    drop(twin);
    prometheus.wait_for("it has ended", &[], &["Forgery"]);

    stand_in.say(&[("is_leader", 1), ("leader_id", 9)]);
    prometheus.wait_for("another claims to lead", &["TwoLeaders", "LeadersDisagree"], &["Forgery"]);
    stand_in.say(&[("voter_set_mismatches", 1), ("drained", 1)]);
    prometheus.wait_for("another has another file", &["ConfigDrift", "Drained"], &["Forgery"]);
    stand_in.say(&[("clock_steps_total", 1), ("suspends_total", 1), ("work_failures_total", 1)]);
    let clocks = ["ClockStepped", "Suspended", "WorkFails"];
    prometheus.wait_for("a clock is set, a machine sleeps, a hook fails", &clocks, &["Forgery"]);
    prometheus.wait_for("all is well again", &[], &[]);
}

/// A node that follows the last voter alone, and the shadows of all voters; that of the first is beside the old process.
#[test]
#[ignore = "takes minutes: cargo test --test installed -- --ignored scraped"]
fn followers_and_shadows_raise_alerts_of_their_own_and_no_others() {
    let Some(_) = tool("prometheus") else { return };
    let Some(mut cluster) = on_loopback(FAST) else { return };
    cluster.start_all();
    cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let (dir, net) = (cluster.dir.path().to_owned(), Arc::clone(cluster.net(0)));
    let at = |place: &str| place.parse().expect("an address");
    let old = Old::start(&net, at("127.0.0.97:8770"), NAMES[1]);
    let run = |name: &str, arguments: &[&str]| {
        let mut command = program(&net);
        command.args(["run", "--promise-in-data-dir", "--data-dir"]).arg(dir.join(name));
        command.args(arguments).current_dir(&dir);
        Process::start(command, &dir, name)
    };
    let follows = format!("http://{}", cluster.http(4));
    let watcher = ["--node", "watcher", "--address", "127.0.0.98:8770", "--follow", &follows];
    let mut others = vec![run("watcher", &watcher)];
    let mut shadows = Vec::new();
    for (node, name) in NAMES.into_iter().enumerate() {
        let beside =
            if node == 0 { "127.0.0.97:8770".to_owned() } else { cluster.http(node).to_string() };
        let arguments = ["--node", name, "--port", "8771", "--shadow", &beside];
        others.push(run(&format!("shadow-{node}"), &arguments));
        shadows.push(format!("{}:8771", cluster.address(node)));
    }
    let targets = voters(&cluster).chain(["127.0.0.98:8770".to_owned()]).collect();
    let prometheus = Prometheus::start(&cluster, &[("ringrift", targets), ("shadows", shadows)]);
    prometheus.wait_for_windows();
    prometheus.wait_for("nothing is wrong", &[], &[]);

    let elections = ["ElectionsTooOften", "LeaseThin"];
    cluster.kill(4);
    let lost = ["FollowerCutOff", "ShadowAlone", "NotScraped", "NodeAbsent"];
    prometheus.wait_for("the followed node is killed", &lost, &elections);
    cluster.start(4);
    prometheus.wait_for("it is back", &[], &[]);

    let place = cluster.address(4);
    let cut = format!(
        "add table inet cut\nadd chain inet cut input {{ type filter hook input priority 0; }}\n\
         add rule inet cut input ip saddr {place} udp dport 8770 drop\n\
         add rule inet cut input ip daddr {place} udp dport 8770 drop\n"
    );
    let nft = |rules: &str| feed("ip", &["netns", "exec", net.name(), "nft", "-f", "-"], rules);
    nft(&cut);
    prometheus.wait_for("it is cut off", &["FollowerStale", "Partitioned"], &elections);
    nft("delete table inet cut\n");
    prometheus.wait_for("it is joined again", &[], &[]);

    old.say("leader_id", "gone".into());
    prometheus.wait_for("the old process names another leader", &["ShadowDisagrees"], &[]);
    old.say("leader_id", NAMES[2].into());
    prometheus.wait_for("it names one that is there", &[], &[]);
    old.fail();
    prometheus.wait_for("it answers no more", &["ShadowAlone"], &[]);
}
