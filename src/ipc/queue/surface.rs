//! What a queue can do, but for leases.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::Wait;
use super::{GetError, Iter, PutError, Queue, Readiness, TryIter, limit};
use crate::ipc::LockError;
use crate::queue::{Shutdown, Task, TooManyTaskDone};
use crate::sys::clock::Deadline;

impl<T: Serialize> Queue<T> {
    /// Puts `value` in when there is room: Python's `put(obj)`.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the value: `ShutDown` also if the queue is shut down while this waits.
    ///
    /// # Blocking
    ///
    /// While the queue is full, in items or in bytes.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_one(value, Wait::For(Deadline::NEVER))
    }

    /// Puts `value` in if there is room: Python's `put_nowait(obj)`.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the value.
    ///
    /// # Blocking
    ///
    /// Never; for 10 ms at most if a process was stopped at the wrong instruction, and then the queue counts as full.
    #[doc(alias = "put_nowait")]
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_one(value, Wait::No)
    }

    /// Puts `value` in if there is room within `timeout`: Python's `put(obj, timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the value.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other processes are stopped.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_one(value, Wait::of(timeout))
    }

    /// Puts all of `values` in, in their order, as soon as there is room for each: those that have room are put by one step,
    /// so nothing comes between them. Not in Python.
    ///
    /// All are serialised before the first is put, and if one cannot be, none is. Those that were put stay, whatever
    /// becomes of the others.
    ///
    /// # Errors
    ///
    /// [`PutError`], with those that were not put.
    ///
    /// # Blocking
    ///
    /// While the queue is full.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.put_all(values.into_iter().collect(), Wait::For(Deadline::NEVER))
    }

    /// Puts as many of `values` in as there is room for; otherwise as [`put_many`](Self::put_many).
    ///
    /// # Errors
    ///
    /// [`PutError`], with those that were not put.
    ///
    /// # Blocking
    ///
    /// As [`try_put`](Self::try_put).
    pub fn try_put_many(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.put_all(values.into_iter().collect(), Wait::No)
    }

    /// Puts as many of `values` in as find room within `timeout`; otherwise as [`put_many`](Self::put_many).
    ///
    /// # Errors
    ///
    /// [`PutError`], with those that were not put.
    ///
    /// # Blocking
    ///
    /// At most for `timeout` in all.
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> Result<(), PutError<Vec<T>>> {
        let wait = Wait::of(timeout);
        self.put_all(values.into_iter().collect(), wait)
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes the next item out when there is one: Python's `get()`.
    ///
    /// # Errors
    ///
    /// [`GetError::ShutDown`] if the queue is empty and shut down, before or while this waits. As long as another process has
    /// an item on a [`Lease`](super::Lease), which may come back, that is not so yet. [`GetError::Decode`] if the item is none of this
    /// type: then it counts as done, as it does if its `Deserialize` panics.
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    #[inline]
    pub fn get(&self) -> Result<T, GetError> {
        self.get_one(Wait::For(Deadline::NEVER))
    }

    /// Takes the next item out if there is one: Python's `get_nowait()`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the queue is empty; otherwise as [`get`](Self::get).
    ///
    /// # Blocking
    ///
    /// Never; for 10 ms at most if a process was stopped at the wrong instruction, and then the queue counts as empty.
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_one(Wait::No)
    }

    /// Takes the next item out if there is one within `timeout`: Python's `get(timeout=…)`.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if the time is over; otherwise as [`get`](Self::get).
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other processes are stopped.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_one(Wait::of(timeout))
    }

    /// Takes the next items out when there is one: all that are there, at most `max`. Not in Python.
    ///
    /// It does not wait for more than one, and for none at all if `max` is zero.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). [`GetError::Decode`] has the items that could be read; if a `Deserialize` panics, all count as done.
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError<Vec<T>>> {
        self.get_some(max, Wait::For(Deadline::NEVER))
    }

    /// Takes the next items out if there are some; otherwise as [`get_many`](Self::get_many).
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get).
    ///
    /// # Blocking
    ///
    /// As [`try_get`](Self::try_get).
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetError<Vec<T>>> {
        self.get_some(max, Wait::No)
    }

    /// Takes the next items out if there is one within `timeout`; otherwise as [`get_many`](Self::get_many).
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>, GetError<Vec<T>>> {
        self.get_some(max, Wait::of(timeout))
    }

    /// Gets items until the queue is shut down and empty, with what goes wrong in between: see [`Iter`].
    ///
    /// # Blocking
    ///
    /// Each step, as [`get`](Self::get).
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// Gets items until none is there, with what goes wrong in between: see [`Iter`].
    ///
    /// # Blocking
    ///
    /// As [`try_get`](Self::try_get).
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }
}

