//! The faults of a run: a list drawn from the seed before the run starts.

use ringrift_p2p::rng::Rng;

use crate::host::Ending;
use crate::network::{Flap, Shape};
use crate::operator::{self, Verb};
use crate::options::{Kind, MS, Nanos, OTHER_LEASES, Options, between, chance};

/// Whom a fault hits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Whoever leads at that moment, else this host.
    Leader(usize),
    /// This host.
    Host(usize),
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The cuts become those of a shape.
    Shape(Shape),
    /// The target hears nobody.
    Deafen(Target),
    /// Nobody hears the target.
    Silence(Target),
    /// A link starts to go up and down.
    Flap(Flap),
    /// All links stay up.
    Settle,
    /// A process ends after so many more outputs, and starts again after a while.
    Crash { target: Target, ending: Ending, after: u64, down: Nanos },
    /// All processes end at once.
    CrashAll { ending: Ending, down: Nanos },
    /// A process is asked to stop, and starts again after a while.
    Stop { target: Target, down: Nanos },
    /// A process stands still after so many more outputs.
    Pause { target: Target, after: u64, lasting: Nanos },
    /// A host sleeps.
    Suspend { target: Target, lasting: Nanos },
    /// A wall clock is set to so many seconds ahead of true time.
    WallStep { host: usize, ahead_s: i64 },
    /// So many datagrams of the past arrive again.
    Replay { count: u64 },
    /// The second process of a voter's name starts, on a copy of the first one's store or on none.
    Twin { copy: bool },
    /// The second process of a voter's name is killed.
    TwinEnds,
    /// A host is restarted with the wrong voter list, or again with the right one.
    Voters { host: usize, wrong: bool, down: Nanos },
    /// A host is restarted with a lease of so many thousandths of the first one.
    Lease { host: usize, permille: u64, down: Nanos },
    /// Writes take up to so long for a while.
    SlowDisk { target: Target, up_to: Nanos, lasting: Nanos },
    /// Writes fail for a while.
    FailDisk { target: Target, lasting: Nanos },
    /// An operator asks for an election.
    Trigger(Target),
    /// An operator wants something of a host, or the leader's work fails there.
    Operator { target: Target, verb: Verb },
}

/// The faults of a run and their times, in order.
pub(crate) fn schedule(options: &Options, rng: &mut Rng) -> Vec<(Nanos, Fault)> {
    let mut faults = Vec::new();
    let mut at = options.start_spread;
    if options.kinds.is_empty() {
        return faults;
    }
    loop {
        at += between(rng, 0, 2 * options.fault_gap);
        if at >= options.fault_span {
            return faults;
        }
        let kind = options.kinds[rng.below(options.kinds.len() as u64) as usize];
        faults.push((at, draw(kind, options, rng)));
    }
}

fn draw(kind: Kind, options: &Options, rng: &mut Rng) -> Fault {
    let hosts = if chance(rng, 600) { options.voters } else { options.hosts() };
    let host = rng.below(hosts as u64) as usize;
    let target = if chance(rng, 500) { Target::Leader(host) } else { Target::Host(host) };
    let lease = options.lease;
    let after = if chance(rng, 300) { 0 } else { rng.below(40) };
    let down = match rng.below(4) {
        0 => between(rng, 0, 5 * MS),
        1 => between(rng, 0, lease / 2),
        2 => between(rng, 0, 2 * lease),
        _ => between(rng, 0, 6 * lease),
    };
    match kind {
        Kind::Cut => match rng.below(10) {
            0 => Fault::Deafen(target),
            1 => Fault::Silence(target),
            2 | 3 => Fault::Shape(Shape::Whole),
            _ => Fault::Shape(shape(options.hosts(), rng)),
        },
        Kind::Flap => {
            let hosts = options.hosts() as u64;
            let periods = [options.heartbeat, lease / 2, lease];
            if chance(rng, 250) {
                return Fault::Settle;
            }
            Fault::Flap(Flap {
                from: host,
                to: rng.below(hosts) as usize,
                period: periods[rng.below(3) as usize],
            })
        }
        Kind::Crash if chance(rng, 60) => Fault::CrashAll { ending: Ending::Killed, down },
        Kind::Crash => Fault::Crash { target, ending: Ending::Killed, after, down },
        Kind::Reboot => Fault::Crash { target, ending: Ending::Reboot, after, down },
        Kind::Wipe if chance(rng, 60) => Fault::CrashAll { ending: Ending::Wiped, down },
        Kind::Wipe => Fault::Crash { target, ending: Ending::Wiped, after, down },
        Kind::Stop => Fault::Stop { target, down },
        Kind::Pause => {
            let lasting = match rng.below(3) {
                0 => between(rng, 0, lease / 2),
                1 => between(rng, lease / 2, 2 * lease),
                _ => between(rng, lease, 10 * lease),
            };
            Fault::Pause { target, after, lasting }
        }
        Kind::Disk => {
            let lasting = between(rng, 0, 3 * lease);
            if chance(rng, 500) {
                Fault::FailDisk { target, lasting }
            } else {
                Fault::SlowDisk { target, up_to: between(rng, MS, 2 * lease), lasting }
            }
        }
        Kind::Trigger => Fault::Trigger(target),
        Kind::Operator => Fault::Operator { target, verb: operator::draw(options, rng) },
        Kind::Suspend => {
            let lasting = match rng.below(2) {
                0 => between(rng, 0, 2 * lease),
                _ => between(rng, lease, 10 * lease),
            };
            Fault::Suspend { target, lasting }
        }
        Kind::WallStep => Fault::WallStep { host, ahead_s: between(rng, 0, 1_200) as i64 - 600 },
        Kind::Replay => Fault::Replay { count: between(rng, 1, 16) },
        Kind::Twin if chance(rng, 300) => Fault::TwinEnds,
        Kind::Twin => Fault::Twin { copy: chance(rng, 500) },
        Kind::OtherSet => Fault::Voters { host, wrong: chance(rng, 600), down },
        Kind::OtherLease => {
            let permille = OTHER_LEASES[rng.below(OTHER_LEASES.len() as u64) as usize];
            Fault::Lease { host, permille, down }
        }
    }
}

/// A shape of cuts over hosts in random places.
fn shape(hosts: usize, rng: &mut Rng) -> Shape {
    let mut order: Vec<usize> = (0..hosts).collect();
    rng.shuffle(&mut order);
    let groups = |limits: &[usize]| {
        let mut group = vec![0; hosts];
        for (place, &host) in order.iter().enumerate() {
            group[host] = limits.iter().filter(|&&limit| place >= limit).count();
        }
        group
    };
    match rng.below(8) {
        0 => Shape::Split(groups(&[hosts / 2])),
        1 => Shape::Split(groups(&[1])),
        2 => Shape::Split(groups(&[hosts * 2 / 5, hosts * 4 / 5])),
        3 => Shape::Star(order[0]),
        4 => Shape::Bridge(groups(&[hosts / 2]), order[0]),
        5 if hosts >= 4 => Shape::OnlyThrough(vec![(order[0], order[1]), (order[2], order[3])]),
        6 => {
            let mut cut = Vec::new();
            for from in 0..hosts {
                for to in 0..hosts {
                    if chance(rng, 330) {
                        cut.push((from, to));
                    }
                }
            }
            Shape::Links(cut)
        }
        _ => Shape::Chain(order),
    }
}
