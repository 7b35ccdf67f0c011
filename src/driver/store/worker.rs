//! The storage thread: carries out writes in their order, away from the loop.
//!
//! Decides which queued writes become one, and when a failed one is tried again.
//!
//! 1. Every request is answered once, in the order of the requests of its kind.
//! 2. A request is answered as done only after it, or a later one of its kind, is written.
//! 3. After a failed record the newest one is tried again every [`RETRY`]. When that succeeds, the
//!    last request answered as failed is answered once more, as done: the store works again.
//! 4. A disk that hangs blocks this thread and nothing else.

use core::time::Duration;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant as Monotonic;
use tokio::sync::mpsc;

use super::Store;
use crate::election::record::VoteRecord;
use crate::node::{Persisted, Write};

/// The most requests that wait for the disk; the loop answers more itself, as failed.
pub const QUEUE: usize = 1_024;

/// Time between two attempts to write a record that failed.
pub const RETRY: Duration = Duration::from_secs(1);

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
    /// How long a write to stable storage took, on the first answer that rests on it.
    pub took: Option<Duration>,
    /// Why it failed.
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
pub fn spawn(disk: impl Disk, answers: mpsc::Sender<Answer>) -> io::Result<SyncSender<Request>> {
    let (requests, queue) = sync_channel(QUEUE);
    let mut worker = Worker { disk, failed: None };
    thread::Builder::new().name("store".into()).spawn(move || worker.run(&queue, &answers))?;
    Ok(requests)
}

struct Worker<D> {
    disk: D,
    /// The newest record that is not written, and the number of its request.
    failed: Option<(u64, VoteRecord)>,
}

impl<D: Disk> Worker<D> {
    fn run(&mut self, queue: &Receiver<Request>, answers: &mpsc::Sender<Answer>) {
        loop {
            let batch = match self.failed {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => queue.recv_timeout(RETRY),
            };
            let done = match batch {
                Ok(first) => {
                    let waiting = queue.try_iter().take(QUEUE);
                    let batch: Vec<Request> = core::iter::once(first).chain(waiting).collect();
                    self.carry_out(&batch)
                }
                Err(RecvTimeoutError::Timeout) => self.retry(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for answer in done {
                if answers.blocking_send(answer).is_err() {
                    return;
                }
            }
        }
    }

    /// Writes the newest request of each kind, in the place of the first of its kind, and answers
    /// them all.
    fn carry_out(&mut self, batch: &[Request]) -> Vec<Answer> {
        let is_record = |request: &Request| matches!(request.write, Write::Record(_));
        let mut answers = Vec::with_capacity(batch.len());
        let mut kinds: Vec<bool> = batch.iter().map(is_record).collect();
        kinds.dedup();
        kinds.truncate(2);
        for kind in kinds {
            let of_kind = || batch.iter().filter(|request| is_record(request) == kind);
            let Some(newest) = of_kind().next_back() else { continue };
            let (took, error) = self.write(*newest);
            let done = error.is_none();
            let told = of_kind().map(|request| Answer {
                persisted: Persisted { number: request.number, done },
                took: None,
                error: None,
            });
            let first = answers.len();
            answers.extend(told);
            if let Some(answer) = answers.get_mut(first) {
                (answer.took, answer.error) = (took, error);
            }
        }
        answers
    }

    fn write(&mut self, request: Request) -> (Option<Duration>, Option<io::Error>) {
        let began = Monotonic::now();
        let error = self.disk.write(request.write).err();
        let Write::Record(record) = request.write else { return (None, error) };
        self.failed = error.is_some().then_some((request.number, record));
        (Some(began.elapsed()), error)
    }

    fn retry(&mut self) -> Vec<Answer> {
        let Some((number, record)) = self.failed else { return Vec::new() };
        let (took, error) = self.write(Request { number, write: Write::Record(record) });
        if error.is_some() {
            return Vec::new();
        }
        vec![Answer { persisted: Persisted { number, done: true }, took, error: None }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::record::Promise;
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

    fn worker(failures: u32) -> Worker<Scripted> {
        Worker { disk: Scripted { written: Vec::new(), failures }, failed: None }
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
        Write::Promise(Promise { to: "a".parse().unwrap(), nonce: 1, term, until })
    }

    fn requests(writes: &[Write]) -> Vec<Request> {
        (1..).zip(writes).map(|(number, &write)| Request { number, write }).collect()
    }

    fn told(answers: &[Answer]) -> Vec<(u64, bool)> {
        answers.iter().map(|answer| (answer.persisted.number, answer.persisted.done)).collect()
    }

    #[test]
    fn a_later_request_stands_for_earlier_ones_of_its_kind_and_all_are_answered() {
        let mut worker = worker(0);
        let batch = [promise(1), record(1), promise(2), record(2), promise(3)];
        let answers = worker.carry_out(&requests(&batch));
        assert_eq!(worker.disk.written, [promise(3), record(2)]);
        assert_eq!(told(&answers), [(1, true), (3, true), (5, true), (2, true), (4, true)]);
        // One fsync, reported once.
        assert_eq!(answers.iter().filter(|answer| answer.took.is_some()).count(), 1);
    }

    #[test]
    fn a_batch_of_one_kind_touches_the_other_file_not() {
        let mut worker = worker(0);
        worker.carry_out(&requests(&[record(1), record(2)]));
        worker.carry_out(&requests(&[promise(1)]));
        assert_eq!(worker.disk.written, [record(2), promise(1)]);
    }

    #[test]
    fn a_failed_record_fails_all_that_it_stood_for_and_no_promise() {
        let mut worker = worker(1);
        let answers = worker.carry_out(&requests(&[record(1), record(2), promise(1)]));
        assert_eq!(told(&answers), [(1, false), (2, false), (3, true)]);
        assert!(answers[0].error.is_some());
    }

    #[test]
    fn a_failed_record_is_tried_again_until_it_is_done() {
        let mut worker = worker(2);
        worker.carry_out(&requests(&[record(1), record(2)]));
        assert_eq!(told(&worker.retry()), []);
        assert_eq!(told(&worker.retry()), [(2, true)]);
        assert_eq!(told(&worker.retry()), []);
        assert_eq!(worker.disk.written, [record(2), record(2), record(2)]);
    }

    #[test]
    fn a_newer_record_replaces_the_one_to_be_tried_again() {
        let mut worker = worker(1);
        worker.carry_out(&requests(&[record(1)]));
        worker.carry_out(&requests(&[record(2)]));
        assert_eq!(told(&worker.retry()), []);
        assert_eq!(worker.disk.written, [record(1), record(2)]);
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
