//! A paused leader wakes in the middle of its work, and the store refuses it.
//!
//! ```sh
//! cargo run --example fencing
//! ```
//!
//! Three nodes, a worker beside each, and a store that all workers write to. Only the worker beside the
//! leader works, and sends the leader's term, its token, with every write. Then the machine of the
//! leader is paused between the question "do I lead?" and the write: no lease helps there, because nobody
//! runs who could look at it. Another leads meanwhile, with a higher token. When the first wakes and
//! writes, its token is older than one that the store has seen.
//!
//! The same program is the node (`run`), the worker (`worker`) and, without arguments, the director of the
//! play. `Store::write` and `worker` are what a program of yours needs.

use ringrift_p2p::cli;
use ringrift_p2p::client::Leadership;
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs, thread};

/// The nodes, each with its port on 127.0.0.1.
const NODES: [(&str, u16); 3] = [("ada", 28_771), ("ben", 28_772), ("cleo", 28_773)];

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let done = match words.as_slice() {
        ["run", ..] => return cli::main(env::args_os()).into(),
        ["worker", node, store] => worker(node, store),
        _ => play(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- The resource ---------------------------------------------------------------------------

/// What only one leader at a time may write to.
#[derive(Default)]
struct Store {
    /// The highest token that was seen. A store that can restart keeps it with its data.
    highest: u64,
    written: Vec<(u64, String)>,
}

impl Store {
    /// Takes a write, unless a later leader has written already.
    fn write(&mut self, token: u64, text: &str) -> Result<(), u64> {
        if token < self.highest {
            return Err(self.highest);
        }
        self.highest = token;
        self.written.push((token, text.to_owned()));
        Ok(())
    }
}

/// Serves the store: a line `TOKEN TEXT` is answered with `written` or with the token that was seen.
fn serve(listener: &TcpListener, store: &Mutex<Store>) -> io::Result<()> {
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        let (token, text) = line.trim_end().split_once(' ').unwrap_or_default();
        // Without a token there is no write.
        let Ok(token) = token.parse() else { continue };
        let done = store.lock().unwrap_or_else(PoisonError::into_inner).write(token, text);
        match done {
            Ok(()) => writeln!(stream, "written")?,
            Err(highest) => writeln!(stream, "refused, the token {highest} was here")?,
        }
    }
    Ok(())
}

// ---- The program beside each node -----------------------------------------------------------

/// Works while the node at that address leads. It says what it does, and the director says `go`
/// where real work would take its time.
fn worker(node: &str, store: &str) -> Fallible<()> {
    let leadership = Leadership::attach(node.parse()?)?;
    let mut director = io::stdin().lines();
    loop {
        let Some(token) = leadership.token() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        println!("works {token}");
        // The work. Whatever happens to this machine here, the token stays what it was.
        if director.next().transpose()?.is_none() {
            return Ok(());
        }
        let mut stream = TcpStream::connect(store)?;
        writeln!(stream, "{token} a result")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        println!("{}", answer.trim_end());
    }
}

// ---- The play -------------------------------------------------------------------------------

/// A node and the worker beside it: one machine.
struct Machine {
    name: &'static str,
    node: Child,
    worker: Child,
    go: ChildStdin,
}

impl Machine {
    fn signal(&self, signal: Signal) -> Fallible<()> {
        for child in [&self.node, &self.worker] {
            let pid = Pid::from_raw(i32::try_from(child.id())?).ok_or("a process id")?;
            kill_process(pid, signal)?;
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in [&mut self.node, &mut self.worker] {
            // It may have ended already.
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

fn play() -> Fallible<()> {
    let store = Arc::new(Mutex::new(Store::default()));
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    let served = Arc::clone(&store);
    thread::spawn(move || serve(&listener, &served));

    let dir = env::temp_dir().join(format!("fencing-{}", getpid().as_raw_nonzero()));
    fs::create_dir_all(&dir)?;
    let done = on_stage(&dir, at, &store);
    fs::remove_dir_all(&dir)?;
    done
}

fn on_stage(dir: &Path, store_at: SocketAddr, store: &Mutex<Store>) -> Fallible<()> {
    let config = dir.join("nodes.yaml");
    fs::write(&config, configuration())?;
    let (say, said) = channel();
    let mut machines = Vec::new();
    for (at, (name, port)) in NODES.into_iter().enumerate() {
        machines.push(start(at, name, port, &config, dir, store_at, say.clone())?);
    }

    // The first leader writes, and is paused before its third write.
    let (first, old) = working(&said)?;
    let mut token = old;
    for _ in 0..2 {
        let machine = machines.get_mut(first).ok_or("a machine")?;
        writeln!(machine.go, "go")?;
        expect(&said, first, "written")?;
        println!("{} wrote with the token {token}", machine.name);
        let (who, next) = working(&said)?;
        if who != first {
            return Err(
                "another machine led before anything was paused: it is too busy here".into()
            );
        }
        token = next;
    }
    let paused = machines.get(first).ok_or("a machine")?;
    println!("{} is paused, in the middle of its work with the token {token}", paused.name);
    paused.signal(Signal::STOP)?;

    // Another leads, with a higher token.
    let (second, new) = working(&said)?;
    let other = machines.get_mut(second).ok_or("a machine")?;
    writeln!(other.go, "go")?;
    expect(&said, second, "written")?;
    println!("{} wrote with the token {new}", other.name);

    // The first wakes, and writes on.
    let woken = machines.get_mut(first).ok_or("a machine")?;
    println!("{} wakes and writes with the token {token}", woken.name);
    writeln!(woken.go, "go")?;
    woken.signal(Signal::CONT)?;
    let refused = format!("refused, the token {new} was here");
    expect(&said, first, &refused)?;
    println!("the store says: {refused}");

    let store = store.lock().unwrap_or_else(PoisonError::into_inner);
    let tokens: Vec<u64> = store.written.iter().map(|(token, _)| *token).collect();
    println!("the store was written with the tokens {tokens:?}");
    if !tokens.is_sorted() || token >= new {
        return Err("the tokens do not rise".into());
    }
    Ok(())
}

/// Waits until some worker takes up work; which one, and its token.
fn working(said: &Receiver<(usize, String)>) -> Fallible<(usize, u64)> {
    let (who, line) = said.recv_timeout(PATIENCE)?;
    let token = line.strip_prefix("works ").ok_or_else(|| format!("{who} says {line}"))?;
    Ok((who, token.parse()?))
}

/// Waits until this worker says this; others may take up work meanwhile, and wait.
fn expect(said: &Receiver<(usize, String)>, who: usize, what: &str) -> Fallible<()> {
    loop {
        let (other, line) = said.recv_timeout(PATIENCE)?;
        if other == who && !line.starts_with("works ") {
            return if line == what { Ok(()) } else { Err(format!("it says {line}").into()) };
        }
    }
}

fn start(
    at: usize,
    name: &'static str,
    port: u16,
    config: &Path,
    dir: &Path,
    store: SocketAddr,
    say: Sender<(usize, String)>,
) -> Fallible<Machine> {
    let program = env::current_exe()?;
    let data = dir.join(name);
    let me = getpid().as_raw_nonzero().to_string();
    let node = Command::new(&program)
        .args(["run", "--promise-in-data-dir", "--die-with-parent", &me, "--node", name])
        .arg("--config")
        .arg(config)
        .arg("--data-dir")
        .arg(data)
        .env("RINGRIFT_LOG", "error")
        .stdin(Stdio::null())
        .spawn()?;
    let mut worker = Command::new(&program)
        .args(["worker", &format!("127.0.0.1:{port}"), &store.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let go = worker.stdin.take().ok_or("a pipe")?;
    let out = BufReader::new(worker.stdout.take().ok_or("a pipe")?);
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if say.send((at, line)).is_err() {
                return;
            }
        }
    });
    Ok(Machine { name, node, worker, go })
}

fn configuration() -> String {
    let names: Vec<&str> = NODES.iter().map(|(name, _)| *name).collect();
    let mut text = format!("cluster: fencing\nvoters: [{}]\n", names.join(", "));
    text += "election: {heartbeat_interval: 200ms, lease: 1500ms, peer_timeout: 2s, \
             election_timeout: 500ms}\nhosts:\n";
    for (name, port) in NODES {
        text += &format!("  {name}: {{address: 127.0.0.1, port: {port}}}\n");
    }
    text
}
