//! Driver.
pub mod clock;
pub mod entropy;
pub mod ports;
pub mod store;
pub mod udp;
