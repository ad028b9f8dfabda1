//! An item that comes back unless it is acknowledged.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::Core;
use super::{GetError, LeaseError, Queue};
use crate::ipc::LockError;
use crate::sys::clock::Deadline;
use crate::sys::generation;

/// An item of a [`Queue`] that this process has until it [acknowledges](Self::ack) it; made by
/// [`Queue::get_leased`].
///
/// If it does not, the item is handed out again: when the lease is [given back](Self::requeue) or dropped, also by a panic, be it
/// in its `Deserialize`, and when **the process dies**, killed at any instruction: then within 50 ms to who waits (in [`ipc::wait`](crate::ipc::wait()) within 100), at once to who
/// finds nothing else, and in a queue that never runs empty to who gets an item when 50 ms are over. An item that is back is
/// handed out before any that nobody has had. [`attempt`](Self::attempt) says how often it was handed out.
///
/// Until then the item keeps its place and its room in the queue, and the room of what was got behind it: one that is
/// never acknowledged ends in a queue that has no room for more.
///
/// ```
/// use crewkit::ipc::Queue;
///
/// let queue = Queue::unbounded()?;
/// queue.put("fragile".to_owned())?;
///
/// let lease = queue.get_leased()?;
/// assert_eq!((lease.as_str(), lease.attempt()), ("fragile", 1));
/// drop(lease);
///
/// let lease = queue.get_leased()?;
/// assert_eq!(lease.attempt(), 2);
/// assert_eq!(lease.ack()?, "fragile");
/// assert!(queue.is_empty() && queue.join_timeout(std::time::Duration::ZERO)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the item goes back into the queue as soon as this is dropped"]
pub struct Lease<T> {
    queue: Core,
    pub(super) held: Option<Held>,
    attempt: u32,
    item: Option<T>,
}

/// Which item of the queue it is, and whose.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) at: u64,
    pub(super) seat: usize,
    pub(super) generation: u32,
}

impl<T> Lease<T> {
    /// A lease of the item that `read` makes. One that cannot be read is done; if `read` panics, it goes back. Neither waits.
    pub(super) fn of(
        (queue, held): (Core, Held),
        attempt: u32,
        read: impl FnOnce() -> Result<T, String>,
    ) -> Result<Self, GetError> {
        let mut lease = Self { queue, held: Some(held), attempt, item: None };
        match read() {
            Ok(item) => {
                lease.item = Some(item);
                Ok(lease)
            }
            Err(why) => {
                lease.end_soon(true);
                Err(GetError::Decode { why, others: () })
            }
        }
    }

    /// How many times the item was handed out on a lease, this time included: more than 1 says that somebody failed with
    /// it.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The item is done, as [`task_done`](Queue::task_done) reports it, and nobody else will get it; here it is.
    ///
    /// # Blocking
    ///
    /// While others take items, which takes them some instructions; so for as long as one that is among these is stopped.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`] in a process that inherited the lease by fork; the item is not acknowledged.
    /// [`LockError::Io`] if the lease was taken away, so that another has the item, or has had it.
    pub fn ack(self) -> Result<T, LockError> {
        self.acknowledge(Deadline::NEVER).map_err(|error| error.error)
    }

    /// [`ack`](Self::ack) for at most `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other processes are stopped.
    ///
    /// # Errors
    ///
    /// [`LeaseError`], with the lease: as of [`ack`](Self::ack), and [`LockError::Timeout`].
    pub fn ack_timeout(self, timeout: Duration) -> Result<T, LeaseError<T>> {
        self.acknowledge(Deadline::after(timeout))
    }

    /// Gives the item back, to be handed out again, before any that nobody has had. As dropping the lease does, but with an
    /// answer.
    ///
    /// # Blocking
    ///
    /// As [`ack`](Self::ack).
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn requeue(mut self) -> Result<(), LockError> {
        self.end(false, Deadline::NEVER)
    }

    /// [`requeue`](Self::requeue) for at most `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when other processes are stopped.
    ///
    /// # Errors
    ///
    /// As [`ack_timeout`](Self::ack_timeout).
    pub fn requeue_timeout(mut self, timeout: Duration) -> Result<(), LeaseError<T>> {
        match self.end(false, Deadline::after(timeout)) {
            Ok(()) => Ok(()),
            Err(error) => Err(LeaseError { lease: self, error }),
        }
    }

    fn acknowledge(mut self, deadline: Deadline) -> Result<T, LeaseError<T>> {
        match (self.end(true, deadline), self.item.take()) {
            (Ok(()), Some(item)) => Ok(item),
            (ended, item) => {
                self.item = item;
                Err(LeaseError { lease: self, error: ended.err().unwrap_or(LockError::ForeignProcess) })
            }
        }
    }

    /// What another process's copy of it, made by fork, must not do.
    fn own(&self) -> Option<Held> {
        self.held.filter(|held| held.generation == generation::current())
    }

    fn end(&mut self, is_done: bool, deadline: Deadline) -> Result<(), LockError> {
        let held = self.own().ok_or(LockError::ForeignProcess)?;
        self.queue.end_lease(held, is_done, deadline)?;
        self.held = None;
        Ok(())
    }

    fn end_soon(&mut self, is_done: bool) {
        if let Some(held) = self.own() {
            self.queue.end_lease_soon(held, is_done);
        }
        self.held = None;
    }
}

impl<T> Drop for Lease<T> {
    /// Gives the item back; if another process is stopped at the wrong instruction, then whoever uses the queue here next does,
    /// or the last handle's drop, or the end of this process.
    fn drop(&mut self) {
        self.end_soon(false);
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Some(item) => item,
            None => unreachable!("put in before anybody has the lease, taken out by `ack`, which ends it"),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("item", &self.item).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Gets the next item on a lease, when there is one. Not in Python.
    ///
    /// ```
    /// use crewkit::ipc::Queue;
    /// use crewkit::process::{Process, ProcessError};
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     crewkit::init();
    ///     let queue = Queue::unbounded()?;
    ///     queue.put(7)?;
    ///     let worker = |queue: Queue<u32>| {
    ///         let _lease = queue.get_leased();
    ///         std::process::abort();
    ///     };
    ///     let ended: Result<(), _> = Process::spawn(worker, queue.clone())?.join();
    ///     assert!(matches!(ended, Err(ProcessError::Killed { .. })));
    ///     let lease = queue.get_leased()?;
    ///     assert_eq!((*lease, lease.attempt()), (7, 2), "somebody died with it");
    ///     lease.ack()?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    pub fn get_leased(&self) -> Result<Lease<T>, GetError> {
        self.lease(super::core::Wait::For(Deadline::NEVER))
    }

    /// Gets the next item on a lease, if there is one.
    ///
    /// # Errors
    ///
    /// As [`try_get`](Self::try_get).
    ///
    /// # Blocking
    ///
    /// As [`try_get`](Self::try_get).
    pub fn try_get_leased(&self) -> Result<Lease<T>, GetError> {
        self.lease(super::core::Wait::No)
    }

    /// Gets the next item on a lease, if there is one within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    pub fn get_leased_timeout(&self, timeout: Duration) -> Result<Lease<T>, GetError> {
        self.lease(super::core::Wait::of(timeout))
    }
}
