//! One attempt to become leader: the canvass, and then the stand.
//!
//! Decides whom to ask when, and from what they say, when to stand. Holds no vote: that is
//! [`super::core`]'s.

use core::time::Duration;
use ringrift_wire::{NodeId, Opinion, Priority, Refusal};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::event::ElectionCause;
use super::history::Ballot;
use crate::time::Instant;

/// What a voter said to the canvass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    opinion: Opinion,
    at: Instant,
    /// When its promise ends, counted from the question: an ELECTION sent then arrives no earlier.
    free_at: Instant,
}

/// The questions to one voter whose answers still count: round trips may last longer than the pause
/// between two questions.
const MAX_QUESTIONS: usize = 16;

/// The asking of one voter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    /// Number and time of the questions that the last answer did not overtake, oldest first.
    questions: VecDeque<(u64, Instant)>,
    next_at: Instant,
    gap: Duration,
    /// Until it is asked again, should it not have heard yet that the leader has released its term; doubles.
    late: Duration,
    heard: Option<Heard>,
}

/// The stand in a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The term.
    pub term: u64,
    /// The round ends here, won or not.
    pub deadline: Instant,
    /// When those who have not answered are asked again.
    pub next_at: Instant,
    /// Between two askings; doubles.
    pub gap: Duration,
    /// Who said yes in the canvass.
    pub hopes: BTreeSet<NodeId>,
    /// How the voters answered so far.
    pub votes: BTreeMap<NodeId, Ballot>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Why there is need of a leader.
    pub cause: ElectionCause,
    /// When the need was seen.
    pub began_at: Instant,
    /// When this node's turn comes: after the better ones.
    pub starts_at: Instant,
    /// Its priority, frozen for the attempt.
    pub priority: Priority,
    /// Whether it was announced.
    pub announced: bool,
    /// The stand, once there is one.
    pub stand: Option<Stand>,
    asked: BTreeMap<NodeId, Asked>,
    highest_term: u64,
}

/// The rhythm of asking.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// About two round trips.
    pub delta: Duration,
    /// The longest pause between two questions to one voter.
    pub longest: Duration,
}

impl Campaign {
    /// An attempt whose canvass starts at `starts_at`.
    #[must_use]
    pub const fn new(
        cause: ElectionCause,
        began_at: Instant,
        starts_at: Instant,
        priority: Priority,
    ) -> Self {
        Self {
            cause,
            began_at,
            starts_at,
            priority,
            announced: false,
            stand: None,
            asked: BTreeMap::new(),
            highest_term: 0,
        }
    }

    /// The highest term that any answer named.
    #[must_use]
    pub const fn highest_term(&self) -> u64 {
        self.highest_term
    }

    /// Whether this voter is to be asked now.
    #[must_use]
    pub fn is_due(&self, now: Instant, voter: NodeId) -> bool {
        now >= self.starts_at && self.asked.get(&voter).is_none_or(|asked| now >= asked.next_at)
    }

    /// A question of that number left.
    pub fn asked(&mut self, now: Instant, voter: NodeId, number: u64, pace: Pace) {
        let asked = self.asked.entry(voter).or_insert_with(|| Asked {
            questions: VecDeque::new(),
            next_at: now,
            gap: pace.delta / 2,
            late: pace.delta / 4,
            heard: None,
        });
        if asked.questions.len() == MAX_QUESTIONS {
            asked.questions.pop_front();
        }
        asked.questions.push_back((number, now));
        asked.gap = (asked.gap * 2).clamp(pace.delta, pace.longest);
        asked.next_at = now + asked.gap;
    }

    /// A voter answers. Returns the round trip, if the answer is to a question that is open: one of
    /// the last, and not overtaken by the answer to a later one.
    pub fn heard(
        &mut self,
        now: Instant,
        voter: NodeId,
        number: u64,
        term: u64,
        opinion: Opinion,
        pace: Pace,
    ) -> Option<Duration> {
        let asked = self.asked.get_mut(&voter)?;
        let at = asked.questions.iter().position(|&(open, _)| open == number)?;
        let (_, sent_at) = asked.questions.drain(..=at).next_back()?;
        let free_in = match opinion {
            Opinion::Yes { free_in_us } => Duration::from_micros(free_in_us),
            Opinion::No(why) => free_in(why).unwrap_or(pace.longest),
            Opinion::Better(_) => pace.longest / 2,
        };
        let free_at = sent_at + free_in;
        asked.heard = Some(Heard { opinion, at: now, free_at });
        asked.gap = pace.delta;
        // A promise that runs is asked about again shortly before it ends, a refusal when its
        // reason is due to end.
        let again = match opinion {
            Opinion::Yes { free_in_us: 0 } => now + pace.longest,
            Opinion::Yes { .. } => (free_at - pace.delta).max(now + pace.delta),
            Opinion::No(_) | Opinion::Better(_) => free_at.max(now + pace.delta),
        };
        // The word that freed this node from the leader is about to reach whoever has not heard it.
        let bound = match opinion {
            Opinion::Yes { free_in_us } => free_in_us > 0,
            Opinion::No(why) => {
                matches!(why, Refusal::LeaderAlive { .. } | Refusal::Promised { .. })
            }
            Opinion::Better(_) => false,
        };
        let mut most = pace.longest;
        if bound && self.cause == ElectionCause::LeaderReleased {
            most = most.min(asked.late);
            asked.late = most * 2;
        }
        asked.next_at = again.min(now + most);
        self.highest_term = self.highest_term.max(term);
        Some(now.since(sent_at))
    }

