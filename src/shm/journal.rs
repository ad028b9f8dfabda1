//! Elements in a row, which the holder of a lock changes: of one element never half, of many with a mark.
//!
//! ```text
//!   mark    0      the elements are in order
//!           1      LENT: they may be written in any way
//!           2 + i  element i is being replaced; `saved` has what it was
//!
//!   rest    +-----------------------+--------+--------+--------+--------+- -
//!           | saved, whole lines    | 0      | 1      | 2      | 3      |     elements, without gaps
//!           +-----------------------+--------+--------+--------+--------+- -
//! ```
//!
//! All steps are the holder's, who keeps the others out. Killed, it leaves for its successor, who calls [`mend`]:
//!
//! | It dies | `mark` | Its successor |
//! |---|---|---|
//! | before or after a change | 0 | finds the elements in order |
//! | saving an element | 0 | finds them in order: nothing was written |
//! | replacing it | 2 + i | puts back what was saved, and then clears the mark; dying there, it leaves the same to the next |
//! | with the elements lent out | 1 | is told, and so is everybody until somebody says that they are in order |
//!
//! An element that lies within one word is replaced by one store, and needs no saving: half of that is never seen.
//!
//! # Orderings
//!
//! A process that dies has done its steps up to one of them, in the order of its program: the fences are for the compiler's
//! sake, and cost nothing on x86-64. The mark is stored with Release behind what it says is done, and a Release fence
//! stands between the mark and the writing that it announces. The lock orders everything between two holders.
//!
//! [`mend`]: Journal::mend

use crate::primitive::{AtomicU64, fence};
use std::ops::Range;
use std::sync::atomic::Ordering;

const IN_ORDER: u64 = 0;
const LENT: u64 = 1;
/// The mark while the first element is being replaced.
const REPLACING: u64 = 2;

/// The mark, and how many elements there are. Zeroes are a journal of no elements.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Journal {
    mark: AtomicU64,
    count: AtomicU64,
}

impl Journal {
    /// As it is in shared memory once it has a count.
    #[cfg(crewkit_loom)]
    pub(crate) fn new() -> Self {
        Self { mark: AtomicU64::new(IN_ORDER), count: AtomicU64::new(0) }
    }

    /// Notes the number of elements, before anybody else has the journal.
    pub(crate) fn set_count(&self, count: usize) {
        self.count.store(count as u64, Ordering::Relaxed);
    }

