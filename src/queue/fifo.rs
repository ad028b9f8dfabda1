//! `Queue`: first in, first out, as Python's `queue.Queue`.

use super::segmented::Segmented;
use super::surface::surface;
use super::{GetError, Iter, PutError, Shutdown, Task, TooManyTaskDone, TryIter};
use crate::sys::clock::Deadline;
use std::fmt;
use std::time::Duration;

type Core<T> = Segmented<T>;

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

surface!(Queue<T>);
