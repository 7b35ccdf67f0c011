//! The elections of the recent past, as this node saw them.

use core::time::Duration;
use ringrift_wire::NodeId;
use std::collections::{BTreeMap, VecDeque};

use crate::time::Instant;

/// The most elections that are remembered.
pub const MAX_HISTORY: usize = 50;

/// How one voter answered in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// It granted its vote.
    Granted,
    /// It refused.
    Refused,
    /// Nothing was heard.
    Silent,
}

/// One election that this node stood in or saw won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastElection {
    /// The term.
    pub term: u64,
    /// Why it was held, in a word of a closed set; `observed` when another node stood.
    pub cause: &'static str,
    /// Who won; `None` when nobody did.
    pub winner: Option<NodeId>,
    /// When this node saw the need of it, or the winner.
    pub started_at: Instant,
    /// From the need to the decision; zero when another node stood.
    pub took: Duration,
    /// When and how its winner's lead ended, once this node knows.
    pub ended: Option<(Instant, &'static str)>,
    /// How each voter answered, as far as this node knows.
    pub votes: BTreeMap<NodeId, Ballot>,
}

/// A bounded list of elections, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(VecDeque<PastElection>);

impl History {
    /// Notes an election; a later word about the same term replaces the earlier one, but a winner
    /// once seen stays.
    pub fn note(&mut self, election: PastElection) {
        if let Some(known) = self.0.iter_mut().find(|known| known.term == election.term) {
            if known.winner.is_none() {
                known.winner = election.winner;
            }
            return;
        }
        if self.0.len() == MAX_HISTORY {
            self.0.pop_back();
        }
        self.0.push_front(election);
    }

    /// A vote that arrived after the decision.
    pub fn vote(&mut self, term: u64, voter: NodeId, vote: Ballot) {
        if let Some(known) = self.0.iter_mut().find(|known| known.term == term) {
            known.votes.insert(voter, vote);
        }
    }

    /// The lead won in that term ended; the first word counts.
    pub fn ended(&mut self, term: u64, now: Instant, cause: &'static str) {
        if let Some(known) = self.0.iter_mut().find(|known| known.term == term)
            && known.winner.is_some()
            && known.ended.is_none()
        {
            known.ended = Some((now, cause));
        }
    }

    /// The elections, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &PastElection> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election(term: u64, winner: Option<&str>) -> PastElection {
        PastElection {
            term,
            cause: "no_leader",
            winner: winner.map(|name| name.parse().unwrap()),
            started_at: Instant::ZERO,
            took: Duration::ZERO,
            ended: None,
            votes: BTreeMap::new(),
        }
    }

    #[test]
    fn history_is_bounded_newest_first_and_keeps_winners() {
        let mut history = History::default();
        for term in 0..100 {
            history.note(election(term, None));
        }
        history.note(election(99, Some("a")));
        history.note(election(99, None));
        history.vote(99, "b".parse().unwrap(), Ballot::Granted);
        assert_eq!(history.iter().next().unwrap().votes.len(), 1);
        history.ended(99, Instant::ZERO, "stopped");
        history.ended(99, Instant::ZERO, "silent");
        history.ended(98, Instant::ZERO, "stopped");
        let ends: Vec<_> = history.iter().take(2).map(|past| past.ended).collect();
        assert_eq!(ends, [Some((Instant::ZERO, "stopped")), None], "98 was won by nobody");
        assert_eq!(history.iter().count(), MAX_HISTORY);
        let newest = history.iter().next().unwrap();
        assert_eq!((newest.term, newest.winner), (99, Some("a".parse().unwrap())));
    }
}
