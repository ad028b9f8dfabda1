//! A signal whose handler does nothing: it interrupts a system call.
//!
//! # Safety
//!
//! The handler touches nothing.

#![expect(unsafe_code, reason = "a signal handler")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

extern "C" fn nothing(_: libc::c_int) {}

/// From now on, also in processes that are forked from this one: SIGUSR1 ends nobody, and no system call is restarted.
pub(crate) fn is_survived() {
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}
