//! A map: workers take chunks from one iterator, and put results straight into their places.
//!
//! ```text
//!   source, locked:   items ──► │ next chunk │         slab: │ R │ R │ R │   chunk's places  │ … │
//!                                     │                                            ▲
//!                                     └───────► a worker, without the lock ────────┘
//! ```
//!
//! Chunks adapt to the work (`pace.rs`): a worker begins with one item, and takes eight times as many as long as that is a
//! matter of microseconds. So tiny items cost one lock for thousands of them, long ones are shared out one by one, and
//! nothing needs to be known about either in advance. Near the end of a map of known length chunks become shorter, so
//! that the workers finish together.
//!
//! An item that panics fails alone: its chunk goes on behind it.
//!
//! # Parts
//!
//! To hand an item over costs: it is written to memory and read back, some 0.2 ns where chunks are long, as much as a tiny
//! call. An iterator that can be cut (`cut.rs`: a range) is asked for no items under the lock. A chunk of it is a part cut
//! off, which its worker runs in one loop that the compiler sees whole.
//!
//! # The rest
//!
//! Of any other iterator, a rest of items that take hardly longer than to be handed over, and that are done sooner than
//! others would be of use, one worker does alone. It takes the iterator out of the source and calls the function with one
//! item after the other as they come, in such a loop. Others who come leave, for other jobs. If the items turn out to be
//! longer than they were, it puts the iterator back and calls the others in again.
//!
//! # Speed, and what was tried
//!
//! Squares of 100,000 numbers, 2 workers, quartiles of hundreds of maps in turn with rayon's `par_iter`, in µs. The two
//! processors share a core, so that the instructions of all workers count (0.59 ns an item in chunks, 0.37 ns in one
//! loop), and their state changes from minute to minute: compare within a run only.
//!
//! | Design | first | median | rayon | |
//! |---|--:|--:|--:|---|
//! | chunks of 1,024 items, at least 2 µs | 100 | 113 | 85, 116 | |
//! | chunks of 8,192 items, at least 2 or 5 µs, an eighth or a quarter of what is left | 75 | 85 | | 16 to 28 chunks |
//! | the same, and nobody sleeps for the lock | 74 | 83 | | so it is not the lock |
//! | the rest is done by one worker (as iterators that cannot be cut) | 116 to 158 | 160 to 212 | 72 to 92, 94 to 113 | 57, 62 in a better minute |
//! | parts of a range (this) | 68 to 84 | 87 to 101 | 72 to 92, 94 to 113 | |
//! | the caller alone, which is no map | 43 | 45 | | in a better minute |
//!
//! Parts, rayon's median time by theirs: 1,000 squares 0.84 to 0.89, 10,000 1.15, 100,000 1.08 to 1.11, a million 1.1;
//! 100,000 calls whose cost rises from nothing to 70 ns 1.0, with 1,000 long ones at the beginning 1.4, at the end 0.9:
//! there, who took the last part has them all. A map makes 2 calls of futex and 0.5 of sched_yield, rayon's 4.3 and
//! 3.6. Two thirds of the samples are in the loop, of the others half in the kernel's switches between threads. What is
//! left of a short map is three wake-ups, of two workers and of the caller, each 4 to 20 µs here.
//!
//! By the hour it is more or less than rayon's: the benches saw 1.05 to 1.26 of rayon's speed one day, and 0.67 in a whole run,
//! 0.59 to 1.24 in nine of this group alone (0.79 in the middle) on another, when rayon took 56 to 78 µs and this 58 to 116.
//!
//! # Safety
//!
//! 1. The first `filled` places of a [`Segment`] were given out, each to one chunk or rest.
//! 2. Once the workers have left, each of these was written, but for those whose index stands in `errors`: for each item
//!    [`Mapping::run_chunk`] and [`Mapping::run_piece`] do one or the other.
//! 3. The items of a chunk stand in a vector of length 0 while it is run; `done` of them were moved out, in order.
//! 4. [`draw`] counts an item when it has written it, before it asks for the next one.

#![expect(unsafe_code, reason = "results are written in place, by several threads")]

use std::any::Any;
use std::cell::Cell;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::cut;
use super::engine::Shared;
use super::outcome::{Outcome, Segment};
use super::pace::{Pace, Short};
use super::part::{self, Part, Shift};
use crate::panics;
use crate::pool::error::TaskError;
use crate::sys::clock::Deadline;

