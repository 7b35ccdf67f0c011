//! The way to the followed nodes: one HTTP client for each, straight or through a proxy.
//!
//! Decides which proxies are spoken to and that names are looked up at the far end of one: a node in userspace networking
//! has no other way to know them. Whom to ask, and what an answer means, is decided elsewhere.

use core::time::Duration;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error as _;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::config::DEFAULT_PORT;

/// How long a node may take for one answer, the connection included.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// What is asked for, again and again.
const STATUS: &str = "/status";

/// What is read as it comes.
const EVENTS: &str = "/events";

/// The most nodes that are followed.
const MAX_NODES: usize = 64;

/// How to reach every node that is followed.
#[derive(Debug)]
pub struct Ways {
    doors: Vec<Door>,
    proxy: Option<String>,
}

/// How to reach one node.
#[derive(Debug)]
pub struct Door {
    /// Where, as people write it.
    pub url: String,
    status: Uri,
    events: Uri,
    client: Via,
}

type Straight = Client<HttpConnector, Empty<Bytes>>;

#[derive(Debug)]
enum Via {
    Straight(Straight),
    Socks(Client<SocksV5<HttpConnector>, Empty<Bytes>>),
    Tunnel(Client<Tunnel<HttpConnector>, Empty<Bytes>>),
}

impl Ways {
    /// The ways to `urls` (`http://host:8770`, `host:8770`, `host`), through `proxy` unless `direct`, a list as in
    /// `NO_PROXY`, has the host.
    ///
    /// # Errors
    /// A URL or the proxy cannot be used; the text says which and why.
    pub fn new(urls: &[String], proxy: Option<&str>, direct: &str) -> Result<Self, String> {
        if urls.is_empty() || urls.len() > MAX_NODES {
            return Err(format!("1 to {MAX_NODES} nodes can be followed"));
        }
        let all = proxy.map(|proxy| intercept(proxy, direct)).transpose()?;
        let doors = urls.iter().map(|url| door(url, all.as_ref())).collect::<Result<_, _>>()?;
        // The password is not part of it.
        let proxy = all.map(|(_, shown)| shown);
        Ok(Self { doors, proxy })
    }

    /// Every node, in the order of asking.
    #[must_use]
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// The proxy, without its password.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }
}

/// The proxy, and how it is shown.
fn intercept(proxy: &str, direct: &str) -> Result<(Matcher, String), String> {
    let wrong =
        |why: &str| format!("the proxy: {why}; write socks5://HOST:PORT or http://HOST:PORT");
    let found = Matcher::builder().all(proxy).build();
    // Any host will do: nothing is exempt here.
    let example = Uri::from_static("http://a.example/");
    let seen = found.intercept(&example).ok_or_else(|| wrong("it cannot be read"))?;
    if !matches!(seen.uri().scheme_str(), Some("http" | "socks5" | "socks5h")) {
        return Err(wrong("it is of no kind that is spoken here"));
    }
    if seen.uri().port().is_none() {
        return Err(wrong("it names no port"));
    }
    let shown = seen.uri().to_string().trim_end_matches('/').to_owned();
    Ok((Matcher::builder().all(proxy).no(direct).build(), shown))
}

fn door(url: &str, proxy: Option<&(Matcher, String)>) -> Result<Door, String> {
    let wrong = |why: &str| format!("{url}: {why}; write http://HOST:PORT");
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = full.parse().map_err(|_| wrong("it is no URL"))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("only http:// is spoken here"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("it has a path"));
    }
    let host =
        uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
    let authority = format!("{host}:{}", uri.port_u16().unwrap_or(DEFAULT_PORT));
    let at = |path: &'static str| {
        let uri = Uri::builder().scheme("http").authority(authority.as_str()).path_and_query(path);
        uri.build().map_err(|_| wrong("it is no URL"))
    };
    let (status, events) = (at(STATUS)?, at(EVENTS)?);
    let proxy = proxy.and_then(|(matcher, _)| matcher.intercept(&status));
    if host.starts_with('[') && proxy.as_ref().is_some_and(is_socks) {
        return Err(wrong("an IPv6 address cannot be told to a SOCKS proxy, but its name can"));
    }
    Ok(Door { url: format!("http://{authority}"), status, events, client: via(proxy.as_ref()) })
}

fn is_socks(proxy: &Intercept) -> bool {
    proxy.uri().scheme_str() != Some("http")
}

