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
