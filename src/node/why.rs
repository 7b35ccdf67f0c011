//! Why things are as they are, in words that an operator can act on.
//!
//! A pure function of a status and a moment: it knows no more than the status tells, decides nothing,
//! and answers three questions: why there is no leader, why this node does not lead, and why no better
//! voter takes over.

use core::time::Duration;
use ringrift_wire::{NodeId, Priority};

use super::status::{Status, Takeover, TakeoverBlock, VoterStatus};
use crate::time::Instant;

/// The answers; each is `None` where the question does not arise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Why there is no leader.
    pub no_leader: Option<String>,
    /// Why this node does not lead.
    pub not_leading: Option<String>,
    /// Why no better voter takes over; of a leader, who decides it.
    pub no_takeover: Option<String>,
}

impl Status {
    /// The answers at `now`.
    #[must_use]
    pub fn why(&self, now: Instant) -> Why {
        let leader = self.leader_at(now);
        Why {
            no_leader: leader.is_none().then(|| self.no_leader_reason.clone()),
            not_leading: (!self.is_leader(now)).then(|| self.why_not_leading(now)),
            no_takeover: self.is_leader(now).then(|| self.why_no_takeover(now)),
        }
    }

    fn voter(&self, id: NodeId) -> Option<&VoterStatus> {
        self.voters.iter().find(|voter| voter.id == id)
    }

    fn why_not_leading(&self, now: Instant) -> String {
        let Some(me) = self.voters.iter().find(|voter| voter.is_self) else {
            return "this node is an observer: it is not in `voters` of the configuration, and never leads"
                .to_owned();
        };
        if self.drained {
            return format!(
                "{} is drained: an operator asked it not to lead; `ringrift-p2p resume` on it ends that",
                me.id
            );
        }
        if let Some(until) = self.set_back_until.filter(|until| now < *until) {
            return format!(
                "the work of the leader failed on {}, which may lead again in {}; see work.last_failure in \
                 /status, or run `ringrift-p2p resume` on it",
                me.id,
                span(now.until(until))
            );
        }
        if me.priority.drained {
            return format!("{} votes only: its host is configured with `priority: never`", me.id);
        }
        if !self.store_works {
            let why = self.store_problem.as_deref().unwrap_or("see its log");
            return format!("the vote store of {} cannot be written: {why}", me.id);
        }
        if let Some(until) = self.abstains_until.filter(|until| now < *until) {
            return format!(
                "{} restarted without knowing what it had promised, and abstains for {} more",
                me.id,
                span(now.until(until))
            );
        }
        let Some(leader) = self.leader_at(now) else {
            return format!("nobody leads: {}", self.no_leader_reason);
        };
        let term = self.term;
        let blocked = self.blocked_until.filter(|until| now < *until);
        let theirs = self.voter(leader).filter(|voter| voter.rank < me.rank);
        match (theirs, blocked) {
            (_, Some(until)) => format!(
                "{leader} leads in term {term}; {} gave the lead up on request and ranks last for {} more",
                me.id,
                span(now.until(until))
            ),
            (Some(theirs), None) => format!(
                "{leader} leads in term {term} and is the better voter: rank {} of {}, and {} has rank {} \
                 ({})",
                theirs.rank,
                self.voters.len(),
                me.id,
                me.rank,
                difference(theirs, me)
            ),
            (None, None) => format!(
                "{leader} leads in term {term}; {} is the better voter, and takes over when {leader} says so: \
                 ask {leader} for `takeover` in /election/status, or do not wait and run \
                 `ringrift-p2p transfer --to {}` there",
                me.id, me.id
            ),
        }
    }

    fn why_no_takeover(&self, now: Instant) -> String {
        if self.drained {
            return format!("{} is drained and leads on until another voter is ready", self.node);
        }
        let Some(Takeover { candidate, blocked_by, until }) = self.takeover else {
            return format!("no reachable voter is better than {}", self.node);
        };
        let what = match blocked_by {
            TakeoverBlock::Unreachable => "but is suspected here".to_owned(),
            TakeoverBlock::Heartbeats(missing) => {
                format!("and has to acknowledge {missing} more heartbeats in a row")
            }
            TakeoverBlock::BetterTooBriefly => {
                "but not for long enough (election.takeover_after)".to_owned()
            }
            TakeoverBlock::LeaderTooNew => format!(
                "but {} has not led for long enough (election.takeover_after)",
                self.node
            ),
            TakeoverBlock::Rate => {
                "but the last takeover is too recent (election.takeover_every, longer while takeovers do \
                 not last)"
                    .to_owned()
            }
            TakeoverBlock::NotReady => {
                let said = self.voter(candidate).and_then(|voter| voter.said);
                let why = said.and_then(|(_, said)| said.why());
                format!("but was not ready when it was offered the lead ({})", why.unwrap_or("no answer"))
            }
            TakeoverBlock::UnderWay => "and the lead is moving now".to_owned(),
        };
        let left = until.map(|until| now.until(until)).filter(|left| !left.is_zero());
        let left = left.map(|left| format!("; {} more", span(left))).unwrap_or_default();
        format!("{candidate} is better {what}{left}")
    }
}

/// What makes the first the better voter.
fn difference(better: &VoterStatus, worse: &VoterStatus) -> String {
    let (a, b): (Priority, Priority) = (better.priority, worse.priority);
    if a.drained != b.drained {
        "which is drained, never leads, or cannot do the work".to_owned()
    } else if a.last != b.last {
        "which ranks last for a while after a failed round or a step-down".to_owned()
    } else if a.stability != b.stability {
        format!(
            "stability {} against {}: recent losses, or less than ten minutes of uptime",
            a.stability, b.stability
        )
    } else if a.centrality != b.centrality {
        format!(
            "centrality {} against {}: how well the others reach it",
            a.centrality, b.centrality
        )
    } else if a.gpu != b.gpu {
        "which has no GPU configured".to_owned()
    } else {
        format!("configured order {} against {}", a.order, b.order)
    }
}

/// A length of time for people.
fn span(length: Duration) -> String {
    format!("{:.1} s", length.as_secs_f64())
}
