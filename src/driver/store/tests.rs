//! The store as a process start finds it.

use super::*;
use core::time::Duration;
use slot::{FILE, SLOT, STRIDE};
use tempfile::TempDir;

/// A data folder and a runtime folder of their own, and a machine to start on.
struct Bench {
    dir: TempDir,
    start: Start,
}

impl Bench {
    fn new() -> Self {
        let machine = Machine { id: Some(1), kernel_boot: Some(10) };
        let now = Instant::from_nanos(50_000_000_000);
        let node = "hetzner-cpu1".parse().unwrap();
        let start = Start { node, machine, now, unix_seconds: 1_000, nonce: 100 };
        let dir = tempfile::tempdir().unwrap();
        Self { dir, start }
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn votes(&self) -> PathBuf {
        self.data_dir().join("votes")
    }

    fn open_in(&mut self, data_dir: &Path) -> Result<Opened, StoreError> {
        self.start.nonce += 1;
        open(data_dir, &self.dir.path().join("run/promise"), &self.start)
    }

    fn open(&mut self) -> Result<Opened, StoreError> {
        self.open_in(&self.data_dir())
    }

    /// A store that has been written by a process that is gone.
    fn used(record: VoteRecord, promised: Option<Promise>) -> Self {
        let mut bench = Self::new();
        let mut opened = bench.open().unwrap();
        opened.store.write_record(record).unwrap();
        if let Some(promise) = promised {
            opened.store.write_promise(Some(promise)).unwrap();
        }
        bench
    }

    fn unknown_since(&self, last_possible: Instant) -> RestoredPromise {
        RestoredPromise::Unknown { last_possible }
    }
}

fn record(term: u64) -> VoteRecord {
    VoteRecord {
        term,
        voted_for: Some("hetzner-cpu2".parse().unwrap()),
        nonce: 8,
        longest_lease: Duration::from_secs(60),
        set_version: 1,
        led_version: 1,
        drained: false,
    }
}

fn promise(term: u64) -> Promise {
    let until = Instant::from_nanos(99_000_000_000);
    Promise { to: "hetzner-cpu2".parse().unwrap(), nonce: 8, term, until }
}

#[test]
fn a_missing_store_is_empty_and_is_made_private() {
    let mut bench = Bench::new();
    let opened = bench.open().unwrap();
    let promise = bench.unknown_since(bench.start.now);
    assert_eq!(opened.restored, Restored { record: None, promise, may_release: false });
    assert_eq!(opened.boot, Boot { sequence: 1_000, nonce: 101 });
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.data_dir()), 0o700);
    assert_eq!(mode(&bench.votes()), 0o600);
    assert_eq!(mode(&bench.data_dir().join("lock")), 0o600);
    assert_eq!(fs::metadata(bench.votes()).unwrap().len(), FILE as u64);
}

#[test]
fn a_restart_finds_record_and_exact_promise_and_may_release() {
    let mut bench = Bench::used(record(7), Some(promise(7)));
    let restored = bench.open().unwrap().restored;
    let exact = RestoredPromise::Exact(Some(promise(7)));
    let expected = Restored { record: Some(record(7)), promise: exact, may_release: true };
    assert_eq!(restored, expected);
    // And the next one too, though nothing was promised in between.
    assert_eq!(bench.open().unwrap().restored, expected);
}

#[test]
fn the_boot_sequence_rises_with_every_start_and_follows_the_wall_clock_up() {
    let mut bench = Bench::new();
    assert_eq!(bench.open().unwrap().boot.sequence, 1_000);
    bench.start.unix_seconds = 5;
    assert_eq!(bench.open().unwrap().boot.sequence, 1_001);
    assert_eq!(bench.open().unwrap().boot.sequence, 1_002);
    bench.start.unix_seconds = 2_000;
    assert_eq!(bench.open().unwrap().boot.sequence, 2_000);
}

#[test]
fn the_last_eight_starts_after_an_unclean_end_are_kept_and_a_clean_end_adds_none() {
    let mut bench = Bench::new();
    assert_eq!(bench.open().unwrap().unclean_starts, [0; 8], "a first start follows nothing");
    for second in 2_001..=2_010 {
        bench.start.unix_seconds = second;
        assert_eq!(bench.open().unwrap().unclean_starts[0], second);
    }
    mark_clean(&bench.data_dir());
    bench.start.unix_seconds = 3_000;
    let kept = bench.open().unwrap().unclean_starts;
    assert_eq!(kept, [2_010, 2_009, 2_008, 2_007, 2_006, 2_005, 2_004, 2_003]);
}

#[test]
fn an_empty_record_stays_empty_over_restarts() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        assert_eq!(bench.open().unwrap().restored.record, None);
    }
}

