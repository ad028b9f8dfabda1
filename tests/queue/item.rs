//! Items for every type of queue.

use std::cmp::Ordering as Order;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Gives anything an order, for `PriorityQueue`, by which all are equal.
#[derive(Debug)]
pub(crate) struct Equal<T>(pub(crate) T);

impl<T> Ord for Equal<T> {
    fn cmp(&self, _: &Self) -> Order {
        Order::Equal
    }
}

impl<T> PartialOrd for Equal<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Equal<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Equal<T> {}

impl<T> Deref for Equal<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Equal<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Counts its drops, and may panic in one of them.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    drops: &'a AtomicUsize,
    pub(crate) panics: bool,
}

/// Makes an item that counts its drops.
pub(crate) fn counted(drops: &AtomicUsize) -> Equal<Counted<'_>> {
    Equal(Counted { drops, panics: false })
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "on purpose");
    }
}
