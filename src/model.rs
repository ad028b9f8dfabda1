//! Check your own concurrent code on top of crewkit, in every interleaving.
//!
//! Built with `RUSTFLAGS="--cfg crewkit_loom"`, crewkit's [`sync`](crate::sync) and [`queue`](crate::queue) run on
//! [loom]'s types, and [`check`] runs its body once for each execution that differs: each order of the threads' steps, and
//! each value that a relaxed load may see. A deadlock, a leak of a model's [`Arc`], a panic or a failed assertion in any
//! of them fails the check. Built as usual, all names here are std's, and `check` runs the body once, so the same test
//! serves as both.
//!
//! Code to be checked takes its threads and atomics from here. Keep models small: at most five threads, the first
//! included, and a few operations in each. `LOOM_MAX_PREEMPTIONS=4` in the environment bounds how often a thread is
//! interrupted; many a lost wake-up needs as many as four.
//!
//! A timed wait does not know the time in a model. It is explored with its deadline before, between and after all that
//! the other threads do.
//!
//! ```
//! use crewkit::model::{self, Arc};
//! use crewkit::queue::Queue;
//!
//! model::check(|| {
//!     let queue = Arc::new(Queue::bounded(1));
//!     let consumer = model::thread::spawn({
//!         let queue = Arc::clone(&queue);
//!         move || queue.get()
//!     });
//!     queue.put(7).unwrap();
//!     assert_eq!(consumer.join().unwrap(), Ok(7));
//! });
//! ```
//!
//! [loom]: https://docs.rs/loom

#[cfg(crewkit_loom)]
pub use loom::sync::Arc;
#[cfg(not(crewkit_loom))]
pub use std::sync::Arc;

/// Threads of a model.
pub mod thread {
    #[cfg(crewkit_loom)]
    pub use loom::thread::{JoinHandle, spawn, yield_now};
    #[cfg(not(crewkit_loom))]
    pub use std::thread::{JoinHandle, spawn, yield_now};
}

/// Atomics of a model.
pub mod atomic {
    #[cfg(crewkit_loom)]
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
    pub use std::sync::atomic::Ordering;
    #[cfg(not(crewkit_loom))]
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};
}

/// Runs `body` in every execution that differs, and answers how many those were; on the machine, once.
///
/// # Panics
///
/// If any execution panics, deadlocks or leaks. loom's own environment variables (`LOOM_MAX_PREEMPTIONS`,
/// `LOOM_CHECKPOINT_FILE`, `LOOM_LOG`) apply.
pub fn check(body: impl Fn() + Send + Sync + 'static) -> usize {
    #[cfg(crewkit_loom)]
    {
        // std's: it counts across executions, which loom's types do not outlive.
        use std::sync::atomic::{AtomicUsize, Ordering};
        let executions = std::sync::Arc::new(AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&executions);
        loom::model(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            body();
        });
        executions.load(Ordering::Relaxed)
    }
    #[cfg(not(crewkit_loom))]
    {
        body();
        1
    }
}
