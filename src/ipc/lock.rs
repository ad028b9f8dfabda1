//! `Lock`: one thread of all processes at a time, as Python's `multiprocessing.Lock`. The rules for a holder that dies
//! are in `shm::held`.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handle::Handle;
use super::{LockError, NotOwner};
use crate::primitive::Refused;
use crate::shm::{Locked, State, Type};
use crate::sys::clock::Deadline;

const KIND: u32 = 1;

type Words = Locked<KIND>;

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
/// memory can make others fail in any way.
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

impl Lock {
    /// A new lock, which nobody holds.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is no memory.
    pub fn new() -> io::Result<Self> {
        Handle::create(Type::NONE, 0).map(Self)
    }

    /// Waits until the lock is free and takes it: Python's `acquire()`, or `with lock:`.
    ///
    /// # Blocking
    ///
    /// Until the lock is free, which it is at the latest when its holder ends.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    #[inline]
    pub fn lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.take(|words| words.lock(Deadline::NEVER))
    }

    /// Takes the lock if it is free: Python's `acquire(block=False)`.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// See [`LockError`]; `Timeout` when somebody else holds it.
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.take(|words| words.try_lock())
    }

    /// Takes the lock if it becomes free within `timeout`: Python's `acquire(timeout=…)`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when its holder is stopped.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.take(|words| words.lock(Deadline::after(timeout)))
    }

    #[inline]
    fn take(
        &self,
        lock: impl FnOnce(&Words) -> Result<State, Refused>,
    ) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        let state = lock(self.0.usable()?)?;
        let guard = LockGuard { lock: self, _not_send: PhantomData };
        if state == State::Clean { Ok(guard) } else { Err(LockError::OwnerDied(guard)) }
    }

    /// [`lock`](Self::lock) without a guard: Python's `acquire()`.
    ///
    /// With [`LockError::OwnerDied`] there is a guard nevertheless: [`leak`](LockGuard::leak) it after its `recover`, or the
    /// lock is released again.
    ///
    /// # Blocking
    ///
    /// Until the lock is free.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn acquire(&self) -> Result<(), LockError<LockGuard<'_>>> {
        self.lock().map(LockGuard::leak)
    }

    /// [`try_lock`](Self::try_lock) without a guard.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn try_acquire(&self) -> Result<(), LockError<LockGuard<'_>>> {
        self.try_lock().map(LockGuard::leak)
    }

    /// [`lock_timeout`](Self::lock_timeout) without a guard.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<(), LockError<LockGuard<'_>>> {
        self.lock_timeout(timeout).map(LockGuard::leak)
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

    /// Whether a living thread of some process holds the lock, or held it just now.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_locked(&self) -> bool {
        self.0.peek().is_held()
    }
}

impl PartialEq for Lock {
    /// Whether both are the same lock.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Lock {}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::Lock").field("locked", &self.is_locked()).field("mine", &self.0.peek().is_mine()).finish()
    }
}

/// The right to what a [`Lock`] guards, until it is dropped. It stays in its thread.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    _not_send: PhantomData<*const ()>,
}

impl LockGuard<'_> {
    /// Says that what the lock guards is in order, after [`LockError::OwnerDied`]: who comes next gets it unmarked.
    pub fn recover(&self) {
        self.lock.0.peek().recover();
    }

    /// Whether a holder died, and nobody has called [`recover`](Self::recover) since.
    pub fn owner_died(&self) -> bool {
        self.lock.0.peek().state() == State::Dirty
    }

    /// Keeps the lock without a guard, until this thread calls [`Lock::release`] or ends.
    pub fn leak(self) {
        let _held = ManuallyDrop::new(self);
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // False in a process that was forked while its parent's thread held the lock, and where the lock was released
        // without its guard: nothing is left to do in either.
        let _was_mine = self.lock.0.peek().unlock();
    }
}

impl fmt::Debug for LockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::LockGuard").field("owner_died", &self.owner_died()).finish()
    }
}
