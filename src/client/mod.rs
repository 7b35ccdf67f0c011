//! For programs that run beside a node: whether they may act as the leader, and what happens.
//!
//! Decides what a program may believe of the node on its machine, and for how long.
//! [`Leadership`] answers without a wait; [`sse`] reads the stream of `GET /events`.
//!
//! It does not know the protocol: it reads what the node serves over HTTP.

mod ask;
mod leadership;
pub mod sse;

pub use leadership::{LOCAL, Leader, Leadership, Standing};
