//! `Task`: the result to come of one call, on any thread, in any order.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::engine::Shared;
use super::error::TaskError;
use super::inbox::{Delivery, Inbox};
use super::scheduler::Ticket;
use crate::sys::clock::Deadline;

/// The result to come of a call that a [`Pool`](super::Pool) makes: Python's `AsyncResult`.
///
/// Its result waits for it as bytes, so a task that nobody reads delays nobody, and tasks may be read in any order and
/// on any thread. Dropping a task detaches it: the call is made all the same.
///
/// ```no_run
/// # let pool = crewkit::pool::Pool::new(2).unwrap();
/// let task = pool.submit(|n: u64| n * 2, 21);
/// assert_eq!(task.get(), Ok(42));
/// ```
pub struct Task<R> {
    inbox: Arc<Inbox>,
    /// What it is called in the scheduler; `None` if it never got there.
    ticket: Option<Ticket>,
    /// Weak: a task that is kept keeps nothing of a pool that is gone.
    shared: Weak<Shared>,
    taken: bool,
    result: PhantomData<fn() -> R>,
}

impl<R> Task<R> {
    pub(super) fn new(inbox: Arc<Inbox>, ticket: Result<Ticket, TaskError>, shared: &Arc<Shared>) -> Self {
        let ticket = match ticket {
            Ok(ticket) => Some(ticket),
            Err(error) => {
                inbox.put(Delivery::Undone { first: 0, count: 1, error });
                None
            }
        };
        Self { inbox, ticket, shared: Arc::downgrade(shared), taken: false, result: PhantomData }
    }

    /// Whether the task has ended, in whatever way (Python's `ready`).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.taken || self.inbox.peek(|_| ()).is_some()
    }

    /// Whether the task has ended and its function returned a value (Python's `successful`, which raises while the
    /// task has not ended). Whether that value can be deserialised is known when it is taken.
    #[must_use]
    pub fn is_successful(&self) -> bool {
        self.inbox.peek(Delivery::is_success).unwrap_or(false)
    }

    /// Waits until the task has ended.
    ///
    /// # Blocking
    ///
    /// Until the task has ended. A task ends when its worker dies.
    pub fn wait(&self) {
        if !self.taken {
            self.inbox.wait(Deadline::NEVER);
        }
    }

    /// Waits until the task has ended, at most for `timeout`; whether it has.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.taken || self.inbox.wait(Deadline::after(timeout))
    }

    /// Cancels the task if it has not begun: true, and its result is [`TaskError::Cancelled`]. False: it has begun, or
    /// has ended; nothing changes.
    ///
    /// Exact: a task for which this says true has not run and never will, even if it had been handed to a worker.
    pub fn cancel(&self) -> bool {
        self.ticket.zip(self.shared.upgrade()).is_some_and(|(ticket, shared)| shared.cancel(ticket))
    }
}

impl<R: DeserializeOwned> Task<R> {
    /// Waits for the result (Python's `get`).
    ///
    /// # Errors
    ///
    /// [`TaskError`] says what became of the call; a worker's death is [`TaskError::WorkerDied`].
    ///
    /// # Blocking
    ///
    /// Until the task has ended.
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
    /// At most for `timeout`.
    pub fn get_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.take(Deadline::after(timeout))
    }

    fn take(&mut self, deadline: Deadline) -> Option<Result<R, TaskError>> {
        if self.taken {
            return Some(Err(TaskError::Taken));
        }
        let delivery = self.inbox.take(deadline)?;
        self.taken = true;
        let mut result = None;
        delivery.open(|_, outcome| result = Some(outcome));
        result
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
