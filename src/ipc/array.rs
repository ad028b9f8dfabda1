//! `Array`: a row of values that several processes read and change, as Python's `multiprocessing.Array`.
//!
//! One lock (`shm::Held`) is in front of the elements, which lie behind it as they lie in a slice. What a holder that dies
//! leaves of them, and how its successor puts it in order, is `shm::Journal`.

mod guard;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use guard::ArrayGuard;

use super::handle::Handle;
use super::{LockError, Shareable, Stats};
use crate::primitive::Refused;
use crate::shm::{Journal, Locked, Object, Row, State, Type};
use crate::sys::clock::Deadline;

pub(super) const KIND: u32 = 10;

pub(super) type Words = Locked<KIND, Journal>;

/// As many values as it was made with, which several processes share: Python's `multiprocessing.Array`.
///
/// It lies in shared memory without a name. Clone it for other threads, and send it to other processes, in arguments,
/// results or messages: all of them see the same elements, and they go with the last. Making one costs a descriptor in each
/// process, and the memory of the elements.
///
/// Who reads or changes elements holds the array's lock meanwhile: [`get`](Self::get) and [`set`](Self::set) for one
/// element, the guard of [`lock`](Self::lock) for as long as it lives. The guard is a slice: of it one takes ranges
/// (Python's slices), iterates, sorts.
///
/// **When a process is killed** at any instruction, nobody hangs, and what it did is, for the others:
///
/// | It was | They find |
/// |---|---|
/// | in `get`, or holding a guard that was only read from | nothing of it |
/// | in `set` | the element of before, or the new one |
/// | holding a guard that was written through | [`LockError::OwnerDied`], everybody until somebody calls [`recover`](ArrayGuard::recover): the elements may be half done |
///
/// The end of a thread with a guard is a death as well. A panic is not: the guard's drop releases the lock, and leaves the
/// elements as they are, as a Python `with` block does. Processes that share an array trust each other, as those that share
/// a [`Lock`](super::Lock).
///
/// ```
/// use crewkit::ipc::{Array, LockError};
/// use crewkit::pool::Pool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let squares = Array::<u64>::zeroed(10)?;
///     let calls: Vec<_> = (0..10).map(|i| (squares.clone(), i)).collect();
///     Pool::new(2)?.map(|(squares, i): (Array<u64>, usize)| squares.set(i, (i * i) as u64).is_ok(), calls)?;
///     assert_eq!(squares.get(9)?, 81);
///     let all = squares.lock().map_err(LockError::detach)?;
///     assert_eq!(all[2..5], [4, 9, 16]);
///     assert_eq!(all.iter().sum::<u64>(), 285);
///     Ok(())
/// }
/// ```
#[doc(alias("RawArray", "SynchronizedArray", "sharedctypes"))]
pub struct Array<T> {
    handle: Handle<Words>,
    len: usize,
    /// Values are copied in and out: the array may be given to other threads whatever they are.
    _values: PhantomData<fn(T) -> T>,
}

impl<T: Shareable> Array<T> {
    const ALIGNED: () = assert!(align_of::<T>() <= 64, "elements of an array are aligned to a cache line at most");

    /// A new array of these values: Python's `Array('i', [1, 2, 3])`.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is not as much memory.
    pub fn new(values: &[T]) -> io::Result<Self> {
        let array = Self::zeroed(values.len())?;
        let row = array.row(array.handle.peek());
        values.iter().enumerate().for_each(|(index, value)| {
            array.handle.peek().guarded.replace(&row, index, value.as_bytes());
        });
        Ok(array)
    }

