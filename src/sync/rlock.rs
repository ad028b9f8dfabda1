//! `RLock`: one thread at a time, which may take it again, as Python's `threading.RLock`. The algorithm is in
//! `reentrant`.
//!
//! # Safety
//!
//! The value is reached through an [`RLockGuard`] only, and for `T` other than `()` a guard exists only while its thread
//! has the lock: guards stay in their thread, [`RLock::release`], which could let go under a guard, exists for
//! `RLock<()>` alone, and a `Condition`, which lets go under all guards of its thread, waits with a `T: Sync` only. A
//! thread may have many guards, so each gives `&T` and none `&mut T`.

#![expect(unsafe_code, reason = "a lock lends what it owns")]

use super::reentrant::Reentrant;
use super::watch::show_holder;
use crate::primitive::const_on_the_machine;
use std::cell::UnsafeCell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// A lock that the thread which holds it may take again: Python's `threading.RLock`, perhaps with a value inside.
///
/// It is free again when it was released as many times as it was taken. The guard gives `&T`, as its thread may have
/// several at a time; put a `Cell` or `RefCell` inside to change the value. Like [`Lock`](super::Lock) it is unfair but
/// nobody starves, and a panic releases it without poisoning. A thread that ends without releasing it leaves it locked.
///
/// ```
/// use crewkit::sync::RLock;
/// use std::cell::Cell;
///
/// struct Account(RLock<Cell<i64>>);
///
/// impl Account {
///     fn add(&self, amount: i64) {
///         let balance = self.0.lock();
///         balance.set(balance.get() + amount);
///     }
///
///     fn add_with_interest(&self, amount: i64) {
///         let _all_or_nothing = self.0.lock();
///         self.add(amount); // takes the lock again: a `Lock` would block here for ever
///         self.add(amount / 10);
///     }
/// }
///
/// let account = Account(RLock::new(Cell::new(0)));
/// account.add_with_interest(100);
/// assert_eq!(account.0.lock().get(), 110);
/// ```
// The word, the owner, the depth and the beginning of the value lie in one cache line, whatever the lock lies in.
#[repr(C, align(64))]
pub struct RLock<T: ?Sized = ()> {
    pub(super) raw: Reentrant,
    value: UnsafeCell<T>,
}

// SAFETY: a lock owns its value, and the rest of it is Send.
unsafe impl<T: ?Sized + Send> Send for RLock<T> {}
// SAFETY: threads that share the lock reach the value one after another, each as if it had been sent to it; what one did
// with it happens before the next one's turn (`permits`, orderings).
unsafe impl<T: ?Sized + Send> Sync for RLock<T> {}

impl<T> RLock<T> {
    const_on_the_machine! {
        /// An unlocked lock around `value`.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        pub fn new(value: T) -> Self {
            Self { raw: Reentrant::new(), value: UnsafeCell::new(value) }
        }
    }

    /// The value, when the lock is no longer needed.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RLock<T> {
    /// Waits until the lock is free or this thread's own, and takes it (again): Python's `acquire()`, or `with lock:`.
    ///
    /// # Blocking
    ///
    /// Until no other thread has the lock.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub fn lock(&self) -> RLockGuard<'_, T> {
        self.raw.acquire();
        self.guard()
    }

    /// Takes the lock if it is free or this thread's own: Python's `acquire(blocking=False)`.
    ///
    /// # Blocking
    ///
    /// Never.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub fn try_lock(&self) -> Option<RLockGuard<'_, T>> {
        self.raw.try_acquire().then(|| self.guard())
    }

    /// Takes the lock if within `timeout` no other thread has it: Python's `acquire(timeout=…)`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn lock_timeout(&self, timeout: Duration) -> Option<RLockGuard<'_, T>> {
        self.raw.acquire_within(timeout).then(|| self.guard())
    }

    /// Whether somebody holds the lock, or held it just now: Python's `locked()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_locked(&self) -> bool {
        !self.raw.is_free()
    }

    /// Whether this thread holds the lock: Python's `_is_owned()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_owned(&self) -> bool {
        self.raw.is_mine()
    }

    /// How many times this thread holds the lock; zero if another does, or nobody. Python's `_recursion_count()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn depth(&self) -> usize {
        self.raw.depth()
    }

    /// The value, without locking: nobody else can have the lock while it is borrowed mutably.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[inline]
    fn guard(&self) -> RLockGuard<'_, T> {
        RLockGuard { lock: self, _not_send: PhantomData }
    }
}

impl RLock {
    /// Waits until the lock is free or this thread's own, and takes it (again), without a guard: Python's `acquire()`.
    ///
    /// ```
    /// use crewkit::sync::{NotOwner, RLock};
    ///
    /// let lock = RLock::default();
    /// lock.acquire();
    /// lock.acquire();
    /// assert_eq!(lock.depth(), 2);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| assert_eq!(lock.release(), Err(NotOwner)));
    /// });
    /// lock.release()?;
    /// lock.release()?;
    /// assert_eq!(lock.release(), Err(NotOwner));
    /// # Ok::<(), NotOwner>(())
    /// ```
    ///
    /// # Blocking
    ///
    /// Until no other thread has the lock.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    pub fn acquire(&self) {
        self.raw.acquire();
    }

    /// Takes the lock if it is free or this thread's own; whether it did.
    ///
    /// # Blocking
    ///
    /// Never.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[inline]
    #[must_use = "the lock is held if this is true"]
    pub fn try_acquire(&self) -> bool {
        self.raw.try_acquire()
    }

    /// Takes the lock if within `timeout` no other thread has it; whether it did.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    #[must_use = "the lock is held if this is true"]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.raw.acquire_within(timeout)
    }

    /// Releases the lock once: Python's `release()`. It is free when it was released as often as it was taken.
    ///
    /// A guard whose lock was released under it does nothing more when dropped, or, if its thread has taken the lock
    /// since, releases that: do not mix the two styles on one lock.
    ///
    /// # Errors
    ///
    /// [`NotOwner`], with nothing changed, if this thread does not hold the lock (Python's `RuntimeError`).
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn release(&self) -> Result<(), NotOwner> {
        if self.raw.release() { Ok(()) } else { Err(NotOwner) }
    }
}

impl<T: Default> Default for RLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("RLock");
        match self.raw.owner() {
            Some((owner, depth)) => text.field("owner", &owner).field("depth", &depth),
            None => text.field("locked", &self.is_locked()),
        };
        show_holder(self.raw.permit(), &mut text);
        text.field("waiters", &self.raw.permit().waiters());
        match self.try_lock() {
            Some(guard) => text.field("value", &&*guard).finish(),
            None => text.finish_non_exhaustive(),
        }
    }
}

/// The right to look at what is in an [`RLock`], until it is dropped.
#[must_use = "the lock is released when its guard is dropped"]
pub struct RLockGuard<'a, T: ?Sized = ()> {
    pub(super) lock: &'a RLock<T>,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives `&T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RLockGuard<'_, T> {}

impl<T: ?Sized> Deref for RLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread has the lock as long as it has a guard, so no other thread reaches the value, and none has
        // it mutably; a `()` may be shared anyhow.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if size_of_val(&self.lock.value) > 0 {
            self.lock.raw.release_mine();
        } else {
            // Fails for an `RLock<()>` that was released under its guard, where nothing is left to do.
            let _ = self.lock.raw.release();
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RLockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The re-entrant lock to be released is not held by this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwner;

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release of a re-entrant lock that this thread does not hold")
    }
}

impl Error for NotOwner {}
