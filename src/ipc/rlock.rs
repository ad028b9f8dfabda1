//! `RLock`: one thread of all processes at a time, which may take it again, as Python's `multiprocessing.RLock`. The
//! rules for a holder that dies are in `shm::held`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::exclusive::exclusive;
use super::handle::Handle;
use super::{LockError, NotOwner};
use crate::primitive::Refused;
use crate::shm::{Locked, State};

pub(super) const KIND: u32 = 2;

pub(super) type Words = Locked<KIND>;

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

exclusive!(RLock, RLockGuard);

impl RLock {
    fn enter(words: &Words, got: Result<State, Refused>) -> Result<State, LockError<RLockGuard<'_>>> {
        match got {
            Err(Refused::Own) => {
                words.set_depth(words.depth().checked_add(1).ok_or(LockError::TooDeep)?);
                Ok(words.state())
            }
            // A holder that died, and one that released the lock, have left a depth of zero.
            got => Ok(got?),
        }
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

    /// Whether this thread holds the lock.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_owned(&self) -> bool {
        self.0.peek().is_mine()
    }

    /// For the holder: as if it had taken the lock so many times.
    pub(super) fn set_depth(&self, levels: usize) {
        let words = self.0.peek();
        if words.is_mine() {
            words.set_depth(u32::try_from(levels.saturating_sub(1)).unwrap_or(u32::MAX));
        }
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
