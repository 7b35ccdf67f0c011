//! Messages: what the protocol says, as typed values.
//!
//! Kinds and fields are append-only. Every election message names the voter set it was sent under;
//! the sender's nonce is in the header of every datagram. The order of the fields here is their
//! order on the wire, but for what is carried along with [`Ping`], [`Ack`], [`PingReq`] and
//! [`Gossip`]: that comes last, as `piggyback.rs` says.

use bincode::{Decode, Encode};
use core::net::SocketAddr;

use crate::{Boot, NodeId, Updates};

/// Everything that one node says to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Are you there? Answered with an [`Ack`].
    Ping(Ping),
    /// I am here.
    Ack(Ack),
    /// Ping a third member for me.
    PingReq(PingReq),
    /// The member that you asked about has not answered me in time.
    Nack(Nack),
    /// The member that you asked about has answered me.
    RelayedAck(RelayedAck),
    /// Rumours that nobody asked for: a leave, a suspicion told to the suspect, a repair.
    Gossip(Gossip),
    /// Tell me of the members that follow this name: anti-entropy.
    Pull(Pull),
    /// Would you vote for me? Binds nobody.
    Canvass(Canvass),
    /// The answer to a canvass.
    CanvassReply(CanvassReply),
    /// I stand in this term: vote for me.
    Election(Election),
    /// The answer to an election.
    Answer(Answer),
    /// I lead this term; also the heartbeat.
    Coordinator(Coordinator),
    /// The answer to a heartbeat.
    Acknowledge(Acknowledge),
    /// I do not lead, and shall never again lead, in this term.
    Release(Release),
    /// My store is empty: what does yours say?
    Inquire(Inquire),
    /// The answer to an inquiry.
    Report(Report),
    /// An operator asks the leader for a fresh election.
    StepDown(StepDown),
    /// Your name is in use by another process, which lives: end.
    Conflict(Conflict),
    /// How I hear each other voter.
    Hearing(Hearing),
    /// Could you lead after me?
    Offer(Offer),
    /// The answer to an offer.
    Ready(Ready),
    /// I lead no longer: the one named here stands next.
    Go(Go),
}

/// SWIM's ping [SWIM §3.1].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ping {
    /// Echoed by the ack.
    pub number: u32,
    /// Digest of the sender's member table, for anti-entropy; 0 when it has none to compare.
    pub digest: u32,
    /// The sender's leader beacon is missing or older than a heartbeat: send yours along.
    pub wants_beacon: bool,
    /// What the sender knows of the leader, when that is news.
    pub beacon: Option<Beacon>,
    /// Piggybacked rumours.
    pub updates: Updates,
}

/// The answer to a ping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The number of the ping.
    pub number: u32,
    /// Digest of the sender's member table, as in [`Ping`].
    pub digest: u32,
    /// What the sender knows of the leader, when asked for or when it is news.
    pub beacon: Option<Beacon>,
    /// Piggybacked rumours.
    pub updates: Updates,
}

/// SWIM's ping-req: ask a third member to ping for us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PingReq {
    /// Echoed by the relayed ack or the nack.
    pub number: u32,
    /// Whom to ping.
    pub target: NodeId,
    /// Where the requester believes the target to be.
    pub address: SocketAddr,
    /// How long to wait for the target before the nack, in milliseconds.
    pub nack_after_ms: u32,
    /// Piggybacked rumours.
    pub updates: Updates,
}

/// Lifeguard's nack: the relay is well, the target has not answered it [Lifeguard §IV-A].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Nack {
    /// The number of the ping-req.
    pub number: u32,
    /// Whom the ping-req was about.
    pub target: NodeId,
}

/// The target of a ping-req answered the relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct RelayedAck {
    /// The number of the ping-req.
    pub number: u32,
    /// Who answered.
    pub target: NodeId,
    /// The process start that answered.
    pub boot: Boot,
}

/// Rumours without a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gossip {
    /// What the sender knows of the leader, when that is news.
    pub beacon: Option<Beacon>,
    /// The rumours.
    pub updates: Updates,
}

/// Asks for the receiver's records of the members after `after`, in the order of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Pull {
    /// The last name already received; `None` starts from the first.
    pub after: Option<NodeId>,
}

