//! The work of a leader: hooks and a command that run because this node leads, and end before another does.
//!
//! Decides, on the loop's side, when work begins and when it has to have ended; programs are started, watched and
//! killed on a thread of their own ([`runner`]), which answers with a [`Report`]. What leading means, and
//! when it ends by choice, is the node's business.
//!
//! 1. Gain and lose alternate, with rising terms. Nothing of a term begins after its end was ordered.
//! 2. All work of a term has ended, or is killed, before the lease ends: at choice, because the node asks
//!    for it and waits; when no renewal comes, because it is ordered so long before the end as it may take.
//! 3. What was ended because the lease ran thin does not begin again in its term: the lead is given up.
//! 4. A hook that fails at the beginning gives the lead up.

mod group;
pub mod leftover;
pub mod runner;

use core::time::Duration;
use ringrift_wire::NodeId;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, watch};

use crate::config::Hooks;
use crate::driver::guardian::{Job, Note};
use crate::election::LossCause;
use crate::http;
use crate::time::Instant;
pub use runner::{Order, Report};

/// The variable that marks every process of the work of a node; its value is the folder of the vote store.
pub const MARK: &str = "RINGRIFT_WORK_OF";

/// How long work that must not be any more may take to be killed before the guardian kills the node.
const KILL_PATIENCE: Duration = Duration::from_millis(200);

/// When a command that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// However it has ended.
    Always,
    /// When it has ended with another exit code than 0, or by a signal.
    OnFailure,
    /// Not at all.
    Never,
}

/// A command to run while this node leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub words: Vec<String>,
    /// When it is started again.
    pub restart: Restart,
}

/// All that a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The hooks of the configuration.
    pub hooks: Hooks,
    /// The command, if there is one.
    pub command: Option<Command>,
}

impl Plan {
    /// Whether leading begins or ends with something.
    #[must_use]
    pub const fn has_work(&self) -> bool {
        self.hooks.work() || self.command.is_some()
    }

    /// Whether anything is ever run.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.has_work() && self.hooks.on_leader_change.is_none()
    }

    /// How long ending the work of a leader may take; zero without any.
    #[must_use]
    pub fn grace(&self) -> Duration {
        if self.has_work() { self.hooks.grace } else { Duration::ZERO }
    }
}

/// Where the work of this node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// None is there, and none may begin.
    Idle,
    /// It has begun, in this term.
    Held { term: u64 },
    /// Its end is ordered.
    Ending {
        term: u64,
        by: Instant,
        /// After that the guardian does not believe in the end any more.
        act_at: Instant,
        /// The term that the node has asked for; `None` while it has not.
        answer: Option<u64>,
    },
}

/// What the loop has to do about work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Answer the node: the work of that term has ended.
    Ended(u64),
    /// Give the lead up.
    GiveUp(LossCause),
    /// The command has ended for good: stop the node, and end with this code.
    Finish(u8),
}

/// The work of a node, on the loop's side.
#[derive(Debug)]
pub struct Work {
    me: NodeId,
    mark: String,
    plan: Plan,
    orders: mpsc::UnboundedSender<Order>,
    /// By when whatever runs has to end; `None` while nothing has to.
    end_by: watch::Sender<Option<Instant>>,
    stage: Stage,
    /// A term was gained before the work of an earlier one had ended.
    next: Option<u64>,
    /// The leader that is known, and the one before.
    leaders: [Option<NodeId>; 2],
    failure: Option<String>,
    finish: Option<u8>,
    told: Option<Note>,
}

/// The work and what the runner reports, as the driver is given them.
pub type Employed = (Work, mpsc::UnboundedReceiver<Report>);

/// Starts the runner for a plan; `mark` is the folder of the vote store.
///
/// # Errors
/// The system gives no thread.
pub fn employ(me: NodeId, mark: &Path, plan: Plan) -> io::Result<Employed> {
    // Under its own name even after the file of the program was replaced.
    let starter = group::Starter { program: Some(PathBuf::from("/proc/self/exe")) };
    let runner::Ends { orders, end_by, reports } = runner::spawn(starter)?;
    let mark = mark.display().to_string();
    Ok((Work::new(me, mark, plan, orders, end_by), reports))
}

