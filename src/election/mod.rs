//! Who leads: Bully under a voter quorum.
//!
//! [`core`] decides what is safe; [`Machine`] around it decides when to try, in which order and how
//! often, whom to follow, and what to tell. Nothing in the machine is needed for safety, so it may be
//! as eager as liveness wants.
//!
//! The life of an election: a need of a leader is seen ([`ElectionCause`]); after the turn of every
//! better voter this one canvasses, which binds nobody; with a quorum of yeses whose promises are
//! free it stands; with a quorum of votes it leads, and beats.

pub mod ballot;
mod beacon;
mod campaign;
pub mod core;
mod event;
mod farewell;
mod follow;
pub mod genesis;
mod handle;
mod handover;
mod history;
mod invited;
#[cfg(test)]
mod lab;
pub mod lease;
mod operator;
mod params;
mod priority;
mod pursue;
pub mod quorum;
pub mod record;
pub mod roster;
mod said;
mod store_health;
mod takeover;
mod timers;
mod trigger;
mod upkeep;
mod voters;

use ::core::time::Duration;
use ringrift_wire::{Boot, Election, Message, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use event::{ElectionCause, Event, LossCause};
pub use follow::Known;
pub use handover::HandoverOutcome;
pub use history::{Ballot, History, PastElection};
pub use params::{Hysteresis, Params, Place};
pub use quorum::VoterSet;
pub use said::{Said, word as refusal_word};
pub use takeover::{Takeover, TakeoverBlock};
pub use trigger::Reply;
pub use voters::{Standing, Voter, Voters};

use self::campaign::{Campaign, Pace};
use self::core::{Core, Rules};
use self::follow::Follow;
use self::record::{Restored, Write};
use crate::rng::Rng;
use crate::time::Instant;

/// The most lost leases that are remembered.
const MAX_LOSSES: usize = 16;
/// The longest pause between two questions of a canvass.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two attempts to write a record that failed, or a heartbeat interval if that is shorter.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What a machine must be told once.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This node.
    pub me: NodeId,
    /// This process start.
    pub boot: Boot,
    /// Unix seconds at the start of the process.
    pub started_unix: u64,
    /// The configured voters.
    pub set: VoterSet,
    /// Timings and order.
    pub params: Params,
    /// How long a round trip is evidence of reach: `max(2h, 2n probe intervals)`.
    pub evidence_window: Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What the machine wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this; answered by [`Machine::persisted`].
    Persist {
        /// Echoed by the answer.
        number: u64,
        /// What.
        write: Write,
    },
    /// Send this to that voter.
    Send {
        /// Which voter.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Tell people.
    Notify(Event),
    /// End the leader's work (hooks, the command), and say so with [`Machine::work_ended`]. Until
    /// then this node leads on, and releases nobody. After `by` it does not renew its lease any more, so it
    /// leads no longer than that, whatever becomes of the work. `by` is never later than the end of
    /// the lease.
    EndWork {
        /// The term whose work it is.
        term: u64,
        /// Why it has to end.
        cause: LossCause,
        /// The end of the time for it.
        by: Instant,
    },
    /// A question to a voter was answered after `took`.
    RoundTrip {
        /// Which voter.
        voter: NodeId,
        /// How long it took.
        took: Duration,
    },
    /// The answer to a command.
    Reply {
        /// The number of the command.
        number: u64,
        /// The answer.
        reply: Reply,
    },
}

/// The upkeep of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Upkeep {
    /// The term that was told.
    term: u64,
    beat_at: Instant,
    next_beat: Instant,
    next_retry: Instant,
    retry_gap: Duration,
    silent: BTreeSet<NodeId>,
    raise: Option<Raise>,
    rivals: takeover::Rivals,
    since: Instant,
}

/// A voter's term is above the leader's: a re-election is due, or under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raise {
    above: u64,
    deadline: Instant,
    next_at: Instant,
}

/// A vote asked for while a promise to another runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deferred {
    nonce: u64,
    asked: Election,
    until: Instant,
}

/// Counters since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Elections that this node stood in, voted in or saw won: one a term.
    pub elections: u64,
    /// Changes of the known leader to another one, or from none to one.
    pub leader_changes: u64,
    /// Heartbeats of this leader that voters acknowledged.
    pub heartbeats_acknowledged: u64,
}

