//! Which request means what: paths, methods and queries.

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::answer::{Answer, Present};
use super::facts::Facts;
use super::guard::{self, Ends, Orders};
use super::verbs::Verb;
use super::{election, members, page, probes, status};
use crate::telemetry::{Metrics, metrics};

/// What a request that may be answered asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To be told something.
    Tell(Page),
    /// To be told what happens, as it happens.
    Follow,
    /// To have something done.
    Act(Deed),
}

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home { orders: Orders },
    Health,
    Ready,
    Status { alive_only: bool },
    Election,
    Leader,
    Members,
    Metrics,
}

impl Page {
    /// Whether it grows with the cluster. The others, which probes ask for all the time, never wait for one that
    /// does.
    pub(super) const fn is_long(self) -> bool {
        match self {
            Self::Health | Self::Ready | Self::Leader => false,
            Self::Home { .. }
            | Self::Status { .. }
            | Self::Election
            | Self::Members
            | Self::Metrics => true,
        }
    }
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A fresh election.
    Trigger,
    /// What an operator wants of the lead.
    Move(Verb),
    /// The key ring is read again.
    ReloadKeys,
}

/// Every path and what it stands for; `/status` as it is without a query, `/` for a stranger.
const ROUTES: [(&str, Wish); 17] = [
    ("/", Wish::Tell(Page::Home { orders: Orders::Never })),
    ("/health", Wish::Tell(Page::Health)),
    ("/ready", Wish::Tell(Page::Ready)),
    ("/status", Wish::Tell(Page::Status { alive_only: true })),
    ("/election/status", Wish::Tell(Page::Election)),
    ("/election/trigger", Wish::Act(Deed::Trigger)),
    ("/election/start", Wish::Act(Deed::Trigger)),
    ("/election/step_down", Wish::Act(Deed::Move(Verb::StepDown))),
    ("/election/transfer", Wish::Act(Deed::Move(Verb::Transfer))),
    ("/election/drain", Wish::Act(Deed::Move(Verb::Drain))),
    ("/election/resume", Wish::Act(Deed::Move(Verb::Resume))),
    ("/keys/reload", Wish::Act(Deed::ReloadKeys)),
    ("/leader", Wish::Tell(Page::Leader)),
    ("/members", Wish::Tell(Page::Members)),
    ("/events", Wish::Follow),
    ("/metrics", Wish::Tell(Page::Metrics)),
    ("/metrics/prometheus", Wish::Tell(Page::Metrics)),
];

/// Every route that is served: method and path.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|(path, wish)| match wish {
        Wish::Tell(_) | Wish::Follow => ("GET", *path),
        Wish::Act(_) => ("POST", *path),
    })
}

/// Whether what a connection begins with asks for a short page, as far as these bytes tell.
pub(super) fn begins_short(first: &[u8]) -> bool {
    let asked = first.strip_prefix(b"GET ").or_else(|| first.strip_prefix(b"HEAD "));
    let Some(path) = asked.and_then(|rest| {
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'?'))?;
        rest.get(..end)
    }) else {
        return false;
    };
    let known = ROUTES.iter().find(|(known, _)| known.as_bytes() == path);
    matches!(known, Some((_, Wish::Tell(page))) if !page.is_long())
}

/// What a request asks for, judged by its head alone.
///
/// # Errors
/// The answer: 404, 405, 400 for a malformed query, and for a POST what [`guard::admit`] says.
pub(super) fn wish(parts: &Parts, ends: Ends, facts: &Facts) -> Result<Wish, Answer> {
    let path = parts.uri.path();
    let Some(&(_, wish)) = ROUTES.iter().find(|(known, _)| *known == path) else {
        return Err(Answer::error(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such page"));
    };
    match wish {
        Wish::Tell(_) | Wish::Follow => {
            if parts.method != Method::GET && parts.method != Method::HEAD {
                return Err(wrong_method("GET, HEAD"));
            }
            if let Wish::Tell(Page::Status { .. }) = wish {
                let alive_only = alive_only(parts.uri.query().unwrap_or_default())?;
                return Ok(Wish::Tell(Page::Status { alive_only }));
            }
            if let Wish::Tell(Page::Home { .. }) = wish {
                let orders = guard::orders(parts, ends, facts);
                return Ok(Wish::Tell(Page::Home { orders }));
            }
        }
        Wish::Act(_) => {
            if parts.method != Method::POST {
                return Err(wrong_method("POST"));
            }
            guard::admit(parts, ends, facts)?;
        }
    }
    Ok(wish)
}

fn wrong_method(allowed: &'static str) -> Answer {
    let text = "this page does not take that method";
    Answer::error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", text)
        .with(header::ALLOW, HeaderValue::from_static(allowed))
}

/// The query of `/status`; unknown keys are left to whoever sent them.
fn alive_only(query: &str) -> Result<bool, Answer> {
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("alive_only="));
    match values.next_back().map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(Answer::error(
            StatusCode::BAD_REQUEST,
            "BAD_REQUEST",
            "alive_only is neither true nor false",
        )),
    }
}

/// The page, true at the present moment.
pub(super) fn tell(wanted: Page, present: &Present<'_>, numbers: &Metrics) -> Answer {
    match wanted {
        Page::Home { orders } => page::answer(present, orders),
        Page::Health => probes::health(present),
        Page::Ready => probes::ready(present),
        Page::Status { alive_only } => status::answer(present, alive_only),
        Page::Election => election::status(present),
        Page::Leader => probes::leader(present),
        Page::Members => members::table(present),
        Page::Metrics => match numbers.render(&present.view) {
            Ok(text) => Answer::text(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Answer::error(status, "INTERNAL", error.to_string())
            }
        },
    }
}

#[cfg(test)]
mod tests;
