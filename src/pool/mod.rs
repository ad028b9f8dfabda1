//! Floor 7: many functions in a few processes (Python's `multiprocessing.Pool`).
//!
//! | Which one do I want? | |
//! |---|---|
//! | one result, now | [`Pool::apply`] |
//! | one result, later, from any thread | [`Pool::submit`], [`Task`] |
//! | a list of results for a list of items | [`Pool::map`], [`Pool::map_results`] |
//! | results while items are still being read | [`Pool::imap_unordered`], [`Pool::imap`] |
//! | chunks, retries for one call | [`Pool::with`] |
//!
//! A worker that dies takes the one call with it that it had begun ([`TaskError::WorkerDied`]); `README.md` beside this
//! file says exactly what is seen when who dies where.

mod builder;
mod call;
mod engine;
mod error;
mod feed;
mod inbox;
mod job;
mod ledger;
mod map;
mod member;
#[expect(clippy::module_inception, reason = "the type that the floor is named after has a room of its own")]
mod pool;
mod protocol;
mod recipe;
mod runner;
mod scheduler;
mod state;
mod task;
mod worker;

pub use builder::Builder;
pub use call::Call;
pub use error::{MapError, PoolError, TaskError};
pub use map::{Imap, ImapUnordered, Indexed};
pub use pool::{Pool, Stats, Worker};
pub use task::Task;
pub use worker::attempt;
