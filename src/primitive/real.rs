//! The machine's side of the primitives; `modelled.rs` is the model's.

use super::identity::Identity;
use crate::sys::{clock::Deadline, futex};
use std::cell::Cell;
use std::sync::atomic::{Ordering, compiler_fence};

#[cfg(feature = "processes")]
pub(crate) use crate::sys::futex::sleepers_shared;
#[cfg(feature = "processes")]
pub(crate) use crate::sys::life::{Life, process_of};
pub(crate) use crate::sys::membarrier::fence_all_threads;
#[cfg(feature = "processes")]
pub(crate) use crate::sys::membarrier::{agree_to_fences as is_fenced_by_others, fence_all_processes};
#[cfg(feature = "processes")]
pub(crate) use crate::sys::robust::{Got, Refused, Robust};
pub(crate) use crate::sys::thread::native_id;
pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use std::hint;
#[cfg(feature = "processes")]
pub(crate) use std::sync::atomic::fence;
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};
pub(crate) use std::thread_local;

/// Memory that its owner's protocol guards, not the compiler: std's cell with loom's signature.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    #[inline]
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Lends a pointer for reading.
    #[inline]
    pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    /// Lends a pointer for reading and writing.
    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

thread_local! {
    /// Who waits on this thread, once somebody asked.
    pub(super) static WAITER: Cell<Identity> = const { Cell::new(Identity::UNKNOWN) };
}

/// The half of a fence that is executed often: [`fence_all_threads`], at the other half, makes a whole one of it; between
/// processes `fence_all_processes` does.
#[inline]
pub(crate) fn half_fence() {
    compiler_fence(Ordering::SeqCst);
}

/// Threads, under the names that a model has too.
pub(crate) mod thread {
    pub(crate) use std::thread::yield_now;
}

/// Whether a wait until `deadline` is over.
pub(crate) fn has_passed(deadline: Deadline) -> bool {
    deadline.is_expired()
}

/// A word that one thread can sleep on.
#[derive(Debug, Default)]
pub(crate) struct Futex {
    /// The word.
    pub(crate) word: AtomicU32,
}

impl Futex {
    /// A word that is zero.
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU32::new(0) }
    }

    /// Sleeps while the word is `expected`; may return at any time.
    pub(crate) fn wait(&self, expected: u32, deadline: Deadline) {
        futex::wait(&self.word, expected, deadline);
    }

    /// Wakes the sleeper.
    pub(crate) fn wake_one(&self) {
        futex::wake_one(&self.word);
    }
}

/// A word in shared memory that threads of several processes can sleep on.
#[cfg(feature = "processes")]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct SharedFutex {
    /// The word.
    pub(crate) word: AtomicU32,
}

#[cfg(feature = "processes")]
impl SharedFutex {
    /// Sleeps while the word is `expected`, until `deadline` and for a slice of time at most; may return at any time.
    pub(crate) fn wait(&self, expected: u32, deadline: Deadline) {
        futex::wait_shared(&self.word, expected, Deadline::after(futex::slice_until(deadline)));
    }

    /// Wakes `count` sleepers at most; how many there were.
    pub(crate) fn wake(&self, count: u32) -> u32 {
        futex::wake_shared(&self.word, count)
    }
}

/// A fence behind a read-modify-write: on x86 that has been one already.
#[cfg(feature = "processes")]
#[inline]
pub(crate) fn fence_after_exchange() {
    if cfg!(target_arch = "x86_64") { compiler_fence(Ordering::SeqCst) } else { fence(Ordering::SeqCst) }
}
