//! `Value`: one value that several processes read and change, as Python's `multiprocessing.Value`.
//!
//! Writers take turns by the lock in front (`shm::Held`), readers never do: the value has two copies of which one counts
//! (`shm::Twofold`). So a writer that dies under the lock leaves the value of before, or the new one, and nothing to be
//! put in order: its successor goes on as if nothing had happened.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::handle::Handle;
use super::turn::Turn;
use super::{LockError, Shareable, Stats};
use crate::shm::{Locked, Object, Twofold, Type};
use crate::sys::clock::Deadline;

pub(super) const KIND: u32 = 3;

pub(super) type Words = Locked<KIND, Twofold>;

/// A value that several processes share: Python's `multiprocessing.Value`.
///
/// It lies in shared memory without a name. Clone it for other threads, and send it to other processes, in arguments,
/// results or messages: all of them see the same value, and it goes with the last. Making one costs a descriptor in each
/// process, and a page of memory or as many as the value needs twice.
///
/// Reading never waits for anybody. Writers take turns. **A process killed in the middle of a write**, at any
/// instruction, has written all of it or nothing, and nobody waits for it.
///
/// ```
/// use crewkit::ipc::Value;
/// use crewkit::process::Process;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let best = Value::new(0.5_f64)?;
///     let child = Process::spawn(
///         |best: Value<f64>| best.update(|best| *best = best.max(0.75)).map_err(|error| error.to_string()),
///         best.clone(),
///     )?;
///     child.join()??;
///     assert_eq!(best.get()?, 0.75);
///     Ok(())
/// }
/// ```
#[doc(alias("RawValue", "Synchronized", "sharedctypes"))]
pub struct Value<T> {
    handle: Handle<Words>,
    /// Values are copied in and out: a place for them may be given to other threads whatever they are.
    _value: PhantomData<fn(T) -> T>,
}

impl<T: Shareable> Value<T> {
    /// A new value.
    ///
    /// # Errors
    ///
    /// When this process may open no more descriptors, or there is no memory.
    pub fn new(value: T) -> io::Result<Self> {
        let handle = Handle::<Words>::create(Type::of::<T>(), Twofold::words(size_of::<T>()))?;
        let object = handle.peek();
        object.guarded.write(object.rest(), value.as_bytes());
        Ok(Self { handle, _value: PhantomData })
    }

    /// The value as it is now: Python's `.value`.
    ///
    /// # Blocking
    ///
    /// Never; while others write without a pause it may have to look several times.
    ///
    /// # Errors
    ///
    /// [`LockError::ForeignProcess`], in a process that inherited the value by fork.
    pub fn get(&self) -> Result<T, LockError> {
        Ok(read(self.handle.usable()?))
    }

    /// Replaces the value: Python's `.value = …`.
    ///
    /// # Blocking
    ///
    /// While others write.
    ///
    /// # Errors
    ///
    /// See [`update`](Self::update).
    pub fn set(&self, value: T) -> Result<(), LockError> {
        self.update(|old| *old = value)
    }

    /// [`set`](Self::set) within `timeout`, also when a writer is stopped.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    ///
    /// # Errors
    ///
    /// See [`update`](Self::update), and [`LockError::Timeout`].
    pub fn set_timeout(&self, value: T, timeout: Duration) -> Result<(), LockError> {
        self.update_timeout(timeout, |old| *old = value)
    }

    /// Changes the value, alone: Python's `with value.get_lock(): value.value += …`.
    ///
    /// Others see the change when `change` has returned, all at once; until then they see the value of before. If it
    /// panics, or its process dies, nothing has changed.
    ///
    /// # Blocking
    ///
    /// While others write; `change` itself keeps other writers waiting.
    ///
    /// # Errors
    ///
    /// [`LockError::WouldDeadlock`] inside another update of the same value by this thread;
    /// [`LockError::ForeignProcess`], in a process that inherited the value by fork. Never
    /// [`OwnerDied`](LockError::OwnerDied): there is nothing to be put in order.
    #[doc(alias = "get_lock")]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        self.change(Deadline::NEVER, change)
    }

    /// [`update`](Self::update) within `timeout`, also when a writer is stopped.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, and for what `change` takes.
    ///
    /// # Errors
    ///
    /// See [`update`](Self::update), and [`LockError::Timeout`]: `change` was not called.
    pub fn update_timeout<R>(&self, timeout: Duration, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        self.change(Deadline::after(timeout), change)
    }

    /// Who changes it, who waits for a turn, how often it was recovered: for people who look.
    ///
    /// # Blocking
    ///
    /// Never, but for the kernel's list of its holder's mappings.
    pub fn stats(&self) -> Stats {
        Stats::here(self.handle.peek())
    }

    fn change<R>(&self, deadline: Deadline, change: impl FnOnce(&mut T) -> R) -> Result<R, LockError> {
        let object = self.handle.usable()?;
        let turn = Turn::take(object, deadline)?;
        let mut value = read(object);
        let result = change(&mut value);
        object.guarded.write(object.rest(), value.as_bytes());
        drop(turn);
        Ok(result)
    }
}

fn read<T: Shareable>(object: &Object<Words>) -> T {
    let mut value = T::new_zeroed();
    object.guarded.read(object.rest(), value.as_mut_bytes());
    value
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), _value: PhantomData }
    }
}

impl<T> PartialEq for Value<T> {
    /// Whether both are the same place, whatever is in it.
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}

impl<T> Eq for Value<T> {}

impl<T> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.handle.serialize(serializer)
    }
}

impl<'de, T: Shareable> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { handle: Handle::receive(Type::of::<T>(), deserializer)?, _value: PhantomData })
    }
}

impl<T: Shareable + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ipc::Value").field(&read::<T>(self.handle.peek())).finish()
    }
}
