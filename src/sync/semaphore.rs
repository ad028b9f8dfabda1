//! `Semaphore` and `BoundedSemaphore`: at most n at a time, as Python's of these names. The algorithm is in `permits`.

use super::permit::{OwnedPermit, Permit};
use super::permits::{MAX_PERMITS, Permits};
use crate::primitive::const_on_the_machine;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A number of permits, of which everybody takes some and gives them back: Python's `threading.Semaphore`.
///
/// A [`Permit`] gives back when dropped, also in a panic, and may be sent to another thread. Permits are not bound to
/// their number at the beginning: [`release`](Self::release) adds any number, [`Permit::forget`] takes some away.
///
/// Waiters are served in the order of arrival, but a thread that comes when there are permits may overtake them, so that
/// a busy semaphore stays fast. A waiter that has waited for more than a millisecond is handed what is given back until
/// it has what it asked for, so that nobody starves, nor does a large request behind small ones.
///
/// ```
/// use crewkit::sync::Semaphore;
///
/// let seats = Semaphore::new(2);
/// let first = seats.acquire();
/// let second = seats.acquire();
/// assert!(seats.try_acquire().is_none());
/// drop(first);
/// assert_eq!(seats.available(), 1);
/// # drop(second);
/// ```
pub struct Semaphore {
    pub(super) permits: Permits,
}

impl Semaphore {
    /// The most permits that a semaphore can have.
    pub const MAX_PERMITS: usize = MAX_PERMITS;

    const_on_the_machine! {
        /// A semaphore with `permits` permits.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        ///
        /// # Panics
        ///
        /// If `permits` is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        pub fn new(permits: usize) -> Self {
            assert!(permits <= MAX_PERMITS, "more permits than a semaphore can have");
            Self { permits: Permits::new(permits, MAX_PERMITS) }
        }
    }

    /// Adds `count` permits, which nobody need have taken before: Python's `release(n)`. Zero adds none (Python raises
    /// an error).
    ///
    /// # Errors
    ///
    /// [`Overflow`], with nothing changed, if there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn release(&self, count: usize) -> Result<(), Overflow> {
        self.permits.release(count).map_err(|_| Overflow)
    }
}

impl Default for Semaphore {
    /// One permit, as in Python.
    fn default() -> Self {
        Self::new(1)
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiters = self.permits.waiters();
        f.debug_struct("Semaphore").field("available", &self.available()).field("waiters", &waiters).finish()
    }
}

/// A semaphore that never has more permits than at the beginning: Python's `threading.BoundedSemaphore`.
///
/// The same as [`Semaphore`] in all else, and who waits for more permits than there can ever be stands in nobody's way. Use
/// it where each release answers an acquire, so that a release too many, which is a mistake then, does not pass unseen.
///
/// ```
/// use crewkit::sync::{BoundedSemaphore, OverReleased};
///
/// let seats = BoundedSemaphore::new(2);
/// seats.acquire().forget();
/// seats.release(1)?;
/// assert_eq!(seats.release(1), Err(OverReleased));
/// assert_eq!(seats.available(), 2);
/// # Ok::<(), OverReleased>(())
/// ```
pub struct BoundedSemaphore {
    pub(super) permits: Permits,
}

impl BoundedSemaphore {
    const_on_the_machine! {
        /// A semaphore with `permits` permits, and never more.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        ///
        /// # Panics
        ///
        /// If `permits` is more than [`Semaphore::MAX_PERMITS`].
        pub fn new(permits: usize) -> Self {
            assert!(permits <= MAX_PERMITS, "more permits than a semaphore can have");
            Self { permits: Permits::new(permits, permits) }
        }
    }

    /// Gives back `count` permits that were taken and [forgotten](Permit::forget): Python's `release(n)`. Zero gives back
    /// none (Python raises an error).
    ///
    /// # Errors
    ///
    /// [`OverReleased`], with nothing changed, if there would be more than [`bound`](Self::bound) (Python's `ValueError`).
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn release(&self, count: usize) -> Result<(), OverReleased> {
        self.permits.release(count).map_err(|_| OverReleased)
    }

    /// How many permits there are when nobody has any.
    pub fn bound(&self) -> usize {
        self.permits.limit()
    }
}

impl Default for BoundedSemaphore {
    /// One permit, as in Python.
    fn default() -> Self {
        Self::new(1)
    }
}

impl fmt::Debug for BoundedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("BoundedSemaphore");
        text.field("available", &self.available()).field("bound", &self.bound());
        text.field("waiters", &self.permits.waiters()).finish()
    }
}

