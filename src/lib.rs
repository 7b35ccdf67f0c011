//! ringrift-p2p.
pub mod cli;
pub mod config;
pub mod driver;
pub mod election;
pub mod http;
pub mod membership;
pub mod node;
pub mod rng;
pub mod telemetry;
pub mod time;
