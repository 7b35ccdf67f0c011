//! Reading the keys again while the node runs: on SIGHUP, or when asked over HTTP.
//!
//! Reads the configuration's section `gossip` and the key ring beside the loop, hands what is good to the
//! loop, and tells what is in use. What is bad changes nothing.
//!
//! 1. Whether gossip is sealed at all is decided at the start of the process.

use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::Unsealed;
use super::ring::Ring;
use crate::config::{self, Config, Gossip};
use crate::http::{Keys, ReloadRequest};

/// The ring that the configuration names, and what is done about datagrams in the clear.
///
/// # Errors
/// The ring cannot be used.
pub fn ring_of(gossip: &Gossip) -> Result<Option<(Arc<Ring>, Unsealed)>, super::ring::RingError> {
    let Some(path) = &gossip.key_file else { return Ok(None) };
    Ok(Some((Arc::new(Ring::read(path)?), gossip.unsealed)))
}

/// What is in use, for people.
#[must_use]
pub fn describe(in_use: Option<&(Arc<Ring>, Unsealed)>) -> Keys {
    let Some((ring, unsealed)) = in_use else { return Keys::default() };
    let ids = ring.ids().iter().map(ToString::to_string).collect();
    Keys { ids, unsealed: Some(unsealed.as_str()) }
}

/// Where reloaded keys go, and who asks for them.
pub struct Reloader {
    /// The configuration at the start.
    pub config: Arc<Config>,
    /// Into the loop.
    pub rings: mpsc::Sender<(Arc<Ring>, Unsealed)>,
    /// What HTTP shows.
    pub shown: Arc<arc_swap::ArcSwap<Keys>>,
    /// From HTTP.
    pub asked: mpsc::Receiver<ReloadRequest>,
}

impl Reloader {
    /// Serves until nobody can ask any more.
    pub async fn run(mut self, mut hang_up: Signal) {
        loop {
            tokio::select! {
                signal = hang_up.recv() => match signal {
                    Some(()) => { let _logged = self.reload().await; }
                    None => return,
                },
                request = self.asked.recv() => match request {
                    // Who asked may have gone.
                    Some(answer) => { let _gone = answer.send(self.reload().await); }
                    None => return,
                },
            }
        }
    }

    async fn reload(&self) -> Result<Keys, String> {
        let done = self.try_reload().await;
        match &done {
            Ok(keys) => {
                let seals = keys.ids.first().map(String::as_str);
                info!(seals, keys = keys.ids.len(), unsealed = keys.unsealed, "keys reloaded");
            }
            Err(why) => error!(error = %why, "the keys stay what they are"),
        }
        done
    }

    async fn try_reload(&self) -> Result<Keys, String> {
        if self.config.gossip.key_file.is_none() {
            return Err(
                "this node was started without gossip.key_file, and seals nothing".to_owned()
            );
        }
        let config = Arc::clone(&self.config);
        let read = spawn_blocking(move || read_again(&config)).await;
        let ring = read.map_err(|error| error.to_string())??;
        let keys = describe(Some(&ring));
        self.rings.send(ring).await.map_err(|_| "the node is stopping".to_owned())?;
        self.shown.store(Arc::new(keys.clone()));
        Ok(keys)
    }
}

fn read_again(config: &Config) -> Result<(Arc<Ring>, Unsealed), String> {
    let gossip = match &config.path {
        Some(path) => config::load(path).map_err(|errors| errors.to_string())?.config.gossip,
        None => config.gossip.clone(),
    };
    let ring = ring_of(&gossip).map_err(|error| error.to_string())?;
    ring.ok_or_else(|| {
        "gossip.key_file is gone from the configuration; restart the node to stop sealing"
            .to_owned()
    })
}
