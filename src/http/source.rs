//! Whom a node follows that takes no part in gossip, for answers.

use ringrift_wire::NodeId;
use serde_json::{Value, json};

use super::answer::{Present, seconds};
use crate::time::Instant;

/// The nodes that this one asks over HTTP, and the one whose answer it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// All of them, in the order of asking.
    pub urls: Vec<String>,
    /// The proxy on the way, without its password.
    pub proxy: Option<String>,
    /// The one that answered last.
    pub heard: Option<Heard>,
    /// Those that did not answer when they were last asked, each with the reason.
    pub failing: Vec<(String, String)>,
}

/// An answer that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Where it came from.
    pub url: String,
    /// Which node gave it.
    pub node: NodeId,
    /// When it was asked for.
    pub at: Instant,
}

impl Source {
    /// As `/status` shows it.
    pub(super) fn to_value(&self, present: &Present<'_>) -> Value {
        let heard = self.heard.as_ref();
        let failing = self.failing.iter().map(|(url, why)| json!({ "url": url, "error": why }));
        json!({
            "url": heard.map(|heard| heard.url.as_str()),
            "node_id": heard.map(|heard| heard.node.as_str()),
            "heard_seconds_ago": heard.map(|heard| seconds(present.ago(heard.at))),
            "urls": self.urls,
            "proxy": self.proxy,
            "failing": failing.collect::<Vec<_>>(),
        })
    }
}
