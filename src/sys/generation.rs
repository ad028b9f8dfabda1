//! Which process of a line of forks this is: how an inherited object knows that it was inherited.
//!
//! A counter that glibc's fork adds one to in the child. Reading it is one load, where asking for the process's number
//! would be a system call. A child made past fork(3), by a raw clone, is not noticed; the crate makes none.
//!
//! # Safety
//!
//! The handler that fork runs in the child does one atomic addition, which is all that a child of a threaded process
//! may safely do.

#![expect(unsafe_code, reason = "registering a handler with pthread_atfork")]

#[cfg(feature = "processes")]
use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();
/// The generation that owns what its ancestors made, too.
#[cfg(feature = "processes")]
static ADOPTING: AtomicU32 = AtomicU32::new(u32::MAX);

/// The number of this generation. Counting begins with the first call, so an object that may be inherited notes it when
/// it is made, and compares when it is used: a number that differs means that a fork lies between.
#[inline]
pub(crate) fn current() -> u32 {
    if !REGISTERED.is_completed() {
        register();
    }
    // Relaxed: only a fork changes it, and the child begins with one thread.
    GENERATION.load(Ordering::Relaxed)
}

/// Whether what this process inherited counts as its own.
#[cfg(feature = "processes")]
pub(crate) fn adopts() -> bool {
    ADOPTING.load(Ordering::Relaxed) == current()
}

/// In a child that was forked to run a closure: what the closure captured was handed over by capturing it. What it did
/// not capture it cannot name, so everything that was inherited may count as its own.
#[cfg(feature = "processes")]
pub(crate) fn adopt_inherited() {
    ADOPTING.store(current(), Ordering::Relaxed);
}

#[cfg(feature = "processes")]
thread_local! {
    static HANDED_OVER: Cell<bool> = const { Cell::new(false) };
}

/// Drops what a child was forked with: here it ends without a word to others, to whom the child's goes on.
#[cfg(feature = "processes")]
pub(crate) fn drop_handed_over<T>(captured: T) {
    struct Until(bool);

    impl Drop for Until {
        fn drop(&mut self) {
            HANDED_OVER.set(self.0);
        }
    }

    let _until = Until(HANDED_OVER.replace(true));
    drop(captured);
}

/// Whether what this thread is dropping now is a child's from now on.
#[cfg(feature = "processes")]
pub(crate) fn is_handed_over() -> bool {
    HANDED_OVER.get()
}

#[cold]
fn register() {
    REGISTERED.call_once(|| {
        // SAFETY: the handler is a plain function that is never unloaded. Without memory for it (the only error), forks
        // go unnoticed, and inherited objects behave as the kernel lets them.
        unsafe { libc::pthread_atfork(None, None, Some(count)) };
    });
}

unsafe extern "C" fn count() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
