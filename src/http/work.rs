//! What is shown of a leader's work: hooks and a command.

use serde_json::{Value, json};

/// The work of a leader on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Whether this node has any to do when it leads.
    pub configured: bool,
    /// In which term it runs or is ending; `None` while there is none.
    pub term: Option<u64>,
    /// Whether it is ending.
    pub ending: bool,
    /// Why the lead was given up for it the last time.
    pub failure: Option<String>,
}

impl Work {
    /// As `/status` says it; null on a node without work.
    pub(super) fn to_value(&self) -> Value {
        let state = match (self.term, self.ending) {
            _ if !self.configured => return Value::Null,
            (None, _) => "idle",
            (Some(_), false) => "running",
            (Some(_), true) => "ending",
        };
        json!({ "state": state, "term": self.term, "last_failure": self.failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_shown_where_there_is_any() {
        assert_eq!(Work::default().to_value(), Value::Null);
        let work = Work { configured: true, term: Some(7), ending: true, failure: None };
        let shown = json!({ "state": "ending", "term": 7, "last_failure": null });
        assert_eq!(work.to_value(), shown);
    }
}
