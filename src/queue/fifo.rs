//! `Queue`: first in, first out, as Python's `queue.Queue`.
//!
//! # Algorithm
//!
//! That of CPython, with the waiters spelled out: one mutex around the items, the count of unfinished tasks, the
//! shut-down flag, and three lines of waiters (for an item, for room, for the last task). An operation takes the mutex,
//! does its work or finds that it cannot, [settles](State::settle), leaves the mutex, and only then wakes whom settling
//! called and drops what it took out. So no user code ever runs under the mutex: neither `Drop` nor a parker.
//!
//! Invariants, whenever the mutex is free:
//!
//! 1. As many getters are coming as there are items, or no getter is in line; the same for putters and free room, and
//!    for joiners when nothing is unfinished. After a shut-down nobody is in line for items or room.
//! 2. `len` is the number of items. It is written under the mutex only, and read without it.
//! 3. Each item was put by exactly one `put` that succeeded, and is in the queue, or was got by one `get`, or was dropped
//!    by one shut-down (or with the queue).
//!
//! Settling is what restores 1 after any change, so no operation needs an argument of its own why nobody sleeps on.
//! A waiter takes what it came for itself, under the mutex; a newcomer may be quicker (barging), and then the waiter
//! goes back to its old place in line. A waiter whose time is over looks once more before it leaves, so a wake-up that
//! reaches it late is not lost: there is something, and it takes it, or there is nothing to come for.

use super::error::{GetError, PutError, TooManyTaskDone};
use super::iter::{Iter, TryIter};
use super::line::Line;
use crate::primitive::{AtomicUsize, Calls, Mutex, MutexGuard, Place, Spin, current, has_passed};
use crate::sys::clock::Deadline;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many times a putter or getter yields before it lines up.
const YIELDS: u32 = 16;

/// A queue of items that any number of threads put and get: Python's `queue.Queue`.
///
/// Items come out in the order in which they were put. [`bounded`](Self::bounded) queues make putters wait while they
/// are full. Whoever got an item may report it done by [`task_done`](Self::task_done), and [`join`](Self::join) waits
/// until all are; who never joins need not report. [`shutdown`](Self::shutdown) ends the putting, and the getting when
/// nothing is left.
///
/// Which of several waiting threads goes first is not promised; usually it is the one that waits longest.
///
/// ```
/// use crewkit::queue::{Queue, Shutdown};
///
/// let jobs = Queue::bounded(16);
/// let done = Queue::unbounded();
/// std::thread::scope(|scope| {
///     for _ in 0..3 {
///         scope.spawn(|| {
///             for job in &jobs {
///                 done.put(job * job).unwrap();
///                 jobs.task_done().unwrap();
///             }
///         });
///     }
///     for job in 1..=10 {
///         jobs.put(job).unwrap();
///     }
///     jobs.shutdown(Shutdown::Drain);
///     jobs.join();
/// });
/// assert_eq!(done.try_iter().sum::<i32>(), 385);
/// ```
pub struct Queue<T> {
    state: Mutex<State<T>>,
    len: AtomicUsize,
    /// `usize::MAX` is unbounded.
    capacity: usize,
}

/// What happens to the items that are in a queue when it is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They can still be got: Python's `shutdown()`.
    Drain,
    /// They are dropped and count as done: Python's `shutdown(immediate=True)`.
    Immediate,
}

struct State<T> {
    items: VecDeque<T>,
    unfinished: usize,
    is_shut_down: bool,
    getters: Line,
    putters: Line,
    joiners: Line,
}

impl<T> State<T> {
    /// Calls whoever can go now (invariant 1).
    #[inline]
    fn settle(&mut self, capacity: usize) -> Calls {
        let mut calls = Calls::default();
        let all_of = |things| if self.is_shut_down { usize::MAX } else { things };
        self.getters.call(all_of(self.items.len()), &mut calls);
        self.putters.call(all_of(capacity - self.items.len()), &mut calls);
        if self.unfinished == 0 {
            self.joiners.call(usize::MAX, &mut calls);
        }
        calls
    }

    fn getters(&mut self) -> &mut Line {
        &mut self.getters
    }

    fn putters(&mut self) -> &mut Line {
        &mut self.putters
    }

    fn joiners(&mut self) -> &mut Line {
        &mut self.joiners
    }
}

