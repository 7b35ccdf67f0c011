//! One member as recorded in the table.
//!
//! Decides what is kept of a member and what follows from that alone: how long its answers take, where its
//! word counts, what this node would say of it.

use core::net::SocketAddr;
use core::time::Duration;
use ringrift_wire::{Boot, MemberState, NodeId, Update};

use super::conflict::Rival;
use super::flap::Returns;
use super::interface::Refutation;
use super::precedence::Claim;
use super::reach::Unusable;
use super::suspicion::Suspicion;
use crate::time::Instant;

/// A member's state as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Configured, never heard of since this process started.
    Unknown,
    /// It answers.
    Alive,
    /// Accused, still counted reachable.
    Suspect,
    /// Declared dead.
    Dead,
    /// It said that it leaves.
    Left,
}

impl Health {
    /// The word for logs, labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }

    /// Whether it counts as reachable: alive or suspect.
    #[must_use]
    pub const fn is_reachable(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// Answers of a member before which its round trip is little known: the first may have come while everything
/// started, or through a relay while a straight path was being found, and in a large cluster the next is minutes away.
const FEW_ANSWERS: u32 = 16;

/// Smoothed round trip and its deviation [RFC 6298].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundTrip {
    smoothed: Duration,
    deviation: Duration,
    answers: u32,
}

impl RoundTrip {
    const fn first(took: Duration) -> Self {
        let deviation = Duration::from_nanos((took.as_nanos() / 2) as u64);
        Self { smoothed: took, deviation, answers: 1 }
    }

    fn add(&mut self, took: Duration) {
        self.answers = self.answers.saturating_add(1);
        let error = took.abs_diff(self.smoothed);
        self.deviation = (self.deviation * 3 + error) / 4;
        self.smoothed = (self.smoothed * 7 + took) / 8;
    }

    /// A wait that nearly every answer keeps.
    pub(super) fn timeout(self) -> Duration {
        self.smoothed + self.deviation * 4
    }
}

/// Another node, as recorded in the table.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub id: NodeId,
    /// Where it takes datagrams; `None` until its name is resolved.
    pub address: Option<SocketAddr>,
    /// Whether it is a configured voter.
    pub voter: bool,
    /// Whether it is configured: such a member is never reaped.
    pub seed: bool,
    /// Its state here.
    pub health: Health,
    /// Since when it is in that state.
    pub since: Instant,
    /// Sequence of its boot, once heard of.
    pub sequence: Option<u64>,
    /// Nonce of its boot, once heard from directly.
    pub nonce: Option<u64>,
    /// Its incarnation.
    pub incarnation: u32,
    /// When a datagram of its own last arrived here.
    pub last_heard: Option<Instant>,
    /// Share of the recent probes of this node that it did not answer directly, 0 to 1,000.
    pub loss_permille: u16,
    /// Probes of this node that it answered, directly or through others.
    pub probes_answered: u64,
    /// Probes of this node that it did not answer.
    pub probes_failed: u64,
    /// Its answers that came after their round was over.
    pub late_answers: u64,
    /// Slow answers since it last was fast again, those together counted once, and the last of them.
    slow_answers: u32,
    slow_at: Option<Instant>,
    /// Fast answers in a row to questions asked after that.
    fast_answers: u32,
    pub(super) round_trip: Option<RoundTrip>,
    /// The running accusation; present exactly while the member is suspect.
    pub(super) suspicion: Option<Box<Suspicion>>,
    /// Where the configuration has it, the preferred address first; empty when it is not configured
    /// or its name is not resolved.
    pub(super) configured: Box<[SocketAddr]>,
    /// Whether its nonce has spoken from where the configuration has it.
    pub(super) rooted: bool,
    /// When a datagram of its own last arrived from its address.
    pub(super) heard_at_home: Option<Instant>,
    /// When its boot was first heard of.
    pub(super) boot_since: Instant,
    /// The last sign of life: a datagram of its own, an answer through others, a refutation.
    pub(super) evidence: Instant,
    /// When this node last pinged it while it was not reachable.
    pub(super) called_at: Option<Instant>,
    /// Before this, no table is compared with its.
    pub(super) repair_after: Instant,
    /// How often in a row comparing tables with it brought nothing.
    pub(super) vain_repairs: u32,
    rare: Option<Box<Rare>>,
}

