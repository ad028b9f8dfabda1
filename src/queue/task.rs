//! An item that reports itself done.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// An item that was got from a queue, and is reported done when this is dropped, also by a panic; made by a queue's
/// `task`. The item is dropped first, so a `join` that ends finds nothing of it left.
#[must_use = "the task is done as soon as this is dropped"]
pub struct Task<'a, T> {
    // Fields are dropped in this order.
    item: T,
    _done: Done<'a>,
}

/// Where tasks are reported.
pub(crate) trait Report: Sync {
    fn report(&self);
}

struct Done<'a>(&'a dyn Report);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.report();
    }
}

impl<'a, T> Task<'a, T> {
    pub(crate) fn new(queue: &'a dyn Report, item: T) -> Self {
        Self { item, _done: Done(queue) }
    }

    /// Reports the task done now, and keeps the item.
    pub fn into_inner(self) -> T {
        self.item
    }
}

impl<T> Deref for Task<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Task<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.item).finish()
    }
}
