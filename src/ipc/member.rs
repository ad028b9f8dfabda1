//! A handle whose process sits in the object's owner table (`shm::Roster`), from its first use on.
//!
//! The seat belongs to the mapping and goes with it, so clones of a handle share it. It is a process's: the child that
//! [`Process::fork`](crate::process::Process::fork) makes of one finds another generation noted, and sits down itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LockError;
use super::handle::Handle;
use crate::primitive::{Life, Refused};
use crate::shm::{Layout, Object, Roster, Type};
use crate::sys::clock::Deadline;
use crate::sys::generation;

/// What has seats.
pub(super) trait Seats: Layout {
    /// A seat for a process; `Ok(None)` when there is none left.
    fn sit_down(object: &Object<Self>, life: Life, deadline: Deadline) -> Result<Option<usize>, Refused>
    where
        Self: Sized;

    /// The seat is left; what its process still has in it, it keeps.
    fn leave(object: &Object<Self>, seat: usize, deadline: Deadline) -> Result<(), Refused>
    where
        Self: Sized;

    /// Where they are.
    fn roster(&self) -> &Roster;
}

/// One process's access to an object, and its seat there.
pub(super) struct Member<T: Seats>(Arc<Inner<T>>);

struct Inner<T: Seats> {
    handle: Handle<T>,
    /// `| fork generation, 32 bits | seat, 32 bits |`, zero before somebody sat down: seat 0 is nobody's.
    seat: AtomicU64,
}

/// Who calls, and where it sits.
pub(super) struct Seated<'a, T: Seats> {
    pub(super) object: &'a Object<T>,
    pub(super) seat: usize,
    pub(super) life: Life,
}

/// For what waits for nobody but who is inside the object for a few instructions, or was stopped there.
pub(super) const AN_INSTANT: Duration = Duration::from_millis(10);

impl<T: Seats> Member<T> {
    /// A new object, which `begin` fills in.
    pub(super) fn create(begin: impl FnOnce(&T)) -> io::Result<Self> {
        Self::create_with(Type::NONE, 0, begin)
    }

    /// The same, with `words` words behind it for values of a type.
    pub(super) fn create_with(holds: Type, words: usize, begin: impl FnOnce(&T)) -> io::Result<Self> {
        Life::current()?;
        let handle = Handle::<T>::create(holds, words)?;
        handle.peek().roster().namespace.store(Life::namespace()?, Ordering::Relaxed);
        begin(handle.peek());
        Ok(Self::new(handle))
    }

    /// A handle in a message, to an object that must hold values of this type.
    pub(super) fn receive<'de, D: Deserializer<'de>>(holds: Type, deserializer: D) -> Result<Self, D::Error> {
        Handle::receive(holds, deserializer).map(Self::new)
    }

    fn new(handle: Handle<T>) -> Self {
        Self(Arc::new(Inner { handle, seat: AtomicU64::new(0) }))
    }

    /// The object, also where it is another process's: to look at.
    pub(super) fn peek(&self) -> &Object<T> {
        self.0.handle.peek()
    }

    /// The object, if this process may use it.
    pub(super) fn usable(&self) -> Result<&Object<T>, LockError> {
        Ok(self.0.handle.usable()?)
    }

    /// The object and this process's seat in it, which it takes now if it has none: until `deadline`, if somebody was
    /// stopped inside.
    #[inline]
    pub(super) fn seat(&self, deadline: Deadline) -> Result<(&Object<T>, usize), LockError> {
        let object = self.0.handle.usable()?;
        match self.seat_of(generation::current()) {
            Some(seat) => Ok((object, seat)),
            None => Ok((object, self.sit_down(object, deadline)?)),
        }
    }

    /// [`seat`](Self::seat), with who it is that sits there.
    #[inline]
    pub(super) fn seated(&self, deadline: Deadline) -> Result<Seated<'_, T>, LockError> {
        let (object, seat) = self.seat(deadline)?;
        Ok(Seated { object, seat, life: Life::current().map_err(LockError::Io)? })
    }

    /// The seat, if it is one of this generation's.
    #[inline]
    pub(super) fn seat_of(&self, generation: u32) -> Option<usize> {
        self.0.seat_of(generation)
    }

    #[cold]
    fn sit_down(&self, object: &Object<T>, deadline: Deadline) -> Result<usize, LockError> {
        let life = Life::current().map_err(LockError::Io)?;
        if object.roster().namespace.load(Ordering::Relaxed) != Life::namespace().map_err(LockError::Io)? {
            let what = "the shared object is of another PID namespace, where nobody can tell who is alive";
            return Err(LockError::Io(io::Error::new(io::ErrorKind::Unsupported, what)));
        }
        let full = || io::Error::new(io::ErrorKind::QuotaExceeded, "too many processes use the shared object");
        let seat = T::sit_down(object, life, deadline)?.ok_or_else(full).map_err(LockError::Io)?;
        let word = u64::from(generation::current()) << 32 | seat as u64;
        let before = self.0.seat.load(Ordering::Acquire);
        let is_first = before >> 32 != word >> 32 || before == 0;
        if is_first && self.0.seat.compare_exchange(before, word, Ordering::Release, Ordering::Relaxed).is_ok() {
            return Ok(seat);
        }
        // Another thread was faster.
        leave(object, seat, deadline);
        self.seat_of(generation::current()).ok_or(LockError::ForeignProcess)
    }
}

impl<T: Seats> Inner<T> {
    #[inline]
    fn seat_of(&self, generation: u32) -> Option<usize> {
        let word = self.seat.load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let seat = word as u32;
        (word >> 32 == u64::from(generation) && seat != 0).then_some(seat as usize)
    }
}

impl<T: Seats> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat_of(generation::current()) {
            leave(self.handle.peek(), seat, Deadline::after(AN_INSTANT));
        }
    }
}

/// Leaves the seat. If somebody is stopped inside, it is kept for this process, and what is there for who looks for that.
fn leave<T: Seats>(object: &Object<T>, seat: usize, deadline: Deadline) {
    if T::leave(object, seat, deadline).is_err() {
        object.roster().vacate(seat);
    }
}

impl<T: Seats> Clone for Member<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Seats> PartialEq for Member<T> {
    /// Whether both are of the same object.
    fn eq(&self, other: &Self) -> bool {
        self.0.handle == other.0.handle
    }
}

impl<T: Seats> Serialize for Member<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.handle.serialize(serializer)
    }
}

impl<'de, T: Seats> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::deserialize(deserializer).map(Self::new)
    }
}