fn via(proxy: Option<&Intercept>) -> Via {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(PATIENCE));
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let Some(proxy) = proxy else { return Via::Straight(client(connector)) };
    if is_socks(proxy) {
        let socks = SocksV5::new(proxy.uri().clone(), connector);
        Via::Socks(client(match proxy.raw_auth() {
            Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
            None => socks,
        }))
    } else {
        let tunnel = Tunnel::new(proxy.uri().clone(), connector);
        Via::Tunnel(client(match proxy.basic_auth() {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        }))
    }
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Empty<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .build(connector)
}

impl Door {
    /// The body of the node's `/status`.
    ///
    /// # Errors
    /// There is no answer of 200 within [`PATIENCE`], or it is larger than 16 MiB; in words for people.
    ///
    /// # Cancel safety
    /// Cancelling forgets the question.
    pub async fn ask(&self) -> Result<Bytes, String> {
        let exchange = async {
            let body = self.get(&self.status).await?;
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            body.map(|body| body.to_bytes())
                .map_err(|error| format!("its answer broke off: {error}"))
        };
        timeout(PATIENCE, exchange).await.map_err(late)?
    }

    /// The node's `/events`, as they come.
    ///
    /// # Errors
    /// There is no answer of 200 within [`PATIENCE`]; in words for people.
    ///
    /// # Cancel safety
    /// Cancelling ends the stream.
    pub async fn events(&self) -> Result<Incoming, String> {
        timeout(PATIENCE, self.get(&self.events)).await.map_err(late)?
    }

    async fn get(&self, uri: &Uri) -> Result<Incoming, String> {
        let asked = match &self.client {
            Via::Straight(client) => client.get(uri.clone()),
            Via::Socks(client) => client.get(uri.clone()),
            Via::Tunnel(client) => client.get(uri.clone()),
        };
        let answer = asked.await.map_err(|error| in_words(&error))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            code => Err(format!("it answers {code}")),
        }
    }
}

fn late(_: Elapsed) -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// An error with its causes.
fn in_words(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(url: &str, proxy: Option<&str>, direct: &str) -> Result<Ways, String> {
        Ways::new(&[url.to_owned()], proxy, direct)
    }

    #[test]
    fn a_url_may_be_short_and_has_no_path() {
        let url = |url| ways(url, None, "").map(|ways| ways.doors()[0].url.clone()).ok();
        assert_eq!(url("http://a:1/").as_deref(), Some("http://a:1"));
        assert_eq!(url("a").as_deref(), Some("http://a:8770"));
        assert_eq!(url("http://[::1]:5").as_deref(), Some("http://[::1]:5"));
        for wrong in ["", "https://a", "http://a/status", "http://a/?x", "http://", "a b"] {
            assert_eq!(url(wrong), None, "{wrong}");
        }
        assert!(Ways::new(&[], None, "").is_err());
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for proxy in
            ["socks5://u:secret@p:1055", "socks5h://u:secret@p:1055", "http://u:secret@p:1055"]
        {
            let ways = ways("a", Some(proxy), "").unwrap();
            let shown = ways.proxy().unwrap();
            assert!(shown.ends_with("://p:1055"), "{shown}");
            assert!(!format!("{:?}", ways.doors()[0].url).contains("secret"));
        }
        for wrong in ["", "socks4://p:1", "https://p:1", "http://p", "socks5://p", "x y"] {
            let error = ways("a", Some(wrong), "").unwrap_err();
            assert!(error.contains("socks5://HOST:PORT"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_host_that_is_exempt_is_asked_straight() {
        let kind = |proxy, direct| match ways("10.0.0.1", proxy, direct).unwrap().doors()[0].client
        {
            Via::Straight(_) => "straight",
            Via::Socks(_) => "socks",
            Via::Tunnel(_) => "tunnel",
        };
        assert_eq!(kind(None, ""), "straight");
        assert_eq!(kind(Some("socks5://p:1"), ""), "socks");
        assert_eq!(kind(Some("http://p:1"), "10.0.0.2"), "tunnel");
        assert_eq!(kind(Some("http://p:1"), "10.0.0.1,b"), "straight");
        assert!(ways("[::1]", Some("socks5://p:1"), "").is_err());
        assert!(ways("[::1]", Some("http://p:1"), "").is_ok());
    }
}
