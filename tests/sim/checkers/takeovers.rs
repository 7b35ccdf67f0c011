//! I9: takeovers come in time and not too often.
//!
//! 1. Between two takeovers that one process knows of, as the leader that gives way or by its GO, lies the
//!    shortest time that is configured, twice as long after each that did not last.
//! 2. Once a quorum is healed, a voter that is better than the leader for as long as it has to be leads
//!    within what the rate leaves free, and the time that a handover takes.

use super::Violation;
use super::liveness::drifted;
use crate::options::{MS, Nanos, Options, SECOND};

/// What one process knows of takeovers.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    last: Option<Nanos>,
    gap: Nanos,
    flapped: bool,
    /// Who leads.
    leader: Option<usize>,
    /// The next change of leader is that of the takeover.
    moving: bool,
}

/// The checker.
#[derive(Clone, Debug)]
pub(crate) struct Takeovers {
    rules: Option<(Nanos, Nanos)>,
    /// Rho twice, in parts per million.
    drift: u64,
    views: Vec<View>,
    /// How many there were.
    count: u32,
    /// Who has been best beside which leader, and since when.
    better: Option<(usize, usize, Nanos)>,
    slack: Nanos,
}

impl Takeovers {
    /// For that many hosts.
    pub(crate) fn new(hosts: usize, options: &Options) -> Self {
        // Ten heartbeats, one more to compare, the time between two attempts, a voter that is asked for
        // half a second, its canvass, the end of the work, and an election.
        let slack = 12 * (options.heartbeat + options.loop_lag)
            + 2 * (SECOND.max(options.heartbeat) + 500 * MS)
            + options.work_grace
            + 2 * options.leases().1;
        Self {
            rules: options.takeover,
            drift: 2 * u64::from(options.drift_ppm),
            views: vec![View::default(); hosts],
            count: 0,
            better: None,
            slack: drifted(slack, options),
        }
    }

    /// A host starts a process.
    pub(crate) fn started(&mut self, host: usize) {
        self.views[host] = View::default();
    }

    /// How many there were.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// A host learns that the lead moves by a takeover: it gives way itself, or hears GO.
    pub(crate) fn moves(&mut self, now: Nanos, host: usize, own: bool) -> Result<(), Violation> {
        let Some((_, every)) = self.rules else {
            let what = format!("host {host} sees a takeover, which is hours away");
            return Err(Violation { at: now, rule: "I9", what });
        };
        self.count += u32::from(own);
        let drift = self.drift;
        let view = &mut self.views[host];
        let shortest = |gap: Nanos| gap - gap * drift / 1_000_000;
        let before = *view;
        let gap = before.gap.max(every);
        let since = before.last.map(|last| now - last);
        // After a long time without one it is as at first; where a clock may see it either way, no more
        // than that is demanded.
        let rested = since.is_some_and(|since| since >= shortest(2 * gap));
        let gap = if rested { every } else { gap };
        *view = View { last: Some(now), gap, flapped: false, leader: before.leader, moving: true };
        match since {
            Some(since) if own && since < shortest(gap) => {
                let what = format!(
                    "host {host} gives way {since} ns after the last takeover, and not {gap} ns"
                );
                Err(Violation { at: now, rule: "I9", what })
            }
            _ => Ok(()),
        }
    }

    /// A host learns who leads.
    pub(crate) fn led_by(&mut self, now: Nanos, host: usize, leader: usize) {
        let drift = self.drift;
        let view = &mut self.views[host];
        if view.leader.replace(leader) == Some(leader) || core::mem::take(&mut view.moving) {
            return;
        }
        let Some(last) = view.last else { return };
        let young = now - last < view.gap - view.gap * drift / 1_000_000;
        if young && !view.flapped {
            view.flapped = true;
            view.gap *= 2;
        }
    }

    /// Time has passed after the healing; the leader, the voter that is better than it, if one is, and
    /// what the leader says of it.
    pub(crate) fn observe(
        &mut self,
        now: Nanos,
        standing: Option<(usize, usize)>,
        said: Option<String>,
    ) -> Result<(), Violation> {
        let Some((after, every)) = self.rules else { return Ok(()) };
        let Some((leader, better)) = standing else {
            self.better = None;
            return Ok(());
        };
        let since = match self.better {
            Some((before, same, since)) if (before, same) == (leader, better) => since,
            _ => now,
        };
        self.better = Some((leader, better, since));
        let stretch = |length: Nanos| length + length * self.drift / 1_000_000;
        let view = self.views[leader];
        let free = view
            .last
            .map_or(0, |last| last + stretch(every.saturating_mul(1 << self.count.min(16))));
        let due = (since + stretch(after)).max(free) + self.slack;
        if now > due {
            let what = format!(
                "host {better} has been better than the leader {leader} since {since} ns, and does not lead; \
                 the leader says: {}",
                said.unwrap_or_default()
            );
            return Err(Violation { at: now, rule: "I9", what });
        }
        Ok(())
    }

    /// By when a better voter leads that is one now.
    pub(crate) fn due(&self, now: Nanos) -> Nanos {
        let Some((after, every)) = self.rules else { return now };
        let free = every.saturating_mul(1 << self.count.min(16));
        now + 2 * (after + self.slack) + free + free * self.drift / 1_000_000
    }
}
