//! Scenarios as short scripts with their full transcripts, `tests/sim/scenarios/*.txt`.
//!
//! A file is a few lines of prose behind `#`, a script of one command a line, a line of dashes, and what
//! happens when it is carried out, which the test compares. `UPDATE=1 cargo test --test sim scenarios`
//! writes it anew. The checkers watch as in a sweep.
//!
//! ```text
//! voters 5                         five hosts v1 to v5; v1 is the best voter
//! observers 1                      and o1
//! new stores                       a first start: nobody has a record
//! start all | start v1 v2          processes start
//! wait 400 ms                      time passes
//! kill v1 | reboot v1 | wipe v1    the process is gone; its kernel starts again; its disk is empty
//! stop v1                          the process is asked to end
//! pause v1 1200 ms                 the process stands still
//! cut deaf v1 | cut mute v1        it hears nobody; nobody hears it
//! cut star v4 | cut chain v1 v2 v3 everybody hears the hub only; each hears its neighbours
//! cut split v1 v2 / v3 v4 v5       two sides
//! cut through v4:v2 v5:v3          v4 is connected to v2 only, v5 to v3 only
//! heal                             all links work
//! step-down v1 | drain v1          an operator asks v1
//! resume v1 | trigger v1
//! transfer v1 v3                   an operator asks v1 to hand the lead to v3
//! takeover 1 s 4 s                 better voters take over after 1 s, not twice within 4 s
//! block 0 s                        who gives the lead up ranks last for so long
//! work 100 ms | hanging 100 ms     leading has work, which takes no time to end or hangs; at most so long
//! guardians                        every process has one
//! list v4 v5 = v1 v2 v3 v4         these hosts are configured with another voter list
//! raise v5 5                       the stored term of v5 rises by so many while it is down
//! expect v1 leads term 2           what must be so now
//! expect nobody leads
//! ```

use ringrift_p2p::election::VoterSet;
use ringrift_p2p::node::Command;
use std::path::{Path as FilePath, PathBuf};

use crate::host::Ending;
use crate::inject::UNIX;
use crate::liar::Lie;
use crate::network::Shape;
use crate::operator::Verb;
use crate::options::{MS, Nanos, Options, SECOND};
use crate::transcript::Transcript;
use crate::world::{What, World};

/// What divides a script from its transcript.
const DIVIDER: &str = "----";

/// The term in the stores of a scenario that is no first start.
const FOUND: u64 = UNIX - 1_000;

/// A host by its name.
fn host(world: &World, name: &str) -> usize {
    world
        .hosts
        .iter()
        .position(|host| host.name == name)
        .unwrap_or_else(|| panic!("no host is called {name}"))
}

fn hosts(world: &World, names: &[&str]) -> Vec<usize> {
    if names == ["all"] {
        return (0..world.hosts.len()).collect();
    }
    names.iter().map(|name| host(world, name)).collect()
}

/// A length of time such as `400 ms`.
fn length(words: &[&str]) -> Nanos {
    let [number, unit] = words else { panic!("{words:?} is no length of time") };
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{number} is no number"));
    match *unit {
        "ms" => number * MS,
        "s" => number * SECOND,
        _ => panic!("{unit} is no unit of time"),
    }
}

fn shape(world: &World, words: &[&str]) -> Shape {
    match words {
        ["deaf", name] => Shape::Deaf(host(world, name)),
        ["mute", name] => Shape::Mute(host(world, name)),
        ["star", name] => Shape::Star(host(world, name)),
        ["chain", names @ ..] => Shape::Chain(hosts(world, names)),
        ["split", names @ ..] => {
            let mut groups = vec![0; world.hosts.len()];
            for (group, side) in names.split(|name| *name == "/").enumerate() {
                for one in hosts(world, side) {
                    groups[one] = group;
                }
            }
            Shape::Split(groups)
        }
        ["through", pairs @ ..] => Shape::OnlyThrough(
            pairs
                .iter()
                .map(|pair| {
                    let (one, other) = pair.split_once(':').expect("a pair is v4:v2");
                    (host(world, one), host(world, other))
                })
                .collect(),
        ),
        _ => panic!("{words:?} is no cut"),
    }
}

/// What a scenario begins with.
fn prepared(script: &str) -> World {
    let mut options = Options::quiet(5);
    let mut hangs = None;
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["voters", number] => options.voters = number.parse().expect("a number of voters"),
            ["observers", number] => options.observers = number.parse().expect("a number"),
            ["new", "stores"] => options.first_start = true,
            ["takeover", ref rest @ ..] => {
                options.takeover = Some((length(&rest[..2]), length(&rest[2..])));
            }
            ["block", ref rest @ ..] => options.block = length(rest),
            ["guardians"] => options.guarded = 1_000,
            ["work" | "hanging", ref rest @ ..] => {
                options.work_grace = length(rest);
                hangs = Some(words[0] == "hanging");
            }
            _ => {}
        }
    }
    let base = if options.first_start { UNIX } else { FOUND };
    let mut world = World::new(options, Lie::None, true);
    for host in 0..world.hosts.len() {
        if let Some(record) = &mut world.hosts[host].disk.record {
            record.term = FOUND;
        }
        world.checkers.terms.found(host, FOUND);
    }
    world.hangs = hangs;
    world.transcript = Some(Transcript::new(base));
    world
}