    /// Who says yes, and when each is free; an answer older than two pauses says nothing.
    fn yeses(&self, now: Instant, pace: Pace) -> impl Iterator<Item = (NodeId, Instant)> {
        let fresh = pace.longest * 2 + pace.delta * 2;
        self.asked.iter().filter_map(move |(voter, asked)| {
            let heard = asked.heard.filter(|heard| now.since(heard.at) <= fresh)?;
            matches!(heard.opinion, Opinion::Yes { .. }).then_some((*voter, heard.free_at))
        })
    }

    /// Whether an eligible better voter has spoken up lately.
    #[must_use]
    pub fn outranked(&self, now: Instant, pace: Pace) -> bool {
        self.outranked_until(pace).is_some_and(|until| now < until)
    }

    fn outranked_until(&self, pace: Pace) -> Option<Instant> {
        let better = |heard: &Heard| matches!(heard.opinion, Opinion::Better(_));
        let last =
            self.asked.values().filter_map(|a| a.heard).filter(better).map(|h| h.at).max()?;
        Some(last + pace.longest + pace.delta)
    }

    /// When a quorum of yeses is free, the own vote (free at `own`) among them.
    #[must_use]
    pub fn quorum_free_at(
        &self,
        now: Instant,
        own: Instant,
        quorum: usize,
        pace: Pace,
    ) -> Option<Instant> {
        let mut free: Vec<Instant> = self.yeses(now, pace).map(|(_, at)| at).collect();
        free.push(own);
        free.sort_unstable();
        free.get(quorum.checked_sub(1)?).copied()
    }

    /// Who says yes.
    #[must_use]
    pub fn hopes(&self, now: Instant, pace: Pace) -> BTreeSet<NodeId> {
        self.yeses(now, pace).map(|(voter, _)| voter).collect()
    }

    /// When the canvass next has something to do.
    #[must_use]
    pub fn next_at(&self, now: Instant, voters: &[NodeId], pace: Pace) -> Instant {
        let due = |voter| self.asked.get(voter).map_or(self.starts_at, |asked| asked.next_at);
        let ask = voters.iter().map(due).min().unwrap_or(now + pace.longest).max(self.starts_at);
        let outranked = self.outranked_until(pace).filter(|until| now < *until);
        outranked.map_or(ask, |until| ask.min(until))
    }
}

/// How long a refusal will last, where it says so.
fn free_in(why: Refusal) -> Option<Duration> {
    match why {
        Refusal::Promised { free_in_us }
        | Refusal::Abstaining { free_in_us }
        | Refusal::LeaderAlive { free_in_us } => Some(Duration::from_micros(free_in_us)),
        Refusal::VoterSet
        | Refusal::Term
        | Refusal::Voted
        | Refusal::Empty
        | Refusal::Store
        | Refusal::Lease => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On loopback the first that hears of the release asks before the others have heard of it.
    #[test]
    fn whoever_has_not_heard_of_the_release_is_asked_again_soon_and_ever_more_rarely() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let pace = Pace { delta: Duration::from_millis(8), longest: Duration::from_millis(30) };
        let voter: NodeId = "b".parse().unwrap();
        let priority =
            Priority { drained: false, last: false, stability: 0, centrality: 0, gpu: 0, order: 1 };
        let alive = Opinion::No(Refusal::LeaderAlive { free_in_us: 900_000 });
        for (cause, pauses) in [
            (ElectionCause::LeaderReleased, [2, 4, 8, 16]),
            (ElectionCause::LeaderSuspected, [30; 4]),
        ] {
            // However long it goes on.
            let pauses = pauses.into_iter().chain([30; 100]);
            let mut campaign = Campaign::new(cause, at(0), at(0), priority);
            let mut now = at(0);
            for (number, pause) in pauses.enumerate() {
                assert!(campaign.is_due(now, voter));
                let number = u64::try_from(number).unwrap();
                campaign.asked(now, voter, number, pace);
                campaign.heard(now, voter, number, 0, alive, pace);
                assert_eq!(
                    campaign.next_at(now, &[voter], pace),
                    now + Duration::from_millis(pause)
                );
                now = now + Duration::from_millis(pause);
            }
        }
    }

    #[test]
    fn an_answer_counts_unless_one_to_a_later_question_has_overtaken_it() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let pace = Pace { delta: Duration::from_millis(10), longest: Duration::from_millis(20) };
        let voter: NodeId = "b".parse().unwrap();
        let priority =
            Priority { drained: false, last: false, stability: 0, centrality: 0, gpu: 0, order: 1 };
        let mut campaign = Campaign::new(ElectionCause::NoLeader, at(0), at(0), priority);
        for number in 1..=3 {
            campaign.asked(at(number * 20), voter, number, pace);
        }
        let mut heard = |now, number| {
            let yes = Opinion::Yes { free_in_us: 500_000 };
            campaign.heard(at(now), voter, number, 0, yes, pace)
        };
        assert_eq!(heard(100, 2), Some(Duration::from_millis(60)));
        assert_eq!(heard(101, 1), None);
        assert_eq!(heard(102, 2), None);
        assert_eq!(heard(103, 3), Some(Duration::from_millis(43)));
        // Free by the question's time, not by the answer's.
        assert_eq!(campaign.quorum_free_at(at(104), at(0), 2, pace), Some(at(560)));
    }
}