/// Writes the ways to take permits once, for the two semaphores.
macro_rules! gives_permits {
    ($type:ident, is_bounded: $is_bounded:literal, acquire: $acquire:expr) => {
        impl $type {
            /// Waits for a permit and takes it: Python's `acquire()`, or `with semaphore:`.
            ///
            /// # Blocking
            ///
            /// Until there is a permit.
            #[inline]
            pub fn acquire(&self) -> Permit<'_> {
                $acquire(&self.permits);
                Permit::new(&self.permits, 1, $is_bounded)
            }

            /// Takes a permit if there is one: Python's `acquire(blocking=False)`.
            ///
            /// # Blocking
            ///
            /// Never.
            #[inline]
            pub fn try_acquire(&self) -> Option<Permit<'_>> {
                self.try_acquire_many(1)
            }

            /// Takes a permit if there is one within `timeout`: Python's `acquire(timeout=…)`.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
                self.acquire_many_timeout(1, timeout)
            }

            /// Waits for `count` permits and takes them all at once; never only some of them.
            ///
            /// # Blocking
            ///
            /// Until there are as many; for ever, if there never are.
            #[inline]
            pub fn acquire_many(&self, count: usize) -> Permit<'_> {
                self.permits.acquire(count);
                Permit::new(&self.permits, count, $is_bounded)
            }

            /// Takes `count` permits if there are as many.
            ///
            /// # Blocking
            ///
            /// Never.
            #[inline]
            pub fn try_acquire_many(&self, count: usize) -> Option<Permit<'_>> {
                self.permits.try_acquire(count).then(|| Permit::new(&self.permits, count, $is_bounded))
            }

            /// Takes `count` permits if there are as many within `timeout`.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn acquire_many_timeout(&self, count: usize, timeout: Duration) -> Option<Permit<'_>> {
                self.permits.acquire_within(count, timeout).then(|| Permit::new(&self.permits, count, $is_bounded))
            }

            /// [`acquire`](Self::acquire), with a permit that keeps the semaphore alive, for threads that outlive the caller.
            ///
            /// ```
            /// use crewkit::sync::Semaphore;
            /// use std::sync::Arc;
            ///
            /// let seats = Arc::new(Semaphore::new(1));
            /// let seat = seats.acquire_owned();
            /// let guest = std::thread::spawn(move || drop(seat));
            /// let _mine = seats.acquire(); // when the guest has left
            /// # guest.join().unwrap();
            /// ```
            ///
            /// # Blocking
            ///
            /// Until there is a permit.
            pub fn acquire_owned(self: &Arc<Self>) -> OwnedPermit<Self> {
                self.acquire_many_owned(1)
            }

            /// [`try_acquire`](Self::try_acquire), with a permit that keeps the semaphore alive.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedPermit<Self>> {
                self.permits.try_acquire(1).then(|| OwnedPermit::new(self, 1))
            }

            /// [`acquire_timeout`](Self::acquire_timeout), with a permit that keeps the semaphore alive.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn acquire_owned_timeout(self: &Arc<Self>, timeout: Duration) -> Option<OwnedPermit<Self>> {
                self.permits.acquire_within(1, timeout).then(|| OwnedPermit::new(self, 1))
            }

            /// [`acquire_many`](Self::acquire_many), with a permit that keeps the semaphore alive.
            ///
            /// # Blocking
            ///
            /// Until there are as many.
            pub fn acquire_many_owned(self: &Arc<Self>, count: usize) -> OwnedPermit<Self> {
                self.permits.acquire(count);
                OwnedPermit::new(self, count)
            }

            /// [`try_acquire_many`](Self::try_acquire_many), with a permit that keeps the semaphore alive.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn try_acquire_many_owned(self: &Arc<Self>, count: usize) -> Option<OwnedPermit<Self>> {
                self.permits.try_acquire(count).then(|| OwnedPermit::new(self, count))
            }

            /// [`acquire_many_timeout`](Self::acquire_many_timeout), with a permit that keeps the semaphore alive.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            pub fn acquire_many_owned_timeout(
                self: &Arc<Self>,
                count: usize,
                timeout: Duration,
            ) -> Option<OwnedPermit<Self>> {
                self.permits.acquire_within(count, timeout).then(|| OwnedPermit::new(self, count))
            }

            /// How many permits [`try_acquire_many`](Self::try_acquire_many) could take now.
            ///
            /// # Blocking
            ///
            /// Never.
            pub fn available(&self) -> usize {
                self.permits.available()
            }
        }
    };
}

gives_permits!(Semaphore, is_bounded: false, acquire: Permits::acquire_one);
gives_permits!(BoundedSemaphore, is_bounded: true, acquire: |permits: &Permits| permits.acquire(1));

/// A semaphore would have had more than [`Semaphore::MAX_PERMITS`] permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release of more permits than a semaphore can have")
    }
}

impl Error for Overflow {}

/// A bounded semaphore would have had more permits than at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverReleased;

impl fmt::Display for OverReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release of more permits than were taken from a bounded semaphore")
    }
}

impl Error for OverReleased {}
