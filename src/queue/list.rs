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
//! 4. **Chain**: the segments from the head's to the tail's are linked. None is freed but by who
//!    took the head off its last slot, while it held `gets`: the tail had left that segment before, by 1 and 3.
//! 5. **Clearing** holds both ends, takes the whole chain away and leaves a segment of its own to both: from then on
//!    nobody else reaches the chain.

#![expect(unsafe_code, reason = "segments are reached by pointer, from both ends")]

use super::discarded::Discarded;
use super::ends::{Done, GettingEnd, Look, PuttingEnd, Refusal, Tail};
use super::segment::{Segment, Spares, slots};
use crate::primitive::{AtomicUsize, Latch, LatchGuard};
use crossbeam_utils::CachePadded;
use std::marker::PhantomData;
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
    /// [`Done`]: changed by anybody, and always read and changed at once.
    done: AtomicUsize,
}

/// How often the length is looked for beside puts that go on, before they are stopped for it.
const LOOKS: u32 = 3;

pub(super) type Putting<'a, T> = LatchGuard<'a, PuttingEnd<T>>;
pub(super) type Getting<'a, T> = LatchGuard<'a, GettingEnd<T>>;

// SAFETY: items go from thread to thread with the list, and so do segments, which nobody else has (4).
unsafe impl<T: Send> Send for List<T> {}
// SAFETY: an item is touched by who put it, and then by who gets it; never by two at a time (1 to 3).
unsafe impl<T: Send> Sync for List<T> {}

