//! Gossip membership, and exactly one leader among designated voters.
//!
//! The rooms, from the bottom up; each imports only from those above it in this list:
//!
//! | room | what it does |
//! |---|---|
//! | `ringrift_wire` | bytes <-> typed messages, checksummed and bounded |
//! | [`time`], [`rng`] | an instant without `now()`, a seeded generator |
//! | [`membership`] | who is alive: SWIM with Lifeguard; a pure state machine |
//! | [`election`] | who leads: Bully under a quorum of voters; a pure state machine |
//! | [`node`] | the two coupled: the one machine that a driver or a simulator holds |
//! | [`config`] | YAML -> checked parameters, every broken rule reported |
//! | [`telemetry`] | events and status -> log lines and Prometheus |
//! | [`http`] | the port that people, scripts and Prometheus ask |
//! | [`driver`] | sockets, clocks, files, signals, and the one loop |
//! | [`client`] | whether the node on this machine leads, for programs beside it |
//! | [`cli`] | one file per subcommand |
//!
//! `membership`, `election` and `node` have no clock, no socket, no file, no log and no hidden
//! randomness: the same inputs always give the same outputs, so the simulator in `tests/sim` runs
//! what production runs.
//!
//! # What has gone wrong elsewhere, and the answer here
//!
//! | failure | answer |
//! |---|---|
//! | two leaders with two votes of five, because the majority was taken of the voters that were alive | a quorum is a strict majority of the *configured* voters ([`election::VoterSet::quorum`]), and a leader can only be made from the proof of one ([`election::ballot::QuorumProof`]) |
//! | an old leader that woke from a pause and went on | leading is `now < lease end`, asked at the moment of use, on a clock that counts suspend |
//! | a lease counted from the answer, which delay stretches | [`election::lease`] counts from the send that the answer names, less drift and a guard |
//! | a voter that voted twice after a crash | the record is durable before a vote leaves; a restart knows its promise or abstains |
//! | failover after 100 to 330 seconds: every stage waited for the one before | a suspicion starts the canvass, so the answers are there when the lease ends |
//! | ten changes of leader in an hour | a canvass binds nobody, voters that hear a leader say no, priority is bucketed and frozen, and a returned voter does not take over |
//! | no leader although a majority was connected, because the preferred voter was half cut off | only a voter with round trips to a quorum stands or calls itself better |
//! | a status that still named the dead leader | what is known of a leader ends with its lease, through others too |

pub mod cli;
pub mod client;
pub mod config;
pub mod driver;
pub mod election;
pub mod http;
pub mod membership;
pub mod node;
pub mod rng;
pub mod telemetry;
pub mod time;

/// The README, whose Rust is compiled with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