/// The most bytes of items that are taken at once: they should still be in a near cache when they are used.
const CHUNK_BYTES: usize = 64 << 10;

/// How a map is to be done.
#[derive(Clone, Copy)]
pub(super) struct Terms<'m> {
    /// So many items at once, whatever they cost.
    pub(super) chunksize: Option<usize>,
    /// Otherwise, which rest is done by one worker.
    pub(super) short: Short,
    /// When no further item is to be begun.
    pub(super) begin_by: Deadline,
    /// Set when no further item is to be begun.
    pub(super) cancelled: Option<&'m AtomicBool>,
}

struct Mapping<'m, F, I, R> {
    shared: &'m Shared,
    f: &'m F,
    terms: Terms<'m>,
    workers: usize,
    source: Mutex<Source<'m, I, R>>,
}

struct Source<'m, I, R> {
    /// `None` while a worker does the rest.
    items: Option<I>,
    exhausted: bool,
    /// The index of the next item.
    next: usize,
    /// The places that were not given out.
    places: &'m mut [MaybeUninit<R>],
    filled: usize,
    /// For items beyond what the iterator promised.
    beyond: Vec<Segment<R>>,
    errors: Vec<(usize, TaskError)>,
    /// What the iterator panicked with.
    panic: Option<Box<dyn Any + Send>>,
}

