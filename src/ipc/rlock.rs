//! `RLock`: one thread of all processes at a time, which may take it again, as Python's `multiprocessing.RLock`. The
//! rules for a holder that dies are in `shm::held`.

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

const KIND: u32 = 2;

type Words = Locked<KIND>;

/// A lock between processes that the thread which holds it may take again: Python's `multiprocessing.RLock`.
///
/// It is free again when it was released as many times as it was taken. For everything else, the death of its holder
/// included, see [`Lock`](super::Lock).
///
/// ```
/// use crewkit::ipc::{LockError, RLock};
///
/// fn add(lock: &RLock) -> Result<(), Box<dyn std::error::Error>> {
///     let _guard = lock.lock().map_err(LockError::detach)?;
///     Ok(())
/// }
///
/// let lock = RLock::new()?;
/// let _all_or_nothing = lock.lock().map_err(LockError::detach)?;
/// add(&lock)?; // takes it again
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct RLock(Handle<Words>);

impl RLock {
    /// A new lock, which nobody holds.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is no memory.
    pub fn new() -> io::Result<Self> {
        Handle::create(Type::NONE, 0).map(Self)
    }

    /// Waits until the lock is free, or this thread's, and takes it: Python's `acquire()`, or `with lock:`.
    ///
    /// # Blocking
    ///
    /// Until no other thread holds the lock, which is at the latest when its holder ends.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.take(|words| words.lock(Deadline::NEVER))
    }

    /// Takes the lock if no other thread holds it: Python's `acquire(block=False)`.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// See [`LockError`]; `Timeout` when somebody else holds it.
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
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
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        self.take(|words| words.lock(Deadline::after(timeout)))
    }

    fn take(
        &self,
        lock: impl FnOnce(&Words) -> Result<State, Refused>,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        let words = self.0.usable()?;
        let state = match lock(words) {
            Err(Refused::Own) => {
                let deeper = words.depth().checked_add(1).ok_or(LockError::TooDeep)?;
                words.set_depth(deeper);
                words.state()
            }
            // A holder that died, and one that released the lock, have left a depth of zero.
            result => result?,
        };
        let guard = RLockGuard { lock: self, _not_send: PhantomData };
        if state == State::Clean { Ok(guard) } else { Err(LockError::OwnerDied(guard)) }
    }

    /// [`lock`](Self::lock) without a guard: Python's `acquire()`.
    ///
    /// With [`LockError::OwnerDied`] there is a guard nevertheless: [`leak`](RLockGuard::leak) it after its `recover`, or
    /// the lock is released again.
    ///
    /// # Blocking
    ///
    /// As `lock`.
    ///
    /// # Errors
    ///
    /// See [`LockError`].
    pub fn acquire(&self) -> Result<(), LockError<RLockGuard<'_>>> {
        self.lock().map(RLockGuard::leak)
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
    pub fn try_acquire(&self) -> Result<(), LockError<RLockGuard<'_>>> {
        self.try_lock().map(RLockGuard::leak)
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
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<(), LockError<RLockGuard<'_>>> {
        self.lock_timeout(timeout).map(RLockGuard::leak)
    }

    /// Releases the lock once: Python's `release()`.
    ///
    /// # Errors
    ///
    /// [`NotOwner`] when this thread does not hold it (Python's `AssertionError`).
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn release(&self) -> Result<(), NotOwner> {
        let words = self.0.peek();
        if !words.is_mine() {
            return Err(NotOwner);
        }
        match words.depth().checked_sub(1) {
            Some(less) => words.set_depth(less),
            None if words.unlock() => {}
            None => return Err(NotOwner),
        }
        Ok(())
    }

    /// Whether a living thread of some process holds the lock, or held it just now.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_locked(&self) -> bool {
        self.0.peek().is_held()
    }

    /// Whether this thread holds the lock.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_owned(&self) -> bool {
        self.0.peek().is_mine()
    }

    /// How many times this thread holds the lock; 0 where another thread or nobody does.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn depth(&self) -> usize {
        let words = self.0.peek();
        if words.is_mine() { words.depth() as usize + 1 } else { 0 }
    }
}

impl PartialEq for RLock {
    /// Whether both are the same lock.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for RLock {}

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::RLock").field("locked", &self.is_locked()).field("depth", &self.depth()).finish()
    }
}

/// The right to what an [`RLock`] guards, until it is dropped. It stays in its thread, which may have several.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    _not_send: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// Says that what the lock guards is in order, after [`LockError::OwnerDied`]: who comes next gets it unmarked.
    pub fn recover(&self) {
        self.lock.0.peek().recover();
    }

    /// Whether a holder died, and nobody has called [`recover`](Self::recover) since.
    pub fn owner_died(&self) -> bool {
        self.lock.0.peek().state() == State::Dirty
    }

    /// Keeps the lock without a guard, until this thread calls [`RLock::release`] or ends.
    pub fn leak(self) {
        let _held = ManuallyDrop::new(self);
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // An error in a process that was forked while its parent's thread held the lock: it is not this thread's.
        let _ = self.lock.release();
    }
}

impl fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::RLockGuard").field("owner_died", &self.owner_died()).field("lock", self.lock).finish()
    }
}
