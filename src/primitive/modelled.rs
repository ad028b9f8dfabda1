//! The model's side of the primitives (loom); `real.rs` is the machine's.

use super::identity::Identity;
use crate::sys::clock::Deadline;
use std::cell::Cell;
use std::sync::{PoisonError, TryLockError};

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::hint;
pub(crate) use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
pub(crate) use loom::thread_local;

thread_local! {
    /// Who waits on this thread, once somebody asked.
    pub(super) static WAITER: Cell<Identity> = Cell::new(Identity::UNKNOWN);
}

/// A model's threads are not the kernel's.
pub(crate) fn native_id() -> u32 {
    0
}

/// Threads, under the names that the machine has too.
pub(crate) mod thread {
    pub(crate) use loom::thread::yield_now;
}

/// Whether a wait until `deadline` is over: it may be at any look.
pub(crate) fn has_passed(deadline: Deadline) -> bool {
    deadline != Deadline::NEVER
}

/// loom's mutex with parking_lot's signature: no poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See `Latch::pass`.
    pub(crate) fn pass(&self) {
        drop(self.lock());
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A latch that is waited for without a loop, which would be too many interleavings: `latch.rs` has a model of its own.
pub(crate) type Latch<T> = Mutex<T>;
pub(crate) type LatchGuard<'a, T> = MutexGuard<'a, T>;

/// A word that one thread can sleep on. The mutex is the kernel's bucket lock: under it the word is compared and the
/// sleeper enlisted, and a waker, which has changed the word before, takes it too.
#[derive(Debug, Default)]
pub(crate) struct Futex {
    pub(crate) word: AtomicU32,
    bucket: loom::sync::Mutex<()>,
    sleeper: loom::sync::Condvar,
}

impl Futex {
    pub(crate) fn wait(&self, expected: u32, deadline: Deadline) {
        if has_passed(deadline) {
            return;
        }
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if self.word.load(std::sync::atomic::Ordering::SeqCst) == expected {
            drop(self.sleeper.wait(bucket));
        }
    }

    pub(crate) fn wake_one(&self) {
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleeper.notify_one();
        drop(bucket);
    }
}
