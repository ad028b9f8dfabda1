//! A queue as an iterator over what is got from it.

use super::Queue;
use std::iter::FusedIterator;

/// Items of a queue until it is shut down and empty; made by [`Queue::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        Self { queue }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.get().ok()
    }
}

/// A queue that is shut down and empty stays so.
impl<T> FusedIterator for Iter<'_, T> {}

/// Items of a queue for as long as there are some; made by [`Queue::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T> {
    queue: &'a Queue<T>,
}

impl<'a, T> TryIter<'a, T> {
    pub(super) fn new(queue: &'a Queue<T>) -> Self {
        Self { queue }
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.try_get().ok()
    }
}

impl<'a, T> IntoIterator for &'a Queue<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
