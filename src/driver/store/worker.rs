//! The storage thread: carries out writes in their order, away from the loop.
//!
//! Decides which queued writes become one. What a failed write means, and when to try again, is the
//! node's business.
//!
//! 1. Every request is answered once, in the order of the requests of its kind.
//! 2. A request is answered as done only after it, or a later one of its kind, is written.
//! 3. A disk that hangs blocks this thread and nothing else.

use core::time::Duration;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant as Monotonic;
use tokio::sync::mpsc;

use super::Store;
use crate::node::{Persisted, Write};

/// The most requests that wait for the disk; the loop answers more itself, as failed. Each place takes 130 bytes of
/// memory from the start, and no healthy disk has more than a few waiting.
pub const QUEUE: usize = 256;

/// One write that the node asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Echoed by the answer.
    pub number: u64,
    /// What to write.
    pub write: Write,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    /// For the node.
    pub persisted: Persisted,
    /// How long a write to stable storage took, on the first of the answers that rest on it.
    pub took: Option<Duration>,
    /// Why it failed, on the first of the answers that it fails.
    pub error: Option<io::Error>,
}

/// What the thread writes to.
pub trait Disk: Send + 'static {
    /// Carries out one write.
    ///
    /// # Errors
    /// It is not known to be where it belongs.
    fn write(&mut self, write: Write) -> io::Result<()>;
}

impl Disk for Store {
    fn write(&mut self, write: Write) -> io::Result<()> {
        match write {
            Write::Record(record) => self.write_record(record),
            Write::Promise(promise) => self.write_promise(promise),
        }
    }
}

/// Starts the thread, which ends when the returned sender is dropped.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(
    mut disk: impl Disk,
    answers: mpsc::Sender<Answer>,
) -> io::Result<SyncSender<Request>> {
    let (requests, queue) = sync_channel(QUEUE);
    let run = move || run(&mut disk, &queue, &answers);
    thread::Builder::new().name("store".into()).spawn(run)?;
    Ok(requests)
}

fn run(disk: &mut impl Disk, queue: &Receiver<Request>, answers: &mpsc::Sender<Answer>) {
    while let Ok(first) = queue.recv() {
        let waiting = queue.try_iter().take(QUEUE);
        let batch: Vec<Request> = core::iter::once(first).chain(waiting).collect();
        for answer in carry_out(disk, &batch) {
            if answers.blocking_send(answer).is_err() {
                return;
            }
        }
    }
}

/// Writes the newest request of each kind, in the place of the first of its kind, and answers them
/// all.
fn carry_out(disk: &mut impl Disk, batch: &[Request]) -> Vec<Answer> {
    let is_record = |request: &Request| matches!(request.write, Write::Record(_));
    let mut answers = Vec::with_capacity(batch.len());
    let mut kinds: Vec<bool> = batch.iter().map(is_record).collect();
    kinds.dedup();
    kinds.truncate(2);
    for kind in kinds {
        let of_kind = || batch.iter().filter(|request| is_record(request) == kind);
        let Some(newest) = of_kind().next_back() else { continue };
        let began = Monotonic::now();
        let mut error = disk.write(newest.write).err();
        let mut took = kind.then(|| began.elapsed());
        let done = error.is_none();
        answers.extend(of_kind().map(|request| Answer {
            persisted: Persisted { number: request.number, done },
            took: took.take(),
            error: error.take(),
        }));
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::record::{Promise, VoteRecord};
    use crate::time::Instant;

    #[derive(Default)]
    struct Scripted {
        written: Vec<Write>,
        failures: u32,
    }

    impl Disk for Scripted {
        fn write(&mut self, write: Write) -> io::Result<()> {
            self.written.push(write);
            if self.failures == 0 {
                return Ok(());
            }
            self.failures -= 1;
            Err(io::Error::other("injected"))
        }
    }

    fn disk(failures: u32) -> Scripted {
        Scripted { written: Vec::new(), failures }
    }

    fn record(term: u64) -> Write {
        Write::Record(VoteRecord {
            term,
            voted_for: None,
            nonce: 0,
            longest_lease: Duration::ZERO,
            set_version: 1,
            led_version: 1,
            drained: false,
        })
    }

    fn promise(term: u64) -> Write {
        let until = Instant::from_nanos(term);
        Write::Promise(Some(Promise { to: "a".parse().unwrap(), nonce: 1, term, until }))
    }

    fn requests(writes: &[Write]) -> Vec<Request> {
        (1..).zip(writes).map(|(number, &write)| Request { number, write }).collect()
    }

    fn told(answers: &[Answer]) -> Vec<(u64, bool)> {
        answers.iter().map(|answer| (answer.persisted.number, answer.persisted.done)).collect()
    }

    #[test]
    fn a_later_request_stands_for_earlier_ones_of_its_kind_and_all_are_answered() {
        let mut disk = disk(0);
        let batch = [promise(1), record(1), promise(2), record(2), promise(3)];
        let answers = carry_out(&mut disk, &requests(&batch));
        assert_eq!(disk.written, [promise(3), record(2)]);
        assert_eq!(told(&answers), [(1, true), (3, true), (5, true), (2, true), (4, true)]);
        // One fsync, reported once.
        assert_eq!(answers.iter().filter(|answer| answer.took.is_some()).count(), 1);
    }

    #[test]
    fn a_batch_of_one_kind_touches_the_other_file_not() {
        let mut disk = disk(0);
        carry_out(&mut disk, &requests(&[record(1), record(2)]));
        carry_out(&mut disk, &requests(&[promise(1)]));
        assert_eq!(disk.written, [record(2), promise(1)]);
    }

    #[test]
    fn a_failed_record_fails_all_that_it_stood_for_and_no_promise() {
        let mut disk = disk(1);
        let answers = carry_out(&mut disk, &requests(&[record(1), record(2), promise(1)]));
        assert_eq!(told(&answers), [(1, false), (2, false), (3, true)]);
        assert!(answers[0].error.is_some());
    }

    #[test]
    fn the_thread_answers_and_ends_with_its_queue() {
        let (answers, mut answered) = mpsc::channel(4);
        let queue = spawn(Scripted::default(), answers).unwrap();
        for request in requests(&[record(1), promise(1)]) {
            queue.send(request).unwrap();
        }
        let mut numbers = [0, 0].map(|_: u64| answered.blocking_recv().unwrap().persisted.number);
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
        drop(queue);
        assert!(answered.blocking_recv().is_none());
    }
}
