//! The scoreboard: what every worker does, in memory that all of them share and that nobody locks.
//!
//! ```text
//! word 0        64         128        192
//!      | header | slot 0   | slot 1   | …        64 words = 512 bytes each, so that no two slots share a cache line
//! ```
//!
//! # Who writes what
//!
//! The header is the master's. A slot is written by one process at a time: by the master before the fork and after
//! the death, by the worker while it lives. All of it is relaxed atomics, so a process killed in the middle of an
//! update leaves a count that is short by one, never a board that cannot be read.
//!
//! # Counters never fall back
//!
//! When a worker has died, the master adds its counts to the header and clears the slot. Between the two a reader would
//! see them twice, or not at all. So the header's version is odd meanwhile (a seqlock with one writer), and readers
//! try again, a bounded number of times: a master that is killed in there leaves the version odd for ever.
//!
//! # Ordering
//!
//! The counts are independent of each other and relaxed. The version is published with release and read with acquire,
//! with the fences of a seqlock between it and the words that it guards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::shm::Segment;

/// Words of the header, and of each slot.
const STRIDE: usize = 64;

/// How often a reader tries for a moment at which no worker is being counted out.
const TRIES: usize = 100;

/// Words of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Pid,
    Seat,
    Generation,
    State,
    /// Milliseconds after the board was made.
    Started,
    Requests,
    Accepted,
    Panics,
    Open,
    Busy,
    Threads,
    /// Milliseconds after the board was made, plus one; 0: never.
    LastRequest,
}

/// Words of the header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    Version,
    Generation,
    Workers,
    Deaths,
    Reloads,
    MasterPid,
    Requests,
    Accepted,
    Panics,
}

/// What outlives a worker: its counter, and where the master adds it up.
const TOTALS: [(Field, Head); 3] =
    [(Field::Requests, Head::Requests), (Field::Accepted, Head::Accepted), (Field::Panics, Head::Panics)];

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkerState {
    /// It has been forked and is not ready.
    Booting,
    /// It is ready and waits for the rest of its generation.
    Ready,
    /// It accepts connections.
    Serving,
    /// It accepts no connection any more and finishes those it has.
    Draining,
}

impl WorkerState {
    fn word(self) -> u64 {
        match self {
            Self::Booting => 1,
            Self::Ready => 2,
            Self::Serving => 3,
            Self::Draining => 4,
        }
    }

    /// `None` for an empty slot.
    fn from_word(word: u64) -> Option<Self> {
        [Self::Booting, Self::Ready, Self::Serving, Self::Draining].into_iter().find(|state| state.word() == word)
    }
}

/// The board itself, as the master and the workers write it.
#[derive(Debug)]
pub(super) struct Board {
    segment: Segment,
    slots: usize,
    /// The monotonic clock is one for all processes, so an instant from before the fork is good in the workers.
    made: Instant,
}

impl Board {
    pub(super) fn new(slots: usize) -> io::Result<Self> {
        let segment = Segment::create((slots + 1) * STRIDE * size_of::<AtomicU64>())?;
        Ok(Self { segment, slots, made: Instant::now() })
    }

    /// A word of the header.
    pub(super) fn head(&self, word: Head) -> &AtomicU64 {
        &self.segment.words()[word as usize]
    }

    /// A word of a slot.
    pub(super) fn word(&self, slot: usize, field: Field) -> &AtomicU64 {
        &self.segment.words()[(slot + 1) * STRIDE + field as usize]
    }

    pub(super) fn set(&self, slot: usize, field: Field, value: u64) {
        self.word(slot, field).store(value, Ordering::Relaxed);
    }

