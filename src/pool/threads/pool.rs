//! `ThreadPool`: the handle, through which any thread uses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::builder::ThreadPoolBuilder;
use super::call::ThreadCall;
use super::engine::Shared;
use super::imap::{ThreadImap, ThreadImapUnordered};
use crate::pool::error::{MapError, PoolError, TaskError};
use crate::pool::task::{MapTask, Task};

/// A few threads that make calls for others: Python's `multiprocessing.pool.ThreadPool`, on rayon's threads.
///
/// Any closure may be called, with any captures, and nothing is serialised; a [map](Self::map) may even borrow from its
/// caller. A call that panics fails alone. Tasks begin in the order of their submission. All methods may be called from
/// any thread, also by the pool's own tasks: a task that waits for another one that has not begun runs it right there, so
/// a pool of one thread is enough for any nesting. (A wait for something else that another task is to do, an event or an
/// item in a queue, takes a worker out of service, as ever.)
///
/// A thread cannot be killed. Where a pool of processes kills, this one lets go: [`terminate`](Self::terminate) and
/// dropping the pool refuse what has not begun, and what has begun runs to its end. Like threads of std, the workers of a
/// pool that was not [`join`](Self::join)ed end with the process, wherever they are. In a forked child there are none: calls
/// and tasks end with [`TaskError::ForeignProcess`] there.
///
/// Nor can a task be told to stop that does not ask, so [`Task`] has no `cancel_running`. What it should look at, and what
/// is to be done at its end, its closure can capture:
///
/// ```
/// # use crewkit::{pool::ThreadPool, sync::Event};
/// # use std::sync::Arc;
/// # let pool = ThreadPool::new(1).unwrap();
/// let stop = Arc::new(Event::new());
/// let asked = Arc::clone(&stop);
/// let rounds = move |()| (0_u64..).find(|_| asked.is_set());
/// let task = pool.submit(rounds, ());
/// stop.set();
/// assert!(task.get().unwrap().is_some());
/// ```
///
/// The same calls for functions without captures are in [`Executor`](crate::pool::Executor), for code that works with
/// processes, too.
///
/// ```
/// use crewkit::pool::ThreadPool;
///
/// let pool = ThreadPool::new(2)?;
/// let names = ["one", "two", "three"];
/// assert_eq!(pool.map(|index: usize| names[index].len(), 0..3)?, [3, 3, 5]);
///
/// let base = String::from("a");
/// let task = pool.submit(move |end: &str| base + end, "b");
/// assert_eq!(task.get()?, "ab");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ThreadPool {
    shared: Arc<Shared>,
}

impl ThreadPool {
    pub(super) fn over(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A pool of `workers` threads. [`ThreadPool::builder`] takes as many as there are processors.
    ///
    /// # Errors
    ///
    /// [`PoolError::NoWorkers`] for 0; [`PoolError::Io`] if a thread cannot be started, or for more than 65,535.
    ///
    /// # Blocking
    ///
    /// Until the threads are started.
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// A pool with options.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }

    /// Calls `f(argument)` in a worker and waits for its result (Python's `apply`).
    ///
    /// # Errors
    ///
    /// [`TaskError`]: what became of the call.
    ///
    /// # Blocking
    ///
    /// Until the call has ended.
    pub fn apply<F, A, R>(&self, f: F, argument: A) -> Result<R, TaskError>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        self.with().apply(f, argument)
    }

