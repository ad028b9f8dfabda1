//! A place of a binary heap without an entry, which goes along one path; each entry that it passes takes one step.
//!
//! ```text
//!   take_first:  the root is taken out; the hole sinks to the end, and rises to where the last entry belongs, which fills it
//!   Adding:      the hole rises from behind the last entry to where the new one belongs, which fills it
//! ```
//!
//! `std::collections::BinaryHeap` does the same: one copy for each level instead of a swap. What differs is what an unwinding
//! comparison leaves: there the entry drops into the hole wherever that is, here the hole goes back the way it came, and
//! nothing has changed.
//!
//! # Safety
//!
//! While there is a hole, its vector is borrowed and says that it is empty. So nobody meets an entry twice, and if a hole were
//! forgotten, entries would leak and no more. The vector's memory has places up to `end`, and
//!
//! 1. each place before `end` has an entry, except the hole; the place `end` has one too while somebody is taking;
//! 2. `at`, the hole, is before `end`, or is `end`: while somebody is adding, or takes the only entry.
//!
//! References to entries end before the hole moves: they live for one comparison.

#![expect(unsafe_code, reason = "an entry leaves its place before it is known which one fills it")]

use std::mem::{ManuallyDrop, swap};

/// Takes the first entry out, and tells where the last one went instead; `None` if there is none. Of two entries, the
/// first is one that `comes_before` the other. Nothing changes if that unwinds.
#[inline]
pub(super) fn take_first<T>(entries: &mut Vec<T>, comes_before: impl Fn(&T, &T) -> bool) -> Option<(T, usize)> {
    let mut taking = Taking::new(entries)?;
    taking.sink(&comes_before);
    taking.rise(&comes_before);
    Some(taking.fill())
}

/// Undoes [`take_first`]: `first` is the first entry again, and the one that went to `place` the last.
pub(super) fn put_back<T>(entries: &mut Vec<T>, first: T, place: usize) {
    let mut entry = first;
    if place < entries.len() {
        for levels in (0..=level(place)).rev() {
            swap(&mut entry, &mut entries[ancestor(place, levels)]);
        }
    }
    entries.push(entry);
}

struct Hole<'a, T> {
    entries: &'a mut Vec<T>,
    /// Where they are: the vector's pointer, which is not to be read again for each step.
    places: *mut T,
    at: usize,
    end: usize,
}

impl<'a, T> Hole<'a, T> {
    #[inline]
    fn new(entries: &'a mut Vec<T>, at: usize, end: usize) -> Self {
        // SAFETY: no more than there were.
        unsafe { entries.set_len(0) };
        let places = entries.as_mut_ptr();
        Self { entries, places, at, end }
    }

    /// Exchanges the hole and the entry above it, as long as that one is to be below.
    #[inline]
    fn rise_while(&mut self, is_below: impl Fn(&T) -> bool) {
        while self.at > 0 {
            let parent = (self.at - 1) / 2;
            // SAFETY: it is before the hole, so it has an entry (1, 2).
            if !is_below(unsafe { self.entry(parent) }) {
                break;
            }
            // SAFETY: likewise.
            unsafe { self.move_to(parent) };
        }
    }

    /// The entry of `place`.
    ///
    /// # Safety
    ///
    /// The place has one.
    #[inline]
    unsafe fn entry(&self, place: usize) -> &T {
        // SAFETY: a place of the vector.
        let entry = unsafe { self.places.add(place) };
        // SAFETY: the caller's promise; it is moved by `&mut self` only.
        unsafe { &*entry }
    }

    /// Moves the entry of `place` into the hole, which is there from now on.
    ///
    /// # Safety
    ///
    /// The place is another one than the hole, and has an entry.
    #[inline]
    unsafe fn move_to(&mut self, place: usize) {
        // SAFETY: a place of the vector.
        let entry = unsafe { self.places.add(place) };
        // SAFETY: a place of the vector (2).
        let hole = unsafe { self.places.add(self.at) };
        // SAFETY: the one has an entry, the other one has none.
        unsafe { hole.copy_from_nonoverlapping(entry, 1) };
        self.at = place;
    }

    /// Gives the vector its entries back.
    ///
    /// # Safety
    ///
    /// So many places have an entry, from the first on.
    #[inline]
    unsafe fn close(&mut self, entries: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.entries.set_len(entries) };
    }
}

/// The first entry is being taken out.
struct Taking<'a, T> {
    hole: Hole<'a, T>,
    first: ManuallyDrop<T>,
}

impl<'a, T> Taking<'a, T> {
    /// A hole in place of the first entry, if there is one.
    #[inline]
    fn new(entries: &'a mut Vec<T>) -> Option<Self> {
        let end = entries.len().checked_sub(1)?;
        // SAFETY: there is a first entry. Nobody reads it again, since the vector is empty from here on.
        let first = unsafe { entries.as_ptr().read() };
        Some(Self { hole: Hole::new(entries, 0, end), first: ManuallyDrop::new(first) })
    }

