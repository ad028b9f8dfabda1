//! The store of a `PriorityQueue`: a binary heap that keeps the order of equal items, and that no `Ord` can break.
//!
//! ```text
//!            0                 the parent of i is (i - 1) / 2; no item comes before its parent
//!          /   \
//!        1       2             ranked by (item, ticket): of equal items the one that was put first comes first,
//!       / \     /              so no two entries are equal, and the tickets decide without a user's code
//!      3   4   5
//! ```
//!
//! `Ord::cmp` is code of the items: it may panic, and may contradict itself. So each operation first finds, by
//! comparing and without moving anything, where the entry will stand, and then moves it there, along one path between the
//! root and that place, without comparing. An unwinding thus leaves the heap as it was. An inconsistent order yields
//! some order, and loses nothing.
//!
//! The way down is that of `std::collections::BinaryHeap`: along the smaller children to the end, and from there up
//! again to where the entry belongs, which is seldom far, as it was one of the last. That compares about once per
//! level instead of twice.

use super::store::Store;

#[derive(Debug)]
pub(super) struct Heap<T> {
    entries: Vec<Entry<T>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    ticket: u64,
}

impl<T: Ord> Entry<T> {
    #[inline]
    fn comes_before(&self, other: &Self) -> bool {
        self.item.cmp(&other.item).then(self.ticket.cmp(&other.ticket)).is_lt()
    }
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), next_ticket: 0 }
    }
}

impl<T: Ord> Heap<T> {
    /// Where a new item belongs, on the path from the first free place up to the root. All that are there came earlier.
    #[inline]
    fn place_for(&self, item: &T) -> usize {
        let mut place = self.entries.len();
        while place > 0 {
            let parent = (place - 1) / 2;
            if item.cmp(&self.entries[parent].item).is_ge() {
                break;
            }
            place = parent;
        }
        place
    }

    /// Where the last entry belongs once the root is gone and those on the path of the smaller children have moved up
    /// by one; it is not counted among the `len` that stay.
    #[inline]
    fn place_for_last(&self, len: usize) -> usize {
        let mut place = 0;
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= len {
                break;
            }
            let is_right = right < len && self.entries[right].comes_before(&self.entries[left]);
            place = if is_right { right } else { left };
        }
        while place > 0 && self.entries[len].comes_before(&self.entries[place]) {
            place = (place - 1) / 2;
        }
        place
    }
}

impl<T: Ord> Store for Heap<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn push(&mut self, slot: &mut Option<T>) {
        let Some(item) = slot.as_ref() else { return };
        let place = self.place_for(item);
        let mut at = self.entries.len();
        self.entries.extend(slot.take().map(|item| Entry { item, ticket: self.next_ticket }));
        self.next_ticket += 1;
        while at > place {
            let parent = (at - 1) / 2;
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let len = self.entries.len().checked_sub(1)?;
        let place = self.place_for_last(len);
        let first = self.entries.swap_remove(0);
        for level in (0..(place + 1).ilog2()).rev() {
            let child = ((place + 1) >> level) - 1;
            self.entries.swap((child - 1) / 2, child);
        }
        Some(first.item)
    }
}
