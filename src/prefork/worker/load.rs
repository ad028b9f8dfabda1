//! How much a worker has in hand, and whether it should take more.
//!
//! Three rules hold the acceptor back. The **cap**: with `most_open` connections it waits until one is closed. The
//! **gate**: while every thread is busy it waits for one, but no longer than [`GATE`], so that a worker with a free
//! thread gets the connection, and yet every client is accepted even when all threads of all workers are busy for long
//! (puma's idea). The **turn**: with more connections than another worker that has a free thread it waits for that one,
//! but no longer than [`TURN`]; otherwise the worker that wakes first takes a whole burst of connections that are then kept. A worker that
//! does not use its turn (it is stopped, or hangs) is not waited for again for a while ([`UNUSED_TURN`]).
//!
//! # Ordering
//!
//! The waiter sets `waiting` and then reads the counts; whoever lowers a count does so and then reads `waiting`. Both
//! are sequentially consistent, so at least one of them sees the other, and the lock around the notification keeps it
//! from coming between the waiter's look and its sleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::prefork::scoreboard::{Board, Field};
use crate::reactor::Waker;

/// The longest that a connection is left to other workers because all threads of this one are busy.
const GATE: Duration = Duration::from_millis(5);

/// The longest that a connection is left to another worker because that one has fewer.
const TURN: Duration = Duration::from_millis(1);

/// How long no turn is given after one that nobody used.
const UNUSED_TURN: Duration = Duration::from_millis(100);

/// How often it is looked whether the other has taken its turn: it cannot tell.
const LOOK: Duration = Duration::from_micros(100);

/// The counts.
#[derive(Debug)]
pub(in crate::prefork) struct Load {
    threads: usize,
    most_open: usize,
    /// Connections queued for a thread, or with one.
    pending: AtomicUsize,
    /// Connections accepted and not closed.
    open: AtomicUsize,
    /// The acceptor waits.
    waiting: AtomicBool,
    /// Nothing more will be accepted.
    closed: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
    waker: Waker,
    board: Arc<Board>,
    slot: usize,
}

/// One open connection, counted until this is dropped.
#[derive(Debug)]
pub(in crate::prefork) struct Admission(Arc<Load>);

impl Load {
    pub(super) fn new(threads: usize, most_open: usize, waker: Waker, board: Arc<Board>, slot: usize) -> Self {
        Self {
            threads,
            most_open,
            pending: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            waiting: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lock: Mutex::new(()),
            changed: Condvar::new(),
            waker,
            board,
            slot,
        }
    }

    /// Counts a connection that was accepted.
    pub(in crate::prefork) fn admit(self: &Arc<Self>) -> Admission {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.board.add(self.slot, Field::Accepted, 1);
        self.board.add(self.slot, Field::Open, 1);
        Admission(Arc::clone(self))
    }

    /// A connection is handed to the threads.
    pub(super) fn begin(&self) {
        self.pending.fetch_add(1, Ordering::SeqCst);
    }

    /// A thread is done with a connection for now.
    pub(super) fn end(&self) {
        self.pending.fetch_sub(1, Ordering::SeqCst);
        self.tell();
    }

    /// Connections queued for a thread, or with one.
    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// Connections accepted and not closed.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Ends the acceptor's waits, now and later.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.tell();
    }

    /// Waits until the next connection should be accepted. See the gate and the cap above.
    pub(super) fn wait_for_room(&self) {
        let full = || self.open() >= self.most_open;
        let busy = || self.pending() >= self.threads;
        if full() || busy() {
            self.wait_while(|waited| full() || (busy() && waited < GATE), GATE);
        }
    }

    /// Waits for another worker to take the next connection, if that one has fewer. `none_before`: when turns are given
    /// again, the acceptor's to keep.
    pub(super) fn give_turn(&self, none_before: &mut Option<Instant>) {
        let open = self.open() as u64;
        // A little more is no reason to wait.
        let behind = || self.board.others(self.slot).filter(|(least, _)| open > least + least / 8 + 2);
        let Some((_, accepted)) = behind() else { return };
        if none_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.wait_while(|waited| waited < TURN && behind().is_some(), LOOK);
        let unused = behind().is_some_and(|(_, now)| now == accepted);
        *none_before = unused.then(|| Instant::now() + UNUSED_TURN);
    }

    /// Waits `pause`, or until [`Load::close`].
    pub(super) fn pause(&self, pause: Duration) {
        self.wait_while(|waited| waited < pause, pause);
    }

    fn wait_while(&self, hold: impl Fn(Duration) -> bool, slice: Duration) {
        let since = Instant::now();
        self.waiting.store(true, Ordering::SeqCst);
        let mut guard = self.lock.lock();
        while !self.closed.load(Ordering::SeqCst) && hold(since.elapsed()) {
            // What this worker waits for of its own is told; the slice is for time, and for what others do.
            self.changed.wait_for(&mut guard, slice);
        }
        drop(guard);
        self.waiting.store(false, Ordering::SeqCst);
    }

    fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) {
            drop(self.lock.lock());
            self.changed.notify_all();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let load = &self.0;
        load.board.word(load.slot, Field::Open).fetch_sub(1, Ordering::Relaxed);
        // A worker that drains ends with its last connection, so its loop must see that.
        if load.open.fetch_sub(1, Ordering::SeqCst) == 1 && load.closed.load(Ordering::SeqCst) {
            load.waker.wake();
        }
        load.tell();
    }
}