/// What a worker does next.
enum Turn<'m, I, R> {
    /// It runs a chunk. The index of its first item, and its places, if the iterator had promised as many items.
    Chunk(usize, Option<&'m mut [MaybeUninit<R>]>),
    /// It does what was cut off for it.
    Part(Rest<'m, I, R>),
    /// It does the rest.
    Rest(Rest<'m, I, R>),
    /// It leaves, because somebody does the rest.
    Leave,
    /// Nothing: all items were begun.
    Over,
}

/// What is left of a source, or a part of it, taken out of it.
struct Rest<'m, I, R> {
    items: I,
    next: usize,
    places: &'m mut [MaybeUninit<R>],
}

/// Calls `f` with each item in the workers of `shared`. A panic of the iterator goes on in the caller.
pub(super) fn map<F, A, R, I>(shared: &Arc<Shared>, f: &F, items: I, terms: Terms<'_>) -> Outcome<R>
where
    F: Fn(A) -> R + Sync,
    R: Send,
    I: Iterator<Item = A> + Send,
{
    let promised = match items.size_hint() {
        (low, Some(high)) if low == high => low,
        _ => 0,
    };
    let mut places: Vec<R> = Vec::with_capacity(promised);
    let workers = shared.workers();
    let source = Source {
        items: Some(items),
        exhausted: false,
        next: 0,
        places: &mut places.spare_capacity_mut()[..promised],
        filled: 0,
        beyond: Vec::new(),
        errors: Vec::new(),
        panic: None,
    };
    let mapping = Mapping { shared, f, terms, workers, source: Mutex::new(source) };
    let helpers = workers - usize::from(shared.employs_this_thread());
    if let Err(why) = part::lend(shared, helpers, &|part: &Part| mapping.work(part)) {
        mapping.source.lock().give_up(&why);
    }
    let Source { filled, next: items, mut beyond, mut errors, panic, .. } = mapping.source.into_inner();
    beyond.sort_unstable_by_key(|segment| segment.first);
    errors.sort_unstable_by_key(|(index, _)| *index);
    let segments = [Segment { first: 0, places, filled }].into_iter().chain(beyond).collect();
    let outcome = Outcome { segments, items, errors };
    if let Some(payload) = panic {
        drop(outcome.into_result());
        resume_unwind(payload);
    }
    outcome
}

/// How many items are taken at once, at most.
const fn most<A>() -> usize {
    let items = if size_of::<A>() == 0 { CHUNK_BYTES } else { CHUNK_BYTES / size_of::<A>() };
    if items == 0 { 1 } else { items }
}

impl<'m, F, A, R, I> Mapping<'m, F, I, R>
where
    F: Fn(A) -> R + Sync,
    I: Iterator<Item = A>,
{
    /// Runs chunks until there are none. The body of [`part::lend`].
    fn work(&self, part: &Part) -> Shift {
        let mut pace = Pace::new(self.terms.chunksize, most::<A>(), self.terms.short);
        let (mut chunk, mut calls) = (Vec::new(), 0);
        loop {
            match self.pull(&mut chunk, &pace) {
                Turn::Chunk(first, places) => {
                    part.call_in();
                    let (count, begun) = (chunk.len(), Instant::now());
                    match places {
                        Some(places) => self.run_chunk(first, &mut chunk, places),
                        None => {
                            let mut places = Vec::with_capacity(count);
                            self.run_chunk(first, &mut chunk, places.spare_capacity_mut());
                            self.source.lock().beyond.push(Segment { first, places, filled: count });
                        }
                    }
                    calls += count as u64;
                    pace.note(count, begun.elapsed());
                }
                Turn::Part(Rest { mut items, next, places }) => {
                    let (count, begun) = (places.len(), Instant::now());
                    self.run_piece(next, &mut items, places);
                    calls += count as u64;
                    pace.note(count, begun.elapsed());
                }
                Turn::Rest(rest) => calls += self.run_rest(rest, &mut pace),
                Turn::Leave => return Shift { calls, over: false },
                Turn::Over => return Shift { calls, over: true },
            }
        }
    }

    /// Takes the next chunk, or all that is left.
    fn pull(&self, chunk: &mut Vec<A>, pace: &Pace) -> Turn<'m, I, R> {
        let mut source = self.source.lock();
        let source = &mut *source;
        if source.exhausted {
            return Turn::Over;
        }
        if source.items.is_some()
            && let Some(why) = self.why_not()
        {
            source.give_up(&why);
            return Turn::Over;
        }
        let left = source.places.len();
        let size = pace.share(left, self.workers);
        if let Some(items) = source.items.as_mut().and_then(|items| cut::first(items, size.min(left)))
            && let (next, Some(places)) = source.place(size.min(left))
        {
            source.exhausted = source.places.is_empty();
            return Turn::Part(Rest { items, next, places });
        }
        if let Some(items) = source.items.take_if(|_| pace.is_short(left)) {
            return Turn::Rest(Rest { items, next: source.next, places: mem::take(&mut source.places) });
        }
        let Some(items) = &mut source.items else { return Turn::Leave };
        // In pieces, because a chunksize may be any number.
        while chunk.len() < size && !source.exhausted {
            let piece = (size - chunk.len()).min(most::<A>());
            chunk.reserve(piece);
            let room = &mut chunk.spare_capacity_mut()[..piece];
            let drawn = Cell::new(0);
            source.panic = catch_unwind(AssertUnwindSafe(|| draw(items, room, &drawn))).err();
            source.exhausted = drawn.get() < piece;
            // SAFETY: invariant 4: so many places behind the first ones were written, in order.
            unsafe { chunk.set_len(chunk.len() + drawn.get()) };
        }
        if chunk.is_empty() {
            return Turn::Over;
        }
        let (first, places) = source.place(chunk.len());
        Turn::Chunk(first, places)
    }

    /// Why no further item is to be begun, if so.
    fn why_not(&self) -> Option<TaskError> {
        if self.terms.cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            return Some(TaskError::Cancelled);
        }
        if self.terms.begin_by.is_expired() {
            return Some(TaskError::TimedOut);
        }
        self.shared.has_ended()
    }

    /// Calls the function with each item, and puts each result into its place, or its error among the errors.
    fn run_chunk(&self, first: usize, chunk: &mut Vec<A>, places: &mut [MaybeUninit<R>]) {
        let count = chunk.len();
        // SAFETY: they are moved out one by one, invariant 3.
        unsafe { chunk.set_len(0) };
        let items = chunk.spare_capacity_mut();
        let (items, places) = (&items[..count], &mut places[..count]);
        let done = Cell::new(0);
        while done.get() < count {
            let run = || {
                let begin = done.get();
                let mut progress = Progress { done: begin, seen: &done };
                for (item, place) in items[begin..].iter().zip(&mut places[begin..]) {
                    progress.done += 1;
                    // SAFETY: invariant 3: it was counted as moved out just now, and never before.
                    let item = unsafe { item.assume_init_read() };
                    place.write((self.f)(item));
                }
            };
            if let Err(report) = panics::catch_in_thread(run) {
                self.source.lock().errors.push((first + done.get() - 1, report.into()));
            }
        }
    }

    /// Does what is left of a source, and puts back what there is when it has gone on for too long; how many calls that
    /// were.
    fn run_rest(&self, rest: Rest<'m, I, R>, pace: &mut Pace) -> u64 {
        let Rest { mut items, next: first, mut places } = rest;
        let (mut next, mut thrown, mut exhausted) = (first, None, false);
        while !exhausted && pace.is_short(places.len()) && self.why_not().is_none() {
            let size = pace.piece(places.len());
            let (piece, later) = mem::take(&mut places).split_at_mut(size);
            let begun = Instant::now();
            let (taken, panic) = self.run_piece(next, &mut items, piece);
            pace.note(taken, begun.elapsed());
            (thrown, exhausted) = (panic, taken < size);
            next += taken;
            places = later;
        }
        let mut source = self.source.lock();
        source.items = Some(items);
        source.exhausted = exhausted;
        source.panic = thrown;
        source.places = places;
        source.filled += next - first;
        source.next = next;
        (next - first) as u64
    }

    /// Calls the function with items as they come, until the places are full: how many came, and what the iterator
    /// panicked with, if it did.
    fn run_piece(
        &self,
        first: usize,
        items: &mut I,
        places: &mut [MaybeUninit<R>],
    ) -> (usize, Option<Box<dyn Any + Send>>) {
        let (taken, done) = (Cell::new(0), Cell::new(0));
        loop {
            let Err(caught) = panics::catch_whole(|| straight(items, self.f, places, &taken, &done)) else {
                return (taken.get(), None);
            };
            if taken.get() == done.get() {
                return (taken.get(), Some(caught.into_payload()));
            }
            self.source.lock().errors.push((first + done.get(), caught.report().into()));
            done.set(taken.get());
        }
    }
}

