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
//! `Ord::cmp` is code of the items: it may panic, and may contradict itself. Each operation moves a [hole](super::hole) along
//! one path; should a comparison unwind, it goes back, which leaves the heap as it was. An inconsistent order yields some
//! order, and loses nothing.
//!
//! The way down is that of `std::collections::BinaryHeap`: along the smaller children to the end, and from there up
//! again to where the entry belongs, which is seldom far, as it was one of the last. That compares about once per
//! level instead of twice.
//!
//! # Speed, and what was tried
//!
//! A push and a pop of a `u64` with 64 standing, in nanoseconds: keys in no order, and keys of which each is one of two.
//!
//! | Design | any | two | |
//! |---|---|---|---|
//! | std's `BinaryHeap` of the bare items | 23 | 17 | keeps no order of equal items |
//! | the same of `(item, ticket)` | 45 | 44 | |
//! | find the place by comparing, then swap two places at a time along the path | 63 | 61 | |
//! | the same, by one swap with what is carried | 44 | 45 | |
//! | a hole; the tickets compared without a branch | 41 | 40 | each level waits for the comparison of the one above |
//! | a hole that sinks no further than need be | 38 | 38 | two comparisons a level: worse, if they are a user's |
//! | **a hole, a branch for each of less, equal, greater** | 28 | 36 | the next level is begun before this one is compared |
//!
//! What is left above std's is the ticket: twice the bytes, and a second comparison where items are equal. No system call
//! is made by a queue that one thread uses, and 99 % of its samples are in `put` and `get`.

use super::hole::{Adding, put_back, take_first};
use super::store::Store;
use std::cmp::Ordering;

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
        match self.item.cmp(&other.item) {
            Ordering::Less => true,
            Ordering::Equal => self.ticket < other.ticket,
            Ordering::Greater => false,
        }
    }
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), next_ticket: 0 }
    }
}

impl<T: Ord> Heap<T> {
    /// Takes the first entry out, and says to which place the last one was moved.
    #[inline]
    fn take(&mut self) -> Option<(Entry<T>, usize)> {
        take_first(&mut self.entries, Entry::comes_before)
    }
}

impl<T: Ord> Store for Heap<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn push(&mut self, slot: &mut Option<T>) {
        // All that are there came earlier, so of equal items the new one comes last.
        let mut adding = Adding::new(&mut self.entries);
        if let Some(item) = slot.as_ref() {
            adding.rise_while(|entry| item.cmp(&entry.item).is_lt());
        }
        if let Some(item) = slot.take() {
            adding.fill(Entry { item, ticket: self.next_ticket });
            self.next_ticket += 1;
        }
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
                put_back(&mut self.heap.entries, Entry { item, ticket }, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
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
