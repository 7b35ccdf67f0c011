//! `completions` and `man`: what shells and `man` know of this program, written from the arguments themselves.

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use clap_mangen::{Man, generate_to};
use std::path::PathBuf;

use super::exit::{Exit, Failure};

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// The arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder to write a page for each subcommand to
    ///
    /// Default: only the page of the program itself, to standard output.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// What a shell has to read to complete the arguments of `command`.
#[must_use]
pub fn completions(args: &CompletionsArgs, mut command: Command) -> String {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    generate(args.shell, &mut command, &name, &mut text);
    // clap_complete 4.6 calls a program with a hyphen by two names in its script for bash, one where it finds the
    // subcommand and another where it knows the options of it.
    let (found, known) = (name.replace('-', "__"), name.replace('-', "__subcmd__"));
    String::from_utf8_lossy(&text).replace(&known, &found)
}

/// The manual page of `command`, or nothing where the pages were written to a folder.
///
/// # Errors
/// 69: the folder cannot be written.
pub fn man(args: &ManArgs, command: Command) -> Result<String, Failure> {
    let Some(folder) = &args.folder else {
        let mut text = Vec::new();
        let written = Man::new(command).render(&mut text);
        written.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| generate_to(command, folder));
    let failed = |error| format!("cannot write to {}: {error}", folder.display());
    written.map_err(|error| Failure::new(Exit::Unavailable, failed(error)))?;
    Ok(String::new())
}
