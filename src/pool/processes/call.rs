//! One call's options, and the ways to call.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::feed::Feed;
use super::gathering::{Gathering, Outcome};
use super::inbox::Inbox;
use super::job::Job;
use super::map::{Imap, ImapUnordered};
use super::pending::Awaited;
use super::pool::Pool;
use crate::ipc::parcel;
use crate::pool::error::{MapError, TaskError};
use crate::pool::task::{MapTask, Task};
use crate::process::function::Function;

/// Chunks of a map for each worker, where nobody says how long they should be: CPython's number. Fewer would leave
/// workers idle at the end, more would pay for nothing.
const CHUNKS_PER_WORKER: usize = 4;

/// Options for the calls made through it; made by [`Pool::with`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Call<'p> {
    pool: &'p Pool,
    chunksize: Option<usize>,
    retries: u32,
}

impl<'p> Call<'p> {
    pub(super) fn new(pool: &'p Pool) -> Self {
        Self { pool, chunksize: None, retries: pool.retries }
    }

    /// How many items travel together, at most: a chunk ends early at 1 MiB. Otherwise a map makes four chunks for each
    /// worker, and an imap sends items one by one. 0 counts as 1.
    pub fn chunksize(mut self, items: usize) -> Self {
        self.chunksize = Some(items.max(1));
        self
    }

    /// How often an item whose worker died in it is tried again; otherwise as the pool was built.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// [`Pool::apply`].
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
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
    {
        self.submit(f, argument).get()
    }

    /// [`Pool::submit`].
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn submit<F, A, R>(self, f: F, argument: A) -> Task<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + 'static,
    {
        let shared = &self.pool.shared;
        let inbox = Arc::new(Inbox::new());
        let submitted = || {
            let function = Function::of(f).map_err(|error| TaskError::BadArgument(error.to_string()))?;
            let parcel = parcel::encode(&argument).map_err(|error| TaskError::BadArgument(error.to_string()));
            let mut parcel = parcel?;
            let (bytes, fds) = (std::mem::take(&mut parcel.bytes), std::mem::take(&mut parcel.fds));
            let job = Job::single(function, bytes, fds, self.retries, 0, Arc::clone(&inbox));
            let ticket = shared.submit(job)?;
            parcel.commit();
            Ok(ticket)
        };
        let ticket = submitted();
        Task::new(Arc::new(Awaited::new(inbox, ticket, shared)))
    }

    /// [`Pool::map`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// As there.
    pub fn map<F, A, R, I>(self, f: F, items: I) -> Result<Vec<R>, MapError<R>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        self.collect(f, items).into_result()
    }

    /// [`Pool::map_results`].
    ///
    /// # Blocking
    ///
    /// As there.
    pub fn map_results<F, A, R, I>(self, f: F, items: I) -> Vec<Result<R, TaskError>>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        let (results, errors) = self.collect(f, items).into_parts();
        let mut errors: BTreeMap<usize, TaskError> = errors.into_iter().collect();
        let results = results.into_iter().enumerate();
        // Each item has a result or an error.
        results.map(|(index, result)| result.ok_or_else(|| errors.remove(&index).unwrap_or(TaskError::Taken))).collect()
    }

    /// [`Pool::map_async`].
    ///
    /// # Blocking
    ///
    /// As there.
    pub fn map_async<F, A, R, I>(self, f: F, items: I) -> MapTask<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
        I: IntoIterator<Item = A>,
    {
        let items: Vec<A> = items.into_iter().collect();
        let (count, chunksize) = (items.len(), self.chunks(items.len()));
        let feed = Feed::new(self.pool, f, items.into_iter(), chunksize, usize::MAX, self.retries);
        let (inbox, sent) = feed.launch();
        MapTask::new(Task::new(Arc::new(Gathering::new(inbox, sent, &self.pool.shared))), count)
    }

    /// How long the chunks of a map of so many items are.
    fn chunks(&self, items: usize) -> usize {
        self.chunksize.unwrap_or_else(|| items.div_ceil(CHUNKS_PER_WORKER * self.pool.workers).max(1))
    }

    fn collect<F, A, R, I>(self, f: F, items: I) -> Outcome<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        let items = items.into_iter();
        match items.size_hint() {
            // If it says so wrongly, only the chunks are odd.
            (low, Some(high)) if low == high => self.collect_known(f, items, low),
            _ => {
                let items: Vec<A> = items.collect();
                let count = items.len();
                self.collect_known(f, items.into_iter(), count)
            }
        }
    }

    fn collect_known<F, A, R, I>(self, f: F, items: I, count: usize) -> Outcome<R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: Iterator<Item = A>,
    {
        let mut outcome = Outcome::of(count);
        let feed = Feed::new(self.pool, f, items, self.chunks(count), usize::MAX, self.retries);
        feed.drain(|index, result| outcome.add(index, result));
        outcome
    }

    /// [`Pool::imap`].
    pub fn imap<F, A, R, I>(self, f: F, items: I) -> Imap<'p, R, I::IntoIter>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        Imap::new(self.lazy(f, items.into_iter()))
    }

    /// [`Pool::imap_unordered`].
    pub fn imap_unordered<F, A, R, I>(self, f: F, items: I) -> ImapUnordered<'p, R, I::IntoIter>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: IntoIterator<Item = A>,
    {
        ImapUnordered::new(self.lazy(f, items.into_iter()))
    }

    fn lazy<F, A, R, I>(self, f: F, items: I) -> Feed<'p, R, I>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
        I: Iterator<Item = A>,
    {
        let chunksize = self.chunksize.unwrap_or(1);
        let ahead = chunksize.saturating_mul(CHUNKS_PER_WORKER * self.pool.workers);
        Feed::new(self.pool, f, items, chunksize, ahead, self.retries)
    }
}