#[test]
fn a_reboot_dates_the_unknown_promise_before_the_kernel_started() {
    let mut bench = Bench::used(record(7), Some(promise(7)));
    bench.start.machine.kernel_boot = Some(11);
    let restored = bench.open().unwrap().restored;
    assert_eq!(restored.promise, bench.unknown_since(Instant::ZERO));
    assert!(restored.may_release);
    // A restart under the new kernel does not abstain anew.
    bench.start.now = bench.start.now + Duration::from_secs(9);
    assert_eq!(bench.open().unwrap().restored.promise, bench.unknown_since(Instant::ZERO));
}

#[test]
fn without_the_same_boot_file_the_promise_may_be_as_young_as_the_start() {
    let mut bench = Bench::used(record(7), Some(promise(7)));
    fs::remove_dir_all(bench.dir.path().join("run")).unwrap();
    assert_eq!(bench.open().unwrap().restored.promise, bench.unknown_since(bench.start.now));
}

#[test]
fn a_foreign_machine_frees_nothing_and_believes_no_promise() {
    for machine in [
        Machine { id: Some(2), kernel_boot: Some(11) },
        Machine { id: None, kernel_boot: Some(11) },
        Machine { id: Some(2), kernel_boot: None },
    ] {
        let mut bench = Bench::used(record(7), Some(promise(7)));
        bench.start.machine = machine;
        let restored = bench.open().unwrap().restored;
        assert_eq!(restored.record, Some(record(7)));
        assert!(!restored.may_release);
        assert_eq!(restored.promise, bench.unknown_since(bench.start.now));
    }
}

#[test]
fn without_machine_ids_only_one_run_of_one_kernel_is_the_same_machine() {
    let machine = |id, kernel_boot| Machine { id, kernel_boot };
    assert!(machine(None, Some(3)).is_same(machine(None, Some(3))));
    assert!(!machine(None, Some(3)).is_same(machine(None, Some(4))));
    assert!(!machine(None, None).is_same(machine(None, None)));
    assert!(machine(Some(1), Some(3)).is_same(machine(Some(1), Some(4))));
}

#[test]
fn a_copied_store_frees_nothing_and_believes_no_promise() {
    let mut bench = Bench::used(record(7), Some(promise(7)));
    let copy = bench.dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o700)).unwrap();
    fs::copy(bench.votes(), copy.join("votes")).unwrap();
    // Not even after a reboot: the original may have run since.
    for kernel_boot in [10, 11] {
        bench.start.machine.kernel_boot = Some(kernel_boot);
        fs::copy(bench.votes(), copy.join("votes")).unwrap();
        let restored = bench.open_in(&copy).unwrap().restored;
        assert_eq!(restored.record, Some(record(7)));
        assert!(!restored.may_release);
        assert_eq!(restored.promise, bench.unknown_since(bench.start.now));
    }
}

/// A second process on a copy finds a store of its own machine, with the vote that the original gave to
/// itself: the original may live and lead.
#[test]
fn a_copy_that_was_opened_before_frees_nothing() {
    let mut bench = Bench::used(record(7), Some(promise(7)));
    bench.start.machine = Machine { id: Some(2), kernel_boot: Some(20) };
    for _ in 0..3 {
        let restored = bench.open().unwrap().restored;
        assert_eq!(restored.record, Some(record(7)));
        assert!(!restored.may_release);
    }
    // What is no vote changes nothing; a vote given here may be freed here.
    let longer = VoteRecord { longest_lease: Duration::from_secs(90), ..record(7) };
    for (written, may_release) in [(longer, false), (record(8), true)] {
        bench.open().unwrap().store.write_record(written).unwrap();
        assert_eq!(bench.open().unwrap().restored.may_release, may_release);
    }
}

#[test]
fn a_promise_file_of_an_earlier_process_is_not_believed() {
    let mut bench = Bench::used(record(7), Some(promise(7)));
    let run = bench.dir.path().join("run");
    let file = fs::read_dir(&run).unwrap().next().unwrap().unwrap().path();
    let old = fs::read(&file).unwrap();
    drop(bench.open().unwrap());
    fs::write(&file, old).unwrap();
    assert_eq!(bench.open().unwrap().restored.promise, bench.unknown_since(bench.start.now));
}

#[test]
fn a_torn_slot_is_ignored_whichever_it_is() {
    for (damaged, expected) in [(0, 8), (1, 7)] {
        let mut bench = Bench::used(record(7), None);
        {
            // The start put record 7 into slot 0, and record 8 goes into slot 1.
            let mut opened = bench.open().unwrap();
            opened.store.write_record(record(8)).unwrap();
        }
        let mut content = fs::read(bench.votes()).unwrap();
        content[damaged * STRIDE + 100] ^= 1;
        fs::write(bench.votes(), content).unwrap();
        assert_eq!(bench.open().unwrap().restored.record, Some(record(expected)), "{damaged}");
    }
}

#[test]
fn a_store_with_content_and_no_valid_slot_is_an_error_and_not_empty() {
    let mut bench = Bench::used(record(7), None);
    for content in [vec![0; FILE], vec![1], fs::read(bench.votes()).unwrap()[..SLOT / 2].to_vec()] {
        fs::write(bench.votes(), &content).unwrap();
        let error = bench.open().unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(bench.votes()).unwrap(), content, "it was left as it is");
    }
}

