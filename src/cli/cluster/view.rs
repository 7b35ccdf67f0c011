//! What a person sees of the cluster: a table redrawn in place on a terminal, else a line per change.
//!
//! Decides words and layout. The table is a value made of what the voters said; both ways of showing
//! it are functions of that value and the one before.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use super::child::{Life, Voter};

/// One voter, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    pid: Option<u32>,
    address: String,
    role: String,
    term: Option<u64>,
    peers: Option<u64>,
    life: Life,
}

/// Everything that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// Who says that it leads, and in which term; the highest term counts.
    leader: Option<(String, u64)>,
    /// Why there is none, as a voter says.
    reason: Option<String>,
    folder: String,
    /// The last answer to what was typed.
    said: String,
}

impl Table {
    pub(super) fn of(voters: &[Voter], folder: &Path, said: &str) -> Self {
        let rows = voters.iter().map(|voter| Row {
            name: voter.id.to_string(),
            pid: voter.node_pid(),
            address: voter.address.to_string(),
            role: voter.said.as_ref().map_or_else(String::new, |said| said.role.clone()),
            term: voter.said.as_ref().map(|said| said.term),
            peers: voter.said.as_ref().map(|said| said.alive_peers),
            life: voter.life.clone(),
        });
        let leading = voters.iter().filter_map(|voter| {
            let said = voter.said.as_ref().filter(|said| said.is_leader)?;
            Some((voter.id.to_string(), said.term))
        });
        let reason = voters.iter().find_map(|voter| voter.said.as_ref()?.no_leader_reason.clone());
        Self {
            rows: rows.collect(),
            leader: leading.max_by_key(|(_, term)| *term),
            reason,
            folder: folder.display().to_string(),
            said: said.to_owned(),
        }
    }

    /// How many voters run and answer.
    fn alive(&self) -> usize {
        self.rows.iter().filter(|row| row.is_alive()).count()
    }

