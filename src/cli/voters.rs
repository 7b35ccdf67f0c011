//! `voters plan`: how a cluster gets from the voters that it has to those of a new file, one voter a version.
//!
//! Decides the versions between, their files, the order of the restarts, and what is refused before anything
//! is touched. Asks no node and changes none: the planning is a pure function of two configurations.

use clap::{Args, Subcommand};
use core::fmt::Write as _;
use ringrift_wire::NodeId;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};
use crate::config::{self, Config, HostPriority, MAX_VOTERS, Surroundings, with_voters};
use crate::election::Place;

/// What can be done about voters.
#[derive(Debug, Subcommand)]
pub enum VotersCommand {
    /// Plan the way to the voters of a new configuration, and write the files between
    Plan(PlanArgs),
}

/// The arguments of `voters plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The configuration with the voters to come
    pub new: PathBuf,
    /// The configuration that the cluster has
    ///
    /// Default: RINGRIFT_CONFIG, else ./config/distributed_hosts.yaml, else
    /// /etc/ringrift/distributed_hosts.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder to write the file of each version into, as voters-VERSION.yaml
    #[arg(long, value_name = "DIR")]
    pub write: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

/// One version of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    version: u32,
    /// Who joins or leaves.
    voter: NodeId,
    joins: bool,
    voters: Vec<NodeId>,
    /// Who restarts, in this order; whichever leads waits for the others.
    restart: Vec<NodeId>,
    warnings: Vec<String>,
}

impl Step {
    const fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    fn file(&self) -> String {
        format!("voters-{}.yaml", self.version)
    }

    fn to_json(&self) -> Value {
        let names = |ids: &[NodeId]| ids.iter().map(NodeId::as_str).collect::<Value>();
        json!({
            "version": self.version,
            "change": if self.joins { "add" } else { "remove" },
            "voter": self.voter.as_str(),
            "voters": names(&self.voters),
            "quorum": self.quorum(),
            "may_be_down": self.voters.len() - self.quorum(),
            "file": self.file(),
            "restart": names(&self.restart),
            "warnings": self.warnings,
        })
    }
}

/// The way from one configuration to another, or all that speaks against it.
///
/// `listed` tells whether a name stands under `hosts` of the new file.
fn plan(
    old: &Config,
    new: &Config,
    listed: &dyn Fn(NodeId) -> bool,
) -> Result<Vec<Step>, Vec<String>> {
    let added: Vec<NodeId> =
        new.voters.iter().copied().filter(|id| !old.voters.contains(id)).collect();
    let removed: Vec<NodeId> =
        old.voters.iter().copied().filter(|id| !new.voters.contains(id)).collect();
    let mut problems = refusals(old, new, &added, &removed, listed);
    let mut places = config::places(old);
    places.extend(config::places(new));
    let mut steps = Vec::new();
    let mut voters = old.voters.clone();
    let (mut joining, mut leaving) = (added.into_iter(), removed.into_iter());
    let mut version = old.voters_version;
    let mut step = |voters: &[NodeId], before: &[NodeId], voter, joins| {
        version = version.saturating_add(1);
        let restart = restarts(&places, before, voter, joins);
        let warnings = warnings(voters, before);
        let voters = voters.to_vec();
        if voters.iter().all(|id| never_leads(new, *id)) {
            problems.push(format!(
                "version {version}: every voter has `priority: never`, so nobody could lead"
            ));
        }
        steps.push(Step { version, voter, joins, voters, restart, warnings });
    };
    // One joins before one leaves, so that no version has fewer voters than it must.
    loop {
        let joins = if voters.len() < MAX_VOTERS { joining.next() } else { None };
        if let Some(id) = joins {
            let before = voters.clone();
            voters.push(id);
            step(&voters, &before, id, true);
        }
        let leaves = leaving.next();
        if let Some(id) = leaves {
            let before = voters.clone();
            voters.retain(|other| *other != id);
            step(&voters, &before, id, false);
        }
        if joins.is_none() && leaves.is_none() {
            break;
        }
    }
    if let Some(last) = steps.last_mut() {
        // The order of the list ranks voters without a number.
        last.voters.clone_from(&new.voters);
    }
    if problems.is_empty() { Ok(steps) } else { Err(problems) }
}

