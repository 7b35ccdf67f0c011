//! The door: a thread that accepts connections and answers the short pages itself.
//!
//! Load balancers and people ask `/health`, `/ready` and `/leader` all the time, mostly on connections of their
//! own, and need the answer at once. Everything else is handed to the thread of the long pages, where those who
//! ask wait for each other.
//!
//! Decides by the first bytes of a connection, and once: what does not come at once, or in parts, is handed on.

use core::net::SocketAddr;
use core::time::Duration;
use hyper::StatusCode;
use std::io::Write;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::answer::Answer;
use super::route::begins_short;
use super::server::{Server, serve};
use super::slots::Slot;

/// How long nothing is accepted after accepting failed, for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// As much of a request as tells a short page, in bytes.
const ENOUGH: usize = 32;

/// Where connections go.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Who answers.
    pub(super) server: Arc<Server>,
    /// The thread of the long pages.
    pub(super) pages: Handle,
}

impl Lane {
    /// Accepts connections for as long as the door is open.
    pub(super) async fn accept(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => match self.server.slots().take(peer.ip()).await {
                    Some(slot) => {
                        let number = slot.number();
                        let task = tokio::spawn(self.clone().show_in(stream, peer, slot));
                        self.server.slots().may_end(number, task.abort_handle());
                    }
                    None => {
                        self.server.metrics().connection_refused();
                        refuse(stream);
                    }
                },
                Err(error) => {
                    debug!(%error, "connection not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Looks at what a connection begins with, and has it answered here or there.
    async fn show_in(self, stream: TcpStream, peer: SocketAddr, slot: Slot) {
        let mut first = [0; ENOUGH];
        let looked = timeout(self.server.limits().head, stream.peek(&mut first)).await;
        let Ok(Ok(length)) = looked else { return };
        if first.get(..length).is_some_and(begins_short) {
            return serve(stream, peer, slot, self.server, true).await;
        }
        let Ok(stream) = stream.into_std() else { return };
        let (number, server) = (slot.number(), Arc::clone(&self.server));
        let task = self.pages.spawn(async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                serve(stream, peer, slot, server, false).await;
            }
        });
        self.server.slots().may_end(number, task.abort_handle());
    }
}

/// Tells a connection beyond the limit so, without waiting, and closes it.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // Whether it is heard does not matter.
        let _ = stream.write(too_many().as_bytes());
    }
}

/// What a connection beyond the limit is told.
fn too_many() -> String {
    let body =
        Answer::error(StatusCode::SERVICE_UNAVAILABLE, "BUSY", "too many connections are open")
            .body;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