#[test]
fn a_newer_store_is_refused() {
    let mut bench = Bench::used(record(7), None);
    let mut content = fs::read(bench.votes()).unwrap();
    content[8] = 9;
    let sum = crc32fast::hash(&content[..SLOT - 4]);
    content[SLOT - 4..SLOT].copy_from_slice(&sum.to_le_bytes());
    fs::write(bench.votes(), content).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, StoreError::Newer { version: 9, .. }), "{error}");
}

#[test]
fn one_process_holds_the_store_and_is_named() {
    let mut bench = Bench::new();
    let held = bench.open().unwrap();
    let error = bench.open().unwrap_err();
    let holder = Some(std::process::id());
    assert!(matches!(&error, StoreError::Locked { holder: named, .. } if *named == holder));
    assert!(error.to_string().contains(&std::process::id().to_string()));
    drop(held);
    bench.open().unwrap();
}

#[test]
fn votes_in_use_are_held_also_when_their_lock_file_is_removed() {
    let mut bench = Bench::new();
    let held = bench.open().unwrap();
    fs::remove_file(bench.data_dir().join("lock")).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(&error, StoreError::Locked { holder: None, .. }), "{error}");
    drop(held);
    let held = bench.open().unwrap();
    fs::remove_file(bench.data_dir().join("lock")).unwrap();
    assert!(matches!(bench.open().unwrap_err(), StoreError::Locked { .. }));
    drop(held);
}

#[test]
fn the_store_of_another_node_is_refused_and_one_without_a_name_is_taken_over() {
    let mut bench = Bench::used(record(7), None);
    let before = fs::read(bench.votes()).unwrap();
    let own = bench.start.node;
    bench.start.node = "hetzner-cpu2".parse().unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, StoreError::OfAnother { .. }), "{error}");
    assert!(error.to_string().contains("another node than hetzner-cpu2"), "{error}");
    assert_eq!(fs::read(bench.votes()).unwrap(), before, "it was left as it is");
    bench.start.node = own;
    assert_eq!(bench.open().unwrap().restored.record, Some(record(7)));
    // From before stores had names.
    let mut old = fs::read(bench.votes()).unwrap();
    for at in [0, STRIDE] {
        old[at + 245..at + 253].fill(0);
        let sum = crc32fast::hash(&old[at..at + SLOT - 4]);
        old[at + SLOT - 4..at + SLOT].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(bench.votes(), old).unwrap();
    assert_eq!(bench.open().unwrap().restored.record, Some(record(7)));
    bench.start.node = "hetzner-cpu2".parse().unwrap();
    assert!(matches!(bench.open().unwrap_err(), StoreError::OfAnother { .. }), "it has one now");
}

#[test]
fn a_record_is_not_written_to_a_file_that_the_next_start_would_not_find() {
    let mut bench = Bench::used(record(7), None);
    let mut store = bench.open().unwrap().store;
    let aside = bench.dir.path().join("aside");
    fs::rename(bench.data_dir(), &aside).unwrap();
    let error = store.write_record(record(8)).unwrap_err();
    assert!(error.to_string().contains("was removed"), "{error}");
    fs::create_dir(bench.data_dir()).unwrap();
    fs::copy(aside.join("votes"), bench.votes()).unwrap();
    let error = store.write_record(record(8)).unwrap_err();
    assert!(error.to_string().contains("was replaced"), "{error}");
    fs::remove_dir_all(bench.data_dir()).unwrap();
    fs::rename(&aside, bench.data_dir()).unwrap();
    store.write_record(record(8)).unwrap();
    drop(store);
    assert_eq!(bench.open().unwrap().restored.record, Some(record(8)));
}

#[test]
fn errors_of_the_disk_say_what_to_do() {
    use io::ErrorKind;
    for (kind, advice) in [
        (ErrorKind::StorageFull, "make room"),
        (ErrorKind::ReadOnlyFilesystem, "mount it writable"),
        (ErrorKind::PermissionDenied, "must belong to the user"),
    ] {
        let said = io_error("write", Path::new("/x/votes"))(kind.into()).to_string();
        assert!(said.starts_with("cannot write /x/votes: ") && said.contains(advice), "{said}");
    }
}

#[test]
fn a_folder_that_others_may_write_into_is_refused() {
    let mut bench = Bench::new();
    fs::create_dir(bench.data_dir()).unwrap();
    fs::set_permissions(bench.data_dir(), Permissions::from_mode(0o777)).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, StoreError::NotPrivate { mode: 0o777, .. }), "{error}");
}

#[test]
fn a_start_that_broke_off_before_the_file_had_its_name_leaves_an_empty_store() {
    let mut bench = Bench::new();
    fs::create_dir(bench.data_dir()).unwrap();
    fs::set_permissions(bench.data_dir(), Permissions::from_mode(0o700)).unwrap();
    fs::write(bench.data_dir().join("votes.new"), b"half").unwrap();
    assert_eq!(bench.open().unwrap().restored.record, None);
}
