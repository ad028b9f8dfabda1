//! `Pool`: the handle, through which any thread uses it.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::call::Call;
use super::engine::Shared;
use super::map::{Imap, ImapUnordered};
use crate::pool::error::{MapError, PoolError, TaskError};
use crate::pool::task::{MapTask, Task};

/// How long a drop waits: until the killed are gone, and a little.
const DROP: Duration = Duration::from_secs(15);

/// A few processes that make calls for this one: Python's `multiprocessing.Pool`.
///
/// A function is a `fn` item or a closure without captures; arguments and results are serde values. A call that
/// panics, crashes or is killed fails alone: every other call is made, exactly once, and a new worker takes the place
/// of a dead one. All methods may be called from any thread.
///
/// Dropping it terminates it, as Python's.
///
/// ```
/// use crewkit::pool::Pool;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     crewkit::init();
///     let pool = Pool::new(2)?;
///     assert_eq!(pool.apply(|(a, b): (u64, u64)| a * b, (6, 7))?, 42);
///     assert_eq!(pool.map(|n: u64| n * n, 0..5)?, [0, 1, 4, 9, 16]);
///     Ok(())
/// }
/// ```
pub struct Pool {
    pub(super) shared: Arc<Shared>,
    pub(super) workers: usize,
    pub(super) retries: u32,
    runner: Mutex<Option<JoinHandle<()>>>,
}

impl Pool {
    pub(super) fn assemble(shared: Arc<Shared>, workers: usize, retries: u32, runner: JoinHandle<()>) -> Self {
        Self { shared, workers, retries, runner: Mutex::new(Some(runner)) }
    }

