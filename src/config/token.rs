//! The token: what a program shows to be allowed to change something over HTTP.
//!
//! `RINGRIFT_CLUSTER_AUTH_TOKEN`, else the file that `RINGRIFT_CLUSTER_AUTH_TOKEN_FILE` names, else
//! `~/.ringrift/cluster_auth_token` if it exists. Never an argument: those are seen by every user.
//!
//! 1. A token that was meant and cannot be used is an error, never no token.
//! 2. It is shown nowhere, and compared in constant time.

use core::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq as _;

use super::Surroundings;

/// The place of the token below the user's home.
const IN_HOME: &str = ".ringrift/cluster_auth_token";

/// The longest token, in bytes.
const LONGEST: usize = 512;

/// A secret of the cluster's operators.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token of this text, without white space around it; `None` if it cannot stand in a header: it
    /// is empty, longer than 512 bytes, or has other than visible ASCII characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let good = !text.is_empty()
            && text.len() <= LONGEST
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Self(text.to_owned()))
    }

    /// Whether this was shown; takes as long for every text of its length.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }

    /// The value of an `Authorization` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A token was meant and cannot be used; holds where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    place: String,
    why: String,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token of {} cannot be used: {}", self.place, self.why)
    }
}

impl core::error::Error for TokenError {}

/// The token of this process, if one is configured.
///
/// # Errors
/// One is, and it cannot be read or is none.
pub fn find(around: &Surroundings) -> Result<Option<Token>, TokenError> {
    if let Some(token) = &around.token {
        return usable("RINGRIFT_CLUSTER_AUTH_TOKEN".to_owned(), token).map(Some);
    }
    let at_home = || around.home.as_ref().map(|home| home.join(IN_HOME));
    match (&around.token_file, at_home()) {
        (Some(path), _) => read(path, false),
        (None, Some(path)) => read(&path, true),
        (None, None) => Ok(None),
    }
}

fn read(path: &Path, may_be_missing: bool) -> Result<Option<Token>, TokenError> {
    let place = PathBuf::from(path).display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => usable(place, &text).map(Some),
        Err(error) if may_be_missing && error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TokenError { place, why: error.to_string() }),
    }
}

fn usable(place: String, text: &str) -> Result<Token, TokenError> {
    Token::new(text).ok_or_else(|| TokenError {
        place,
        why: format!("a token is 1 to {LONGEST} visible ASCII characters without spaces"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(token: Option<&str>, file: Option<&Path>, home: Option<&Path>) -> Surroundings {
        Surroundings {
            token: token.map(ToOwned::to_owned),
            token_file: file.map(Path::to_owned),
            home: home.map(Path::to_owned),
            ..Surroundings::default()
        }
    }

    #[test]
    fn the_environment_comes_before_the_file_and_the_file_before_the_home() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(find(&around(None, None, None)), Ok(None));
        assert_eq!(find(&around(None, None, Some(home.path()))), Ok(None));
        fs::create_dir(home.path().join(".ringrift")).unwrap();
        fs::write(home.path().join(IN_HOME), "of-home\n").unwrap();
        let file = home.path().join("token");
        fs::write(&file, " of-file \n").unwrap();
        let home = Some(home.path());
        for (around, wanted) in [
            (around(Some("of-env"), Some(&file), home), "of-env"),
            (around(None, Some(&file), home), "of-file"),
            (around(None, None, home), "of-home"),
        ] {
            assert_eq!(find(&around), Ok(Token::new(wanted)));
        }
    }

    #[test]
    fn a_token_that_was_meant_is_never_passed_over() {
        let none = Path::new("/nowhere/token");
        let error = find(&around(None, Some(none), None)).unwrap_err().to_string();
        assert!(error.contains("/nowhere/token"), "{error}");
        for bad in ["two words", "\u{e9}", "a\u{7}b", &"x".repeat(513)] {
            let error = find(&around(Some(bad), None, None)).unwrap_err().to_string();
            assert!(error.contains("RINGRIFT_CLUSTER_AUTH_TOKEN"), "{error}");
            assert!(!error.contains(bad), "{error}");
        }
    }

    #[test]
    fn only_the_same_text_is_the_token() {
        let token = Token::new("secret").unwrap();
        assert!(token.is(b"secret"));
        for shown in ["", "secre", "secret2", "Secret", "secret "] {
            assert!(!token.is(shown.as_bytes()), "{shown}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert_eq!(token.to_header(), "Bearer secret");
    }
}
