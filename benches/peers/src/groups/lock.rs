//! Locks: lock, add one to the number inside, unlock.

use std::cell::Cell;
use std::hint::black_box;
use std::mem::take;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::contest::{Contest, Contestant, Repetition, Size, Target, check};
use crate::place::{Job, Placement, together};

const OPERATION: &str = "lock, add 1, unlock";
const LOCK: &str = "crewkit Lock";
const RLOCK: &str = "crewkit RLock";

type RLock = crewkit::sync::RLock<Cell<u64>>;
type ReentrantMutex = parking_lot::ReentrantMutex<Cell<u64>>;

/// A lock around a number, whichever library it comes from.
///
/// Its methods are inlined, all alike. Left to itself the compiler inlines them for one lock and calls them for another,
/// by where they lie, and for locks that take a few nanoseconds that is half of the figure.
trait Counter: Send + Sync + 'static {
    /// A new one at zero.
    fn new() -> Self;
    /// Adds one under the lock.
    fn add(&self);
    /// Takes the number and leaves zero.
    fn take(&self) -> u64;
}

/// A lock whose owner may lock it again.
trait Reentrant: Counter {
    /// Does something under the lock.
    fn held<R>(&self, inside: impl FnOnce() -> R) -> R;
}

/// What has a method `lock()` that gives a guard of the number.
macro_rules! counters {
    ($($lock:ty),*) => {$(
        impl Counter for $lock {
            fn new() -> Self {
                Self::new(0)
            }

            #[inline]
            fn add(&self) {
                *self.lock() += 1;
            }

            #[inline]
            fn take(&self) -> u64 {
                take(&mut *self.lock())
            }
        }
    )*};
}

/// What has one that gives a guard of a cell with it.
macro_rules! reentrant_counters {
    ($($lock:ty),*) => {$(
        impl Counter for $lock {
            fn new() -> Self {
                Self::new(Cell::new(0))
            }

            #[inline]
            fn add(&self) {
                let number = self.lock();
                number.set(number.get() + 1);
            }

            #[inline]
            fn take(&self) -> u64 {
                self.lock().take()
            }
        }

        impl Reentrant for $lock {
            #[inline]
            fn held<R>(&self, inside: impl FnOnce() -> R) -> R {
                let _held = self.lock();
                inside()
            }
        }
    )*};
}

counters!(crewkit::sync::Lock<u64>, parking_lot::Mutex<u64>);
reentrant_counters!(RLock, ReentrantMutex);

#[expect(clippy::unwrap_used, reason = "how users of std lock; the check for poison belongs to its cost")]
impl Counter for std::sync::Mutex<u64> {
    fn new() -> Self {
        Self::new(0)
    }

    #[inline]
    fn add(&self) {
        *self.lock().unwrap() += 1;
    }

    #[inline]
    fn take(&self) -> u64 {
        take(&mut *self.lock().unwrap())
    }
}

/// The contests of this group.
pub(crate) fn contests() -> Vec<Contest> {
    [1, 2, 4].map(lock).into()
}

/// The contest with this many threads on one lock.
fn lock(threads: u64) -> Contest {
    Contest::new("Lock", title(threads), OPERATION, Size::MultipleOf(threads))
        .with(Contestant::crewkit(LOCK, move || Ok(count::<crewkit::sync::Lock<u64>>(threads))))
        .with(Contestant::peer("parking_lot Mutex", move || Ok(count::<parking_lot::Mutex<u64>>(threads))))
        .with(Contestant::peer("std Mutex", move || Ok(count::<std::sync::Mutex<u64>>(threads))))
        .target(Target::speed(LOCK, 0.97, &[]))
}

fn title(threads: u64) -> String {
    match threads {
        1 => "uncontended, 1 thread".to_owned(),
        _ => format!("shared counter, {threads} threads"),
    }
}

/// Counts to the number of operations, each thread its share.
fn count<C: Counter>(threads: u64) -> Repetition {
    let counter = Arc::new(C::new());
    Box::new(move |operations| {
        let add = |times| (0..times).for_each(|_| counter.add());
        let taken = if threads == 1 {
            alone(&*counter, operations)
        } else {
            let share = operations / threads;
            together(Placement::Apart, (0..).zip(0..threads).map(|(lane, _)| Job::on(lane, move || add(share))))?
        };
        check("count", counter.take(), operations)?;
        Ok(taken.into())
    })
}

/// The same without other threads. The lock is hidden from the optimiser, which must not see that nobody else has it.
fn alone<C: Counter>(counter: &C, operations: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..operations {
        black_box(counter).add();
    }
    start.elapsed()
}

/// The contests of re-entrant locks.
pub(crate) fn reentrant_contests() -> Vec<Contest> {
    let again = Contest::new("RLock", "again, by its owner", OPERATION, Size::MultipleOf(1))
        .with(Contestant::crewkit(RLOCK, || Ok(again::<RLock>())))
        .with(Contestant::peer("parking_lot ReentrantMutex", || Ok(again::<ReentrantMutex>())))
        .target(Target::speed(RLOCK, 0.95, &[]));
    vec![reentrant(1), reentrant(2), again]
}

/// The contest with this many threads on one re-entrant lock.
fn reentrant(threads: u64) -> Contest {
    Contest::new("RLock", title(threads), OPERATION, Size::MultipleOf(threads))
        .with(Contestant::crewkit(RLOCK, move || Ok(count::<RLock>(threads))))
        .with(Contestant::peer("parking_lot ReentrantMutex", move || Ok(count::<ReentrantMutex>(threads))))
        .target(Target::speed(RLOCK, 0.95, &[]))
}

/// Counts with the lock held all the time.
fn again<C: Reentrant>() -> Repetition {
    let counter = C::new();
    Box::new(move |operations| {
        let taken = counter.held(|| alone(&counter, operations));
        check("count", counter.take(), operations)?;
        Ok(taken.into())
    })
}