/// Carries out one command.
fn command(world: &mut World, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["voters" | "observers", _] | ["new", "stores"] | ["guardians"] => return,
        ["takeover" | "block" | "work" | "hanging", ..] => return,
        ["wait", ref rest @ ..] => {
            let length = length(rest);
            world.run_for(length);
            assert_eq!(world.violation, None, "a rule does not hold during `{line}`");
            return;
        }
        ["expect", ref rest @ ..] => {
            expect(world, rest);
            return;
        }
        _ => {}
    }
    let now = world.now;
    if let Some(transcript) = &mut world.transcript {
        transcript.done(now, line);
    }
    match words[..] {
        ["start", ref names @ ..] => {
            for host in hosts(world, names) {
                world.at(now, What::Start { host });
            }
        }
        ["kill", ref names @ ..] => crash(world, names, Ending::Killed),
        ["reboot", ref names @ ..] => crash(world, names, Ending::Reboot),
        ["wipe", ref names @ ..] => crash(world, names, Ending::Wiped),
        ["stop", name] => {
            let host = host(world, name);
            world.command(host, Command::Stop);
            if let Some(process) = &world.hosts[host].process {
                let epoch = process.epoch;
                world.at(now + 5 * MS, What::End { host, epoch, down: Nanos::MAX / 2 });
            }
        }
        ["step-down", name] => world.operate(host(world, name), Verb::StepDown),
        ["drain", name] => world.operate(host(world, name), Verb::Drain),
        ["resume", name] => world.operate(host(world, name), Verb::Resume),
        ["trigger", name] => world.operate(host(world, name), Verb::Trigger),
        ["transfer", name, to] => {
            let to = host(world, to);
            world.operate(host(world, name), Verb::Transfer(to));
        }
        ["pause", name, ref rest @ ..] => {
            let host = host(world, name);
            world.pause(host, length(rest));
        }
        ["cut", ref rest @ ..] => {
            let shape = shape(world, rest);
            world.network.shape(&shape);
        }
        ["heal"] => world.network.shape(&Shape::Whole),
        ["list", ref rest @ ..] => {
            let place = rest.iter().position(|word| *word == "=").expect("a list has a `=`");
            let ids: Vec<_> =
                hosts(world, &rest[place + 1..]).iter().map(|&h| world.hosts[h].id).collect();
            for host in hosts(world, &rest[..place]) {
                world.hosts[host].voter_set = VoterSet::new(&ids, 1);
            }
        }
        ["raise", name, by] => {
            let host = host(world, name);
            let record = world.hosts[host].disk.record.as_mut().expect("a voter with a record");
            record.term += by.parse::<u64>().expect("a number of terms");
            record.voted_for = None;
            let term = record.term;
            world.checkers.terms.found(host, term);
        }
        _ => panic!("`{line}` is no command"),
    }
}

fn crash(world: &mut World, names: &[&str], ending: Ending) {
    for host in hosts(world, names) {
        world.crash(host, ending);
    }
}

fn expect(world: &World, words: &[&str]) {
    let led = world.checkers.leases.leader(world.now);
    let transcript = world.transcript.as_ref().expect("a scenario has a transcript");
    let said =
        led.map(|(host, held)| (world.hosts[host].name.as_str(), transcript.term(held.term)));
    let expected = match words {
        ["nobody", "leads"] => None,
        [name, "leads", "term", term] => Some((*name, term.parse().expect("a term"))),
        _ => panic!("{words:?} cannot be expected"),
    };
    assert_eq!(said, expected, "who leads at {} ms\n{}", world.now / MS, transcript.text());
}

/// What happens in a scenario.
fn transcript(script: &str) -> String {
    let mut world = prepared(script);
    let commands = script.lines().map(str::trim);
    for line in commands.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        command(&mut world, line);
    }
    world.transcript.map(|transcript| transcript.text()).unwrap_or_default()
}

fn files() -> Vec<PathBuf> {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/scenarios");
    let entries = std::fs::read_dir(&folder).expect("the folder of the scenarios");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

/// Each scenario happens as its file says.
#[test]
fn scenarios_happen_as_they_are_written() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let files = files();
    assert!(files.len() >= 10, "the scenarios are missing");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable scenario");
        let script = text.split_once(DIVIDER).map_or(text.as_str(), |(script, _)| script);
        println!("{}", path.display());
        let expected = format!("{}\n{DIVIDER}\n{}", script.trim_end(), transcript(script));
        if text == expected {
            continue;
        }
        if update {
            std::fs::write(&path, &expected).expect("a writable scenario");
        } else {
            println!("{expected}");
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "not as written: {wrong:?}; UPDATE=1 writes what happens now");
}
