//! Floor 6: functions that run in other processes (Python's `multiprocessing.Process`).
//!
//! | Which one do I want? | |
//! |---|---|
//! | a function in a new process, its result later | [`Process::spawn`] |
//! | the same with a name, an environment, streams, limits | [`Builder`] |
//! | a closure with captures, in a program that has one thread | [`Process::fork`] |
//! | the first of several processes to end | [`wait_any`] |
//! | who am I, who started me, whom have I started | [`current()`], [`parent`], [`active_children`] |
//!
//! A program that starts processes calls [`init`] first thing in `main`; a test crate has
//! [`enable_test_support!`](crate::enable_test_support) at its root.
//!
//! # What follows from a death
//!
//! | Who dies | What happens |
//! |---|---|
//! | a process, however and whenever | its handle says so: [`ProcessError`], [`Process::exit`]; a start that was under way is a [`SpawnError`] |
//! | the process that started others, by a signal or by `_exit` | they are killed, also those that are busy in user code; their children in turn, too |
//! | the fork server | its children are killed: [`ProcessError::ForkServerDied`]; the next start begins a new server |
//!
//! A process that ends in peace, because `main` returns or somebody calls `exit`, first waits for those that it has started,
//! as Python does; but for [daemons](Builder::daemon), which are killed.
//!
//! # What is written to standard error
//!
//! A panic of the function is written by the process itself, in one line and at once, because nobody may ever join.
//! Its backtrace is not: that travels to whoever joins.

mod boot;
mod builder;
mod child;
mod children;
mod current;
mod error;
mod exit;
mod handle;
mod owner;
mod protocol;
mod server;
mod start;
mod stdio;
mod subject;
mod vigil;
mod wait;

pub(crate) mod fork;
pub(crate) mod function;

pub use boot::init;
pub use builder::{Builder, StartMethod};
pub use children::{Child, active_children};
pub use current::{Current, Parent, current, parent};
pub use error::{ForkError, ProcessError, SpawnError};
pub use exit::{Exit, ResourceUsage};
pub use handle::Process;
pub use stdio::Stdio;
pub use wait::wait_any;

pub use crate::sys::cpu::cpu_count;

#[cfg(test)]
mod tests;
