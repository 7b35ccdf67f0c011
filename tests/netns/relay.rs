//! A slow network: every datagram waits for a while of its own, so that they also overtake each other.
//!
//! It stands in for the bridge, in a namespace where the address of every host counts as its own for
//! what comes in by a host's port, and as that host's for what goes out. One socket per host takes what is
//! sent to it, and sends what comes from it: source and destination stay what they were.

use core::cmp::Reverse;
use core::ops::Range;
use core::time::Duration;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// How often a waiting thread looks whether to end.
const GLANCE: Duration = Duration::from_millis(100);

/// When a datagram is due, then between whom and what.
type Held = Reverse<(Instant, usize, usize, Vec<u8>)>;

/// The threads of a slow network.
pub struct Relay {
    stop: Arc<AtomicBool>,
    delay: Arc<Mutex<Range<Duration>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Relays between these hosts. The calling thread is in the namespace of the relay.
    pub fn start(hosts: &[SocketAddr], delay: Range<Duration>) -> Self {
        let socket = |host: &SocketAddr| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_ip_transparent_v4(true)?;
            socket.bind(&(*host).into())?;
            socket.set_read_timeout(Some(GLANCE))?;
            Ok::<_, std::io::Error>(Arc::new(UdpSocket::from(socket)))
        };
        let sockets: Result<Vec<_>, _> = hosts.iter().map(socket).collect();
        let sockets = sockets.expect("root may bind any address");
        let stop = Arc::new(AtomicBool::new(false));
        let delay = Arc::new(Mutex::new(delay));
        let (held, due) = channel();
        let mut threads = Vec::new();
        for (to, socket) in sockets.iter().enumerate() {
            let (socket, hosts, held) = (Arc::clone(socket), hosts.to_vec(), held.clone());
            let (stop, delay) = (Arc::clone(&stop), Arc::clone(&delay));
            threads.push(thread::spawn(move || take(to, &socket, &hosts, &held, &stop, &delay)));
        }
        let hosts = hosts.to_vec();
        threads.push(thread::spawn(move || deliver(&due, &sockets, &hosts)));
        Self { stop, delay, threads }
    }

    /// What comes from now on is delayed by so much.
    pub fn set_delay(&self, delay: Range<Duration>) {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a thread of the relay panicked");
        }
    }
}

/// Takes what is sent to the host `to`, and decides how long it waits.
fn take(
    to: usize,
    socket: &UdpSocket,
    hosts: &[SocketAddr],
    held: &Sender<Held>,
    stop: &AtomicBool,
    delay: &Mutex<Range<Duration>>,
) {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64 ^ to as u64;
    let mut buffer = [0; 2_048];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Some(from) = hosts.iter().position(|&host| host == from) else { continue };
        let Range { start, end } = delay.lock().unwrap_or_else(PoisonError::into_inner).clone();
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let share = f64::from(u32::try_from(chance >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let due = Instant::now() + start + (end - start).mul_f64(share);
        if held.send(Reverse((due, from, to, buffer[..length].to_vec()))).is_err() {
            return;
        }
    }
}

/// Sends each datagram on when it is due, until nobody takes any more.
fn deliver(due: &Receiver<Held>, sockets: &[Arc<UdpSocket>], hosts: &[SocketAddr]) {
    let mut waiting: BinaryHeap<Held> = BinaryHeap::new();
    loop {
        let next = waiting.peek().map(|Reverse((at, ..))| *at);
        let pause = next.map_or(GLANCE, |at| at.saturating_duration_since(Instant::now()));
        match due.recv_timeout(pause) {
            Ok(held) => waiting.push(held),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse((at, ..))| *at <= Instant::now()) {
            let Some(Reverse((_, from, to, datagram))) = waiting.pop() else { break };
            // A host that is gone loses it, as on any network.
            let _lost = sockets[from].send_to(&datagram, hosts[to]);
        }
    }
}
