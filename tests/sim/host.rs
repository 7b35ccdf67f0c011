//! One simulated host: its clock, its disk and, when one runs, its process.
//!
//! The kernel's boot clock runs at the host's own rate from the host's own start. What is written is
//! on the disk when the write is done; a crash keeps or loses the one under way.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use ringrift_p2p::election::VoterSet;
use ringrift_p2p::election::record::{Promise, Restored, RestoredPromise, VoteRecord};
use ringrift_p2p::node::{Input, Output, Write};
use ringrift_p2p::time::Instant;
use ringrift_wire::{Boot, NodeId};
use std::collections::VecDeque;

use crate::node::Node;
use crate::options::Nanos;

/// The most datagrams that wait in a standing process's socket.
pub(crate) const SOCKET_BUFFER: usize = 256;

/// A kernel's boot clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    real: Nanos,
    local: u64,
    ppm: i64,
}

impl Clock {
    /// A clock that shows `local` at true time `real` and runs `ppm` too fast.
    pub(crate) const fn new(real: Nanos, local: u64, ppm: i64) -> Self {
        Self { real, local, ppm }
    }

    fn scaled(value: u64, by: u64, over: u64, up: bool) -> u64 {
        let product = u128::from(value) * u128::from(by);
        let over = u128::from(over);
        let quotient = if up { product.div_ceil(over) } else { product / over };
        u64::try_from(quotient).unwrap_or(u64::MAX)
    }

    fn rate(self) -> u64 {
        1_000_000_u64.saturating_add_signed(self.ppm)
    }

    /// What it shows at a true time.
    pub(crate) fn local(self, real: Nanos) -> Instant {
        let passed = Self::scaled(real.saturating_sub(self.real), self.rate(), 1_000_000, false);
        Instant::from_nanos(self.local.saturating_add(passed))
    }

    /// The first true time at which it shows at least that.
    pub(crate) fn real(self, local: Instant) -> Nanos {
        let wait = local.as_nanos().saturating_sub(self.local);
        self.real.saturating_add(Self::scaled(wait, 1_000_000, self.rate(), true))
    }
}

/// The same-boot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PromiseFile {
    /// Which kernel boot wrote it.
    pub(crate) kernel: u32,
    /// What it says.
    pub(crate) promise: Option<Promise>,
}

/// A write that a process asked for.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// The number of the request.
    pub(crate) number: u64,
    /// Earlier requests that this one stands for.
    pub(crate) stands_for: Vec<u64>,
    /// What to write.
    pub(crate) write: Write,
}

impl Pending {
    /// Whether it waits for stable storage.
    pub(crate) const fn is_durable(&self) -> bool {
        matches!(self.write, Write::Record(_))
    }
}

/// What survives a process, and the writes on their way there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// The durable record.
    pub(crate) record: Option<VoteRecord>,
    /// Stored sequence of the last boot.
    pub(crate) sequence: u64,
    /// The vote of a record that was copied from another machine: its term and nonce.
    pub(crate) copied: Option<(u64, u64)>,
    /// The same-boot file.
    pub(crate) promise: Option<PromiseFile>,
    /// The write under way.
    pub(crate) busy: Option<Pending>,
    /// Writes not yet begun.
    pub(crate) queue: VecDeque<Pending>,
    /// Until when writes take up to this long.
    pub(crate) slow: Option<(Nanos, Nanos)>,
    /// Until when writes fail.
    pub(crate) failing_until: Nanos,
}

impl Disk {
    /// Takes a request; it may stand for the last one not yet begun when both are of one kind.
    pub(crate) fn ask(&mut self, number: u64, write: Write, coalesce: bool) {
        let mut pending = Pending { number, stands_for: Vec::new(), write };
        if coalesce
            && let Some(last) = self.queue.pop_back_if(|last| {
                core::mem::discriminant(&last.write) == core::mem::discriminant(&write)
            })
        {
            pending.stands_for = last.stands_for;
            pending.stands_for.push(last.number);
        }
        self.queue.push_back(pending);
    }

    /// A write that failed: the record may have reached the disk nevertheless, a same-boot file that
    /// cannot be written is removed.
    pub(crate) fn fail(&mut self, write: Write, kept: bool) {
        match write {
            Write::Record(record) if kept => self.record = Some(record),
            Write::Record(_) => {}
            Write::Promise(_) => self.promise = None,
        }
    }

