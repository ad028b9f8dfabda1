//! A lock for a few instructions: taken by one compare-and-swap, left by a plain store.
//!
//! That is half of what a mutex costs. A mutex is left by a second locked operation, which makes it free and learns whether
//! somebody sleeps, in one step: with a store and a load instead, the load may come first, miss who is about to sleep, and
//! nobody is woken. Only a full fence keeps them in order. Here the one who is about to sleep pays for it, by
//! [`fence_all_threads`], and that is seldom: first it pauses and yields, for as long as a holder takes that is running.
//!
//! ```text
//!   leaving:  word = FREE (Release); half a fence; sleepers > 0?  then wake one
//!   sleeping: sleepers + 1; the fence; until the word can be taken: sleep while it is HELD;  sleepers - 1
//! ```
//!
//! The fence falls before the leaver's half or after. Before: its load comes after the fence, and finds the sleeper. After:
//! its store came before the fence, so the sleeper, who looks at the word next, does not find what the leaver held.
//! Whoever leaves from then on finds the sleeper, until that one has taken the latch. Several sleepers are woken one
//! by one, each by whoever leaves next. Nothing is handed over: who comes at the right moment is quicker than a sleeper.
//!
//! Where the kernel knows no such fence, sleeps are short ones, and the latch is polled.
//!
//! Orderings: taking it acquires what its last holder did, in the Release store with which that one left it. `sleepers` is
//! only a number: Relaxed, but for the fences.
//!
//! # Safety
//!
//! The value is reached through a guard only, and there is one guard at a time: it is made by the compare-and-swap that
//! turns `FREE` into `HELD`, and nobody else makes the word `FREE` again than that guard's drop.

#![expect(unsafe_code, reason = "a cell that a lock word guards")]

use super::const_on_the_machine;
use super::platform::{AtomicU32, Futex, UnsafeCell, fence_all_threads, half_fence};
use super::spin::comes_true_soon;
use crate::sys::clock::Deadline;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::time::Duration;

const FREE: u32 = 0;
const HELD: u32 = 1;

/// How long a sleep is if nobody may know of it.
const A_MOMENT: Duration = Duration::from_micros(50);

#[derive(Debug)]
pub(crate) struct Latch<T> {
    futex: Futex,
    /// Who is about to sleep, sleeps, or was woken and has not taken the latch.
    sleepers: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes from thread to thread with the latch, and is never shared.
unsafe impl<T: Send> Sync for Latch<T> {}

/// The value, until this is dropped; shared between threads only if the value may be.
#[derive(Debug)]
#[must_use = "the latch is left when this is dropped"]
pub(crate) struct LatchGuard<'a, T>(&'a Latch<T>, PhantomData<&'a mut T>);

impl<T> Latch<T> {
    const_on_the_machine! {
        pub(crate) fn new(value: T) -> Self {
            Self { futex: Futex::new(), sleepers: AtomicU32::new(0), value: UnsafeCell::new(value) }
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> LatchGuard<'_, T> {
        if !self.try_take() {
            self.wait();
        }
        LatchGuard(self, PhantomData)
    }

    /// The value, unless somebody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<LatchGuard<'_, T>> {
        self.try_take().then(|| LatchGuard(self, PhantomData))
    }

    /// Waits until whoever holds the latch has left it: what that one did is then done, and seen here.
    #[inline]
    pub(crate) fn pass(&self) {
        if self.futex.word.load(Ordering::Acquire) != FREE {
            drop(self.lock());
        }
    }

    #[cold]
    fn wait(&self) {
        let is_free = || self.futex.word.load(Ordering::Relaxed) == FREE;
        if comes_true_soon(|| is_free() && self.try_take()) {
            return;
        }
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let is_known = fence_all_threads();
        while !self.try_take() {
            self.futex.wait(HELD, if is_known { Deadline::NEVER } else { Deadline::after(A_MOMENT) });
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    #[cold]
    fn wake(&self) {
        self.futex.wake_one();
    }

    #[inline]
    fn try_take(&self) -> bool {
        self.futex.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

impl<T> Deref for LatchGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: there is one guard, and it is borrowed for as long as what this answers.
        self.0.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for LatchGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: there is one guard, and it is borrowed mutably for as long as what this answers.
        self.0.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for LatchGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.futex.word.store(FREE, Ordering::Release);
        half_fence();
        if self.0.sleepers.load(Ordering::Relaxed) > 0 {
            self.0.wake();
        }
    }
}

#[cfg(all(test, not(crewkit_loom)))]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_latch_keeps_threads_apart() {
        const THREADS: u64 = 4;
        const ROUNDS: u64 = 10_000;
        let sum = Latch::new(0);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let mut sum = sum.lock();
                        let before = *sum;
                        *sum = before + 1;
                    }
                });
            }
        });
        assert_eq!(*sum.lock(), THREADS * ROUNDS);
    }

    #[test]
    fn who_sleeps_on_a_latch_is_woken_when_it_is_left() {
        let latch = Latch::new(0);
        thread::scope(|scope| {
            let held = latch.lock();
            for _ in 0..2 {
                scope.spawn(|| *latch.lock() += 1);
            }
            while latch.sleepers.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
            drop(held);
        });
        assert_eq!((*latch.lock(), latch.sleepers.load(Ordering::Relaxed)), (2, 0));
    }

    #[test]
    fn who_unwinds_leaves_the_latch() {
        let latch = Latch::new(1);
        let unwound = thread::scope(|scope| {
            let unwinding = scope.spawn(|| {
                let _guard = latch.lock();
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            unwinding.join()
        });
        assert!(unwound.is_err());
        assert_eq!(*latch.lock(), 1);
    }
}
