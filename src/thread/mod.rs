//! Threads that are waited for in every way Python's are: Python's `threading.Thread`, `Timer` and `local`.
//!
//! | Which one do I want? | Item | Python's name |
//! |---|---|---|
//! | run a function in a thread, and have its result | [`spawn`], [`Builder`] | `Thread(…).start()` |
//! | run a function later, unless it is cancelled | [`Timer`] | `Timer` |
//! | a value for each thread | [`Local`] | `local` |
//! | which threads there are | [`current`], [`main`], [`enumerate`], [`active_count`] | the same, `current_thread`, `main_thread` |
//! | have something called when the process ends | [`at_exit`] | `_register_atexit` |
//! | be told of panics | [`set_panic_hook`] | `excepthook` |
//!
//! What differs from [`std::thread`]: a handle may be waited for by many and with a timeout, threads are listed and can
//! be renamed, a panic comes home with its message and place, and **the process waits for its threads at exit**, except
//! for daemons.
//!
//! # The end of the process
//!
//! When `main` returns or panics, or any thread calls [`std::process::exit`]:
//!
//! 1. the functions of [`at_exit`] are called, the last one first, on the thread that ends the process;
//! 2. the main thread counts as ended, so that who waits for it goes on;
//! 3. all threads that are no daemons are waited for, those that they start meanwhile too, and timers that have not fired.
//!    The thread that ends the process is not waited for, and who waits for it goes on;
//! 4. starting a thread fails from then on, and the process is gone a moment later, with its daemons wherever they are.
//!
//! `abort`, `_exit` and deadly signals skip all of that, as does a panic with `panic = "abort"`. A thread that sleeps in
//! pause(2) while another has called `exit` is not waited for: that is where std holds threads that call `exit` second.
//! Children of [`crewkit::process`](../process/index.html) do the same when their function is through. Whoever forks:
//! in the child there is the thread that forked, which is the main thread there, and no other.
//!
//! Threads started elsewhere, as by std, are nobody's here until they call [`current`]. From then until their end they
//! are listed, as daemons.

mod agenda;
mod exit;
mod handle;
mod local;
mod me;
mod panics;
mod record;
mod registry;
mod timer;

pub use exit::at_exit;
#[cfg(feature = "processes")]
pub(crate) use exit::{at_process_exit, shutdown};
pub use handle::{Builder, Thread, spawn};
pub use local::{Iter, IterMut, Local, Value, ValueMut};
pub use panics::{Cause, Panicked, reset_panic_hook, set_panic_hook};
pub use record::ThreadRef;
pub use registry::{CannotWait, ShuttingDown};
pub use timer::Timer;

/// The calling thread (Python's `current_thread`).
///
/// One that was started elsewhere is listed from this call until it ends: as a daemon, under the name that std knows or
/// `Dummy-1`.
///
/// ```
/// assert_eq!(crewkit::thread::current(), crewkit::thread::current());
/// assert!(crewkit::thread::current().is_alive());
/// ```
#[must_use]
pub fn current() -> ThreadRef {
    me::current()
}

/// The thread that runs `main` (Python's `main_thread`); in a forked child, the one that forked.
#[must_use]
pub fn main() -> ThreadRef {
    ThreadRef(registry::registry().main())
}

/// All threads that are alive, the main thread first and then in the order of their starts (Python's `enumerate`): those
/// started here, timers that have not fired too, and those that were noticed by [`current`].
///
/// ```
/// use crewkit::thread;
///
/// let thread = thread::spawn(|| ()).thread();
/// thread.wait()?;
/// assert!(!thread::enumerate().contains(&thread));
/// # Ok::<(), thread::CannotWait>(())
/// ```
#[must_use]
pub fn enumerate() -> Vec<ThreadRef> {
    registry::registry().enumerate()
}

/// How many threads [`enumerate`] lists (Python's `active_count`).
#[must_use]
pub fn active_count() -> usize {
    registry::registry().active_count()
}
