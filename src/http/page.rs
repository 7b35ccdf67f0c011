//! `GET /`: the cluster on one page for people.
//!
//! Decides what is put into the page (the names of node and cluster, and whether its buttons may be
//! shown) and what a browser may do with it. All that the page shows it asks for at the other routes,
//! as anybody could.
//!
//! Invariants:
//! 1. The page loads nothing but itself and asks nobody but this node: its `Content-Security-Policy`
//!    admits its own script and style by their hashes, and connections to where it came from.
//! 2. No other page can frame it, and no text becomes markup in it (trusted types).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

use super::answer::{Answer, Present};
use super::guard::Orders;
use crate::node::status::USUAL_LOSS;

/// The page, with places for what differs from node to node.
const PAGE: &str = include_str!("page/page.html");

/// What a browser may do with the page.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
        hash(between(PAGE, "<script>", "</script>")),
        hash(between(PAGE, "<style>", "</style>")),
    );
    // A policy that cannot be said is the strictest.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page for somebody whose orders would be taken so.
pub(super) fn answer(present: &Present<'_>, orders: Orders) -> Answer {
    let node = present.view.status.node;
    let body = PAGE
        .replacen("{orders}", orders.as_str(), 1)
        .replace("{usual_loss}", &(USUAL_LOSS / 10).to_string())
        .replace("{cluster}", &escaped(&present.facts.config.cluster))
        .replace("{node}", &escaped(node.as_str()));
    let fixed = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        fixed("x-content-type-options", "nosniff"),
        fixed("referrer-policy", "no-referrer"),
        fixed("cross-origin-opener-policy", "same-origin"),
        fixed("cross-origin-resource-policy", "same-origin"),
    ];
    let answer = Answer::text(StatusCode::OK, "text/html; charset=utf-8", body);
    headers.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value))
}

/// A source expression that admits exactly this text.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The text between two marks; empty without them.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let after = text.split_once(start).map_or("", |(_, after)| after);
    after.split_once(end).map_or("", |(inner, _)| inner)
}

/// A text that is no markup, within an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(char),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixtures::{facts, present};
    use crate::telemetry::events::NAMES;
    use crate::telemetry::fixtures;

    fn page(orders: Orders) -> Answer {
        let (status, facts) = (fixtures::leader(), facts());
        answer(&present(&status, &facts), orders)
    }

    /// Invariant 1.
    #[test]
    fn a_browser_may_run_the_page_and_nothing_else() {
        let answer = page(Orders::Open);
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        // Of what is really sent, not of what stands in the file.
        for (directive, start, end) in
            [("script-src", "<script>", "</script>"), ("style-src", "<style>", "</style>")]
        {
            assert_eq!(answer.body.matches(start).count(), 1, "{start}");
            let sent = hash(between(&answer.body, start, end));
            assert!(policy.contains(&format!("{directive} {sent};")), "{policy}");
        }
        // That of the empty text, known from elsewhere.
        assert_eq!(hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
    }

    /// Invariant 1.
    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_sets_no_markup() {
        let body = page(Orders::Open).body;
        let outside = |mark: &str| {
            let places =
                body.match_indices(mark).map(|(at, _)| &body[at..(at + 60).min(body.len())]);
            let own = ["http://www.w3.org/2000/svg", "http://${peer.host"];
            places.filter(|it| !own.iter().any(|own| it.starts_with(own))).collect::<Vec<_>>()
        };
        for mark in ["http://", "https://", "url(", "@import", "<link rel=\"stylesheet", "src="] {
            assert_eq!(outside(mark), [""; 0], "{mark}");
        }
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            " style=\"",
            " onclick=",
        ] {
            assert!(!body.contains(sink), "{sink}");
        }
        assert!(
            !body.contains("localStorage") && !body.contains("document.cookie"),
            "it keeps nothing"
        );
        assert!(body.len() < 64 * 1024, "{} bytes", body.len());
    }

    #[test]
    fn the_page_says_how_orders_are_taken() {
        for orders in [Orders::Open, Orders::WithToken, Orders::Never] {
            let body = page(orders).body;
            assert!(body.contains(&format!("data-orders=\"{}\"", orders.as_str())), "{orders:?}");
            assert!(body.contains("<title>nebius-backbone-1</title>"));
            for place in ["{orders}", "{cluster}", "{node}"] {
                assert!(!body.contains(place), "{place} is left");
            }
        }
    }

    #[test]
    fn a_name_is_no_markup() {
        let (status, mut facts) = (fixtures::leader(), facts());
        let mut config = (*facts.config).clone();
        config.cluster = "\"><script>alert('x')</script>&".to_owned();
        facts.config = std::sync::Arc::new(config);
        let body = answer(&present(&status, &facts), Orders::Never).body;
        assert!(body.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"));
        assert_eq!(body.matches("<script>").count(), 1);
    }

    #[test]
    fn the_page_follows_every_event_there_is() {
        let list = between(PAGE, "const EVENTS = [", "]");
        let mut listed: Vec<&str> = list.split(',').map(|it| it.trim().trim_matches('"')).collect();
        let mut names = NAMES.to_vec();
        listed.sort_unstable();
        names.sort_unstable();
        assert_eq!(listed, names);
    }

    #[test]
    fn the_page_can_be_read_without_seeing_it() {
        for part in
            ["<html lang=\"en\"", "<header>", "<main ", "<footer", "role=\"status\"", "<noscript>"]
        {
            assert!(PAGE.contains(part), "{part}");
        }
        // Every section has a heading of its own, every table a name and headed columns.
        for section in PAGE.split("<section").skip(1) {
            let name = between(section, "aria-labelledby=\"", "\"");
            assert!(
                name.is_empty() == section.starts_with("><h1>"),
                "{}",
                section.get(..80).unwrap_or(section)
            );
            assert!(name.is_empty() || section.contains(&format!("id=\"{name}\"")), "{name}");
        }
        assert_eq!(
            PAGE.matches("<th ").count(),
            PAGE.matches("<th role=").count() + PAGE.matches("<th scope=").count()
        );
    }
}
