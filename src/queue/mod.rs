//! Hand items from thread to thread: Python's `queue`.
//!
//! | Which one do I want? | Type | Python's name |
//! |---|---|---|
//! | first in, first out | [`Queue`] | `queue.Queue` |
//! | first in, first out, without limit and task counts | [`SimpleQueue`] | `queue.SimpleQueue` |
//! | last in, first out | [`LifoQueue`] | `queue.LifoQueue` |
//! | smallest first | [`PriorityQueue`] | `queue.PriorityQueue` |
//! | the first of several queues that has something | [`select()`] | |
//!
//! Names say what blocks: `try_x` never, `x_timeout` at most so long, `x` until it is done. That is about waiting for
//! items, room or tasks. Every operation, whatever its name, may also have to wait until another thread is through with the
//! few steps that it does inside the same queue; at a [`PriorityQueue`] the items' `Ord` is among these, at `peek` the
//! item's `Clone`. A timeout that the clock cannot hold, such as `Duration::MAX`, never ends. Errors hand the value back.
//! The semantics are those of CPython 3.13; where Python raises `Full`, `Empty` or `ShutDown`, there is an `Err` of that
//! name. What Python does not have says so: batches, `clear`, `join_timeout`, [`Task`], `select`. A queue is for the threads
//! of one process: in a child that was forked while another thread was inside it, whoever uses it may wait for ever. Between
//! processes use the types of the same names in `crewkit::ipc`.

mod discarded;
mod ends;
mod error;
mod fifo;
mod heap;
mod hole;
mod hope;
mod inside;
pub(crate) mod iter;
mod lifo;
mod line;
mod list;
mod locked;
mod priority;
mod segment;
mod segmented;
mod select;
mod simple;
mod store;
mod surface;
pub(crate) mod task;
mod waiting;

#[cfg(test)]
mod tests;

pub use error::{GetError, PutError, TooManyTaskDone};
pub use fifo::Queue;
pub use iter::{Iter, TryIter};
pub use lifo::LifoQueue;
pub use priority::PriorityQueue;
pub use select::{Selectable, select};
pub use simple::SimpleQueue;
pub use task::Task;

/// What happens to the items that are in a queue when it is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They can still be got: Python's `shutdown()`.
    Drain,
    /// They are dropped and count as done: Python's `shutdown(immediate=True)`.
    Immediate,
}
