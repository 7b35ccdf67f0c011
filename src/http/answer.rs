//! Answers as plain values, and the numbers and times that stand in them.

use core::time::Duration;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use ringrift_wire::NodeId;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

use super::facts::Facts;
use super::machine::Reading;
use crate::telemetry::View;
use crate::time::Instant;

/// Status, headers and text of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Box<HeaderMap>,
    pub(super) body: String,
}

impl Answer {
    /// A JSON answer.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        let mut body = body.to_string();
        body.push('\n');
        Self::text(status, "application/json", body)
    }

    /// An answer of any type.
    pub(super) fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let mut headers = Box::new(HeaderMap::new());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body }
    }

    /// An error: a sentence for people and a word for programs.
    pub(super) fn error(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        Self::json(status, &json!({ "error": error.into(), "error_code": code }))
    }

    /// The same answer with one more header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same answer; the connection ends after it.
    pub(super) fn closing(self) -> Self {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }
}

/// All that an answer is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present<'a> {
    pub(super) view: View<'a>,
    pub(super) wall: SystemTime,
    pub(super) facts: &'a Facts,
    pub(super) machine: Reading,
}

impl Present<'_> {
    /// Where a node answers HTTP.
    pub(super) fn http_address(&self, id: NodeId) -> String {
        let gossip = self.view.status.member(id).and_then(|member| member.address);
        self.facts.http_address(id, gossip.unwrap_or(self.facts.address))
    }

    /// The present in RFC 3339, UTC.
    pub(super) fn timestamp(&self) -> String {
        rfc3339(self.wall)
    }

    /// A past moment in RFC 3339, UTC.
    pub(super) fn timestamp_of(&self, moment: Instant) -> String {
        rfc3339(self.wall.checked_sub(self.ago(moment)).unwrap_or(UNIX_EPOCH))
    }

    /// A past moment in Unix seconds.
    pub(super) fn unix(&self, moment: Instant) -> f64 {
        let now = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        seconds(now.saturating_sub(self.ago(moment)))
    }

    /// How long ago a moment was.
    pub(super) fn ago(&self, moment: Instant) -> Duration {
        self.view.now.since(moment)
    }

    /// Where the HTTP server of the leader is, `host:port`; `None` without a leader.
    pub(super) fn leader_address(&self) -> Option<String> {
        self.view.leader.map(|leader| self.http_address(leader))
    }

    /// Why there is no leader; `None` while there is one.
    pub(super) fn no_leader_reason(&self) -> Option<&str> {
        match self.view.leader {
            Some(_) => None,
            None if self.view.status.no_leader_reason.is_empty() => Some("no leader is known yet"),
            None => Some(&self.view.status.no_leader_reason),
        }
    }
}

fn rfc3339(moment: SystemTime) -> String {
    let millis = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let timestamp = i64::try_from(millis)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    timestamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// Seconds, down to whole microseconds, so that no lease looks longer than it is.
pub(super) fn seconds(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e6
}

/// Milliseconds, down to whole microseconds.
pub(super) fn millis(length: Duration) -> f64 {
    length.as_micros() as f64 / 1e3
}

/// A name or null.
pub(super) fn name(id: Option<NodeId>) -> Value {
    id.map_or(Value::Null, |id| Value::from(id.as_str()))
}

/// A list of names.
pub(super) fn names(ids: impl IntoIterator<Item = NodeId>) -> Value {
    ids.into_iter().map(|id| Value::from(id.as_str())).collect()
}

/// An object made of the keys of several, in order.
pub(super) fn object<const N: usize>(parts: [Value; N]) -> Value {
    let mut whole = Map::new();
    for part in parts {
        if let Value::Object(part) = part {
            whole.extend(part);
        }
    }
    Value::Object(whole)
}