impl<T> List<T> {
    pub(super) fn new(limit: usize) -> Self {
        let segment = Segment::new();
        Self {
            puts: CachePadded::new(Puts {
                end: Latch::new(PuttingEnd::new(segment, limit)),
                tail: AtomicUsize::new(Tail::START.to_word()),
                limit: AtomicUsize::new(limit),
            }),
            gets: CachePadded::new(Gets {
                end: Latch::new(GettingEnd::new(segment, limit)),
                head: AtomicUsize::new(0),
                done: AtomicUsize::new(Done::NONE.to_word()),
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

    /// The tail, which whoever holds the putting end alone changes.
    #[inline]
    fn own_tail(&self, _end: &Putting<'_, T>) -> Tail {
        Tail::from_word(self.puts.tail.load(Ordering::Relaxed))
    }

    /// The head, which whoever holds the getting end alone changes.
    #[inline]
    fn own_head(&self, _end: &Getting<'_, T>) -> usize {
        self.gets.head.load(Ordering::Relaxed)
    }

    /// Puts the item in, if no more than that is to be done. Else the end, held, and the item are for
    /// [`put_at`](Self::put_at).
    #[inline]
    pub(super) fn put_plainly(&self, item: T) -> Result<(), (Putting<'_, T>, T)> {
        let end = self.putting();
        let tail = self.own_tail(&end);
        if tail >= end.plain_below {
            return Err((end, item));
        }
        // SAFETY: the slot at the tail is this end's (1).
        unsafe { end.segment.fill(tail.count(), item) };
        self.show_tail(&end, tail.plus(1));
        Ok(())
    }

    /// Puts the item in if there is room; whether a getter is to be woken.
    pub(super) fn put(&self, item: T, look: Look) -> Result<bool, (Refusal, T)> {
        self.put_at(self.putting(), item, look)
    }

    /// The same, with the end held already.
    pub(super) fn put_at<'a>(&'a self, mut end: Putting<'a, T>, item: T, look: Look) -> Result<bool, (Refusal, T)> {
        loop {
            let tail = self.own_tail(&end);
            if let Err(refusal) = end.room(tail, look, || self.head()) {
                return Err((refusal, item));
            }
            let Some(next) = self.next_segment(tail.count(), 1) else {
                end = self.stocked(end);
                continue;
            };
            // SAFETY: the slot at the tail is this end's (1).
            unsafe { end.segment.fill(tail.count(), item) };
            return Ok(self.come_to(&mut end, tail.plus(1), next));
        }
    }

    /// Puts at least one of the items in, at most a segment full, if there is room; whether a getter is to be woken.
    pub(super) fn put_many(&self, items: &mut IntoIter<T>) -> Result<bool, Refusal> {
        let mut end = self.putting();
        loop {
            let tail = self.own_tail(&end);
            let first = tail.count();
            let room = end.room(tail, Look::Exactly, || self.head())?;
            let many = room.min(left_in_segment::<T>(first)).min(items.len());
            let Some(next) = self.next_segment(first, many) else {
                end = self.stocked(end);
                continue;
            };
            for (position, item) in (first..first + many).zip(items) {
                // SAFETY: the slots from the tail on are this end's (1).
                unsafe { end.segment.fill(position, item) };
            }
            return Ok(self.come_to(&mut end, tail.plus(many), next));
        }
    }

    /// The segment to go on to after putting so many items in, if they fill this one; `None` if one is wanting.
    #[expect(clippy::option_option, reason = "whether one is needed, and which")]
    #[inline]
    fn next_segment(&self, position: usize, items: usize) -> Option<Option<Segment<T>>> {
        if items < left_in_segment::<T>(position) {
            return Some(None);
        }
        self.spares.lock().take().map(Some)
    }

    /// Moves the tail on, past slots that were filled; whether a getter is to be woken.
    #[inline]
    fn come_to(&self, end: &mut Putting<'_, T>, tail: Tail, next: Option<Segment<T>>) -> bool {
        if next.is_some() {
            // SAFETY: the link of the tail's segment is this end's (1).
            unsafe { end.segment.link(next) };
        }
        end.segment = next.unwrap_or(end.segment);
        let wakes = end.came_to(tail);
        self.show_tail(end, tail);
        wakes
    }

    /// What was written below the tail is the getters' from now on, and so is the link to a next segment.
    #[inline]
    fn show_tail(&self, _end: &Putting<'_, T>, tail: Tail) {
        self.puts.tail.store(tail.to_word(), Ordering::Release);
    }

    /// Makes sure that there is a spare segment. Not while a latch is held: memory may be long in coming.
    #[cold]
    fn stocked<'a>(&'a self, end: Putting<'a, T>) -> Putting<'a, T> {
        drop(end);
        self.keep(Segment::new());
        self.putting()
    }

    /// Puts a segment among the spares, or frees it. It is nobody else's, and no item is in it.
    fn keep(&self, segment: Segment<T>) {
        // SAFETY: this function's callers have it to themselves, and give it up.
        let unkept = unsafe { self.spares.lock().keep(segment) };
        if let Some(segment) = unkept {
            // SAFETY: likewise.
            unsafe { segment.free() };
        }
    }

    /// Takes the next item out, if no more than that is to be done. Else the end, held, is for [`get_at`](Self::get_at).
    #[inline]
    pub(super) fn get_plainly(&self) -> Result<T, Getting<'_, T>> {
        let end = self.getting();
        let head = self.own_head(&end);
        if head >= end.plain_below {
            return Err(end);
        }
        // SAFETY: the slot at the head is this end's, and filled (2, 3).
        let item = unsafe { end.segment.take(head) };
        self.show_head(&end, head + 1);
        Ok(item)
    }

    /// Takes the next item out; whether a putter is to be woken.
    pub(super) fn get(&self, look: Look) -> Result<(T, bool), Refusal> {
        self.get_at(self.getting(), look)
    }

    /// The same, with the end held already.
    pub(super) fn get_at<'a>(&'a self, mut end: Getting<'a, T>, look: Look) -> Result<(T, bool), Refusal> {
        let head = self.own_head(&end);
        end.items(head, look, || self.tail())?;
        // SAFETY: the slot at the head is this end's, and filled (2, 3).
        let item = unsafe { end.segment.take(head) };
        Ok((item, self.advance(end, head, 1)))
    }

    /// Takes at least one item out, at most `max` and at most a segment full; whether a putter is to be woken.
    pub(super) fn get_many(&self, max: usize, got: &mut Vec<T>) -> Result<bool, Refusal> {
        got.reserve(max.min(slots::<T>()).min(self.about().0).max(1));
        let mut end = self.getting();
        let head = self.own_head(&end);
        let items = end.items(head, Look::Exactly, || self.tail())?;
        let many = items.min(max).min(left_in_segment::<T>(head)).min(got.capacity() - got.len());
        for position in head..head + many {
            // SAFETY: the slots from the head on to what was seen of the tail are this end's, and filled (2, 3).
            got.push(unsafe { end.segment.take(position) });
        }
        Ok(self.advance(end, head, many))
    }

    /// Moves the head on, past slots that were emptied, and leaves the end; whether a putter is to be woken.
    #[inline]
    fn advance(&self, mut end: Getting<'_, T>, head: usize, items: usize) -> bool {
        let left = (items == left_in_segment::<T>(head)).then_some(end.segment);
        if let Some(segment) = left {
            // SAFETY: its last slot was this end's, so its link is written and may be read (1, 2, 3).
            end.segment = match unsafe { segment.next() } {
                Some(next) => next,
                None => unreachable!("invariant 4: the segments up to the tail's are linked"),
            };
        }
        let wakes = end.came_to(head + items);
        self.show_head(&end, head + items);
        drop(end);
        if let Some(segment) = left {
            // Nobody else reaches it any more (4), and no item is in it.
            self.keep(segment);
        }
        wakes
    }

    #[inline]
    fn show_head(&self, _end: &Getting<'_, T>, head: usize) {
        self.gets.head.store(head, Ordering::Release);
    }

    /// The putting end. Who needs both ends takes this one first.
    #[inline]
    fn putting(&self) -> Putting<'_, T> {
        self.puts.end.lock()
    }

