//! A chain of segments that was taken out of a list with the items in it, to be dropped at leisure.
//!
//! # Safety
//!
//! Whoever makes a [`Discarded`] hands the segments over to it, and the items: it has them to itself.

#![expect(unsafe_code, reason = "segments are reached by pointer")]

use super::segment::{Segment, slots};
use std::ops::Range;

/// Items that nobody can get any more. Dropping this drops them, in the order in which they were put.
#[must_use = "dropping this is what drops the items: not where a lock is held"]
pub(super) struct Discarded<T> {
    segment: Segment<T>,
    items: Range<usize>,
}

impl<T> Discarded<T> {
    /// The items at these positions, the first of which is in `segment` or would be, in the chain that begins there.
    ///
    /// # Safety
    ///
    /// The segments are linked, their slots at these positions are filled, and the caller gives up all of that.
    pub(super) const unsafe fn new(segment: Segment<T>, items: Range<usize>) -> Self {
        Self { segment, items }
    }

    fn next(&mut self) -> Option<T> {
        let position = self.items.next()?;
        // SAFETY: the segment is this value's own, and so is the slot, which is filled.
        let item = unsafe { self.segment.take(position) };
        if self.items.start.is_multiple_of(slots::<T>()) {
            self.free();
        }
        Some(item)
    }

    /// Frees this segment and goes on to the next, if there is one.
    fn free(&mut self) {
        let segment = self.segment;
        // SAFETY: the segment is this value's own.
        if let Some(next) = unsafe { segment.next() } {
            self.segment = next;
        }
        // SAFETY: likewise, and it is left behind; or this value is being dropped.
        unsafe { segment.free() };
    }
}

impl<T> Drop for Discarded<T> {
    /// Should an item's `Drop` panic, the others are dropped all the same.
    fn drop(&mut self) {
        struct Rest<'a, T>(&'a mut Discarded<T>);

        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                while let Some(item) = self.0.next() {
                    drop(item);
                }
                self.0.free();
            }
        }

        let rest = Rest(self);
        while let Some(item) = rest.0.next() {
            drop(item);
        }
    }
}
