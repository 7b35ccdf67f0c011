//! The change of voters: one voter a version, with processes that have different files meanwhile.
//!
//! The checkers watch as in a sweep. `VOTERS_RUNS=1000` runs that many seeds of random changes under faults,
//! `VOTERS_SEED=0x2a` runs one and prints what happened in it.

use ringrift_p2p::election::VoterSet;
use ringrift_p2p::node::Command;
use ringrift_p2p::rng::Rng;
use ringrift_wire::NodeId;

use crate::faults;
use crate::host::Ending;
use crate::liar::Lie;
use crate::network::Shape;
use crate::options::{Kind, MS, Nanos, Options, Quality, SECOND, between, chance};
use crate::scenarios::Scene;
use crate::world::{What, World};

/// Seeds of the random changes when nobody says otherwise.
const DEFAULT_RUNS: u64 = if cfg!(debug_assertions) { 6 } else { 200 };

const LEASE: Nanos = 400 * MS;
/// By when a lost leader is replaced; see the scenarios.
const REPLACED: Nanos = LEASE + LEASE / 50 + 7 * 50 * MS + 4 * MS + 4 * MS;
/// A voter that stopped in good order is replaced within this: what better voters there may be stand first.
const HANDED_ON: Nanos = 7 * 50 * MS + LEASE / 8;

fn set(world: &World, members: &[usize], version: u32) -> VoterSet {
    let ids: Vec<NodeId> = members.iter().map(|&host| world.hosts[host].id).collect();
    VoterSet::new(&ids, version)
}

/// Ends a process in good order.
fn stop(scene: &mut Scene, host: usize) {
    scene.command(host, Command::Stop);
    scene.go(50 * MS);
    scene.crash(host, Ending::Killed);
}

/// Starts a host again with that file.
fn restart_with(scene: &mut Scene, host: usize, file: &VoterSet) {
    stop(scene, host);
    scene.hosts[host].voter_set = file.clone();
    scene.start(host);
}

/// The procedure of the README: the voters that stay, then the added one, then the leader, then the removed
/// one, which must not lead; after each restart there is a leader within its bound.
fn change(scene: &mut Scene, old: &[usize], new: &[usize], version: u32) {
    let file = set(scene, new, version);
    let leads = |world: &World| world.leader().is_some();
    let removed: Vec<usize> = old.iter().copied().filter(|host| !new.contains(host)).collect();
    for &host in &removed {
        if scene.leader() == Some(host) {
            stop(scene, host);
            let other = |world: &World| world.leader().is_some_and(|leader| leader != host);
            scene.wait(HANDED_ON, "another leads", other);
            scene.start(host);
            scene.go(LEASE);
        }
    }
    let mut left: Vec<usize> = new.iter().copied().filter(|host| old.contains(host)).collect();
    left.extend(new.iter().copied().filter(|host| !old.contains(host)));
    while !left.is_empty() {
        let leader = scene.leader();
        let at = left.iter().position(|&host| Some(host) != leader).unwrap_or(0);
        let host = left.remove(at);
        restart_with(scene, host, &file);
        let limit = if Some(host) == leader { HANDED_ON } else { REPLACED };
        scene.wait(limit, "somebody leads after a restart", leads);
        if Some(host) != leader {
            let same = |world: &World| world.leader() == leader;
            scene.hold(LEASE, "a follower with the next file disturbs nobody", same);
        }
        // An added voter has an empty store: it is ready once it has a record.
        scene.wait(3 * LEASE, "the voter has its record", |world| {
            world.hosts[host].disk.record.is_some()
        });
    }
    for host in removed {
        restart_with(scene, host, &file);
        scene.hold(LEASE, "the removed voter changes nothing", leads);
    }
    scene.go(LEASE);
    let member = scene.leader().is_some_and(|leader| new.contains(&leader));
    assert!(member, "{:?} leads version {version}", scene.leader());
}

/// All five voters are replaced one after the other: ten versions, at the end of which nobody of the first
/// five is a voter.
#[test]
fn all_five_voters_are_replaced_one_after_the_other() {
    let mut scene = Scene::started(Options { observers: 5, changes: true, ..Options::quiet(5) });
    for host in 5..10 {
        scene.hosts[host].disk.record = None;
    }
    scene.wait(4 * LEASE, "somebody leads", |world| world.leader().is_some());
    scene.go(4 * LEASE);
    let mut voters: Vec<usize> = (0..5).collect();
    let mut version = 1;
    for at in 0..5 {
        let mut more = voters.clone();
        more.push(5 + at);
        version += 1;
        change(&mut scene, &voters, &more, version);
        let fewer: Vec<usize> = more.iter().copied().filter(|&host| host != at).collect();
        version += 1;
        change(&mut scene, &more, &fewer, version);
        voters = fewer;
    }
    assert_eq!(voters, [5, 6, 7, 8, 9]);
    for host in voters {
        let record = scene.hosts[host].disk.record.expect("a voter's record");
        assert_eq!((record.set_version, record.led_version), (11, 11), "host {host}");
    }
    let leader = scene.leader();
    scene.hold(20 * LEASE, "nothing changes any more", |world| world.leader() == leader);
}

