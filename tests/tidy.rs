//! House rules that no compiler checks, held against the sources.
//!
//! Each rule is a function from a source to its findings, with a test that it finds what is wrong.
//! A finding names file and line and says what to do.

#![cfg(test)]

#[path = "tidy/scan.rs"]
mod scan;

use core::fmt;
use scan::{before_tests, code_of, paths_of};
use std::path::Path;

/// The rooms of `src/`, each with its floor: a room imports from lower floors only.
///
/// Rooms on one floor do not know each other. `wire` is a crate of its own and below them all.
const ROOMS: [(&str, u8); 12] = [
    ("time", 1),
    ("rng", 1),
    ("membership", 2),
    ("election", 2),
    ("node", 3),
    ("config", 4),
    ("telemetry", 5),
    ("http", 6),
    ("driver", 7),
    ("client", 8),
    ("cli", 9),
    ("main", 10),
];

/// The highest floor of the pure rooms.
const PURE: u8 = 3;

/// What the pure rooms do without, and what they have instead.
const BANS: [(&str, &str); 24] = [
    ("std::time", "take crate::time::Instant as an argument; Duration is core::time::Duration"),
    ("SystemTime", "take the time as an argument"),
    ("Instant::now", "take the time as an argument"),
    ("tokio", "the driver waits; return an output"),
    ("UdpSocket", "return a Send output"),
    ("TcpStream", "the driver has the sockets"),
    ("TcpListener", "the driver has the sockets"),
    ("std::fs", "return a Persist output"),
    ("std::io", "the driver does the I/O"),
    ("std::env", "take it as a parameter"),
    ("std::process", "return an output"),
    ("std::thread", "the driver has the threads"),
    ("std::sync", "the state is owned by value"),
    ("rustix", "the driver talks to the kernel"),
    ("socket2", "the driver has the sockets"),
    ("tracing", "return a Notify output"),
    ("HashMap", "use BTreeMap: iteration order must not depend on chance"),
    ("HashSet", "use BTreeSet: iteration order must not depend on chance"),
    ("print", "return a Notify output"),
    ("println", "return a Notify output"),
    ("eprint", "return a Notify output"),
    ("eprintln", "return a Notify output"),
    ("getrandom", "draw from the crate::rng::Rng that the machine owns"),
    ("rand", "draw from the crate::rng::Rng that the machine owns"),
];

/// The longest that a file may be before its tests, in lines.
const MAX_LINES: usize = 500;

/// A file of the project.
struct Source {
    /// From the root of the project, such as `src/node/mod.rs`.
    path: String,
    text: String,
    /// The text without comments and literals; empty unless it is Rust.
    code: String,
}

impl Source {
    fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") { code_of(&text) } else { String::new() };
        Self { path: path.to_owned(), text, code }
    }

    /// Whether it is code that ships.
    fn ships(&self) -> bool {
        let in_src = self.path.starts_with("src/") || self.path.starts_with("wire/src/");
        in_src && self.path.ends_with(".rs") && !self.path.ends_with("/tests.rs")
    }

    /// The modules that it lies in, such as `["node", "event"]`; of `src/lib.rs` none.
    fn modules(&self) -> Vec<&str> {
        let Some(inner) = self.path.strip_prefix("src/").and_then(|it| it.strip_suffix(".rs"))
        else {
            return Vec::new();
        };
        inner.split('/').filter(|&it| it != "mod" && it != "lib").collect()
    }

    /// Its room; `None` of `src/lib.rs` and outside of `src/`.
    fn room(&self) -> Option<&str> {
        self.modules().first().copied()
    }

    fn finding(&self, line: usize, what: impl fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn floor(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|&(_, floor)| floor)
}

/// Imports run one way.
fn imports(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some(own) = floor(room) else {
        return vec![source.finding(1, format!("give the room `{room}` a floor in tests/tidy.rs"))];
    };
    if !source.ships() {
        return Vec::new();
    }
    let depth = source.modules().len();
    let mut findings = Vec::new();
    for path in paths_of(before_tests(&source.code)) {
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        let supers = names.iter().take_while(|&&it| it == "super").count();
        let target = match names.first() {
            Some(&("crate" | "ringrift_p2p")) => names.get(1),
            Some(&"super") if supers == depth => names.get(supers),
            _ => None,
        };
        let Some((target, other)) = target.and_then(|&it| Some((it, floor(it)?))) else { continue };
        if target != room && other >= own {
            findings.push(source.finding(
                path.line,
                format!(
                    "`{room}` imports `{target}`: imports run one way; let a room above hand it in"
                ),
            ));
        }
    }
    findings
}

/// The pure rooms and the codec have no clock, no I/O, no logging and no chance.
fn purity(source: &Source) -> Vec<String> {
    let pure = source.path.starts_with("wire/src/")
        || source.room().and_then(floor).is_some_and(|floor| floor <= PURE);
    if !pure || !source.ships() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for path in paths_of(before_tests(&source.code)) {
        for (ban, instead) in BANS.iter().filter(|(ban, _)| path.has(ban)) {
            let what = format!("`{ban}` in a pure room: {instead}");
            findings.push(source.finding(path.line, what));
        }
    }
    findings
}