fn refusals(
    old: &Config,
    new: &Config,
    added: &[NodeId],
    removed: &[NodeId],
    listed: &dyn Fn(NodeId) -> bool,
) -> Vec<String> {
    let mut problems = Vec::new();
    let changes = u32::try_from(added.len() + removed.len()).unwrap_or(u32::MAX);
    let (from, to) = (old.voters_version, new.voters_version);
    let due = from.saturating_add(changes);
    if changes == 0 {
        problems
            .push("the voters are the same in both files: there is nothing to change".to_owned());
    } else if to <= from {
        problems.push(format!(
            "voters_version is {to} in the new file and {from} in the old one: raise it to {due}, one for each \
             voter that joins or leaves"
        ));
    } else if to != due {
        problems.push(format!(
            "{} changed ({}) between voters_version {from} and {to}: it is one voter a version, so the new \
             file needs voters_version {due}; the files between are written with --write",
            count(changes), changed(added, removed)
        ));
    }
    for id in added.iter().filter(|id| !listed(**id)) {
        problems.push(format!(
            "{id} joins and is not under `hosts` of the new file: add it with its address"
        ));
    }
    for id in removed.iter().filter(|id| !listed(**id)) {
        problems.push(format!(
            "{id} leaves and is not under `hosts` of the new file: the versions before it has left need its \
             address, so keep it there until this change is done"
        ));
    }
    if old.cluster != new.cluster {
        problems.push(format!(
            "`cluster` is {} in one file and {} in the other",
            old.cluster, new.cluster
        ));
    }
    for (id, host) in &old.hosts {
        let moved = new.hosts.get(id).is_some_and(|other| {
            listed(*id) && (&other.address, other.port) != (&host.address, host.port)
        });
        if moved {
            problems.push(format!(
                "{id} has another address or port in the new file: move it before or after"
            ));
        }
    }
    problems
}

fn count(changes: u32) -> String {
    if changes == 1 { "one voter is".to_owned() } else { format!("{changes} voters are") }
}