impl<T> Queue<T> {
    /// A queue that holds at most `maxsize` items; no limit if that is zero, as in Python.
    pub fn bounded(maxsize: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            unfinished: 0,
            is_shut_down: false,
            getters: Line::new(),
            putters: Line::new(),
            joiners: Line::new(),
        };
        let capacity = if maxsize == 0 { usize::MAX } else { maxsize };
        Self { state: Mutex::new(state), len: AtomicUsize::new(0), capacity }
    }

    /// A queue without a limit: its `put` never waits.
    pub fn unbounded() -> Self {
        Self::bounded(0)
    }

    /// Puts `value` in when there is room: Python's `put(item)`.
    ///
    /// # Errors
    ///
    /// [`PutError::ShutDown`] if the queue is shut down, before or while this waits.
    ///
    /// # Blocking
    ///
    /// While the queue is full.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_until(value, Deadline::NEVER)
    }

    /// Puts `value` in if there is room: Python's `put_nowait(item)`.
    ///
    /// # Errors
    ///
    /// [`PutError::ShutDown`] if the queue is shut down, else [`PutError::Full`] if it is full.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        let mut value = Some(value);
        let outcome = self.attempt(|state| self.push(state, &mut value));
        Self::put_outcome(outcome, value)
    }

    /// Puts `value` in if there is room within `timeout`: Python's `put(item, timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`PutError::ShutDown`] if the queue is shut down, before or while this waits; [`PutError::Full`] if the time is
    /// over.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        if timeout.is_zero() { self.try_put(value) } else { self.put_until(value, Deadline::after(timeout)) }
    }

    /// Takes the next item out when there is one: Python's `get()`.
    ///
    /// # Errors
    ///
    /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits.
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(Deadline::NEVER)
    }

    /// Takes the next item out if there is one: Python's `get_nowait()`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the queue is empty, [`GetError::ShutDown`] if it is also shut down.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.attempt(|state| self.pop(state)).unwrap_or(Err(GetError::Empty))
    }

    /// Takes the next item out if there is one within `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits; [`GetError::Empty`] if
    /// the time is over.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        if timeout.is_zero() { self.try_get() } else { self.get_until(Deadline::after(timeout)) }
    }

    /// Reports one item done that was got before: Python's `task_done()`. The last one ends every [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// [`TooManyTaskDone`] if as many were reported done as were put.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn task_done(&self) -> Result<(), TooManyTaskDone> {
        let done = self.attempt(|state| {
            state.unfinished = state.unfinished.checked_sub(1)?;
            Some(())
        });
        done.ok_or(TooManyTaskDone)
    }

    /// Waits until every item that was put has been reported done, or was dropped by a shut-down: Python's `join()`.
    ///
    /// It is enough that nothing is unfinished at one moment while this waits; items put later are the next join's.
    ///
    /// # Blocking
    ///
    /// While something is unfinished; for ever, if somebody does not report.
    pub fn join(&self) {
        self.join_until(Deadline::NEVER);
    }

    /// [`join`](Self::join) for at most `timeout`; whether everything was done.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.join_until(Deadline::after(timeout))
    }

    /// Ends the putting, and the getting as soon as nothing is left: Python's `shutdown()`.
    ///
    /// Everybody who waits to put gets [`PutError::ShutDown`], everybody who waits to get [`GetError::ShutDown`]. With
    /// [`Shutdown::Drain`] the items left can still be got, and reported done. With [`Shutdown::Immediate`] they are
    /// dropped, here, and count as done; a [`join`](Self::join) goes on waiting for those that were got and are not done.
    ///
    /// May be called again, also with the other mode: a drain can be cut short, and what is dropped stays dropped.
    ///
    /// # Panics
    ///
    /// If an item's `Drop` panics; the queue is shut down all the same, and the other items are dropped.
    ///
    /// # Blocking
    ///
    /// Never, but for what the items' `Drop` does.
    pub fn shutdown(&self, mode: Shutdown) {
        let mut state = self.state.lock();
        state.is_shut_down = true;
        let dropped = match mode {
            Shutdown::Drain => VecDeque::new(),
            Shutdown::Immediate => std::mem::take(&mut state.items),
        };
        // More can have been reported done than were got.
        state.unfinished = state.unfinished.saturating_sub(dropped.len());
        self.settle(state);
        drop(dropped);
    }

    /// Whether the queue was shut down: Python's `is_shutdown`.
    pub fn is_shut_down(&self) -> bool {
        self.state.lock().is_shut_down
    }

    /// How many items are in the queue now: Python's `qsize()`.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether no item is in the queue now: Python's `empty()`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further item has room now: Python's `full()`. An unbounded queue never is.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// How many items have room; `None` for an unbounded queue. Python's `maxsize`.
    pub fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    /// Gets items until the queue is shut down and empty.
    ///
    /// # Blocking
    ///
    /// Each step, as [`get`](Self::get).
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// Gets items until none is there.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    fn put_until(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        let mut value = Some(value);
        let has_room = || !self.is_full();
        let outcome = self.wait(State::putters, deadline, has_room, |state, _| self.push(state, &mut value));
        Self::put_outcome(outcome, value)
    }

    /// A value that is no longer with the putter is in the queue.
    fn put_outcome(outcome: Option<()>, value: Option<T>) -> Result<(), PutError<T>> {
        match (value, outcome) {
            (None, _) => Ok(()),
            (Some(value), Some(())) => Err(PutError::ShutDown(value)),
            (Some(value), None) => Err(PutError::Full(value)),
        }
    }

    fn get_until(&self, deadline: Deadline) -> Result<T, GetError> {
        let has_items = || !self.is_empty();
        let outcome = self.wait(State::getters, deadline, has_items, |state, _| self.pop(state));
        outcome.unwrap_or(Err(GetError::Empty))
    }

    fn join_until(&self, deadline: Deadline) -> bool {
        // A joiner that was called saw the count at zero, whatever was put since.
        let is_done = |state: &mut State<T>, was_called| (was_called || state.unfinished == 0).then_some(());
        self.wait(State::joiners, deadline, || false, is_done).is_some()
    }

    /// Puts the value in if there is room; leaves it where it is if the queue is shut down; `None` if it is full.
    #[inline]
    fn push(&self, state: &mut State<T>, value: &mut Option<T>) -> Option<()> {
        if !state.is_shut_down {
            if state.items.len() >= self.capacity {
                return None;
            }
            if let Some(value) = value.take() {
                state.items.push_back(value);
                state.unfinished += 1;
            }
        }
        Some(())
    }

    /// Takes an item out; `None` if there is none yet.
    #[inline]
    fn pop(&self, state: &mut State<T>) -> Option<Result<T, GetError>> {
        match state.items.pop_front() {
            Some(item) => Some(Ok(item)),
            None if state.is_shut_down => Some(Err(GetError::ShutDown)),
            None => None,
        }
    }

    /// Does `attempt` once, which answers `None` if it cannot be done and changed nothing.
    #[inline]
    fn attempt<R>(&self, attempt: impl FnOnce(&mut State<T>) -> Option<R>) -> Option<R> {
        let mut state = self.state.lock();
        let outcome = attempt(&mut state);
        self.settle(state);
        outcome
    }

    /// Calls whoever can go now, leaves the mutex, and wakes them.
    #[inline]
    fn settle(&self, mut state: MutexGuard<'_, State<T>>) {
        self.len.store(state.items.len(), Ordering::Relaxed);
        let calls = state.settle(self.capacity);
        drop(state);
        calls.ring();
    }

    /// Does `attempt` as soon as it can be done, which `is_hopeful` guesses without the mutex; `None` if that is not
    /// before `deadline`. The attempt is told whether its waiter was called.
    #[inline]
    fn wait<R>(
        &self,
        line: fn(&mut State<T>) -> &mut Line,
        deadline: Deadline,
        is_hopeful: impl Fn() -> bool,
        mut attempt: impl FnMut(&mut State<T>, bool) -> Option<R>,
    ) -> Option<R> {
        if let Some(outcome) = self.attempt(|state| attempt(state, false)) {
            return Some(outcome);
        }
        let mut spin = Spin::then_yield(YIELDS);
        while spin.again() {
            if is_hopeful()
                && let Some(outcome) = self.attempt(|state| attempt(state, false))
            {
                return Some(outcome);
            }
        }
        self.wait_in_line(line, deadline, attempt)
    }

    #[cold]
    fn wait_in_line<R>(
        &self,
        line: fn(&mut State<T>) -> &mut Line,
        deadline: Deadline,
        mut attempt: impl FnMut(&mut State<T>, bool) -> Option<R>,
    ) -> Option<R> {
        let parker = current();
        // Declared before the guard, so that in an unwinding the mutex is left first.
        let mut waiting = Waiting { queue: self, line, place: None };
        let mut state = self.state.lock();
        if let Some(outcome) = attempt(&mut state, false) {
            self.settle(state);
            return Some(outcome);
        }
        let place = waiting.place.insert(line(&mut state).enlist(Arc::clone(&parker)));
        loop {
            drop(state);
            parker.park(deadline);
            state = self.state.lock();
            let was_called = line(&mut state).is_called(place);
            let is_over = has_passed(deadline);
            if !was_called && !is_over {
                continue;
            }
            let outcome = attempt(&mut state, was_called);
            if outcome.is_none() && !is_over {
                line(&mut state).go_back(place, Arc::clone(&parker));
                continue;
            }
            waiting.leave(state);
            return outcome;
        }
    }
}

/// A waiter's place in line, given up if parking unwinds.
struct Waiting<'a, T> {
    queue: &'a Queue<T>,
    line: fn(&mut State<T>) -> &mut Line,
    place: Option<Place>,
}

impl<T> Waiting<'_, T> {
    fn leave(&mut self, mut state: MutexGuard<'_, State<T>>) {
        if let Some(place) = self.place.take() {
            (self.line)(&mut state).leave(place);
        }
        self.queue.settle(state);
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.leave(self.queue.state.lock());
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Queue");
        text.field("len", &self.len()).field("capacity", &self.capacity());
        text.field("is_shut_down", &self.is_shut_down()).finish_non_exhaustive()
    }
}