#[cfg(test)]
pub(in crate::prefork) mod tests {
    use super::*;
    use crate::prefork::scoreboard::WorkerState;
    use crate::reactor::Poller;

    pub(in crate::prefork) fn load(threads: usize, most_open: usize) -> Arc<Load> {
        let waker = Poller::new().unwrap().waker();
        Arc::new(Load::new(threads, most_open, waker, Arc::new(Board::new(1).unwrap()), 0))
    }

    #[test]
    fn with_a_free_thread_nobody_waits_and_with_none_the_gate_opens_in_the_end() {
        let load = load(1, 10);
        load.wait_for_room();
        load.begin();
        // All threads stay busy, and yet this returns.
        let since = Instant::now();
        load.wait_for_room();
        assert!(since.elapsed() >= GATE);
    }

    #[test]
    fn at_the_cap_the_acceptor_waits_for_a_connection_to_close() {
        let load = load(1, 1);
        let only = load.admit();
        let acceptor = {
            let load = Arc::clone(&load);
            std::thread::spawn(move || {
                load.wait_for_room();
                load.open()
            })
        };
        while !load.waiting.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        drop(only);
        assert_eq!(acceptor.join().unwrap(), 0);
    }

    #[test]
    fn a_worker_that_is_ahead_gives_a_turn_but_not_to_one_that_does_not_use_it() {
        let waker = Poller::new().unwrap().waker();
        let board = Arc::new(Board::new(2).unwrap());
        for slot in 0..2 {
            board.prepare(slot, slot, 1);
            board.set_state(slot, WorkerState::Serving);
            board.set(slot, Field::Threads, 1);
        }
        let load = Arc::new(Load::new(1, 10, waker, Arc::clone(&board), 0));
        let mut none_before = None;
        let _some = (load.admit(), load.admit());
        load.give_turn(&mut none_before);
        assert_eq!(none_before, None, "a little more is no reason to wait");
        let _more = load.admit();
        let since = Instant::now();
        load.give_turn(&mut none_before);
        assert!(since.elapsed() >= TURN);
        assert!(none_before.is_some_and(|at| at >= since + TURN + UNUSED_TURN), "nobody used it");
        none_before = None;
        board.add(1, Field::Open, 1);
        board.add(1, Field::Accepted, 1);
        load.give_turn(&mut none_before);
        assert_eq!(none_before, None, "they are even");
    }

    #[test]
    fn closing_ends_every_wait() {
        let load = load(1, 0);
        let acceptor = {
            let load = Arc::clone(&load);
            std::thread::spawn(move || {
                load.wait_for_room();
                load.pause(Duration::MAX);
            })
        };
        load.close();
        acceptor.join().unwrap();
    }

    #[test]
    fn open_connections_are_counted_on_the_board_whatever_ends_them() {
        let load = load(1, 10);
        let (one, two) = (load.admit(), load.admit());
        assert_eq!((load.open(), load.board.word(0, Field::Open).load(Ordering::Relaxed)), (2, 2));
        drop(one);
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _two = two;
            panic!("expected");
        }));
        assert!(unwound.is_err());
        assert_eq!((load.open(), load.board.word(0, Field::Open).load(Ordering::Relaxed)), (0, 0));
        assert_eq!(load.board.word(0, Field::Accepted).load(Ordering::Relaxed), 2);
    }
}
