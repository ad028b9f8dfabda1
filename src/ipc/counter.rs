//! `Counter`: a whole number that several processes change without a lock.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::handle::Handle;
use super::{LockError, Stats};
use crate::primitive::AtomicU64;
use crate::shm::{Plain, Type};

/// A whole number that several processes add to (in Python: a `Value('q')` under its lock).
///
/// It lies in shared memory without a name, and travels as a [`Lock`](super::Lock) does. Each operation is one machine
/// instruction, so nobody waits, and a process killed in the middle has done it or not. Sums wrap around.
///
/// What a process wrote before it changed the counter, another sees that has read the change.
///
/// ```
/// use crewkit::ipc::Counter;
/// use crewkit::pool::Pool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let done = Counter::new(0)?;
///     let counters = vec![done.clone(); 10];
///     Pool::new(2)?.map(|done: Counter| done.add(1).is_ok(), counters)?;
///     assert_eq!(done.get()?, 10);
///     Ok(())
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Counter(Handle<Words>);

pub(super) const KIND: u32 = 4;

pub(super) type Words = Plain<KIND, AtomicU64>;

impl Counter {
    /// A new counter.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is no memory.
    pub fn new(value: i64) -> io::Result<Self> {
        let counter = Self(Handle::create(Type::NONE, 0)?);
        counter.0.peek().store(value.cast_unsigned(), Ordering::Relaxed);
        Ok(counter)
    }

    /// The number as it is now: Python's `.value`.
    ///
    /// # Blocking
    ///
    /// Never; so for all that a counter does.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`], in a process that inherited the counter by fork; so for all that a counter does.
    pub fn get(&self) -> Result<i64, LockError> {
        Ok(self.word()?.load(Ordering::Acquire).cast_signed())
    }

    /// Replaces the number.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn set(&self, value: i64) -> Result<(), LockError> {
        self.word()?.store(value.cast_unsigned(), Ordering::Release);
        Ok(())
    }

    /// Adds to the number, or takes away from it, and answers what it was before.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[doc(alias = "fetch_add")]
    pub fn add(&self, change: i64) -> Result<i64, LockError> {
        Ok(self.word()?.fetch_add(change.cast_unsigned(), Ordering::AcqRel).cast_signed())
    }

    /// Replaces the number, and answers what it was before.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn swap(&self, value: i64) -> Result<i64, LockError> {
        Ok(self.word()?.swap(value.cast_unsigned(), Ordering::AcqRel).cast_signed())
    }

    /// Replaces the number if it is `expected`; answers `Ok(Ok(expected))` then, and else `Ok(Err(what it is))`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn compare_exchange(&self, expected: i64, value: i64) -> Result<Result<i64, i64>, LockError> {
        let (expected, value) = (expected.cast_unsigned(), value.cast_unsigned());
        let result = self.word()?.compare_exchange(expected, value, Ordering::AcqRel, Ordering::Acquire);
        Ok(result.map(u64::cast_signed).map_err(u64::cast_signed))
    }

    /// What it takes, and says: nobody holds a counter, or waits for it.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn stats(&self) -> Stats {
        Stats::here(self.0.peek())
    }

    fn word(&self) -> Result<&AtomicU64, LockError> {
        Ok(self.0.usable()?)
    }
}

impl PartialEq for Counter {
    /// Whether both are the same counter, whatever it says.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Counter {}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.peek().load(Ordering::Acquire).cast_signed();
        f.debug_tuple("ipc::Counter").field(&value).finish()
    }
}
