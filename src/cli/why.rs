//! The part of `status` that `--why` adds: reasons, last words, transitions.

use core::fmt::{self, Write as _};
use serde_json::Value;

use super::status::{seconds, shown};
use super::term::{Hue, Paint, table};

/// The most transitions that are printed.
const MAX_LINES: usize = 10;

/// Writes what `/election/status` says of why.
pub(super) fn render(out: &mut String, election: &Value, paint: Paint) -> fmt::Result {
    out.push('\n');
    let why = &election["why"];
    for (key, heading) in [
        ("no_leader", "why is there no leader"),
        ("not_leading", "why does this node not lead"),
        ("no_takeover", "why does nobody take over"),
    ] {
        if let Some(answer) = why[key].as_str() {
            writeln!(out, "{heading}?\n  {}", shown(&answer.into()))?;
        }
    }
    let heading = ["VOTER", "LAST SAID", "AGO"].map(String::from);
    let order = election["priority"].as_array();
    let rows = order.into_iter().flatten().filter(|voter| voter["said"].is_object()).map(|voter| {
        let said = &voter["said"];
        let reason = said["why"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
        let what = format!("{}{reason}", shown(&said["what"]));
        [shown(&voter["node_id"]), shown(&what.into()), seconds(&said["seconds_ago"])]
    });
    let rows: Vec<[String; 3]> = core::iter::once(heading).chain(rows).collect();
    out.push('\n');
    table(out, &rows, paint, |_, _| None)?;
    out.push('\n');
    elections(out, election, MAX_LINES, paint)
}

/// Writes a row for each of the last elections, `most` at most.
pub(super) fn elections(
    out: &mut String,
    election: &Value,
    most: usize,
    paint: Paint,
) -> fmt::Result {
    let heading =
        ["TERM", "LEADER", "CAUSE", "TOOK", "SINCE", "LASTED", "ENDED", "VOTES"].map(String::from);
    let past = election["last_elections"].as_array();
    let leads = |past: &Value| {
        let (winner, term) = (&past["winner"], &past["term"]);
        winner.is_string() && *winner == election["leader_id"] && *term == election["term"]
    };
    let rows = past.into_iter().flatten().take(most).map(|past| {
        let votes = past["votes"].as_object();
        let granted = votes.map_or(0, |all| all.values().filter(|vote| *vote == "granted").count());
        let votes = match votes.map(serde_json::Map::len) {
            None | Some(0) => String::from("-"),
            Some(all) => format!("{granted} of {all}"),
        };
        let winner = past["winner"].as_str();
        [
            shown(&past["term"]),
            winner.map_or_else(|| String::from("nobody"), |_| shown(&past["winner"])),
            shown(&past["cause"]),
            seconds(&past["duration_seconds"]),
            shown(&past["started_at"]),
            seconds(&past["ended"]["lasted_seconds"]),
            if leads(past) { String::from("leads now") } else { shown(&past["ended"]["cause"]) },
            votes,
        ]
    });
    let rows: Vec<[String; 8]> = core::iter::once(heading).chain(rows).collect();
    table(out, &rows, paint, |at, row| match at {
        1 if row[1] == "nobody" => Some(Hue::Bad),
        1 if row[6] == "leads now" => Some(Hue::Strong),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_last_words_and_transitions_are_told() {
        let election = json!({
            "why": {"no_leader": null, "not_leading": "a leads\u{1b}", "no_takeover": null},
            "priority": [
                {"node_id": "a", "said": {"what": "leads", "why": null, "seconds_ago": 0.25}},
                {"node_id": "b", "said": null},
                {"node_id": "c", "said": {"what": "would_not_vote", "why": "store", "seconds_ago": 70.0}},
            ],
            "last_elections": [
                {"term": 8, "winner": "a", "cause": "handed_over", "duration_seconds": 0.004,
                 "started_at": "now", "ended": null, "votes": {"a": "granted", "b": "silent"}},
                {"term": 7, "winner": null, "cause": "no_leader", "duration_seconds": 1.0,
                 "started_at": "then", "ended": null, "votes": {}},
            ],
        });
        let mut text = String::new();
        render(&mut text, &election, Paint::default()).unwrap();
        assert_eq!(
            text,
            "\nwhy does this node not lead?\n  a leads\n\n\
             VOTER  LAST SAID               AGO\n\
             a      leads                   0.25 s\n\
             c      would_not_vote (store)  1m 10s\n\n\
             TERM  LEADER  CAUSE        TOOK    SINCE  LASTED  ENDED  VOTES\n\
             8     a       handed_over  0.00 s  now    -       -      1 of 2\n\
             7     nobody  no_leader    1.00 s  then   -       -      -\n"
        );
    }

    #[test]
    fn a_stranger_answer_breaks_nothing() {
        let mut text = String::new();
        render(&mut text, &json!([1]), Paint::default()).unwrap();
        assert!(text.contains("VOTER"));
    }
}
