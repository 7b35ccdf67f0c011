//! What a service manager hears of a node under its guardian, over a socket as systemd has it.

use core::time::Duration;
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use crate::support::cluster::{Cluster, Timing, on_loopback};
use crate::support::{NAMES, PATIENCE, wait_for};
use crate::unit::command_line;

/// A lease that no test waits for.
const LONG: Timing = Timing { heartbeat_ms: 1_000, lease_ms: 60_000 };

/// What the manager waits for its watchdog: a third of it passes between two words.
const WATCHDOG: Duration = Duration::from_millis(300);

/// A manager of one service.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// Starts `node` as the unit says, with a manager.
    fn start(cluster: &mut Cluster, node: usize) -> Self {
        let path = cluster.dir.path().join(format!("notify-{node}"));
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let mut command = cluster.net(node).command("bash");
        // As systemd does: the main process is the one whose watchdog it is.
        let script = "export WATCHDOG_PID=$$; exec -a \"$0\" \"$@\"";
        let line = command_line();
        let mut words = line.split(' ').skip(1);
        command.args(["-c", script, words.next().expect("a name")]);
        command.arg(env!("CARGO_BIN_EXE_ringrift-p2p")).args(words);
        command.args(["--node", NAMES[node]]).current_dir(cluster.dir.path());
        command.env("NOTIFY_SOCKET", &path);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        cluster.start_as(node, command);
        Self { socket }
    }

    /// The next words, if some come in time.
    fn hears(&self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 4_096];
        self.socket.set_read_timeout(Some(patience)).expect("a length of time");
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Waits until this word is said; gives all that was said until then.
    #[track_caller]
    fn wait_for(&self, word: &str) -> String {
        let (end, mut all) = (Instant::now() + PATIENCE, String::new());
        while Instant::now() < end {
            let words = self.hears(PATIENCE).unwrap_or_default();
            all.push_str(&words);
            if words.lines().any(|line| line.starts_with(word)) {
                return all;
            }
        }
        panic!("{word} is not said in\n{all}");
    }
}

/// The command line of a process.
fn line_of(pid: u64) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[test]
fn a_node_says_ready_feeds_the_watchdog_and_says_that_it_stops() {
    let Some(mut cluster) = on_loopback(Timing::SHORT) else { return };
    let manager = Manager::start(&mut cluster, 0);
    let ready = manager.wait_for("READY=1");
    assert!(ready.starts_with("WATCHDOG=1\nREADY=1\nSTATUS=no leader; 1 of 5"), "{ready}");
    assert!(cluster.ask(0, "GET", "/health").is_some(), "who is ready answers");
    (0..5).for_each(|_| drop(manager.wait_for("WATCHDOG=1")));
    [1, 2, 3, 4].into_iter().for_each(|node| cluster.start(node));
    let (leader, _) = cluster.wait_agreed(&[0, 1, 2, 3, 4]);
    let word = if leader == 0 { "STATUS=leads in term " } else { "STATUS=follows " };
    manager.wait_for(word);
    // `pkill -f` finds the guardian, and it alone.
    let status = cluster.status(0);
    assert!(line_of(status.number("guardian_pid")).starts_with("p2p_orchestrator run "));
    assert!(!line_of(status.number("pid")).contains("p2p_orchestrator"));
    cluster.signal(0, Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(cluster.ended(0), Some(0));
}

#[test]
fn a_node_whose_loop_stands_still_feeds_no_watchdog_and_is_replaced_when_that_is_noticed() {
    let Some(mut cluster) = on_loopback(LONG) else { return };
    let all = [0, 1, 2, 3, 4];
    let managers = all.map(|node| Manager::start(&mut cluster, node));
    let watch = cluster.watch();
    let (leader, term) = cluster.wait_agreed(&all);
    managers[leader].wait_for("WATCHDOG=1");
    cluster.signal_node(leader, Signal::STOP);
    // Words may have been on their way.
    let silent = || managers[leader].hears(WATCHDOG * 5).is_none().then_some(());
    wait_for("silence: nobody else feeds the watchdog", silent);
    // What systemd does then.
    cluster.signal(leader, Signal::ABORT);
    let aborted = Instant::now();
    assert_eq!(cluster.ended(leader), Some(137));
    let (next, next_term) = cluster.wait_agreed(&cluster.running());
    assert!(next != leader && next_term > term);
    assert!(aborted.elapsed() < LONG.lease() / 2, "the lease was waited for");
    watch.judge(false);
}

#[test]
fn what_runs_on_the_leader_does_not_speak_for_the_node() {
    let Some(mut cluster) = on_loopback(Timing::SHORT) else { return };
    let path = cluster.dir.path().join("notify");
    let _socket = UnixDatagram::bind(&path).expect("a socket");
    let told = cluster.dir.path().join("environment");
    for node in [0, 1, 2] {
        let mut command = cluster.net(node).command(env!("CARGO_BIN_EXE_ringrift-p2p"));
        command.args(["exec", "--node", NAMES[node], "--", "sh", "-c"]);
        command.arg("env >environment.new; mv environment.new environment; exec sleep 1000");
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "60000000");
        command.current_dir(cluster.dir.path());
        cluster.start_as(node, command);
    }
    let told = wait_for("the command of the leader", || std::fs::read_to_string(&told).ok());
    assert!(told.contains("RINGRIFT_TERM="), "{told}");
    assert!(!told.contains("NOTIFY_SOCKET") && !told.contains("WATCHDOG_"), "{told}");
}
