//! Network namespaces: hosts that belong to one test and vanish with it, also when it panics.

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Names are `rr`, the process id of the test binary, and a count.
const PREFIX: &str = "rr";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with its loopback up.
pub struct Net {
    name: String,
    handle: File,
}

impl Net {
    /// A new one. `hosts` are lines of its own `/etc/hosts`, beside `localhost`; programs started by
    /// [`Net::command`] see that file.
    ///
    /// `None` without root: it says what is missing. Under `CI`, where root is a duty, that is a failure.
    pub fn new(hosts: &[(String, &str)]) -> Option<Self> {
        if let Some(lack) = lack() {
            assert!(std::env::var_os("CI").is_none(), "this test needs {lack}");
            eprintln!("not run: this test needs {lack}");
            return None;
        }
        sweep();
        let name =
            format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let etc = etc(&name);
        fs::create_dir_all(&etc).expect("a folder below /etc/netns");
        let lines: String = hosts.iter().map(|(ip, host)| format!("{ip} {host}\n")).collect();
        fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n{lines}"))
            .expect("a hosts file");
        run("ip", &["netns", "add", &name]);
        let handle = File::open(Path::new("/run/netns").join(&name)).expect("the namespace");
        let net = Self { name, handle };
        net.ip("link set lo up");
        Some(net)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One command of `ip` in it.
    pub fn ip(&self, words: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(words.split_whitespace());
        run("ip", &all);
    }

    /// A program to start in it. It has the process id of its `Command`, and dies with the thread that
    /// starts it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "setpriv", "--pdeathsig", "KILL"]);
        command.arg(program.as_ref());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_lowercase();
            if text.starts_with("ringrift_") || text.ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Does `work` on a thread that is in it.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter();
            work()
        };
        let done = thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread into it, for good.
    pub fn enter(&self) {
        move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter a namespace");
    }

    /// The processes in it.
    pub fn pids(&self) -> Vec<i32> {
        let listed = Command::new("ip").args(["netns", "pids", &self.name]).output();
        let listed = listed.expect("ip netns pids").stdout;
        String::from_utf8_lossy(&listed).lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for pid in self.pids() {
            // Whoever is in here was started by this test.
            let _gone = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        remove(&self.name);
    }
}

/// What this machine lacks for namespaces.
fn lack() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some(String::from("root, for network namespaces"));
    }
    let missing = |tool: &&str| {
        let mut command = Command::new(tool);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_err()
    };
    let tools = ["ip", "nft", "setpriv", "bash", "curl", "jq", "python3"];
    let missing: Vec<_> = tools.into_iter().filter(missing).collect();
    (!missing.is_empty()).then(|| format!("the programs {}", missing.join(", ")))
}

/// Removes what test binaries have left that were killed.
fn sweep() {
    let Ok(left) = fs::read_dir("/run/netns") else { return };
    for name in left.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let pid: Option<u32> = pid.and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    // Another test binary may sweep the same remains.
    let quiet = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
    let _gone = (quiet, fs::remove_dir_all(etc(name)));
}

fn etc(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// Runs a program that must succeed.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) {
    feed(program, arguments, "");
}

/// Runs a program with a text on its standard input; it must succeed.
#[track_caller]
pub fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("the program reads");
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}\n{input}");
}
