//! What a configuration file can be told: its errors, all at once, and its warnings.

use core::fmt;
use std::path::PathBuf;

/// A place in the file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, as in `election.lease` or `hosts.a.port`; empty for the file as a whole.
    pub key: String,
    /// Where it stands; `None` when the key is absent or there is no file.
    pub at: Option<Position>,
    /// What is wrong, as a lowercase fragment.
    pub problem: String,
    /// What to do about it, as a lowercase fragment.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Every broken rule of one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file; `None` for a text that came from no file.
    pub path: Option<PathBuf>,
    /// At least one.
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// A list of one error that has no place in a file.
    pub(super) fn single(path: Option<PathBuf>, problem: String, remedy: &str) -> Self {
        let remedy = remedy.to_owned();
        Self { path, errors: vec![ConfigError { key: String::new(), at: None, problem, remedy }] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "configuration {}", path.display())?,
            None => f.write_str("configuration")?,
        }
        if let [error] = self.errors.as_slice() {
            return write!(f, ": {error}");
        }
        write!(f, ": {} errors", self.errors.len())?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl core::error::Error for ConfigErrors {}

/// Something an operator should know about a configuration that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Two voters: both are needed, the loss of either stops everything.
    TwoVoters,
    /// An even number of voters, 4 or more: as safe as one fewer, and no more available.
    EvenVoters(usize),
    /// `RINGRIFT_P2P_VOTERS` is set; the voter list has one source, the file.
    VotersInEnvironment,
    /// A foreign key at the top level that looks like a misspelling of ours.
    Lookalike {
        /// The key as it stands in the file.
        found: String,
        /// Our key that it resembles.
        ours: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoVoters => {
                f.write_str("two voters need each other: losing either leaves no leader; use 1 or 3")
            }
            Self::EvenVoters(count) => write!(
                f,
                "{count} voters survive no more failures than {}; use an odd number",
                count.saturating_sub(1)
            ),
            Self::VotersInEnvironment => f.write_str(
                "RINGRIFT_P2P_VOTERS is ignored: the voter list is `voters` of the configuration file",
            ),
            Self::Lookalike { found, ours } => {
                write!(f, "the key `{found}` is not read; did you mean `{ours}`?")
            }
        }
    }
}