    /// A new array of `len` values all of whose bytes are zero: Python's `Array('i', len)`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn zeroed(len: usize) -> io::Result<Self> {
        let () = Self::ALIGNED;
        let words = Row::words(len, size_of::<T>());
        let too_long = || io::Error::new(io::ErrorKind::OutOfMemory, "no shared array can be as long");
        let handle = Handle::<Words>::create(Type::of::<T>(), words.ok_or_else(too_long)?)?;
        handle.peek().guarded.set_count(len);
        Ok(Self { handle, len, _values: PhantomData })
    }

    /// How many elements it has: Python's `len()`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of an element: Python's `array[index]`.
    ///
    /// # Blocking
    ///
    /// While somebody else holds the lock.
    ///
    /// # Errors
    ///
    /// See [`lock`](Self::lock).
    ///
    /// # Panics
    ///
    /// If there is no such element.
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, LockError> {
        self.read(index, Deadline::NEVER)
    }

    /// [`get`](Self::get) within `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when the lock's holder is stopped.
    ///
    /// # Errors
    ///
    /// See [`lock`](Self::lock), and [`LockError::Timeout`].
    ///
    /// # Panics
    ///
    /// If there is no such element.
    pub fn get_timeout(&self, index: usize, timeout: Duration) -> Result<T, LockError> {
        self.read(index, Deadline::after(timeout))
    }

    /// Replaces an element: Python's `array[index] = value`. Killed in the middle of it, a process has replaced all of the
    /// element or nothing.
    ///
    /// # Blocking
    ///
    /// While somebody else holds the lock.
    ///
    /// # Errors
    ///
    /// See [`lock`](Self::lock).
    ///
    /// # Panics
    ///
    /// If there is no such element.
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), LockError> {
        self.write(index, value, Deadline::NEVER)
    }

    /// [`set`](Self::set) within `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when the lock's holder is stopped.
    ///
    /// # Errors
    ///
    /// See [`lock`](Self::lock), and [`LockError::Timeout`].
    ///
    /// # Panics
    ///
    /// If there is no such element.
    pub fn set_timeout(&self, index: usize, value: T, timeout: Duration) -> Result<(), LockError> {
        self.write(index, value, Deadline::after(timeout))
    }

    /// All elements, alone: Python's `with array.get_lock():`.
    ///
    /// # Blocking
    ///
    /// Until nobody else holds the lock, which is at the latest when its holder ends.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] **with the guard** when a holder before has died with elements half done;
    /// [`LockError::WouldDeadlock`] while this thread has a guard already; [`LockError::ForeignProcess`], in a process that
    /// inherited the array by fork.
    #[doc(alias = "get_lock")]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.enter(|words| words.lock(Deadline::NEVER))
    }

    /// [`lock`](Self::lock), if nobody else holds it.
    ///
    /// # Blocking
    ///
    /// Never.
    ///
    /// # Errors
    ///
    /// As `lock`, and [`LockError::Timeout`] when somebody else holds it.
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.enter(|words| words.try_lock())
    }

    /// [`lock`](Self::lock) within `timeout`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, also when the lock's holder is stopped.
    ///
    /// # Errors
    ///
    /// As `lock`, and [`LockError::Timeout`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        self.enter(|words| words.lock(Deadline::after(timeout)))
    }

    fn read(&self, index: usize, deadline: Deadline) -> Result<T, LockError> {
        self.check(index);
        let guard = self.enter(|words| words.lock(deadline)).map_err(LockError::detach)?;
        let mut value = T::new_zeroed();
        self.row(guard.object()).read(index, value.as_mut_bytes());
        Ok(value)
    }

    fn write(&self, index: usize, value: T, deadline: Deadline) -> Result<(), LockError> {
        self.check(index);
        let guard = self.enter(|words| words.lock(deadline)).map_err(LockError::detach)?;
        guard.object().guarded.replace(&self.row(guard.object()), index, value.as_bytes());
        Ok(())
    }

    #[inline]
    fn check(&self, index: usize) {
        assert!(index < self.len, "element {index} of an array that has {}", self.len);
    }

    #[inline]
    fn row<'a>(&self, object: &'a Object<Words>) -> Row<'a> {
        Row::of(object.rest(), self.len, size_of::<T>())
    }

    #[inline]
    fn enter(
        &self,
        lock: impl FnOnce(&Words) -> Result<State, Refused>,
    ) -> Result<ArrayGuard<'_, T>, LockError<ArrayGuard<'_, T>>> {
        let object = self.handle.usable()?;
        let state = lock(object)?;
        let in_order = object.guarded.mend(&self.row(object));
        // The journal says better than the lock what a death has left.
        if state == State::Dirty && in_order {
            object.recover();
        }
        // This thread has just taken the lock: invariant 2 of the guard.
        let guard = ArrayGuard::new(self, !in_order);
        if in_order { Ok(guard) } else { Err(LockError::OwnerDied(guard)) }
    }
}

impl<T> Array<T> {
    /// Whether a living thread of some process holds the lock, or held it just now.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_locked(&self) -> bool {
        self.handle.peek().is_held()
    }

    /// Who holds it, who waits for it, how often it was recovered: for people who look.
    ///
    /// # Blocking
    ///
    /// Never, but for the kernel's list of its holder's mappings.
    pub fn stats(&self) -> Stats {
        Stats::here(self.handle.peek())
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), len: self.len, _values: PhantomData }
    }
}

impl<T> PartialEq for Array<T> {
    /// Whether both are the same array, whatever is in it.
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T> Eq for Array<T> {}

impl<T> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let () = Self::ALIGNED;
        let handle = Handle::<Words>::receive(Type::of::<T>(), deserializer)?;
        let object = handle.peek();
        // Invariant 1 of the guard: looked at once, because others may write it.
        let len = object.guarded.count(object.rest().len(), size_of::<T>());
        let wrong = || serde::de::Error::custom("the shared array has not the length that it says");
        Ok(Self { len: len.ok_or_else(wrong)?, handle, _values: PhantomData })
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stats, element) = (self.stats(), std::any::type_name::<T>());
        let mut text = f.debug_struct("ipc::Array");
        text.field("element", &element).field("len", &self.len).field("locked", &stats.holder.is_some());
        stats.show_lock(text.field("mine", &self.handle.peek().is_mine())).finish()
    }
}
