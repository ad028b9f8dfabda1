//! A queue as an iterator over what is got from it.

use super::error::GetError;
use std::iter::FusedIterator;

/// Where the iterators get items from: every queue of this module.
pub trait Source {
    /// What is in the queue.
    type Item;

    #[doc(hidden)]
    fn next_item(&self) -> Result<Self::Item, GetError>;

    #[doc(hidden)]
    fn next_item_there(&self) -> Result<Self::Item, GetError>;
}

/// Items of a queue until it is shut down and empty; made by a queue's `iter`.
#[derive(Debug)]
pub struct Iter<'a, Q> {
    queue: &'a Q,
}

impl<'a, Q> Iter<'a, Q> {
    pub(crate) fn new(queue: &'a Q) -> Self {
        Self { queue }
    }
}

impl<Q: Source> Iterator for Iter<'_, Q> {
    type Item = Q::Item;

    fn next(&mut self) -> Option<Q::Item> {
        self.queue.next_item().ok()
    }
}

/// A queue that is shut down and empty stays so.
impl<Q: Source> FusedIterator for Iter<'_, Q> {}

/// Items of a queue for as long as there are some; made by a queue's `try_iter`.
#[derive(Debug)]
pub struct TryIter<'a, Q> {
    queue: &'a Q,
}

impl<'a, Q> TryIter<'a, Q> {
    pub(crate) fn new(queue: &'a Q) -> Self {
        Self { queue }
    }
}

impl<Q: Source> Iterator for TryIter<'_, Q> {
    type Item = Q::Item;

    fn next(&mut self) -> Option<Q::Item> {
        self.queue.next_item_there().ok()
    }
}
