//! A list of segments that is put into at one end and got from at the other, each end under a latch of its own.
//!
//! Words, steps, what must not happen and why it cannot: `README.md` beside this file.
//!
//! # Safety
//!
//! Every segment is reached by pointer. Who may do what with it:
//!
//! 1. **The putting end**: who holds `puts` has to itself the slots of the tail's segment from the tail on, and its link.
//!    That segment always is in place: who fills a last slot has linked the next one before.
//! 2. **The getting end**: who holds `gets` has to itself the slots from the head on to `tail_seen`, and may read the link
//!    of the head's segment once its last slot is among them.
//! 3. **Publication**: the tail is stored with Release after slot and link were written, and loaded with Acquire before
//!    `tail_seen` says so. So what 2 lets a getter read is written, and nobody writes it any more.
//! 4. **Chain**: the segments from the head's to the tail's are linked, and come from boxes. None is freed but by who
//!    took the head off its last slot, while it held `gets`: the tail had left that segment before, by 1 and 3.
//! 5. **Clearing** holds both ends, takes the whole chain away and leaves a segment of its own to both: from then on
//!    nobody else reaches the chain.

#![expect(unsafe_code, reason = "segments are reached by pointer, from both ends")]

use super::discarded::Discarded;
use super::ends::{GettingEnd, Look, PuttingEnd, Refusal, Sight, Tail};
use super::segment::{Segment, Spares, slots};
use crate::primitive::{AtomicUsize, Latch, LatchGuard};
use crossbeam_utils::CachePadded;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::vec::IntoIter;

pub(super) struct List<T> {
    puts: CachePadded<Puts<T>>,
    gets: CachePadded<Gets<T>>,
    spares: CachePadded<Latch<Spares<T>>>,
    _items: PhantomData<T>,
}

/// The putters' cache line.
struct Puts<T> {
    end: Latch<PuttingEnd<T>>,
    /// Written by who holds `end`.
    tail: AtomicUsize,
    /// Likewise; `usize::MAX` is no limit.
    limit: AtomicUsize,
}

/// The getters' cache line.
struct Gets<T> {
    end: Latch<GettingEnd<T>>,
    /// Written by who holds `end`.
    head: AtomicUsize,
}

/// A segment to go on to.
enum Next<T> {
    /// This one, if any is needed.
    Is(Option<Box<Segment<T>>>),
    /// One is needed, and there is no spare one.
    IsWanting,
}

// SAFETY: items go from thread to thread with the list, and so do segments, which nobody else has (4).
unsafe impl<T: Send> Send for List<T> {}
// SAFETY: an item is touched by who put it, and then by who gets it; never by two at a time (1 to 3).
unsafe impl<T: Send> Sync for List<T> {}

impl<T> List<T> {
    pub(super) fn new(limit: usize) -> Self {
        let segment = NonNull::from(Box::leak(Segment::new()));
        Self {
            puts: CachePadded::new(Puts {
                end: Latch::new(PuttingEnd::new(segment, limit)),
                tail: AtomicUsize::new(0),
                limit: AtomicUsize::new(limit),
            }),
            gets: CachePadded::new(Gets {
                end: Latch::new(GettingEnd::new(segment, limit)),
                head: AtomicUsize::new(0),
            }),
            spares: CachePadded::new(Latch::new(Spares::new())),
            _items: PhantomData,
        }
    }

    #[inline]
    fn tail(&self) -> Tail {
        Tail::from_word(self.puts.tail.load(Ordering::Acquire))
    }

    #[inline]
    fn head(&self) -> usize {
        self.gets.head.load(Ordering::Acquire)
    }

    /// Puts the item in if there is room; whether a getter is to be woken.
    #[inline]
    pub(super) fn put(&self, item: T, look: Look) -> Result<bool, (Refusal, T)> {
        let mut end = self.putting();
        if let Err(refusal) = end.room(look, || self.head()) {
            return Err((refusal, item));
        }
        let position = end.tail.count();
        let next = match self.next_segment(position, 1) {
            Next::Is(next) => next,
            Next::IsWanting => {
                drop(end);
                self.stock();
                return self.put(item, look);
            }
        };
        // SAFETY: the slot at the tail is this end's (1).
        unsafe { end.segment().fill(position, item) };
        self.show_tail(&mut end, |tail| tail.plus(1), next);
        Ok(end.wakes_getters)
    }

