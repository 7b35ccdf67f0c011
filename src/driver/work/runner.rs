//! The thread that runs programs: one ordered queue of hooks, and beside it at most one command.
//!
//! 1. Hooks run one after the other in the order in which they were ordered, never two at once; an end
//!    that is ordered interrupts whatever runs and comes before changes of leader that wait.
//! 2. A command runs after its gain hook has ended well, and has ended before its lose hook begins.
//! 3. Ending takes no longer than until the time that was named, also when it is brought forward meanwhile: what
//!    is left then has been killed.
//! 4. Where there is less time than the grace, the lose hook has its part of what there is.

use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::thread;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::Restart;
use super::group::{Group, Starter, code_of};
use crate::driver::clock::{Clock as _, SystemClock};
use crate::driver::guardian::Job;
use crate::time::Instant;

/// The most changes of leader that wait; the oldest are left out first.
const MAX_CHANGES: usize = 16;

/// Before a command is started again, the first time; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest of these pauses. A command that has run for as long begins anew with the first.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Begin the work of a term.
    Gain {
        /// The term.
        term: u64,
        /// What to run first, to its end.
        hook: Option<Job>,
        /// How long that may take.
        deadline: Duration,
        /// What to run from then on.
        command: Option<(Job, Restart)>,
    },
    /// End the work of a term by the time that the other channel names.
    End {
        /// The term.
        term: u64,
        /// What to run last, once all else has ended.
        lose: Option<Job>,
        /// How long ending may take when there is time.
        grace: Duration,
    },
    /// Tell of another leader.
    Change {
        /// What to run.
        job: Job,
        /// How long it may take.
        deadline: Duration,
    },
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The work of a term could not begin.
    Failed {
        /// The term.
        term: u64,
        /// Why, in words.
        why: String,
    },
    /// The command has ended and is not started again.
    CommandEnded {
        /// The term.
        term: u64,
        /// Its exit code, or 128 and the signal.
        code: u8,
    },
    /// All work of a term has ended.
    Ended {
        /// The term.
        term: u64,
    },
}

/// The ends of the runner that the loop holds.
#[derive(Debug)]
pub struct Ends {
    /// Where orders go.
    pub orders: mpsc::UnboundedSender<Order>,
    /// By when all work has to have ended; `None` while none has to.
    pub end_by: watch::Sender<Option<Instant>>,
    /// Where reports come from.
    pub reports: mpsc::UnboundedReceiver<Report>,
}

/// Starts the thread, which ends with the process.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn(starter: Starter) -> io::Result<Ends> {
    let (orders, ordered) = mpsc::unbounded_channel();
    let (end_by, ends) = watch::channel(None);
    let (to_loop, reports) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runner = Runner { starter, ends, reports: to_loop, worker: None, begun: None };
    let run = move || runtime.block_on(runner.run(ordered));
    thread::Builder::new().name("work".into()).spawn(run)?;
    Ok(Ends { orders, end_by, reports })
}

/// A command, running or about to.
struct Worker {
    term: u64,
    job: Job,
    restart: Restart,
    running: Option<Group>,
    began: Instant,
    pause: Duration,
}

struct Runner {
    starter: Starter,
    ends: watch::Receiver<Option<Instant>>,
    reports: mpsc::UnboundedSender<Report>,
    worker: Option<Worker>,
    /// The term whose gain has begun and whose end has not been.
    begun: Option<u64>,
}

/// How a hook has ended.
enum Ran {
    Well,
    Badly(String),
    /// Its end was ordered, and it has ended.
    Interrupted,
}

