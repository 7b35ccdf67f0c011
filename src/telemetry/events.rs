//! Events as programs read them: a name and fields, for `GET /events`.
//!
//! Decides which events programs are told and in which words. The name of an event is that of its type
//! in snake case, which is what its log line says in words; its fields are the words of the log line.
//!
//! Invariants:
//! 1. What a datagram of anybody can cause as often as it is sent is not told (`vote_refused`).
//! 2. An event is at most [`MAX_FIELDS_BYTES`] long as JSON.

use serde_json::{Map, Value, json};

use crate::node::Event;
use crate::{election, membership};

/// The most that [`describe`] gives, as JSON text, in bytes.
pub const MAX_FIELDS_BYTES: usize = 512;

/// Every name that [`describe`] gives.
pub const NAMES: [&str; 26] = [
    "leader_changed",
    "leadership_gained",
    "leadership_lost",
    "term_raised",
    "canvass_started",
    "election_started",
    "election_lost",
    "vote_granted",
    "promise_released",
    "record_adopted",
    "voter_set_mismatch",
    "handover_ended",
    "store_health",
    "member_joined",
    "member_suspected",
    "suspicion_confirmed",
    "member_held_off",
    "member_refuted",
    "member_died",
    "member_left",
    "member_restarted",
    "member_moved",
    "address_refused",
    "name_in_conflict",
    "name_taken",
    "foreign_address",
];

/// Whether programs are told of an event.
#[must_use]
pub const fn is_told(event: &Event) -> bool {
    !matches!(event, Event::Election(election::Event::VoteRefused { .. }))
}

/// The name of an event and its fields; `None` for one that programs are not told of.
#[must_use]
pub fn describe(event: &Event) -> Option<(&'static str, Map<String, Value>)> {
    let (name, fields) = match event {
        Event::Member(event) => member(event),
        Event::Election(event) => election(event)?,
        Event::ForeignAddress { voter } => ("foreign_address", json!({ "member": voter.as_str() })),
    };
    match fields {
        Value::Object(fields) => Some((name, fields)),
        _ => None,
    }
}

fn election(event: &election::Event) -> Option<(&'static str, Value)> {
    use election::Event;
    Some(match event {
        Event::CanvassStarted { cause } => ("canvass_started", json!({ "cause": cause.as_str() })),
        Event::ElectionStarted { term, cause } => {
            ("election_started", json!({ "term": term, "cause": cause.as_str() }))
        }
        Event::ElectionLost { term, why } => ("election_lost", json!({ "term": term, "why": why })),
        Event::LeadershipGained { term, took } => {
            let took_ms = took.as_micros() as f64 / 1e3;
            ("leadership_gained", json!({ "term": term, "took_ms": took_ms }))
        }
        Event::TermRaised { term } => ("term_raised", json!({ "term": term })),
        Event::LeadershipLost { term, cause } => {
            ("leadership_lost", json!({ "term": term, "cause": cause.as_str() }))
        }
        Event::LeaderChanged { leader, term } => {
            let leader = leader.as_ref().map(|leader| leader.as_str());
            ("leader_changed", json!({ "leader_id": leader, "term": term }))
        }
        Event::VoteGranted { candidate, term } => {
            ("vote_granted", json!({ "candidate": candidate.as_str(), "term": term }))
        }
        // Invariant 1.
        Event::VoteRefused { .. } => return None,
        Event::PromiseReleased { holder, term } => {
            ("promise_released", json!({ "holder": holder.as_str(), "term": term }))
        }
        Event::RecordAdopted { term } => ("record_adopted", json!({ "term": term })),
        Event::VoterSetMismatch { voter, theirs, ours } => {
            let fields = json!({ "member": voter.as_str(), "theirs": theirs, "ours": ours });
            ("voter_set_mismatch", fields)
        }
        Event::HandoverEnded { term, cause, to, outcome } => {
            let to = to.as_ref().map(|to| to.as_str());
            let (cause, outcome) = (cause.as_str(), outcome.as_str());
            let fields = json!({ "term": term, "cause": cause, "to": to, "outcome": outcome });
            ("handover_ended", fields)
        }
        Event::StoreHealth { works } => ("store_health", json!({ "works": works })),
    })
}

