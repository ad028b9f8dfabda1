//! One segment of a list of items: plain memory, and no idea who may touch it. That is [`list`](super::list)'s affair.
//!
//! ```text
//!            +------+--------+--------+-----+-----------------+
//!   segment: | next | item 0 | item 1 | ... | item SLOTS<T>-1 |
//!            +------+--------+--------+-----+-----------------+
//! ```
//!
//! # Safety
//!
//! A [`Segment`] is a pointer to that, from [`new`](Segment::new) to [`free`](Segment::free), and is copied like one: so
//! whoever uses it says why it was not freed. A slot holds an item from the [`fill`](Segment::fill) to the
//! [`take`](Segment::take), both of which are unsafe: the caller has the slot, or the link, to itself.

#![expect(unsafe_code, reason = "items are moved in and out of plain memory")]

use crate::primitive::UnsafeCell;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
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

pub(super) struct Segment<T>(NonNull<Link<T>>);

/// What a segment begins with. The slots follow.
struct Link<T>(UnsafeCell<Option<Segment<T>>>);

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

impl<T> Clone for Segment<T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Segment<T> {}

impl<T> Segment<T> {
    /// The memory of a segment, and where in it the slots begin.
    const LAYOUT: (Layout, usize) = match Layout::array::<Slot<T>>(slots::<T>()) {
        Ok(slots) => match Layout::new::<Link<T>>().extend(slots) {
            Ok(layout) => layout,
            Err(_) => panic!("items of this size have no room in memory"),
        },
        Err(_) => panic!("items of this size have no room in memory"),
    };

    /// A segment without items, after which nothing is.
    pub(super) fn new() -> Self {
        let (layout, _) = Self::LAYOUT;
        // SAFETY: the link makes it larger than nothing.
        let memory = unsafe { alloc(layout) };
        let Some(link) = NonNull::new(memory.cast()) else { handle_alloc_error(layout) };
        let segment = Self(link);
        // SAFETY: it is the beginning of memory laid out for it, and this function's own.
        unsafe { link.write(Link(UnsafeCell::new(None))) };
        for position in 0..slots::<T>() {
            // SAFETY: the memory was not freed.
            let slot = unsafe { segment.slot(position) };
            // SAFETY: this function's own, as above.
            unsafe { slot.write(UnsafeCell::new(MaybeUninit::uninit())) };
        }
        segment
    }

    /// Frees the memory; an item that is in it is forgotten.
    ///
    /// # Safety
    ///
    /// Nobody uses the segment any more.
    pub(super) unsafe fn free(self) {
        for position in 0..slots::<T>() {
            // SAFETY: the memory was not freed.
            let slot = unsafe { self.slot(position) };
            // SAFETY: `new` made it, and it is of no further use, says the caller.
            unsafe { slot.drop_in_place() };
        }
        // SAFETY: likewise the link.
        unsafe { self.0.drop_in_place() };
        // SAFETY: the memory comes from `alloc`, with this layout.
        unsafe { dealloc(self.0.as_ptr().cast(), Self::LAYOUT.0) };
    }

    /// Where the item of this position is.
    ///
    /// # Safety
    ///
    /// The segment was not freed.
    #[inline]
    unsafe fn slot(self, position: usize) -> NonNull<Slot<T>> {
        // SAFETY: the slots begin there in the segment's memory.
        let first = unsafe { self.0.byte_add(Self::LAYOUT.1) };
        // SAFETY: there are so many.
        unsafe { first.cast::<Slot<T>>().add(position % slots::<T>()) }
    }

    /// Puts the item of this position in.
    ///
    /// # Safety
    ///
    /// The segment was not freed, and the caller has the slot to itself.
    #[inline]
    pub(super) unsafe fn fill(self, position: usize, item: T) {
        // SAFETY: it was not freed, says the caller.
        let slot = unsafe { self.slot(position) };
        // SAFETY: `new` made a slot of it.
        let slot = unsafe { slot.as_ref() };
        slot.with_mut(|slot| {
            // SAFETY: nobody else is at the slot, says the caller.
            unsafe { slot.write(MaybeUninit::new(item)) }
        });
    }

    /// Moves the item of this position out.
    ///
    /// # Safety
    ///
    /// The segment was not freed, and the caller has the slot to itself. It was filled, and not emptied since.
    #[inline]
    pub(super) unsafe fn take(self, position: usize) -> T {
        // SAFETY: it was not freed, says the caller.
        let slot = unsafe { self.slot(position) };
        // SAFETY: `new` made a slot of it.
        let slot = unsafe { slot.as_ref() };
        slot.with_mut(|slot| {
            // SAFETY: nobody else is at the slot, and an item is in it, says the caller.
            unsafe { slot.cast::<T>().read() }
        })
    }

    /// Says what follows.
    ///
    /// # Safety
    ///
    /// The segment was not freed, and the caller has the link to itself.
    pub(super) unsafe fn link(self, next: Option<Self>) {
        // SAFETY: it was not freed, says the caller.
        let Link(link) = unsafe { self.0.as_ref() };
        // SAFETY: nobody else is at the link, says the caller.
        link.with_mut(|link| unsafe { link.write(next) });
    }

    /// The segment that follows.
    ///
    /// # Safety
    ///
    /// The segment was not freed, and nobody writes the link meanwhile.
    pub(super) unsafe fn next(self) -> Option<Self> {
        // SAFETY: it was not freed, says the caller.
        let Link(link) = unsafe { self.0.as_ref() };
        // SAFETY: nobody writes, says the caller.
        link.with(|link| unsafe { link.read() })
    }
}

/// Segments out of use, kept so that a queue whose length swings allocates nothing: a chain that is this value's own.
pub(super) struct Spares<T> {
    first: Option<Segment<T>>,
    kept: usize,
}

// SAFETY: the segments are its own, and no item is in them.
unsafe impl<T> Send for Spares<T> {}

const KEPT: usize = if cfg!(crewkit_loom) { 1 } else { 4 };

impl<T> Spares<T> {
    pub(super) const fn new() -> Self {
        Self { first: None, kept: 0 }
    }

    /// A segment, after which nothing is.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Segment<T>> {
        let first = self.first?;
        // SAFETY: it is in the chain, which is this value's own.
        self.first = unsafe { first.next() };
        // SAFETY: likewise, until it is handed out.
        unsafe { first.link(None) };
        self.kept -= 1;
        Some(first)
    }

    /// Keeps the segment, or hands it back if enough are kept: one, if items are large.
    ///
    /// # Safety
    ///
    /// The caller gives the segment up, in which no item is.
    #[must_use = "what is not kept is to be freed"]
    pub(super) unsafe fn keep(&mut self, segment: Segment<T>) -> Option<Segment<T>> {
        let most = if size_of::<T>() > 2048 { 1 } else { KEPT };
        if self.kept == most {
            return Some(segment);
        }
        // SAFETY: it is this value's own from now on, says the caller.
        unsafe { segment.link(self.first) };
        self.first = Some(segment);
        self.kept += 1;
        None
    }
}

impl<T> Drop for Spares<T> {
    fn drop(&mut self) {
        while let Some(segment) = self.take() {
            // SAFETY: it was this value's own, and nobody else knows it.
            unsafe { segment.free() };
        }
    }
}
