//! Locks that a `Condition` can wait under: let go of from any depth, and taken back.

use super::{Lock, LockError, LockGuard, RLock, RLockGuard};
use crate::sys::clock::Deadline;

/// A lock between processes that a [`Condition`](super::Condition) can wait under: [`Lock`], [`RLock`], and no others.
pub trait Guards: sealed::Sealed + Clone + PartialEq {
    /// Its guard.
    type Guard<'a>
    where
        Self: 'a;

    /// Whether the guard is of this lock.
    #[doc(hidden)]
    fn is_of(&self, guard: &Self::Guard<'_>) -> bool;

    /// Lets go of the lock, however many times this thread has it.
    #[doc(hidden)]
    fn leave(guard: Self::Guard<'_>) -> Depth;

    /// Takes the lock, as many times as it was left.
    #[doc(hidden)]
    fn enter_again(&self, until: Until, depth: Depth) -> Result<Self::Guard<'_>, LockError<Self::Guard<'_>>>;
}

/// How many times a thread has a lock, beyond the first.
#[derive(Clone, Copy, Debug)]
pub struct Depth(u32);

/// A deadline that users cannot make.
#[derive(Clone, Copy, Debug)]
pub struct Until(pub(super) Deadline);

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Lock {}
    impl Sealed for super::RLock {}
}

impl Guards for Lock {
    type Guard<'a> = LockGuard<'a>;

    fn is_of(&self, guard: &LockGuard<'_>) -> bool {
        guard.of() == self
    }

    fn leave(guard: LockGuard<'_>) -> Depth {
        drop(guard);
        Depth(0)
    }

    fn enter_again(&self, Until(deadline): Until, _: Depth) -> Result<LockGuard<'_>, LockError<LockGuard<'_>>> {
        self.lock_until(deadline)
    }
}

impl Guards for RLock {
    type Guard<'a> = RLockGuard<'a>;

    fn is_of(&self, guard: &RLockGuard<'_>) -> bool {
        guard.of() == self
    }

    fn leave(guard: RLockGuard<'_>) -> Depth {
        let lock = guard.of();
        let levels = lock.depth();
        // Whoever dies in between has the lock, and leaves no depth to its successor (`shm::held`).
        lock.set_depth(1);
        drop(guard);
        Depth(u32::try_from(levels.saturating_sub(1)).unwrap_or(u32::MAX))
    }

    fn enter_again(
        &self,
        Until(deadline): Until,
        Depth(depth): Depth,
    ) -> Result<RLockGuard<'_>, LockError<RLockGuard<'_>>> {
        let taken = self.lock_until(deadline);
        if let Ok(_) | Err(LockError::OwnerDied(_)) = taken {
            self.set_depth(depth as usize + 1);
        }
        taken
    }
}
