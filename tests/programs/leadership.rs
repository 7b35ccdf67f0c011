//! The library's `Leadership` beside real nodes.

use ringrift_p2p::client::Leadership;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::cluster::{Cluster, PORT};
use crate::support::{NAMES, wait_for};
use crate::{ALL, five};

fn attach(cluster: &Cluster, node: usize) -> Leadership {
    let at = SocketAddr::new(cluster.address(node).into(), PORT);
    // The thread that asks is in the namespace of the one that starts it.
    cluster.net(node).within(|| Leadership::attach(at)).expect("a thread")
}

/// Asks everybody in turn, without a pause: two that say yes, the first before and after the second, lead
/// at one instant, since no lease comes back in its term.
struct Judge {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<String>>,
}

impl Judge {
    fn start(all: &[Leadership]) -> Self {
        let (stop, all) = (Arc::new(AtomicBool::new(false)), all.to_vec());
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut wrongs, mut highest) = (Vec::new(), 0);
            while !until.load(Ordering::SeqCst) {
                for (node, one) in all.iter().enumerate() {
                    let Some(token) = one.token() else { continue };
                    if token < highest {
                        wrongs.push(format!("{node} has the token {token} after {highest}"));
                    }
                    highest = highest.max(token);
                    let others = all.iter().enumerate().filter(|(other, _)| *other != node);
                    for (other, leadership) in others {
                        let second = leadership.token();
                        if second.is_some() && one.token() == Some(token) {
                            wrongs.push(format!("{node} with {token}, {other} with {second:?}"));
                        }
                    }
                }
                // Others need the processor, too.
                thread::sleep(Duration::from_millis(1));
            }
            wrongs
        });
        Self { stop, thread }
    }

    #[track_caller]
    fn verdict(self) {
        self.stop.store(true, Ordering::SeqCst);
        let wrongs = self.thread.join().expect("the judge");
        assert!(wrongs.is_empty(), "{}", wrongs[..wrongs.len().min(10)].join("\n"));
    }
}

#[track_caller]
fn wait_leads(cluster: &Cluster, all: &[Leadership], nodes: &[usize]) -> (usize, u64) {
    wait_for("programs and nodes to agree", || {
        let (leader, term) = cluster.agreed(nodes)?;
        let leads: Vec<usize> =
            (0..all.len()).filter(|&node| all[node].token() == Some(term)).collect();
        let told = |&node: &usize| {
            let known = all[node].standing().leader;
            known.is_some_and(|it| it.id == NAMES[leader] && it.term == term)
        };
        (leads == [leader] && nodes.iter().all(told)).then_some((leader, term))
    })
}

/// Crashes and pauses end no lease early, so not even programs overlap.
#[test]
fn programs_follow_the_leader_through_crashes_and_pauses_and_never_two_lead() {
    let Some(mut cluster) = five() else { return };
    // They may begin before the nodes do.
    let all: Vec<Leadership> = ALL.iter().map(|&node| attach(&cluster, node)).collect();
    assert!(all.iter().all(|one| !one.is_leader() && !one.standing().attached));
    let judge = Judge::start(&all);
    cluster.start_all();
    let (first, term) = wait_leads(&cluster, &all, &ALL);

    // Paused: the node says nothing, and the program finds the lease ended by its own clock.
    cluster.signal(first, Signal::STOP);
    wait_for("the end of the lease", || (!all[first].is_leader()).then_some(()));
    let rest: Vec<usize> = ALL.into_iter().filter(|&node| node != first).collect();
    let (second, later) = wait_leads(&cluster, &all, &rest);
    assert!(later > term && second != first);
    cluster.signal(first, Signal::CONT);
    wait_leads(&cluster, &all, &ALL);

    // Crashed: what it said is gone with it, at once.
    let (leader, term) = wait_leads(&cluster, &all, &ALL);
    cluster.kill(leader);
    wait_for("the program to see the crash", || {
        (!all[leader].is_leader() && !all[leader].standing().attached).then_some(())
    });
    let (_, later) = wait_leads(&cluster, &all, &cluster.running());
    assert!(later > term);
    cluster.start(leader);
    wait_leads(&cluster, &all, &ALL);
    judge.verdict();
}

#[test]
fn a_change_is_told_without_a_runtime_of_the_program() {
    let Some(mut cluster) = five() else { return };
    let mut one = attach(&cluster, 1);
    let seen = thread::spawn(move || {
        // Any executor will do; this one belongs to the test.
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            loop {
                let standing = one.changed().await.expect("the thread goes on");
                if let Some(leader) = standing.leader {
                    return (standing.attached, leader.id, leader.term);
                }
            }
        })
    });
    cluster.start_all();
    let (attached, leader, term) = seen.join().expect("a change");
    assert!(attached && NAMES.contains(&leader.as_str()) && term > 0);
}
