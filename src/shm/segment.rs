//! One sealed, nameless piece of memory with the descriptor that hands it to other processes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::sys::memory::{self, Mapping};

/// Words shared by every process that was forked with the segment or was handed its descriptor.
///
/// The words start as zero. They are atomics, because another process may write them at any time; what they mean, and
/// who may write which, is the user's affair. A process killed in the middle of a store leaves the old or the new word.
/// The memory goes with its last descriptor and mapping, whatever kills their owners.
#[derive(Debug)]
pub(crate) struct Segment {
    mapping: Mapping,
    /// Shared, so that it can outlive the segment.
    fd: Arc<OwnedFd>,
}

impl Segment {
    /// Makes a segment of `bytes` bytes, a positive multiple of 8. Too little memory is an error now, not a signal later.
    pub(crate) fn create(bytes: usize) -> io::Result<Self> {
        Self::from_fd(memory::create(bytes)?, bytes)
    }

    /// Maps a segment that another process made. Anything but a segment of `bytes` bytes, sealed, is
    /// [`io::ErrorKind::InvalidData`] (or the kernel's own error, where the descriptor is no memory at all).
    pub(crate) fn from_fd(fd: OwnedFd, bytes: usize) -> io::Result<Self> {
        Ok(Self { mapping: Mapping::new(fd.as_fd(), bytes)?, fd: Arc::new(fd) })
    }

    /// Maps a segment of whatever length it says it has; anything but a sealed one is an error as above.
    pub(crate) fn from_any_fd(fd: OwnedFd) -> io::Result<Self> {
        let bytes = memory::sealed_length(fd.as_fd())?;
        Self::from_fd(fd, bytes)
    }

    /// Its descriptor, for somebody who keeps it longer than the segment.
    pub(super) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// Leaves the memory mapped when this is dropped, for somebody who still points into it.
    pub(super) fn keep_mapped(&mut self) {
        self.mapping.keep();
    }

    /// The words, in the same order in every process.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        self.mapping.words()
    }
}

impl AsFd for Segment {
    /// What another process needs for [`Segment::from_fd`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_segment_made_from_the_descriptor_is_the_same_memory() {
        let first = Segment::create(128).unwrap();
        let second = Segment::from_fd(first.as_fd().try_clone_to_owned().unwrap(), 128).unwrap();
        first.words()[15].fetch_add(5, Ordering::Relaxed);
        drop(first);
        assert_eq!(second.words()[15].load(Ordering::Relaxed), 5);
        assert_eq!(second.words().len(), 16);
    }

    #[test]
    fn a_peer_that_lies_about_the_size_is_refused() {
        let segment = Segment::create(128).unwrap();
        let fd = segment.as_fd().try_clone_to_owned().unwrap();
        assert_eq!(Segment::from_fd(fd, 256).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
