//! A small HTTP client that tells when a request left and when its answer was there.

use core::time::Duration;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// How often a waiting client looks whether to give up.
const GLANCE: Duration = Duration::from_millis(100);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of the header `name`, which is written in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A connection that is kept alive.
pub struct Client {
    stream: TcpStream,
    host: SocketAddr,
}

impl Client {
    /// Connects.
    pub fn connect(host: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&host, Duration::from_secs(1))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(GLANCE))?;
        Ok(Self { stream, host })
    }

    /// One request without a body, and its answer; `give_up` is asked now and then.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        give_up: impl Fn() -> bool,
    ) -> io::Result<Answer> {
        self.request_with(method, path, "", give_up)
    }

    /// The same with more header lines, each with its end.
    pub fn request_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        give_up: impl Fn() -> bool,
    ) -> io::Result<Answer> {
        let host = self.host;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes())?;
        let mut read = Vec::new();
        loop {
            if let Some(answer) = parse(&read)? {
                return Ok(answer);
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => read.extend_from_slice(&chunk[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if give_up() {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The answer in `read`, once it is complete.
fn parse(read: &[u8]) -> io::Result<Option<Answer>> {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or(ErrorKind::InvalidData)?;
    let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or(ErrorKind::InvalidData)?;
    Ok((body.len() >= length).then_some(answer))
}
