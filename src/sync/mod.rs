//! Locks, conditions, semaphores, events and barriers between the threads of one process: Python's `threading` objects of these
//! names.
//!
//! | Which one do I want? | Type | Python's name |
//! |---|---|---|
//! | one thread at a time | [`Lock`] | `threading.Lock` |
//! | the same, where a thread may take again what it has | [`RLock`] | `threading.RLock` |
//! | wait for a change of what a lock protects | [`Condition`] | `threading.Condition` |
//! | at most n at a time | [`Semaphore`] | `threading.Semaphore` |
//! | the same, where a release too many is a mistake | [`BoundedSemaphore`] | `threading.BoundedSemaphore` |
//! | wait until something has happened | [`Event`] | `threading.Event` |
//! | go on only when all are here | [`Barrier`] | `threading.Barrier` |
//!
//! Names say what blocks: `try_x` never, `x_timeout` at most so long, `x` until it is done. A timeout that the clock
//! cannot hold, such as `Duration::MAX`, never ends. There is no poisoning: a panic releases what its guards hold and
//! leaves the rest as it is. All of them are for the threads of one process: a child that was forked while another thread
//! held one, or was inside a call of it, finds it held for ever. Between processes use the types of the same names in
//! `crewkit::ipc`.
//!
//! With the feature `deadlock-detection`, which is off by default and costs nothing then, threads that wait for each other's
//! locks in a circle are reported: who, for which lock, acquired where. The module `sync::deadlock` exists then.

mod barrier;
mod condition;
#[cfg(all(feature = "deadlock-detection", not(crewkit_loom)))]
pub mod deadlock;
mod event;
mod latch;
mod lock;
mod permit;
mod permits;
mod reentrant;
mod rlock;
mod semaphore;
#[cfg(not(all(feature = "deadlock-detection", not(crewkit_loom))))]
#[path = "unwatched.rs"]
mod watch;
#[cfg(all(feature = "deadlock-detection", not(crewkit_loom)))]
#[path = "watched.rs"]
mod watch;

#[cfg(test)]
mod tests;

pub use barrier::{Barrier, BarrierWait, BrokenBarrier};
pub use condition::{CannotWait, Condition, WaitGuard, WaitLock};
pub use event::Event;
pub use lock::{Lock, LockGuard, NotHeld};
pub use permit::{OwnedPermit, Permit};
pub use rlock::{NotOwner, RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, OverReleased, Overflow, Semaphore};
