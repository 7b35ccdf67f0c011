//! What a bench hands over: JSON lines in `target/bench/`, and a Markdown table on standard output.
//!
//! The first line of each file names the machine, the date and how busy the machine was: a figure
//! without them says nothing.

use core::fmt::Write as _;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Several runs of one measure.
#[derive(Clone, Debug)]
pub struct Spread {
    values: Vec<f64>,
}

impl Spread {
    /// The spread of these values; `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self { values })
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.values[0]
    }

    /// The one in the middle, or the mean of the two there.
    pub fn median(&self) -> f64 {
        let half = self.values.len() / 2;
        let upper = self.values[half];
        if self.values.len() % 2 == 1 { upper } else { f64::midpoint(self.values[half - 1], upper) }
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    /// All of them, in order.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

/// The results of one bench.
pub struct Report {
    name: &'static str,
    lines: Vec<Value>,
    rows: Vec<Vec<String>>,
}

impl Report {
    /// An empty report with these columns in its table.
    pub fn new(name: &'static str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self { name, lines: vec![machine(name)], rows: vec![columns] }
    }

    /// Adds a line for machines.
    pub fn line(&mut self, line: Value) {
        self.lines.push(line);
    }

    /// Adds a row of the table.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints the table and writes the lines.
    pub fn hand_over(mut self) {
        let load = load();
        self.lines[0]["load_after"] = json!(load);
        println!("\n{}", markdown(&self.rows));
        println!("{}, load {load}", self.lines[0]["machine"].as_str().unwrap_or_default());
        let mut text = String::new();
        for line in &self.lines {
            let _infallible = writeln!(text, "{line}");
        }
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../bench");
        let file = folder.join(format!("{}.json", self.name));
        fs::create_dir_all(&folder).and_then(|()| fs::write(&file, text)).expect("target/ is ours");
        println!("lines: target/bench/{}.json", self.name);
    }
}

/// Another build of the program that is to be measured.
pub fn other_program() -> Option<String> {
    std::env::var("BENCH_PROGRAM").ok().filter(|path| !path.is_empty())
}

/// A positive number that the environment sets, or its default.
pub fn setting(name: &str, default: usize) -> usize {
    let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
    set.filter(|&number| number > 0).unwrap_or(default)
}

/// Whether the arguments name this measure, or none at all.
pub fn asked_for(name: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    names.peek().is_none() || names.any(|asked| asked == name)
}

fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let _infallible = writeln!(text, "| {} |", row.join(" | "));
        if number == 0 {
            let _infallible = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

fn machine(bench: &str) -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let machine = format!("{model}, {cores} cores, Linux {}", kernel.trim());
    let date = jiff::Timestamp::now().to_string();
    json!({
        "bench": bench, "machine": machine, "date": date, "load_before": load(),
        "program": other_program(),
    })
}

/// Runnable tasks, averaged over the last minute.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
