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
        let order = self.item.cmp(&other.item);
        // Without a branch: which of two children is the smaller one cannot be predicted.
        order.is_lt() | (order.is_eq() & (self.ticket < other.ticket))
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
        let entries = &self.entries[..len];
        let mut place = 0;
        while let [left, right, ..] = entries.get(2 * place + 1..).unwrap_or_default() {
            place = 2 * place + 1 + usize::from(right.comes_before(left));
        }
        if 2 * place + 1 < len {
            place = 2 * place + 1;
        }
        while place > 0 && self.entries[len].comes_before(&self.entries[place]) {
            place = (place - 1) / 2;
        }
        place
    }

    /// Takes the first entry out, and says to which place the last one was moved.
    #[inline]
    fn take(&mut self) -> Option<(Entry<T>, usize)> {
        let len = self.entries.len().checked_sub(1)?;
        let place = self.place_for_last(len);
        let first = self.entries.swap_remove(0);
        path_up(place).rev().for_each(|(at, parent)| self.entries.swap(at, parent));
        Some((first, place))
    }

    /// Undoes [`take`](Self::take).
    fn put_back(&mut self, first: Entry<T>, place: usize) {
        path_up(place).for_each(|(at, parent)| self.entries.swap(at, parent));
        self.entries.push(first);
        let last = self.entries.len() - 1;
        self.entries.swap(0, last);
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
        let end = self.entries.len();
        self.entries.extend(slot.take().map(|item| Entry { item, ticket: self.next_ticket }));
        self.next_ticket += 1;
        path_up(end).take_while(|&(at, _)| at > place).for_each(|(at, parent)| self.entries.swap(at, parent));
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.take().map(|(first, _)| first.item)
    }

    fn pop_many(&mut self, max: usize, got: &mut Vec<T>) {
        let mut taken = Taken { heap: self, got, undo: Vec::new() };
        while taken.got.len() < max
            && let Some((Entry { item, ticket }, place)) = taken.heap.take()
        {
            taken.got.push(item);
            taken.undo.push((ticket, place));
        }
        taken.undo.clear();
    }

    fn peek(&self) -> Option<&T> {
        self.entries.first().map(|first| &first.item)
    }
}

/// Entries that are being taken, and are put back if the next comparison unwinds.
struct Taken<'a, T: Ord> {
    heap: &'a mut Heap<T>,
    got: &'a mut Vec<T>,
    /// For each of them its ticket, and the place to which the last entry was moved instead.
    undo: Vec<(u64, usize)>,
}

impl<T: Ord> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        for (ticket, place) in self.undo.drain(..).rev() {
            if let Some(item) = self.got.pop() {
                self.heap.put_back(Entry { item, ticket }, place);
            }
        }
    }
}

/// The places on the path from `place` up to the root, each with its parent.
fn path_up(place: usize) -> impl DoubleEndedIterator<Item = (usize, usize)> {
    (0..(place + 1).ilog2()).map(move |level| ((place + 1) >> level) - 1).map(|place| (place, (place - 1) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    thread_local! {
        /// How many comparisons succeed before one panics.
        static PATIENCE: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// Ordered by the number alone.
    #[derive(Clone, Copy, Debug)]
    struct Item(u32);

    impl Ord for Item {
        fn cmp(&self, other: &Self) -> Ordering {
            PATIENCE.with(|patience| match patience.get().checked_sub(1) {
                Some(less) => patience.set(less),
                None => resume_unwind(Box::new("on purpose")),
            });
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Item {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Item {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Item {}

    fn heap_of(count: u32) -> Heap<Item> {
        let mut heap = Heap::default();
        // A few numbers, each several times.
        (0..count).for_each(|i| heap.push(&mut Some(Item(i * 7 % 5))));
        heap
    }

    /// Runs `change` with a panic at each of its comparisons in turn: it must change nothing, until it gets through.
    fn unwinds_without_a_trace<R>(heap: &mut Heap<Item>, mut change: impl FnMut(&mut Heap<Item>) -> R) -> R {
        let before = format!("{heap:?}");
        for patience in 0.. {
            PATIENCE.set(patience);
            let outcome = catch_unwind(AssertUnwindSafe(|| change(heap)));
            PATIENCE.set(u32::MAX);
            match outcome {
                Ok(result) => return result,
                Err(_) => assert_eq!(format!("{heap:?}"), before),
            }
        }
        unreachable!("comparisons run out")
    }

    #[test]
    fn qu10_a_comparison_that_panics_changes_nothing() {
        for count in 0..20 {
            let mut heap = heap_of(count);
            let mut slot = Some(Item(2));
            unwinds_without_a_trace(&mut heap, |heap| {
                assert!(slot.is_some(), "the item is not lost");
                heap.push(&mut slot);
            });
            assert!(slot.is_none());
            let first = unwinds_without_a_trace(&mut heap, Heap::pop);
            assert!(first.is_some());
            let mut got = Vec::new();
            unwinds_without_a_trace(&mut heap, |heap| {
                assert!(got.is_empty(), "what was taken is put back");
                heap.pop_many(7, &mut got);
            });
            assert_eq!(got.len(), 7.min(count as usize));
            assert!(got.is_sorted());
        }
    }

    #[test]
    fn an_order_that_contradicts_itself_loses_nothing() {
        #[derive(PartialEq, Eq)]
        struct Fickle(u32, u64);
        impl Ord for Fickle {
            fn cmp(&self, other: &Self) -> Ordering {
                (self.1 ^ other.1.rotate_left(self.0)).count_ones().cmp(&32)
            }
        }
        impl PartialOrd for Fickle {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        let mut heap = Heap::default();
        (0..200).for_each(|i| heap.push(&mut Some(Fickle(i, u64::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15)))));
        let mut got: Vec<_> = std::iter::from_fn(|| heap.pop()).map(|item| item.0).collect();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..200));
    }
}
