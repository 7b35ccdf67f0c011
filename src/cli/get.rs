//! One HTTP request, for commands that ask a node.

use core::time::Duration;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::net::TcpStream;

use super::term::Progress;
use crate::config::DEFAULT_PORT;
use crate::config::token::Token;

/// How long a node may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a command waits: the node itself says when it gives up, after ten seconds and however long the
/// leader's work may take to end.
const PATIENCE: Duration = Duration::from_secs(300);

/// The largest answer, in bytes.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum GetError {
    /// The URL is none that this client can ask.
    Url(String),
    /// There is no connection.
    Connect(io::Error),
    /// The answer is not one of HTTP.
    Http(String),
    /// Nothing came in time.
    Timeout,
}

/// Where a node listens, from what a person typed: `http://host:8770`, `host:8770`, `host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    host: String,
    port: u16,
}

impl Base {
    /// Reads a URL; a path is not used.
    pub(super) fn parse(url: &str) -> Result<Self, GetError> {
        let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = full.parse().map_err(|error| GetError::Url(format!("{error}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(GetError::Url(String::from("only http:// is spoken here")));
        }
        let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
            return Err(GetError::Url(String::from("it names no host")));
        };
        Ok(Self { host: host.to_owned(), port: uri.port_u16().unwrap_or(DEFAULT_PORT) })
    }

    /// As it goes into the `Host` header.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Asks for one path and waits for the whole answer, of whatever status.
pub(super) fn get(base: &Base, path: &str) -> Result<(StatusCode, Bytes), GetError> {
    request(base, &Method::GET, path, String::new(), None)
}

/// Likewise with any method, a body of JSON, and a token for nodes that want one.
pub(super) fn request(
    base: &Base,
    method: &Method,
    path: &str,
    body: String,
    token: Option<&Token>,
) -> Result<(StatusCode, Bytes), GetError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(GetError::Connect)?;
    let timeout = if *method == Method::GET { TIMEOUT } else { PATIENCE };
    let _progress = Progress::of(format!("waiting for {}", base.authority()));
    let answer =
        async { tokio::time::timeout(timeout, exchange(base, method, path, body, token)).await };
    runtime.block_on(answer).map_err(|_| GetError::Timeout)?
}

/// Likewise, within a runtime that runs already, and waits for no longer than `timeout`.
pub(super) async fn get_within(
    timeout: Duration,
    base: &Base,
    path: &str,
) -> Result<(StatusCode, Bytes), GetError> {
    let answer = exchange(base, &Method::GET, path, String::new(), None);
    tokio::time::timeout(timeout, answer).await.map_err(|_| GetError::Timeout)?
}

/// The body of an answer that goes on, within a runtime that runs already; `last` is the id of the last
/// event that was told before.
pub(super) async fn stream(
    base: &Base,
    path: &str,
    last: Option<&str>,
) -> Result<(StatusCode, Incoming), GetError> {
    let http = |error: hyper::Error| GetError::Http(error.to_string());
    let host = base.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, base.port)).await.map_err(GetError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    // Its end is the end of the body.
    tokio::spawn(connection);
    let mut request = Request::get(path).header("host", base.authority());
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request =
        request.body(Full::new(Bytes::new())).map_err(|error| GetError::Url(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(http)?;
    Ok((response.status(), response.into_body()))
}

async fn exchange(
    base: &Base,
    method: &Method,
    path: &str,
    body: String,
    token: Option<&Token>,
) -> Result<(StatusCode, Bytes), GetError> {
    let http = |error: hyper::Error| GetError::Http(error.to_string());
    let host = base.host.trim_start_matches('[').trim_end_matches(']');
    let connected = tokio::time::timeout(TIMEOUT, TcpStream::connect((host, base.port))).await;
    let stream = connected.map_err(|_| GetError::Timeout)?.map_err(GetError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", base.authority())
        .header("connection", "close");
    if let Some(token) = token {
        request = request.header("authorization", token.to_header());
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| GetError::Url(error.to_string()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| GetError::Http(error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    // The connection must be driven while the answer is awaited; its own end decides nothing.
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn served(reply: &'static [u8]) -> Result<(StatusCode, Bytes), GetError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = Base::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(reply).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = get(&base, "/status");
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /status HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&base.authority()), "{request}");
        answer
    }

    #[test]
    fn an_answer_is_read_whole() {
        let (status, body) =
            served(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbody").unwrap();
        assert_eq!((status.as_u16(), &body[..]), (503, &b"body"[..]));
        assert!(matches!(served(b"SSH-2.0-OpenSSH\r\n"), Err(GetError::Http(_))));
        let cut = served(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nbody");
        assert!(matches!(cut, Err(GetError::Http(_))), "{cut:?}");
    }

    #[test]
    fn a_url_may_be_short() {
        let authority = |url| Base::parse(url).map(|base| base.authority()).ok();
        assert_eq!(authority("http://a:1/status").as_deref(), Some("a:1"));
        assert_eq!(authority("a").as_deref(), Some("a:8770"));
        assert_eq!(authority("127.0.0.2:99").as_deref(), Some("127.0.0.2:99"));
        assert_eq!(authority("http://[::1]:5").as_deref(), Some("[::1]:5"));
        assert_eq!(authority("https://a"), None);
        assert_eq!(authority(""), None);
    }

    #[test]
    fn a_closed_port_is_a_connection_error() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let base = Base::parse(&format!("127.0.0.1:{port}")).unwrap();
        assert!(matches!(get(&base, "/status"), Err(GetError::Connect(_))));
    }
}
