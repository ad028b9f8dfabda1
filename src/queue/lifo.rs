//! `LifoQueue`: last in, first out, as Python's `queue.LifoQueue`.

use super::locked::Locked;
use super::surface::surface;
use super::{GetError, Iter, PutError, Shutdown, Task, TooManyTaskDone, TryIter};
use crate::sys::clock::Deadline;
use std::fmt;
use std::time::Duration;

type Core<T> = Locked<Vec<T>>;

/// A queue from which the item that was put last is got first: Python's `queue.LifoQueue`.
///
/// In all else it is a [`Queue`](super::Queue).
///
/// ```
/// use crewkit::queue::LifoQueue;
///
/// let stack = LifoQueue::unbounded();
/// stack.put_many([1, 2, 3]).unwrap();
/// assert_eq!(stack.get_many(2), Ok(vec![3, 2]));
/// ```
pub struct LifoQueue<T> {
    core: Core<T>,
}

surface!(LifoQueue<T>);

/// Not in Python.
impl<T> LifoQueue<T> {
    /// A copy of the item that would be got next, which another thread may get before this one does.
    ///
    /// It is copied inside the queue, so the item's `Clone` cannot use the queue: it panics.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn peek(&self) -> Option<T>
    where
        T: Clone,
    {
        self.core.peek()
    }
}
