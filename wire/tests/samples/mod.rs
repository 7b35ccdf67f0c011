//! One envelope of every kind, for the golden bytes, the rejects and the fuzz corpus.

use ringrift_wire::{
    Ack, Acknowledge, Answer, Beacon, Boot, Canvass, CanvassReply, Conflict, Coordinator, Election,
    Envelope, Go, Gossip, Hearing, Inquire, MemberState, Message, Nack, NodeId, Offer, Opinion,
    Ping, PingReq, Priority, Pull, Ready, Record, Refusal, RelayedAck, Release, Report, StepDown,
    Unready, Update, Verdict, VoterSetTag,
};

/// The tag that the samples are encoded under.
pub(crate) const CLUSTER: u32 = 0x1234_5678;

/// A node name.
pub(crate) fn id(name: &str) -> NodeId {
    name.parse().expect("a name")
}

/// One envelope of every kind, each with a name of its own.
pub(crate) fn samples() -> Vec<(&'static str, Envelope)> {
    let boot = Boot { sequence: 1_766_000_000, nonce: 0x1122_3344_5566_7788 };
    let set = VoterSetTag { version: 1, hash: 0x0102_0304_0506_0708 };
    let priority =
        Priority { drained: false, last: true, stability: 1, centrality: 2, gpu: 1, order: 300 };
    let beacon = Beacon {
        leader: id("cpu1"),
        nonce: 0xaabb_ccdd_eeff_0011,
        term: 1_766_000_001,
        number: 77,
        age_ms: 250,
        lease_ms: 4_000,
    };
    let alive = Update {
        member: id("cpu2"),
        address: "100.64.0.2:8770".parse().expect("an address"),
        sequence: 1_766_000_002,
        incarnation: 3,
        state: MemberState::Alive,
    };
    let suspect = Update {
        member: id("h100"),
        address: "[fd7a::3]:8770".parse().expect("an address"),
        sequence: 9,
        incarnation: 70_000,
        state: MemberState::Suspect { by: id("cpu1") },
    };
    let dead = Update { state: MemberState::Dead { by: id("cpu2") }, ..suspect };
    let left = Update { state: MemberState::Left, ..alive };

    let messages = vec![
        (
            "ping_idle",
            Message::Ping(Ping {
                number: 200,
                digest: 0xdead_beef,
                wants_beacon: false,
                beacon: None,
                updates: vec![],
            }),
        ),
        (
            "ping_loaded",
            Message::Ping(Ping {
                number: 70_000,
                digest: 0,
                wants_beacon: true,
                beacon: Some(beacon),
                updates: vec![alive, suspect, dead, left],
            }),
        ),
        (
            "ack",
            Message::Ack(Ack { number: 200, digest: 1, beacon: Some(beacon), updates: vec![left] }),
        ),
        (
            "ping_req",
            Message::PingReq(PingReq {
                number: 7,
                target: id("h100"),
                address: "[fd7a::3]:8770".parse().expect("an address"),
                nack_after_ms: 400,
                updates: vec![alive],
            }),
        ),
        ("nack", Message::Nack(Nack { number: 7, target: id("h100") })),
        ("relayed_ack", Message::RelayedAck(RelayedAck { number: 7, target: id("h100"), boot })),
        ("gossip", Message::Gossip(Gossip { beacon: None, updates: vec![suspect] })),
        ("pull", Message::Pull(Pull { after: Some(id("cpu2")) })),
        ("canvass", Message::Canvass(Canvass { set, number: 5, term: 251, priority })),
        (
            "canvass_reply",
            Message::CanvassReply(CanvassReply {
                set,
                number: 5,
                term: 250,
                opinion: Opinion::Better(priority),
            }),
        ),
        (
            "election",
            Message::Election(Election { set, term: 65_536, number: 6, lease_ms: 4_000, priority }),
        ),
        (
            "answer",
            Message::Answer(Answer {
                set,
                term: 65_535,
                number: 6,
                verdict: Verdict::Refused(Refusal::Promised { free_in_us: 1 << 32 }),
            }),
        ),
        (
            "coordinator",
            Message::Coordinator(Coordinator {
                set,
                term: 1_766_000_003,
                number: 4_242,
                lease_ms: 4_000,
            }),
        ),
        (
            "acknowledge",
            Message::Acknowledge(Acknowledge {
                set,
                term: 1_766_000_003,
                number: 4_242,
                priority,
                verdict: Verdict::Granted,
            }),
        ),
        (
            "release",
            Message::Release(Release { set, nonce: boot.nonce, term: 1_766_000_003, dead: false }),
        ),
        ("inquire", Message::Inquire(Inquire { set, number: 2 })),
        (
            "report",
            Message::Report(Report {
                set,
                number: 2,
                record: Some(Record { term: u64::MAX, led_version: 1 }),
                met_as_new: true,
                longest_lease_ms: 8_000,
            }),
        ),
        ("step_down", Message::StepDown(StepDown { set, term: 1_766_000_003 })),
        (
            "conflict",
            Message::Conflict(Conflict {
                refused: 0x0102_0304_0506_0708,
                holder: Boot { sequence: 1_766_000_004, nonce: 0x1112_1314_1516_1718 },
                address: "[fd7a::4]:8770".parse().expect("an address"),
            }),
        ),
        ("hearing", Message::Hearing(Hearing { set, row: vec![0, 4, 0x29, 255, 3] })),
        ("offer", Message::Offer(Offer { set, number: 9, term: 1_766_000_003 })),
        (
            "ready",
            Message::Ready(Ready {
                set,
                number: 9,
                term: 1_766_000_003,
                unready: Some(Unready::NoQuorum),
            }),
        ),
        ("go", Message::Go(Go { set, term: 1_766_000_003, successor: id("cpu2"), takeover: true })),
    ];
    let sender = id("hetzner");
    messages.into_iter().map(|(name, message)| (name, Envelope { sender, boot, message })).collect()
}