    fn headline(&self) -> String {
        match (&self.leader, &self.reason) {
            (Some((leader, term)), _) => format!("{leader} leads in term {term}"),
            (None, Some(reason)) => format!("no leader: {reason}"),
            (None, None) => "no leader".to_owned(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let (alive, all) = (self.alive(), self.rows.len());
        let mut lines = vec![
            format!("{}; {alive} of {all} voters alive", self.headline()),
            String::new(),
            columns(["VOTER", "PID", "ADDRESS", "ROLE", "TERM", "PEERS"], "PROCESS"),
        ];
        lines.extend(self.rows.iter().map(Row::line));
        lines.push(String::new());
        lines.push(format!("data and logs: {}", self.folder));
        if let Some(row) = self.rows.first() {
            lines.push(format!("try: curl -s http://{}/status", row.address));
        }
        lines.push(self.said.clone());
        lines
    }
}

impl Row {
    /// Whether it runs and answers.
    const fn is_alive(&self) -> bool {
        self.term.is_some()
    }

    fn line(&self) -> String {
        let text = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        let (pid, term, peers) = (text(self.pid.map(u64::from)), text(self.term), text(self.peers));
        let cells = [&self.name, &pid, &self.address, &self.role, &term, &peers];
        let life = match &self.life {
            Life::New => "not started",
            Life::Running => "running",
            Life::Ended(how) => return columns(cells.map(String::as_str), &format!("dead: {how}")),
        };
        columns(cells.map(String::as_str), life)
    }
}

/// Widths of all columns but the last.
const WIDTHS: [usize; 6] = [18, 8, 16, 10, 12, 6];

fn columns(cells: [&str; 6], last: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(WIDTHS) {
        // Writing to a string does not fail.
        let _ = write!(line, "{cell:<width$} ");
    }
    line + last
}

/// A terminal on which the table is redrawn in place, above the line that is typed into.
pub(super) struct Screen {
    is_terminal: bool,
    last: Option<Table>,
}

impl Screen {
    pub(super) const fn new(is_terminal: bool) -> Self {
        Self { is_terminal, last: None }
    }

    /// Redraws what has changed.
    pub(super) fn show(&mut self, table: &Table) -> io::Result<()> {
        if self.last.as_ref() == Some(table) {
            return Ok(());
        }
        let text = frame(table, self.last.is_none());
        self.last = Some(table.clone());
        put(&text)
    }

    /// A line was typed: the next drawing starts from an empty screen with a fresh prompt.
    pub(super) fn typed(&mut self) {
        self.last = None;
    }

    /// Leaves the cursor below everything.
    pub(super) fn leave(&self) {
        if self.is_terminal {
            let _ = put("\n");
        }
    }
}

/// The table as the bytes that draw it. `anew` clears the screen and puts a prompt; otherwise the
/// cursor comes back to where the person types.
fn frame(table: &Table, anew: bool) -> String {
    let mut text = String::from(if anew { "\x1b[2J\x1b[H" } else { "\x1b7\x1b[H" });
    for line in table.lines() {
        // A log line may hold anything; on a terminal only what can be seen is shown.
        text.extend(line.chars().map(|char| if char.is_control() { ' ' } else { char }));
        text.push_str("\x1b[K\r\n");
    }
    text.push_str(if anew { "> " } else { "\x1b8" });
    text
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A line for each change.
#[derive(Default)]
pub(super) struct Lines {
    last: Option<Table>,
}

impl Lines {
    /// Prints what has changed since the last time.
    pub(super) fn show(&mut self, table: &Table) -> io::Result<()> {
        let lines = changes(self.last.as_ref(), table);
        self.last = Some(table.clone());
        lines.iter().try_for_each(|line| put(&format!("{line}\n")))
    }
}

/// What is to be told of the step from one table to the next.
fn changes(before: Option<&Table>, now: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none() {
        lines.push(format!("data and logs: {}", now.folder));
    }
    let rows = |table: Option<&Table>| -> BTreeMap<String, Row> {
        let rows = table.into_iter().flat_map(|table| &table.rows);
        rows.map(|row| (row.name.clone(), row.clone())).collect()
    };
    let old = rows(before);
    for row in &now.rows {
        let Row { name, address, .. } = row;
        let old = old.get(name);
        match (&row.life, row.pid) {
            (Life::Running, Some(pid)) if old.and_then(|old| old.pid) != Some(pid) => {
                lines.push(format!("{name} started as process {pid} at {address}"));
            }
            (Life::Ended(how), _) if old.is_none_or(|old| old.life != row.life) => {
                lines.push(format!("{name} is dead: {how}"));
            }
            _ => {}
        }
    }
    let alive = before.map_or(0, Table::alive);
    if alive != now.alive() {
        lines.push(format!("{} of {} voters alive", now.alive(), now.rows.len()));
    }
    let had_leader = before.and_then(|before| before.leader.as_ref());
    if now.leader.as_ref() != had_leader && (now.leader.is_some() || before.is_some()) {
        lines.push(now.headline());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, pid: Option<u32>, life: Life) -> Row {
        let alive = pid.is_some();
        Row {
            name: name.to_owned(),
            pid,
            address: "127.0.0.1:8770".to_owned(),
            role: if alive { "follower".to_owned() } else { String::new() },
            term: alive.then_some(7),
            peers: alive.then_some(1),
            life,
        }
    }

    fn table(leader: Option<&str>) -> Table {
        Table {
            rows: vec![row("a", Some(1), Life::Running), row("b", Some(2), Life::Running)],
            leader: leader.map(|leader| (leader.to_owned(), 7)),
            reason: leader.is_none().then(|| "1 of 2 voters answers".to_owned()),
            folder: "/tmp/x".to_owned(),
            said: String::new(),
        }
    }

    #[test]
    fn the_first_table_tells_everything_and_the_same_one_nothing() {
        assert_eq!(
            changes(None, &table(Some("a"))),
            [
                "data and logs: /tmp/x",
                "a started as process 1 at 127.0.0.1:8770",
                "b started as process 2 at 127.0.0.1:8770",
                "2 of 2 voters alive",
                "a leads in term 7",
            ]
        );
        assert_eq!(changes(Some(&table(Some("a"))), &table(Some("a"))), [""; 0]);
    }

    #[test]
    fn a_killed_leader_its_loss_and_its_restart_are_each_one_line() {
        let mut killed = table(None);
        killed.rows[0] = row("a", None, Life::Ended("killed by signal 9".to_owned()));
        assert_eq!(
            changes(Some(&table(Some("a"))), &killed),
            [
                "a is dead: killed by signal 9",
                "1 of 2 voters alive",
                "no leader: 1 of 2 voters answers"
            ]
        );
        let mut again = table(None);
        again.rows[0] = row("a", Some(3), Life::Running);
        assert_eq!(
            changes(Some(&killed), &again),
            ["a started as process 3 at 127.0.0.1:8770", "2 of 2 voters alive"]
        );
        assert_eq!(changes(Some(&again), &table(Some("b")))[1..], ["b leads in term 7"]);
    }

    #[test]
    fn a_row_shows_who_it_is_how_it_is_and_where() {
        let lines = table(Some("a")).lines();
        assert_eq!(lines[0], "a leads in term 7; 2 of 2 voters alive");
        for word in ["a ", "1 ", "127.0.0.1:8770", "follower", "7", "running"] {
            assert!(lines[3].contains(word), "{word} in {}", lines[3]);
        }
        let dead = row("a", None, Life::Ended("exit code 74: disk".to_owned()));
        assert!(dead.line().ends_with("dead: exit code 74: disk"));
    }

    #[test]
    fn a_redrawing_gives_the_cursor_back_and_lets_no_control_character_through() {
        let mut table = table(Some("a"));
        assert!(frame(&table, true).ends_with("> "));
        table.said = "\x1b[2Jevil\n".to_owned();
        let text = frame(&table, false);
        assert!(text.starts_with("\x1b7") && text.ends_with("\x1b8"));
        assert!(!text.contains("\x1b[2J"));
    }
}