    /// Lets the hole sink, below the first of each two siblings, to the end. The last entry of all is not counted.
    #[inline]
    fn sink(&mut self, comes_before: impl Fn(&T, &T) -> bool) {
        let mut left = 1;
        while left + 1 < self.hole.end {
            // SAFETY: it is before `end` and not the hole, so it has an entry (1).
            let left_entry = unsafe { self.hole.entry(left) };
            // SAFETY: likewise.
            let right_entry = unsafe { self.hole.entry(left + 1) };
            let first = left + usize::from(comes_before(right_entry, left_entry));
            // SAFETY: one of the two.
            unsafe { self.hole.move_to(first) };
            left = 2 * first + 1;
        }
        if left < self.hole.end {
            // SAFETY: it is before `end` and not the hole, so it has an entry (1).
            unsafe { self.hole.move_to(left) };
        }
    }

    /// Lets the hole rise to where the last entry belongs.
    #[inline]
    fn rise(&mut self, comes_before: impl Fn(&T, &T) -> bool) {
        // SAFETY: a place of the vector.
        let last = unsafe { self.hole.places.add(self.hole.end) };
        // SAFETY: it has an entry (1) which stays, unless it is the hole, and that is the root then and does not rise (2).
        self.hole.rise_while(|parent| comes_before(unsafe { &*last }, parent));
    }

    /// Fills the hole with the last entry. Answers what was the first, and where the last one is now.
    #[inline]
    fn fill(self) -> (T, usize) {
        let mut taking = ManuallyDrop::new(self);
        let (place, end) = (taking.hole.at, taking.hole.end);
        if place != end {
            // SAFETY: not the hole, so it has an entry (1).
            unsafe { taking.hole.move_to(end) };
        }
        // SAFETY: the hole is `end` now, so all before it have an entry (1).
        unsafe { taking.hole.close(end) };
        // SAFETY: it is neither used again nor dropped.
        (unsafe { ManuallyDrop::take(&mut taking.first) }, place)
    }
}

/// A comparison unwinds.
impl<T> Drop for Taking<'_, T> {
    #[cold]
    fn drop(&mut self) {
        self.hole.rise_while(|_| true);
        // SAFETY: it is not used again.
        let first = unsafe { ManuallyDrop::take(&mut self.first) };
        // SAFETY: the root is a place of the vector, and has no entry, being the hole.
        unsafe { self.hole.places.write(first) };
        // SAFETY: now all of them have an entry, up to the last (1).
        unsafe { self.hole.close(self.hole.end + 1) };
    }
}

/// An entry is being added. Nothing changes unless the hole is [filled](Self::fill).
pub(super) struct Adding<'a, T>(Hole<'a, T>);

impl<'a, T> Adding<'a, T> {
    /// A hole behind the last entry.
    #[inline]
    pub(super) fn new(entries: &'a mut Vec<T>) -> Self {
        entries.reserve(1);
        let end = entries.len();
        Self(Hole::new(entries, end, end))
    }

    /// Lets the hole rise above all that are to be below the new entry.
    #[inline]
    pub(super) fn rise_while(&mut self, is_below: impl Fn(&T) -> bool) {
        self.0.rise_while(is_below);
    }

    /// Fills the hole.
    #[inline]
    pub(super) fn fill(self, entry: T) {
        let mut adding = ManuallyDrop::new(self);
        let Hole { places, at, end, .. } = adding.0;
        // SAFETY: a place of the vector (2), which has memory for one more than there were.
        let hole = unsafe { places.add(at) };
        // SAFETY: it has no entry.
        unsafe { hole.write(entry) };
        // SAFETY: now all before `end` have an entry (1), and `end` too: it was the hole, or has what was above it.
        unsafe { adding.0.close(end + 1) };
    }
}

/// A comparison unwinds, or there is nothing to be added after all.
impl<T> Drop for Adding<'_, T> {
    #[cold]
    fn drop(&mut self) {
        let Hole { at, end, .. } = self.0;
        for levels in (0..level(end) - level(at)).rev() {
            // SAFETY: below the hole on the way up from `end`, where each place has what was above it.
            unsafe { self.0.move_to(ancestor(end, levels)) };
        }
        // SAFETY: the hole is `end` again, so all before it have an entry (1).
        unsafe { self.0.close(end) };
    }
}

/// How many places are above this one.
fn level(place: usize) -> u32 {
    (place + 1).ilog2()
}

/// The place so many levels above this one.
fn ancestor(place: usize, levels: u32) -> usize {
    ((place + 1) >> levels) - 1
}