fn member(event: &membership::Event) -> (&'static str, Value) {
    use membership::Event;
    match event {
        Event::MemberJoined { member, address } => {
            ("member_joined", json!({ "member": member.as_str(), "address": address.to_string() }))
        }
        Event::MemberSuspected { member, by } => {
            ("member_suspected", json!({ "member": member.as_str(), "by": by.as_str() }))
        }
        Event::SuspicionConfirmed { member, by } => {
            ("suspicion_confirmed", json!({ "member": member.as_str(), "by": by.as_str() }))
        }
        Event::MemberHeldOff { member, length } => {
            let seconds = length.as_secs_f64();
            ("member_held_off", json!({ "member": member.as_str(), "seconds": seconds }))
        }
        Event::MemberRefuted { member, how } => {
            ("member_refuted", json!({ "member": member.as_str(), "how": how.as_str() }))
        }
        Event::MemberDied { member, by } => {
            ("member_died", json!({ "member": member.as_str(), "by": by.as_str() }))
        }
        Event::MemberLeft { member } => ("member_left", json!({ "member": member.as_str() })),
        Event::MemberRestarted { member } => {
            ("member_restarted", json!({ "member": member.as_str() }))
        }
        Event::MemberMoved { member, address } => {
            ("member_moved", json!({ "member": member.as_str(), "address": address.to_string() }))
        }
        Event::AddressRefused { member, address, why } => (
            "address_refused",
            json!({
                "member": member.as_str(), "address": address.to_string(), "why": why.as_str(),
            }),
        ),
        Event::NameInConflict { member, address, second } => (
            "name_in_conflict",
            json!({
                "member": member.as_str(),
                "address": address.to_string(),
                "second": second.to_string(),
            }),
        ),
        Event::NameTaken { address } => ("name_taken", json!({ "address": address.to_string() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::fixtures::id;
    use crate::telemetry::logs::tests::{events, message_of};
    use core::net::SocketAddr;
    use std::collections::BTreeSet;

    /// `MemberJoined` of `Member(MemberJoined { .. })`, in snake case.
    fn type_name(event: &Event) -> String {
        let text = format!("{event:?}");
        let inner = text.trim_start_matches("Member(").trim_start_matches("Election(");
        let name: String = inner.chars().take_while(|it| it.is_ascii_alphanumeric()).collect();
        let mut snake = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }

    #[test]
    fn an_event_is_called_by_its_type() {
        for (event, _) in events() {
            if let Some((name, _)) = describe(&event) {
                assert_eq!(name, type_name(&event));
            }
        }
    }

    #[test]
    fn the_list_of_names_is_complete() {
        let told = events().into_iter().filter_map(|(event, _)| Some(describe(&event)?.0));
        let told: BTreeSet<&str> = told.collect();
        assert_eq!(NAMES.iter().copied().collect::<BTreeSet<_>>(), told);
    }

    /// Where the log says more than the name, because the event comes in several kinds.
    const SAID_OTHERWISE: [(&str, &str); 12] = [
        ("leader_changed", "no leader"),
        ("leadership_lost", "leadership given up"),
        ("member_refuted", "member refuted a suspicion"),
        ("address_refused", "address of a member refused"),
        ("name_in_conflict", "second live process of a name refused"),
        ("name_taken", "another live process has the name of this node"),
        ("record_adopted", "empty vote store got its first record"),
        (
            "voter_set_mismatch",
            "voter has another voter list under the same voters_version: give both one file",
        ),
        ("voter_set_mismatch", "voter has a neighbouring voters_version"),
        (
            "voter_set_mismatch",
            "voter has a voters_version that is no neighbour: neither votes for the other",
        ),
        ("foreign_address", "voter's name used from a foreign address"),
        ("store_health", "vote store works again"),
    ];

    #[test]
    fn the_log_says_the_same_words() {
        for (event, _) in events() {
            let Some((name, _)) = describe(&event) else { continue };
            let message = message_of(&event);
            let same = message.replace(' ', "_") == name
                || SAID_OTHERWISE.contains(&(name, &message))
                || (name, &*message) == ("store_health", "vote store failed");
            assert!(same, "{name} is logged as {message:?}");
        }
    }

    /// Invariant 1.
    #[test]
    fn what_anybody_can_cause_at_will_is_not_told() {
        let silent: Vec<_> =
            events().into_iter().filter(|(event, _)| describe(event).is_none()).collect();
        for (event, _) in events() {
            assert_eq!(is_told(&event), describe(&event).is_some(), "{event:?}");
        }
        assert!(silent.iter().all(|(_, level)| *level == "DEBUG"), "{silent:?}");
        assert_eq!(silent.len(), events().iter().filter(|(_, level)| *level == "DEBUG").count());
    }

    /// Invariant 2.
    #[test]
    fn the_longest_names_and_addresses_stay_below_the_bound() {
        let longest = id(&"x".repeat(63));
        let address: SocketAddr =
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().unwrap();
        let why = membership::Unusable::Loopback;
        for event in [
            membership::Event::NameInConflict { member: longest, address, second: address },
            membership::Event::AddressRefused { member: longest, address, why },
            membership::Event::MemberSuspected { member: longest, by: longest },
        ] {
            let (_, fields) = describe(&Event::Member(event)).unwrap();
            let length = Value::Object(fields).to_string().len();
            assert!(length <= MAX_FIELDS_BYTES, "{length}");
        }
    }
}
