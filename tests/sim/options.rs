//! What one run is like: every choice that is not made while it runs, drawn from its seed.
//!
//! Decides how many voters there are, their timings, clocks, links and disks, and which faults may
//! happen. Does not decide when they happen: that is the schedule of `faults`.

use ringrift_p2p::rng::Rng;

/// Nanoseconds of true time: since the start of the run, or a length.
pub(crate) type Nanos = u64;

/// One millisecond.
pub(crate) const MS: Nanos = 1_000_000;
/// One second.
pub(crate) const SECOND: Nanos = 1_000 * MS;

/// How links carry datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// Shortest one-way delay.
    pub(crate) delay_min: Nanos,
    /// Longest one-way delay of an ordinary datagram.
    pub(crate) delay_max: Nanos,
    /// Datagrams lost, of a thousand.
    pub(crate) loss: u64,
    /// Datagrams that arrive twice, of a thousand.
    pub(crate) duplicate: u64,
    /// Datagrams that arrive damaged, of a thousand.
    pub(crate) corrupt: u64,
    /// Datagrams that arrive far too late, of a thousand.
    pub(crate) late: u64,
    /// Longest delay of those.
    pub(crate) late_max: Nanos,
}

/// Which kinds of fault a run may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Links are cut in named shapes, in both directions or one.
    Cut,
    /// Links go up and down with a period.
    Flap,
    /// Processes are killed, and start again on the same store.
    Crash,
    /// The kernel starts again: the boot clock and the same-boot file are lost.
    Reboot,
    /// The disk comes back empty.
    Wipe,
    /// Processes are asked to stop.
    Stop,
    /// Processes stand still and go on as if nothing had been.
    Pause,
    /// Writes take long or fail.
    Disk,
    /// Operators ask for elections.
    Trigger,
    /// Operators move the lead, drain and resume, and the leader's work fails.
    Operator,
    /// Hosts sleep: their clock runs on, what is sent to them meanwhile is lost.
    Suspend,
    /// Wall clocks are set forwards and backwards.
    WallStep,
    /// Datagrams that were sent long ago, by processes that may be gone, arrive again.
    Replay,
    /// A second process has a voter's name, at an address of its own.
    Twin,
    /// Hosts are restarted with a voter list that differs by one name.
    OtherSet,
    /// Hosts are restarted with another lease.
    OtherLease,
}

const KINDS: [Kind; 16] = [
    Kind::Cut,
    Kind::Flap,
    Kind::Crash,
    Kind::Reboot,
    Kind::Wipe,
    Kind::Stop,
    Kind::Pause,
    Kind::Disk,
    Kind::Trigger,
    Kind::Suspend,
    Kind::WallStep,
    Kind::Replay,
    Kind::Twin,
    Kind::OtherSet,
    Kind::OtherLease,
    Kind::Operator,
];

/// The leases that hosts may be restarted with, in thousandths of the first one.
pub(crate) const OTHER_LEASES: [u64; 4] = [500, 1_000, 1_500, 3_000];

/// The voter list that some hosts have by mistake. One of one run: two lists that each differ from the
/// right one by a name may have two quorums without a common voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherSet {
    /// This voter is missing.
    Without(usize),
    /// The first observer is one of them.
    WithObserver,
}

/// The choices of one run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What they were drawn from.
    pub(crate) seed: u64,
    /// Configured voters, 1 to 9.
    pub(crate) voters: usize,
    /// Nodes that are no voters.
    pub(crate) observers: usize,
    /// Nobody is configured with the observers: they join by themselves.
    pub(crate) open: bool,
    /// The voter whose name a second host has.
    pub(crate) twin: Option<usize>,
    /// A voter list that is wrong.
    pub(crate) other_set: Option<OtherSet>,
    /// Voters are added and removed under way: any host may be one.
    pub(crate) changes: bool,
    /// Voters that never lead; fewer than a minority.
    pub(crate) never: usize,
    /// h.
    pub(crate) heartbeat: Nanos,
    /// L.
    pub(crate) lease: Nanos,
    /// Bound of an election round.
    pub(crate) election_timeout: Nanos,
    /// Between two probes of membership.
    pub(crate) probe: Nanos,
    /// The longest silence before a member is dead, whatever suspicion says.
    pub(crate) silence: Nanos,
    /// Rho in parts per million: hosts' clocks run between 1 - rho and 1 + rho of true time.
    pub(crate) drift_ppm: u32,
    /// How far apart the hosts' wall clocks are at most, in seconds.
    pub(crate) wall_spread_s: u64,
    /// How links carry datagrams while faults happen.
    pub(crate) quality: Quality,
    /// Longest time that a durable write takes on a healthy disk.
    pub(crate) fsync_max: Nanos,
    /// Longest time by which a process reacts late to a deadline.
    pub(crate) loop_lag: Nanos,
    /// A later write may stand for an earlier one of its kind that was not yet begun.
    pub(crate) coalesce: bool,
    /// All stores are empty at first.
    pub(crate) first_start: bool,
    /// The processes of a run start within this time.
    pub(crate) start_spread: Nanos,
    /// How long a voter must be better before it takes over, and the shortest time between two
    /// takeovers; far beyond a run, or within it.
    pub(crate) takeover: Option<(Nanos, Nanos)>,
    /// How long a voter that gave the lead up on request ranks last.
    pub(crate) block: Nanos,
    /// How long ending a leader's work may take; zero where leaders have no work.
    pub(crate) work_grace: Nanos,
    /// How many of a thousand hosts have a guardian.
    pub(crate) guarded: u64,
    /// Operators go on after the healing.
    pub(crate) planned: bool,
    /// Which faults happen.
    pub(crate) kinds: Vec<Kind>,
    /// Mean time between two faults.
    pub(crate) fault_gap: Nanos,
    /// How long faults happen.
    pub(crate) fault_span: Nanos,
    /// Rules that are not looked at, so that another one has to notice.
    pub(crate) unwatched: Vec<&'static str>,
}