    /// A pool of `workers` processes. [`Pool::builder`] takes as many as there are processors.
    ///
    /// # Errors
    ///
    /// [`PoolError::NoWorkers`] for 0; [`PoolError::Spawn`] if a worker cannot be started, for example because
    /// [`crewkit::init`](crate::init()) was not called; [`PoolError::Io`] without descriptors or memory.
    ///
    /// # Blocking
    ///
    /// Until the processes are started, at most as long as starting may take; not until they are initialised.
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// A pool with options.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Calls `f(argument)` in a worker and waits for its result (Python's `apply`).
    ///
    /// # Errors
    ///
    /// [`TaskError`]: what became of the call.
    ///
    /// # Blocking
    ///
    /// Until the call has ended, or its worker died.
    pub fn apply<F, A, R>(&self, f: F, argument: A) -> Result<R, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.submit(f, argument).get()
    }

    /// Has `f(argument)` called in a worker (Python's `apply_async`). Errors arrive in the task, also that the pool is
    /// closed.
    ///
    /// The argument is serialised here and now; files, sockets and connections may stand in it. A handle that can have
    /// one owner only is the task's from now on. The pool keeps its copies of descriptors until the call has ended.
    ///
    /// # Blocking
    ///
    /// Never. Tasks that no worker is free for wait in memory, as many as are submitted.
    pub fn submit<F, A, R>(&self, f: F, argument: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.with().submit(f, argument)
    }

    /// Calls `f` with each item and gives all results in the order of the items (Python's `map`). Items travel in
    /// chunks of a quarter of each worker's share; [`Call::chunksize`] changes that.
    ///
    /// # Errors
    ///
    /// [`MapError`] if any item failed. All the others were done, and their results are in it.
    ///
    /// # Blocking
    ///
    /// Until every item has ended.
    pub fn map<F, A, R, I>(&self, f: F, items: I) -> Result<Vec<R>, MapError<R>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.with().map(f, items)
    }

    /// [`map`](Self::map), with a `Result` for each item.
    ///
    /// # Blocking
    ///
    /// Until every item has ended.
    pub fn map_results<F, A, R, I>(&self, f: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.with().map_results(f, items)
    }

    /// Has `f` called with each item, and gives the results later (Python's `map_async`). The items are read and sent here
    /// and now.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn map_async<F, A, R, I>(&self, f: F, items: I) -> MapTask<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
        I: IntoIterator<Item = A>,
    {
        self.with().map_async(f, items)
    }

    /// Calls `f` with each item and gives the results in the order of the items, while they come (Python's `imap`).
    ///
    /// As [`imap_unordered`](Self::imap_unordered) otherwise.
    pub fn imap<F, A, R, I>(&self, f: F, items: I) -> Imap<'_, R, I::IntoIter>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.with().imap(f, items)
    }

    /// Calls `f` with each item and gives the results as they come (Python's `imap_unordered`).
    ///
    /// Lazy in both directions: items are taken from the iterator, on this thread, only while fewer than four chunks
    /// per worker and 64 MiB are on their way between the two iterators. If the results are not read, the workers
    /// fall idle. Dropping it withdraws what has not begun.
    pub fn imap_unordered<F, A, R, I>(&self, f: F, items: I) -> ImapUnordered<'_, R, I::IntoIter>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.with().imap_unordered(f, items)
    }

    /// The same calls with other options than the pool's.
    ///
    /// ```no_run
    /// # let pool = crewkit::pool::Pool::new(2).unwrap();
    /// let squares = pool.with().chunksize(100).retries(1).map(|n: u64| n * n, 0..1_000);
    /// ```
    pub fn with(&self) -> Call<'_> {
        Call::new(self)
    }

    /// Takes no more tasks; what is there is done, then the workers leave (Python's `close`).
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn close(&self) {
        if self.shared.is_ours() {
            self.shared.act(|state, now| state.close(now));
            self.shared.wake();
        }
    }

    /// Closes the pool and waits until all its work is done and its workers are gone (Python's `join`, which demands
    /// that `close` was called before).
    ///
    /// # Blocking
    ///
    /// Until then.
    pub fn join(&self) {
        if self.shared.is_ours() {
            self.close();
            self.shared.over.wait();
            self.reap_runner();
        }
    }

    /// Ends the workers now: by SIGTERM, and a second later by SIGKILL (Python's `terminate`). Tasks that were begun
    /// end with [`TaskError::WorkerDied`], all others with [`TaskError::PoolClosed`].
    ///
    /// # Blocking
    ///
    /// Never; [`join`](Self::join) waits.
    pub fn terminate(&self) {
        if self.shared.is_ours() {
            self.shared.act(|state, now| state.terminate(now));
            self.shared.wake();
        }
    }

    /// Closes the pool, gives its work `grace` to be done, and terminates it. True: everything was done.
    ///
    /// # Blocking
    ///
    /// Until everything is done; at most for `grace` and the time that [`terminate`](Self::terminate) takes.
    pub fn shutdown(&self, grace: Duration) -> bool {
        if !self.shared.is_ours() {
            return false;
        }
        self.close();
        let done = self.shared.over.wait_timeout(grace);
        if !done {
            self.terminate();
        }
        self.join();
        done
    }

    /// The workers that are there now, in the order in which they came.
    #[must_use]
    pub fn workers(&self) -> Vec<Worker> {
        if !self.shared.is_ours() {
            return Vec::new();
        }
        let census = self.shared.act(|state, _| state.census());
        census.workers.into_iter().map(|(pid, busy)| Worker { pid, busy }).collect()
    }

    /// What the pool has done and has to do.
    #[must_use]
    pub fn stats(&self) -> Stats {
        if !self.shared.is_ours() {
            return Stats::default();
        }
        let census = self.shared.act(|state, _| state.census());
        Stats {
            workers: census.workers.len(),
            queued: census.queued,
            running: census.running,
            completed: census.totals.completed,
            lost: census.totals.lost,
            retried: census.totals.retried,
            started: census.hired,
            died: census.totals.deaths,
        }
    }

    fn reap_runner(&self) {
        if let Some(runner) = self.runner.lock().take() {
            // The loop's thread runs no user code; if it panicked, the panic hook told of it.
            let _told = runner.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.shared.is_ours() {
            self.terminate();
            if self.shared.over.wait_timeout(DROP) {
                self.reap_runner();
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// One of a pool's processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// Its process.
    pub pid: u32,
    /// Whether it has a task.
    pub busy: bool,
}

/// What a pool has done and has to do; tasks and the items of maps count alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The workers that are there.
    pub workers: usize,
    /// Tasks that no worker has yet.
    pub queued: u64,
    /// Tasks that workers have, begun or not.
    pub running: u64,
    /// Tasks that ended with a result or a panic.
    pub completed: u64,
    /// Tasks that ended with their worker.
    pub lost: u64,
    /// Tries that were made after a worker died.
    pub retried: u64,
    /// Workers that were started.
    pub started: u64,
    /// Workers that died without having been told to leave.
    pub died: u64,
}
