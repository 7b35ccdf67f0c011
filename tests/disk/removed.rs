//! The folder of the votes is taken away under a running node.

use std::fs;

use crate::{ALL, five, log_of, wait_failed, wait_moved, wait_works};

#[test]
fn a_leader_whose_folder_is_moved_away_hands_over_and_works_again_when_it_is_back() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, _) = cluster.wait_agreed(&ALL);
    let (store, aside) = (cluster.store(leader), cluster.dir.path().join("aside"));
    fs::rename(&store, &aside).expect("it is moved");
    let why = wait_failed(&cluster, leader);
    assert!(why.contains("was removed while this node runs: put it back"), "{why}");
    let next = wait_moved(&cluster, leader);
    assert!(log_of(&cluster, leader).contains("a check of the vote store failed"));
    fs::rename(&aside, &store).expect("it is moved");
    wait_works(&cluster, leader);
    assert_eq!(cluster.wait_agreed(&ALL).0, next);
    watch.judge(false);
}

#[test]
fn a_voter_whose_folder_is_removed_votes_no_more_until_it_is_restarted() {
    let Some(mut cluster) = five() else { return };
    let watch = cluster.watch();
    cluster.start_all();
    let (leader, term) = cluster.wait_agreed(&ALL);
    let others: Vec<usize> = ALL.into_iter().filter(|&node| node != leader).collect();
    let (removed, dying) = (others[0], [others[1], others[2]]);
    fs::remove_dir_all(cluster.store(removed)).expect("it is removed");
    wait_failed(&cluster, removed);
    // Three are left, and one of them cannot write: nobody may lead.
    for node in dying {
        cluster.kill(node);
    }
    cluster.kill(leader);
    let left = [removed, others[3]];
    cluster.start(dying[0]);
    let left = [left[0], left[1], dying[0]];
    cluster.wait_leaderless(&left);
    let said = cluster.status(removed);
    let reason = said.text("no_leader_reason").unwrap_or_default().to_owned();
    assert!(reason.contains("vote store") && reason.contains("restart this node"), "{reason}");
    // A restart makes it a voter that has lost its store: it asks the others, and votes again.
    cluster.kill(removed);
    cluster.start(removed);
    cluster.start(dying[1]);
    let (_, later) = cluster.wait_agreed(&cluster.running());
    assert!(later > term);
    // Whoever was killed and started again released what it held.
    watch.judge(false);
}
