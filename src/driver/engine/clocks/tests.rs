//! Whole nodes whose wall clocks are set, and whose machines sleep.

use super::super::tests::{CLUSTER, Wire};
use super::*;
use crate::config::{self, Config, node_params};
use crate::driver::clock::tests::SteppedClock;
use crate::driver::engine::{Outside, Speaker, kind_words, reason_words};
use crate::driver::peers::Names;
use crate::driver::store::worker::{Answer, Request};
use crate::election::record::{Restored, RestoredPromise};
use crate::http;
use crate::node::{Node, Persisted};
use crate::telemetry::{Metrics, View};
use arc_swap::ArcSwap;
use core::net::SocketAddr;
use ringrift_wire::{Boot, MAX_DATAGRAM, NodeId, encode};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

const HOUR: Duration = Duration::from_secs(3_600);
const STEP: Duration = Duration::from_millis(5);
const NOON: u64 = 1_790_000_000;

struct Host {
    id: NodeId,
    address: SocketAddr,
    engine: Engine<Node, Rc<Wire>, Arc<SteppedClock>>,
    clock: Arc<SteppedClock>,
    wire: Rc<Wire>,
    disk: Receiver<Request>,
    asleep: bool,
}

/// Three voters, each with clocks of its own.
struct Hosts {
    hosts: Vec<Host>,
}

fn host(config: &Config, number: u64) -> Host {
    let id: NodeId = ["a", "b", "c"][number as usize].parse().unwrap();
    let clock = Arc::new(SteppedClock::default());
    // No two machines have been up for the same time.
    clock.advance(HOUR * (number as u32 + 1));
    clock.step_wall_clock_to(NOON);
    let config::Address::Ip(ip) = config.hosts[&id].address else { panic!("an address") };
    let address = SocketAddr::new(ip, 8770);
    let boot = Boot { sequence: NOON, nonce: number + 1 };
    let params = node_params(config, id, boot, NOON, address, number);
    let now = clock.now();
    let promise = RestoredPromise::Unknown { last_possible: now };
    let node = Node::new(params, Restored { record: None, promise, may_release: false }, now);
    let status = Arc::new(ArcSwap::from_pointee(node.status(now)));
    let wire = Rc::new(Wire::of(&status));
    let (storage, disk) = sync_channel(64);
    let metrics = Metrics::new(id, config, &kind_words(), &reason_words(), None).unwrap();
    let (events, _tap) = http::feed();
    let (metrics, names, work) = (Arc::new(metrics), Names::default(), Arc::default());
    let outside = Outside { status, metrics, storage, names, events, work };
    let speaker = Speaker { id, boot, cluster_tag: CLUSTER };
    let engine = Engine::new(node, Rc::clone(&wire), Arc::clone(&clock), speaker, outside);
    Host { id, address, engine, clock, wire, disk, asleep: false }
}

impl Hosts {
    /// Started, with a leader, past all that belongs to a start.
    fn led() -> Self {
        let text = "cluster: test\nvoters: [a, b, c]\nelection: {heartbeat_interval: 100ms, lease: 400ms, \
                    peer_timeout: 2s}\nhosts:\n  a: {address: 10.0.0.1}\n  b: {address: 10.0.0.2}\n  \
                    c: {address: 10.0.0.3}\n";
        let config = config::parse(text).unwrap().config;
        let mut hosts = Self { hosts: (0..3).map(|number| host(&config, number)).collect() };
        hosts.run(Duration::from_secs(3));
        assert_eq!(hosts.leaders().len(), 1);
        hosts
    }

