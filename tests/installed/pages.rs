//! Manual pages and completions: read by `man` and by the shells, without a complaint.

use std::process::{Command, Stdio};

use crate::{said, tool};

fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift-p2p"));
    command.args(words);
    command
}

/// The subcommands that `--help` lists.
fn subcommands() -> Vec<String> {
    let help = said(&mut program(&["--help"]));
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names = listed.take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    names.filter(|name| name != "help").collect()
}

#[test]
fn each_command_has_a_manual_page_that_man_shows_without_a_warning() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().to_str().expect("text");
    assert_eq!(said(&mut program(&["man", folder])), "");
    let mut pages = vec!["ringrift-p2p".to_owned()];
    pages.extend(subcommands().iter().map(|name| format!("ringrift-p2p-{name}")));
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let file = dir.path().join(format!("{page}.1"));
        assert!(file.exists(), "{page} has no manual page");
        let Some(mut man) = tool("man") else { return };
        man.args(["--warnings", "-E", "UTF-8", "-Tutf8", "-l"]).arg(file);
        let output = man.env("MANWIDTH", "100").stdin(Stdio::null()).output().expect("man runs");
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaints.is_empty(), "{page}: {complaints}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(&page), "{page} shows nothing");
    }
}

#[test]
fn the_page_of_the_program_goes_to_standard_output() {
    let page = said(&mut program(&["man"]));
    assert!(page.contains(".TH ringrift-p2p 1"), "{page}");
    assert!(page.contains("Exit codes"), "{page}");
}

#[test]
fn the_shells_read_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = said(&mut program(&["completions", shell]));
        for name in subcommands() {
            assert!(completions.contains(&name), "{shell} does not complete {name}");
        }
        let Some(mut check) = tool(shell) else { continue };
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("completions");
        std::fs::write(&file, &completions).expect("a file");
        assert_eq!(said(check.arg("-n").arg(&file)), "", "{shell}");
    }
}

#[test]
fn bash_completes_a_command_and_its_options() {
    let completions = said(&mut program(&["completions", "bash"]));
    let ask = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let script = format!(
            "{completions}\nCOMP_WORDS=({line}); COMP_CWORD={}; COMP_LINE='{line}'\n\
             _ringrift__p2p ringrift-p2p '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2]
        );
        let found = said(Command::new("bash").args(["-c", &script]));
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ask("ringrift-p2p sta"), ["status"]);
    assert!(ask("ringrift-p2p step-down --u").contains(&"--url".to_owned()));
    assert!(ask("ringrift-p2p run --gua").contains(&"--guardian".to_owned()));
}