/// What is known of a member that something has happened to: apart, since of thousands only few have it.
#[derive(Clone, Debug)]
pub(super) struct Rare {
    /// Who declared it dead; present exactly while the member is dead.
    pub(super) buried_by: Option<NodeId>,
    /// Where else than in the configuration it has answered.
    pub(super) proven: Option<SocketAddr>,
    /// The last address of it that was refused, and why.
    pub(super) refused: Option<(SocketAddr, Unusable)>,
    /// A second live process under its name.
    pub(super) rival: Option<Rival>,
    /// Its returns from the dead.
    pub(super) returns: Returns,
    /// How the last accusation of it was answered, and when.
    refuted: Option<(Instant, Refutation)>,
    /// Who had made that accusation.
    refuted_accusers: Vec<NodeId>,
    /// The highest sequence that first-hand evidence has shown to be gone.
    pub(super) superseded: Option<u64>,
    /// When it was last told, by a message of its own, what is said of it.
    pub(super) told_at: Option<Instant>,
}

impl Rare {
    const NOTHING: Self = Self {
        buried_by: None,
        proven: None,
        refused: None,
        rival: None,
        returns: Returns::NONE,
        refuted: None,
        refuted_accusers: Vec::new(),
        superseded: None,
        told_at: None,
    };
}

impl Member {
    pub(super) fn new(id: NodeId, address: Option<SocketAddr>, now: Instant) -> Self {
        Self {
            id,
            address,
            voter: false,
            seed: false,
            health: Health::Unknown,
            since: now,
            sequence: None,
            nonce: None,
            incarnation: 0,
            last_heard: None,
            loss_permille: 0,
            probes_answered: 0,
            probes_failed: 0,
            late_answers: 0,
            slow_answers: 0,
            slow_at: None,
            fast_answers: 0,
            round_trip: None,
            suspicion: None,
            configured: address.into_iter().collect(),
            rooted: false,
            heard_at_home: None,
            boot_since: now,
            evidence: now,
            called_at: None,
            repair_after: Instant::ZERO,
            vain_repairs: 0,
            rare: None,
        }
    }

    pub(super) fn rare(&self) -> &Rare {
        static NOTHING: Rare = Rare::NOTHING;
        self.rare.as_deref().unwrap_or(&NOTHING)
    }

