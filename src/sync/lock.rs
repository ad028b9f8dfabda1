//! `Lock`: one thread at a time, as Python's `threading.Lock`.
//!
//! # Safety
//!
//! The value is reached through a [`LockGuard`] only, and for `T` other than `()` a guard exists only between taking
//! the one permit and giving it back: [`Lock::release`], which any thread may call, exists for `Lock<()>` alone. There
//! a guard proves nothing, and it guards nothing: a `()` has no bytes to race for.

#![expect(unsafe_code, reason = "a lock lends what it owns")]

use super::watch::{Watched, show_holder};
use crate::primitive::const_on_the_machine;
use std::cell::UnsafeCell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A lock that one thread holds at a time: Python's `threading.Lock`, or, with a value inside, a mutex.
///
/// Taking it twice in one thread blocks for ever (it is not re-entrant). It is unfair but nobody starves: a thread that
/// has waited for more than a millisecond is handed the lock, at most once in a millisecond. A panic releases it and
/// leaves the value as it is; there is no poisoning. Dropping a held `Lock` is fine.
///
/// With a value, [`lock`](Self::lock) gives a guard. Without one, a `Lock<()>` can also be used as in Python, by
/// [`acquire`](Lock::acquire) and [`release`](Lock::release), where any thread may release.
///
/// ```
/// use crewkit::sync::Lock;
///
/// static TOTAL: Lock<u32> = Lock::new(0);
///
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| *TOTAL.lock() += 1);
///     }
/// });
/// assert_eq!(*TOTAL.lock(), 4);
/// ```
#[cfg_attr(feature = "deadlock-detection", repr(C))]
pub struct Lock<T: ?Sized = ()> {
    pub(super) permit: Watched,
    value: UnsafeCell<T>,
}

// SAFETY: a lock owns its value, and the rest of it is Send.
unsafe impl<T: ?Sized + Send> Send for Lock<T> {}
// SAFETY: threads that share the lock reach the value one after another, each as if it had been sent to it; what one did
// with it happens before the next one's turn (`permits`, orderings).
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    const_on_the_machine! {
        /// An unlocked lock around `value`.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        pub fn new(value: T) -> Self {
            Self { permit: Watched::new(1, 1), value: UnsafeCell::new(value) }
        }
    }

    /// The value, when the lock is no longer needed.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Waits until the lock is free and takes it: Python's `acquire()`, or `with lock:`.
    ///
    /// # Blocking
    ///
    /// Until the lock is free; for ever, if this thread holds it.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub fn lock(&self) -> LockGuard<'_, T> {
        self.permit.acquire_only();
        self.guard()
    }

    /// Takes the lock if it is free: Python's `acquire(blocking=False)`.
    ///
    /// # Blocking
    ///
    /// Never.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.permit.try_acquire(1).then(|| self.guard())
    }

    /// Takes the lock if it becomes free within `timeout`: Python's `acquire(timeout=…)`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn lock_timeout(&self, timeout: Duration) -> Option<LockGuard<'_, T>> {
        self.permit.acquire_within(1, timeout).then(|| self.guard())
    }

    /// Whether somebody holds the lock, or held it just now: Python's `locked()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_locked(&self) -> bool {
        self.permit.available() == 0
    }

    /// The value, without locking: nobody else can have the lock while it is borrowed mutably.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn guard(&self) -> LockGuard<'_, T> {
        LockGuard { lock: self, _not_send: PhantomData }
    }
}

impl Lock {
    /// Waits until the lock is free and takes it, without a guard: Python's `acquire()`.
    ///
    /// ```
    /// use crewkit::sync::{Lock, NotHeld};
    ///
    /// let baton = Lock::default();
    /// baton.acquire();
    /// assert!(!baton.try_acquire());
    /// std::thread::scope(|scope| scope.spawn(|| baton.release()).join()).unwrap()?;
    /// assert_eq!(baton.release(), Err(NotHeld));
    /// # Ok::<(), NotHeld>(())
    /// ```
    ///
    /// # Blocking
    ///
    /// Until the lock is free.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub fn acquire(&self) {
        self.permit.acquire_only();
    }

    /// Takes the lock if it is free; whether it did.
    ///
    /// # Blocking
    ///
    /// Never.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    #[must_use = "the lock is held if this is true"]
    pub fn try_acquire(&self) -> bool {
        self.permit.try_acquire(1)
    }

    /// Takes the lock if it becomes free within `timeout`; whether it did.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[must_use = "the lock is held if this is true"]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.permit.acquire_within(1, timeout)
    }

    /// Releases the lock, whichever thread took it: Python's `release()`.
    ///
    /// A guard whose lock was released under it does nothing more when dropped, or, if somebody has taken the lock
    /// since, releases that: do not mix the two styles on one lock.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] if the lock is free (Python's `RuntimeError`).
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn release(&self) -> Result<(), NotHeld> {
        self.permit.release_only().map_err(|_| NotHeld)
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Lock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = self.try_lock();
        let mut text = f.debug_struct("Lock");
        text.field("locked", &guard.is_none()).field("waiters", &self.permit.waiters());
        if let Some(guard) = &guard {
            return text.field("value", &&**guard).finish();
        }
        show_holder(&self.permit, &mut text);
        text.finish_non_exhaustive()
    }
}

/// The right to use what is in a [`Lock`], until it is dropped.
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard<'a, T: ?Sized = ()> {
    pub(super) lock: &'a Lock<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for LockGuard<'_, T> {}

impl<T: ?Sized> LockGuard<'_, T> {
    /// Releases the lock to the thread that has waited longest, if one waits: nobody can overtake it.
    ///
    /// For a thread that would take the lock again at once, and should let others in between. Dropping the guard is faster.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn release_fair(guard: Self) {
        // As in `drop`.
        let _ = ManuallyDrop::new(guard).lock.permit.release_fair();
    }
}

impl<T: ?Sized> Deref for LockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard has the lock's only permit, so nobody else reaches the value; a `()` may be shared anyhow.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for LockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard itself is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for LockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if size_of_val(&self.lock.value) == 0 {
            // Fails for a `Lock<()>` that somebody else has released, where nothing is left to do.
            let _ = self.lock.permit.release_only();
        } else {
            self.lock.permit.give_back();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The lock to be released was not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release of a lock that nobody holds")
    }
}

impl Error for NotHeld {}