    /// The getting end.
    #[inline]
    fn getting(&self) -> Getting<'_, T> {
        self.gets.end.lock()
    }

    /// From now on a put says that a getter is to be woken; or no longer.
    pub(super) fn set_wakes_getters(&self, wakes: bool) {
        self.putting().set_wakes_getters(wakes);
    }

    /// From now on a get says that a putter is to be woken; or no longer.
    pub(super) fn set_wakes_putters(&self, wakes: bool) {
        self.getting().set_wakes_putters(wakes);
    }

    /// From now on the last task says that it was; or no longer.
    pub(super) fn set_wakes_joiners(&self, wakes: bool) {
        if wakes {
            self.gets.done.fetch_or(Done::JOINED, Ordering::Relaxed);
        } else {
            self.gets.done.fetch_and(!Done::JOINED, Ordering::Relaxed);
        }
    }

    /// How many items are in.
    pub(super) fn len(&self) -> usize {
        let mut tail = self.tail();
        for _ in 0..LOOKS {
            let head = self.head();
            let now = self.tail();
            if now == tail {
                return tail.count() - head;
            }
            tail = now;
        }
        let putting = self.putting();
        self.own_tail(&putting).count() - self.head()
    }

    /// Whether there is no room, by the limit of this moment.
    pub(super) fn is_full(&self) -> bool {
        let putting = self.putting();
        self.own_tail(&putting).count() - self.head() >= self.limit()
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
        putting.set_limit(limit);
        self.puts.limit.store(limit, Ordering::Relaxed);
        self.getting().set_limit(limit);
    }

    /// Counts one task done, if it is certain that it was not done and is not the last. Whether it did; else it is for
    /// [`last_task_done`](Self::last_task_done).
    #[inline]
    pub(super) fn task_done_plainly(&self) -> bool {
        let mut done = Done::from_word(self.gets.done.load(Ordering::Relaxed));
        // What was got was put.
        while done.count() + usize::from(done.is_joined()) < self.head() {
            let next = done.plus(1).to_word();
            match self.gets.done.compare_exchange_weak(done.to_word(), next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => done = Done::from_word(now),
            }
        }
        false
    }

    /// Counts one task done, while nothing is put; `None` if all are. Answers how many were put, if all are done now and
    /// somebody waits for it.
    #[expect(clippy::option_option, reason = "whether there was one, and how many were put")]
    pub(super) fn last_task_done(&self) -> Option<Option<usize>> {
        let putting = self.putting();
        let puts = self.own_tail(&putting).count();
        let one_more = |done: Done| (done.count() < puts).then(|| done.plus(1));
        let done = self.change_done(one_more)?;
        Some((done.is_joined() && done.count() == puts).then_some(puts))
    }

    /// Changes what is done, and answers what it is now, unless `change` answers `None`. Who calls this holds the putting
    /// end, as does who looks how much is done: that orders them.
    fn change_done(&self, change: impl Fn(Done) -> Option<Done>) -> Option<Done> {
        let change = |word| change(Done::from_word(word));
        let next = |word| change(word).map(Done::to_word);
        self.gets.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().and_then(change)
    }

    /// How many tasks are not done, and how many items were ever put.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        let putting = self.putting();
        let puts = self.own_tail(&putting).count();
        let done = Done::from_word(self.gets.done.load(Ordering::Acquire));
        (puts - done.count(), puts)
    }

    /// Takes no more items in.
    pub(super) fn end(&self) {
        let mut putting = self.putting();
        self.end_at(&mut putting);
    }

    fn end_at(&self, end: &mut Putting<'_, T>) {
        let tail = self.own_tail(end).ended();
        self.come_to(end, tail, None);
    }

    /// Takes all items out at once and counts them done. More can have been reported done than were got. Answers also how
    /// many were put, if all are done now: more may be put as soon as the ends are left.
    pub(super) fn clear(&self, ends: bool) -> (Discarded<T>, Option<usize>) {
        let fresh = Segment::new();
        let mut putting = self.putting();
        let mut getting = self.getting();
        if ends {
            self.end_at(&mut putting);
        }
        let tail = self.own_tail(&putting);
        let items = self.own_head(&getting)..tail.count();
        let cleared = |done: Done| done.plus(items.len().min(items.end - done.count()));
        let done = self.change_done(|done| Some(cleared(done)));
        let all_done_at = done.is_some_and(|done| done.count() == items.end).then_some(items.end);
        let first = std::mem::replace(&mut getting.segment, fresh);
        putting.segment = fresh;
        getting.tail_seen = items.end;
        getting.came_to(items.end);
        self.show_head(&getting, items.end);
        putting.came_to(tail);
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
