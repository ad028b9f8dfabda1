//! A lock for a few instructions: taken by one compare-and-swap, left by a plain store.
//!
//! It is half of what a mutex costs that has to ask, when it is left, whether somebody sleeps: nobody sleeps on a latch.
//! Who finds it taken pauses, yields, and at last sleeps a little at a time, since its holder may have been suspended, or
//! have a lower priority on the same processor. So it is for what cannot block, allocate, or run code of a user's.
//!
//! Orderings: taking it acquires what its last holder did, in the Release store with which that one left it.
//!
//! # Safety
//!
//! The value is reached through a guard only, and there is one guard at a time: it is made by the compare-and-swap that
//! turns `FREE` into `HELD`, and nobody else makes the word `FREE` again than that guard's drop.

#![expect(unsafe_code, reason = "a cell that a lock word guards")]

use super::platform::{AtomicU32, UnsafeCell};
use super::spin::wait_until;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;

const FREE: u32 = 0;
const HELD: u32 = 1;

#[derive(Debug)]
pub(crate) struct Latch<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value goes from thread to thread with the latch, and is never shared.
unsafe impl<T: Send> Sync for Latch<T> {}

/// The value, until this is dropped; shared between threads only if the value may be.
#[derive(Debug)]
#[must_use = "the latch is left when this is dropped"]
pub(crate) struct LatchGuard<'a, T>(&'a Latch<T>, PhantomData<&'a mut T>);

impl<T> Latch<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { word: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> LatchGuard<'_, T> {
        if !self.try_take() {
            wait_until(|| self.word.load(Ordering::Relaxed) == FREE && self.try_take());
        }
        LatchGuard(self, PhantomData)
    }

    #[inline]
    fn try_take(&self) -> bool {
        self.word.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
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
        self.0.word.store(FREE, Ordering::Release);
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
