//! A ring as an object that processes hand to each other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::{Raw, Side, Words};
use crate::primitive::{fence_all_processes, is_fenced_by_others};
use crate::shm::{Object, Plain, Type};

/// The memory of a ring, which one side made and both have mapped.
#[derive(Debug)]
pub(crate) struct Ring(Object<Plain<{ Ring::KIND }, Words>>);

impl Ring {
    /// Tells rings from other objects.
    pub(crate) const KIND: u32 = 16;

    /// Makes a ring of `length` bytes, a power of two. Too little memory is an error now, not a signal later. So is a
    /// kernel, or a sandbox, that does not fence: [`io::ErrorKind::Unsupported`].
    pub(crate) fn create(length: u32) -> io::Result<Self> {
        Self::checked(Object::create(Type::NONE, length as usize / size_of::<u64>())?)
    }

    /// Maps a ring that another process made. What is none is [`io::ErrorKind::InvalidData`]; otherwise as
    /// [`create`](Self::create).
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        Self::checked(Object::open(Type::NONE, fd)?)
    }

    fn checked(object: Object<Plain<{ Ring::KIND }, Words>>) -> io::Result<Self> {
        if !(is_fenced_by_others() && fence_all_processes()) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "membarrier(2) is refused, so nobody would be woken",
            ));
        }
        match Raw::new(object.rest()).is_some_and(|bytes| super::Bytes::length(&bytes) >= 64) {
            true => Ok(Self(object)),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "the ring has a length that none has")),
        }
    }

    /// Its memory, as a descriptor that may outlive it.
    pub(crate) fn descriptor(&self) -> Arc<OwnedFd> {
        self.0.descriptor()
    }

    /// Its words.
    #[inline]
    pub(crate) fn words(&self) -> &Words {
        &self.0
    }

    /// Its bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> Raw<'_> {
        // Checked when it was made.
        Raw::new(self.0.rest()).unwrap_or_else(|| unreachable!("a ring's length is a power of two"))
    }

    /// This process is `side` from now on.
    pub(crate) fn attach(&self, side: Side) {
        self.words().attach(side, is_fenced_by_others());
    }
}

impl AsFd for Ring {
    /// What the other side needs for [`Ring::open`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
