//! Vote stores that are not what they should be: of a later version, of another node, with a torn slot.

use std::fs;
use std::path::Path;

use crate::support::NAMES;
use crate::support::cluster::Cluster;
use crate::{ALL, five, log_of};

/// Length of a slot, and distance of the two: what every version has in common.
const SLOT: usize = 512;
const STRIDE: usize = 4_096;

/// Runs `node` until it ends by itself: exit code 74, and its log.
#[track_caller]
fn refused(cluster: &mut Cluster, node: usize) -> String {
    cluster.start(node);
    let code = cluster.ended(node);
    let log = log_of(cluster, node);
    assert_eq!(code, Some(74), "{log}");
    log
}

/// A store that `node` has written.
fn written(cluster: &mut Cluster, node: usize) {
    cluster.start(node);
    cluster.status(node);
    cluster.kill(node);
}

/// Changes both slots, and makes their checksums right again.
fn edit(votes: &Path, change: impl Fn(&mut [u8])) {
    let mut content = fs::read(votes).expect("a store");
    for at in [0, STRIDE] {
        let slot = &mut content[at..at + SLOT];
        change(slot);
        let sum = crc32fast::hash(&slot[..SLOT - 4]);
        slot[SLOT - 4..].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(votes, content).expect("it is written");
}

#[test]
fn the_store_of_a_later_version_ends_a_start_and_is_left_as_it_is() {
    let Some(mut cluster) = five() else { return };
    written(&mut cluster, 0);
    let votes = cluster.store(0).join("votes");
    edit(&votes, |slot| slot[8] = 2);
    let before = fs::read(&votes).expect("a store");
    let log = refused(&mut cluster, 0);
    assert!(
        log.contains("a later version of this program (format 2): start that version"),
        "{log}"
    );
    assert_eq!(fs::read(&votes).expect("a store"), before);
}

#[test]
fn the_store_of_another_node_ends_a_start_and_says_what_to_do() {
    let Some(mut cluster) = five() else { return };
    written(&mut cluster, 1);
    fs::rename(cluster.store(1), cluster.store(0)).expect("it is moved");
    let log = refused(&mut cluster, 0);
    assert!(log.contains("that of another node than nebius-backbone-1"), "{log}");
    assert!(log.contains("--data-dir"), "{log}");
    // Where it belongs it is as good as ever.
    fs::rename(cluster.store(0), cluster.store(1)).expect("it is moved");
    cluster.start(1);
    cluster.status(1);
}

/// A write that was torn never gave a vote, so the slot before it is the truth.
#[test]
fn a_voter_with_a_torn_slot_starts_on_the_other_and_votes_no_second_time() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let torn: Vec<usize> = ALL.into_iter().filter(|&node| node != leader).take(2).collect();
    for &node in &torn {
        cluster.kill(node);
        let votes = cluster.store(node).join("votes");
        let mut content = fs::read(&votes).expect("a store");
        let sequence =
            |at: usize| u64::from_le_bytes(content[at + 12..at + 20].try_into().expect("8"));
        // The write of the older slot broke off half-way.
        let older = if sequence(0) < sequence(STRIDE) { 0 } else { STRIDE };
        content[older..older + SLOT / 2].fill(0xa5);
        fs::write(&votes, content).expect("it is written");
        cluster.start(node);
    }
    assert_eq!(cluster.wait_agreed(&ALL), (leader, term), "their return changed something");
    cluster.wait_settled();
    cluster.kill(leader);
    let (_, later) = cluster.wait_agreed(&cluster.running());
    assert!(later > term);
    for node in torn {
        assert!(!log_of(&cluster, node).contains("is damaged"), "{}", NAMES[node]);
    }
    watch.judge(true);
}
