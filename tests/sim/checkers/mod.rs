//! What must hold, each rule in a file of its own and fed by events.

pub(crate) mod calm;
pub(crate) mod leases;
pub(crate) mod liveness;
pub(crate) mod terms;

use crate::options::Nanos;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// When.
    pub(crate) at: Nanos,
    /// Which invariant.
    pub(crate) rule: &'static str,
    /// What happened.
    pub(crate) what: String,
}
