//! `Queue`: first in, first out, as Python's `queue.Queue`. The algorithm is in `core`.

use super::core::Core;
use super::error::{GetError, PutError, TooManyTaskDone};
use super::iter::{Iter, TryIter};
use crate::sys::clock::Deadline;
use std::fmt;
use std::time::Duration;

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
    core: Core<T>,
}

/// What happens to the items that are in a queue when it is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They can still be got: Python's `shutdown()`.
    Drain,
    /// They are dropped and count as done: Python's `shutdown(immediate=True)`.
    Immediate,
}

impl<T> Queue<T> {
    /// A queue that holds at most `maxsize` items; no limit if that is zero, as in Python.
    pub fn bounded(maxsize: usize) -> Self {
        let capacity = if maxsize == 0 { usize::MAX } else { maxsize };
        Self { core: Core::new(capacity) }
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
        self.core.put(value, Deadline::NEVER)
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
        self.core.try_put(value)
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
        if timeout.is_zero() { self.try_put(value) } else { self.core.put(value, Deadline::after(timeout)) }
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
        self.core.get(Deadline::NEVER)
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
        self.core.try_get()
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
        if timeout.is_zero() { self.try_get() } else { self.core.get(Deadline::after(timeout)) }
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
        self.core.task_done().ok_or(TooManyTaskDone)
    }

    /// Waits until every item that was put has been reported done, or was dropped by a shut-down: Python's `join()`.
    ///
    /// It is enough that nothing is unfinished at one moment while this waits; items put later are the next join's.
    ///
    /// # Blocking
    ///
    /// While something is unfinished; for ever, if somebody does not report.
    pub fn join(&self) {
        self.core.join(Deadline::NEVER);
    }

    /// [`join`](Self::join) for at most `timeout`; whether everything was done.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.core.join(Deadline::after(timeout))
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
        drop(self.core.shut_down(mode == Shutdown::Immediate));
    }

    /// Whether the queue was shut down: Python's `is_shutdown`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_shut_down(&self) -> bool {
        self.core.is_shut_down()
    }

    /// How many items are in the queue now: Python's `qsize()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn len(&self) -> usize {
        self.core.len()
    }

    /// Whether no item is in the queue now: Python's `empty()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further item has room now: Python's `full()`. An unbounded queue never is.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_full(&self) -> bool {
        self.len() >= self.core.capacity()
    }

    /// How many items have room; `None` for an unbounded queue. Python's `maxsize`.
    pub fn capacity(&self) -> Option<usize> {
        let capacity = self.core.capacity();
        (capacity != usize::MAX).then_some(capacity)
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
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Queue");
        text.field("len", &self.len()).field("capacity", &self.capacity());
        text.field("is_shut_down", &self.is_shut_down()).finish_non_exhaustive()
    }
}