fn changed(added: &[NodeId], removed: &[NodeId]) -> String {
    let all =
        |what: &str, ids: &[NodeId]| (!ids.is_empty()).then(|| format!("{what}: {}", names(ids)));
    [all("added", added), all("removed", removed)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

fn names(ids: &[NodeId]) -> String {
    ids.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

fn never_leads(config: &Config, id: NodeId) -> bool {
    config.hosts.get(&id).is_some_and(|host| host.priority == HostPriority::Never)
}

/// The voters that stay, the worst first, since the best one probably leads; then who joins or leaves.
fn restarts(
    places: &BTreeMap<NodeId, Place>,
    before: &[NodeId],
    voter: NodeId,
    joins: bool,
) -> Vec<NodeId> {
    let mut staying: Vec<NodeId> = before.iter().copied().filter(|id| *id != voter).collect();
    staying.sort_by_key(|id| {
        let place = places.get(id);
        let rank = place.map(|place| (place.never, !place.gpu, place.order));
        core::cmp::Reverse((rank, *id))
    });
    // Alone, the one voter has to restart before anybody can join it.
    let at = if joins && staying.len() > 1 { staying.len() - 1 } else { staying.len() };
    staying.insert(at, voter);
    staying
}

fn warnings(voters: &[NodeId], before: &[NodeId]) -> Vec<String> {
    let mut warnings = Vec::new();
    let (now, then) = (voters.len(), before.len());
    if now % 2 == 0 {
        warnings.push(format!(
            "{now} voters bear no more losses than {}: do not stay at an even number",
            now - 1
        ));
    }
    if then <= 2 {
        warnings.push(format!(
            "with {} every restart costs the leader until it is back",
            if then == 1 { "one voter" } else { "two voters" }
        ));
    }
    warnings
}

fn text(steps: &[Step], from: u32, folder: Option<&Path>) -> String {
    let mut out = String::new();
    let mut line = |line: String| {
        let _infallible = writeln!(out, "{line}");
    };
    let to = steps.last().map_or(from, |step| step.version);
    line(format!(
        "From voters_version {from} to {to}, one voter a version. Every node runs this version of the program.\n\
         Take the next version only when the one before is done: a version whose predecessor has not led\n\
         elects nobody."
    ));
    for step in steps {
        let what = if step.joins { "joins" } else { "leaves" };
        let (voters, quorum) = (step.voters.len(), step.quorum());
        line(format!(
            "\nVersion {}: {} {what}. {voters} voters, quorum {quorum}, {} may be down.",
            step.version,
            step.voter,
            voters - quorum
        ));
        for warning in &step.warnings {
            line(format!("   warning: {warning}"));
        }
        let file = folder.map_or_else(|| PathBuf::from(step.file()), |dir| dir.join(step.file()));
        line(format!("   1. Copy {} to every node as its configuration.", file.display()));
        if !step.joins {
            line(format!(
                "      On {} run `ringrift-p2p drain`: it hands the lead over if it has it.",
                step.voter
            ));
        }
        line(format!(
            "   2. Restart one after the other: {}.\n      Whichever leads when its turn comes waits until the \
             others{} are done. After each\n      restart wait until GET /ready there answers 200, and GET /status has a number as voter_config_led.",
            names(&step.restart),
            if step.joins { "" } else { " that stay" }
        ));
        line(format!(
            "   3. Done when GET /status of every voter says \"voter_config_led\": {}. Observers restart at\n      \
             any time after that.",
            step.version
        ));
    }
    out
}

/// The plan, as text or JSON; writes the files when asked to.
///
/// # Errors
/// 64: a file is wrong, or the change is refused: all reasons are listed. 69: a file cannot be written.
pub fn run(args: &PlanArgs) -> Result<String, Failure> {
    let around = Surroundings::of_process();
    let old = config::open(args.config.as_deref(), &around)?.config;
    let new = config::open(Some(&args.new), &around)?.config;
    let source = std::fs::read_to_string(&args.new).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read {}: {error}", args.new.display()))
    })?;
    let listed = config::listed_hosts(&source);
    let steps = plan(&old, &new, &|id| listed.contains(id.as_str()))
        .map_err(|problems| Failure::new(Exit::Usage, refusal(&problems)))?;
    if let Some(folder) = &args.write {
        write_files(folder, &source, &new, &steps)?;
    }
    if args.json {
        let steps: Vec<Value> = steps.iter().map(Step::to_json).collect();
        let plan = json!({ "from": old.voters_version, "to": new.voters_version, "steps": steps });
        return Ok(format!("{plan:#}\n"));
    }
    Ok(text(&steps, old.voters_version, args.write.as_deref()))
}

fn refusal(problems: &[String]) -> String {
    format!("the voters cannot be changed like this:\n  {}", problems.join("\n  "))
}

fn write_files(folder: &Path, source: &str, new: &Config, steps: &[Step]) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::Unavailable, format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for step in steps {
        let text = with_voters(source, new, &step.voters, step.version)
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let path = folder.join(step.file());
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(voters: &[&str], version: u32, hosts: &str) -> Config {
        let text = format!(
            "voters: [{}]\nvoters_version: {version}\nhosts: {{{hosts}}}\n",
            voters.join(", ")
        );
        config::parse(&text).unwrap().config
    }

    fn planned(old: (&[&str], u32), new: (&[&str], u32)) -> Result<Vec<Step>, Vec<String>> {
        let hosts = "a: {priority: 1}, b: {priority: 2}, c: {priority: 3}";
        plan(&config(old.0, old.1, hosts), &config(new.0, new.1, hosts), &|_| true)
    }

    fn refused(old: (&[&str], u32), new: (&[&str], u32)) -> String {
        planned(old, new).unwrap_err().join("\n")
    }

    const ABC: &[&str] = &["a", "b", "c"];

    #[test]
    fn one_joins_before_one_leaves_and_each_has_a_version() {
        let steps = planned((ABC, 4), (&["b", "d", "e"], 8)).unwrap();
        let told: Vec<String> = steps
            .iter()
            .map(|step| {
                let sign = if step.joins { '+' } else { '-' };
                format!("{}{sign}{}: {}", step.version, step.voter, names(&step.voters))
            })
            .collect();
        assert_eq!(told, ["5+d: a, b, c, d", "6-a: b, c, d", "7+e: b, c, d, e", "8-c: b, d, e"]);
    }

    #[test]
    fn each_version_differs_from_the_one_before_by_one_voter() {
        let steps = planned((ABC, 1), (&["x", "y", "z"], 7)).unwrap();
        let mut before: Vec<NodeId> = ABC.iter().map(|id| id.parse().unwrap()).collect();
        for step in steps {
            let apart =
                |one: &[NodeId], two: &[NodeId]| one.iter().filter(|id| !two.contains(id)).count();
            assert_eq!(apart(&before, &step.voters) + apart(&step.voters, &before), 1);
            before = step.voters;
        }
        assert_eq!(names(&before), "x, y, z");
    }

    #[test]
    fn the_worst_restarts_first_who_joins_before_the_best_and_who_leaves_last() {
        let steps = planned((ABC, 1), (&["a", "b", "c", "d"], 2)).unwrap();
        assert_eq!(names(&steps[0].restart), "c, b, d, a");
        let steps = planned((ABC, 1), (&["a", "c"], 2)).unwrap();
        assert_eq!(names(&steps[0].restart), "c, a, b");
        let steps = planned((&["a"], 1), (&["a", "b"], 2)).unwrap();
        assert_eq!(names(&steps[0].restart), "a, b");
    }

    #[test]
    fn two_changed_under_one_version_are_refused_with_the_version_due() {
        let said = refused((ABC, 4), (&["a", "b", "d"], 5));
        assert!(said.contains("2 voters are changed (added: d; removed: c)"), "{said}");
        assert!(said.contains("needs voters_version 6"), "{said}");
    }

    #[test]
    fn a_version_that_is_not_raised_and_a_change_of_nothing_are_refused() {
        let said = refused((ABC, 4), (&["a", "b"], 4));
        assert!(
            said.contains("is 4 in the new file and 4 in the old one: raise it to 5"),
            "{said}"
        );
        assert!(refused((ABC, 4), (ABC, 5)).contains("nothing to change"));
    }

    #[test]
    fn hosts_that_are_missing_or_moved_are_refused() {
        let old = config(ABC, 1, "a: {port: 1}, b: {}, c: {}");
        let new = config(&["a", "b", "d"], 3, "a: {port: 2}");
        let said = plan(&old, &new, &|id| id.as_str() == "a").unwrap_err().join("\n");
        assert!(said.contains("d joins and is not under `hosts`"), "{said}");
        assert!(said.contains("c leaves and is not under `hosts`"), "{said}");
        assert!(said.contains("a has another address or port"), "{said}");
    }

    #[test]
    fn another_cluster_and_voters_that_never_lead_are_refused() {
        let old = config::parse("cluster: x\nvoters: [a]").unwrap().config;
        let new = config::parse(
            "cluster: y\nvoters: [b, c]\nvoters_version: 4\nhosts: {b: {priority: never}}",
        );
        let said = plan(&old, &new.unwrap().config, &|_| true).unwrap_err().join("\n");
        assert!(said.contains("x in one file and y in the other"), "{said}");
        assert!(said.contains("version 3: every voter has `priority: never`"), "{said}");
    }

    #[test]
    fn even_numbers_and_few_voters_are_warned_of() {
        let warned = |old, new| planned(old, new).unwrap()[0].warnings.join("\n");
        assert!(
            warned((ABC, 1), (&["a", "b", "c", "d"], 2))
                .contains("4 voters bear no more losses than 3")
        );
        assert!(warned((&["a"], 1), (&["a", "b"], 2)).contains("with one voter every restart"));
        assert!(planned((&["a", "b", "c", "d"], 1), (ABC, 2)).unwrap()[0].warnings.is_empty());
    }

    #[test]
    fn the_text_says_what_to_do_in_which_order() {
        let steps = planned((ABC, 1), (&["a", "b", "d"], 3)).unwrap();
        let said = text(&steps, 1, Some(Path::new("out")));
        for part in [
            "From voters_version 1 to 3",
            "Version 2: d joins. 4 voters, quorum 3, 1 may be down.",
            "Copy out/voters-2.yaml to every node",
            "one after the other: c, b, d, a.",
            "On c run `ringrift-p2p drain`",
            "\"voter_config_led\": 3",
        ] {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    }

    #[test]
    fn the_json_has_the_same_steps() {
        let step = planned((ABC, 1), (&["a", "b"], 2)).unwrap().remove(0).to_json();
        assert_eq!(step["version"], 2);
        assert_eq!((&step["change"], &step["voter"]), (&json!("remove"), &json!("c")));
        assert_eq!(step["restart"], json!(["b", "a", "c"]));
        assert_eq!((&step["quorum"], &step["may_be_down"]), (&json!(2), &json!(0)));
        assert_eq!(step["file"], "voters-2.yaml");
    }
}
