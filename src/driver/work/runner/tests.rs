//! The runner with real programs.

use super::*;
use std::path::{Path, PathBuf};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Lab {
    ends: Ends,
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let ends = spawn(Starter { program: None }).unwrap();
        Self { ends, dir: tempfile::tempdir().unwrap() }
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn written(&self) -> String {
        std::fs::read_to_string(self.journal()).unwrap_or_default()
    }

    /// A shell text, with the journal as its standard output.
    fn job(&self, name: &str, text: &str) -> Job {
        let text = format!("exec >> {}\n{text}", self.journal().display());
        let words = ["/bin/sh", "-c", &text].map(str::to_owned).to_vec();
        let environment = vec![(String::from("RINGRIFT_HOOK"), name.to_owned())];
        Job { command: words, environment }
    }

    fn order(&self, order: Order) {
        self.ends.orders.send(order).unwrap();
    }

    fn gain(&self, term: u64, hook: Option<&str>, command: Option<(&str, Restart)>) {
        let hook = hook.map(|text| self.job("on_gain", text));
        let command = command.map(|(text, restart)| (self.job("exec", text), restart));
        self.order(Order::Gain { term, hook, deadline: PATIENCE, command });
    }

    fn end(&self, term: u64, lose: Option<&str>, within: Duration) {
        self.ends.end_by.send_replace(Some(SystemClock.now() + within));
        let lose = lose.map(|text| self.job("on_lose", text));
        self.order(Order::End { term, lose, grace: within });
    }

    fn change(&self, text: &str, deadline: Duration) {
        self.order(Order::Change { job: self.job("on_leader_change", text), deadline });
    }

    fn wait_written(&self, what: &str) {
        let end = SystemClock.now() + PATIENCE;
        while !self.written().contains(what) {
            assert!(SystemClock.now() < end, "no {what} in {:?}", self.written());
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn report(&mut self) -> Report {
        let end = SystemClock.now() + PATIENCE;
        loop {
            if let Ok(report) = self.ends.reports.try_recv() {
                return report;
            }
            assert!(SystemClock.now() < end, "no report");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn runs(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    // A zombie that nobody collects runs no more.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Invariant 1.
#[test]
fn hooks_run_in_their_order_and_never_two_at_once() {
    let mut lab = Lab::new();
    lab.change("echo one; sleep 0.05; echo /one", PATIENCE);
    lab.gain(7, Some("echo two; sleep 0.05; echo /two"), None);
    lab.change("echo three; echo /three", PATIENCE);
    lab.wait_written("/three");
    lab.end(7, Some("echo four; echo /four"), PATIENCE);
    assert_eq!(lab.report(), Report::Ended { term: 7 });
    assert_eq!(lab.written(), "one\n/one\ntwo\n/two\nthree\n/three\nfour\n/four\n");
}

/// Invariant 1: the end comes before what waits, and interrupts what runs.
#[test]
fn an_end_interrupts_a_gain_and_comes_before_changes_that_wait() {
    let mut lab = Lab::new();
    lab.gain(7, Some("echo gain; exec sleep 1000"), None);
    lab.wait_written("gain");
    lab.change("echo change", PATIENCE);
    lab.end(7, Some("echo lose"), PATIENCE);
    assert_eq!(lab.report(), Report::Ended { term: 7 });
    assert_eq!(lab.written(), "gain\nlose\n");
    lab.ends.end_by.send_replace(None);
    lab.wait_written("change");
}

/// Invariant 2.
#[test]
fn a_command_begins_after_its_gain_and_has_ended_with_its_children_before_the_lose() {
    let mut lab = Lab::new();
    let pid = lab.dir.path().join("pid");
    // Deaf to SIGTERM, and so is its child.
    let command = format!(
        "trap '' TERM; sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; echo command; wait",
        pid.display()
    );
    lab.gain(7, Some("echo gain"), Some((&command, Restart::Always)));
    lab.wait_written("command");
    assert!(runs(&pid));
    let check = format!(
        "grep -q ') Z' /proc/$(cat {0})/stat || test ! -e /proc/$(cat {0}) && echo lose",
        pid.display()
    );
    lab.end(7, Some(&check), Duration::from_millis(600));
    assert_eq!(lab.report(), Report::Ended { term: 7 });
    assert!(!runs(&pid));
    assert_eq!(lab.written(), "gain\ncommand\nlose\n");
}

/// Invariant 3.
#[test]
fn a_lose_hook_that_hangs_is_killed_before_the_time_that_was_named() {
    let mut lab = Lab::new();
    lab.gain(7, Some("echo gain"), None);
    lab.wait_written("gain");
    let pid = lab.dir.path().join("pid");
    let hangs = format!("trap '' TERM; echo $$ > {}; while :; do sleep 0.01; done", pid.display());
    lab.end(7, Some(&hangs), Duration::from_millis(500));
    assert_eq!(lab.report(), Report::Ended { term: 7 });
    assert!(!runs(&pid));
}

#[test]
fn a_gain_that_was_over_before_it_began_runs_nothing_and_has_no_lose() {
    let mut lab = Lab::new();
    lab.ends.end_by.send_replace(Some(SystemClock.now() + PATIENCE));
    lab.gain(7, Some("echo gain"), None);
    lab.end(7, Some("echo lose"), PATIENCE);
    assert_eq!(lab.report(), Report::Ended { term: 7 });
    assert_eq!(lab.written(), "");
}

#[test]
fn a_gain_that_fails_or_passes_its_deadline_or_cannot_start_is_reported() {
    let mut lab = Lab::new();
    let mut failed = |hook: Job, deadline| {
        lab.order(Order::Gain { term: 7, hook: Some(hook), deadline, command: None });
        let Report::Failed { term: 7, why } = lab.report() else { panic!("no failure") };
        why
    };
    let shell = |text: &str| Job {
        command: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
        environment: vec![(String::from("RINGRIFT_HOOK"), String::from("on_gain"))],
    };
    let missing = Job { command: vec![String::from("/nowhere/at/all")], environment: Vec::new() };
    assert!(failed(shell("exit 3"), PATIENCE).contains("ended with 3"));
    assert!(failed(shell("kill -9 $$"), PATIENCE).contains("ended with 137"));
    assert!(failed(shell("sleep 1000"), Duration::from_millis(20)).contains("deadline"));
    assert!(failed(missing, PATIENCE).contains("cannot be started"));
}

#[test]
fn a_command_is_started_again_as_it_is_to_be() {
    for (restart, text, code) in [
        (Restart::Never, "exit 7", 7),
        (Restart::OnFailure, "exit 0", 0),
        (Restart::Never, "kill -9 $$", 137),
    ] {
        let mut lab = Lab::new();
        lab.gain(7, None, Some((text, restart)));
        assert_eq!(lab.report(), Report::CommandEnded { term: 7, code });
    }
    for restart in [Restart::Always, Restart::OnFailure] {
        let lab = Lab::new();
        lab.gain(7, None, Some(("echo again; exit 1", restart)));
        lab.wait_written("again\nagain\n");
    }
}

#[test]
fn changes_that_pile_up_are_left_out_oldest_first() {
    let job = |number: usize| Job { command: vec![number.to_string()], environment: Vec::new() };
    let change = |number| Order::Change { job: job(number), deadline: PATIENCE };
    let end = Order::End { term: 7, lose: None, grace: PATIENCE };
    let mut waiting: VecDeque<Order> = (0..MAX_CHANGES + 3).map(change).collect();
    waiting.push_front(end.clone());
    keep_newest_changes(&mut waiting);
    assert_eq!(waiting.len(), MAX_CHANGES + 1);
    assert_eq!((waiting[0].clone(), waiting[1].clone()), (end, change(3)));
}

/// A stop during a step-down: the term is released soon, and the command must be gone by then.
#[test]
fn an_end_that_is_brought_forward_kills_a_deaf_command_and_an_interrupted_hook_in_time() {
    let hour = Duration::from_secs(3_600);
    let deaf = "trap 'echo asked' TERM; echo began; while :; do sleep 0.01; done";
    for (hook, command) in [(None, Some((deaf, Restart::Always))), (Some(deaf), None)] {
        let mut lab = Lab::new();
        lab.gain(1, hook, command);
        lab.wait_written("began");
        lab.end(1, Some("echo lost"), hour);
        lab.wait_written("asked");
        lab.ends.end_by.send_replace(Some(SystemClock.now() + Duration::from_millis(500)));
        assert_eq!(lab.report(), Report::Ended { term: 1 });
        lab.ends.end_by.send_replace(None);
    }
}

/// A stop gives less time than the grace of a long lease.
#[test]
fn where_there_is_less_time_than_the_grace_the_lose_hook_has_its_part() {
    let mut lab = Lab::new();
    lab.gain(1, None, Some(("echo began; exec sleep 1000", Restart::Always)));
    lab.wait_written("began");
    let soon = SystemClock.now() + PATIENCE;
    lab.ends.end_by.send_replace(Some(soon));
    let lose = Some(lab.job("on_lose", "echo lost"));
    lab.order(Order::End { term: 1, lose, grace: PATIENCE * 100 });
    assert_eq!(lab.report(), Report::Ended { term: 1 });
    assert!(lab.written().contains("lost"), "{}", lab.written());
}
