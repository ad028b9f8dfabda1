//! `Task` and `MapTask`: results to come, on any thread, in any order, of whichever pool.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::error::{MapError, TaskError};
use crate::sys::clock::Deadline;

/// What a pool keeps of a call for whoever waits for it. A [`Task`] is one of these, whose result it takes once.
pub(super) trait Pending<R>: Send + Sync {
    /// Whether the call has ended, in whatever way.
    fn is_ready(&self) -> bool;
    /// Whether it has ended by returning, and nobody has taken what it returned.
    fn is_successful(&self) -> bool;
    /// Waits until the call has ended; false after the deadline.
    fn wait(&self, deadline: Deadline) -> bool;
    /// Takes the result, if it is there.
    fn take(&self) -> Option<Result<R, TaskError>>;
    /// Withdraws the call, if it has not begun.
    fn cancel(&self) -> bool;
    /// Has `waker` called at the end of the call, unless it has ended: false. Only the last one is called. On a worker that
    /// would run the call in [`wait`](Self::wait) it is run here, too.
    fn watch(&self, waker: &Waker) -> bool;
}

/// The result to come of a call that a pool makes: Python's `AsyncResult`.
///
/// Its result waits for it, so a task that nobody reads delays nobody, and tasks may be read in any order, on any
/// thread, after the end of their pool, or by `.await` in whatever runtime (where [`wait`](Self::wait) would run a task
/// itself, so does the poll). Dropping a task detaches it: the call is
/// made all the same.
///
/// ```no_run
/// # #[cfg(feature = "processes")] {
/// # let pool = crewkit::pool::Pool::new(2).unwrap();
/// let task = pool.submit(|n: u64| n * 2, 21);
/// assert_eq!(task.get(), Ok(42));
/// # }
/// ```
pub struct Task<R> {
    pending: Arc<dyn Pending<R>>,
    taken: bool,
}

impl<R> Task<R> {
    pub(super) fn new(pending: Arc<dyn Pending<R>>) -> Self {
        Self { pending, taken: false }
    }

    /// Whether the task has ended, in whatever way (Python's `ready`).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.taken || self.pending.is_ready()
    }

    /// Whether the task has ended, its function returned a value (Python's `successful`, which raises while the task
    /// has not ended), and that value was not taken yet. Whether a value that comes from another process can be
    /// deserialised is known when it is taken.
    #[must_use]
    pub fn is_successful(&self) -> bool {
        self.pending.is_successful()
    }

    /// Waits until the task has ended.
    ///
    /// # Blocking
    ///
    /// Until the task has ended. A task ends when its worker dies. A task of a [`ThreadPool`](super::ThreadPool) that is
    /// waited for by another one of the same pool is run right there if it has not begun.
    pub fn wait(&self) {
        if !self.taken {
            self.pending.wait(Deadline::NEVER);
        }
    }

    /// Waits until the task has ended, at most for `timeout`; whether it has.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`; only in a task of the same [`ThreadPool`](super::ThreadPool), where [`wait`](Self::wait)
    /// may run this one, for as long as that takes.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.taken || self.pending.wait(Deadline::after(timeout))
    }

    /// Waits for the result (Python's `get`).
    ///
    /// # Errors
    ///
    /// [`TaskError`] says what became of the call.
    ///
    /// # Blocking
    ///
    /// As [`wait`](Self::wait).
    pub fn get(mut self) -> Result<R, TaskError> {
        self.take(Deadline::NEVER).unwrap_or(Err(TaskError::Taken))
    }

    /// Waits for the result, at most for `timeout`; `None` if it is not there by then. Once it was given out, the
    /// answer is [`TaskError::Taken`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Blocking
    ///
    /// As [`wait_timeout`](Self::wait_timeout).
    pub fn get_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.take(Deadline::after(timeout))
    }

    /// Cancels the task if it has not begun: true, and its result is [`TaskError::Cancelled`]. False: it has begun, or
    /// has ended; nothing changes.
    ///
    /// Exact: a task for which this says true has not run and never will, even if it had been handed to a worker.
    pub fn cancel(&self) -> bool {
        self.pending.cancel()
    }

    fn take(&mut self, deadline: Deadline) -> Option<Result<R, TaskError>> {
        if self.taken {
            return Some(Err(TaskError::Taken));
        }
        let result = if self.pending.wait(deadline) { self.pending.take() } else { None };
        self.taken = result.is_some();
        result
    }
}

impl<R> Future for Task<R> {
    type Output = Result<R, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_ready() && self.pending.watch(context.waker()) {
            return Poll::Pending;
        }
        self.take(Deadline::NEVER).map_or(Poll::Pending, Poll::Ready)
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// The results to come of a map: what Python's `map_async` returns. Made by `map_async` of a pool.
///
/// Dropping it detaches the map, which is done all the same.
#[derive(Debug)]
#[must_use = "a map of which nobody reads the results is usually a mistake"]
pub struct MapTask<R> {
    task: Task<Result<Vec<R>, MapError<R>>>,
    items: usize,
}

impl<R> MapTask<R> {
    /// A task that gives the result of mapping so many items.
    pub(super) fn new(task: Task<Result<Vec<R>, MapError<R>>>, items: usize) -> Self {
        Self { task, items }
    }

    /// Whether every item has ended.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.task.is_ready()
    }

    /// Waits until every item has ended.
    ///
    /// # Blocking
    ///
    /// As [`Task::wait`].
    pub fn wait(&self) {
        self.task.wait();
    }

    /// Waits until every item has ended, at most for `timeout`; whether they have.
    ///
    /// # Blocking
    ///
    /// As [`Task::wait_timeout`].
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.task.wait_timeout(timeout)
    }

    /// Waits for all results, in the order of the items.
    ///
    /// # Errors
    ///
    /// [`MapError`] if any item failed. All the others were done, and their results are in it.
    ///
    /// # Blocking
    ///
    /// As [`Task::wait`].
    pub fn get(mut self) -> Result<Vec<R>, MapError<R>> {
        let result = self.task.take(Deadline::NEVER).unwrap_or(Err(TaskError::Taken));
        self.unpack(result)
    }

    /// Waits for all results, at most for `timeout`; `None` if they are not there by then. Once they were given out,
    /// every item's error is [`TaskError::Taken`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Blocking
    ///
    /// As [`Task::wait_timeout`].
    pub fn get_timeout(&mut self, timeout: Duration) -> Option<Result<Vec<R>, MapError<R>>> {
        let result = self.task.get_timeout(timeout)?;
        Some(self.unpack(result))
    }

    /// Withdraws what has not begun: those items end as [`TaskError::Cancelled`]. What has begun goes on.
    pub fn cancel(&self) {
        self.task.cancel();
    }

    /// An error of the whole is one of each item.
    fn unpack(&self, result: Result<Result<Vec<R>, MapError<R>>, TaskError>) -> Result<Vec<R>, MapError<R>> {
        match result {
            Ok(result) => result,
            Err(_) if self.items == 0 => Ok(Vec::new()),
            Err(error) => Err(MapError { index: 0, error, results: (0..self.items).map(|_| None).collect() }),
        }
    }
}
