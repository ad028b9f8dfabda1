//! Values of which each thread has its own, and which end with their thread or with their object.
//!
//! ```text
//!   Local<T> --> Shared { slots: thread -> Slot<T> }          who owns the values
//!                          ^           ^
//!                  (weak) |           | (address)
//!   thread's Me { locals: object -> Entry { owner, value } }  how a thread finds its own without a lock
//! ```
//!
//! Objects and threads have numbers that are never given twice, so nobody finds the slot of a dead one.
//!
//! # Safety
//!
//! A `Slot<T>` is shared between threads although `T` need not be `Sync`. What keeps that sound:
//!
//! 1. a shared reference to a value is given to its own thread only (`with`), and to others if `T: Sync` (`iter`);
//! 2. a unique reference is given only against a unique borrow of the `Local` (`iter_mut`), while no shared one exists:
//!    each of those borrows the `Local`;
//! 3. values are dropped by whoever owns the last `Arc` of the slot, hence `T: Send`;
//! 4. a value's address in `Me` is used only through a `Local` of the same number, hence of the same `T`. While one is
//!    borrowed it keeps the value's slot alive, which leaves its map in three ways only: with the `Local`, which is
//!    borrowed; at the end of the thread, when its frames with the borrow are gone; or in exit(3), called by the thread
//!    within a borrow, where `Me::borrows` forbids it.

#![expect(unsafe_code, reason = "values of one thread stand in a map that all threads share")]

use super::me::{self, Me};
use crate::primitive::Mutex;
use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// So many entries of objects that are gone a thread always puts up with.
pub(super) const MOST_DEAD: usize = 8;

/// A value for each thread that uses it (Python's `threading.local`; a subclass of it with an `__init__`).
///
/// Unlike std's [`thread_local!`] it is an object: made at run time, with a function that makes each thread's value,
/// dropped with its values, and its values can be gone through, as for a counter that each thread keeps for itself and
/// somebody adds up. What is to change goes in a `Cell`, a `RefCell` or an atomic.
///
/// A value is dropped when its thread ends, after the thread's function and std's thread-local values have been dropped,
/// and before anybody who waits for the thread goes on; or when the `Local` is dropped, in whatever thread. Values of the
/// main thread stay until the process is gone, so that whatever runs at exit can use them. On a thread that was started
/// elsewhere, a destructor that runs later than this finds the value dropped, and gets a new one for the one call.
///
/// ```
/// use crewkit::thread::{self, Local};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let hits = Arc::new(Local::new(|| AtomicU64::new(0)));
/// let mine = Arc::clone(&hits);
/// let thread = thread::spawn(move || {
///     mine.with(|hits| hits.fetch_add(1, Ordering::Relaxed));
///     mine.iter().map(|hits| hits.load(Ordering::Relaxed)).sum::<u64>()
/// });
/// assert_eq!(thread.join()?, 1);
/// assert_eq!(hits.iter().count(), 0, "that thread's value is gone, and this one has none");
/// # Ok::<(), thread::Panicked>(())
/// ```
pub struct Local<T: Send + 'static> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    id: u64,
    init: Box<dyn Fn() -> T + Send + Sync>,
    slots: Mutex<BTreeMap<u64, Arc<Slot<T>>>>,
}

struct Slot<T>(UnsafeCell<T>);

// SAFETY: it may be dropped anywhere, see 3.
unsafe impl<T: Send> Send for Slot<T> {}
// SAFETY: its value is reached only as 1 and 2 have it.
unsafe impl<T: Send> Sync for Slot<T> {}

/// What a thread keeps of one of its values.
pub(super) struct Entry {
    /// Who drops the value; gone if the `Local` is.
    pub(super) owner: Weak<dyn Owner>,
    /// The value in its slot, of whatever type.
    value: NonNull<()>,
}

/// A `Local` of some type.
pub(super) trait Owner: Send + Sync {
    /// Drops the value of one thread.
    fn drop_value(&self, thread: u64);
}

impl<T: Send> Owner for Shared<T> {
    fn drop_value(&self, thread: u64) {
        let slot = self.slots.lock().remove(&thread);
        // The lock is free: the destructor may use this very object.
        drop(slot);
    }
}

