//! The iterators over results that come while their items are still being read: items are taken from an iterator and
//! sent in chunks on the thread that asks for the next result, so that neither side can run ahead of it.

use std::collections::VecDeque;
use std::fmt;
use std::iter::Fuse;
use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{Job, Shared};
use super::job::{Audience, Call};
use crate::panics;
use crate::pool::error::TaskError;
use crate::pool::in_order::InOrder;
use crate::sync::Event;
use crate::sys::clock::Deadline;

/// The results of a chunk, or one error for all of it.
type Chunk<R> = Result<Vec<Result<R, TaskError>>, TaskError>;

/// Makes a job of a chunk, whose first item has this index.
type Start<A> = Box<dyn Fn(usize, Vec<A>) -> Arc<dyn Job> + Send>;

/// Items on their way through a pool.
pub(super) struct Feed<R, I: Iterator> {
    shared: Arc<Shared>,
    start: Start<I::Item>,
    items: Fuse<I>,
    /// Whether no more items are to be read: the pool has ended, or the time is up, and all of them would be refused.
    refused: bool,
    chunksize: usize,
    /// How many items may be on their way, and not yet asked for.
    ahead: usize,
    basket: Arc<Basket<R>>,
    /// The index of the next item.
    next: usize,
    /// Sent, and not yet back: the index of the first item, their number, the job.
    outside: VecDeque<(usize, usize, Arc<dyn Job>)>,
    /// How many items that are.
    outstanding: usize,
    /// Back, and not yet asked for.
    back: VecDeque<(usize, Result<R, TaskError>)>,
}

/// Where chunks go that are done.
struct Basket<R> {
    chunks: Mutex<Vec<(usize, Chunk<R>)>>,
    /// Set when something was put in; cleared by the reader, before it looks.
    bell: Event,
}

/// Puts a chunk's results into the basket.
struct Carrier<R> {
    basket: Arc<Basket<R>>,
    first: usize,
}

impl<R: Send> Audience<Vec<Result<R, TaskError>>> for Carrier<R> {
    fn hear(&self, result: Chunk<R>) -> Option<Chunk<R>> {
        self.basket.chunks.lock().push((self.first, result));
        self.basket.bell.set();
        None
    }
}

impl<A, R, I> Feed<R, I>
where
    A: Send + 'static,
    R: Send + 'static,
    I: Iterator<Item = A>,
{
    pub(super) fn new<F>(
        shared: &Arc<Shared>,
        f: F,
        items: I,
        chunksize: usize,
        ahead: usize,
        begin_by: Deadline,
    ) -> Self
    where
        F: Fn(A) -> R + Send + Sync + 'static,
    {
        let basket = Arc::new(Basket { chunks: Mutex::new(Vec::new()), bell: Event::new() });
        let (f, shared, results) = (Arc::new(f), Arc::clone(shared), Arc::clone(&basket));
        let for_start = Arc::clone(&shared);
        let start = move |first, chunk| -> Arc<dyn Job> {
            let f = Arc::clone(&f);
            let run = move |chunk: Vec<A>| {
                let call = |item| panics::catch_in_thread(|| f(item)).map_err(TaskError::from);
                chunk.into_iter().map(call).collect()
            };
            let carrier = Carrier { basket: Arc::clone(&results), first };
            Call::submit(&for_start, run, chunk, begin_by, carrier)
        };
        Self {
            shared,
            start: Box::new(start),
            items: items.fuse(),
            refused: false,
            chunksize,
            ahead,
            basket,
            next: 0,
            outside: VecDeque::new(),
            outstanding: 0,
            back: VecDeque::new(),
        }
    }

    /// The next result, with its item's index, in the order in which they come, while `kept` earlier ones are still with
    /// the caller. `None` after the last.
    fn next_with(&mut self, kept: usize) -> Option<(usize, Result<R, TaskError>)> {
        loop {
            self.top_up(kept);
            if let Some(result) = self.back.pop_front() {
                return Some(result);
            }
            if self.outstanding == 0 {
                return None;
            }
            self.receive();
        }
    }

    /// Sends items for as long as more may be on their way.
    fn top_up(&mut self, kept: usize) {
        while !self.refused {
            let inside = self.outstanding + self.back.len() + kept;
            if inside > 0 && inside.saturating_add(self.chunksize) > self.ahead {
                return;
            }
            let chunk: Vec<A> = self.items.by_ref().take(self.chunksize).collect();
            if chunk.is_empty() {
                return;
            }
            let (first, count) = (self.next, chunk.len());
            self.next += count;
            self.outstanding += count;
            self.outside.push_back((first, count, (self.start)(first, chunk)));
        }
    }

    /// Waits until a chunk is back.
    fn receive(&mut self) {
        loop {
            self.basket.bell.clear();
            let chunks = std::mem::take(&mut *self.basket.chunks.lock());
            if !chunks.is_empty() {
                return chunks.into_iter().for_each(|(first, chunk)| self.unpack(first, chunk));
            }
            // On a worker of the same pool nobody else may be left to do it.
            let helps = self.shared.employs_this_thread();
            if !(helps && self.outside.iter().any(|(_, _, job)| self.shared.run_here(&**job))) {
                self.basket.bell.wait();
            }
        }
    }

    fn unpack(&mut self, first: usize, chunk: Chunk<R>) {
        let Some(at) = self.outside.iter().position(|&(index, ..)| index == first) else { return };
        let Some((_, count, _)) = self.outside.remove(at) else { return };
        self.outstanding -= count;
        match chunk {
            Ok(results) => self.back.extend((first..).zip(results)),
            Err(error) => {
                self.refused = true;
                self.back.extend((first..first + count).map(|index| (index, Err(error.clone()))));
            }
        }
    }
}

