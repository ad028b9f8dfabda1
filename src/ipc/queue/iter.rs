//! A queue as an iterator over what is got from it.

use std::fmt;
use std::iter::FusedIterator;

use serde::de::DeserializeOwned;

use super::core::Wait;
use super::{GetError, Queue};
use crate::sys::clock::Deadline;

/// Items of a [`Queue`] until it is shut down and empty; made by [`Queue::iter`].
///
/// What could not be got is told of. After an item that cannot be read the next ones follow; a queue that cannot be used
/// is the last that is told of.
pub struct Iter<'a, T>(Items<'a, T>);

/// Items of a [`Queue`] for as long as there are some; made by [`Queue::try_iter`]. Errors are told of as by [`Iter`].
pub struct TryIter<'a, T>(Items<'a, T>);

struct Items<'a, T> {
    queue: &'a Queue<T>,
    wait: Wait,
    is_over: bool,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        Self(Items { queue, wait: Wait::For(Deadline::NEVER), is_over: false })
    }
}

impl<'a, T> TryIter<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        Self(Items { queue, wait: Wait::No, is_over: false })
    }
}

impl<T: DeserializeOwned> Items<'_, T> {
    fn next(&mut self) -> Option<Result<T, GetError>> {
        if self.is_over {
            return None;
        }
        let got = self.queue.get_one(self.wait);
        self.is_over = got.as_ref().is_err_and(|error| !matches!(error, GetError::Decode { .. }));
        match got {
            Err(GetError::Empty | GetError::ShutDown) => None,
            got => Some(got),
        }
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<T: DeserializeOwned> Iterator for TryIter<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Once it has ended it is not asked again: a lease may have come back.
impl<T: DeserializeOwned> FusedIterator for Iter<'_, T> {}

impl<T: DeserializeOwned> FusedIterator for TryIter<'_, T> {}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("queue", self.0.queue).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryIter").field("queue", self.0.queue).finish_non_exhaustive()
    }
}