/// What a node has heard from the leader, directly or through others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Beacon {
    /// Who leads.
    pub leader: NodeId,
    /// The leader's nonce.
    pub nonce: u64,
    /// In which term.
    pub term: u64,
    /// The number of the heartbeat that this rests on.
    pub number: u64,
    /// How long ago that heartbeat was heard, in milliseconds, summed over the hops.
    pub age_ms: u32,
    /// The leader's lease, in milliseconds: older than this, the beacon says nothing.
    pub lease_ms: u32,
}

/// Which voters an election message counts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct VoterSetTag {
    /// `voters_version` of the configuration.
    pub version: u32,
    /// Hash over the sorted names and the version.
    pub hash: u64,
}

/// Order among voters; the smaller value is the better voter.
///
/// Frozen for a term and carried in messages. Ties are broken by name. The fields are compared in
/// the order in which they stand here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Priority {
    /// Refuses to lead until resumed, or configured never to lead.
    pub drained: bool,
    /// Ranks last for a while: a round of its failed, or it stepped down on request.
    pub last: bool,
    /// Stability bucket, 0 is best.
    pub stability: u8,
    /// Centrality bucket, 0 is best.
    pub centrality: u8,
    /// 0 with a GPU, 1 without.
    pub gpu: u8,
    /// Configured order, 1 is best.
    pub order: u16,
}

/// Why a voter does not grant, acknowledge or encourage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Refusal {
    /// It counts with other voters.
    VoterSet,
    /// Its term is higher; the reply carries it.
    Term,
    /// It has voted for another in this term.
    Voted,
    /// It has promised another not to, for so many microseconds yet.
    Promised {
        /// What is left of the promise.
        free_in_us: u64,
    },
    /// It restarted and does not know what it promised, for so many microseconds yet.
    Abstaining {
        /// What is left of the abstention.
        free_in_us: u64,
    },
    /// Its store is empty and it has not yet learnt what it may have forgotten.
    Empty,
    /// Its vote store does not work.
    Store,
    /// It hears a live leader, and says so for so many microseconds yet.
    LeaderAlive {
        /// When it would no longer say so without another heartbeat.
        free_in_us: u64,
    },
    /// The lease asked for is longer than it allows.
    Lease,
}

/// The answer of a canvassed voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Opinion {
    /// It would vote for the asker in so many microseconds, when its promise to another ends.
    Yes {
        /// What is left of its promise or abstention, 0 for none.
        free_in_us: u64,
    },
    /// It would not.
    No(Refusal),
    /// It is itself eligible and better.
    Better(Priority),
}

/// Asks for votes without binding anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Canvass {
    /// The sender's voters.
    pub set: VoterSetTag,
    /// Echoed by the reply.
    pub number: u64,
    /// The sender's term.
    pub term: u64,
    /// The sender's priority.
    pub priority: Priority,
}

/// The answer to a [`Canvass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct CanvassReply {
    /// The replier's voters.
    pub set: VoterSetTag,
    /// The number of the canvass.
    pub number: u64,
    /// The replier's term.
    pub term: u64,
    /// What it thinks.
    pub opinion: Opinion,
}

/// Bully's ELECTION: the sender stands in a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Election {
    /// The sender's voters.
    pub set: VoterSetTag,
    /// The term it stands in.
    pub term: u64,
    /// Which of its sends this is: the answer names it, and the lease counts from its send time.
    pub number: u64,
    /// The promise it asks for, in milliseconds.
    pub lease_ms: u32,
    /// The sender's priority.
    pub priority: Priority,
}

/// A vote, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Verdict {
    /// Granted, or acknowledged.
    Granted,
    /// Not.
    Refused(Refusal),
}

/// Bully's ANSWER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Answer {
    /// The voter's voters.
    pub set: VoterSetTag,
    /// The term asked for when granted; the voter's own term when refused.
    pub term: u64,
    /// The number of the election.
    pub number: u64,
    /// The vote.
    pub verdict: Verdict,
}

/// Bully's COORDINATOR, repeated as the heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Coordinator {
    /// The leader's voters.
    pub set: VoterSetTag,
    /// The term it leads.
    pub term: u64,
    /// Which of its sends this is, as in [`Election`].
    pub number: u64,
    /// The promise it asks for, in milliseconds.
    pub lease_ms: u32,
}

