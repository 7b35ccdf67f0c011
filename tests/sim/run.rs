//! One run: faults until a moment, then a healed quorum that must find a leader.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::checkers::Violation;
use crate::checkers::calm::Calm;
use crate::checkers::liveness;
use crate::faults;
use crate::inject::is_timely;
use crate::liar::Lie;
use crate::options::{MS, Nanos, Options, between};
use crate::sometimes::{Hits, Path};
use crate::world::{What, World};

/// In one of so many seeds the healed hosts are given the time to find each other.
const COMPLETE_EVERY: u64 = 8;

/// How near a run came to the bounds, in thousandths of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worst {
    /// The longest time without a leader after the healing.
    pub(crate) leader: u64,
    /// How long after the healing somebody was not seen.
    pub(crate) agreement: u64,
    /// The most datagrams of one process in a probe interval.
    pub(crate) sends: u64,
}

/// What came of a run.
pub(crate) struct Report {
    /// The choices.
    pub(crate) options: Options,
    /// How many faults its schedule has.
    pub(crate) faults: usize,
    /// The first rule that did not hold.
    pub(crate) violation: Option<Violation>,
    /// Paths that were hit.
    pub(crate) hits: Hits,
    /// The account, when it was to be kept.
    pub(crate) timeline: Vec<String>,
    /// True time that passed.
    pub(crate) passed: Nanos,
    /// Events handled.
    pub(crate) steps: u64,
    /// How near it came to the bounds.
    pub(crate) worst: Worst,
}

/// Runs one seed.
pub(crate) fn run_seed(seed: u64, lie: Lie, keep_timeline: bool) -> Report {
    run(Options::draw(seed), lie, keep_timeline)
}

/// Runs with these choices.
pub(crate) fn run(options: Options, lie: Lie, keep_timeline: bool) -> Report {
    run_without(options, lie, keep_timeline, &BTreeSet::new())
}

/// How long a failed seed is made smaller at most.
const SHRINKING: Duration = Duration::from_secs(60);

/// A failed run with as little in it as its violation takes.
pub(crate) struct Shrunk {
    /// The choices, some of them made quieter.
    pub(crate) options: Options,
    /// The faults that are left out, by their place in the schedule.
    pub(crate) without: BTreeSet<usize>,
    /// The choices that were made quieter.
    pub(crate) quieter: Vec<&'static str>,
}

impl Shrunk {
    /// Nothing is left out.
    pub(crate) const fn whole(options: Options) -> Self {
        Self { options, without: BTreeSet::new(), quieter: Vec::new() }
    }
}

/// Takes one sort of fault out of the options of a run.
type Quieten = fn(&mut Options);

/// What may be made quieter in a run, by name.
const QUIETER: [(&str, Quieten); 9] = [
    ("nothing is lost", |options| options.quality.loss = 0),
    ("nothing arrives twice", |options| options.quality.duplicate = 0),
    ("nothing is damaged", |options| options.quality.corrupt = 0),
    ("nothing is far too late", |options| options.quality.late = 0),
    ("writes are not put together", |options| options.coalesce = false),
    ("disks are fast", |options| options.fsync_max = MS),
    ("loops are not late", |options| options.loop_lag = MS / 10),
    ("wall clocks agree", |options| options.wall_spread_s = 0),
    ("clocks run alike", |options| options.drift_ppm = 100),
];

/// Leaves out of a failed seed what its violation can do without: faults one by one, from the last, and
/// then what else is rough.
pub(crate) fn shrink(seed: u64, rule: &str) -> Shrunk {
    let began = std::time::Instant::now();
    let mut shrunk = Shrunk::whole(Options::draw(seed));
    let fails = |options: &Options, without: &BTreeSet<usize>| {
        let report = run_without(options.clone(), Lie::None, false, without);
        report.violation.is_some_and(|violation| violation.rule == rule)
    };
    let faults = run_seed(seed, Lie::None, false).faults;
    for fault in (0..faults).rev().take_while(|_| began.elapsed() < SHRINKING) {
        shrunk.without.insert(fault);
        if !fails(&shrunk.options, &shrunk.without) {
            shrunk.without.remove(&fault);
        }
    }
    for (name, quiet) in QUIETER.iter().take_while(|_| began.elapsed() < SHRINKING) {
        let mut options = shrunk.options.clone();
        quiet(&mut options);
        if fails(&options, &shrunk.without) {
            shrunk.options = options;
            shrunk.quieter.push(name);
        }
    }
    shrunk
}

/// Runs with these choices and without some of the faults.
pub(crate) fn run_without(
    options: Options,
    lie: Lie,
    keep_timeline: bool,
    without: &BTreeSet<usize>,
) -> Report {
    let mut world = World::new(options.clone(), lie, keep_timeline);
    for host in 0..world.hosts.len() {
        let at = between(&mut world.rng, 0, options.start_spread);
        world.at(at, What::Start { host });
    }
    let schedule = faults::schedule(&options, &mut world.rng);
    let faults = schedule.len();
    for (place, (at, fault)) in schedule.into_iter().enumerate() {
        if !without.contains(&place) {
            world.at(at, What::Fault(fault));
        }
    }
    world.run_until(options.fault_span);
    if world.violation.is_none() {
        let one_way = between(&mut world.rng, MS / 10, (options.heartbeat / 8).max(MS / 5));
        // "Disks work": a round in which every write is the longest must fit its timeout.
        world.options.fsync_max = options.fsync_max.min(options.election_timeout / 8);
        let healed = world.heal(one_way);
        let deadline = world.checkers.liveness.map_or(world.now, |liveness| liveness.due()) + MS;
        let led = |world: &World| world.leader().is_some_and(|leader| healed.contains(&leader));
        while world.violation.is_none() && world.now < deadline && !led(&world) {
            world.run_for(options.lease / 4);
        }
        let settled = world.now + 2 * options.leases().1 + liveness::store_retry(&options);
        if options.planned {
            world.plan(settled, settled + 6 * options.lease, &healed);
        }
        if is_timely(&options, one_way) {
            world.checkers.calm = Some(Calm::new(settled, healed.clone()));
        }
        world.run_until(settled + 6 * options.lease);
        if let Some(leader) = world.leader() {
            let inside = healed.contains(&leader);
            world.hits.hit(if inside { Path::HealedAndLed } else { Path::LedByOutsiderAfterHeal });
        }
        // Now and then long enough for everybody to have found everybody.
        let due = world.checkers.agreement.as_ref().map_or(0, |agreement| agreement.due());
        if options.seed.is_multiple_of(COMPLETE_EVERY) && options.observers <= 8 {
            world.run_until(due + 16 * options.probe);
        }
        world.watch_takeover(&healed, one_way);
        world.wait_for_answers();
        if world.now > due {
            world.hits.hit(Path::EverybodySeen);
        }
    }
    let checkers = &world.checkers;
    let worst = Worst {
        leader: checkers.liveness.map_or(0, |it| it.worst_permille()),
        agreement: checkers.agreement.as_ref().map_or(0, |it| it.worst_permille()),
        sends: checkers.bounds.worst_permille(),
    };
    Report {
        options,
        faults,
        violation: world.violation,
        hits: world.hits,
        timeline: world.timeline.lines().to_vec(),
        passed: world.now,
        steps: world.steps,
        worst,
    }
}
