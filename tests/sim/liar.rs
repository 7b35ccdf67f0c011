//! Planted bugs, made around the untouched production code: a layer between a host and its network,
//! disk, clock or status that forgets, rewrites, forges or holds back. The checkers must notice each.

use ringrift_p2p::election::record::{Restored, RestoredPromise, VoteRecord};
use ringrift_p2p::node::Write;
use ringrift_wire::{
    Boot, Envelope, MemberState, Message, Opinion, Release, Update, Verdict, decode,
};
use std::collections::BTreeMap;

use crate::checkers::honesty::Published;
use crate::host::duration;
use crate::options::Nanos;
use crate::through_wire::repair;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// A restarted voter finds the record from before its last vote: two votes in a term.
    ForgetsVote,
    /// A restarted voter finds that it has promised nothing.
    ForgetsPromise,
    /// A disk comes back with the record before its last one.
    OlderRecord,
    /// Every fourth write of a record is acknowledged and dropped.
    DropsWrites,
    /// Every answer names the latest send: the lease counts from the answer's arrival. Some arrive a
    /// second time, late.
    LeaseFromArrival,
    /// One more voter than really did says yes: a quorum of two of three, or of two of five.
    QuorumOfTwo,
    /// A canvass is answered with yes in the name of everybody.
    ForgedYes,
    /// Every heartbeat is followed by a RELEASE that nobody sent.
    ForgedRelease,
    /// Hosts' clocks differ by eleven times what the configuration says.
    FastClocks,
    /// The second process of a name hears and says what the first one does, as if it were at its address.
    TwinIsHeard,
    /// The status is published once in a while only.
    LateStatus,
    /// What the status says of the lease is a lease too late.
    LongStatus,
    /// Whoever has left is said to be alive by everybody.
    Resurrects,
    /// The outputs of the first host are carried out one an input.
    NeverDrained,
    /// Leaders hear no acknowledgement for two leases of every twelve.
    DeafToAcknowledgements,
    /// No answer to a canvass arrives.
    NobodyStands,
    /// The first host's part in membership is heard by nobody.
    MuteMember,
    /// A byte too much at the end of a datagram is overlooked.
    LooseBytes,
    /// A leader goes on as if it had not said GO.
    ResumesAfterGo,
    /// Takeovers come as often as they can.
    RestlessTakeovers,
    /// Nobody takes over in hours.
    NoTakeover,
    /// The work of a leader is said to have ended and runs on.
    WorkRunsOn,
    /// A guardian takes its process for dead when it begins to lead.
    HastyGuardian,
    /// Every second answer to an operator is lost.
    LosesReplies,
    /// A handover is said to be done where nobody was ready.
    SaysDone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Canvass,
    Election,
    Coordinator,
}

/// One datagram that a host is about to take in, as the layer needs to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hearer<'a> {
    /// When.
    pub(crate) now: Nanos,
    /// The lease of the cluster.
    pub(crate) lease: Nanos,
    /// Who takes it in.
    pub(crate) host: usize,
    /// The hosts with a vote and the process that runs on each.
    pub(crate) voters: &'a [(usize, Boot)],
    /// The host whose name the sender has.
    pub(crate) name_of: usize,
}

/// The layer.
#[derive(Clone, Debug)]
pub(crate) struct Liar {
    lie: Lie,
    lease: Nanos,
    last: BTreeMap<(usize, usize, Asked), u64>,
    left: BTreeMap<usize, Update>,
    records: BTreeMap<usize, VoteRecord>,
    written: u64,
    published: u64,
}

impl Liar {
    /// A layer with that bug.
    pub(crate) const fn new(lie: Lie, lease: Nanos) -> Self {
        Self {
            lie,
            lease,
            last: BTreeMap::new(),
            left: BTreeMap::new(),
            records: BTreeMap::new(),
            written: 0,
            published: 0,
        }
    }

    /// Whether there is no bug.
    pub(crate) fn is_honest(&self) -> bool {
        self.lie == Lie::None
    }

    /// How many parts in a million a clock is fast that should be so many.
    pub(crate) fn rate(&self, ppm: i64) -> i64 {
        if self.lie == Lie::FastClocks { ppm * 11 } else { ppm }
    }

