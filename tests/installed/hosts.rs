//! README's way from the package to a cluster that is seen by Prometheus: three hosts with a systemd of their own, a fourth
//! that follows over HTTP, and a fifth with Debian's Prometheus. Beside each voter a shadow, as docs/migration.md starts it.

use crate::booted::{PATIENCE, System};
use crate::support::net::Net;
use crate::support::within;
use crate::text;

/// The addresses of the hosts: voters, the follower, the one that watches.
const NET: &str = "10.99.0.";

/// What is used in each script.
const WORDS: &str = r#"
until_so() { for _ in $(seq 900); do if eval "$1" 2>/dev/null; then return; fi; sleep 0.1; done; echo "never: $1"; return 1; }
trap 'echo "failed: $BASH_COMMAND"; systemctl status --no-pager ringrift-p2p; journalctl --no-pager -u ringrift-p2p' ERR
set -E
cd /root
apt-get install -qy /tmp/package.deb
[ "$(systemctl show -P UnitFileState ringrift-p2p)" = disabled ]
[ "$(systemctl show -P ActiveState ringrift-p2p)" = inactive ]
"#;

/// On each voter, once it has the file: the commands of README, and those of docs/migration.md for a shadow.
const VOTER: &str = r#"
ringrift-p2p check --config distributed_hosts.yaml
install -D -m 644 distributed_hosts.yaml /etc/ringrift/distributed_hosts.yaml
systemctl enable --now ringrift-p2p
until_so 'systemctl status ringrift-p2p | grep -E "(leads|follows [abc]) in term [0-9]+; 3 of 3 voters reachable"'
ringrift-p2p status
SHADOW
until_so 'curl -s localhost:8771/status | jq -e ".shadow.fields | .leader_id.agrees and .alive_peers.agrees"'
systemctl show -P User,ExecMainStatus ringrift-shadow
! pgrep -f "p2p_orchestrator.*8771"
echo yes >/mnt/told/ready
until_so '[ -e /mnt/told/end ]'
systemctl stop ringrift-shadow
"#;

/// On a host that UDP does not reach, and that has no configuration.
const FOLLOWER: &str = r#"
sed -i 's|^#RINGRIFT_NODE_ID=.*|RINGRIFT_NODE_ID=follower|' /etc/default/ringrift-p2p
sed -i 's|^#RINGRIFT_OPTIONS=.*|RINGRIFT_OPTIONS=--follow http://10.99.0.1:8770,http://10.99.0.2:8770|' /etc/default/ringrift-p2p
until_so 'curl -sf http://10.99.0.1:8770/ready'
systemctl enable --now ringrift-p2p
until_so 'systemctl status ringrift-p2p | grep -E "follows [abc] in term [0-9]+; 3 of 3 voters reachable"'
pgrep -f p2p_orchestrator
[ "$(curl -s http://localhost:8770/status | jq -r .follows_over)" = http ]
echo yes >/mnt/told/ready
until_so '[ -e /mnt/told/end ]'
"#;

/// On the host of Prometheus, whose own file has both sections.
const WATCH: &str = r#"
cp /usr/share/doc/ringrift-p2p/examples/prometheus/alerts.yaml /etc/prometheus/ringrift-alerts.yaml
systemctl start prometheus
COMMANDS
promtool check config /etc/prometheus/prometheus.yml && systemctl reload prometheus
asked() { curl -s "http://localhost:9090/api/v1/$1"; }
until_so '[ "$(asked targets | jq "[.data.activeTargets[] | select(.labels.job == \"ringrift\" and .health == \"up\")] | length")" = 4 ]'
until_so '[ "$(asked query?query=ringrift_p2p_is_leader | jq ".data.result | length")" = 4 ]'
[ "$(asked alerts | jq '[.data.alerts[] | select(.labels.job == "ringrift")] | length')" = 0 ]
echo yes >/mnt/told/ready
until_so '[ -e /mnt/told/cut ]'
until_so 'asked alerts | jq -r ".data.alerts[].labels.alertname" | grep RingriftNotScraped'
"#;

