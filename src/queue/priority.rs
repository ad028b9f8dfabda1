//! `PriorityQueue`: smallest first, as Python's `queue.PriorityQueue`.

use super::heap::Heap;
use super::locked::Locked;
use super::surface::surface;
use super::{GetError, Iter, PutError, Shutdown, Task, TooManyTaskDone, TryIter};
use crate::sys::clock::Deadline;
use std::fmt;
use std::time::Duration;

type Core<T> = Locked<Heap<T>>;

/// A queue from which the smallest item is got first: Python's `queue.PriorityQueue`.
///
/// Of equal items, the one that was put first comes first, so an item may be a priority with a payload whose order says
/// nothing. For the largest first wrap items in [`Reverse`](std::cmp::Reverse). In all else it is a
/// [`Queue`](super::Queue).
///
/// The items' `Ord` runs inside the queue, so other threads that use it wait for that long; they sleep if it is long. If it
/// panics, so does the `put` or `get` that compared, and the queue is as it was before: the item that was being put is
/// dropped, those that were to be got are still there. Of a batch, the items before the one that could not be compared
/// are in the queue, and the others are dropped with it. If it contradicts itself, items come out in some order,
/// and none is lost. If it uses the same queue, other than its `len`, it panics.
///
/// ```
/// use crewkit::queue::PriorityQueue;
///
/// let jobs = PriorityQueue::unbounded();
/// jobs.put_many([(2, "sweep"), (1, "extinguish"), (3, "dust")]).unwrap();
/// assert_eq!(jobs.get(), Ok((1, "extinguish")));
/// ```
pub struct PriorityQueue<T> {
    core: Core<T>,
}

surface!(PriorityQueue<T: Ord>);

/// Not in Python.
impl<T: Ord> PriorityQueue<T> {
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
