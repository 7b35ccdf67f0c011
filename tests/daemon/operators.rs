//! The README's chapter for operators, command by command.

use crate::support::NAMES;
use crate::{ALL, five};

const README: &str = include_str!("../../README.md");

/// The commands of the chapter, each with what it is said to print.
fn told() -> Vec<(String, String)> {
    let chapter = README.split("## For operators").nth(1).expect("the chapter");
    let chapter = chapter.split("\n## ").next().expect("its text");
    let mut commands: Vec<(String, String)> = Vec::new();
    for block in chapter.split("```console\n").skip(1) {
        for line in block.split("```").next().expect("an end").lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => panic!("output of no command: {line}"),
            }
        }
    }
    commands
}

/// The text without what differs from run to run: who leads, and in which term.
fn shape(text: &str) -> String {
    let named = NAMES.iter().fold(text.to_owned(), |text, name| text.replace(name, "NAME"));
    let words = named.split(' ').map(|word| {
        let number = word.trim_end().parse::<u64>().is_ok();
        if number {
            word.replace(|c: char| c.is_ascii_digit(), "").to_owned() + "N"
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_command_of_the_chapter_does_what_it_says() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let commands = told();
    assert!(commands.len() >= 6, "{commands:?}");
    let folder =
        std::path::Path::new(env!("CARGO_BIN_EXE_ringrift-p2p")).parent().expect("a folder");
    for (command, wanted) in commands {
        if !command.contains("resume") {
            cluster.make_lead(0);
        }
        let mut bash = cluster.net(0).command("bash");
        let line = format!("PATH={}:$PATH; {command}", folder.display());
        let output = bash.args(["-c", &line]).output().expect("bash runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{command}: {said}{error}");
        if wanted.is_empty() {
            assert!(said.contains("why does nobody take over?"), "{command}: {said}");
        } else {
            assert_eq!(shape(&said), shape(&wanted), "{command}");
        }
    }
    watch.judge(false);
}