    /// Carries out a write.
    pub(crate) fn apply(&mut self, write: Write, kernel: u32) {
        match write {
            Write::Record(record) => self.record = Some(record),
            Write::Promise(promise) => self.promise = Some(PromiseFile { kernel, promise }),
        }
    }
}

/// A fault that waits for the process to be in the middle of carrying out its outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Armed<T> {
    /// After how many more outputs.
    pub(crate) after: u64,
    /// What happens then.
    pub(crate) what: T,
}

/// How a process ends, and what it finds when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Killed; the host goes on.
    Killed,
    /// The whole host starts again.
    Reboot,
    /// Killed, and its disk comes back empty.
    Wiped,
}

/// One process.
pub(crate) struct Process {
    /// The production machine.
    pub(crate) node: Node,
    /// Its process start.
    pub(crate) boot: Boot,
    /// Tells its events from those of other processes of the host.
    pub(crate) epoch: u64,
    /// Outputs not yet carried out.
    pub(crate) outputs: VecDeque<Output>,
    /// Set while it stands still.
    pub(crate) paused: bool,
    /// Set while its host sleeps: what arrives is lost.
    pub(crate) asleep: bool,
    /// What arrived meanwhile.
    pub(crate) inbox: VecDeque<Input>,
    /// A crash to come: how, and how long the host stays down.
    pub(crate) crash: Option<Armed<(Ending, Nanos)>>,
    /// A pause to come: for how long.
    pub(crate) pause: Option<Armed<Nanos>>,
    /// Tells the current wake-up from replaced ones.
    pub(crate) wake: u64,
    /// True time of the current wake-up.
    pub(crate) wake_at: Nanos,
    /// The deadline that it is for.
    pub(crate) wake_for: Instant,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    /// The highest term that it has had written, or found; `None` while its store is empty.
    pub(crate) highest_term: Option<u64>,
    /// Timeouts in a row that asked for another at once.
    pub(crate) spins: u32,
}

/// One host.
pub(crate) struct Host {
    /// Its node's name.
    pub(crate) id: NodeId,
    /// The name as text, for the timeline.
    pub(crate) name: String,
    /// The host whose name it has: itself, unless it is the second of that name.
    pub(crate) name_of: usize,
    /// The voters that its configuration names.
    pub(crate) voter_set: VoterSet,
    /// The lease that its configuration names.
    pub(crate) lease: Nanos,
    /// Its boot clock.
    pub(crate) clock: Clock,
    /// How far its wall clock is ahead, in seconds.
    pub(crate) wall_ahead_s: i64,
    /// How often its kernel started.
    pub(crate) kernel: u32,
    /// A process ran in this kernel boot.
    pub(crate) ran_in_kernel: bool,
    /// Its disk.
    pub(crate) disk: Disk,
    /// Its process, while one runs.
    pub(crate) process: Option<Process>,
    /// How many processes it has had.
    pub(crate) starts: u64,
    /// Broken for good as far as the schedule is concerned: nothing starts it again.
    pub(crate) retired: bool,
}

impl Host {
    /// What a process that starts at local time `now` finds.
    pub(crate) fn restored(&self, now: Instant) -> Restored {
        let vote = self.disk.record.map(|record| (record.term, record.nonce));
        let copied = vote.is_some() && vote == self.disk.copied;
        let promise = match self.disk.promise {
            Some(file) if file.kernel == self.kernel && !copied => {
                RestoredPromise::Exact(file.promise)
            }
            _ if copied || self.ran_in_kernel || self.disk.record.is_none() => {
                RestoredPromise::Unknown { last_possible: now }
            }
            _ => RestoredPromise::Unknown { last_possible: Instant::ZERO },
        };
        let may_release = self.disk.record.is_some() && !copied;
        Restored { record: self.disk.record, promise, may_release }
    }
}

/// Where the host of that number takes datagrams.
pub(crate) fn address(host: usize) -> SocketAddr {
    let last = u8::try_from(host + 1).unwrap_or(u8::MAX);
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 8770))
}

/// The host that takes datagrams there.
pub(crate) fn host_at(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]).checked_sub(1),
        SocketAddr::V6(_) => None,
    }
}

/// A length as the production code takes it.
pub(crate) const fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}
