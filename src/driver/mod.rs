//! Driver.
pub mod clock;
pub mod entropy;
pub mod store;
