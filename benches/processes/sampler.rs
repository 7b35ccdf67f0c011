//! Asks nodes in turn who leads, as fast as asked to.
//!
//! All questions come from one thread over kept connections, so a round of five takes some tenths of a
//! millisecond: that, and the pause between rounds, is how exact the times are.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use super::lab::Lab;
use super::support::PATIENCE;
use super::support::http::Client;

/// A 200 of `GET /leader`.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// When the answer was read.
    pub at: Instant,
    /// What it said is left of its lease, rounded down to a millisecond.
    pub left: Duration,
}

/// Connections to some nodes.
pub struct Sampler<'a> {
    lab: &'a Lab,
    nodes: Vec<usize>,
    clients: Vec<Option<Client>>,
}

impl<'a> Sampler<'a> {
    /// For these nodes; those that listen already are connected to.
    pub fn new(lab: &'a Lab, nodes: Vec<usize>) -> Self {
        let clients = nodes.iter().map(|&node| connect(lab, node)).collect();
        Self { lab, nodes, clients }
    }

    /// The claim of one of them, if it leads.
    pub fn ask(&mut self, node: usize) -> Option<Claim> {
        let index = self.nodes.iter().position(|&one| one == node)?;
        self.ask_at(index)
    }

    /// Asks this node no more.
    pub fn forget(&mut self, node: usize) {
        if let Some(index) = self.nodes.iter().position(|&one| one == node) {
            self.nodes.remove(index);
            self.clients.remove(index);
        }
    }

    /// The first claim of any of them.
    ///
    /// # Panics
    /// If none comes.
    pub fn first(&mut self, pause: Duration) -> Claim {
        let began = Instant::now();
        loop {
            for index in 0..self.nodes.len() {
                if let Some(claim) = self.ask_at(index) {
                    return claim;
                }
            }
            assert!(began.elapsed() < PATIENCE, "nobody leads after {PATIENCE:?}");
            thread::sleep(pause);
        }
    }

    fn ask_at(&mut self, index: usize) -> Option<Claim> {
        let node = self.nodes[index];
        let client = &mut self.clients[index];
        if client.is_none() {
            *client = connect(self.lab, node);
        }
        let Ok(answer) = client.as_mut()?.request("GET", "/leader", || true) else {
            *client = None;
            return None;
        };
        let left = answer.header("x-lease-remaining-ms").and_then(|text| text.parse().ok());
        let left = Duration::from_millis(left.unwrap_or(0));
        (answer.status == 200).then(|| Claim { at: Instant::now(), left })
    }
}

fn connect(lab: &Lab, node: usize) -> Option<Client> {
    lab.enter(node);
    Client::connect(lab.http(node)).ok()
}