/// Two at once, as no operator should: the two versions do not meet, and nobody leads the second one.
#[test]
fn a_version_that_skips_one_has_no_leader() {
    let mut scene = Scene::started(Options { observers: 2, changes: true, ..Options::quiet(3) });
    scene.wait(4 * LEASE, "somebody leads", |world| world.leader().is_some());
    scene.go(4 * LEASE);
    let leader = scene.leader();
    let file = set(&scene, &[0, 1, 2, 3, 4], 3);
    for host in [2, 3, 4] {
        restart_with(&mut scene, host, &file);
    }
    scene.hold(20 * LEASE, "the voters of version 1 go on", |world| world.leader() == leader);
}

#[test]
fn a_voter_with_an_older_file_follows_and_hinders_nobody() {
    let mut scene = Scene::started(Options { observers: 1, changes: true, ..Options::quiet(5) });
    scene.wait(4 * LEASE, "somebody leads", |world| world.leader().is_some());
    let file = set(&scene, &[0, 1, 2, 3, 4, 5], 2);
    for host in [5, 4, 3, 2, 1] {
        restart_with(&mut scene, host, &file);
        scene.go(2 * LEASE);
    }
    // The leader of version 1 keeps it as long as it lives: all of version 2 acknowledge it.
    assert_eq!(scene.leader(), Some(0));
    scene.crash(0, Ending::Killed);
    scene.wait(REPLACED, "version 2 leads", |world| world.leader().is_some());
    scene.start(0);
    let leader = scene.leader();
    scene.hold(20 * LEASE, "version 1 comes back and follows", |world| world.leader() == leader);
    assert_eq!(scene.hosts[0].disk.record.map(|record| record.led_version), Some(2));
}

/// Faults that need a configuration of their own.
const OF_FILES: [Kind; 3] = [Kind::Twin, Kind::OtherSet, Kind::OtherLease];

/// What came of one seed.
struct Run {
    world: World,
    /// The highest version that led, as the records say.
    highest: u32,
    /// How many versions there are.
    versions: usize,
    /// Nobody need lead: a disk was lost, or voters have joined a version before the one below it has led.
    lost: bool,
    /// The voters of the last one.
    last: Vec<usize>,
}

/// A chain of sets, each one voter further than the one before; one that stays is among any two of them that
/// are neighbours.
fn chain(options: &Options, rng: &mut Rng) -> Vec<Vec<usize>> {
    let hosts = options.voters + options.observers;
    let mut sets: Vec<Vec<usize>> = vec![(0..options.voters).collect()];
    for _ in 0..between(rng, 2, 6) {
        let mut next = sets[sets.len() - 1].clone();
        let outside: Vec<usize> = (0..hosts).filter(|host| !next.contains(host)).collect();
        if next.len() > 2 && (outside.is_empty() || chance(rng, 500)) {
            let at = rng.below(next.len() as u64) as usize;
            next.remove(at);
        } else if let Some(&host) = outside.get(rng.below(outside.len().max(1) as u64) as usize) {
            next.push(host);
        }
        sets.push(next);
    }
    sets
}

