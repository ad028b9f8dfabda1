//! Floor 7: many functions in a few threads, or in a few processes (Python's `ThreadPool`, `multiprocessing.Pool`).
//!
//! | Which one do I want? | |
//! |---|---|
//! | threads: any closure, nothing is copied, a crash ends the program | [`ThreadPool`] |
//! | processes: functions and serde values, a crash costs one task | [`Pool`] |
//! | code that works with either | [`Executor`], [`AnyExecutor`] |
//!
//! | And then, of either? | |
//! |---|---|
//! | one result, now | `apply` |
//! | one result, later, from any thread, or by `.await` | `submit`, [`Task`] |
//! | a list of results for a list of items | `map`, `map_results`, `map_async` |
//! | results while items are still being read | `imap`, `imap_unordered` |
//! | chunks, deadlines, retries for one call | `with` |
//!
//! A call that fails does so alone, and [`TaskError`] says whether it may have run.

#[cfg(all(feature = "processes", feature = "threads"))]
mod any;
mod error;
mod executor;
mod in_order;
#[cfg(feature = "processes")]
mod processes;
mod task;
#[cfg(feature = "threads")]
mod threads;

#[cfg(all(feature = "processes", feature = "threads"))]
pub use any::AnyExecutor;
pub use error::{MapError, PoolError, TaskError};
pub use executor::{Executor, Payload};
#[cfg(feature = "processes")]
pub use processes::{Builder, Call, Imap, ImapUnordered, Indexed, Pool, Stats, Worker, attempt};
pub use task::{MapTask, Task};
#[cfg(feature = "threads")]
pub use threads::{
    ThreadCall, ThreadImap, ThreadImapUnordered, ThreadIndexed, ThreadPool, ThreadPoolBuilder, ThreadStats,
};
