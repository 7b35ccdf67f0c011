//! What people and programs can read about this node: log lines and Prometheus numbers.
//!
//! Decides how an event reads, which numbers exist and what follows from a status at a moment
//! ([`View`]). It decides nothing of the protocol and never makes it wait: lines go through a queue
//! that drops, numbers are atomics.

pub mod events;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod logs;
pub mod metrics;
mod view;

pub use metrics::{Metrics, Traffic};
pub use view::{Agreement, Partition, Peers, View};