    /// To put something in.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| Box::new(Rare::NOTHING))
    }

    /// To take something out: `None` if there is nothing.
    pub(super) fn rare_if_any(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    /// The last address of it that was refused, and why.
    #[must_use]
    pub fn refused(&self) -> Option<(SocketAddr, Unusable)> {
        self.rare().refused
    }

    /// A second live process under its name.
    #[must_use]
    pub fn rival(&self) -> Option<Rival> {
        self.rare().rival
    }

    /// Whether so little was measured of it that what others take says as much.
    pub(super) fn is_little_known(&self) -> bool {
        self.round_trip.is_none_or(|estimate| estimate.answers < FEW_ANSWERS)
    }

    /// Smoothed round trip, from what it answered to this node.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip.map(|estimate| estimate.smoothed)
    }

    /// Who suspects it, by what this node has heard.
    pub fn suspected_by(&self) -> &[NodeId] {
        self.suspicion.as_ref().map_or(&[], |suspicion| suspicion.by())
    }

    /// Who suspects it and since when each of them does, the first accuser first.
    pub fn accusers(&self) -> impl Iterator<Item = (NodeId, Instant)> {
        self.suspicion.iter().flat_map(|suspicion| suspicion.accusers())
    }

    /// Who declared it dead, while it is dead.
    #[must_use]
    pub fn declared_dead_by(&self) -> Option<NodeId> {
        self.rare().buried_by
    }

    /// When and how the last accusation of it was answered.
    #[must_use]
    pub fn refuted(&self) -> Option<(Instant, Refutation)> {
        self.rare().refuted
    }

    /// Who had accused it then, the first accuser first.
    #[must_use]
    pub fn refuted_accusers(&self) -> &[NodeId] {
        &self.rare().refuted_accusers
    }

    /// Whether it is configured and has left: it is expected back.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        self.seed && matches!(self.health, Health::Left)
    }

    /// Whether it is reachable elsewhere than where the configuration has it, and has not yet spoken from there or
    /// has moved since.
    pub(super) fn is_stray(&self) -> bool {
        self.health.is_reachable()
            && (!self.rooted || self.rare().proven.is_some())
            && self.configured.iter().any(|home| self.address != Some(*home))
    }

    /// Whether it answers and is still counted as dead, because it comes and goes.
    #[must_use]
    pub fn is_held_off(&self) -> bool {
        self.rare().returns.hold.is_some()
    }

    /// Until when it is held off, should it answer without a break from now on.
    #[must_use]
    pub fn held_off_until(&self) -> Option<Instant> {
        self.rare().returns.hold.as_ref().map(|hold| hold.ends())
    }

    /// How long its slowest answers take, by what this node has measured; zero while nothing is known.
    /// One slow answer, as of a process that was stopped or has just started, counts little.
    pub(super) fn slowest_answer(&self, interval: Duration) -> Duration {
        let slowest = self.round_trip.map_or(Duration::ZERO, RoundTrip::timeout);
        if self.slow_answers < 2 { slowest.min(interval) } else { slowest }
    }

    /// It answered a question asked at `asked`.
    pub(super) fn add_answer(&mut self, now: Instant, asked: Instant, interval: Duration) {
        let took = now.since(asked);
        let slow_before = self.slow_at;
        if took > interval / 2 {
            // Those that come together have one cause.
            if slow_before.is_none_or(|at| now.since(at) >= interval) {
                self.slow_answers = self.slow_answers.saturating_add(1);
                self.slow_at = Some(now);
            }
            self.fast_answers = 0;
        } else if slow_before.is_some_and(|at| asked > at) {
            self.fast_answers += 1;
            if self.fast_answers >= 2 {
                (self.slow_answers, self.slow_at, self.fast_answers) = (0, None, 0);
                self.round_trip = Some(RoundTrip::first(took));
            }
        }
        self.add_round_trip(took);
    }

    pub(super) fn add_round_trip(&mut self, took: Duration) {
        match &mut self.round_trip {
            Some(estimate) => estimate.add(took),
            None => self.round_trip = Some(RoundTrip::first(took)),
        }
    }

    /// What this node would say of it; `None` while nothing is known.
    pub(super) fn claim(&self) -> Option<Claim> {
        let state = match self.health {
            Health::Unknown => return None,
            Health::Alive => MemberState::Alive,
            Health::Suspect => MemberState::Suspect { by: *self.suspected_by().first()? },
            Health::Dead => MemberState::Dead { by: self.rare().buried_by? },
            Health::Left => MemberState::Left,
        };
        Some(Claim { sequence: self.sequence?, incarnation: self.incarnation, state })
    }

    /// The same as a rumour; `None` also while its address is unknown.
    pub(super) fn update(&self) -> Option<Update> {
        let Claim { sequence, incarnation, state } = self.claim()?;
        Some(Update { member: self.id, address: self.address?, sequence, incarnation, state })
    }

    /// Whether what a process says from there counts as its word in elections: it is the process known
    /// under this name, it speaks from where the configuration has it, or from where it has proved to be
    /// after it had spoken from there.
    #[must_use]
    pub fn speaks_for_itself(&self, from: SocketAddr, nonce: u64) -> bool {
        self.nonce == Some(nonce)
            && (self.configured.contains(&from) || (self.rooted && self.address == Some(from)))
    }

    /// Where its word in elections is expected from: where it has proved to be, else where the
    /// configuration has it.
    #[must_use]
    pub fn seat(&self) -> Option<SocketAddr> {
        let configured = self.configured.first().copied();
        if self.rooted { self.address.or(configured) } else { configured.or(self.address) }
    }

    /// Turns to the next address that it is known under.
    pub(super) fn try_next_address(&mut self) {
        let mut all = self.configured.iter().copied().chain(self.rare().proven);
        let first = all.clone().next();
        let at = all.position(|one| Some(one) == self.address);
        self.address = at.and_then(|_| all.next()).or(first).or(self.address);
    }

    pub(super) fn is_boot(&self, boot: Boot) -> bool {
        self.sequence == Some(boot.sequence) && self.nonce.is_none_or(|nonce| nonce == boot.nonce)
    }

    /// What was said against it has been answered.
    pub(super) fn note_refutation(&mut self, now: Instant, how: Refutation, accusers: &[NodeId]) {
        let rare = self.rare_mut();
        rare.refuted = Some((now, how));
        accusers.clone_into(&mut rare.refuted_accusers);
    }

    pub(super) fn become_health(&mut self, now: Instant, health: Health) {
        if self.health != health {
            self.health = health;
            self.since = now;
        }
        if health != Health::Suspect {
            self.suspicion = None;
        }
        if health != Health::Dead
            && let Some(rare) = self.rare_if_any()
        {
            rare.buried_by = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_smoothed() {
        let id = NodeId::from_bytes(b"a").expect("a good name");
        let mut member = Member::new(id, None, Instant::ZERO);
        member.add_round_trip(Duration::from_millis(8));
        assert_eq!(member.round_trip(), Some(Duration::from_millis(8)));
        member.add_round_trip(Duration::from_millis(16));
        assert_eq!(member.round_trip(), Some(Duration::from_millis(9)));
        // Deviation (4 x 3 + 8) / 4 = 5 ms.
        assert_eq!(member.round_trip.map(RoundTrip::timeout), Some(Duration::from_millis(29)));
    }
}
