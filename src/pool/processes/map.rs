//! The iterators over results that come while their items are still being read.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::feed::Feed;
use crate::pool::error::TaskError;
use crate::pool::in_order::InOrder;

/// Results in the order in which they come; made by [`Pool::imap_unordered`](super::Pool::imap_unordered).
///
/// # Blocking
///
/// `next` blocks until any item that is on its way has ended.
#[must_use = "items are sent only while results are asked for"]
pub struct ImapUnordered<'p, R, I: Iterator>(Feed<'p, R, I>);

impl<'p, R, I: Iterator> ImapUnordered<'p, R, I> {
    pub(super) fn new(feed: Feed<'p, R, I>) -> Self {
        Self(feed)
    }

    /// The same results, each with the index of its item.
    pub fn indexed(self) -> Indexed<'p, R, I> {
        Indexed(self.0)
    }
}

impl<R, I> Iterator for ImapUnordered<'_, R, I>
where
    I: Iterator,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(_, result)| result)
    }
}

/// Results in the order in which they come, each with the index of its item; made by [`ImapUnordered::indexed`].
///
/// # Blocking
///
/// As [`ImapUnordered`].
#[must_use = "items are sent only while results are asked for"]
pub struct Indexed<'p, R, I: Iterator>(Feed<'p, R, I>);

impl<R, I> Iterator for Indexed<'_, R, I>
where
    I: Iterator,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Results in the order of their items; made by [`Pool::imap`](super::Pool::imap).
///
/// A result that comes before its turn is kept, and counts as on its way, so that one slow item holds up no more than
/// what may be on its way at once.
///
/// # Blocking
///
/// `next` blocks until the next item in the order has ended.
#[must_use = "items are sent only while results are asked for"]
pub struct Imap<'p, R, I: Iterator> {
    feed: Feed<'p, R, I>,
    order: InOrder<Result<R, TaskError>>,
}

impl<'p, R, I: Iterator> Imap<'p, R, I> {
    pub(super) fn new(feed: Feed<'p, R, I>) -> Self {
        Self { feed, order: InOrder::new() }
    }
}

impl<R, I> Iterator for Imap<'_, R, I>
where
    I: Iterator,
    I::Item: Serialize + DeserializeOwned,
    R: Serialize + DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.order.next(|early| self.feed.next_with(early))
    }
}

macro_rules! debug {
    ($($name:ident)*) => {
        $(impl<R, I: Iterator> fmt::Debug for $name<'_, R, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}

debug!(ImapUnordered Indexed Imap);