/// The YAML of README that has this line.
fn block(line: &str) -> String {
    let readme = text("README.md");
    let mut blocks = readme.split("\n```yaml\n").skip(1).filter_map(|it| it.split_once("\n```"));
    let found = blocks.find(|(block, _)| block.lines().any(|it| it == line));
    let (block, _) = found.unwrap_or_else(|| panic!("README has no {line}"));
    block.replace("10.0.0.", NET)
}

/// Puts README's lines for prometheus.yml into the sections where they belong, and the follower beside the voters.
fn into_prometheus() -> String {
    let lines = block("rule_files:").replace("99.0.3:8770\"", "99.0.3:8770\", \"10.99.0.4:8770\"");
    let (rules, scrape) = lines.split_once("\nscrape_configs:\n").expect("two sections");
    let rules = rules.split_once('\n').expect("a rule").1;
    let put = |section: &str, lines: &str| {
        let file = "/etc/prometheus/prometheus.yml";
        format!("cat >lines <<'END'\n{lines}\nEND\nsed -i '/^{section}:/r lines' {file}\n")
    };
    put("rule_files", rules) + &put("scrape_configs", scrape)
}

/// The commands that start a shadow.
fn shadow() -> String {
    let page = text("docs/migration.md");
    let after = page.split_once("   ```sh\n").expect("commands").1;
    let block = after.split_once("   ```").expect("an end").0;
    block.replace("sudo ", "")
}

#[test]
#[ignore = "needs a package, and root with cgroups of version 2: PACKAGE=$(ls $PWD/target/debian/*.deb) cargo test --test installed -- --ignored hosts"]
fn three_installed_hosts_elect_a_fourth_follows_and_prometheus_alerts() {
    let nets: Option<Vec<_>> = (0..6).map(|_| Net::new(&[])).collect();
    let Some(nets) = nets else { return };
    let (hub, hosts) = nets.split_last().expect("some");
    hub.ip("link add br0 type bridge");
    hub.ip("link set br0 up");
    for (number, host) in hosts.iter().enumerate() {
        hub.ip(&format!("link add h{number} type veth peer name eth0 netns {}", host.name()));
        hub.ip(&format!("link set h{number} master br0 up"));
        host.ip(&format!("addr add {NET}{}/24 dev eth0", number + 1));
        host.ip("link set eth0 up");
    }
    let file = block("voters: [a, b, c]");
    let voter = VOTER.replace("SHADOW\n", &shadow());
    let voter = format!("cat >distributed_hosts.yaml <<'END'\n{file}\nEND\n{voter}");
    let watch = WATCH.replace("COMMANDS\n", &into_prometheus());
    let scripts = [voter.as_str(), &voter, &voter, FOLLOWER, &watch];
    let mut systems: Vec<_> = hosts
        .iter()
        .zip(scripts)
        .map(|(host, script)| {
            System::boot(&["ip", "netns", "exec", host.name()], &format!("{WORDS}{script}"))
        })
        .collect();
    let mut watching = systems.pop().expect("the last");
    let ready = within(PATIENCE, || {
        let mut all = systems.iter().chain([&watching]);
        let failed = all.clone().any(|it| !it.told("rc").is_empty());
        (failed || all.all(|it| !it.told("ready").is_empty())).then_some(())
    });
    let all = systems.iter().chain([&watching]);
    let wrong = all.filter(|it| ready.is_none() || !it.told("rc").is_empty());
    let wrong: Vec<_> = wrong.map(|it| it.told("out")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n--\n"));
    watching.tell("cut", "");
    hub.ip("link set h2 down");
    eprintln!("{}", watching.wait());
    for mut system in systems {
        system.tell("end", "");
        eprintln!("{}", system.wait());
    }
}
