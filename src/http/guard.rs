//! Who may POST: a process of this machine that no foreign web page speaks through.
//!
//! Without a configured token only a loopback peer is admitted (an IPv4 address mapped into IPv6
//! counts as what it stands for). With one, whoever shows it is, from wherever, and nobody else: as
//! `Authorization: Bearer T` or `X-RingRift-Auth: T`. Everybody else is told 401.
//!
//! A browser on this machine is a loopback peer too, and a page from anywhere may make it send a
//! POST. Such a request is refused with 403, whatever its source:
//! - `Host` must be ours: `localhost`, a loopback address, the address that the connection reached,
//!   this node's name, or its configured name or address. A page that had its own name resolve to
//!   this machine (DNS rebinding) still sends its own name. No browser omits `Host`, so a request
//!   without one is not refused for it.
//! - `Origin`, when sent, must be `http://` and exactly the `Host`; `null` is foreign.
//! - `Sec-Fetch-Site`, when sent, must be `same-origin` or `none`.
//!
//! A loopback peer with `Forwarded`, `X-Forwarded-For` or a relative of theirs is a proxy that
//! speaks for somebody else, and is refused with 403 as well.

use core::net::{IpAddr, SocketAddr};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, StatusCode};

use super::answer::Answer;
use super::facts::Facts;
use crate::config::token::Token;

/// Headers by which a proxy says for whom it speaks.
const PROXY_HEADERS: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/// What stands before a token in `Authorization`.
const BEARER: &[u8] = b"Bearer ";

/// The header that holds a token alone.
const OWN_HEADER: &str = "x-ringrift-auth";

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Who asks.
    pub(super) peer: SocketAddr,
    /// The address of ours that was reached.
    pub(super) local: SocketAddr,
}

/// Whether a POST by the page that a request asks for would be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orders {
    /// It would.
    Open,
    /// With the token.
    WithToken,
    /// Not from there.
    Never,
}

impl Orders {
    /// The word for the page.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::WithToken => "token",
            Self::Never => "never",
        }
    }
}

/// How orders would be taken of a page that is answered to this request: by the rules of [`admit`],
/// but for `Origin` and `Sec-Fetch-Site`, which say here where the person came from and not who orders.
pub(super) fn orders(parts: &Parts, ends: Ends, facts: &Facts) -> Orders {
    let is_local = ends.peer.ip().to_canonical().is_loopback();
    if !names_us(parts, ends, facts) || (is_local && is_proxied(&parts.headers)) {
        Orders::Never
    } else if facts.token.is_some() {
        Orders::WithToken
    } else if is_local {
        Orders::Open
    } else {
        Orders::Never
    }
}

/// Admits a POST, or says why not.
///
/// # Errors
/// The answer: 403 or 401.
pub(super) fn admit(parts: &Parts, ends: Ends, facts: &Facts) -> Result<(), Answer> {
    let headers = &parts.headers;
    if !names_us(parts, ends, facts) {
        return Err(forbidden("the Host header does not name this node"));
    }
    let hosts = hosts(parts);
    let host = hosts.first().and_then(Option::as_ref);
    if !headers.get_all(header::ORIGIN).iter().all(|origin| is_same(origin, host)) {
        return Err(forbidden("the request comes from a page of another origin"));
    }
    let is_ours = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if !headers.get_all("sec-fetch-site").iter().all(is_ours) {
        return Err(forbidden("the request comes from a page of another origin"));
    }
    let is_local = ends.peer.ip().to_canonical().is_loopback();
    let admitted = facts.token.as_ref().map_or(is_local, |token| shows(headers, token));
    if !admitted {
        return Err(unauthorized());
    }
    if is_local && is_proxied(headers) {
        return Err(forbidden("the request comes through a proxy"));
    }
    Ok(())
}

/// Everything that a request names as its host; `None` for what is no name.
fn hosts(parts: &Parts) -> Vec<Option<Authority>> {
    let hosts = parts.headers.get_all(header::HOST).iter().map(authority);
    hosts.chain(parts.uri.authority().cloned().map(Some)).collect()
}

