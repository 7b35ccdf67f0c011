//! What the fuzz targets do with their bytes: plain functions, so that `tests/fuzz_replay.rs` can
//! replay the corpora on a stable compiler.

pub(crate) mod bytes;
pub(crate) mod config;
pub(crate) mod decode;
pub(crate) mod http;
pub(crate) mod node;