    /// Puts at least one of the items in, at most a segment full, if there is room; whether a getter is to be woken.
    pub(super) fn put_many(&self, items: &mut IntoIter<T>) -> Result<bool, Refusal> {
        let mut end = self.putting();
        let room = end.room(Look::Exactly, || self.head())?;
        let first = end.tail.count();
        let many = room.min(left_in_segment::<T>(first)).min(items.len());
        let next = match self.next_segment(first, many) {
            Next::Is(next) => next,
            Next::IsWanting => {
                drop(end);
                self.stock();
                return self.put_many(items);
            }
        };
        for (position, item) in (first..first + many).zip(items) {
            // SAFETY: the slots from the tail on are this end's (1).
            unsafe { end.segment().fill(position, item) };
        }
        self.show_tail(&mut end, |tail| tail.plus(many), next);
        Ok(end.wakes_getters)
    }

    /// The segment to go on to after putting so many items in, if they fill this one.
    #[inline]
    fn next_segment(&self, position: usize, items: usize) -> Next<T> {
        if items < left_in_segment::<T>(position) {
            return Next::Is(None);
        }
        let spare = self.spares.lock().take();
        if spare.is_some() { Next::Is(spare) } else { Next::IsWanting }
    }

    /// Changes the tail: what was written below it is the getters' from now on, and so is the link to `next`.
    #[inline]
    fn show_tail(&self, end: &mut PuttingEnd<T>, change: impl FnOnce(Tail) -> Tail, next: Option<Box<Segment<T>>>) {
        if let Some(next) = next {
            let next = NonNull::from(Box::leak(next));
            // SAFETY: the link of the tail's segment is this end's (1).
            unsafe { end.segment().link(next) };
            end.segment = next;
        }
        end.tail = change(end.tail);
        self.puts.tail.store(end.tail.to_word(), Ordering::Release);
    }

    /// Makes sure that there is a spare segment. Not while a latch is held: memory may be long in coming.
    #[cold]
    fn stock(&self) {
        let segment = Segment::new();
        let unkept = self.spares.lock().keep(segment);
        drop(unkept);
    }

    /// Takes the next item out; whether a putter is to be woken.
    #[inline]
    pub(super) fn get(&self, look: Look) -> Result<(T, bool), Refusal> {
        let mut end = self.getting();
        end.items(look, || self.tail())?;
        // SAFETY: the slot at the head is this end's, and filled (2, 3).
        let item = unsafe { end.segment().take(end.head) };
        Ok((item, self.advance(end, 1)))
    }

    /// Takes at least one item out, at most `max` and at most a segment full; whether a putter is to be woken. `got` has
    /// room for them.
    pub(super) fn get_many(&self, max: usize, got: &mut Vec<T>) -> Result<bool, Refusal> {
        got.reserve(max.min(slots::<T>()).min(self.about().0).max(1));
        let mut end = self.getting();
        let items = end.items(Look::Exactly, || self.tail())?;
        let many = items.min(max).min(left_in_segment::<T>(end.head)).min(got.capacity() - got.len());
        for position in end.head..end.head + many {
            // SAFETY: the slots from the head on to what was seen of the tail are this end's, and filled (2, 3).
            got.push(unsafe { end.segment().take(position) });
        }
        Ok(self.advance(end, many))
    }

    /// Moves the head on, past slots that were emptied, and leaves the end; whether a putter is to be woken.
    #[inline]
    fn advance(&self, mut end: LatchGuard<'_, GettingEnd<T>>, items: usize) -> bool {
        let wakes = end.wakes_putters;
        let is_last = left_in_segment::<T>(end.head) == items;
        end.head += items;
        self.gets.head.store(end.head, Ordering::Release);
        if is_last {
            self.leave_segment(end);
        }
        wakes
    }

    /// Goes on to the next segment, and puts this one away.
    #[cold]
    fn leave_segment(&self, mut end: LatchGuard<'_, GettingEnd<T>>) {
        let old = end.segment;
        // SAFETY: its last slot was this end's, so its link is written and may be read (1, 2, 3).
        end.segment = match unsafe { end.segment().next() } {
            Some(next) => next,
            None => unreachable!("invariant 4: the segments up to the tail's are linked"),
        };
        drop(end);
        // SAFETY: it comes from a box, and nobody else reaches it any more (4).
        let old = unsafe { Box::from_raw(old.as_ptr()) };
        let unkept = self.spares.lock().keep(old);
        drop(unkept);
    }

