//! What must hold, each rule in a file of its own and fed by events.
//!
//! | file | rule |
//! |---|---|
//! | `leases` | I1, I2, I4 of leases |
//! | `endings` | I5 |
//! | `cover` | I3 |
//! | `terms` | I4 of voters |
//! | `minority` | I6 |
//! | `undisturbed`, `calm` | I7, under anything and once a quorum is healed |
//! | `liveness` | I8 |
//! | `takeovers` | I9 |
//! | `honesty`, `replies` | I10, of statuses and of answers to operators |
//! | `works` | I11 |
//! | `bytes` | I12 |
//! | `agreement` | everybody healed sees everybody healed, and the leader |
//! | `returns` | nobody comes back by old gossip |
//! | `bounds` | nothing grows without end |

pub(crate) mod agreement;
pub(crate) mod bounds;
pub(crate) mod bytes;
pub(crate) mod calm;
pub(crate) mod cover;
pub(crate) mod endings;
pub(crate) mod honesty;
pub(crate) mod leases;
pub(crate) mod liveness;
pub(crate) mod minority;
pub(crate) mod replies;
pub(crate) mod returns;
pub(crate) mod takeovers;
pub(crate) mod terms;
pub(crate) mod undisturbed;
pub(crate) mod works;

use crate::options::{Nanos, Options};

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

/// Those that watch a run from its start, and those that begin with the healing.
#[derive(Clone, Debug)]
pub(crate) struct Checkers {
    pub(crate) leases: leases::Leases,
    pub(crate) endings: endings::Endings,
    pub(crate) replies: replies::Replies,
    pub(crate) takeovers: takeovers::Takeovers,
    pub(crate) works: works::Works,
    pub(crate) terms: terms::Terms,
    pub(crate) minority: minority::Minority,
    pub(crate) undisturbed: undisturbed::Undisturbed,
    pub(crate) honesty: honesty::Honesty,
    pub(crate) returns: returns::Returns,
    pub(crate) bounds: bounds::Bounds,
    pub(crate) liveness: Option<liveness::Liveness>,
    pub(crate) calm: Option<calm::Calm>,
    pub(crate) agreement: Option<agreement::Agreement>,
}

impl Checkers {
    /// For the hosts of a run.
    pub(crate) fn new(options: &Options) -> Self {
        let hosts = options.hosts();
        let voters = hosts.min(options.most_voters());
        Self {
            leases: leases::Leases::new(hosts),
            endings: endings::Endings::default(),
            replies: replies::Replies::default(),
            takeovers: takeovers::Takeovers::new(hosts, options),
            works: works::Works::default(),
            terms: terms::Terms::new(hosts),
            minority: minority::Minority::new(hosts, voters, minority::freshness(options)),
            undisturbed: undisturbed::Undisturbed::new(hosts, options),
            honesty: honesty::Honesty::new(hosts),
            returns: returns::Returns::default(),
            bounds: bounds::Bounds::new(options),
            liveness: None,
            calm: None,
            agreement: None,
        }
    }
}
