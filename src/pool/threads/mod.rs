//! `ThreadPool`: functions in a few threads of this process, on rayon's threads.
//!
//! # Who does what
//!
//! ```text
//!   submit, map, imap ──► queue of jobs, oldest first ──► a job, once claimed, is run or refused
//!          │                                                     ▲
//!          └──► rayon: one ticket for each waiting job ──────────┘  a ticket serves whatever job is first
//! ```
//!
//! rayon gives the threads, their sleep and their wake-up; it runs **tickets**, which are all alike. What a ticket serves
//! is decided when it is served, in the order of submission, whichever thread submitted. So a job can be withdrawn, taken
//! away to be run by whoever waits for it, or refused all at once when the pool is terminated, and the tickets that are
//! then too many find nothing to do.
//!
//! # Invariants, whenever the desk's lock is free
//!
//! 1. There are at least as many tickets out as jobs wait, while the pool is open or closed.
//! 2. A job is claimed exactly once, from waiting: by a ticket, by a waiter of the same pool, by who cancels it or by who
//!    ends the pool. Who claims it runs or refuses it.
//! 3. `over` is set only when the pool takes no more jobs, none waits and none runs, and after what was waited for of the
//!    last one was told.
//!
//! # Nested use
//!
//! A worker that waits for a task of its own pool runs that task if it has not begun, and otherwise sleeps: a task that
//! has begun is with another thread, which is never held up by anything but its own waits. A worker never runs anything
//! *else* while it waits, as rayon's `join` would: what it runs could want a lock that the waiting task below it holds.

mod builder;
mod call;
mod cut;
mod engine;
mod imap;
mod job;
mod mapping;
mod outcome;
mod pace;
mod part;
mod pool;

pub use builder::ThreadPoolBuilder;
pub use call::ThreadCall;
pub use imap::{ThreadImap, ThreadImapUnordered, ThreadIndexed};
pub use pool::{ThreadPool, ThreadStats};
