//! Dead-locks of [`Lock`](super::Lock)s and [`RLock`](super::RLock)s, found when they close. This module exists with the
//! feature `deadlock-detection` only, and not under `cfg(crewkit_loom)`, where loom itself finds them.
//!
//! A thread that is about to block looks whether the lock's holder waits, and for whom, and so on. If that leads back to
//! the thread, the circle is reported, once, by the thread that closes it; then that thread waits as it would without the
//! feature, since the end of a timeout, or a [`release`](super::Lock::release) by somebody else, may still resolve it. A
//! `Lock` taken twice by one thread is the circle of one, also where it serves as a signal that another thread gives.
//!
//! The wait of a [`Condition`](super::Condition) for its notification is no wait for a holder; its taking the lock back
//! is. Semaphores, events, barriers and queues have no holder. A timed wait is reported as such; one whose time is over
//! is none. With the feature the `Debug` of both locks names the holder, and where it took the lock.
//!
//! Two things go unseen. What a hook's own thread takes and waits for while it is inside the hook. And, of a lock that is
//! released *by another thread* in the moment in which somebody came out of its wait for it and is not noted yet as the
//! holder: those who wait for the lock at that moment, until they wait anew, and that holder. One of them has just had the
//! lock, nobody knows which, and a dead-lock that is none would be worse than one that is missed. A lock that its holder
//! releases itself, as a guard does, never comes into that.
//!
//! Each acquire and each release takes one mutex of the whole process: this is for finding mistakes, not for speed. A
//! process forked out of several threads finds that mutex as it was at that moment, perhaps taken.
//!
//! ```
//! use crewkit::sync::{Lock, deadlock};
//! use std::time::Duration;
//!
//! deadlock::set_hook(|report| {
//!     assert_eq!(report.threads.len(), 1);
//!     assert_eq!(report.threads[0].waits_at.file(), file!());
//!     eprintln!("{report}");
//! });
//! let lock = Lock::new(0);
//! let _guard = lock.lock();
//! assert!(lock.lock_timeout(Duration::from_millis(1)).is_none()); // the hook is called here
//! assert!(deadlock::check().is_empty());
//! ```

mod graph;

pub(super) use graph::{GRAPH, Holder, Wait};

use crate::primitive::Mutex;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

type Hook = dyn Fn(&Report) + Send + Sync;

/// What was set by [`set_hook`]; `None` prints.
static HOOK: Mutex<Option<Arc<Hook>>> = Mutex::new(None);

/// Threads that wait for each other in a circle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Each waits for the lock that the next one holds, the last one for the first one's. The first is the one that found
    /// out.
    pub threads: Vec<BlockedThread>,
}

/// One thread of a [`Report`]: what it waits for, and what it holds that another waits for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BlockedThread {
    /// The thread's name, if it has one.
    pub name: Option<String>,
    /// The kernel's id of the thread, as in `ps -L`.
    pub native_id: u32,
    /// The address of the lock that it holds, as `{:p}` of a reference to the lock prints it.
    pub holds: usize,
    /// Where it took that lock; for a lock taken back by a wait on a condition, where that wait is.
    pub acquired_at: &'static Location<'static>,
    /// The address of the lock that it waits for.
    pub waits_for: usize,
    /// Where it waits.
    pub waits_at: &'static Location<'static>,
    /// Whether the wait ends by itself, at its timeout.
    pub is_timed: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dead-lock of {} thread(s):", self.threads.len())?;
        self.threads.iter().try_for_each(|thread| write!(f, "\n  {thread}"))
    }
}

impl fmt::Display for BlockedThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { native_id, holds, acquired_at, waits_for, waits_at, .. } = self;
        let name = self.name.as_deref().unwrap_or("<unnamed>");
        let timed = if self.is_timed { ", until its timeout" } else { "" };
        write!(f, "thread `{name}` ({native_id}) holds {holds:#x}, acquired at {acquired_at}, ")?;
        write!(f, "and waits for {waits_for:#x} at {waits_at}{timed}")
    }
}

/// Has `hook` called with each dead-lock, in the thread that closes it, instead of printing the report on standard error.
///
/// It may use locks; those that it takes, and waits for, are not looked at. Its time counts for the timeout of the wait
/// that is about to begin. If it panics, the panic's message is printed as usual, and the thread waits all the same.
///
/// # Blocking
///
/// Never.
pub fn set_hook(hook: impl Fn(&Report) + Send + Sync + 'static) {
    let before = HOOK.lock().replace(Arc::new(hook));
    // Its captures may use locks in their turn.
    drop(before);
}

/// The dead-locks that there are now, whether they were reported or not.
///
/// # Blocking
///
/// Never.
pub fn check() -> Vec<Report> {
    GRAPH.lock().cycles()
}

/// Gives `report` to the hook. No mutex is held.
pub(super) fn tell(report: &Report) {
    let hook = HOOK.lock().clone();
    match hook {
        // What it panicked with was printed; the thread has a lock to wait for.
        Some(hook) => drop(catch_unwind(AssertUnwindSafe(|| hook(report)))),
        None => eprintln!("{report}"),
    }
}