    pub(super) fn add(&self, slot: usize, field: Field, count: u64) {
        self.word(slot, field).fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set_state(&self, slot: usize, state: WorkerState) {
        self.set(slot, Field::State, state.word());
    }

    /// Counts a request that was answered now.
    pub(super) fn answered(&self, slot: usize) {
        self.add(slot, Field::Requests, 1);
        self.set(slot, Field::LastRequest, self.now() + 1);
    }

    /// Readies a slot for a worker about to be forked. The master's.
    pub(super) fn prepare(&self, slot: usize, seat: usize, generation: u64) {
        self.clear(slot);
        self.set(slot, Field::Seat, seat as u64);
        self.set(slot, Field::Generation, generation);
        self.set(slot, Field::Started, self.now());
        self.set_state(slot, WorkerState::Booting);
    }

    /// Empties the slot of a worker that has died, and keeps its counts. The master's.
    pub(super) fn retire(&self, slot: usize) {
        let version = self.head(Head::Version).load(Ordering::Relaxed);
        self.head(Head::Version).store(version | 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (count, total) in TOTALS {
            let count = self.word(slot, count).load(Ordering::Relaxed);
            self.head(total).fetch_add(count, Ordering::Relaxed);
        }
        self.clear(slot);
        self.head(Head::Version).store((version | 1) + 1, Ordering::Release);
    }

    fn clear(&self, slot: usize) {
        for word in &self.segment.words()[(slot + 1) * STRIDE..][..STRIDE] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Of the other workers that serve and have a free thread: the fewest connections that one has open, and how many
    /// all of them have accepted. `None` if there are none.
    pub(super) fn others(&self, slot: usize) -> Option<(u64, u64)> {
        let word = |slot, field| self.word(slot, field).load(Ordering::Relaxed);
        let serving = |&other: &usize| other != slot && word(other, Field::State) == WorkerState::Serving.word();
        let free = |&other: &usize| word(other, Field::Busy) < word(other, Field::Threads);
        let others = (0..self.slots).filter(serving).filter(free);
        others
            .map(|other| (word(other, Field::Open), word(other, Field::Accepted)))
            .reduce(|all, one| (all.0.min(one.0), all.1.wrapping_add(one.1)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn snapshot(&self) -> Snapshot {
        for _ in 0..TRIES {
            let before = self.head(Head::Version).load(Ordering::Acquire);
            let snapshot = self.read();
            fence(Ordering::Acquire);
            let after = self.head(Head::Version).load(Ordering::Relaxed);
            if before == after && before.is_multiple_of(2) {
                return snapshot;
            }
            std::thread::yield_now();
        }
        self.read()
    }

    fn read(&self) -> Snapshot {
        let now = self.now();
        let head = |word| self.head(word).load(Ordering::Relaxed);
        let workers: Vec<_> = (0..self.slots).filter_map(|slot| self.worker(slot, now)).collect();
        let sum = |count: fn(&WorkerStatus) -> u64| workers.iter().map(count).fold(0, u64::wrapping_add);
        Snapshot {
            master: u32::try_from(head(Head::MasterPid)).unwrap_or(0),
            uptime: Duration::from_millis(now),
            generation: head(Head::Generation),
            wanted: usize::try_from(head(Head::Workers)).unwrap_or(0),
            totals: Totals {
                requests: head(Head::Requests).wrapping_add(sum(|worker| worker.requests)),
                accepted: head(Head::Accepted).wrapping_add(sum(|worker| worker.accepted)),
                panics: head(Head::Panics).wrapping_add(sum(|worker| worker.panics)),
                deaths: head(Head::Deaths),
                reloads: head(Head::Reloads),
            },
            workers,
        }
    }

    fn worker(&self, slot: usize, now: u64) -> Option<WorkerStatus> {
        let word = |field| self.word(slot, field).load(Ordering::Relaxed);
        let since = |at: u64| Duration::from_millis(now.saturating_sub(at));
        Some(WorkerStatus {
            state: WorkerState::from_word(word(Field::State))?,
            slot,
            seat: usize::try_from(word(Field::Seat)).unwrap_or(0),
            pid: u32::try_from(word(Field::Pid)).unwrap_or(0),
            generation: word(Field::Generation),
            uptime: since(word(Field::Started)),
            requests: word(Field::Requests),
            accepted: word(Field::Accepted),
            panics: word(Field::Panics),
            open: word(Field::Open),
            busy: word(Field::Busy),
            threads: word(Field::Threads),
            last_request: word(Field::LastRequest).checked_sub(1).map(since),
        })
    }
}

/// A view of what all workers do (Apache's scoreboard). Cheap to clone; reading it blocks nobody.
///
/// The memory stays readable whoever dies, also in the middle of an update.
#[derive(Clone, Debug)]
pub struct Scoreboard(pub(super) Arc<Board>);

impl Scoreboard {
    /// What the workers do now, as plain data.
    ///
    /// The totals include the workers that have died, so they never fall back. Counts of living workers are read one
    /// after the other, without stopping anybody.
    ///
    /// # Blocking
    ///
    /// Never.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

/// What the server does at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The master's pid.
    pub master: u32,
    /// How long the master has run.
    pub uptime: Duration,
    /// The generation that serves; each reload makes a new one.
    pub generation: u64,
    /// How many workers there should be.
    pub wanted: usize,
    /// Counts over all workers that there are and were.
    pub totals: Totals,
    /// The workers there are, in the order of their slots.
    pub workers: Vec<WorkerStatus>,
}

/// Counts since the master started. They never fall back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Panics of the service.
    pub panics: u64,
    /// Workers that ended without having been asked to.
    pub deaths: u64,
    /// Reloads that brought a new generation into service.
    pub reloads: u64,
}

/// What one worker does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Its place on the scoreboard.
    pub slot: usize,
    /// Its place in the crew: a worker and its replacement have the same seat.
    pub seat: usize,
    /// Its pid; 0 in the first moment of its life.
    pub pid: u32,
    /// Its generation.
    pub generation: u64,
    /// What it is doing.
    pub state: WorkerState,
    /// How long ago it was started.
    pub uptime: Duration,
    /// Requests answered.
    pub requests: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Panics of the service.
    pub panics: u64,
    /// Connections open now, idle ones included.
    pub open: u64,
    /// Threads that are serving a request now.
    pub busy: u64,
    /// Threads there are.
    pub threads: u64,
    /// How long ago the last request was answered; `None` before the first.
    pub last_request: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn an_empty_board_has_no_workers() {
        let board = Board::new(3).unwrap();
        let snapshot = board.snapshot();
        assert_eq!(snapshot.workers, []);
        assert_eq!(snapshot.totals, Totals::default());
    }

    #[test]
    fn a_worker_shows_in_its_slot() {
        let board = Board::new(3).unwrap();
        board.prepare(1, 0, 4);
        board.set(1, Field::Pid, 77);
        board.add(1, Field::Requests, 2);
        let snapshot = board.snapshot();
        let [worker] = &snapshot.workers[..] else { panic!("{snapshot:?}") };
        assert_eq!((worker.slot, worker.pid, worker.generation, worker.requests), (1, 77, 4, 2));
        assert_eq!((worker.state, worker.last_request), (WorkerState::Booting, None));
        board.answered(1);
        board.set_state(1, WorkerState::Draining);
        let worker = board.snapshot().workers.remove(0);
        assert_eq!(worker.state, WorkerState::Draining);
        assert!(worker.last_request.is_some());
        assert_eq!(worker.requests, 3);
    }

    #[test]
    fn the_least_loaded_of_the_others_is_found_among_those_that_serve() {
        let board = Board::new(4).unwrap();
        assert_eq!(board.others(0), None);
        for (slot, open) in [(0, 0), (1, 5), (2, 3), (3, 1)] {
            board.prepare(slot, slot, 1);
            board.set_state(slot, WorkerState::Serving);
            board.add(slot, Field::Open, open);
            board.add(slot, Field::Accepted, 10);
            board.set(slot, Field::Threads, 2);
        }
        board.set_state(3, WorkerState::Draining);
        assert_eq!(board.others(0), Some((3, 20)));
        assert_eq!(board.others(2), Some((0, 20)));
        board.add(2, Field::Busy, 2);
        assert_eq!(board.others(0), Some((5, 10)));
    }

    #[test]
    fn the_counts_of_the_dead_stay_in_the_totals() {
        let board = Board::new(2).unwrap();
        for round in 1..=3 {
            board.prepare(0, 0, round);
            board.add(0, Field::Requests, 5);
            board.add(0, Field::Panics, 1);
            board.add(0, Field::Open, 9);
            board.retire(0);
            let snapshot = board.snapshot();
            assert_eq!((snapshot.totals.requests, snapshot.totals.panics), (5 * round, round));
            assert_eq!(snapshot.workers, []);
        }
    }

    #[test]
    fn totals_never_fall_back_while_workers_come_and_go() {
        let board = Arc::new(Board::new(1).unwrap());
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let (board, done) = (Scoreboard(Arc::clone(&board)), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let now = board.snapshot().totals.requests;
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                }
            })
        };
        for _ in 0..20_000 {
            board.prepare(0, 0, 1);
            board.add(0, Field::Requests, 3);
            board.retire(0);
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        assert_eq!(board.snapshot().totals.requests, 60_000);
    }

    #[test]
    fn a_master_killed_while_it_counts_leaves_the_board_readable() {
        let board = Board::new(1).unwrap();
        board.head(Head::Version).store(7, Ordering::Relaxed);
        assert_eq!(board.snapshot().workers, []);
    }
}