/// How far a loop has come. It has a number of its own, which can be kept in a register; the other one is set when the loop
/// ends, also by a panic.
struct Progress<'a> {
    done: usize,
    seen: &'a Cell<usize>,
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.seen.set(self.done);
    }
}

/// Moves items into places until one of the two ends; `drawn` is how many. Not inlined, so that the optimiser knows that
/// the one is not part of the other: this is a fifth of the cost of a map of tiny items.
#[inline(never)]
fn draw<I: Iterator>(items: &mut I, places: &mut [MaybeUninit<I::Item>], drawn: &Cell<usize>) {
    let mut progress = Progress { done: 0, seen: drawn };
    for place in places {
        let Some(item) = items.next() else { return };
        place.write(item);
        progress.done += 1;
    }
}

/// Goes on behind the first places, of which so many are `done`, until they or the items end. `taken` counts the items that
/// came: one more than are done when the function panics, as many when the iterator does. Not inlined, as [`draw`].
#[inline(never)]
fn straight<I: Iterator, R>(
    items: &mut I,
    f: &impl Fn(I::Item) -> R,
    places: &mut [MaybeUninit<R>],
    taken: &Cell<usize>,
    done: &Cell<usize>,
) {
    let mut took = Progress { done: done.get(), seen: taken };
    let mut progress = Progress { done: done.get(), seen: done };
    for place in &mut places[done.get()..] {
        let Some(item) = items.next() else { return };
        took.done += 1;
        place.write(f(item));
        progress.done += 1;
    }
}

impl<'m, I: Iterator, R> Source<'m, I, R> {
    /// The next index and the places of a chunk that begins there.
    fn place(&mut self, count: usize) -> (usize, Option<&'m mut [MaybeUninit<R>]>) {
        let first = self.next;
        self.next += count;
        if count > self.places.len() {
            // The iterator promised fewer; from here on nothing has a place.
            self.places = &mut [];
            return (first, None);
        }
        let (places, rest) = mem::take(&mut self.places).split_at_mut(count);
        self.places = rest;
        self.filled += count;
        (first, Some(places))
    }

    /// Every item that was not taken ends here.
    fn give_up(&mut self, why: &TaskError) {
        let Some(items) = &mut self.items else { return };
        if mem::replace(&mut self.exhausted, true) {
            return;
        }
        let first = self.next;
        // An iterator that knows how many they are need not be read: it may block.
        let count = || match items.size_hint() {
            (low, Some(high)) if low == high => self.next = self.next.saturating_add(low),
            _ => items.for_each(|_| self.next += 1),
        };
        self.panic = catch_unwind(AssertUnwindSafe(count)).err();
        self.errors.extend((first..self.next).map(|index| (index, why.clone())));
    }
}

#[cfg(test)]
mod tests;