    /// What a starting process is told that it finds.
    pub(crate) fn restored(&self, mut restored: Restored) -> Restored {
        match self.lie {
            Lie::ForgetsVote => {
                if let Some(record) = &mut restored.record
                    && record.voted_for.take().is_some()
                {
                    record.term = record.term.saturating_sub(1);
                    record.nonce = 0;
                }
            }
            Lie::ForgetsPromise if restored.record.is_some() => {
                restored.promise = RestoredPromise::Exact(None);
            }
            _ => {}
        }
        restored
    }

    /// Whether a write is acknowledged and dropped.
    pub(crate) fn drops(&mut self, write: &Write) -> bool {
        if self.lie != Lie::DropsWrites || !matches!(write, Write::Record(_)) {
            return false;
        }
        self.written += 1;
        self.written.is_multiple_of(4)
    }

    /// A record takes the place of another on a disk.
    pub(crate) fn overwrites(&mut self, host: usize, before: Option<VoteRecord>) {
        if let Some(before) = before.filter(|_| self.lie == Lie::OlderRecord) {
            self.records.insert(host, before);
        }
    }

    /// The record that a disk comes back with after a crash.
    pub(crate) fn comes_back(&mut self, host: usize, record: &mut Option<VoteRecord>) {
        if let Some(older) = self.records.remove(&host).filter(|_| record.is_some()) {
            *record = Some(older);
        }
    }

    /// Changes what is published; nothing when it is not published at all.
    pub(crate) fn publishes(&mut self, mut published: Published) -> Option<Published> {
        self.published += 1;
        match self.lie {
            Lie::LateStatus if !self.published.is_multiple_of(8) => return None,
            Lie::LongStatus => {
                published.lease_ends = published.lease_ends.map(|end| end + duration(self.lease));
            }
            _ => {}
        }
        Some(published)
    }

    /// The time between two takeovers that a process is configured with.
    pub(crate) fn takeover_every(&self, every: Nanos) -> Nanos {
        if self.lie == Lie::RestlessTakeovers { 0 } else { every }
    }

    /// How long a voter has to be better, as a process is configured.
    pub(crate) fn takeover_after(&self, after: Nanos) -> Nanos {
        if self.lie == Lie::NoTakeover { after * 1_000_000 } else { after }
    }

