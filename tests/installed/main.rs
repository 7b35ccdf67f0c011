//! What an operator installs beside the program, held against the programs that read it: the service unit, the manual
//! pages and completions, the package, the alert rules and the dashboard.
//!
//! A program that is missing on this machine is named, and is a failure where `CI` is set.

#![cfg(test)]

mod booted;
mod hosts;
mod notify;
mod package;
mod pages;
mod prometheus;
mod runbook;
mod scraped;
#[expect(dead_code, reason = "the other test binaries use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod unit;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A file of the project.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a file of the project.
#[track_caller]
fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A command, unless this machine does not have the program: then it says so, and fails where `CI` is set.
#[track_caller]
fn tool(program: &str) -> Option<Command> {
    let mut look = Command::new("sh");
    look.args(["-c", "command -v -- \"$0\"", program]).stdout(Stdio::null());
    if look.status().is_ok_and(|found| found.success()) {
        return Some(Command::new(program));
    }
    assert!(std::env::var_os("CI").is_none(), "{program} is missing");
    eprintln!("not tested: {program} is missing");
    None
}

/// Both outputs of a command that must succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(status.success(), "{command:?} ended with {status}:\n{said}");
    said
}