    /// The putting end. Who needs both ends takes this one first.
    #[inline]
    pub(super) fn putting(&self) -> LatchGuard<'_, PuttingEnd<T>> {
        self.puts.end.lock()
    }

    /// The getting end.
    #[inline]
    pub(super) fn getting(&self) -> LatchGuard<'_, GettingEnd<T>> {
        self.gets.end.lock()
    }

    /// How many items are in.
    pub(super) fn len(&self) -> usize {
        let mut tail = self.tail();
        loop {
            let head = self.head();
            let now = self.tail();
            if now == tail {
                return tail.count() - head;
            }
            tail = now;
        }
    }

    /// At least as many items as are in, and whether nothing more is put in. The head is looked at first, so both may be
    /// late by what puts and gets do meanwhile; whoever is told of those must not be misled by that.
    pub(super) fn about(&self) -> (usize, bool) {
        let head = self.head();
        let tail = self.tail();
        (tail.count() - head, tail.is_ended())
    }

    pub(super) fn is_ended(&self) -> bool {
        self.tail().is_ended()
    }

    pub(super) fn limit(&self) -> usize {
        self.puts.limit.load(Ordering::Relaxed)
    }

    /// No put that begins after this goes by another limit.
    pub(super) fn set_limit(&self, limit: usize) {
        let mut putting = self.putting();
        putting.limit = limit;
        self.puts.limit.store(limit, Ordering::Relaxed);
        putting.sight = Sight::new(limit);
        self.getting().sight = Sight::new(limit);
    }

    /// Counts one task done; `None` if all are. Answers how many were put, if all are done now and somebody waits for it.
    #[inline]
    pub(super) fn task_done(&self) -> Option<Option<usize>> {
        let mut end = self.getting();
        if end.done == end.tail_seen && self.are_all_done(&mut end) {
            return None;
        }
        end.done += 1;
        let is_news = end.wakes_joiners && end.done == end.tail_seen && self.are_all_done(&mut end);
        Some(is_news.then_some(end.done))
    }

    #[cold]
    fn are_all_done(&self, end: &mut GettingEnd<T>) -> bool {
        end.tail_seen = self.tail().count();
        end.done == end.tail_seen
    }

    /// How many tasks are not done, and how many items were ever put.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        let end = self.getting();
        let puts = self.tail().count();
        (puts - end.done, puts)
    }

    /// Takes no more items in.
    pub(super) fn end(&self) {
        self.show_tail(&mut self.putting(), Tail::ended, None);
    }

    /// Takes all items out at once and counts them done. More can have been reported done than were got. Answers also how
    /// many were put, if all are done now: more may be put as soon as the ends are left.
    pub(super) fn clear(&self, ends: bool) -> (Discarded<T>, Option<usize>) {
        let fresh = NonNull::from(Box::leak(Segment::new()));
        let mut putting = self.putting();
        let mut getting = self.getting();
        if ends {
            self.show_tail(&mut putting, Tail::ended, None);
        }
        let items = getting.head..putting.tail.count();
        getting.done = items.end.min(getting.done + items.len());
        let all_done_at = (getting.done == items.end).then_some(items.end);
        getting.tail_seen = items.end;
        getting.head = items.end;
        self.gets.head.store(items.end, Ordering::Release);
        let first = std::mem::replace(&mut getting.segment, fresh);
        putting.segment = fresh;
        // SAFETY: both ends are held, and have another segment now (5); what is between them is filled (3).
        let discarded = unsafe { Discarded::new(first, items) };
        (discarded, all_done_at)
    }
}

/// How many slots of its segment come from this position on.
#[inline]
const fn left_in_segment<T>(position: usize) -> usize {
    slots::<T>() - position % slots::<T>()
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        let first = self.getting().segment;
        let items = self.head()..self.tail().count();
        // SAFETY: nobody else has the list, nor the chain (4); what is between the ends is filled (3).
        drop(unsafe { Discarded::new(first, items) });
    }
}
