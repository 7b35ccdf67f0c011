//! What a check has found, as a table, as JSON, and as what to do about it.

use core::fmt::{self, Write as _};
use core::time::Duration;
use ringrift_wire::MAX_DATAGRAM;
use serde_json::{Value, json};

use super::ask::{Finding, SHORT_ONES, Who};
use super::disk::Writes;
use crate::cli::status::shown;
use crate::cli::term::{Hue, Paint, table};
use crate::config::Config;
use crate::driver::tailscale::Tailscale;

/// What is known of this machine.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) node: String,
    /// The port that others ask.
    pub(super) port: u16,
    /// What kept it from being bound.
    pub(super) taken: Vec<String>,
    pub(super) disk: Result<Writes, String>,
    pub(super) tailscale: Option<Tailscale>,
    /// Version and hash of the voter list.
    pub(super) config: (u64, String),
}

/// Everything.
pub(super) struct Report<'a> {
    pub(super) config: &'a Config,
    pub(super) here: Here,
    pub(super) findings: Vec<Finding>,
}

impl Finding {
    /// Whether datagrams arrive there; `None` when nobody says so.
    fn goes(&self) -> Option<bool> {
        self.arrived.map(|arrived| arrived > 0)
    }

    /// Lost of a hundred, of those that could have been answered or counted.
    fn loss(&self) -> u16 {
        let came = if self.answered > 0 { self.answered } else { self.arrived.unwrap_or(0) };
        100 - 100 * came.min(self.sent.max(1)) / self.sent.max(1)
    }
}