    /// The number noted.
    #[cfg(not(crewkit_loom))]
    pub(crate) fn len(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The number noted, if that is what `words` words behind the journal have room for.
    pub(crate) fn count(&self, words: usize, size: usize) -> Option<usize> {
        let count = usize::try_from(self.count.load(Ordering::Relaxed)).ok()?;
        (Row::words(count, size) == Some(words)).then_some(count)
    }

    /// For who has just become the holder: whether the elements are in order, after a replacement that a dead holder
    /// began was taken back.
    #[inline]
    pub(crate) fn mend(&self, row: &Row<'_>) -> bool {
        match self.mark.load(Ordering::Relaxed) {
            IN_ORDER => true,
            LENT => false,
            mark => self.take_back(row, mark - REPLACING),
        }
    }

    #[cold]
    fn take_back(&self, row: &Row<'_>, index: u64) -> bool {
        let index = usize::try_from(index).ok().filter(|&index| index < row.count);
        // A mark that nobody ever sets says as little about the elements as LENT does.
        let Some(index) = index else { return false };
        copy(row.saved, row.words_of(index));
        self.mark.store(IN_ORDER, Ordering::Release);
        true
    }

    /// For the holder: replaces an element by `value`, which has its size.
    #[inline]
    pub(crate) fn replace(&self, row: &Row<'_>, index: usize, value: &[u8]) {
        let words = row.words_of(index);
        if words.len() <= 1 {
            return row.write(index, value);
        }
        copy(words, row.saved);
        self.mark.store(REPLACING + index as u64, Ordering::Release);
        fence(Ordering::Release);
        row.write(index, value);
        self.mark.store(IN_ORDER, Ordering::Release);
    }

    /// For the holder: the elements may be written in any way from now on, until [`settle`](Self::settle).
    #[inline]
    pub(crate) fn lend(&self) {
        self.mark.store(LENT, Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// For the holder: the elements are in order.
    #[inline]
    pub(crate) fn settle(&self) {
        self.mark.store(IN_ORDER, Ordering::Release);
    }
}

/// The words behind a journal.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    saved: &'a [AtomicU64],
    elements: &'a [AtomicU64],
    count: usize,
    /// Of an element, in bytes.
    size: usize,
}

impl<'a> Row<'a> {
    /// How many words `count` elements of `size` bytes take; `None` for more than any memory has.
    pub(crate) fn words(count: usize, size: usize) -> Option<usize> {
        Some(count.checked_mul(size)?.div_ceil(WORD) + Self::saved(size))
    }

    /// Words before the elements: room for one that is aligned to nothing, in whole cache lines.
    const fn saved(size: usize) -> usize {
        (size.div_ceil(WORD) + 1).next_multiple_of(LINE)
    }

    /// The words behind the journal of `count` elements, as [`words`](Self::words) has counted them.
    #[inline]
    pub(crate) fn of(rest: &'a [AtomicU64], count: usize, size: usize) -> Self {
        let (saved, elements) = rest.split_at(Self::saved(size));
        Self { saved, elements, count, size }
    }

    /// The elements' own words.
    pub(crate) fn elements(&self) -> &'a [AtomicU64] {
        self.elements
    }

    /// Copies an element out.
    #[inline]
    pub(crate) fn read(&self, index: usize, value: &mut [u8]) {
        let mut at = index * self.size % WORD;
        let mut left = value;
        for word in self.words_of(index) {
            let (part, next) = left.split_at_mut(left.len().min(WORD - at));
            part.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()[at..at + part.len()]);
            (left, at) = (next, 0);
        }
    }

    /// One store for each word; the neighbours in the first and the last stay what they are.
    #[inline]
    fn write(&self, index: usize, value: &[u8]) {
        let mut at = index * self.size % WORD;
        let mut left = value;
        for word in self.words_of(index) {
            let (part, next) = left.split_at(left.len().min(WORD - at));
            let mut whole = if part.len() == WORD { [0; WORD] } else { word.load(Ordering::Relaxed).to_ne_bytes() };
            whole[at..at + part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
            (left, at) = (next, 0);
        }
    }

    /// The words in which an element lies.
    #[inline]
    fn words_of(&self, index: usize) -> &'a [AtomicU64] {
        debug_assert!(index < self.count);
        let bytes = Range { start: index * self.size, end: (index + 1) * self.size };
        &self.elements[bytes.start / WORD..bytes.end.div_ceil(WORD)]
    }
}

fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    for (from, to) in from.iter().zip(to) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

const WORD: usize = size_of::<u64>();

/// A cache line, in words.
const LINE: usize = 8;

#[cfg(all(test, not(crewkit_loom)))]
mod tests {
    use super::*;

    fn memory(words: usize) -> Vec<AtomicU64> {
        (0..words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_count_or_a_mark_that_lies_is_noticed() {
        let journal = Journal { mark: AtomicU64::new(IN_ORDER), count: AtomicU64::new(0) };
        let words = Row::words(5, 12).unwrap();
        for (count, believed) in [(5, Some(5)), (6, None), (3, None), (0, None), (usize::MAX, None)] {
            journal.set_count(count);
            assert_eq!(journal.count(words, 12), believed, "{count}");
        }
        let rest = memory(words);
        let row = Row::of(&rest, 5, 12);
        for index in [5, 6, 1 << 40, u64::MAX - REPLACING] {
            journal.mark.store(REPLACING + index, Ordering::Relaxed);
            assert!(!journal.mend(&row), "{index}");
        }
    }

    #[test]
    fn as_many_words_as_elements_need() {
        assert_eq!(Row::words(0, 8), Some(8));
        assert_eq!(Row::words(3, 3), Some(8 + 2));
        assert_eq!(Row::words(2, 57), Some(16 + 15));
        assert_eq!(Row::words(usize::MAX, 0), Some(8));
        assert_eq!(Row::words(usize::MAX / 2, 3), None);
    }
}
