//! Hand items from thread to thread: Python's `queue`.
//!
//! | Which one do I want? | Type | Python's name |
//! |---|---|---|
//! | first in, first out | [`Queue`] | `queue.Queue` |
//!
//! Names say what blocks: `try_x` never, `x_timeout` at most so long, `x` until it is done. A timeout that the clock
//! cannot hold, such as `Duration::MAX`, never ends. Errors hand the value back. The semantics are those of CPython
//! 3.13; where Python raises `Full`, `Empty` or `ShutDown`, there is an `Err` of that name. Between processes use the
//! type of the same name in `crewkit::ipc`.

mod core;
mod error;
mod fifo;
mod iter;
mod line;

#[cfg(test)]
mod tests;

pub use error::{GetError, PutError, TooManyTaskDone};
pub use fifo::{Queue, Shutdown};
pub use iter::{Iter, TryIter};
