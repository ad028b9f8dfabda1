//! Forking this very process: the base of [`StartMethod::Fork`](super::StartMethod) and of the pre-fork master.
//!
//! A fork copies one thread, so it is done only while there is one. In the child signals are as in a new process,
//! the parent's private descriptors are closed, and the body's end is the process's end: no destructor of the
//! parent's stack runs twice.
//!
//! # Safety
//!
//! The one unsafe call is `sys::process::fork`; the thread count is what makes it sound.
#![expect(unsafe_code, reason = "fork")]

#[cfg(feature = "server")]
mod owned;

use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::ForkError;
use crate::sys::generation;
use crate::sys::process::{self, Forked, PidFd};
use crate::sys::signal;

#[cfg(feature = "server")]
pub(crate) use owned::{Child, fork};

/// The exit code of a child whose body panicked; the same as that of a Rust program whose `main` panicked.
pub(crate) const PANICKED: i32 = 101;

/// Refuses to go on in a process with threads.
pub(super) fn check_threads() -> Result<(), ForkError> {
    match process::thread_count()? {
        1 => Ok(()),
        threads => Err(ForkError::Multithreaded { threads }),
    }
}

/// Forks whatever the number of threads. The child keeps every descriptor.
///
/// # Safety
///
/// The process has one thread, or `body` needs no lock that another thread may hold.
pub(super) unsafe fn fork_unchecked(body: impl FnOnce() -> i32) -> Result<PidFd, ForkError> {
    process::flush_stdio();
    // A signal between the fork and the reset would run the parent's handlers in the child.
    let mask = signal::block_all()?;
    // SAFETY: the caller's promise.
    match unsafe { process::fork() }? {
        Forked::Child => leave(move || match signal::reset_all() {
            Ok(()) => body(),
            Err(error) => cannot_start(&error),
        }),
        Forked::Parent(pid) => {
            drop(mask);
            generation::drop_handed_over(body);
            Ok(PidFd::open(pid).inspect_err(|_| process::kill_and_reap(pid))?)
        }
    }
}

fn cannot_start(error: &io::Error) -> i32 {
    // Whoever would read this may be gone, which must not change how the process ends.
    let _ = writeln!(io::stderr(), "crewkit: a forked child cannot start: {error}");
    PANICKED
}

/// Runs `body` as the rest of this process's life.
pub(super) fn leave(body: impl FnOnce() -> i32) -> ! {
    // The end of the closure and of its captures is inside, and the payload is never dropped, because its destructor
    // may panic too: nothing unwinds into the parent's frames.
    let code = catch_unwind(AssertUnwindSafe(body)).map_err(ManuallyDrop::new).unwrap_or(PANICKED);
    // Its result is on its way, and its threads and processes go on until they are through, as when main returns.
    #[cfg(feature = "threads")]
    crate::thread::shutdown();
    super::children::wait_for_all();
    process::flush_stdio();
    process::exit_now(code)
}