impl Work {
    /// No work yet; what is ordered goes to `orders`.
    #[must_use]
    pub fn new(
        me: NodeId,
        mark: String,
        plan: Plan,
        orders: mpsc::UnboundedSender<Order>,
        end_by: watch::Sender<Option<Instant>>,
    ) -> Self {
        Self {
            me,
            mark,
            plan,
            orders,
            end_by,
            stage: Stage::Idle,
            next: None,
            leaders: [None, None],
            failure: None,
            finish: None,
            told: None,
        }
    }

    /// Whether there is work, or some is ending.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// How long ending it may take.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.plan.grace()
    }

    /// What the process ends with once the node has stopped; `None` for its own.
    #[must_use]
    pub const fn exit_code(&self) -> Option<u8> {
        self.finish
    }

    /// What people are shown.
    #[must_use]
    pub fn shown(&self) -> http::Work {
        let (term, ending) = match self.stage {
            Stage::Idle => (None, false),
            Stage::Held { term } => (Some(term), false),
            Stage::Ending { term, .. } => (Some(term), true),
        };
        let configured = self.plan.has_work();
        http::Work { configured, term, ending, failure: self.failure.clone() }
    }

    /// This node leads in a term.
    pub fn gained(&mut self, term: u64) {
        if !self.plan.has_work() || self.finish.is_some() {
            return;
        }
        if self.is_busy() {
            self.next = Some(term);
            return;
        }
        self.stage = Stage::Held { term };
        let before = self.leaders.iter().flatten().find(|&&id| id != self.me).copied();
        let hook = self.plan.hooks.on_gain.clone();
        let hook = hook.map(|it| self.job("on_gain", it, term, Some(self.me), before, "elected"));
        let command = self.plan.command.clone().map(|it| {
            let job = self.job("exec", it.words, term, Some(self.me), before, "elected");
            (job, it.restart)
        });
        self.order(Order::Gain { term, hook, deadline: self.plan.hooks.deadline, command });
    }

    /// The work of a term has to end by then. Gives the answer at once where there is none.
    pub fn end(&mut self, term: u64, cause: LossCause, by: Instant) -> Option<Step> {
        if self.next.take_if(|next| *next == term).is_some() {
            return Some(Step::Ended(term));
        }
        match &mut self.stage {
            Stage::Idle => return Some(Step::Ended(term)),
            Stage::Held { term: held } => {
                let held = *held;
                self.begin_end(held, cause, by, Some(term));
            }
            Stage::Ending { by: before, answer, .. } => {
                *answer = Some(term);
                *before = by.min(*before);
                self.end_by.send_replace(Some(*before));
            }
        }
        None
    }

    /// This node leads no longer: what still runs is killed.
    pub fn lost(&mut self, now: Instant, cause: LossCause) {
        self.next = None;
        if let Stage::Held { term } = self.stage {
            self.begin_end(term, cause, now, None);
        }
        if let Stage::Ending { by, act_at, answer, .. } = &mut self.stage {
            (*by, *act_at, *answer) = (now, now + KILL_PATIENCE, Some(0));
            self.end_by.send_replace(Some(now));
        }
    }

    /// Another leader is known, or none.
    pub fn changed(&mut self, leader: Option<NodeId>, term: u64) {
        let [now, before] = &mut self.leaders;
        if now.is_some() {
            *before = *now;
        }
        *now = leader;
        let before = *before;
        let cause = if leader.is_some() { "elected" } else { "vacant" };
        if let Some(words) = self.plan.hooks.on_leader_change.clone() {
            let job = self.job("on_leader_change", words, term, leader, before, cause);
            self.order(Order::Change { job, deadline: self.plan.hooks.deadline });
        }
    }

    /// When the work has to begin to end unless the lease is renewed.
    #[must_use]
    pub fn next_deadline(&self, lease_end: Option<Instant>) -> Option<Instant> {
        let held = matches!(self.stage, Stage::Held { .. });
        lease_end.filter(|_| held).map(|end| end - self.plan.grace())
    }

    /// Ends the work of a lease that runs thin; tells whether it has just begun to.
    pub fn tick(&mut self, now: Instant, lease_end: Option<Instant>) -> bool {
        let Stage::Held { term } = self.stage else { return false };
        if let Some(end) = lease_end
            && self.next_deadline(lease_end).is_some_and(|at| at <= now)
        {
            self.begin_end(term, LossCause::LeaseThin, end, None);
            return true;
        }
        false
    }

    /// Takes what the runner reports.
    pub fn report(&mut self, report: Report) -> Option<Step> {
        match (report, self.stage) {
            (Report::Failed { term, why }, Stage::Held { term: held }) if term == held => {
                self.failure = Some(format!("{why}, in term {term}"));
                Some(Step::GiveUp(LossCause::WorkFailed))
            }
            (Report::CommandEnded { code, .. }, Stage::Held { .. }) => {
                self.finish = Some(code);
                Some(Step::Finish(code))
            }
            (Report::Ended { term }, Stage::Ending { term: ending, answer, .. })
                if term == ending =>
            {
                self.stage = Stage::Idle;
                self.end_by.send_replace(None);
                if let Some(next) = self.next.take() {
                    self.gained(next);
                }
                if let Some(term) = answer {
                    return Some(Step::Ended(term));
                }
                self.failure = Some(format!("the lease ran thin, in term {term}"));
                Some(Step::GiveUp(LossCause::LeaseThin))
            }
            _ => None,
        }
    }

    /// What the guardian has to know of the work, if it has changed.
    pub fn to_tell(&mut self, lease_end: Option<Instant>) -> Vec<Note> {
        let note = |act_at: Instant, end_at: Instant| Note::Working {
            act_at: act_at.as_nanos(),
            end_at: end_at.as_nanos(),
        };
        let grace = self.plan.grace();
        let now = match (self.stage, lease_end) {
            (Stage::Idle, _) => Note::Idle,
            (Stage::Held { .. }, Some(end)) => note(end - grace / 2, end),
            // It leads no longer and has not said so yet.
            (Stage::Held { .. }, None) => return Vec::new(),
            // A node that can act has killed what is left by then; one that cannot releases nobody, so it has
            // until the end of its lease.
            (Stage::Ending { by, act_at, .. }, lease_end) => {
                let end = lease_end.map_or(by, |end| end.max(by));
                note(act_at.max(end - grace / 20), end)
            }
        };
        if self.told.as_ref() == Some(&now) || (self.told.is_none() && now == Note::Idle) {
            return Vec::new();
        }
        let began = !matches!(self.told, Some(Note::Working { .. }));
        self.told = Some(now.clone());
        let mut notes = vec![now];
        if let (true, Stage::Held { term }) = (began, self.stage) {
            notes.push(Note::Lose(self.lose_job(term, "node_died")));
        }
        notes
    }

    /// Orders the end of the work of a term.
    fn begin_end(&mut self, term: u64, cause: LossCause, by: Instant, answer: Option<u64>) {
        let act_at = by - self.plan.grace() / 20;
        self.stage = Stage::Ending { term, by, act_at, answer };
        // First the word that interrupts, then the order behind whatever is interrupted.
        self.end_by.send_replace(Some(by));
        let lose = self.lose_job(term, cause.as_str());
        self.order(Order::End { term, lose, grace: self.plan.grace() });
    }

    fn lose_job(&self, term: u64, cause: &str) -> Option<Job> {
        let words = self.plan.hooks.on_lose.clone()?;
        Some(self.job("on_lose", words, term, None, Some(self.me), cause))
    }

    fn job(
        &self,
        hook: &str,
        command: Vec<String>,
        term: u64,
        leader: Option<NodeId>,
        before: Option<NodeId>,
        cause: &str,
    ) -> Job {
        let name = |id: Option<NodeId>| id.map(|id| id.to_string()).unwrap_or_default();
        let environment = [
            ("RINGRIFT_HOOK", hook.to_owned()),
            ("RINGRIFT_NODE_ID", self.me.to_string()),
            ("RINGRIFT_TERM", term.to_string()),
            ("RINGRIFT_LEADER", name(leader)),
            ("RINGRIFT_PREVIOUS_LEADER", name(before)),
            ("RINGRIFT_CAUSE", cause.to_owned()),
            (MARK, self.mark.clone()),
        ];
        let environment = environment.map(|(key, value)| (key.to_owned(), value)).to_vec();
        Job { command, environment }
    }

    fn order(&self, order: Order) {
        // The runner ends with the process; without it the lease ends, and the guardian acts.
        let _ = self.orders.send(order);
    }
}

#[cfg(test)]
mod tests;
