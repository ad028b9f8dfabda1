//! `SimpleQueue`: first in, first out, without a limit and without counting tasks, as Python's `queue.SimpleQueue`.

use super::iter::Source;
use super::segmented::Segmented;
use super::select;
use super::{GetError, Iter, PutError, TryIter};
use crate::sys::clock::Deadline;
use std::fmt;
use std::time::Duration;

/// A queue without a limit that only puts and gets: Python's `queue.SimpleQueue`.
///
/// A put never waits, so it may come from where waiting is out of the question, such as an item's own `Drop`. There is
/// neither `task_done` nor `shutdown`: [`Queue`](super::Queue) has them.
///
/// ```
/// use crewkit::queue::SimpleQueue;
///
/// let answers = SimpleQueue::unbounded();
/// std::thread::scope(|scope| {
///     for n in 1..=3 {
///         let answers = &answers;
///         scope.spawn(move || answers.put(n * n).unwrap());
///     }
///     let sum: i32 = answers.iter().take(3).sum();
///     assert_eq!(sum, 14);
/// });
/// ```
pub struct SimpleQueue<T> {
    core: Segmented<T>,
}

impl<T> SimpleQueue<T> {
    /// An empty queue.
    pub fn unbounded() -> Self {
        Self { core: Segmented::new(usize::MAX) }
    }

    /// Puts `value` in: Python's `put(item)`.
    ///
    /// # Errors
    ///
    /// Never; the result is there so that one queue may stand in for another.
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.core.try_put(value)
    }

    /// The same as [`put`](Self::put): Python's `put_nowait(item)`.
    ///
    /// # Errors
    ///
    /// Never, as `put`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put(value)
    }

    /// The same as [`put`](Self::put), whatever the `timeout`: Python's `put(item, timeout=…)`.
    ///
    /// # Errors
    ///
    /// Never, as `put`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn put_timeout(&self, value: T, _timeout: Duration) -> Result<(), PutError<T>> {
        self.put(value)
    }

    /// Puts all of `values` in, in their order. Not in Python.
    ///
    /// The values are collected before the first is put, so an iterator that panics puts nothing. Other threads may put
    /// between two of them.
    ///
    /// # Errors
    ///
    /// Never, as [`put`](Self::put).
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.core.try_put_many(values.into_iter().collect())
    }

    /// Takes the next item out when there is one: Python's `get()`.
    ///
    /// # Errors
    ///
    /// Never, as [`put`](Self::put).
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.core.get(Deadline::NEVER)
    }

    /// Takes the next item out if there is one: Python's `get_nowait()`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the queue is empty.
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.core.try_get()
    }

    /// Takes the next item out if there is one within `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the time is over.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        if timeout.is_zero() { self.try_get() } else { self.core.get(Deadline::after(timeout)) }
    }

    /// Takes the next items out when there is one: all that are there, at most `max`. Not in Python.
    ///
    /// # Errors
    ///
    /// Never, as [`put`](Self::put).
    ///
    /// # Blocking
    ///
    /// While the queue is empty, unless `max` is zero.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.core.get_many(max, Deadline::NEVER)
    }

    /// Takes the next items out if there are some; otherwise as [`get_many`](Self::get_many).
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the queue is empty.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.core.try_get_many(max)
    }

    /// Takes the next items out if there is one within `timeout`; otherwise as [`get_many`](Self::get_many).
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the time is over.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>, GetError> {
        if timeout.is_zero() { self.try_get_many(max) } else { self.core.get_many(max, Deadline::after(timeout)) }
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

    /// Gets items for ever.
    ///
    /// # Blocking
    ///
    /// Each step, as [`get`](Self::get).
    pub fn iter(&self) -> Iter<'_, Self> {
        Iter::new(self)
    }

    /// Gets items until none is there.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn try_iter(&self) -> TryIter<'_, Self> {
        TryIter::new(self)
    }
}

// Whatever unwinds, the queue is whole: no code of an item runs while it is not.
impl<T> std::panic::UnwindSafe for SimpleQueue<T> {}
impl<T> std::panic::RefUnwindSafe for SimpleQueue<T> {}

impl<T> Default for SimpleQueue<T> {
    fn default() -> Self {
        Self::unbounded()
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [getting, ..] = self.core.waiters();
        f.debug_struct("SimpleQueue").field("len", &self.len()).field("getting", &getting).finish()
    }
}

impl<'a, T> IntoIterator for &'a SimpleQueue<T> {
    type Item = T;
    type IntoIter = Iter<'a, SimpleQueue<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Source for SimpleQueue<T> {
    type Item = T;

    fn next_item(&self) -> Result<T, GetError> {
        self.get()
    }

    fn next_item_there(&self) -> Result<T, GetError> {
        self.try_get()
    }
}

impl<T> select::Core for SimpleQueue<T> {
    fn observed(&self) -> select::Observed<'_> {
        select::Observed(&self.core)
    }
}