/// Faults as in a sweep, and hosts that get the files of later versions in any order, some of them two at
/// once; then all is healed, and the files are given to all in their order. Unless disks were lost,
/// somebody has to lead the last version.
fn run(seed: u64, timeline: bool) -> Run {
    let drawn = Options::draw(seed);
    let mut rng = Rng::new(seed ^ 0x0000_5e70_fa11);
    let options = Options {
        voters: drawn.voters.min(5),
        observers: 1 + rng.below(3) as usize,
        changes: true,
        never: 0,
        first_start: false,
        // Votes count from configured addresses.
        open: false,
        // The files are this test's business, and nothing else of the configuration changes with them.
        twin: None,
        other_set: None,
        kinds: drawn.kinds.iter().copied().filter(|kind| !OF_FILES.contains(kind)).collect(),
        ..drawn
    };
    let sets = chain(&options, &mut rng);
    let mut world = World::new(options.clone(), Lie::None, timeline);
    let files: Vec<VoterSet> =
        (1..).zip(&sets).map(|(version, members)| set(&world, members, version)).collect();
    let hosts = world.hosts.len();
    for host in 0..hosts {
        if host >= options.voters {
            world.hosts[host].disk.record = None;
            world.checkers.terms.found(host, 0);
        }
        world.at(between(&mut rng, 0, options.start_spread), What::Start { host });
    }
    for (at, fault) in faults::schedule(&options, &mut world.rng) {
        world.at(at, What::Fault(fault));
    }
    let mut has = vec![0; hosts];
    let give = |world: &mut World, has: &mut Vec<usize>, host: usize, file: usize, ending| {
        if world.hosts[host].process.is_some() {
            world.crash(host, ending);
        }
        has[host] = file;
        world.hosts[host].voter_set = files[file].clone();
        world.start(host);
    };
    let span = options.fault_span + options.lease * 12;
    while world.now < span && world.violation.is_none() {
        world.run_for(between(&mut rng, options.lease / 8, options.lease));
        let host = rng.below(hosts as u64) as usize;
        let ahead = if chance(&mut rng, 100) { 2 } else { 1 };
        let file = (has[host] + ahead).min(files.len() - 1);
        // Voters that are all empty found a cluster of their own, whatever their file says; see the protocol. An
        // empty host gets the file of a version when the one before it has led.
        let led =
            world.hosts.iter().filter_map(|host| host.disk.record).map(|it| it.led_version).max();
        let empty = world.hosts[host].disk.record.is_none();
        if empty && files[file].tag().version > led.unwrap_or(0) + 1 {
            continue;
        }
        let ending = if chance(&mut rng, 300) { Ending::Reboot } else { Ending::Killed };
        if world.violation.is_none() && file > has[host] && !world.hosts[host].retired {
            give(&mut world, &mut has, host, file, ending);
        }
    }
    // All is healed. Whatever was done: all get each file in turn that they may still have, until the last.
    let bound = options.lease * 30 + 4 * SECOND;
    world.network.settle();
    world.network.shape(&Shape::Whole);
    let all: Vec<usize> = (0..hosts).collect();
    world.network.heal(&all, Quality::calm(MS / 2));
    for host in 0..hosts {
        if let Some(process) = &mut world.hosts[host].process {
            process.crash = None;
            process.pause = None;
        }
        world.hosts[host].disk.slow = None;
        world.hosts[host].disk.failing_until = 0;
        if world.is_drained(host) {
            // Whoever is drained leads nothing, however healthy it is.
            world.crash(host, Ending::Killed);
            if let Some(record) = &mut world.hosts[host].disk.record {
                record.drained = false;
            }
            world.start(host);
        }
        world.resume(host);
    }
    let led = |world: &World| {
        let records = world.hosts.iter().filter_map(|host| host.disk.record);
        records.map(|record| record.led_version).max().unwrap_or(0)
    };
    let joined = world.hosts.iter().filter_map(|host| host.disk.record).map(|it| it.set_version);
    let lost = joined.max().unwrap_or(0) > led(&world) + 1 || world.wipes > 0;
    let versions: Vec<u32> = (1..).take(files.len()).collect();
    for (file, &version) in versions.iter().enumerate() {
        for host in 0..hosts {
            // A lost disk is no reason to go back to a file of before: whoever gives that of the first version
            // to voters that are all empty founds another cluster.
            let empty = if world.wipes == 0 { 0 } else { versions[has[host]] };
            let record = world.hosts[host].disk.record;
            let part = record.map_or(empty, |record| record.set_version);
            if world.violation.is_none() && part <= version {
                give(&mut world, &mut has, host, file, Ending::Killed);
                world.run_for(options.lease / 2);
            }
        }
        // An empty store asks again within a second.
        world.run_for(8 * options.lease + 2 * SECOND);
    }
    let deadline = world.now + bound;
    while world.violation.is_none() && world.now < deadline && world.leader().is_none() {
        world.run_for(options.lease);
    }
    let highest = led(&world);
    let last = sets.last().cloned().unwrap_or_default();
    Run { world, highest, versions: files.len(), lost, last }
}

#[test]
fn random_changes_under_faults_are_safe_and_lead_on() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        let number = match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => text.parse(),
        };
        Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    let one = number("VOTERS_SEED");
    let (first, runs) = one.map_or((0, number("VOTERS_RUNS").unwrap_or(DEFAULT_RUNS)), |s| (s, 1));
    let (mut led, mut highest, mut failed) = (0, 0, Vec::new());
    for seed in first..first + runs {
        let run = run(seed, one.is_some());
        if let Some(violation) = &run.world.violation {
            failed.push(format!("{seed:#x}: {violation:?}"));
        }
        let leader = run.world.leader();
        led += u64::from(leader.is_some_and(|leader| run.last.contains(&leader)));
        if run.world.violation.is_none() && !run.lost && leader.is_none() {
            failed.push(format!("{seed:#x}: nobody leads version {}", run.versions));
        }
        highest = highest.max(run.highest);
        if one.is_some() {
            run.world.timeline.lines().iter().for_each(|line| println!("{line}"));
        }
    }
    println!("{runs} runs, {led} with a leader at the end, version {highest} led");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(one.is_some() || highest >= 4, "only version {highest} ever led");
}