    /// Whether there is this bug.
    pub(crate) fn has(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    /// Whether the second process of a name is told what the first one is.
    pub(crate) fn tells_twin(&self) -> bool {
        self.lie == Lie::TwinIsHeard
    }

    /// How many outputs of a host are carried out at once.
    pub(crate) fn carries_out(&self, host: usize) -> usize {
        if self.lie == Lie::NeverDrained && host == 0 { 1 } else { usize::MAX }
    }

    /// What a host decodes.
    pub(crate) fn decodes(&self, tag: u32, bytes: &[u8]) -> Option<Envelope> {
        let strict = decode(bytes, tag).ok();
        if strict.is_some() || self.lie != Lie::LooseBytes {
            return strict;
        }
        let mut shorter = bytes[..bytes.len().checked_sub(1)?].to_vec();
        repair(&mut shorter);
        decode(&shorter, tag).ok()
    }

    /// A host sends something.
    pub(crate) fn sends(&mut self, from: usize, to: usize, message: &Message) {
        if self.lie == Lie::None {
            return;
        }
        let own = message.updates().iter().find(|update| update.state == MemberState::Left);
        if let Some(update) = own.filter(|_| self.lie == Lie::Resurrects) {
            self.left.insert(from, *update);
        }
        let (asked, number) = match message {
            Message::Canvass(m) => (Asked::Canvass, m.number),
            Message::Election(m) => (Asked::Election, m.number),
            Message::Coordinator(m) => (Asked::Coordinator, m.number),
            _ => return,
        };
        self.last.insert((from, to, asked), number);
    }

    /// After which time a second copy of a message arrives.
    pub(crate) fn holds_back(&self, message: &Message, lease: Nanos) -> Option<Nanos> {
        match message {
            Message::Acknowledge(m)
                if self.lie == Lie::LeaseFromArrival && m.verdict == Verdict::Granted =>
            {
                Some(lease / 2 + m.number % 8 * lease / 4)
            }
            _ => None,
        }
    }

    /// What a host hears when `from` sent it an envelope.
    pub(crate) fn hears(
        &self,
        hearer: Hearer<'_>,
        from: usize,
        mut envelope: Envelope,
    ) -> Vec<(usize, Envelope)> {
        match self.lie {
            Lie::LeaseFromArrival => {
                let number = match &mut envelope.message {
                    Message::Answer(m) => Some((&mut m.number, Asked::Election)),
                    Message::Acknowledge(m) => Some((&mut m.number, Asked::Coordinator)),
                    _ => None,
                };
                if let Some((number, asked)) = number
                    && let Some(last) = self.latest(hearer.host, from, asked)
                {
                    *number = last;
                }
                vec![(from, envelope)]
            }
            Lie::QuorumOfTwo => self.repeated(hearer, from, envelope, 1),
            Lie::ForgedYes if matches!(envelope.message, Message::CanvassReply(_)) => {
                self.repeated(hearer, from, envelope, usize::MAX)
            }
            Lie::ForgedRelease => {
                let mut heard = vec![(from, envelope.clone())];
                if let Message::Coordinator(m) = &envelope.message {
                    let nonce = envelope.boot.nonce;
                    let release = Release { set: m.set, nonce, term: m.term, dead: false };
                    heard.push((from, Envelope { message: Message::Release(release), ..envelope }));
                }
                heard
            }
            Lie::TwinIsHeard => vec![(hearer.name_of, envelope)],
            Lie::Resurrects => {
                let revived = self.left.values().map(|update| Update {
                    state: MemberState::Alive,
                    incarnation: update.incarnation + 1,
                    ..*update
                });
                if let Message::Ping(ringrift_wire::Ping { updates, .. })
                | Message::Ack(ringrift_wire::Ack { updates, .. }) = &mut envelope.message
                {
                    updates.extend(revived.take(2));
                    updates.truncate(8);
                }
                vec![(from, envelope)]
            }
            Lie::DeafToAcknowledgements
                if matches!(envelope.message, Message::Acknowledge(_))
                    && hearer.now / hearer.lease % 12 >= 10 =>
            {
                Vec::new()
            }
            Lie::NobodyStands if matches!(envelope.message, Message::CanvassReply(_)) => Vec::new(),
            Lie::MuteMember
                if from == 0
                    && matches!(
                        envelope.message,
                        Message::Ping(_)
                            | Message::Ack(_)
                            | Message::PingReq(_)
                            | Message::Nack(_)
                            | Message::RelayedAck(_)
                            | Message::Gossip(_)
                            | Message::Pull(_)
                    ) =>
            {
                Vec::new()
            }
            _ => vec![(from, envelope)],
        }
    }

    fn latest(&self, host: usize, of: usize, asked: Asked) -> Option<u64> {
        self.last.get(&(host, of, asked)).copied()
    }

    /// An answer, and the same in the names of so many others.
    fn repeated(
        &self,
        hearer: Hearer<'_>,
        from: usize,
        envelope: Envelope,
        times: usize,
    ) -> Vec<(usize, Envelope)> {
        let mut heard = vec![(from, envelope.clone())];
        let others = hearer.voters.iter().filter(|(id, _)| *id != hearer.host && *id != from);
        for &(other, boot) in others.take(times) {
            let mut forged = Envelope { boot, ..envelope.clone() };
            let number = match &mut forged.message {
                Message::CanvassReply(m) if matches!(m.opinion, Opinion::Yes { .. }) => {
                    Some((&mut m.number, Asked::Canvass))
                }
                Message::Answer(m) if m.verdict == Verdict::Granted => {
                    Some((&mut m.number, Asked::Election))
                }
                Message::Acknowledge(m) if m.verdict == Verdict::Granted => {
                    Some((&mut m.number, Asked::Coordinator))
                }
                _ => None,
            };
            if let Some((number, asked)) = number
                && let Some(last) = self.latest(hearer.host, other, asked)
            {
                *number = last;
                heard.push((other, forged));
            }
        }
        heard
    }
}