    /// Lets time pass; who sleeps does nothing.
    fn run(&mut self, length: Duration) {
        for _ in 0..length.as_millis() / STEP.as_millis() {
            let mut sent = Vec::new();
            for host in &mut self.hosts {
                if host.asleep {
                    host.clock.suspend(STEP);
                    continue;
                }
                host.clock.advance(STEP);
                host.engine.tick();
                for Request { number, .. } in host.disk.try_iter().collect::<Vec<_>>() {
                    let persisted = Persisted { number, done: true };
                    host.engine.stored(Answer { persisted, took: None, error: None });
                }
                let taken = host.wire.take();
                sent.extend(taken.into_iter().map(|(to, envelope)| (host.address, to, envelope)));
            }
            for (from, to, envelope) in sent {
                let mut buffer = [0; MAX_DATAGRAM];
                let length = encode(&envelope, CLUSTER, &mut buffer).unwrap();
                let Some(host) = self.hosts.iter_mut().find(|host| host.address == to) else {
                    continue;
                };
                if let Some(envelope) =
                    host.engine.decode(&mut buffer[..length], from).ok().filter(|_| !host.asleep)
                {
                    host.engine.datagrams(&mut vec![(from, envelope)]);
                }
            }
        }
    }

    /// Who says now that it leads, as `GET /leader` does: by its last status and its own clock.
    fn leaders(&self) -> Vec<(NodeId, u64)> {
        let said = self.hosts.iter().filter_map(|host| {
            let status = host.engine.outside.status.load();
            status.is_leader(host.clock.now()).then_some((host.id, status.term))
        });
        said.collect()
    }

    fn of(&mut self, id: NodeId) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.id == id).unwrap()
    }

    /// Steps of the wall clock and suspends that each host has counted.
    fn counted(&self) -> Vec<(f64, f64)> {
        let count = |host: &Host| {
            let status = host.engine.outside.status.load_full();
            let view = View::new(&status, host.clock.now());
            let text = host.engine.outside.metrics.render(&view).unwrap();
            let of = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.unwrap().parse().unwrap()
            };
            (of("ringrift_p2p_clock_steps_total"), of("ringrift_p2p_suspends_total"))
        };
        self.hosts.iter().map(count).collect()
    }
}

#[test]
fn wall_clocks_that_are_set_by_an_hour_change_no_leader_and_are_counted() {
    let mut hosts = Hosts::led();
    let led = hosts.leaders();
    let seconds = HOUR.as_secs();
    // The leader's forward, another's back, and all of them to and fro.
    for (which, to) in
        [(0, NOON + seconds), (1, NOON - seconds), (2, 1), (0, 1), (1, NOON), (2, NOON)]
    {
        hosts.hosts[which].clock.step_wall_clock_to(to);
        for _ in 0..40 {
            hosts.run(Duration::from_millis(50));
            assert_eq!(hosts.leaders(), led);
        }
    }
    assert_eq!(hosts.counted(), [(2.0, 0.0); 3]);
}

#[test]
fn no_lease_outlives_a_suspend_and_the_machine_says_that_it_slept() {
    let mut hosts = Hosts::led();
    let [(sleeper, term)] = hosts.leaders()[..] else { panic!("one leader") };
    hosts.of(sleeper).asleep = true;
    // It does not know yet, and whoever could ask it would be told no as soon as its lease has passed.
    hosts.run(Duration::from_millis(395));
    hosts.run(Duration::from_millis(10));
    assert!(hosts.leaders().iter().all(|&(id, _)| id != sleeper), "{:?}", hosts.leaders());
    hosts.run(Duration::from_secs(20));
    let after = hosts.leaders();
    assert!(matches!(after[..], [(id, later)] if id != sleeper && later > term), "{after:?}");
    // It wakes: nothing changes, before or after it has caught up.
    hosts.of(sleeper).asleep = false;
    assert_eq!(hosts.leaders(), after);
    for _ in 0..60 {
        hosts.run(Duration::from_millis(50));
        assert_eq!(hosts.leaders(), after);
    }
    let slept = hosts.hosts.iter().map(|host| f64::from(u8::from(host.id == sleeper)));
    let counted: Vec<_> = slept.map(|suspends| (0.0, suspends)).collect();
    assert_eq!(hosts.counted(), counted);
}

#[test]
fn a_wall_clock_that_is_slewed_is_not_told() {
    let mut hosts = Hosts::led();
    for _ in 0..30 {
        // Twice as fast as the kernel slews.
        hosts.hosts[0].clock.slew_wall_clock(Duration::from_millis(1));
        hosts.run(Duration::from_secs(1));
    }
    assert_eq!(hosts.counted(), [(0.0, 0.0); 3]);
}
