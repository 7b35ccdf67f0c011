//! Who leads: Bully under a voter quorum.

pub mod ballot;
pub mod core;
pub mod genesis;
pub mod lease;
pub mod params;
pub mod quorum;
pub mod record;

pub use params::{Params, Place};
pub use quorum::VoterSet;
