//! The links between hosts: which datagrams arrive, when and how often.
//!
//! Every ordered pair of hosts is a link of its own, so that a link may work in one direction only.
//! Delays are drawn for each datagram, so later ones overtake earlier ones.

use ringrift_p2p::rng::Rng;

use crate::options::{Nanos, Quality, between, chance};

/// Links that are cut all at once. The numbers are hosts.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Everybody hears everybody.
    Whole,
    /// Hosts hear those of their own group; each number is a host's group.
    Split(Vec<usize>),
    /// Everybody hears the hub and nobody else.
    Star(usize),
    /// Each host hears its neighbours in this order.
    Chain(Vec<usize>),
    /// Two halves that meet in one host: each number is a host's half, the host is in both.
    Bridge(Vec<usize>, usize),
    /// Each named host is heard, and hears, only through one other: "4 only through 2, 5 only
    /// through 3".
    OnlyThrough(Vec<(usize, usize)>),
    /// The host hears nobody and is heard.
    Deaf(usize),
    /// The host hears and is heard by nobody.
    Mute(usize),
    /// These links are cut, in this direction.
    Links(Vec<(usize, usize)>),
}

impl Shape {
    /// Whether a datagram from one host to another gets through.
    fn open(&self, from: usize, to: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::Split(groups) => groups.get(from) == groups.get(to),
            Self::Star(hub) => from == *hub || to == *hub,
            Self::Chain(order) => {
                let place = |host| order.iter().position(|&other| other == host);
                match (place(from), place(to)) {
                    (Some(a), Some(b)) => a.abs_diff(b) == 1,
                    _ => true,
                }
            }
            Self::Bridge(halves, bridge) => {
                from == *bridge || to == *bridge || halves.get(from) == halves.get(to)
            }
            Self::OnlyThrough(pairs) => {
                pairs.iter().all(|&(host, through)| match (from == host, to == host) {
                    (true, _) => to == through,
                    (_, true) => from == through,
                    _ => true,
                })
            }
            Self::Deaf(host) => to != *host,
            Self::Mute(host) => from != *host,
            Self::Links(cut) => !cut.contains(&(from, to)),
        }
    }
}

/// A link that goes up and down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flap {
    /// From which host.
    pub(crate) from: usize,
    /// To which host.
    pub(crate) to: usize,
    /// How long it stays up, and how long down.
    pub(crate) period: Nanos,
}

/// When the copies of one datagram arrive; none when it is lost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried {
    /// After which delay.
    pub(crate) first: Option<Nanos>,
    /// A second copy.
    pub(crate) second: Option<Nanos>,
    /// The first copy is damaged.
    pub(crate) damaged: bool,
}

/// The links.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    hosts: usize,
    open: Vec<bool>,
    flaps: Vec<Flap>,
    /// Datagrams of each host that are lost on top of that, of a thousand.
    muffled: Vec<u64>,
    quality: Quality,
    healed: Vec<bool>,
    calm: Quality,
}

impl Network {
    /// Open links between that many hosts.
    pub(crate) fn new(hosts: usize, quality: Quality) -> Self {
        Self {
            hosts,
            open: vec![true; hosts * hosts],
            flaps: Vec::new(),
            muffled: vec![0; hosts],
            quality,
            healed: vec![false; hosts],
            calm: quality,
        }
    }

    /// Replaces all cuts by those of a shape.
    pub(crate) fn shape(&mut self, shape: &Shape) {
        for from in 0..self.hosts {
            for to in 0..self.hosts {
                self.open[from * self.hosts + to] = shape.open(from, to);
            }
        }
    }

    /// Opens or cuts one link in one direction.
    pub(crate) fn link(&mut self, from: usize, to: usize, open: bool) {
        self.open[from * self.hosts + to] = open;
    }

    /// Lets a link go up and down from now on.
    pub(crate) fn flap(&mut self, flap: Flap) {
        self.flaps.push(flap);
    }

    /// From now on so many of a thousand datagrams that a host sends are lost.
    pub(crate) fn muffle(&mut self, host: usize, permille: u64) {
        self.muffled[host] = permille;
    }

    /// From now on links are like this.
    pub(crate) const fn become_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// Stops all flapping.
    pub(crate) fn settle(&mut self) {
        self.flaps.clear();
    }

    /// Heals the links among these hosts for good; all others keep their state and quality.
    pub(crate) fn heal(&mut self, among: &[usize], calm: Quality) {
        self.calm = calm;
        for &host in among {
            self.healed[host] = true;
        }
        self.flaps.retain(|flap| !among.contains(&flap.from) || !among.contains(&flap.to));
        for &from in among {
            for &to in among {
                self.link(from, to, true);
            }
        }
    }

    /// Whether the link works for good.
    pub(crate) fn is_healed(&self, from: usize, to: usize) -> bool {
        self.healed[from] && self.healed[to]
    }

    /// Whether a datagram may pass now.
    pub(crate) fn is_open(&self, now: Nanos, from: usize, to: usize) -> bool {
        self.open[from * self.hosts + to]
            && !self.flaps.iter().any(|flap| {
                flap.from == from && flap.to == to && (now / flap.period.max(1)) % 2 == 1
            })
    }

    /// What becomes of one datagram.
    pub(crate) fn carry(&self, rng: &mut Rng, now: Nanos, from: usize, to: usize) -> Carried {
        let quality = if self.is_healed(from, to) { &self.calm } else { &self.quality };
        if !self.is_open(now, from, to) || chance(rng, quality.loss) {
            return Carried::default();
        }
        if self.muffled[from] > 0 && chance(rng, self.muffled[from]) {
            return Carried::default();
        }
        let delay = |rng: &mut Rng| {
            if chance(rng, quality.late) {
                between(rng, quality.delay_max, quality.late_max)
            } else {
                between(rng, quality.delay_min, quality.delay_max)
            }
        };
        Carried {
            first: Some(delay(rng)),
            second: chance(rng, quality.duplicate).then(|| delay(rng)),
            damaged: chance(rng, quality.corrupt),
        }
    }
}
