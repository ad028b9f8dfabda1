//! `Executor`: what pools have in common, for code that should not care where its functions run.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

use super::error::{MapError, TaskError};
#[cfg(feature = "processes")]
use super::processes::Pool;
use super::task::{MapTask, Task};
#[cfg(feature = "threads")]
use super::threads::ThreadPool;

/// What may go from one process to another: serde values that own what they have.
pub trait Payload: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Payload for T {}

/// A pool of whatever kind: [`Pool`], [`ThreadPool`], or one of the two
/// ([`AnyExecutor`](super::AnyExecutor)).
///
/// The bounds are those of a pool of processes: functions and closures without captures, arguments and results that can
/// travel. Code that is written against it goes from threads to processes by another constructor. The calls themselves are
/// described at [`Pool`].
///
/// ```
/// # #[cfg(feature = "threads")] {
/// use crewkit::pool::{Executor, MapError, ThreadPool};
///
/// fn squares(executor: &impl Executor) -> Result<Vec<u64>, MapError<u64>> {
///     executor.map(|n: u64| n * n, 0..5)
/// }
///
/// assert_eq!(squares(&ThreadPool::new(2)?)?, [0, 1, 4, 9, 16]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Executor {
    /// Has `f(argument)` called; errors arrive in the task. Python's `apply_async`.
    fn submit<F, A, R>(&self, f: F, argument: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload;

    /// Calls `f(argument)` and waits for its result. Python's `apply`.
    ///
    /// # Errors
    ///
    /// [`TaskError`]: what became of the call.
    ///
    /// # Blocking
    ///
    /// Until the call has ended.
    fn apply<F, A, R>(&self, f: F, argument: A) -> Result<R, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
    {
        self.submit(f, argument).get()
    }

    /// Calls `f` with each item and gives all results in the order of the items. Python's `map`.
    ///
    /// # Errors
    ///
    /// [`MapError`] if any item failed. All the others were done, and their results are in it.
    ///
    /// # Blocking
    ///
    /// Until every item has ended.
    fn map<F, A, R, I>(&self, f: F, items: I) -> Result<Vec<R>, MapError<R>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>;

    /// [`map`](Self::map), with a `Result` for each item.
    ///
    /// # Blocking
    ///
    /// Until every item has ended.
    fn map_results<F, A, R, I>(&self, f: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>;

    /// Has `f` called with each item, and gives the results later. Python's `map_async`.
    fn map_async<F, A, R, I>(&self, f: F, items: I) -> MapTask<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>;

    /// Calls `f` with each item and gives the results in the order of the items, while they come; items are read while
    /// results are asked for. Python's `imap`.
    fn imap<F, A, R, I>(&self, f: F, items: I) -> impl Iterator<Item = Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>;

    /// [`imap`](Self::imap), with the results in the order in which they come. Python's `imap_unordered`.
    fn imap_unordered<F, A, R, I>(&self, f: F, items: I) -> impl Iterator<Item = Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Payload,
        R: Payload,
        I: IntoIterator<Item = A>;

    /// Takes no more tasks; what is there is done.
    fn close(&self);

    /// Closes the pool and waits until all its work is done.
    ///
    /// # Blocking
    ///
    /// Until then.
    fn join(&self);

    /// Ends the pool without doing what has not begun. What has begun is killed where that is possible: in processes.
    fn terminate(&self);

    /// Closes the pool, gives its work `grace` to be done, and terminates it. True: everything was done.
    ///
    /// # Blocking
    ///
    /// At most for `grace` and the time that [`terminate`](Self::terminate) takes to be done.
    fn shutdown(&self, grace: Duration) -> bool;
}

/// Methods of an [`Executor`] for one argument, whose signatures are all alike.
macro_rules! one {
    ($($name:ident($this:ident, $f:ident, $argument:ident) -> $result:ty $body:block)*) => {
        $(fn $name<F, A, R>(&self, $f: F, $argument: A) -> $result
        where
            F: Fn(A) -> R + Copy + Send + Sync + 'static,
            A: Payload,
            R: Payload,
        {
            let $this = self;
            $body
        })*
    };
}
#[cfg(all(feature = "processes", feature = "threads"))]
pub(super) use one;

/// The same for many arguments.
macro_rules! many {
    ($($name:ident($this:ident, $f:ident, $items:ident) -> $result:ty $body:block)*) => {
        $(fn $name<F, A, R, I>(&self, $f: F, $items: I) -> $result
        where
            F: Fn(A) -> R + Copy + Send + Sync + 'static,
            A: Payload,
            R: Payload,
            I: IntoIterator<Item = A>,
        {
            let $this = self;
            $body
        })*
    };
}
#[cfg(all(feature = "processes", feature = "threads"))]
pub(super) use many;

#[cfg(feature = "processes")]
impl Executor for Pool {
    one! {
        submit(pool, f, argument) -> Task<R> { Pool::submit(pool, f, argument) }
    }

    many! {
        map(pool, f, items) -> Result<Vec<R>, MapError<R>> { Pool::map(pool, f, items) }
        map_results(pool, f, items) -> Vec<Result<R, TaskError>> { Pool::map_results(pool, f, items) }
        map_async(pool, f, items) -> MapTask<R> { Pool::map_async(pool, f, items) }
        imap(pool, f, items) -> impl Iterator<Item = Result<R, TaskError>> { Pool::imap(pool, f, items) }
        imap_unordered(pool, f, items) -> impl Iterator<Item = Result<R, TaskError>> {
            Pool::imap_unordered(pool, f, items)
        }
    }

    fn close(&self) {
        Pool::close(self);
    }

    fn join(&self) {
        Pool::join(self);
    }

    fn terminate(&self) {
        Pool::terminate(self);
    }

    fn shutdown(&self, grace: Duration) -> bool {
        Pool::shutdown(self, grace)
    }
}

#[cfg(feature = "threads")]
impl Executor for ThreadPool {
    one! {
        submit(pool, f, argument) -> Task<R> { ThreadPool::submit(pool, f, argument) }
    }

    // The items are read here: the bounds do not say that other threads may have the iterator.
    many! {
        map(pool, f, items) -> Result<Vec<R>, MapError<R>> {
            ThreadPool::map(pool, f, items.into_iter().collect::<Vec<A>>())
        }
        map_results(pool, f, items) -> Vec<Result<R, TaskError>> {
            ThreadPool::map_results(pool, f, items.into_iter().collect::<Vec<A>>())
        }
        map_async(pool, f, items) -> MapTask<R> { ThreadPool::map_async(pool, f, items) }
        imap(pool, f, items) -> impl Iterator<Item = Result<R, TaskError>> { ThreadPool::imap(pool, f, items) }
        imap_unordered(pool, f, items) -> impl Iterator<Item = Result<R, TaskError>> {
            ThreadPool::imap_unordered(pool, f, items)
        }
    }

    fn close(&self) {
        ThreadPool::close(self);
    }

    fn join(&self) {
        ThreadPool::join(self);
    }

    fn terminate(&self) {
        ThreadPool::terminate(self);
    }

    fn shutdown(&self, grace: Duration) -> bool {
        ThreadPool::shutdown(self, grace)
    }
}
