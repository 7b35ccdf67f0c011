//! How the program ends: its exit codes, and what it says when it fails.

use core::fmt;
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::config::identity::IdentityError;

/// Every exit code of the program's own; the numbers are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what was asked; a node stopped in good order.
    Success,
    /// 64: wrong arguments or a wrong configuration; starting again changes nothing.
    Usage,
    /// 69: an address cannot be bound, or another live process has this node's name; of `status`: the node cannot be reached or gives no usable
    /// answer.
    Unavailable,
    /// 70: an invariant of the program was broken; a bug.
    Invariant,
    /// 74: the vote store cannot be locked, read or written.
    VoteStore,
    /// What a guarded node or a command ended with; 128 and the signal that killed it.
    PassedOn(u8),
    /// 75: the node refuses what was asked; nothing has changed, and it may be asked again.
    Refused,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::Invariant => 70,
            Self::VoteStore => 74,
            Self::PassedOn(code) => code,
            Self::Refused => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// What is printed on standard error, after `error: `; a lowercase fragment.
    pub message: String,
}

impl Failure {
    /// A failure with its code and its message.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Failure {}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::new(Exit::Usage, errors.to_string())
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::new(Exit::Usage, error.to_string())
    }
}
