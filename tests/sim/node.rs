//! The production machine.

pub(crate) use ringrift_p2p::node::Node;