/// Bytes exist in `wire` only.
fn bytes(source: &Source) -> Vec<String> {
    const WHAT: &str = "bincode outside of wire/: call ringrift_wire::encode and decode";
    if source.path.starts_with("wire/") {
        return Vec::new();
    }
    let in_code = paths_of(&source.code).into_iter().filter(|it| it.has("bincode"));
    let in_manifest = source.path.ends_with(".toml").then_some(&source.text).into_iter();
    let in_manifest = in_manifest
        .flat_map(|text| text.lines().enumerate())
        .filter(|(_, line)| line.trim_start().starts_with("bincode"))
        .map(|(at, _)| at + 1);
    in_code.map(|it| it.line).chain(in_manifest).map(|line| source.finding(line, WHAT)).collect()
}

/// Files stay short.
fn length(source: &Source) -> Vec<String> {
    let lines = before_tests(&source.code).lines().count();
    if !source.ships() || lines <= MAX_LINES {
        return Vec::new();
    }
    let what = format!(
        "{lines} lines before the tests, at most {MAX_LINES} are allowed: move one job to a file of its own"
    );
    vec![source.finding(lines, what)]
}

/// Nothing is left unfinished behind a mark.
fn unfinished(source: &Source) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let mut words = line.split(|it: char| !it.is_alphanumeric());
        if let Some(mark) = words.find(|word| marks.contains(word)) {
            let what = format!("`{mark}`: do it, or say what is so and leave the wish out");
            findings.push(source.finding(at + 1, what));
        }
    }
    findings
}

/// Every file of Rust says first what it is.
fn heading(source: &Source) -> Vec<String> {
    if !source.path.ends_with(".rs") || source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![source.finding(1, "the first line is no `//! ` line: name the file's job in it")]
}

/// Blanks, not tabs.
fn tabs(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate().filter(|(_, line)| line.contains('\t'));
    lines.map(|(at, _)| source.finding(at + 1, "a tab: write blanks")).collect()
}

/// A lint is switched off only where it would be raised, and with a reason.
fn allows(source: &Source) -> Vec<String> {
    let code = &source.code;
    let places = code.match_indices("[allow(").map(|(at, _)| scan::line_of(code, at));
    places
        .map(|line| source.finding(line, "`allow`: write `#[expect(.., reason = \"..\")]`"))
        .collect()
}

/// Every rule on one source.
fn findings_in(source: &Source) -> Vec<String> {
    let rules = [imports, purity, bytes, length, unfinished, heading, tabs, allows];
    rules.iter().flat_map(|rule| rule(source)).collect()
}

/// Every text of the project that is written by hand.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for place in [
        "src",
        "wire",
        "tests",
        "fuzz",
        "config",
        "docs",
        ".ci",
        "benches",
        "Cargo.toml",
        "README.md",
    ] {
        collect(root, Path::new(place), &mut found);
    }
    found
}

fn collect(root: &Path, place: &Path, found: &mut Vec<Source>) {
    let full = root.join(place);
    let skipped = ["target", "corpus", "artifacts"];
    if place.file_name().is_some_and(|name| skipped.iter().any(|it| name == *it)) {
        return;
    }
    if full.is_dir() {
        let entries = std::fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names.iter().for_each(|name| collect(root, &place.join(name), found));
    } else if let Some(path) = place.to_str()
        && (path.starts_with(".ci") || has_text(place))
        && full.is_file()
    {
        found.push(Source::new(path, std::fs::read_to_string(&full).unwrap()));
    }
}

fn has_text(place: &Path) -> bool {
    let written = ["rs", "toml", "md", "yaml", "yml", "service", "json"];
    place.extension().is_some_and(|extension| written.iter().any(|it| extension == *it))
}