impl<R, I: Iterator> Drop for Feed<R, I> {
    fn drop(&mut self) {
        for (_, _, job) in &self.outside {
            self.shared.cancel(&**job, TaskError::Cancelled);
        }
    }
}

/// Results in the order in which they come; made by [`ThreadPool::imap_unordered`](super::ThreadPool::imap_unordered).
/// Dropping it withdraws what has not begun.
///
/// # Blocking
///
/// `next` blocks until any item that is on its way has ended.
#[must_use = "items are sent only while results are asked for"]
pub struct ThreadImapUnordered<R, I: Iterator>(Feed<R, I>);

impl<R, I: Iterator> ThreadImapUnordered<R, I> {
    pub(super) fn new(feed: Feed<R, I>) -> Self {
        Self(feed)
    }

    /// The same results, each with the index of its item.
    pub fn indexed(self) -> ThreadIndexed<R, I> {
        ThreadIndexed(self.0)
    }
}

impl<R: Send + 'static, I: Iterator<Item: Send + 'static>> Iterator for ThreadImapUnordered<R, I> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_with(0).map(|(_, result)| result)
    }
}

/// Results in the order in which they come, each with the index of its item; made by [`ThreadImapUnordered::indexed`].
///
/// # Blocking
///
/// As [`ThreadImapUnordered`].
#[must_use = "items are sent only while results are asked for"]
pub struct ThreadIndexed<R, I: Iterator>(Feed<R, I>);

impl<R: Send + 'static, I: Iterator<Item: Send + 'static>> Iterator for ThreadIndexed<R, I> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_with(0)
    }
}

/// Results in the order of their items; made by [`ThreadPool::imap`](super::ThreadPool::imap). Dropping it withdraws what
/// has not begun.
///
/// A result that comes before its turn is kept, and counts as on its way, so that one slow item holds up no more than
/// what may be on its way at once.
///
/// # Blocking
///
/// `next` blocks until the next item in the order has ended.
#[must_use = "items are sent only while results are asked for"]
pub struct ThreadImap<R, I: Iterator> {
    feed: Feed<R, I>,
    order: InOrder<Result<R, TaskError>>,
}

impl<R, I: Iterator> ThreadImap<R, I> {
    pub(super) fn new(feed: Feed<R, I>) -> Self {
        Self { feed, order: InOrder::new() }
    }
}

impl<R: Send + 'static, I: Iterator<Item: Send + 'static>> Iterator for ThreadImap<R, I> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.order.next(|early| self.feed.next_with(early))
    }
}

macro_rules! debug {
    ($($name:ident)*) => {
        $(impl<R, I: Iterator> fmt::Debug for $name<R, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}

debug!(ThreadImapUnordered ThreadIndexed ThreadImap);
