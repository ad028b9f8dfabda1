//! The guard of an `Array`: its elements as a slice.
//!
//! # Safety
//!
//! The invariants that the `SAFETY` comments cite:
//!
//! 1. An [`Array`] is made only of an object whose rest has room for `len` elements of `T`, counted when it was made or
//!    received. They begin at a cache line, and `T` is aligned to no more (checked at compile time).
//! 2. An [`ArrayGuard`] is made only by the thread that has just taken the lock, and stays there; it lends its elements
//!    only while that thread holds the lock, which nothing but the guard's end releases. Whoever else touches the
//!    elements, in whatever process, takes the lock before. That is what processes promise each other who share a lock;
//!    a slice that was borrowed before a fork is the parent's, and its copy in the child is not to be used.
//! 3. Any bytes are a `T` ([`Shareable`]).

#![expect(unsafe_code, reason = "elements in shared memory as a slice, under their lock")]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::{Array, Words};
use crate::ipc::Shareable;
use crate::shm::Object;

/// The elements of an [`Array`], as a slice, until it is dropped. It stays in its thread.
///
/// Borrowing it mutably is what marks the elements for others, should this process die: one that only reads leaves no trace.
///
/// ```
/// use crewkit::ipc::{Array, LockError};
///
/// let array = Array::new(&[3, 1, 2])?;
/// array.lock().unwrap().sort();
/// // A thread that ends with a guard through which it has written is a holder that died, as a killed process is.
/// let shared = array.clone();
/// std::thread::spawn(move || {
///     let mut guard = shared.lock().unwrap();
///     guard[0] = 7;
///     std::mem::forget(guard);
/// })
/// .join()
/// .unwrap();
///
/// assert!(matches!(array.get(1), Err(LockError::OwnerDied(()))));
/// let mut guard = array.lock().unwrap_err().into_guard().expect("taken, and told of the death");
/// guard[0] = 1; // what it was is for you to know
/// guard.recover();
/// drop(guard);
/// assert_eq!(*array.lock().unwrap(), [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the lock is released when its guard is dropped"]
pub struct ArrayGuard<'a, T: Shareable> {
    array: &'a Array<T>,
    /// Nobody has said that the elements are in order.
    owner_died: Cell<bool>,
    /// They were borrowed mutably, so that the journal has its mark.
    is_lent: Cell<bool>,
    _not_send: PhantomData<*const ()>,
}

impl<'a, T: Shareable> ArrayGuard<'a, T> {
    /// For who has just taken the lock.
    pub(super) fn new(array: &'a Array<T>, owner_died: bool) -> Self {
        Self { array, owner_died: Cell::new(owner_died), is_lent: Cell::new(false), _not_send: PhantomData }
    }

    /// Says that the elements are in order, after [`LockError::OwnerDied`](crate::ipc::LockError::OwnerDied): who comes next finds nothing marked.
    pub fn recover(&self) {
        // Not in a process that inherited the guard by fork.
        if self.object().is_mine() {
            self.object().guarded.settle();
            self.object().recover();
            self.owner_died.set(false);
            self.is_lent.set(false);
        }
    }

    /// Whether a holder died with elements half done, and nobody has called [`recover`](Self::recover) since.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died.get()
    }

    #[inline]
    pub(super) fn object(&self) -> &Object<Words> {
        self.array.handle.peek()
    }

    /// Where the elements begin.
    #[inline]
    fn elements(&self) -> *mut T {
        assert!(self.object().is_mine(), "a guard that this process inherited by fork lends nothing");
        self.array.row(self.object()).elements().as_ptr().cast_mut().cast()
    }
}

impl<T: Shareable> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    /// # Panics
    ///
    /// In a process that inherited the guard by fork.
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: invariants 1 to 3; the slice borrows the guard.
        unsafe { std::slice::from_raw_parts(self.elements(), self.array.len) }
    }
}

impl<T: Shareable> DerefMut for ArrayGuard<'_, T> {
    /// # Panics
    ///
    /// In a process that inherited the guard by fork.
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        let elements = self.elements();
        self.object().guarded.lend();
        self.is_lent.set(true);
        // SAFETY: invariants 1 to 3; the slice borrows the guard mutably, and the atomics that it covers are cells.
        unsafe { std::slice::from_raw_parts_mut(elements, self.array.len) }
    }
}

impl<T: Shareable> Drop for ArrayGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // In a process that was forked meanwhile, the elements are the parent's.
        if self.is_lent.get() && !self.owner_died.get() && self.object().is_mine() {
            self.object().guarded.settle();
        }
        // False in such a process.
        self.object().unlock();
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ipc::ArrayGuard").field("owner_died", &self.owner_died()).finish_non_exhaustive()
    }
}