impl<T: Send + 'static> Local<T> {
    /// An object without values. `init` makes the value of each thread that uses it, on that thread.
    ///
    /// Where a value is used before it exists, so in `init` itself, `init` runs again.
    pub fn new(init: impl Fn() -> T + Send + Sync + 'static) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::new(Shared { id, init: Box::new(init), slots: Mutex::default() }) }
    }

    /// Runs `f` on this thread's value, which is made if it is not there.
    ///
    /// # Blocking
    ///
    /// Never, but for `f` and the function that makes the value.
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        me::with(|me| {
            let Some(value) = self.find(me).or_else(|| self.make(me)) else { return f(&(self.shared.init)()) };
            let _borrow = Borrow::new(me);
            // SAFETY: the value is this thread's own, and is alive, see 1 and 4.
            f(unsafe { value.as_ref() })
        })
    }

    /// Runs `f` on this thread's value if it has one; `None` if not.
    ///
    /// # Blocking
    ///
    /// Never, but for `f`.
    pub fn try_with<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        me::with(|me| {
            let value = self.find(me)?;
            let _borrow = Borrow::new(me);
            // SAFETY: as in `with`.
            Some(f(unsafe { value.as_ref() }))
        })
    }

    /// The values of all threads that are alive and have one, in the order of the threads' numbers. One that appears or
    /// whose thread ends meanwhile may be missed, or may live a little longer for being looked at.
    ///
    /// # Blocking
    ///
    /// Never.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, T>
    where
        T: Sync,
    {
        Iter { slots: self.snapshot().into_iter(), local: PhantomData }
    }

    /// As [`iter`](Self::iter), to change them: the unique borrow keeps all threads from their values.
    ///
    /// # Blocking
    ///
    /// Never.
    #[must_use]
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut { slots: self.snapshot().into_iter(), local: PhantomData }
    }

    fn snapshot(&self) -> Vec<Arc<Slot<T>>> {
        self.shared.slots.lock().values().map(Arc::clone).collect()
    }

    #[inline]
    fn find(&self, me: &Me) -> Option<NonNull<T>> {
        me.locals.borrow().get(&self.shared.id).map(|entry| entry.value.cast())
    }

    /// Makes this thread's value. `None` if the thread has ended as far as anybody can see: nobody would drop it.
    #[cold]
    fn make(&self, me: &Me) -> Option<NonNull<T>> {
        if !me.will_tidy_up() {
            return None;
        }
        let value = (self.shared.init)();
        if let Some(first) = self.find(me) {
            // `init` has used this object. What it was given first stays.
            return Some(first);
        }
        let slot = Arc::new(Slot(UnsafeCell::new(value)));
        let address = NonNull::new(slot.0.get())?;
        let replaced = self.shared.slots.lock().insert(me.ident(), slot);
        // No thread has two. If one had, the destructor would be the user's; the lock is free.
        drop(replaced);
        let owner: Weak<dyn Owner> = Arc::downgrade(&(Arc::clone(&self.shared) as Arc<dyn Owner>));
        let mut locals = me.locals.borrow_mut();
        // Objects that are gone leave their entries behind; a look at all of them pays when their number has doubled.
        if locals.len() >= me.tidy_at.get() {
            locals.retain(|_, entry| entry.owner.strong_count() > 0);
            me.tidy_at.set(2 * locals.len().max(MOST_DEAD));
        }
        locals.insert(self.shared.id, Entry { owner, value: address.cast() });
        Some(address)
    }
}

impl<T: Send + Default + 'static> Default for Local<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: Send + 'static> Drop for Local<T> {
    fn drop(&mut self) {
        // A thread that ends may hold the map for a moment; the values are not to wait for it.
        let slots = mem::take(&mut *self.shared.slots.lock());
        drop(slots);
    }
}

impl<T: Send + 'static> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("values", &self.shared.slots.lock().len()).finish_non_exhaustive()
    }
}

/// A borrow of a value, on the stack of its thread.
struct Borrow<'a>(&'a Me);

impl<'a> Borrow<'a> {
    fn new(me: &'a Me) -> Self {
        me.borrows.set(me.borrows.get() + 1);
        Self(me)
    }
}

impl Drop for Borrow<'_> {
    fn drop(&mut self) {
        self.0.borrows.set(self.0.borrows.get() - 1);
    }
}

/// What [`Local::iter`] goes through.
pub struct Iter<'a, T> {
    slots: std::vec::IntoIter<Arc<Slot<T>>>,
    local: PhantomData<&'a T>,
}

impl<'a, T: Sync> Iterator for Iter<'a, T> {
    type Item = Value<'a, T>;

    fn next(&mut self) -> Option<Value<'a, T>> {
        self.slots.next().map(|slot| Value { slot, local: PhantomData })
    }
}

/// What [`Local::iter_mut`] goes through.
pub struct IterMut<'a, T> {
    slots: std::vec::IntoIter<Arc<Slot<T>>>,
    local: PhantomData<&'a mut T>,
}

impl<'a, T> Iterator for IterMut<'a, T> {
    type Item = ValueMut<'a, T>;

    fn next(&mut self) -> Option<ValueMut<'a, T>> {
        self.slots.next().map(|slot| ValueMut { slot, local: PhantomData })
    }
}

/// One thread's value.
pub struct Value<'a, T> {
    slot: Arc<Slot<T>>,
    local: PhantomData<&'a T>,
}

impl<T: Sync> Deref for Value<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the slot is alive, and nobody has a unique reference to it, see 1 and 2.
        unsafe { &*self.slot.0.get() }
    }
}

/// One thread's value, to be changed.
pub struct ValueMut<'a, T> {
    slot: Arc<Slot<T>>,
    local: PhantomData<&'a mut T>,
}

impl<T> Deref for ValueMut<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the slot is alive, and this is the only way to it, see 2; an `IterMut` gives each slot once.
        unsafe { &*self.slot.0.get() }
    }
}

impl<T> DerefMut for ValueMut<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed uniquely.
        unsafe { &mut *self.slot.0.get() }
    }
}

impl<T: fmt::Debug + Sync> fmt::Debug for Value<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for ValueMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left", &self.slots.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for IterMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterMut").field("left", &self.slots.len()).finish_non_exhaustive()
    }
}
