//! What all objects in shared memory have in common: the mapping, whose it is, and how it travels.
//!
//! A handle may be cloned and sent: each process that has one uses the same object, and the memory goes with the last.
//! Sending it sends a descriptor; the receiver maps the object anew. A process that merely inherited one by fork may not
//! use it, except the child of [`Process::fork`](crate::process::Process::fork), whose closure captured it.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parcel::{EncodeError, attach, claim};
use crate::shm::{Layout, Object, Type};
use crate::sys::generation;
use crate::sys::socket::duplicate;

/// One process's access to an object.
pub(super) struct Handle<T: Layout> {
    object: Arc<Object<T>>,
    /// The fork generation whose handle this is.
    owner: u32,
}

/// The object was inherited by fork, not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign;

impl<T: Layout> Handle<T> {
    /// A handle to a new object with `words` words behind its value.
    pub(super) fn create(holds: Type, words: usize) -> io::Result<Self> {
        Ok(Self::new(Object::create(holds, words)?))
    }

    fn new(object: Object<T>) -> Self {
        Self { object: Arc::new(object), owner: generation::current() }
    }

    /// A handle in a message, to an object that must hold values of this type.
    pub(super) fn receive<'de, D: Deserializer<'de>>(holds: Type, deserializer: D) -> Result<Self, D::Error> {
        let open = |fd| Object::open(holds, fd).map_err(|error| error.to_string());
        claim(u32::deserialize(deserializer)?, open).map(Self::new)
    }

    /// The object, if this process may use it.
    #[inline]
    pub(super) fn usable(&self) -> Result<&Object<T>, Foreign> {
        if self.owner == generation::current() || generation::adopts() { Ok(&self.object) } else { Err(Foreign) }
    }

    /// The object, also where it is another process's: to look at, or to take back what is this thread's own.
    #[inline]
    pub(super) fn peek(&self) -> &Object<T> {
        &self.object
    }
}

impl<T: Layout> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { object: Arc::clone(&self.object), owner: self.owner }
    }
}

impl<T: Layout> PartialEq for Handle<T> {
    /// Whether both are of the same object, however they came here.
    fn eq(&self, other: &Self) -> bool {
        self.object.name() == other.object.name()
    }
}

impl<T: Layout> Serialize for Handle<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = attach(|| {
            let object = self.usable().map_err(|Foreign| EncodeError::ForeignProcess)?;
            Ok((duplicate(object.as_fd()).map_err(EncodeError::Io)?, None))
        })?;
        serializer.serialize_u32(index)
    }
}

impl<'de, T: Layout> Deserialize<'de> for Handle<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::receive(Type::NONE, deserializer)
    }
}

impl<T: Layout> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("foreign", &self.usable().is_err()).finish_non_exhaustive()
    }
}