impl Report<'_> {
    /// What to do, a sentence each, voter by voter and then for this machine.
    pub(super) fn advice(&self) -> Vec<String> {
        let mut advice: Vec<String> =
            self.findings.iter().flat_map(|finding| self.of_voter(finding)).collect();
        advice.extend(self.of_here());
        advice
    }

    fn of_voter(&self, it: &Finding) -> Vec<String> {
        let (id, port) = (&it.id, it.port);
        let Some(address) = it.address else {
            return vec![format!(
                "{id}: its name does not resolve to an address that is spoken here; write an address, or put it into DNS"
            )];
        };
        let mut advice = Vec::new();
        let mut add = |text: String| advice.push(format!("{id}: {text}"));
        if !it.silent.is_empty() {
            let all: Vec<String> = it.silent.iter().map(ToString::to_string).collect();
            add(format!(
                "it answers at {}, and not at {}, which its name has, too: let TCP and UDP {port} pass there, or take \
                 that address out of the name; nodes try each in turn",
                address.ip(),
                all.join(", ")
            ));
        }
        let start = format!(
            "run `ringrift-p2p check --net --listen --port {}` there, and check again",
            self.here.port
        );
        match &it.who {
            Who::Check | Who::Node => {}
            Who::Other(what) => {
                add(format!("no check and no node answers on TCP {port}: {what}; {start}"));
            }
            Who::Closed if it.answered == 0 => {
                add(format!("nothing listens on TCP {port}; {start}"));
            }
            Who::Silent if it.answered == 0 && it.comes == Some(true) => add(format!(
                "its datagrams come here, and nothing of this machine seems to arrive there: let TCP and UDP \
                 {port} in there, or out here"
            )),
            Who::Silent if it.answered == 0 => add(format!(
                "nothing comes back from {address}, by TCP or UDP; is the host up, and TCP and UDP {port} \
                 open on the way? If so, {start}"
            )),
            Who::Closed | Who::Silent => add(format!(
                "datagrams pass, and TCP {port} does not: open it for curl, Prometheus and scripts"
            )),
        }
        let udp = address.port();
        match (it.goes(), it.comes) {
            (Some(false), Some(true)) => add(format!(
                "datagrams from here do not arrive there, those from there do here: let UDP {udp} in there, or out here"
            )),
            (Some(false), _) => add(format!(
                "datagrams from here do not arrive there: let UDP {udp} in there, or out here"
            )),
            (Some(true), Some(false)) => add(format!(
                "datagrams from here arrive there, those from there do not here: let UDP {} in here, or out there",
                self.here.port
            )),
            _ => {}
        }
        if it.goes() == Some(true) {
            let loss = it.loss();
            if loss > 10 && it.comes != Some(false) {
                add(format!(
                    "{loss} % of {SHORT_ONES} datagrams are lost: look at the way between"
                ));
            }
            if let Some(longest) = it.longest.filter(|&longest| longest < MAX_DATAGRAM) {
                add(format!(
                    "datagrams up to {longest} bytes pass, {MAX_DATAGRAM} are needed: raise the MTU on the way to 1280"
                ));
            }
        }
        self.of_settings(it, &mut add);
        advice
    }

    fn of_settings(&self, it: &Finding, add: &mut impl FnMut(String)) {
        if let Some(named) = it.named.as_ref().filter(|named| **named != it.id) {
            add(format!(
                "{} answers there: correct the address in hosts",
                shown(&named.as_str().into())
            ));
        }
        let cluster = &self.config.cluster;
        if let Some(other) = it.cluster.as_ref().filter(|other| *other != cluster) {
            let other = shown(&other.as_str().into());
            add(format!(
                "it is of the cluster {other}, this node of {cluster}: give both the same file"
            ));
        }
        let (version, hash) = &self.here.config;
        if let Some((theirs, other)) = it.config.as_ref().filter(|it| **it != self.here.config) {
            if theirs == version {
                let other = shown(&other.as_str().into());
                add(format!(
                    "its voter list is another under the same voters_version {version} ({other}, here {hash}): copy one file to both"
                ));
            } else {
                add(format!(
                    "its voter list has version {theirs}, here it is {version}: copy the newer file"
                ));
            }
        }
        let lease = self.config.election.lease;
        if let Some(trip) = it.round_trip.filter(|trip| *trip > lease / 8) {
            add(format!(
                "the round trip of {} is long for a lease of {lease:?}: raise election.lease",
                millis(trip)
            ));
        }
        let drift = f64::from(self.config.election.clock_drift_ppm) / 1e6;
        if let Some((rate, error)) = it.clock.filter(|(rate, error)| rate.abs() - error > drift) {
            add(format!(
                "its clock runs {:.2} % (give or take {:.2}) off this one, more than election.clock_drift: look at \
                 its time service before it votes",
                rate * 100.0,
                error * 100.0
            ));
        }
    }

    fn of_here(&self) -> Vec<String> {
        let mut advice: Vec<String> = Vec::new();
        advice.extend(self.here.taken.iter().map(|taken| {
            format!("{taken}: others cannot ask this machine; give the same free --port everywhere")
        }));
        let lease = self.config.election.lease;
        match &self.here.disk {
            Err(error) => advice.push(format!("votes cannot be written: {error}; give data_dir another place")),
            Ok(writes) if writes.longest > lease / 8 => advice.push(format!(
                "a durable write in {} took up to {}: long for a lease of {lease:?}, and a vote waits for it; \
                 use another disk, or raise election.lease",
                writes.folder.display(),
                millis(writes.longest)
            )),
            Ok(_) => {}
        }
        advice.extend(self.here.tailscale.iter().flat_map(Tailscale::advice));
        advice
    }

    /// The table, what is known of this machine, and what to do.
    pub(super) fn render(&self, out: &mut String, paint: Paint) -> fmt::Result {
        let heading =
            ["VOTER", "ANSWERS", "UDP OUT", "UDP BACK", "RTT", "LONGEST", "TCP", "VOTERS", "CLOCK"];
        let mut rows = vec![heading.map(String::from)];
        rows.extend(self.findings.iter().map(|it| self.row(it)));
        table(out, &rows, paint, |at, row| match (at, row[at].as_str()) {
            (2 | 3 | 6, "ok") => Some(Hue::Good),
            (2 | 3, "lost") | (6, "closed" | "no answer") => Some(Hue::Bad),
            (2 | 3, text) if text.ends_with('%') => Some(Hue::Warn),
            (7, text) if text.ends_with("differ") => Some(Hue::Bad),
            _ => None,
        })?;
        out.push('\n');
        match &self.here.disk {
            Ok(writes) => writeln!(
                out,
                "disk       a durable write takes {}, at most {} of 20, in {}",
                millis(writes.median),
                millis(writes.longest),
                writes.folder.display()
            )?,
            Err(error) => {
                writeln!(out, "disk       {}: {error}", paint.on(Hue::Bad, "cannot be written"))?;
            }
        }
        match &self.here.tailscale {
            Some(it) => {
                let addresses: Vec<String> = it.addresses.iter().map(ToString::to_string).collect();
                let interface = match it.has_interface {
                    Some(true) => "with an interface",
                    Some(false) => "in userspace",
                    None => "in a mode that it does not tell",
                };
                let state = shown(&it.state.as_str().into());
                writeln!(out, "tailscale  {state}, {interface}: {}", addresses.join(", "))?;
            }
            None => writeln!(out, "tailscale  not here, or it does not answer")?,
        }
        let unknown = self.unknown();
        if !unknown.is_empty() {
            writeln!(out, "\nnot known: whether datagrams come here from {}", unknown.join(", "))?;
            let how = "start the node here, or a check there in place of the node";
            writeln!(out, "  to know it, {how}")?;
        }
        let advice = self.advice();
        if advice.is_empty() {
            let all = if unknown.is_empty() { "all is well" } else { "all else is well" };
            return writeln!(out, "\n{}", paint.on(Hue::Good, all));
        }
        writeln!(out, "\nwhat to do:")?;
        advice.iter().try_for_each(|text| writeln!(out, "  {} {text}", paint.on(Hue::Warn, "-")))
    }

    /// The voters whose way back nobody knows, though they answer.
    fn unknown(&self) -> Vec<&str> {
        let answers = |it: &&Finding| matches!(it.who, Who::Check | Who::Node);
        let unknown = self.findings.iter().filter(answers).filter(|it| it.comes.is_none());
        unknown.filter(|it| it.goes() != Some(false)).map(|it| it.id.as_str()).collect()
    }

    fn row(&self, it: &Finding) -> [String; 9] {
        let word = |known: Option<bool>, loss: u16| match known {
            None => String::from("?"),
            Some(false) => String::from("lost"),
            Some(true) if loss > 10 => format!("loses {loss} %"),
            Some(true) => String::from("ok"),
        };
        let who = match it.who {
            Who::Check => "check",
            Who::Node => "node",
            Who::Other(_) => "another",
            Who::Closed | Who::Silent => "nobody",
        };
        let tcp = match it.who {
            Who::Check | Who::Node | Who::Other(_) => "ok",
            Who::Closed => "closed",
            Who::Silent => "no answer",
        };
        let voters = match &it.config {
            None => String::from("-"),
            Some(theirs) if *theirs == self.here.config => format!("{}, same", theirs.0),
            Some(theirs) => format!("{}, differ", theirs.0),
        };
        let loss = it.loss();
        [
            it.id.clone(),
            String::from(who),
            word(it.goes(), if it.answered == 0 { loss } else { 0 }),
            word(it.comes, if it.answered > 0 { loss } else { 0 }),
            it.round_trip.map_or_else(|| String::from("-"), millis),
            it.longest.map_or_else(|| String::from("-"), |longest| longest.to_string()),
            String::from(tcp),
            voters,
            it.clock.map_or_else(
                || String::from("-"),
                |(rate, error)| format!("{:+.2} % +-{:.2}", rate * 100.0, error * 100.0),
            ),
        ]
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        let voters = self.findings.iter().map(|it| {
            json!({
                "node_id": it.id,
                "address": it.address.map(|address| address.to_string()),
                "silent_addresses": it.silent.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "answers": match &it.who {
                    Who::Check => "check", Who::Node => "node", Who::Other(_) => "other",
                    Who::Closed => "closed", Who::Silent => "silent",
                },
                "tcp_port": it.port,
                "named": it.named,
                "udp_sent": it.sent,
                "udp_arrived": it.arrived,
                "udp_answered": it.answered,
                "udp_comes": it.comes,
                "longest_bytes": it.longest,
                "rtt_ms": it.round_trip.map(|trip| trip.as_secs_f64() * 1e3),
                "voter_config_version": it.config.as_ref().map(|it| it.0),
                "voter_config_hash": it.config.as_ref().map(|it| it.1.as_str()),
                "clock_rate": it.clock.map(|it| it.0),
                "clock_rate_error": it.clock.map(|it| it.1),
            })
        });
        json!({
            "node_id": self.here.node,
            "port": self.here.port,
            "voters": voters.collect::<Vec<_>>(),
            "fsync_ms": self.here.disk.as_ref().ok().map(|it| it.median.as_secs_f64() * 1e3),
            "fsync_longest_ms": self.here.disk.as_ref().ok().map(|it| it.longest.as_secs_f64() * 1e3),
            "tailscale": self.here.tailscale.as_ref().map(|it| json!({
                "state": it.state, "interface": it.has_interface,
                "addresses": it.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })),
            "unknown": self.unknown(),
            "advice": self.advice(),
        })
    }
}

fn millis(length: Duration) -> String {
    let ms = length.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}
