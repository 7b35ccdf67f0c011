//! The journal of a cluster's hooks and commands: one file that all append to, so its order is the order of
//! what happened, and a judge of it.
//!
//! 1. Gains come with rising terms.
//! 2. After the gain of a term nothing of an earlier one is written any more: its work has ended, or was killed.
//! 3. A lose belongs to the last gain, and comes once.

use core::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;

/// Writes a line of what it is, then does what the test wants, then another line.
const SCRIPT: &str = r#"#!/bin/sh
what=$1
shift
say() { echo "$1 $what $RINGRIFT_TERM $RINGRIFT_NODE_ID leader=$RINGRIFT_LEADER before=$RINGRIFT_PREVIOUS_LEADER cause=$RINGRIFT_CAUSE" >> "$JOURNAL"; }
say begin
"$@"
code=$?
say end
exit $code
"#;

/// Writes a line every few milliseconds until it is ended; `trap ''` first makes it deaf to SIGTERM.
pub const TICKER: &str = r#"while :; do echo "tick exec $RINGRIFT_TERM $RINGRIFT_NODE_ID" >> "$JOURNAL"; sleep 0.005; done"#;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `begin`, `end` or `tick`.
    pub how: String,
    /// `gain`, `lose`, `change` or `exec`.
    pub what: String,
    /// The term that it was told.
    pub term: u64,
    /// The node.
    pub node: String,
    /// The rest.
    pub rest: String,
}

/// The file.
pub struct Journal {
    path: PathBuf,
    script: PathBuf,
}

impl Journal {
    /// An empty one in the folder of a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        let dir = cluster.dir.path();
        let (path, script) = (dir.join("journal"), dir.join("hook.sh"));
        fs::write(&path, "").expect("a file");
        fs::write(&script, SCRIPT).expect("a file");
        Self { path, script }
    }

    /// Where it is; programs find it in the variable `JOURNAL`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds hooks to the configuration of the cluster: which, and what each does between its two lines.
    pub fn hook(&self, cluster: &Cluster, hooks: &[(&str, &str)], more: &str) {
        let mut text = fs::read_to_string(&cluster.config).expect("it was written");
        text.push_str("hooks:\n");
        for (name, does) in hooks {
            let what = match *name {
                "on_gain" => "gain",
                "on_lose" => "lose",
                _ => "change",
            };
            let script = self.script.display();
            let _infallible =
                writeln!(text, "  {name}: [/bin/sh, {script}, {what}, /bin/sh, -c, '{does}']");
        }
        text.push_str(more);
        fs::write(&cluster.config, text).expect("it can be written");
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.path).expect("it was written");
        let line = |line: &str| {
            let mut words = line.splitn(5, ' ').map(ToOwned::to_owned);
            let (how, what) = (words.next()?, words.next()?);
            let (term, node) = (words.next()?.parse().ok()?, words.next()?);
            Some(Line { how, what, term, node, rest: words.next().unwrap_or_default() })
        };
        text.lines().filter_map(line).collect()
    }

    /// How many lines of a kind there are.
    pub fn count(&self, how: &str, what: &str) -> usize {
        self.lines().iter().filter(|line| line.how == how && line.what == what).count()
    }

    /// Passes judgement on all lines of leaders' work; returns the terms of the gains.
    #[track_caller]
    pub fn judge(&self) -> Vec<u64> {
        let lines = self.lines();
        let mut gains = Vec::new();
        let mut lost = Vec::new();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.what != "change") {
            let newest = gains.last().copied();
            match (line.how.as_str(), line.what.as_str()) {
                ("begin", "gain") => {
                    assert!(newest < Some(line.term), "line {at}: {line:?} after {gains:?}");
                    gains.push(line.term);
                }
                (how, what) => {
                    // A command alone has no gain hook: its first line stands for it.
                    if what == "exec" && newest < Some(line.term) {
                        gains.push(line.term);
                    }
                    let newest = gains.last().copied();
                    assert_eq!(newest, Some(line.term), "line {at}: {line:?} is of an old term");
                    if (how, what) == ("begin", "lose") {
                        assert!(!lost.contains(&line.term), "line {at}: {line:?} a second time");
                        lost.push(line.term);
                    }
                    let over = lost.contains(&line.term) && what != "lose";
                    assert!(!over, "line {at}: {line:?} after the lose of its term began");
                }
            }
        }
        gains
    }
}
