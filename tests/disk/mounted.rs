//! Disks that are full, read-only from the start, or become read-only under a running node.

use crate::mounts::Mounts;
use crate::support::NAMES;
use crate::support::cluster::Cluster;
use crate::{ALL, five, log_of, wait_failed, wait_moved};

/// Runs `node` in the namespace until it ends by itself: exit code 74, and its log.
#[track_caller]
fn refused(cluster: &mut Cluster, mounts: &Mounts, node: usize) -> String {
    let command = mounts.node(cluster, node);
    cluster.start_as(node, command);
    let code = cluster.ended(node);
    let log = log_of(cluster, node);
    assert_eq!(code, Some(74), "{log}");
    log
}

#[test]
fn a_full_disk_costs_no_vote_and_no_restart_and_only_a_new_store_needs_room() {
    let Some(mut cluster) = five() else { return };
    let data = cluster.dir.path().join("data");
    let place = data.display();
    let mounts =
        Mounts::after(&format!("mkdir {place}; mount -t tmpfs -o size=1m,mode=700 none {place}"));
    for node in 0..4 {
        let command = mounts.node(&cluster, node);
        cluster.start_as(node, command);
    }
    let (mut leader, mut term) = cluster.wait_agreed(&[0, 1, 2, 3]);
    // Not even one byte more can be written.
    mounts.run(&format!(
        "! cat /dev/zero 2>/dev/null > {place}/filler; ! echo more 2>/dev/null >> {place}/filler"
    ));
    for _ in 0..3 {
        cluster.kill(leader);
        let (next, later) = cluster.wait_agreed(&cluster.running());
        assert!(next != leader && later > term);
        // Not even the room of its lock file is left to it.
        mounts.run(&format!(
            ": > {place}/{}/lock; ! cat /dev/zero 2>/dev/null >> {place}/filler",
            NAMES[leader]
        ));
        let command = mounts.node(&cluster, leader);
        cluster.start_as(leader, command);
        assert_eq!(cluster.wait_agreed(&[0, 1, 2, 3]), (next, later));
        (leader, term) = (next, later);
    }
    for (node, name) in NAMES.iter().enumerate().take(4) {
        assert_eq!(crate::store_of(&cluster, node)["works"], true, "{name}");
    }
    let log = refused(&mut cluster, &mounts, 4);
    assert!(log.contains("No space left on device") && log.contains("make room there"), "{log}");
}

#[test]
fn a_read_only_disk_ends_a_start_and_says_what_to_do() {
    let Some(mut cluster) = five() else { return };
    let data = cluster.dir.path().join("data");
    let place = data.display();
    let mounts =
        Mounts::after(&format!("mkdir {place}; mount -t tmpfs -o ro,mode=700 none {place}"));
    let log = refused(&mut cluster, &mounts, 0);
    assert!(log.contains("Read-only file system") && log.contains("mount it writable"), "{log}");
    // And so does one that has become so, with a store on it.
    mounts.run(&format!("mount -o remount,rw {place}"));
    let command = mounts.node(&cluster, 0);
    cluster.start_as(0, command);
    cluster.status(0);
    cluster.kill(0);
    mounts.run(&format!("mount -o remount,ro {place}"));
    let log = refused(&mut cluster, &mounts, 0);
    assert!(log.contains("cannot open") && log.contains("mount it writable"), "{log}");
}

/// What the kernel does with a disk that has errors.
#[test]
fn a_leader_whose_disk_becomes_read_only_hands_over_and_goes_on_as_a_follower() {
    let Some(mut cluster) = five() else { return };
    let (image, data) = (cluster.dir.path().join("image"), cluster.dir.path().join("data"));
    let (image, data) = (image.display(), data.display());
    let name = NAMES[0];
    let mounts = Mounts::after(&format!(
        "mkdir -p {data}/{name}; truncate -s 4M {image}; mkfs.ext4 -q {image}; \
         mount -o loop,errors=remount-ro {image} {data}/{name}; chmod 700 {data}/{name}"
    ));
    let watch = cluster.watch();
    for node in ALL {
        let command = mounts.node(&cluster, node);
        cluster.start_as(node, command);
    }
    cluster.wait_agreed(&ALL);
    // Another may have won on a busy machine.
    cluster.make_lead(0);
    mounts.run(&format!(
        "device=$(findmnt -no SOURCE {data}/{name}); echo test > /sys/fs/ext4/${{device##*/}}/trigger_fs_error"
    ));
    let why = wait_failed(&cluster, 0);
    assert!(why.contains("Read-only file system"), "{why}");
    let next = wait_moved(&cluster, 0);
    assert!(log_of(&cluster, 0).contains("store_failed"), "{}", log_of(&cluster, 0));
    // It votes no more and disturbs nobody.
    let before = cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    assert_eq!(cluster.wait_agreed(&ALL), before);
    assert_eq!(before.0, next);
    watch.judge(false);
}