    /// Has `f(argument)` called in a worker (Python's `apply_async`). Errors arrive in the task, also that the pool is
    /// closed.
    ///
    /// # Blocking
    ///
    /// Never. Tasks that no worker is free for wait in memory, as many as are submitted.
    pub fn submit<F, A, R>(&self, f: F, argument: A) -> Task<R>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        self.with().submit(f, argument)
    }

    /// Calls `f` with each item and gives all results in the order of the items (Python's `map`). The workers take items
    /// from the iterator themselves, in chunks that adapt to what an item costs. Tiny calls are fastest over a range of
    /// integers, which is cut into parts without being read.
    ///
    /// `f` and the items may borrow from the caller. In a task of the pool itself the calling worker takes part. Items that
    /// cost nearly nothing may all be done by one worker. So none should wait for another one, unless a
    /// [chunksize](ThreadCall::chunksize) of 1 gives each a worker.
    ///
    /// # Errors
    ///
    /// [`MapError`] if any item failed. All the others were done, and their results are in it.
    ///
    /// # Panics
    ///
    /// If the iterator does, after the items that it gave were done.
    ///
    /// # Blocking
    ///
    /// Until every item has ended. Of a map that is [terminated](Self::terminate), cancelled or out of time every item
    /// that has not begun ends with that error: if the iterator does not know their number, it is read to its end.
    pub fn map<F, A, R, I>(&self, f: F, items: I) -> Result<Vec<R>, MapError<R>>
    where
        F: Fn(A) -> R + Sync,
        A: Send,
        R: Send,
        I: IntoIterator<Item = A, IntoIter: Send>,
    {
        self.with().map(f, items)
    }

    /// [`map`](Self::map), with a `Result` for each item.
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// Until every item has ended.
    pub fn map_results<F, A, R, I>(&self, f: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Sync,
        A: Send,
        R: Send,
        I: IntoIterator<Item = A, IntoIter: Send>,
    {
        self.with().map_results(f, items)
    }

    /// Has `f` called with each item, and gives the results later (Python's `map_async`). The items are read here and now.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn map_async<F, A, R, I>(&self, f: F, items: I) -> MapTask<R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        self.with().map_async(f, items)
    }

    /// Calls `f` with each item and gives the results in the order of the items, while they come (Python's `imap`).
    ///
    /// As [`imap_unordered`](Self::imap_unordered) otherwise.
    pub fn imap<F, A, R, I>(&self, f: F, items: I) -> ThreadImap<R, I::IntoIter>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        self.with().imap(f, items)
    }

    /// Calls `f` with each item and gives the results as they come (Python's `imap_unordered`).
    ///
    /// Lazy in both directions: items are taken from the iterator, on this thread, only while fewer than four chunks per
    /// worker are on their way between the two iterators, so the iterator may be endless. If the results are not read, the
    /// workers fall idle. Dropping it withdraws what has not begun. Once the pool is closed or terminated, no more items
    /// are read: those that had to be refused end with [`TaskError::PoolClosed`], and the results end behind them.
    pub fn imap_unordered<F, A, R, I>(&self, f: F, items: I) -> ThreadImapUnordered<R, I::IntoIter>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        self.with().imap_unordered(f, items)
    }

    /// The same calls with options.
    ///
    /// ```
    /// # let pool = crewkit::pool::ThreadPool::new(2).unwrap();
    /// use std::time::Duration;
    ///
    /// let squares = pool.with().chunksize(100).timeout(Duration::from_secs(60)).map(|n: u64| n * n, 0..1_000);
    /// assert_eq!(squares.unwrap().len(), 1_000);
    /// ```
    pub fn with(&self) -> ThreadCall<'_> {
        ThreadCall::new(self)
    }

    /// Gives the work to `workers` new threads. Those that were there leave when they are done with what they have begun,
    /// so for a while there may be more at work. A pool that was closed or terminated stays as it is.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); nothing has changed then.
    ///
    /// # Blocking
    ///
    /// Until the new threads are started.
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        self.shared.resize(workers)
    }

    /// Takes no more tasks; what is there is done (Python's `close`), with all that it submits to the pool in turn. Of an
    /// [`imap`](Self::imap) that is what was read by then.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn close(&self) {
        if self.shared.is_ours() {
            self.shared.close();
        }
    }

    /// Closes the pool and waits until all its work is done and its threads have ended (Python's `join`, which demands
    /// that `close` was called before).
    ///
    /// # Blocking
    ///
    /// Until then. A task of the pool itself cannot wait for its own end: there it only closes.
    pub fn join(&self) {
        self.close();
        if self.shared.is_ours() && !self.shared.employs_this_thread() {
            self.shared.over().wait();
            self.shared.dismiss();
            self.shared.join_threads();
        }
    }

    /// Takes no more tasks, and ends those that have not begun with [`TaskError::PoolClosed`] (Python's `terminate`). What
    /// has begun runs to its end; of a map, the chunks that have.
    ///
    /// # Blocking
    ///
    /// Never; [`join`](Self::join) waits.
    pub fn terminate(&self) {
        if self.shared.is_ours() {
            self.shared.end(TaskError::PoolClosed);
        }
    }

    /// Closes the pool, gives its work `grace` to be done, and terminates it. True: everything was done, and the threads
    /// have ended. False: something still runs; the threads end after it once the pool is joined or dropped.
    ///
    /// # Blocking
    ///
    /// At most for `grace`, and for the end of the idle threads if everything was done by then. A task of the pool itself
    /// does not wait, and is always too early.
    pub fn shutdown(&self, grace: Duration) -> bool {
        self.close();
        let done =
            self.shared.is_ours() && !self.shared.employs_this_thread() && self.shared.over().wait_timeout(grace);
        if done {
            self.join();
        } else {
            self.terminate();
        }
        done
    }

    /// What the pool has done and has to do.
    #[must_use]
    pub fn stats(&self) -> ThreadStats {
        if !self.shared.is_ours() {
            return ThreadStats::default();
        }
        let census = self.shared.census();
        ThreadStats {
            workers: census.workers,
            queued: census.queued,
            running: census.running,
            completed: census.completed,
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        if self.shared.is_ours() {
            self.terminate();
            self.shared.dismiss();
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What a [`ThreadPool`] has done and has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadStats {
    /// The threads that the pool has; none when it was joined.
    pub workers: usize,
    /// Tasks that no worker has begun. A map counts once for each worker that could still take part in it.
    pub queued: usize,
    /// Tasks that have begun and not ended, also those that wait for others. A map counts once for each worker in it.
    pub running: usize,
    /// Calls that ended with a result or a panic: tasks and the items of maps alike, and the chunks of imaps.
    pub completed: u64,
}
