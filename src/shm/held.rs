//! The words behind a lock between processes, and the rules for a holder that dies.
//!
//! ```text
//!   mutex   glibc's and the kernel's: who holds the lock
//!   dirty   0, or 1 since a holder died and nobody has said that what it guarded is in order again
//!   depth   how many times an RLock's holder has it
//! ```
//!
//! Who may write `dirty` and `depth`: only the holder of the mutex. Hence, at each point at which a holder can die:
//!
//! | It dies | What its successor finds |
//! |---|---|
//! | before the mutex was got | nothing: it never was the holder |
//! | holding it | the kernel says "owner died": `dirty` is set, `depth` begins anew, and only then is the mutex made consistent |
//! | between being told so and having made it consistent | the same again, from the kernel |
//! | after that, before it has recovered | a death like any other, and `dirty` is set already |
//! | after it has cleared `dirty` | a death like any other |
//! | in the middle of unlocking | glibc has noted the mutex as pending before it touches it: free, or "owner died" |
//!
//! Nobody waits longer than until the kernel has ended the thread: it wakes one waiter of each mutex on the list. But for the
//! last row, where it may find that another has the mutex already: then who sleeps sees it after a slice of time
//! (`sys::robust`).
//!
//! Steps of the holder alone need no order beyond the mutex's, so `dirty` and `depth` are Relaxed.

use crate::primitive::{AtomicU32, Got, Refused, Robust};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;

/// What lies in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Held<T = ()> {
    pub(super) mutex: Robust,
    dirty: AtomicU32,
    depth: AtomicU32,
    /// What is guarded, if it lies beside the lock.
    pub(crate) guarded: T,
}

/// How a lock was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether what is guarded may be half done"]
pub(crate) enum State {
    Clean,
    Dirty,
}

#[cfg(crewkit_loom)]
impl<T> Held<T> {
    /// What zeroes and a made mutex are in shared memory.
    pub(crate) fn new(guarded: T) -> Self {
        Self { mutex: Robust::default(), dirty: AtomicU32::new(0), depth: AtomicU32::new(0), guarded }
    }
}

impl<T> Held<T> {
    #[inline]
    pub(crate) fn lock(&self, deadline: Deadline) -> Result<State, Refused> {
        self.mutex.lock(deadline).map(|got| self.enter(got))
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Result<State, Refused> {
        self.mutex.try_lock().map(|got| self.enter(got))
    }

    #[inline]
    fn enter(&self, got: Got) -> State {
        if got == Got::OwnerDied {
            self.inherit();
        }
        self.state()
    }

    #[cold]
    fn inherit(&self) {
        self.dirty.store(1, Ordering::Relaxed);
        self.depth.store(0, Ordering::Relaxed);
        self.mutex.make_consistent();
    }

    /// For the holder: whether a holder before it died, and nobody has recovered since.
    #[inline]
    pub(crate) fn state(&self) -> State {
        if self.dirty.load(Ordering::Relaxed) == 0 { State::Clean } else { State::Dirty }
    }

    /// For the holder: what is guarded is in order again.
    pub(crate) fn recover(&self) {
        self.dirty.store(0, Ordering::Relaxed);
    }

    /// False, and nothing done, for a thread that is not the holder.
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        self.mutex.unlock()
    }

    /// For the holder: how many times it has the lock beyond the first.
    pub(crate) fn depth(&self) -> u32 {
        self.depth.load(Ordering::Relaxed)
    }

    /// For the holder.
    pub(crate) fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Whether the calling thread is the holder.
    pub(crate) fn is_mine(&self) -> bool {
        self.mutex.is_mine()
    }

    /// Whether a living thread is the holder.
    pub(crate) fn is_held(&self) -> bool {
        self.mutex.is_held()
    }
}
