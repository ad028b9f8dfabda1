//! What the models share: exploring, with the number of executions told.
//!
//! Without `cfg(crewkit_loom)` the models are plain tests that run their body once.
//!
//! # What is modelled, and what is not
//!
//! The models run the shipped lines of `sync` and `queue` and, below them, of `primitive`'s parker and wait list. These
//! are swapped for loom's own, so their real code is **not** modelled: the latches around all lines of waiters, at the ends
//! of a queue's list and around the state of the other queues (`latch.rs` models theirs, with a full fence in place of
//! each half of membarrier's), parking_lot's `Mutex` around the agenda of timers, the futex system call, the kernel's and
//! the C library's part of a robust mutex, the copies of a ring's bytes (plain words in its model) and membarrier(2) (a
//! full fence on both sides), std's thread-local values, and std's atomics themselves. Spinning before
//! a wait is left out, as it only repeats an attempt. The clock is replaced by "the deadline may have passed at any
//! look", and the one millisecond after which a waiter is handed a lock by "was overtaken once".
//!
//! # How a model must be written to see what it is for
//!
//! loom runs the first thread until it waits, then the next, and turns two accesses round only if the later one is a load
//! that comes after a store, or a store whose *last* access before was the other: a thread that looks at a word before it
//! stores hides all who looked earlier. So whoever writes comes first (the first thread of the model), whoever is to see it
//! is started for that, and a look that has to be turned round is a read-modify-write. What shows whether a model
//! is in the right order is its mutant, and the number of executions: the same threads had 285 in one order, none of which
//! saw the fault, and 39,649 in the other.

mod fixtures;
#[cfg(crewkit_loom)]
pub mod mortal;
mod plain;

pub use fixtures::{Drops, Item, SOON, spawn, until_it_says};
pub use plain::Plain;

use crewkit::model;
use std::env;
use std::time::Instant;

/// Explores `body` within `LOOM_MAX_PREEMPTIONS`; and within `LOOM_MAX_DURATION` seconds, if that is given.
pub fn explore(name: &str, body: impl Fn() + Send + Sync + 'static) {
    let begin = Instant::now();
    let executions = model::check(body);
    let seconds = begin.elapsed().as_secs_f64();
    let limit = env::var("LOOM_MAX_DURATION").ok().and_then(|limit| limit.parse().ok());
    let end = if limit.is_some_and(|limit: f64| seconds >= limit) { ", stopped" } else { "" };
    println!("model {name}: {executions} executions, {seconds:.1} s{end}");
}

/// Explores `body` with one preemption fewer than the environment says, to the end: for models of three threads that line
/// up and more, on what is made of parts with models of their own, a condition or a barrier on locks. With one more they
/// take ten times as long, which `ci/deep.sh` does. What follows for two who are in line already has models of its own,
/// with as many preemptions as all others.
pub fn explore_large(name: &str, body: impl Fn() + Send + Sync + 'static) {
    #[cfg(not(crewkit_loom))]
    explore(name, body);
    #[cfg(crewkit_loom)]
    {
        let bound = loom::model::Builder::new().preemption_bound.map(|bound| bound.saturating_sub(1));
        check(name, "one preemption fewer", bound, body);
    }
}

/// Explores `body` with two preemptions at most, whatever the environment says: for models of three threads that are
/// explored once more for each step at which one of them may die.
#[cfg(crewkit_loom)]
pub fn explore_deaths(name: &str, body: impl Fn() + Send + Sync + 'static) {
    check(name, "two preemptions", Some(2), body);
}

/// Explores `body` without a bound on preemptions, whatever the environment says: for small models.
pub fn exhaust(name: &str, body: impl Fn() + Send + Sync + 'static) {
    #[cfg(not(crewkit_loom))]
    explore(name, body);
    #[cfg(crewkit_loom)]
    check(name, "exhaustive", None, body);
}

/// Runs what comes before the part that matters, in one order.
pub fn prepare<T>(prelude: impl FnOnce() -> T) -> T {
    #[cfg(crewkit_loom)]
    loom::stop_exploring();
    let outcome = prelude();
    #[cfg(crewkit_loom)]
    loom::explore();
    outcome
}

#[cfg(crewkit_loom)]
fn check(name: &str, how: &str, preemptions: Option<usize>, body: impl Fn() + Send + Sync + 'static) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let begin = Instant::now();
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_duration = None;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let executions = executions.load(Ordering::Relaxed);
    println!("model {name} ({how}): {executions} executions, {:.1} s", begin.elapsed().as_secs_f64());
}