impl Runner {
    async fn run(mut self, mut ordered: mpsc::UnboundedReceiver<Order>) {
        let mut waiting: VecDeque<Order> = VecDeque::new();
        loop {
            while let Ok(order) = ordered.try_recv() {
                waiting.push_back(order);
            }
            keep_newest_changes(&mut waiting);
            // An end comes before changes that wait.
            let end = waiting.iter().position(|order| matches!(order, Order::End { .. }));
            let begins = waiting.iter().position(|order| matches!(order, Order::Gain { .. }));
            let next = match (end, begins) {
                (Some(end), None) => waiting.remove(end),
                (Some(end), Some(begins)) if end < begins => waiting.remove(end),
                // Whatever began now would be interrupted.
                _ if self.ends.borrow_and_update().is_some() && begins.is_none() => None,
                _ => waiting.pop_front(),
            };
            if let Some(order) = next {
                self.carry_out(order).await;
                continue;
            }
            tokio::select! {
                biased;
                order = ordered.recv() => match order {
                    Some(order) => waiting.push_back(order),
                    None => return,
                },
                changed = self.ends.changed() => if changed.is_err() { return },
                () = follow(&mut self.worker, &self.starter, &self.reports) => {}
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Gain { term, hook, deadline, command } => {
                if self.ends.borrow().is_some() {
                    // It was over before it began: its end finds nothing to do.
                    return;
                }
                self.begun = Some(term);
                if let Some(job) = hook {
                    match self.hook(&job, deadline).await {
                        Ran::Well => {}
                        Ran::Interrupted => return,
                        Ran::Badly(why) => {
                            let _ = self.reports.send(Report::Failed { term, why });
                            return;
                        }
                    }
                }
                self.worker = command.map(|(job, restart)| {
                    let (began, pause) = (SystemClock.now(), Duration::ZERO);
                    Worker { term, job, restart, running: None, began, pause }
                });
            }
            Order::End { term, lose, grace } => {
                self.end(term, lose, grace).await;
                let _ = self.reports.send(Report::Ended { term });
            }
            Order::Change { job, deadline } => {
                // Interrupted, it has seen its chance: another change follows.
                let _ran = self.hook(&job, deadline).await;
            }
        }
    }

    /// Ends the command, then runs the lose hook; all of it by the time named.
    async fn end(&mut self, term: u64, lose: Option<Job>, grace: Duration) {
        let begun = self.begun.take() == Some(term);
        if let Some(running) = self.worker.take().and_then(|worker| worker.running) {
            let parts = if lose.is_some() { 2 } else { 1 };
            let share = |now: Instant, by: Instant| {
                let left = now.until(kill_at(now, by, grace));
                now + (left / parts).min(grace)
            };
            self.end_group(running, share).await;
        }
        let mut until = kill_at(SystemClock.now(), self.end_by(), grace);
        let Some(job) = lose.filter(|_| begun) else { return };
        let name = name_of(&job);
        if SystemClock.now() >= until {
            warn!(hook = name, term, "there was no time left for the hook");
            return;
        }
        let mut group = match self.starter.start(&job, Some(until)) {
            Ok(group) => group,
            Err(error) => {
                warn!(hook = name, term, %error, "the hook cannot be started");
                return;
            }
        };
        loop {
            let left = SystemClock.now().until(until);
            tokio::select! {
                biased;
                status = group.ended() => {
                    match status.map(code_of) {
                        Ok(0) => info!(hook = name, term, "the hook has ended"),
                        code => warn!(hook = name, term, ?code, "the hook has failed"),
                    }
                    return;
                }
                () = tokio::time::sleep(left) => {
                    group.kill().await;
                    warn!(hook = name, term, "the hook was killed: its time was up");
                    return;
                }
                // Another time by which all has to be over.
                changed = self.ends.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    until = until.min(kill_at(SystemClock.now(), self.end_by(), grace));
                }
            }
        }
    }

    /// By when all has to be over.
    fn end_by(&mut self) -> Instant {
        self.ends.borrow_and_update().unwrap_or(Instant::ZERO)
    }

    /// Asks a group to end, and kills what is left when its share of the time is up, which is given for now
    /// and the time by which all has to be over; that may be brought forward meanwhile.
    async fn end_group(&mut self, mut group: Group, share: impl Fn(Instant, Instant) -> Instant) {
        group.ask();
        let mut until = share(SystemClock.now(), self.end_by());
        loop {
            tokio::select! {
                biased;
                gone = group.gone_by(until) => {
                    if !gone {
                        group.kill().await;
                    }
                    return;
                }
                changed = self.ends.changed() => {
                    if changed.is_err() {
                        group.kill().await;
                        return;
                    }
                    until = until.min(share(SystemClock.now(), self.end_by()));
                }
            }
        }
    }

