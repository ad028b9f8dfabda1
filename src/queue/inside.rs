//! Which thread is inside a mutex under which items' own code may run.
//!
//! Should that code use the same queue, its thread would wait for itself for ever. Instead it panics: whoever cannot have
//! the mutex at once first looks whether it has it already. The mark is written under the mutex and read without it, by
//! Relaxed accesses: the only mark that matters to a thread is its own, which it alone writes and takes away, and those
//! stores it sees in order.

use crate::primitive::{AtomicU64, Identity, Mutex, MutexGuard};
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

    /// Locks the mutex.
    ///
    /// # Panics
    ///
    /// If the calling thread has it.
    #[inline]
    pub(super) fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        // The threads of a model are one thread of the machine, and their items have no code of their own.
        if cfg!(crewkit_loom) {
            return mutex.lock();
        }
        let guard = mutex.try_lock().unwrap_or_else(|| self.contend(mutex));
        self.who.store(Identity::current().to_word(), Ordering::Relaxed);
        guard
    }

    /// Before the mutex is left.
    #[inline]
    pub(super) fn leave(&self) {
        if !cfg!(crewkit_loom) {
            self.who.store(0, Ordering::Relaxed);
        }
    }

    #[cold]
    fn contend<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        let is_here = self.who.load(Ordering::Relaxed) == Identity::current().to_word();
        assert!(!is_here, "a queue was used by the `Ord` or `Clone` of an item while that item was being put or got");
        mutex.lock()
    }
}
