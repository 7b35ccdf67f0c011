//! How this node's view compares with that of the process that it is to replace, for answers.

use serde_json::{Value, json};

use super::answer::{Present, seconds};
use crate::time::Instant;

/// The last comparison with another process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shadow {
    /// Where that process answers.
    pub url: String,
    /// When it was asked for the answer that was compared.
    pub compared_at: Option<Instant>,
    /// Why there was no answer when it was last asked.
    pub error: Option<String>,
    /// Each field of both that was compared.
    pub fields: Vec<Field>,
}

/// One field of `/status`, as both say it.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What this node says.
    pub ours: Value,
    /// What the other process says; null, too, where it says nothing.
    pub theirs: Value,
    /// Since when they disagree; `None` while they agree.
    pub since: Option<Instant>,
}

impl Shadow {
    /// As `/status` shows it.
    pub(super) fn to_value(&self, present: &Present<'_>) -> Value {
        let field = |field: &Field| {
            let shown = json!({
                "ours": field.ours,
                "theirs": field.theirs,
                "agrees": field.since.is_none(),
                "disagrees_seconds": field.since.map(|since| seconds(present.ago(since))),
            });
            (field.name.to_owned(), shown)
        };
        json!({
            "url": self.url,
            "compared_seconds_ago": self.compared_at.map(|at| seconds(present.ago(at))),
            "error": self.error,
            "fields": self.fields.iter().map(field).collect::<serde_json::Map<_, _>>(),
        })
    }
}
