//! Locks: lock, add one to the number inside, unlock.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::together;
use crate::contest::{Contest, Contestant, Outcome, Repetition, Size, check};

const GROUP: &str = "Lock";
const OPERATION: &str = "lock, add 1, unlock";

/// A lock around a number, whichever library it comes from.
trait Counter: Send + Sync + 'static {
    /// A new one at zero.
    fn new() -> Self;
    /// Adds one under the lock.
    fn add(&self);
    /// Takes the number and leaves zero.
    fn take(&self) -> u64;
}

impl Counter for crewkit::sync::Lock<u64> {
    fn new() -> Self {
        Self::new(0)
    }

    fn add(&self) {
        *self.lock() += 1;
    }

    fn take(&self) -> u64 {
        std::mem::take(&mut *self.lock())
    }
}

impl Counter for parking_lot::Mutex<u64> {
    fn new() -> Self {
        Self::new(0)
    }

    fn add(&self) {
        *self.lock() += 1;
    }

    fn take(&self) -> u64 {
        std::mem::take(&mut *self.lock())
    }
}

impl Counter for std::sync::Mutex<u64> {
    fn new() -> Self {
        Self::new(0)
    }

    #[expect(clippy::unwrap_used, reason = "how users of std lock; the check for poison belongs to its cost")]
    fn add(&self) {
        *self.lock().unwrap() += 1;
    }

    #[expect(clippy::unwrap_used, reason = "how users of std lock")]
    fn take(&self) -> u64 {
        std::mem::take(&mut *self.lock().unwrap())
    }
}

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    [1, 2, 4].into_iter().map(contest).collect()
}

/// The contest with this many threads on one lock.
fn contest(threads: u64) -> Contest {
    let work = match threads {
        1 => "uncontended, 1 thread".to_owned(),
        _ => format!("shared counter, {threads} threads"),
    };
    Contest::new(GROUP, work, OPERATION, Size::MultipleOf(threads))
        .with(Contestant::crewkit("crewkit Lock", move || Ok(count::<crewkit::sync::Lock<u64>>(threads))))
        .with(Contestant::peer("parking_lot Mutex", move || Ok(count::<parking_lot::Mutex<u64>>(threads))))
        .with(Contestant::peer("std Mutex", move || Ok(count::<std::sync::Mutex<u64>>(threads))))
}

/// Counts to the number of operations, each thread its share.
fn count<C: Counter>(threads: u64) -> Repetition {
    let counter = Arc::new(C::new());
    if threads == 1 {
        return Box::new(move |operations| count_alone(&*counter, operations));
    }
    Box::new(move |operations| {
        let share = operations / threads;
        let jobs = (0..threads).map(|_| {
            let counter = &counter;
            let job = move || (0..share).for_each(|_| counter.add());
            Box::new(job) as Box<dyn FnOnce() + Send>
        });
        let taken = together(jobs.collect());
        check("count", counter.take(), operations)?;
        Ok(taken)
    })
}

/// The same without other threads. The lock is hidden from the optimiser, which must not see that nobody else has it.
fn count_alone<C: Counter>(counter: &C, operations: u64) -> Outcome<Duration> {
    let start = Instant::now();
    for _ in 0..operations {
        black_box(counter).add();
    }
    let taken = start.elapsed();
    check("count", counter.take(), operations)?;
    Ok(taken)
}
