//! Virtual time: one heap of events ordered by (time, sequence), and what each event does.
//!
//! Everything random comes from one generator, so that a seed gives the same run for ever. What a
//! process does with an event is in `process`, what is compared with the truth afterwards in `watch`.

use ringrift_p2p::node::{Command, Farewell, Input};
use ringrift_p2p::rng::Rng;
use ringrift_wire::{Boot, Envelope, NodeId};
use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::cover::Bound;
use crate::checkers::leases::Held;
use crate::checkers::{Checkers, Violation, bytes};
use crate::faults::Fault;
use crate::host::{Ending, Host, address};
use crate::liar::{Hearer, Liar, Lie};
use crate::network::Network;
use crate::options::{Nanos, Options, chance};
use crate::sometimes::{Hits, Path};
use crate::through_wire::{TAG, damaged};
use crate::timeline::{Timeline, describe};
use crate::transcript::Transcript;
use crate::work::Work;

/// Something to come.
pub(crate) enum What {
    /// A datagram reaches a host.
    Arrive { from: usize, to: usize, sent: Nanos, envelope: Box<Envelope>, damaged: bool },
    /// A process's deadline.
    Wake { host: usize, epoch: u64, wake: u64 },
    /// The write under way is done.
    Written { host: usize, epoch: u64 },
    /// A standing process goes on.
    Resume { host: usize, epoch: u64 },
    /// A host starts its process.
    Start { host: usize },
    /// A process that was asked to stop ends.
    End { host: usize, epoch: u64, down: Nanos },
    /// The lease under a work may run thin.
    WorkThin { host: usize, work: u64 },
    /// A work ends by itself, or because it is killed.
    WorkEnds { host: usize, work: u64 },
    /// The lease under a work ends: what is left of it is killed.
    WorkKilled { host: usize, work: u64 },
    /// A process is told something by its own host.
    Told { host: usize, epoch: u64, command: Command },
    /// The guardian of a dead process says its last word.
    LastWord { host: usize, farewell: Box<Farewell> },
    /// Something goes wrong.
    Fault(Fault),
}

/// The hosts, their network, and what is known of them.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: Rng,
    pub(crate) now: Nanos,
    pub(crate) sequence: u64,
    heap: BTreeMap<(Nanos, u64), What>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) boots: Vec<Option<Boot>>,
    /// The nonces of all processes that each host has run.
    pub(crate) ran: Vec<BTreeSet<u64>>,
    pub(crate) network: Network,
    /// Some datagrams of the past, to arrive again.
    pub(crate) past: Vec<(usize, usize, Box<Envelope>)>,
    pub(crate) liar: Liar,
    pub(crate) checkers: Checkers,
    /// Since when a quorum is healed, which hosts are, and how long a datagram takes among them.
    pub(crate) healed: Option<(Nanos, Vec<usize>, Nanos)>,
    /// When somebody last led, unless that gap is counted.
    pub(crate) led_until: Option<Nanos>,
    /// What binds each host's vote, and the lease that was last found covered.
    pub(crate) bounds: Vec<Bound>,
    pub(crate) covered: Option<(usize, Held)>,
    /// The term that each host's process says it leads.
    pub(crate) leading: Vec<Option<u64>>,
    /// How often each host has lost the lead.
    pub(crate) losses: Vec<u64>,
    /// The work that each host does as the leader.
    pub(crate) works: Vec<Option<Work>>,
    /// What each guardian has to say once its process is dead, and until when one is busy with that.
    pub(crate) last_words: Vec<Option<Farewell>>,
    pub(crate) guardian_until: Vec<Nanos>,
    /// Whether all work hangs when it is told to end, or none; drawn for each, where that is not said.
    pub(crate) hangs: Option<bool>,
    pub(crate) wipes: u64,
    /// Until when members may still take a name for either of the two processes that had it.
    pub(crate) twice_until: Nanos,
    /// What is fed at present was made up by a planted bug.
    pub(crate) forging: bool,
    /// How often each host has begun to canvass.
    pub(crate) canvasses: Vec<usize>,
    /// How often each host has declared each member dead.
    pub(crate) deaths: BTreeMap<(usize, NodeId), usize>,
    pub(crate) hits: Hits,
    pub(crate) timeline: Timeline,
    /// What a reader of a scenario is told.
    pub(crate) transcript: Option<Transcript>,
    pub(crate) violation: Option<Violation>,
    pub(crate) steps: u64,
}

