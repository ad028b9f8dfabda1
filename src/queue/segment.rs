//! One segment of a list of items: plain memory, and no idea who may touch it. That is [`list`](super::list)'s affair.
//!
//! ```text
//!            +-------+------+      +--------+--------+-----+-----------------+
//!   segment: | slots | next |      | item 0 | item 1 | ... | item SLOTS<T>-1 |
//!            +---|---+------+      +--------+--------+-----+-----------------+
//!                +---------------->
//! ```
//!
//! # Safety
//!
//! A slot holds an item from the [`fill`](Segment::fill) to the [`take`](Segment::take), both of which are unsafe: the
//! caller has the slot, or the link, to itself.

#![expect(unsafe_code, reason = "items are moved in and out of plain memory")]

use crate::primitive::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// How many items of this type a segment has room for: a power of two, 128 for small ones, fewer for those with which it
/// would become larger than 4 KiB. As few as can be in a model, so that every model comes to a boundary.
pub(super) const fn slots<T>() -> usize {
    let most = if cfg!(crewkit_loom) { 2 } else { 128 };
    let mut slots = 2;
    while slots < most && 2 * slots * size_of::<T>() <= 4096 {
        slots *= 2;
    }
    slots
}

pub(super) struct Segment<T> {
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    next: UnsafeCell<Option<NonNull<Segment<T>>>>,
}

// SAFETY: its items go from thread to thread with it, and are never shared.
unsafe impl<T: Send> Send for Segment<T> {}

impl<T> Segment<T> {
    /// A segment without items, before which and after which nothing is.
    pub(super) fn new() -> Box<Self> {
        let slots = (0..slots::<T>()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        Box::new(Self { slots, next: UnsafeCell::new(None) })
    }

    /// Puts the item of this position in.
    ///
    /// # Safety
    ///
    /// The caller has the slot to itself.
    #[inline]
    pub(super) unsafe fn fill(&self, position: usize, item: T) {
        self.slots[position % slots::<T>()].with_mut(|slot| {
            // SAFETY: nobody else is at the slot, says the caller.
            unsafe { slot.write(MaybeUninit::new(item)) }
        });
    }

    /// Moves the item of this position out.
    ///
    /// # Safety
    ///
    /// The caller has the slot to itself. It was filled, and not emptied since.
    #[inline]
    pub(super) unsafe fn take(&self, position: usize) -> T {
        self.slots[position % slots::<T>()].with_mut(|slot| {
            // SAFETY: nobody else is at the slot, and an item is in it, says the caller.
            unsafe { slot.cast::<T>().read() }
        })
    }

    /// Links the segment that follows.
    ///
    /// # Safety
    ///
    /// The caller has the link to itself.
    pub(super) unsafe fn link(&self, next: NonNull<Self>) {
        // SAFETY: nobody else is at the link, says the caller.
        self.next.with_mut(|link| unsafe { link.write(Some(next)) });
    }

    /// The segment that follows.
    ///
    /// # Safety
    ///
    /// Nobody writes the link meanwhile.
    pub(super) unsafe fn next(&self) -> Option<NonNull<Self>> {
        // SAFETY: nobody writes, says the caller.
        self.next.with(|link| unsafe { link.read() })
    }
}

/// Segments out of use, kept so that a queue whose length swings allocates nothing.
pub(super) struct Spares<T>([Option<Box<Segment<T>>>; KEPT]);

const KEPT: usize = if cfg!(crewkit_loom) { 1 } else { 4 };

impl<T> Spares<T> {
    pub(super) const fn new() -> Self {
        Self([const { None }; KEPT])
    }

    pub(super) fn take(&mut self) -> Option<Box<Segment<T>>> {
        self.0.iter_mut().find_map(Option::take)
    }

    /// Keeps the segment, or hands it back if enough are kept: one, if items are large.
    pub(super) fn keep(&mut self, segment: Box<Segment<T>>) -> Option<Box<Segment<T>>> {
        let kept = if size_of::<T>() > 2048 { 1 } else { KEPT };
        match self.0[..kept].iter_mut().find(|place| place.is_none()) {
            Some(place) => place.replace(segment),
            None => Some(segment),
        }
    }
}