    /// Runs a hook to its end, its deadline, or the order to end.
    async fn hook(&mut self, job: &Job, deadline: Duration) -> Ran {
        let name = name_of(job);
        let mut group = match self.starter.start(job, None) {
            Ok(group) => group,
            Err(error) => {
                warn!(hook = name, %error, "the hook cannot be started");
                return Ran::Badly(format!("the {name} hook cannot be started: {error}"));
            }
        };
        let late = tokio::time::sleep(deadline);
        tokio::pin!(late);
        loop {
            if self.ends.borrow_and_update().is_some() {
                self.end_group(group, |now, by| now + now.until(by) / 4).await;
                info!(hook = name, "the hook was interrupted");
                return Ran::Interrupted;
            }
            tokio::select! {
                biased;
                status = group.ended() => {
                    let why = match status {
                        Ok(status) if status.success() => {
                            info!(hook = name, "the hook has ended");
                            return Ran::Well;
                        }
                        Ok(status) => format!("the {name} hook ended with {}", code_of(status)),
                        Err(error) => format!("the {name} hook cannot be waited for: {error}"),
                    };
                    warn!(hook = name, why, "the hook has failed");
                    return Ran::Badly(why);
                }
                () = &mut late => {
                    group.kill().await;
                    warn!(hook = name, "the hook was killed at its deadline");
                    return Ran::Badly(format!("the {name} hook did not end by its deadline"));
                }
                changed = self.ends.changed() => if changed.is_err() {
                    group.kill().await;
                    return Ran::Interrupted;
                },
            }
        }
    }
}

/// When what has to be over by then is killed: a fifth of its time, or of the grace if that is shorter,
/// is left for killing it.
fn kill_at(now: Instant, by: Instant, grace: Duration) -> Instant {
    by - now.until(by).min(grace) / 5
}

/// Starts the command, waits for its end, and starts it again as it is to be.
async fn follow(
    worker: &mut Option<Worker>,
    starter: &Starter,
    reports: &mpsc::UnboundedSender<Report>,
) {
    let Some(it) = worker else { return core::future::pending().await };
    let code = match &mut it.running {
        None => {
            tokio::time::sleep(it.pause).await;
            match starter.start(&it.job, None) {
                Ok(group) => {
                    info!(term = it.term, "the command is started");
                    it.running = Some(group);
                    it.began = SystemClock.now();
                    return;
                }
                Err(error) => {
                    warn!(term = it.term, %error, "the command cannot be started");
                    127
                }
            }
        }
        Some(group) => group.ended().await.map_or(u8::MAX, code_of),
    };
    if let Some(group) = it.running.take() {
        // What it has left behind in its group ends with it. Nothing is waited for: this may be cancelled.
        group.kill_at_once();
    }
    let again = match it.restart {
        Restart::Always => true,
        Restart::OnFailure => code != 0,
        Restart::Never => false,
    };
    if !again {
        info!(term = it.term, code, "the command has ended");
        let _ = reports.send(Report::CommandEnded { term: it.term, code });
        *worker = None;
        return;
    }
    let ran = SystemClock.now().since(it.began);
    it.pause = if ran >= LONGEST_PAUSE { FIRST_PAUSE } else { it.pause * 2 };
    it.pause = it.pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
    warn!(
        term = it.term,
        code,
        pause_ms = it.pause.as_millis(),
        "the command has ended: started again"
    );
}

/// Leaves out the oldest changes beyond the bound.
fn keep_newest_changes(waiting: &mut VecDeque<Order>) {
    let is_change = |order: &Order| matches!(order, Order::Change { .. });
    let changes = waiting.iter().filter(|order| is_change(order)).count();
    let mut beyond = changes.saturating_sub(MAX_CHANGES);
    waiting.retain(|order| {
        let drop = beyond > 0 && is_change(order);
        beyond -= usize::from(drop);
        !drop
    });
}

fn name_of(job: &Job) -> &str {
    let named = job.environment.iter().find(|(key, _)| key == "RINGRIFT_HOOK");
    named.map_or("hook", |(_, name)| name.as_str())
}

#[cfg(test)]
mod tests;