/// The election part of a node: a voter's, or an observer's that only follows.
#[derive(Clone, Debug)]
pub struct Machine {
    setup: Setup,
    started_at: Instant,
    /// Present on a voter.
    core: Option<Core>,
    voters: Voters,
    follow: Follow,
    campaign: Option<Campaign>,
    upkeep: Option<Upkeep>,
    deferred: BTreeMap<NodeId, Deferred>,
    pending: Option<trigger::Pending>,
    handover: Option<handover::Handover>,
    invited: Option<invited::Invited>,
    draining: Option<operator::Draining>,
    takeovers: takeover::Takeovers,
    /// This leader looks for a successor of its own accord no earlier than this.
    next_move: Instant,
    /// Why there is no leader, when there is none.
    vacancy: ElectionCause,
    /// A worse voter was told `better`: this one owes it an attempt until then.
    nudged_until: Instant,
    /// This node was late, and has not heard another voter since: no new attempt before this.
    unheard_until: Instant,
    /// No new attempt before this.
    quiet_until: Instant,
    /// Ranks last until this.
    last_until: Instant,
    /// Gave the lead up on request, and ranks last until this.
    blocked_until: Instant,
    setback: operator::Setback,
    failures: u32,
    /// Bucket of what the other voters say of their reach of this one.
    centrality: u8,
    losses: VecDeque<Instant>,
    trigger_blocked_until: Option<Instant>,
    next_inquiry: Instant,
    inquiry_gap: Duration,
    next_store_retry: Instant,
    /// What the last check of the vote store found wrong.
    store_problem: Option<String>,
    /// Since when the store has not worked.
    store_failed_at: Option<Instant>,
    stopping: bool,
    number: u64,
    announced: Option<NodeId>,
    announced_term: Option<u64>,
    counted_term: u64,
    history: History,
    counters: Counters,
    rng: Rng,
    outputs: VecDeque<Output>,
}

impl Machine {
    /// The election part of a node at the start of its process.
    #[must_use]
    pub fn new(setup: Setup, restored: Restored, now: Instant) -> Self {
        let me = setup.me;
        let voter = setup.set.contains(me);
        let rules = Rules {
            me,
            nonce: setup.boot.nonce,
            set: setup.set.clone(),
            lease: setup.params.lease,
            drift_ppm: setup.params.clock_drift_ppm,
        };
        let core = voter.then(|| Core::new(rules, restored, now));
        let counted_term = core.as_ref().map_or(0, |core| core.record().term);
        let mut machine = Self {
            started_at: now,
            core,
            voters: Voters::new(&setup.set, me, setup.params.heartbeat_interval),
            follow: Follow::default(),
            campaign: None,
            upkeep: None,
            deferred: BTreeMap::new(),
            pending: None,
            handover: None,
            invited: None,
            draining: None,
            takeovers: takeover::Takeovers::default(),
            next_move: Instant::ZERO,
            vacancy: ElectionCause::NoLeader,
            nudged_until: Instant::ZERO,
            unheard_until: Instant::ZERO,
            quiet_until: Instant::ZERO,
            last_until: Instant::ZERO,
            blocked_until: Instant::ZERO,
            setback: operator::Setback::default(),
            failures: 0,
            centrality: 0,
            losses: VecDeque::new(),
            trigger_blocked_until: None,
            next_inquiry: now,
            inquiry_gap: Duration::ZERO,
            next_store_retry: now,
            store_problem: None,
            store_failed_at: None,
            stopping: false,
            // No report to a question of an earlier process may seem to answer one of this.
            number: setup.boot.nonce,
            announced: None,
            announced_term: None,
            counted_term,
            history: History::default(),
            counters: Counters::default(),
            rng: Rng::new(setup.seed),
            outputs: VecDeque::new(),
            setup,
        };
        machine.say_farewells();
        machine.settle(now);
        machine
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// A write has ended.
    pub fn persisted(&mut self, now: Instant, number: u64, done: bool) {
        let worked = self.store_works();
        let Some(core) = &mut self.core else { return };
        core.persisted(number, done);
        self.tell_store_health(now, worked);
        if !done {
            self.next_store_retry = now + STORE_RETRY.min(self.setup.params.heartbeat_interval);
        }
        self.settle(now);
    }

    /// The time of a deadline may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    /// Membership's word of a voter.
    pub fn standing(&mut self, now: Instant, id: NodeId, standing: Standing) {
        if let Some(voter) = self.voters.get_mut(id) {
            voter.standing = standing;
            self.settle(now);
        }
    }

    /// This node's own loop was late by more than a probe interval. What it knows of the others is as
    /// old as that: nothing of it is evidence of reach, and no attempt begins before another voter
    /// was heard, or one heartbeat interval has passed in which nobody was.
    pub fn resumed(&mut self, now: Instant) {
        self.voters.forget_round_trips();
        self.unheard_until = now + self.setup.params.heartbeat_interval;
    }

    /// A ping of a voter was answered after `took`.
    pub fn round_trip(&mut self, now: Instant, id: NodeId, took: Duration) {
        self.repeat_farewell(id);
        self.voters.round_trip(now, id, took);
        self.unheard_until = Instant::ZERO;
        self.settle(now);
    }

    /// The process is about to end: stands no more, and hands the lead over. A leader may lead on
    /// until then, for less than half a second ([`Machine::leads`]).
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        self.expire(now);
        self.hand_over(now, LossCause::Stopped, None, None);
        self.abandon(now, "yielded");
        self.settle(now);
    }

