//! Which processes this one has started.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::owner::Owner;
use super::subject::Subject;
use crate::sys::clock::Deadline;
use crate::sys::poll::{self, Readiness};
use crate::sys::signal;

/// The processes that this one has started and that run, the oldest first (Python's `multiprocessing.active_children`):
/// also those whose [`Process`](super::Process) was dropped, and a pool's workers. As there, children of this process that
/// have ended and whose handles are gone are reaped.
///
/// # Blocking
///
/// Never.
///
/// ```
/// use crewkit::process::{Builder, active_children};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let process = Builder::new().name("sleeper").spawn(|()| std::thread::park(), ())?;
///     let [child] = &active_children()[..] else { panic!("one child") };
///     assert_eq!((child.name(), child.pid()), ("sleeper", process.pid()));
///     child.kill()?;
///     assert!(process.join().is_err());
///     assert!(active_children().is_empty());
///     Ok(())
/// }
/// ```
#[must_use]
pub fn active_children() -> Vec<Child> {
    let Some(owner) = Owner::if_any() else { return Vec::new() };
    owner.reap_orphans();
    owner.running().into_iter().map(Child).collect()
}

/// Waits for the processes that this one has started, but for daemons; for good if one of them does not end.
pub(super) fn wait_for_all() {
    // Asked for anew each time: processes that are waited for start no others here, but threads may.
    while let Some(owner) = Owner::if_any() {
        let running: Vec<_> = owner.running().into_iter().filter(|child| !child.terms.daemon).collect();
        let watched: Vec<_> = running.iter().map(|child| (child.as_fd(), Readiness::READ)).collect();
        if watched.is_empty() || poll::wait_many(&watched, Deadline::NEVER).is_err() {
            // With the groups that they have led.
            return owner.reap_orphans();
        }
    }
}

/// What exit(3) calls.
pub(super) extern "C" fn at_process_exit() {
    // Threads first, whichever was registered first: they may start processes.
    #[cfg(feature = "threads")]
    crate::thread::at_process_exit();
    wait_for_all();
}

/// A process that this one has started, see [`active_children`]. Its result is its [`Process`](super::Process)'s to give.
#[derive(Clone, Debug)]
pub struct Child(Arc<Subject>);

impl Child {
    /// The pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pidfd().pid()
    }

    /// The name given to the builder, or `Process-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.terms.name
    }

    /// Whether the process has not ended yet. A stopped process is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// Asks the process to end: SIGTERM, see [`Process::terminate`](super::Process::terminate).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(signal::TERM)
    }

    /// Ends the process now: SIGKILL, see [`Process::kill`](super::Process::kill).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(signal::KILL)
    }

    /// Sends a signal by number, see [`Process::signal`](super::Process::signal).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        self.0.signal(signal)
    }
}

impl AsFd for Child {
    /// A pidfd: readable when the process has ended. For [`wait_any`](super::wait_any), poll and event loops.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