impl<T> Queue<T> {
    /// Reports one item done that was got before: Python's `task_done()`. The last one ends every [`join`](Self::join).
    ///
    /// It is one that this process has got; or, if all of those are done, one that another has. Unlike in Python, an item
    /// that nobody has got yet cannot be done.
    ///
    /// # Errors
    ///
    /// [`TooManyTaskDone`] if nothing is out that is not done; or if the queue is of no use here, which other methods say.
    ///
    /// # Blocking
    ///
    /// Never, but for looking whether another process has got something; for as long as one that takes items is stopped.
    #[inline]
    pub fn task_done(&self) -> Result<(), TooManyTaskDone> {
        match self.core.task_done(Deadline::NEVER) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TooManyTaskDone),
        }
    }

    /// [`task_done`](Self::task_done), which for what this process has got never waits, and for what another has got at most
    /// for `timeout`; whether there was such an item. Not in Python.
    ///
    /// # Errors
    ///
    /// See [`LockError`]: [`Timeout`](LockError::Timeout) if somebody is stopped inside.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn task_done_timeout(&self, timeout: Duration) -> Result<bool, LockError> {
        self.core.task_done(Deadline::after(timeout))
    }

    /// Makes an item that was got from here report itself done when it is dropped, also by a panic. Not in Python.
    ///
    /// Do not report it by [`task_done`](Self::task_done) as well.
    ///
    /// # Blocking
    ///
    /// Never; neither does the report, but for 10 ms at most if this process has nothing to report and another is stopped.
    pub fn task(&self, item: T) -> Task<'_, T> {
        Task::new(self, item)
    }

    /// How many items were put and not yet reported done, those of processes that have died left out: Python's
    /// `unfinished_tasks`.
    ///
    /// # Errors
    ///
    /// See [`LockError`]; so below.
    ///
    /// # Blocking
    ///
    /// While others take items, which takes them some instructions.
    pub fn unfinished(&self) -> Result<usize, LockError> {
        self.core.unfinished(Deadline::NEVER).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// [`unfinished`](Self::unfinished) for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other processes are stopped; so below.
    pub fn unfinished_timeout(&self, timeout: Duration) -> Result<usize, LockError> {
        self.core.unfinished(Deadline::after(timeout)).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Waits until every item that was put has been reported done, or was dropped by a shut-down, or was got by a process that
    /// has died: Python's `join()`.
    ///
    /// It is enough that nothing is unfinished at one moment while this waits; items put later are the next join's.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`] in a process that inherited the queue by fork; [`LockError::Io`] when no more processes
    /// can use it.
    ///
    /// # Blocking
    ///
    /// While something is unfinished; for ever, if somebody who lives does not report.
    pub fn join(&self) -> Result<(), LockError> {
        self.core.join(Deadline::NEVER, Deadline::NEVER).map(drop)
    }

    /// [`join`](Self::join) for at most `timeout`; whether everything was done. Not in Python.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    ///
    /// # Blocking
    ///
    /// At most for `timeout`; for 10 ms at least if a process was stopped at the wrong instruction, and then it is `false`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, LockError> {
        self.core.join_timeout(timeout)
    }

    /// Drops what is in the queue; it counts as done. What is on leases stays. Not in Python.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    ///
    /// # Blocking
    ///
    /// While others take items, which takes them some instructions.
    pub fn clear(&self) -> Result<(), LockError> {
        self.core.clear(Deadline::NEVER)
    }

    /// [`clear`](Self::clear) for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`LockError`]; then nothing was dropped.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other processes are stopped.
    pub fn clear_timeout(&self, timeout: Duration) -> Result<(), LockError> {
        self.core.clear(Deadline::after(timeout))
    }

    /// Ends the putting, and the getting as soon as nothing is left: what `queue.Queue.shutdown()` is in Python.
    ///
    /// Everybody who waits to put gets [`PutError::ShutDown`], everybody who waits to get [`GetError::ShutDown`]. With
    /// [`Shutdown::Drain`] the items left can still be got, and reported done. With [`Shutdown::Immediate`] they are
    /// dropped and count as done. What is on leases stays, and is dropped when it comes back.
    ///
    /// May be called again, also with the other mode: a drain can be cut short, and what is dropped stays dropped.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    ///
    /// # Blocking
    ///
    /// While others put items, which takes them some instructions; for 10 ms at most while others take some.
    pub fn shutdown(&self, mode: Shutdown) -> Result<(), LockError> {
        self.core.shut_down(mode, Deadline::NEVER)
    }

    /// [`shutdown`](Self::shutdown) for at most `timeout`.
    ///
    /// # Errors
    ///
    /// See [`LockError`]; after [`Timeout`](LockError::Timeout) the queue was not shut down.
    ///
    /// # Blocking
    ///
    /// At most for `timeout` and 10 ms, also when other processes are stopped.
    pub fn shutdown_timeout(&self, mode: Shutdown, timeout: Duration) -> Result<(), LockError> {
        self.core.shut_down(mode, Deadline::after(timeout))
    }

    /// Whether the queue was shut down.
    ///
    /// # Blocking
    ///
    /// Never; so below.
    pub fn is_shut_down(&self) -> bool {
        self.core.words().closed().is_some()
    }

    /// How many items are in the queue now: Python's `qsize()`. Another process may change that before the answer is used, as
    /// with all such questions.
    #[doc(alias = "qsize")]
    pub fn len(&self) -> usize {
        self.core.words().counts().ready as usize
    }

    /// Whether no item is in the queue now: Python's `empty()`.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        !self.core.words().is_ready()
    }

    /// Whether no further item has room now, be it ever so short: Python's `full()`. What is on leases keeps its place.
    #[doc(alias = "full")]
    pub fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// How many items have room; `None` if only their bytes count. Python's `maxsize`.
    pub fn capacity(&self) -> Option<usize> {
        Some(self.core.words().most()).filter(|&most| most != u64::MAX).and_then(|most| usize::try_from(most).ok())
    }

    /// How many bytes the longest item may have, serialised.
    pub fn longest_item(&self) -> usize {
        self.core.longest()
    }

    /// Makes the queue hold at most `maxsize` items from now on, without limit if that is zero. Nothing is dropped, and its
    /// bytes stay as they are.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`] in a process that inherited the queue by fork.
    pub fn set_capacity(&self, maxsize: usize) -> Result<(), LockError> {
        self.core.set_most(limit(maxsize))
    }

    /// The queue for [`ipc::wait`](crate::ipc::wait()), among connections, processes and whatever else there is to wait for.
    /// It costs one more descriptor.
    ///
    /// ```
    /// use crewkit::ipc::{Queue, wait};
    /// use std::time::Duration;
    ///
    /// let (quiet, busy) = (Queue::<u8>::unbounded()?, Queue::unbounded()?);
    /// let sources = [quiet.readiness(), busy.readiness()];
    /// assert!(wait(&[&sources[0], &sources[1]], Duration::ZERO)?.is_empty());
    /// busy.put(1_u8)?;
    /// assert_eq!(wait(&[&sources[0], &sources[1]], None)?, [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn readiness(&self) -> Readiness {
        Readiness::of(self.core.clone())
    }

    /// Closes this handle, as dropping it does: Python's `close()`. Others, also of this process, are not affected. To tell
    /// all that nothing will come any more: [`shutdown`](Self::shutdown).
    pub fn close(self) {
        drop(self);
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Queue<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
