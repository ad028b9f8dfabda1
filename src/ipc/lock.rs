//! `Lock`: one thread of all processes at a time, as Python's `multiprocessing.Lock`. The rules for a holder that dies
//! are in `shm::held`.
//!
//! # Speed
//!
//! Lock and unlock, nobody else there, in ns; of glibc's process-shared mutexes:
//!
//! | plain | errorcheck | robust | robust and errorcheck | robust, priority inheritance | this lock |
//! |--:|--:|--:|--:|--:|--:|
//! | 21–23 | 25 | 29 | 28.5 | 29–31 | 34 |
//!
//! All make two locked instructions and no system call. What a robust one has more is the list of what its thread holds,
//! entered and left under a mark that tells the kernel of a half-done entry; and this lock looks whether the process was
//! forked since and whether a holder died. So it has 0.68 of the plain mutex's speed, and no lock on top of glibc's robust
//! one could have more than 0.73. A thread registers one list with the kernel, and that is glibc's; an entry of our own can be
//! put on it, though. A probe of one that is taken by a compare-exchange and left by a store, where who is about to sleep pays
//! for the order by membarrier(2), needs 19 ns. It is not built yet.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exclusive::exclusive;
use super::handle::Handle;
use super::{LockError, NotOwner};
use crate::primitive::Refused;
use crate::shm::{Locked, State};

pub(super) const KIND: u32 = 1;

pub(super) type Words = Locked<KIND>;

/// A lock that one thread of all processes holds at a time: Python's `multiprocessing.Lock`.
///
/// It lies in shared memory without a name. Clone it for other threads, and send it to other processes, in arguments,
/// results or messages: all of them use the same lock, and it goes with the last. Making one costs a descriptor in each
/// process, and a page of memory.
///
/// **When its holder dies**, killed at any instruction or ending as a thread, the next gets the lock at once, marked:
/// [`LockError::OwnerDied`] holds the guard, and so does everybody else's answer until somebody calls
/// [`recover`](LockGuard::recover). Who waits is not affected by the death of others who wait.
///
/// It has an owner, so unlike Python's it is released by the thread that took it ([`NotOwner`]); for a hand-over use a
/// semaphore with one permit. It is unfair. Processes that share a lock trust each other: whoever writes nonsense into its
/// memory can make others fail in any way. They must be of one PID namespace, which is not looked at: the threads of two may
/// have the same numbers, and then one is taken for the other.
///
/// ```
/// use crewkit::ipc::{Lock, LockError};
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let lock = Lock::new()?;
///     let guard = lock.lock().map_err(LockError::detach)?;
///     let child = Process::spawn(|lock: Lock| lock.try_lock().is_err_and(|error| error.is_timeout()), lock.clone())?;
///     assert!(child.join()?, "the parent holds it");
///     drop(guard);
///     Ok(())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Lock(Handle<Words>);

exclusive!(Lock, LockGuard);

impl Lock {
    #[inline]
    fn enter(_: &Words, got: Result<State, Refused>) -> Result<State, Refused> {
        got
    }

    /// Releases a lock that this thread acquired: Python's `release()`.
    ///
    /// # Errors
    ///
    /// [`NotOwner`] when this thread does not hold it.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn release(&self) -> Result<(), NotOwner> {
        if self.0.peek().unlock() { Ok(()) } else { Err(NotOwner) }
    }
}
