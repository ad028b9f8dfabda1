//! Locks, semaphores and events between the threads of one process: Python's `threading` objects of these names.
//!
//! | Which one do I want? | Type | Python's name |
//! |---|---|---|
//! | one thread at a time | [`Lock`] | `threading.Lock` |
//! | at most n at a time | [`Semaphore`] | `threading.Semaphore` |
//! | wait until something has happened | [`Event`] | `threading.Event` |
//!
//! Names say what blocks: `try_x` never, `x_timeout` at most so long, `x` until it is done. A timeout that the clock
//! cannot hold, such as `Duration::MAX`, never ends. There is no poisoning: a panic releases what its guards hold and
//! leaves the rest as it is. Between processes use the types of the same names in `crewkit::ipc`.

mod event;
mod lock;
mod permits;
mod semaphore;

#[cfg(test)]
mod tests;

pub use event::Event;
pub use lock::{Lock, LockGuard, NotHeld};
pub use semaphore::{Overflow, OwnedPermit, Permit, Semaphore};
