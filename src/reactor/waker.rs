//! A wake-up for the owner of a poller, from any thread. However many wake-ups come between two polls, the owner
//! sees one [`Event::Woken`](super::Event::Woken) and the kernel one write.
//!
//! # Ordering
//!
//! `rung` is true from the first `wake` until the owner takes the wake-up. Both sides change it by an acquire-release
//! swap: a `wake` that finds it true is ordered before the owner's swap to false, so that what was published before
//! the wake-up is visible to the owner afterwards; a `wake` that finds it false rings. The owner drains the eventfd
//! **before** its swap. The other way round, a ring that comes between the two would be drained while `rung` stays
//! true, and no later `wake` would ring again: a lost wake-up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::epoll::EventFd;

/// Ends the owner's wait, or its next one if it does not wait now.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bell: EventFd,
    rung: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Shared { bell: EventFd::new()?, rung: AtomicBool::new(false) })))
    }

    /// Wakes the owner. Never blocks. A wake-up after the poller is gone does nothing.
    ///
    /// # Panics
    ///
    /// If the kernel refuses a write to an eventfd that is open and not full, which no fault outside the process
    /// can cause: the descriptor was closed behind its owner's back, and to go on would be to sleep for ever.
    pub(crate) fn wake(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.0.bell.ring()
        {
            panic!("a waker lost its descriptor: {error}");
        }
    }

    /// The owner's side: takes the wake-ups that came so far.
    pub(super) fn take(&self) -> io::Result<()> {
        self.0.bell.drain()?;
        self.0.rung.swap(false, Ordering::AcqRel);
        Ok(())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}
