//! One call's options, and the ways to call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::engine::Shared;
use super::imap::{Feed, ThreadImap, ThreadImapUnordered};
use super::job::{Audience, Call};
use super::mapping::{self, Terms};
use super::outcome::Outcome;
use super::pace::Short;
use super::pool::ThreadPool;
use crate::pool::error::{MapError, TaskError};
use crate::pool::task::{MapTask, Pending, Task};
use crate::sys::clock::Deadline;

/// The most items in a chunk of an imap, so that an endless iterator may be read in chunks of any size.
const CHUNK_MOST: usize = 1 << 16;

/// How many chunks of an imap may be on their way for each worker.
const CHUNKS_AHEAD: usize = 4;

/// Options for the calls made through it; made by [`ThreadPool::with`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ThreadCall<'p> {
    pool: &'p ThreadPool,
    chunksize: Option<usize>,
    timeout: Option<Duration>,
}

impl<'p> ThreadCall<'p> {
    pub(super) fn new(pool: &'p ThreadPool) -> Self {
        Self { pool, chunksize: None, timeout: None }
    }

    /// How many items a worker takes at once. Otherwise a map takes as many as are done in about 0.1 ms, and an imap one.
    /// 0 counts as 1; an imap, which collects a chunk before it sends it, takes at most 65,536.
    pub fn chunksize(mut self, items: usize) -> Self {
        self.chunksize = Some(items.max(1));
        self
    }

    /// What has not begun so long after the call does not begin any more, and ends with [`TaskError::TimedOut`]. What has
    /// begun goes on, since a thread cannot be stopped, and its result counts; to wait no longer than so long for a
    /// result is [`Task::get_timeout`]. An imap reads no further items when the first one is late.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn begin_by(&self) -> Deadline {
        self.timeout.map_or(Deadline::NEVER, Deadline::after)
    }

    fn shared(&self) -> &'p Arc<Shared> {
        self.pool.shared()
    }

    fn terms(&self) -> Terms<'static> {
        Terms { chunksize: self.chunksize, short: Short::default(), begin_by: self.begin_by(), cancelled: None }
    }

    /// [`ThreadPool::apply`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// As there.
    pub fn apply<F, A, R>(self, f: F, argument: A) -> Result<R, TaskError>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        self.submit(f, argument).get()
    }

    /// [`ThreadPool::submit`].
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn submit<F, A, R>(self, f: F, argument: A) -> Task<R>
    where
        F: FnOnce(A) -> R + Send + 'static,
        A: Send + 'static,
        R: Send + 'static,
    {
        Task::new(Call::submit(self.shared(), f, argument, self.begin_by(), Reader))
    }

    /// [`ThreadPool::map`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// As there.
    pub fn map<F, A, R, I>(self, f: F, items: I) -> Result<Vec<R>, MapError<R>>
    where
        F: Fn(A) -> R + Sync,
        A: Send,
        R: Send,
        I: IntoIterator<Item = A, IntoIter: Send>,
    {
        self.collect(&f, items.into_iter()).into_result()
    }

    /// [`ThreadPool::map_results`].
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// As there.
    pub fn map_results<F, A, R, I>(self, f: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Sync,
        A: Send,
        R: Send,
        I: IntoIterator<Item = A, IntoIter: Send>,
    {
        self.collect(&f, items.into_iter()).into_results()
    }

    fn collect<F, A, R, I>(self, f: &F, items: I) -> Outcome<R>
    where
        F: Fn(A) -> R + Sync,
        R: Send,
        I: Iterator<Item = A> + Send,
    {
        mapping::map(self.shared(), f, items, self.terms())
    }

    /// [`ThreadPool::map_async`].
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn map_async<F, A, R, I>(self, f: F, items: I) -> MapTask<R>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        let items: Vec<A> = items.into_iter().collect();
        let (count, terms) = (items.len(), self.terms());
        let cancelled = Arc::new(AtomicBool::new(false));
        let (shared, flag) = (Arc::clone(self.shared()), Arc::clone(&cancelled));
        let map = move |items: Vec<A>| {
            let terms = Terms { cancelled: Some(&flag), ..terms };
            mapping::map(&shared, &f, items.into_iter(), terms).into_result()
        };
        let call = Call::submit(self.shared(), map, items, self.begin_by(), Reader);
        MapTask::new(Task::new(Arc::new(Cancellable { call, cancelled })), count)
    }

    /// [`ThreadPool::imap`].
    pub fn imap<F, A, R, I>(self, f: F, items: I) -> ThreadImap<R, I::IntoIter>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        ThreadImap::new(self.lazy(f, items.into_iter()))
    }

    /// [`ThreadPool::imap_unordered`].
    pub fn imap_unordered<F, A, R, I>(self, f: F, items: I) -> ThreadImapUnordered<R, I::IntoIter>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: IntoIterator<Item = A>,
    {
        ThreadImapUnordered::new(self.lazy(f, items.into_iter()))
    }

    fn lazy<F, A, R, I>(self, f: F, items: I) -> Feed<R, I>
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: Send + 'static,
        R: Send + 'static,
        I: Iterator<Item = A>,
    {
        let chunksize = self.chunksize.unwrap_or(1).min(CHUNK_MOST);
        let ahead = chunksize.saturating_mul(CHUNKS_AHEAD * self.shared().workers());
        Feed::new(self.shared(), f, items, chunksize, ahead, self.begin_by())
    }
}

/// The audience of a call whose result waits for its [`Task`].
struct Reader;

impl<R> Audience<R> for Reader {
    fn hear(&self, result: Result<R, TaskError>) -> Option<Result<R, TaskError>> {
        Some(result)
    }
}

/// A map in one call, which looks at `cancelled` before it begins further items.
struct Cancellable<C> {
    call: Arc<C>,
    cancelled: Arc<AtomicBool>,
}

impl<R, C: Pending<R>> Pending<R> for Cancellable<C> {
    fn is_ready(&self) -> bool {
        self.call.is_ready()
    }

    fn is_successful(&self) -> bool {
        self.call.is_successful()
    }

    fn wait(&self, deadline: Deadline) -> bool {
        self.call.wait(deadline)
    }

    fn take(&self) -> Option<Result<R, TaskError>> {
        self.call.take()
    }

    fn cancel(&self) -> bool {
        self.cancelled.store(true, Ordering::Relaxed);
        self.call.cancel()
    }

    fn watch(&self, waker: &Waker) -> bool {
        self.call.watch(waker)
    }
}
