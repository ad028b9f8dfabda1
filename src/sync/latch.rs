//! What a `Condition` needs of a lock: to let it go wholly, and to take it back as it was.

use super::lock::{Lock, LockGuard};
use super::permits::Permits;
use super::rlock::{RLock, RLockGuard};
use super::watch::Place;

/// A lock that can be let go for the time of a wait.
pub trait Latch {
    /// Whether [`let_go`](Self::let_go) would find something to let go.
    fn is_held(&self) -> bool;

    /// Lets the lock go from any depth, and answers that depth; `None` if it is not held.
    fn let_go(&self) -> Option<usize>;

    /// Takes the lock again, at `depth`, for a wait at `place`.
    fn take_back(&self, depth: usize, place: Place);

    /// What is waited for, by who waits for the lock.
    fn permit(&self) -> &Permits;
}

impl<T: ?Sized> Latch for Lock<T> {
    /// By anybody: a `Lock` does not know its holder.
    fn is_held(&self) -> bool {
        self.is_locked()
    }

    fn let_go(&self) -> Option<usize> {
        self.permit.release_only().ok().map(|()| 1)
    }

    fn take_back(&self, _: usize, place: Place) {
        place.acquire(&self.permit);
    }

    fn permit(&self) -> &Permits {
        &self.permit
    }
}

impl<T: ?Sized> Latch for RLock<T> {
    fn is_held(&self) -> bool {
        self.is_owned()
    }

    fn let_go(&self) -> Option<usize> {
        self.raw.release_all()
    }

    fn take_back(&self, depth: usize, place: Place) {
        self.raw.take_back(depth, place);
    }

    fn permit(&self) -> &Permits {
        self.raw.permit()
    }
}

/// A guard seen by a wait. Public in name only: it keeps [`WaitGuard`](super::WaitGuard) closed.
pub trait Guard {
    type Of: Latch;

    fn latch(&self) -> &Self::Of;
}

impl<T> Guard for LockGuard<'_, T> {
    type Of = Lock<T>;

    fn latch(&self) -> &Lock<T> {
        self.lock
    }
}

impl<T: Sync> Guard for RLockGuard<'_, T> {
    type Of = RLock<T>;

    fn latch(&self) -> &RLock<T> {
        self.lock
    }
}
