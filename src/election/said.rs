//! What another voter last said to this one about leading: for people, and for nothing else.

use ringrift_wire::{Message, Opinion, Refusal, Unready, Verdict};

/// The last word of a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It leads.
    Leads,
    /// It leads no longer.
    Released,
    /// It stands.
    Stands,
    /// It would vote for this one.
    Yes,
    /// It would not.
    No(Refusal),
    /// It is better itself.
    Better,
    /// It voted for this one.
    Voted,
    /// It refused its vote.
    Refused(Refusal),
    /// It acknowledged a heartbeat of this one.
    Acknowledged,
    /// It refused to.
    Unacknowledged(Refusal),
    /// It is ready to lead next.
    Ready,
    /// It is not.
    Unready(Unready),
}

impl Said {
    /// What a message says; `None` for one that says nothing of leading.
    #[must_use]
    pub const fn of(message: &Message) -> Option<Self> {
        Some(match message {
            Message::Coordinator(_) => Self::Leads,
            Message::Release(_) | Message::Go(_) => Self::Released,
            Message::Election(_) => Self::Stands,
            Message::CanvassReply(reply) => match reply.opinion {
                Opinion::Yes { .. } => Self::Yes,
                Opinion::No(why) => Self::No(why),
                Opinion::Better(_) => Self::Better,
            },
            Message::Answer(answer) => match answer.verdict {
                Verdict::Granted => Self::Voted,
                Verdict::Refused(why) => Self::Refused(why),
            },
            Message::Acknowledge(answer) => match answer.verdict {
                Verdict::Granted => Self::Acknowledged,
                Verdict::Refused(why) => Self::Unacknowledged(why),
            },
            Message::Ready(ready) => match ready.unready {
                None => Self::Ready,
                Some(why) => Self::Unready(why),
            },
            _ => return None,
        })
    }

    /// The word for JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leads => "leads",
            Self::Released => "released",
            Self::Stands => "stands",
            Self::Yes => "would_vote",
            Self::No(_) => "would_not_vote",
            Self::Better => "is_better",
            Self::Voted => "voted",
            Self::Refused(_) => "refused_vote",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged(_) => "refused_heartbeat",
            Self::Ready => "ready",
            Self::Unready(_) => "not_ready",
        }
    }

    /// The reason in it, in a word.
    #[must_use]
    pub const fn why(self) -> Option<&'static str> {
        match self {
            Self::No(why) | Self::Refused(why) | Self::Unacknowledged(why) => Some(word(why)),
            Self::Unready(why) => Some(why.as_str()),
            Self::Leads
            | Self::Released
            | Self::Stands
            | Self::Yes
            | Self::Better
            | Self::Voted
            | Self::Acknowledged
            | Self::Ready => None,
        }
    }
}

/// The word for a refusal in logs, labels and JSON.
#[must_use]
pub const fn word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::VoterSet => "voter_set",
        Refusal::Term => "term",
        Refusal::Voted => "voted",
        Refusal::Promised { .. } => "promised",
        Refusal::Abstaining { .. } => "abstaining",
        Refusal::Empty => "empty",
        Refusal::Store => "store",
        Refusal::LeaderAlive { .. } => "leader_alive",
        Refusal::Lease => "lease",
    }
}
