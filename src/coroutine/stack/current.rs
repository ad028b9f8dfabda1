//! On which coroutine's stack the calling thread runs.
//!
//! Two readers: a yielder, which must switch away from its own coroutine and from no other, and the handler of SIGSEGV,
//! which asks whether a fault hit the guard of the running stack. The word is a thread-local without a destructor, so
//! it can be read at any time, in a signal handler and while the thread ends.
//!
//! # Safety
//!
//! The word is null or the header of a stack that is in use: whoever sets it owns the stack, and resets the word before it
//! gives the stack back.

#![expect(unsafe_code, reason = "reads the header of the running stack")]

use std::cell::Cell;
use std::ptr::{self, NonNull};

use super::Header;
use crate::sys::fault::Overflow;

thread_local! {
    static CURRENT: Cell<*const Header> = const { Cell::new(ptr::null()) };
}

/// The header of the running coroutine's stack; null on the thread's own stack.
#[inline]
pub(in crate::coroutine) fn current() -> *const Header {
    CURRENT.get()
}

/// Makes a stack the running one until it is dropped.
pub(in crate::coroutine) struct Current(*const Header);

impl Current {
    #[inline]
    pub(in crate::coroutine) fn enter(header: NonNull<Header>) -> Self {
        Self(CURRENT.replace(header.as_ptr()))
    }
}

impl Drop for Current {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Whether a fault at `address` is an overflow of the running coroutine's stack. Runs in a signal handler.
pub(super) fn judge(address: usize) -> Option<Overflow> {
    // SAFETY: the running stack is in use, so its header can be read (invariant 2 of the folder).
    let header = unsafe { CURRENT.get().as_ref() }?;
    let bytes = header.class_spec().usable;
    (header.limit..header.floor).contains(&address).then(|| Overflow { name: header.name.get(), bytes })
}