/// Whether the host that a request names is this node, however often it names one.
fn names_us(parts: &Parts, ends: Ends, facts: &Facts) -> bool {
    let is_own = |host: &Authority| is_own(host, ends.local, facts);
    hosts(parts).iter().all(|host| host.as_ref().is_some_and(is_own))
}

/// Whether the token is shown, in one of its two headers.
fn shows(headers: &HeaderMap, token: &Token) -> bool {
    let bearer = |value: &HeaderValue| {
        let (scheme, shown) = value.as_bytes().split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| token.is(shown))
    };
    let plain = headers.get_all(OWN_HEADER).iter().any(|value| token.is(value.as_bytes()));
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer);
    bearers.any(|shown| shown) || plain
}

fn is_proxied(headers: &HeaderMap) -> bool {
    PROXY_HEADERS.iter().any(|name| headers.contains_key(HeaderName::from_static(name)))
}

fn forbidden(why: &str) -> Answer {
    Answer::error(StatusCode::FORBIDDEN, "FORBIDDEN", why)
}

fn unauthorized() -> Answer {
    Answer::error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "unauthorized")
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

fn is_own(host: &Authority, local: SocketAddr, facts: &Facts) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let name = host.host();
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    match literal.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback()
                || address == local.ip().to_canonical()
                || facts.is_own_address(address)
        }
        Err(_) => name.eq_ignore_ascii_case("localhost") || facts.is_own_name(name),
    }
}