impl World {
    /// A world at time zero in which nothing runs yet.
    pub(crate) fn new(options: Options, lie: Lie, keep_timeline: bool) -> Self {
        let mut rng = Rng::new(options.seed ^ 0x0005_eed0_fa11);
        let liar = Liar::new(lie, options.lease);
        let hosts = Self::draw_hosts(&options, &liar, &mut rng);
        let count = hosts.len();
        let mut checkers = Checkers::new(&options);
        for (host, state) in hosts.iter().enumerate() {
            checkers.terms.found(host, state.disk.record.map_or(0, |record| record.term));
        }
        let mut world = Self {
            network: Network::new(count, options.quality),
            options,
            rng,
            now: 0,
            sequence: 0,
            heap: BTreeMap::new(),
            hosts,
            boots: vec![None; count],
            ran: vec![BTreeSet::new(); count],
            past: Vec::new(),
            liar,
            checkers,
            healed: None,
            led_until: Some(0),
            bounds: vec![Bound::FREE; count],
            covered: None,
            leading: vec![None; count],
            losses: vec![0; count],
            works: vec![None; count],
            last_words: vec![None; count],
            guardian_until: vec![0; count],
            hangs: None,
            wipes: 0,
            twice_until: 0,
            forging: false,
            deaths: BTreeMap::new(),
            canvasses: vec![0; count],
            hits: Hits::default(),
            timeline: Timeline::new(keep_timeline),
            transcript: None,
            violation: None,
            steps: 0,
        };
        for host in 0..count {
            world.cover(host);
        }
        world
    }

    /// Lets something happen at a true time.
    pub(crate) fn at(&mut self, at: Nanos, what: What) {
        self.sequence += 1;
        self.heap.insert((at.max(self.now), self.sequence), what);
    }

    /// Runs until a true time, or until a rule does not hold.
    pub(crate) fn run_until(&mut self, end: Nanos) {
        while self.violation.is_none() {
            match self.heap.first_entry() {
                Some(next) if next.key().0 <= end => {
                    let ((at, _), what) = next.remove_entry();
                    self.now = at;
                    self.steps += 1;
                    self.handle(what);
                    self.look();
                }
                _ => {
                    // A moment that has passed is no reason to go back in time.
                    self.now = self.now.max(end);
                    self.look();
                    return;
                }
            }
        }
    }

    /// Runs for a length of true time.
    pub(crate) fn run_for(&mut self, length: Nanos) {
        self.run_until(self.now + length);
    }