    /// The process must not speak again: leads no more, stands no more, frees whom it can.
    pub fn halt(&mut self, now: Instant) {
        self.stopping = true;
        self.resign(now, LossCause::Stopped);
        self.abandon(now, "yielded");
        self.settle(now);
    }

    // ---- What is so -------------------------------------------------------------------------

    /// The safety of a voter; `None` on an observer.
    #[must_use]
    pub const fn core(&self) -> Option<&Core> {
        self.core.as_ref()
    }

    /// The other voters.
    #[must_use]
    pub const fn voters(&self) -> &Voters {
        &self.voters
    }

    /// The leader that this node follows.
    #[must_use]
    pub fn follows(&self, now: Instant) -> Option<&Known> {
        if self.leads(now) { None } else { self.follow.leader(now) }
    }

    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.core.as_ref().is_some_and(|core| core.leads(now))
    }

    /// Who leads, as far as this node may say.
    #[must_use]
    pub fn leader(&self, now: Instant) -> Option<NodeId> {
        if self.leads(now) { Some(self.setup.me) } else { self.follows(now).map(|known| known.id) }
    }

    /// The highest term that this node took part in or follows.
    #[must_use]
    pub fn term(&self) -> u64 {
        let own = self.core.as_ref().map_or(0, |core| core.record().term);
        own.max(self.follow.last().map_or(0, |known| known.term))
    }

    /// Whether the leader that this node follows is accused, and has not been heard since.
    #[must_use]
    pub fn leader_suspected(&self, now: Instant) -> bool {
        let Some(known) = self.follows(now) else { return false };
        match self.voters.get(known.id).map(|voter| voter.standing) {
            Some(Standing::Suspected(since) | Standing::Gone(since)) => known.heard_at <= since,
            Some(Standing::Unknown | Standing::Well) | None => false,
        }
    }

    /// Whether this node canvasses or stands without leading.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.campaign.as_ref().is_some_and(|campaign| campaign.announced)
    }

    /// Whether this node stands, re-elections included.
    #[must_use]
    pub fn election_in_progress(&self) -> bool {
        self.is_candidate() || self.core.as_ref().is_some_and(|core| core.tally().is_some())
    }

    /// The elections of the recent past.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Counters since the start of the process.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Until when a trigger is refused.
    #[must_use]
    pub const fn trigger_blocked_until(&self) -> Option<Instant> {
        self.trigger_blocked_until
    }

    /// Whether the process is about to end.
    #[must_use]
    pub const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Until when this voter ranks last because it gave the lead up on request.
    #[must_use]
    pub const fn blocked_until(&self) -> Instant {
        self.blocked_until
    }

    // ---- Time -------------------------------------------------------------------------------

    pub(crate) fn unix_now(&self, now: Instant) -> u64 {
        self.setup.started_unix.saturating_add(now.since(self.started_at).as_secs())
    }

    fn pace(&self) -> Pace {
        let delta = self.voters.delta();
        let longest = (self.setup.params.heartbeat_interval / 4).min(LONGEST_PAUSE).max(delta);
        Pace { delta, longest }
    }

    fn next_number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    fn notify(&mut self, event: Event) {
        self.outputs.push_back(Output::Notify(event));
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Hands on what the core wants, behind what was wanted before.
    fn drain_core(&mut self) {
        let Some(core) = &mut self.core else { return };
        while let Some(output) = core.poll_output() {
            self.outputs.push_back(match output {
                core::Output::Persist { number, write } => Output::Persist { number, write },
                core::Output::Send { to, message } => Output::Send { to, message },
            });
        }
    }
}

#[cfg(test)]
mod tests;