fn is_same(origin: &HeaderValue, host: Option<&Authority>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixtures::{facts, head, post};
    use hyper::Method;

    const LOOPBACK: &str = "127.0.0.1:4000";

    /// The status of a POST from `peer` with these headers; 200 stands for admitted.
    fn verdict(peer: &str, headers: &[(&str, &str)]) -> u16 {
        verdict_at(peer, "/election/trigger", headers)
    }

    fn verdict_at(peer: &str, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let (peer, local) = (peer.parse().unwrap(), "100.64.0.7:8770".parse().unwrap());
        let verdict = admit(&post(uri, headers), Ends { peer, local }, &facts());
        verdict.map_or_else(|answer| answer.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_loopback_is_admitted_without_a_token() {
        for peer in [LOOPBACK, "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(verdict(peer, &[("host", "localhost:8770")]), 200, "{peer}");
        }
        for peer in ["100.64.0.2:1", "[fd00::1]:1", "[::ffff:100.64.0.2]:1", "[::127.0.0.1]:1"] {
            assert_eq!(verdict(peer, &[("host", "localhost:8770")]), 401, "{peer}");
        }
    }

    #[test]
    fn with_a_token_whoever_shows_it_is_admitted_and_nobody_else() {
        let facts = Facts { token: Token::new("t0ken"), ..facts() };
        let verdict = |peer: &str, headers: &[(&str, &str)]| {
            let headers = [&[("host", "localhost")], headers].concat();
            let ends = Ends { peer: peer.parse().unwrap(), local: LOOPBACK.parse().unwrap() };
            let verdict = admit(&post("/election/trigger", &headers), ends, &facts);
            verdict.map_or_else(|answer| answer.status.as_u16(), |()| 200)
        };
        for peer in [LOOPBACK, "100.64.0.2:1", "[fd00::1]:1"] {
            assert_eq!(verdict(peer, &[]), 401, "{peer}");
            for good in [
                ("authorization", "Bearer t0ken"),
                ("authorization", "bearer t0ken"),
                ("x-ringrift-auth", "t0ken"),
            ] {
                assert_eq!(verdict(peer, &[good]), 200, "{peer} {good:?}");
            }
            for bad in [
                ("authorization", "Bearer t0ke"),
                ("authorization", "Bearer t0ken2"),
                ("authorization", "Basic t0ken"),
                ("authorization", "t0ken"),
                ("authorization", ""),
                ("x-ringrift-auth", "Bearer t0ken"),
                ("x-ringrift-auth", ""),
            ] {
                assert_eq!(verdict(peer, &[bad]), 401, "{peer} {bad:?}");
            }
            let page = [("authorization", "Bearer t0ken"), ("origin", "http://evil.example")];
            assert_eq!(verdict(peer, &page), 403, "a page of another origin, token or not");
        }
    }

    #[test]
    fn own_hosts_are_admitted() {
        for host in [
            "localhost",
            "LOCALHOST:8770",
            "127.0.0.3:8770",
            "[::1]:8770",
            "100.64.0.1:8770",
            "100.64.0.7:8770",
            "nebius-backbone-1:8770",
        ] {
            assert_eq!(verdict(LOOPBACK, &[("host", host)]), 200, "{host}");
        }
        assert_eq!(verdict(LOOPBACK, &[]), 200);
    }

    #[test]
    fn foreign_hosts_are_refused() {
        for host in [
            "evil.example",
            "evil.example:8770",
            "localhost.evil.example",
            "100.64.0.2:8770",
            "127.0.0.1@evil.example",
            "hetzner-cpu1:8770",
            "",
            "a b",
        ] {
            assert_eq!(verdict(LOOPBACK, &[("host", host)]), 403, "{host}");
            assert_eq!(verdict("100.64.0.2:1", &[("host", host)]), 403, "{host}");
        }
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(verdict(LOOPBACK, &twice), 403);
        assert_eq!(verdict_at(LOOPBACK, "http://evil.example/", &[("host", "localhost")]), 403);
    }

    #[test]
    fn foreign_origins_are_refused() {
        let host = ("host", "localhost:8770");
        assert_eq!(verdict(LOOPBACK, &[host, ("origin", "http://localhost:8770")]), 200);
        for origin in
            ["http://evil.example", "http://localhost:3000", "https://localhost:8770", "null"]
        {
            assert_eq!(verdict(LOOPBACK, &[host, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(verdict(LOOPBACK, &[("origin", "http://localhost:8770")]), 403);
    }

    #[test]
    fn requests_of_pages_on_other_sites_are_refused() {
        let host = ("host", "localhost:8770");
        for (site, expected) in
            [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
        {
            assert_eq!(verdict(LOOPBACK, &[host, ("sec-fetch-site", site)]), expected, "{site}");
        }
    }

    /// The page has its buttons exactly where its own POST would be admitted.
    #[test]
    fn the_page_is_told_what_a_post_of_its_own_would_be_told() {
        let token = Facts { token: Token::new("t0ken"), ..facts() };
        let proxied = ("x-forwarded-for", "10.0.0.1");
        for facts in [&facts(), &token] {
            for peer in [LOOPBACK, "100.64.0.2:1", "[::ffff:127.0.0.1]:1"] {
                for host in ["localhost:8770", "100.64.0.7:8770", "evil.example", "hetzner-cpu1"] {
                    for more in [None, Some(proxied)] {
                        let ends = Ends {
                            peer: peer.parse().unwrap(),
                            local: "100.64.0.7:8770".parse().unwrap(),
                        };
                        let asked: Vec<_> = core::iter::once(("host", host)).chain(more).collect();
                        let orders = orders(&head(Method::GET, "/", &asked), ends, facts);
                        let origin = format!("http://{host}");
                        let mut sent = asked.clone();
                        sent.extend([
                            ("origin", origin.as_str()),
                            ("sec-fetch-site", "same-origin"),
                        ]);
                        let admitted = |headers: &[(&str, &str)]| {
                            admit(&post("/election/drain", headers), ends, facts).is_ok()
                        };
                        let bare = admitted(&sent);
                        sent.push(("authorization", "Bearer t0ken"));
                        let expected = match (bare, admitted(&sent)) {
                            (true, _) => Orders::Open,
                            (false, true) => Orders::WithToken,
                            (false, false) => Orders::Never,
                        };
                        assert_eq!(orders, expected, "{peer} {asked:?}");
                    }
                }
            }
        }
        // Whoever follows a link from elsewhere sees the same page.
        let ends = Ends { peer: LOOPBACK.parse().unwrap(), local: LOOPBACK.parse().unwrap() };
        let link = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
        assert_eq!(orders(&head(Method::GET, "/", &link), ends, &facts()), Orders::Open);
    }

    #[test]
    fn a_proxy_on_loopback_is_refused() {
        for name in PROXY_HEADERS {
            let headers = [("host", "localhost:8770"), (name, "10.0.0.1")];
            assert_eq!(verdict(LOOPBACK, &headers), 403, "{name}");
        }
    }
}