/// The answer to a [`Coordinator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Acknowledge {
    /// The voter's voters.
    pub set: VoterSetTag,
    /// The leader's term when granted; the voter's own when refused.
    pub term: u64,
    /// The number of the heartbeat.
    pub number: u64,
    /// The voter's present priority.
    pub priority: Priority,
    /// Granted is the promise.
    pub verdict: Verdict,
}

/// The holder does not lead in `term` and never will again: promises for it are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Release {
    /// The sender's voters.
    pub set: VoterSetTag,
    /// The nonce that the promises were given to; the sender's own, or that of its dead
    /// predecessor on the same store.
    pub nonce: u64,
    /// The term that is released.
    pub term: u64,
    /// The holder is dead: every promise to that nonce in `term` or below is free.
    pub dead: bool,
}

/// A voter with an empty store asks what it may have forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Inquire {
    /// The asker's voters.
    pub set: VoterSetTag,
    /// Echoed by the report; a later round has a higher one.
    pub number: u64,
}

/// What a voter's store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Record {
    /// The voter's term.
    pub term: u64,
    /// The highest voter-set version that it knows to have led.
    pub led_version: u32,
}

/// The answer to an [`Inquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Report {
    /// The replier's voters.
    pub set: VoterSetTag,
    /// The number of the inquiry.
    pub number: u64,
    /// What the replier's store says; `None` while it is empty itself.
    pub record: Option<Record>,
    /// The replier was itself new when it heard from this very process of the asker: nothing that
    /// the replier ever led can rest on what the asker has forgotten.
    pub met_as_new: bool,
    /// The longest lease that the replier knows of, in milliseconds.
    pub longest_lease_ms: u32,
}

/// An operator asked the sender for a fresh election: the leader of `term` releases it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct StepDown {
    /// The sender's voters.
    pub set: VoterSetTag,
    /// The term that is to end; in any other the request says nothing.
    pub term: u64,
}

/// The leader of `term` asks whether the receiver could lead after it. Binds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Offer {
    /// The leader's voters.
    pub set: VoterSetTag,
    /// Echoed by the answer; the same in every repetition.
    pub number: u64,
    /// The term that would end.
    pub term: u64,
}

/// Why a voter cannot lead next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Unready {
    /// It is drained, or configured never to lead.
    Drained,
    /// Its vote store is empty or does not work.
    Store,
    /// It restarted and abstains.
    Abstaining,
    /// Too few voters answer it, or would vote for it.
    NoQuorum,
    /// It counts with other voters.
    VoterSet,
    /// It is about to end.
    Stopping,
    /// It does not follow the asker in that term.
    NotFollowing,
}

impl Unready {
    /// The word for logs and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Store => "store",
            Self::Abstaining => "abstaining",
            Self::NoQuorum => "no_quorum",
            Self::VoterSet => "voter_set",
            Self::Stopping => "stopping",
            Self::NotFollowing => "not_following",
        }
    }
}

/// The answer to an [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Ready {
    /// The voter's voters.
    pub set: VoterSetTag,
    /// The number of the offer.
    pub number: u64,
    /// The term of the offer.
    pub term: u64,
    /// Why it is not ready; `None` when it is: a quorum would vote for it.
    pub unready: Option<Unready>,
}

/// The sender has released `term`: `successor` stands now, and the others let it go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Go {
    /// The sender's voters.
    pub set: VoterSetTag,
    /// The term that has ended; for the receiver this is a RELEASE of it as well.
    pub term: u64,
    /// Who stands next.
    pub successor: NodeId,
    /// A better voter takes over: this counts against the rate of takeovers.
    pub takeover: bool,
}

/// The receiver is the second live process of its name: the first has just answered the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Conflict {
    /// The receiver's nonce: the message is for this process and no later one.
    pub refused: u64,
    /// The first process.
    pub holder: Boot,
    /// Where the first process has answered.
    pub address: SocketAddr,
}

/// The most voters that one [`Hearing`] speaks of.
pub const MAX_ROW: usize = 64;

/// What the sender hears of each voter; no answer is expected.
///
/// On the wire the row is its length in one byte, at most [`MAX_ROW`], and the words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hearing {
    /// The sender's voters.
    pub set: VoterSetTag,
    /// One word for each voter of the set, in the order of names: 255 for one that is not heard; else
    /// the doublings of 16 ms that the round trip lies below in the low five bits, and a
    /// class of loss in the others.
    pub row: Vec<u8>,
}