    /// Who is inside its lease.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.checkers.leases.leader(self.now).map(|(host, _)| host)
    }

    /// Keeps the first rule that did not hold.
    pub(crate) fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && self.violation.is_none()
            && !self.options.unwatched.contains(&violation.rule)
        {
            let text = format!("VIOLATION of {}: {}", violation.rule, violation.what);
            self.timeline.note(self.now, "", || text);
            self.violation = Some(violation);
        }
    }

    /// Notes something about a host.
    pub(crate) fn note(&mut self, host: usize, text: impl FnOnce() -> String) {
        self.timeline.note(self.now, &self.hosts[host].name, text);
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Arrive { from, to, sent, envelope, damaged } => {
                self.arrive(from, to, sent, *envelope, damaged);
            }
            What::Wake { host, epoch, wake } => {
                let current = self.process_is(host, epoch)
                    && self.hosts[host].process.as_ref().is_some_and(|p| p.wake == wake);
                if current {
                    self.feed(host, Input::Timeout);
                }
            }
            What::Written { host, epoch } => {
                if self.process_is(host, epoch) {
                    self.written(host);
                }
            }
            What::Resume { host, epoch } => {
                if self.process_is(host, epoch) {
                    self.resume(host);
                }
            }
            What::Start { host } if self.guardian_until[host] > self.now => {
                // What starts the process again sees its guardian as the process.
                self.at(self.guardian_until[host] + 1, What::Start { host });
            }
            What::Start { host } => {
                if self.hosts[host].process.is_none() && !self.hosts[host].retired {
                    self.start(host);
                }
            }
            What::End { host, epoch, down } => {
                if self.process_is(host, epoch) {
                    self.crash(host, Ending::Killed);
                    self.at(self.now + down, What::Start { host });
                }
            }
            What::WorkThin { host, work } => self.work_thin(host, work),
            What::WorkEnds { host, work } => self.work_ends(host, work),
            What::WorkKilled { host, work } => self.work_killed(host, work),
            What::Told { host, epoch, command } => {
                if self.process_is(host, epoch) {
                    self.command(host, command);
                }
            }
            What::LastWord { host, farewell } => self.last_word(host, &farewell),
            What::Fault(fault) => self.inject(fault),
        }
    }

    fn process_is(&self, host: usize, epoch: u64) -> bool {
        self.hosts[host].process.as_ref().is_some_and(|process| process.epoch == epoch)
    }

    fn arrive(&mut self, from: usize, to: usize, sent: Nanos, envelope: Envelope, broken: bool) {
        // What was under way for longer than datagrams take now belongs to the time of the faults.
        if let Some((healed_at, _, one_way)) = self.healed
            && sent < healed_at
            && self.now > healed_at + one_way
        {
            return;
        }
        if self.now - sent > self.options.lease {
            self.hits.hit(Path::DatagramLate);
        }
        if broken {
            self.damage(&envelope);
            return;
        }
        if self.timeline.is_kept()
            && let Some(text) = describe(&envelope.message)
        {
            let sender = envelope.sender;
            self.note(to, || format!("<- {sender} {text}"));
        }
        if self.liar.is_honest() {
            self.feed(to, Input::Datagram { from: address(from), envelope });
            return;
        }
        let voters: Vec<(usize, Boot)> =
            (0..self.options.voters).filter_map(|v| self.boots[v].map(|boot| (v, boot))).collect();
        let name_of = self.hosts[from].name_of;
        let (now, lease) = (self.now, self.options.lease);
        let hearer = Hearer { now, lease, host: to, voters: &voters, name_of };
        let also = self.options.twin.filter(|first| *first == to && self.liar.tells_twin());
        for (place, (from, mut envelope)) in
            self.liar.hears(hearer, from, envelope).into_iter().enumerate()
        {
            envelope.sender = self.hosts[from].id;
            // The first is what was sent; what a bug adds to it is no evidence.
            self.forging = place > 0;
            let input = Input::Datagram { from: address(from), envelope };
            if also.is_some() {
                self.feed(self.hosts.len() - 1, input.clone());
            }
            self.feed(to, input);
        }
        self.forging = false;
    }

    /// A datagram is damaged on its way: so few bits are always noticed, and where somebody else's
    /// program sent such a thing, what is made of it is one message.
    fn damage(&mut self, envelope: &Envelope) {
        self.hits.hit(Path::DatagramDamaged);
        let repaired = chance(&mut self.rng, 500);
        let bytes = damaged(envelope, &mut self.rng, repaired);
        let Some(decoded) = self.liar.decodes(TAG, &bytes) else { return };
        self.check(bytes::decoded(self.now, TAG, &bytes, &decoded));
        if repaired {
            self.hits.hit(Path::StrangeDatagramDecoded);
        } else if &decoded != envelope {
            let what = format!("{bytes:02x?} pass for {decoded:?}");
            self.check(Err(Violation { at: self.now, rule: "checksum", what }));
        }
    }
}
