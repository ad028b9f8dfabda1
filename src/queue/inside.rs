//! Which thread is inside a latch under which items' own code may run.
//!
//! Should that code use the same queue, its thread would wait for itself for ever. Instead it panics: whoever cannot have
//! the latch at once first looks whether it has it already. The mark is written under the latch and read without it, by
//! Relaxed accesses: the only mark that matters to a thread is its own, which it alone writes and takes away, and those
//! stores it sees in order.

use crate::primitive::{AtomicU64, Identity, Latch, LatchGuard};
use std::sync::atomic::Ordering;

#[derive(Debug)]
pub(super) struct Inside {
    /// Who is inside, zero for nobody.
    who: AtomicU64,
}

impl Inside {
    pub(super) fn new() -> Self {
        Self { who: AtomicU64::new(0) }
    }

    /// Locks the latch.
    ///
    /// # Panics
    ///
    /// If the calling thread has it.
    #[inline]
    pub(super) fn lock<'a, T>(&self, latch: &'a Latch<T>) -> LatchGuard<'a, T> {
        // The threads of a model are one thread of the machine, and their items have no code of their own.
        if cfg!(crewkit_loom) {
            return latch.lock();
        }
        let guard = latch.try_lock().unwrap_or_else(|| self.contend(latch));
        self.who.store(Identity::current().to_word(), Ordering::Relaxed);
        guard
    }

    /// Before the latch is left.
    #[inline]
    pub(super) fn leave(&self) {
        if !cfg!(crewkit_loom) {
            self.who.store(0, Ordering::Relaxed);
        }
    }

    #[cold]
    fn contend<'a, T>(&self, latch: &'a Latch<T>) -> LatchGuard<'a, T> {
        let is_here = self.who.load(Ordering::Relaxed) == Identity::current().to_word();
        assert!(!is_here, "a queue was used by the `Ord` or `Clone` of an item while that item was being put or got");
        latch.lock()
    }
}