/// One of the choices, each as likely as its weight says.
fn weighted<T: Copy>(rng: &mut Rng, choices: &[(u64, T)]) -> T {
    let total = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.below(total);
    for &(weight, choice) in choices {
        if at < weight {
            return choice;
        }
        at -= weight;
    }
    choices[0].1
}

/// A number from `low` to `high`, both included.
pub(crate) fn between(rng: &mut Rng, low: u64, high: u64) -> u64 {
    low + rng.below(high.saturating_sub(low) + 1)
}

/// Whether something of that many in a thousand happens.
pub(crate) fn chance(rng: &mut Rng, permille: u64) -> bool {
    rng.below(1_000) < permille
}

impl Options {
    /// Draws the choices of a run.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let voters = weighted(
            rng,
            &[(2, 1), (3, 2), (24, 3), (5, 4), (46, 5), (4, 6), (8, 7), (3, 8), (5, 9)],
        );
        let heartbeat = weighted(rng, &[(3, 20), (4, 50), (4, 100), (2, 250)]) * MS;
        let lease = heartbeat * weighted(rng, &[(2, 2), (4, 3), (6, 4), (1, 8)]);
        let delay_max = weighted(
            rng,
            &[(4, heartbeat / 50), (4, heartbeat / 10), (2, heartbeat / 2), (1, lease)],
        );
        let quality = Quality {
            delay_min: rng.below(delay_max / 2 + 1),
            delay_max,
            loss: weighted(rng, &[(4, 0), (3, 10), (3, 100), (1, 400)]),
            duplicate: weighted(rng, &[(2, 0), (2, 20), (1, 200)]),
            corrupt: weighted(rng, &[(3, 0), (1, 20)]),
            late: weighted(rng, &[(3, 0), (2, 10), (2, 100)]),
            late_max: weighted(rng, &[(2, 2 * lease), (1, 12 * lease)]),
        };
        let density = weighted(rng, &[(2, 150), (3, 350), (1, 600)]);
        let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| chance(rng, density)).collect();
        if kinds.is_empty() {
            kinds.push(Kind::Crash);
        }
        let observers = match rng.below(1_000) {
            0 => between(rng, 60, 200),
            1..10 => between(rng, 9, 40),
            10..60 => between(rng, 3, 8),
            _ => weighted(rng, &[(8, 0), (1, 1), (1, 2)]),
        };
        let many = observers > 8;
        // The shortest lease has to have room for two heartbeats.
        if many || lease < 4 * heartbeat {
            kinds.retain(|&kind| kind != Kind::OtherLease);
        }
        // Where one voter is a quorum by itself, nobody can tell its second process so.
        if voters < 2 || (voters == 2 && kinds.contains(&Kind::OtherSet)) {
            kinds.retain(|&kind| kind != Kind::Twin);
        }
        let mut twin = None;
        if kinds.contains(&Kind::Twin) {
            twin = Some(rng.below(voters as u64) as usize);
        }
        let mut other_set = None;
        if kinds.contains(&Kind::OtherSet) {
            let without = OtherSet::Without(rng.below(voters as u64) as usize);
            let with = observers > 0 && chance(rng, 500);
            other_set = if with { Some(OtherSet::WithObserver) } else { Some(without) };
            if voters == 1 && !with {
                other_set = None;
                kinds.retain(|&kind| kind != Kind::OtherSet);
            }
        }
        let more = &mut Rng::new(seed ^ 0x6ead);
        let takeover = (!many && chance(more, 400)).then(|| {
            let after = lease * weighted(more, &[(2, 1), (1, 4)]);
            (after, lease * weighted(more, &[(1, 4), (2, 12)]))
        });
        let block = weighted(more, &[(2, 600 * SECOND), (3, 4 * lease), (1, 0)]);
        let shortest = if kinds.contains(&Kind::OtherLease) { 16 } else { 8 };
        let work_grace = weighted(more, &[(2, 0), (2, lease / shortest), (2, lease / 16)]);
        let guarded = weighted(more, &[(2, 0), (1, 500), (2, 1_000)]);
        let planned = kinds.contains(&Kind::Operator) && chance(more, 500);
        let fault_span = lease * if many { between(rng, 4, 8) } else { between(rng, 6, 30) };
        let drawn = Self {
            seed,
            voters,
            observers: observers as usize,
            open: observers > 0 && chance(rng, 300),
            twin,
            other_set,
            changes: false,
            never: if voters > 2 && chance(rng, 100) { 1 } else { 0 },
            heartbeat,
            lease,
            election_timeout: weighted(rng, &[(1, lease / 2), (3, lease), (1, 2 * lease)]),
            probe: weighted(rng, &[(3, heartbeat), (1, 2 * heartbeat)]),
            silence: lease * weighted(rng, &[(3, 1), (1, 4)]),
            drift_ppm: weighted(rng, &[(1, 100), (4, 10_000), (1, 50_000)]),
            wall_spread_s: weighted(rng, &[(1, 0), (1, 2), (1, 600)]),
            quality,
            fsync_max: weighted(rng, &[(3, MS), (3, 10 * MS), (1, lease / 2)]),
            loop_lag: weighted(rng, &[(2, MS / 10), (2, 2 * MS), (1, heartbeat / 2)]),
            coalesce: chance(rng, 300),
            first_start: chance(rng, 300),
            start_spread: weighted(rng, &[(1, MS), (2, lease), (1, 4 * lease)]),
            takeover,
            block,
            work_grace,
            guarded,
            planned,
            kinds,
            fault_gap: weighted(rng, &[(1, lease / 4), (3, lease), (2, 4 * lease)]),
            fault_span,
            unwatched: Vec::new(),
        };
        // Two rounds of probes have to fit, or the program refuses to start.
        Self { silence: drawn.silence.max(2 * drawn.probe), ..drawn }
    }

    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> usize {
        self.voters + self.observers + usize::from(self.twin.is_some())
    }

    /// How many hosts a list of voters may name; they come first, and one of them may be an observer that is
    /// taken for a voter.
    pub(crate) fn most_voters(&self) -> usize {
        if self.changes { self.hosts() } else { self.voters + 1 }
    }

    /// Whether datagrams of the past arrive again.
    pub(crate) fn replays(&self) -> bool {
        self.kinds.contains(&Kind::Replay)
    }

    /// The shortest and the longest lease that a host may have.
    pub(crate) fn leases(&self) -> (Nanos, Nanos) {
        if !self.kinds.contains(&Kind::OtherLease) {
            return (self.lease, self.lease);
        }
        let part = |permille: Option<&u64>| self.lease * permille.unwrap_or(&1_000) / 1_000;
        (part(OTHER_LEASES.iter().min()), part(OTHER_LEASES.iter().max()))
    }

    /// A quiet cluster with the timings of the loopback configuration, for scenarios.
    pub(crate) fn quiet(voters: usize) -> Self {
        Self {
            seed: 1,
            voters,
            observers: 0,
            open: false,
            twin: None,
            other_set: None,
            changes: false,
            never: 0,
            heartbeat: 100 * MS,
            lease: 400 * MS,
            election_timeout: 400 * MS,
            probe: 100 * MS,
            silence: 400 * MS,
            drift_ppm: 10_000,
            wall_spread_s: 0,
            quality: Quality::calm(MS),
            fsync_max: 2 * MS,
            loop_lag: 0,
            coalesce: false,
            first_start: false,
            start_spread: 0,
            takeover: None,
            block: 600 * SECOND,
            work_grace: 0,
            guarded: 0,
            planned: false,
            kinds: Vec::new(),
            fault_gap: 400 * MS,
            fault_span: 0,
            unwatched: Vec::new(),
        }
    }
}

impl Quality {
    /// Links that lose nothing and take at most `delay_max` in one direction.
    pub(crate) const fn calm(delay_max: Nanos) -> Self {
        Self {
            delay_min: delay_max / 4,
            delay_max,
            loss: 0,
            duplicate: 0,
            corrupt: 0,
            late: 0,
            late_max: 0,
        }
    }
}