#[test]
fn the_sources_are_tidy() {
    let sources = sources();
    for must in ["src/lib.rs", "src/node/mod.rs", "wire/src/lib.rs", "tests/tidy.rs", "Cargo.toml"]
    {
        assert!(sources.iter().any(|it| it.path == must), "{must} was not read");
    }
    let findings: Vec<String> = sources.iter().flat_map(findings_in).collect();
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

mod rules {
    //! Each rule finds what is wrong and leaves alone what is right.

    use super::*;

    /// What a rule finds in a file of that path and text.
    fn found(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
        rule(&Source::new(path, text.to_owned()))
    }

    #[track_caller]
    fn finds(rule: fn(&Source) -> Vec<String>, path: &str, text: &str, line: usize) {
        let findings = found(rule, path, text);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with(&format!("{path}:{line}: ")), "{findings:?}");
    }

    #[track_caller]
    fn passes(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) {
        assert_eq!(found(rule, path, text), [""; 0]);
    }

    #[test]
    fn imports_run_one_way() {
        finds(imports, "src/election/core.rs", "\nuse crate::membership::Table;", 2);
        finds(imports, "src/membership/mod.rs", "use crate::{\n rng::Rng,\n election::Core};", 3);
        finds(imports, "src/election/mod.rs", "use super::node;", 1);
        finds(imports, "src/election/core.rs", "fn f(it: super::super::node::Node) {}", 1);
        finds(imports, "src/time.rs", "use crate::rng::Rng;", 1);
        finds(imports, "src/node/mod.rs", "use crate::driver;", 1);
        finds(imports, "src/http/mod.rs", "use ringrift_p2p::driver::Driver;", 1);
        finds(imports, "src/attic/mod.rs", "", 1);
        passes(imports, "src/node/mod.rs", "use crate::{election, membership, time, node::Event};");
        passes(imports, "src/election/core.rs", "use super::quorum; use ringrift_wire::NodeId;");
        passes(
            imports,
            "src/election/core.rs",
            "// crate::membership\n#[cfg(test)]\nmod tests { use crate::node; }",
        );
        passes(imports, "src/main.rs", "use ringrift_p2p::{cli, driver};");
        passes(imports, "src/lib.rs", "pub use crate::driver;");
    }

    #[test]
    fn pure_rooms_are_pure() {
        for (ban, _) in BANS {
            let text = format!("\nuse {ban};");
            for path in ["src/time.rs", "src/rng.rs", "src/node/event.rs", "wire/src/codec.rs"] {
                assert!(!found(purity, path, &text).is_empty(), "{ban} in {path}");
            }
            passes(purity, "src/driver/mod.rs", &text);
        }
        finds(purity, "src/election/core.rs", "use std::{\n    collections::HashMap,\n};", 2);
        finds(purity, "src/membership/mod.rs", "fn f() {\n    println!(\"x\");\n}", 2);
        finds(purity, "src/rng.rs", "#[cfg(test)]\nmod tests;\nuse std::fs;", 3);
        passes(purity, "src/node/mod.rs", "//! no HashMap\nlet operand = \"tokio\";");
        passes(
            purity,
            "src/node/mod.rs",
            "use core::fmt;\n#[cfg(test)]\nmod tests {\nuse std::fs;}",
        );
    }

    #[test]
    fn bincode_stays_in_wire() {
        finds(bytes, "src/driver/udp.rs", "\n\nuse bincode::Decode;", 3);
        finds(bytes, "tests/sim/main.rs", "bincode::encode();", 1);
        finds(bytes, "Cargo.toml", "[dependencies]\nbincode = \"2\"", 2);
        passes(bytes, "wire/src/codec.rs", "use bincode::Decode;");
        passes(bytes, "src/driver/udp.rs", "// bincode is the codec's business");
    }

    #[test]
    fn long_files_are_found() {
        let long = "//! Long.\n".repeat(MAX_LINES + 1);
        finds(length, "src/node/mod.rs", &long, MAX_LINES + 1);
        finds(length, "wire/src/codec.rs", &long, MAX_LINES + 1);
        passes(length, "tests/sim/main.rs", &long);
        passes(length, "src/node/mod.rs", &"//! Long.\n".repeat(MAX_LINES));
        passes(length, "src/node/mod.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}"));
    }

    #[test]
    fn unfinished_work_is_found() {
        for mark in ["TO-DO", "FIX-ME", "XX-X"] {
            let mark = mark.replace('-', "");
            finds(unfinished, "src/lib.rs", &format!("//! A.\n// {mark}: later"), 2);
            finds(unfinished, "README.md", &format!("{mark}(me)"), 1);
        }
        passes(unfinished, "src/lib.rs", "// mastodon, XXL, prefix me");
    }

    #[test]
    fn a_file_without_a_heading_is_found() {
        finds(heading, "src/lib.rs", "use core::fmt;\n//! Late.", 1);
        finds(heading, "wire/src/id.rs", "", 1);
        passes(heading, "src/lib.rs", "//! The map.\n");
        passes(heading, "README.md", "# Title");
    }

    #[test]
    fn tabs_are_found() {
        finds(tabs, "config/loopback.yaml", "a:\n\tb: 1", 2);
        passes(tabs, "src/lib.rs", "    let tab = '\\t';");
    }

    /// A crate that forgets to say so would be free to.
    #[test]
    fn no_crate_of_the_workspace_may_use_unsafe_code() {
        let read = |path: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            std::fs::read_to_string(path).expect("a manifest")
        };
        assert!(read("Cargo.toml").contains("[workspace.lints.rust]\nunsafe_code = \"forbid\""));
        for manifest in ["Cargo.toml", "wire/Cargo.toml"] {
            assert!(read(manifest).contains("[lints]\nworkspace = true"), "{manifest}");
        }
    }

    #[test]
    fn allows_are_found() {
        finds(allows, "src/lib.rs", "//! A.\n#[allow(dead_code)]", 2);
        finds(allows, "tests/sim/main.rs", "#![allow(dead_code)]", 1);
        passes(
            allows,
            "src/lib.rs",
            "// #[allow(dead_code)]\n#[expect(dead_code, reason = \"x\")]",
        );
    }
}
