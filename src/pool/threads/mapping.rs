//! A map: workers take chunks from one iterator, and put results straight into their places.
//!
//! ```text
//!   source, locked:   items ──► │ next chunk │         slab: │ R │ R │ R │   chunk's places  │ … │
//!                                     │                                            ▲
//!                                     └───────► a worker, without the lock ────────┘
//! ```
//!
//! Chunks adapt to the work: a worker begins with one item, takes twice as many as long as a chunk is done in less than
//! [`SHORT`], and half as many when it took longer than [`LONG`]. So tiny items cost one lock for thousands of them, long
//! ones are shared out one by one, and nothing needs to be known about either in advance. Near the end of a map of known
//! length chunks become shorter, so that the workers finish together.
//!
//! An item that panics fails alone: its chunk goes on behind it.
//!
//! # Safety
//!
//! 1. The first `filled` places of a [`Segment`] were given out, each to one chunk.
//! 2. Once the workers have left, each of these was written, but for those whose index stands in `errors`: for each item
//!    [`Mapping::run_chunk`] does one or the other.
//! 3. The items of a chunk stand in a vector of length 0 while it is run; `done` of them were moved out, in order.
//! 4. [`draw`] counts an item when it has written it, before it asks for the next one.

#![expect(unsafe_code, reason = "results are written in place, by several threads")]

use std::any::Any;
use std::cell::Cell;
use std::mem::{self, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::engine::Shared;
use super::part;
use crate::panics;
use crate::pool::error::{MapError, TaskError};
use crate::sys::clock::Deadline;

/// Chunks that take less than the one double; those that take longer than the other are halved.
const SHORT: Duration = Duration::from_micros(50);
const LONG: Duration = Duration::from_micros(200);

/// The most bytes of items that are taken at once: they should still be in a near cache when they are used.
const CHUNK_BYTES: usize = 64 << 10;

/// In a map of known length nobody takes more than its share of what is left, divided by this.
const SHARES: usize = 4;

/// How a map is to be done.
#[derive(Clone, Copy)]
pub(super) struct Terms<'m> {
    /// So many items at once, whatever they cost.
    pub(super) chunksize: Option<usize>,
    /// When no further item is to be begun.
    pub(super) begin_by: Deadline,
    /// Set when no further item is to be begun.
    pub(super) cancelled: Option<&'m AtomicBool>,
}

/// What came of a map, apart by kind: nearly always there are no errors, and every result is in its place.
pub(super) struct Outcome<R> {
    /// Together they have the results of all items that began, in order. The first one is for what the iterator promised.
    segments: Vec<Segment<R>>,
    items: usize,
    errors: Vec<(usize, TaskError)>,
}

/// Places for the results of neighbouring items.
struct Segment<R> {
    /// The index of the first of these items.
    first: usize,
    /// Empty: the places are its spare capacity.
    places: Vec<R>,
    filled: usize,
}

struct Mapping<'m, F, I, R> {
    shared: &'m Shared,
    f: &'m F,
    terms: Terms<'m>,
    workers: usize,
    source: Mutex<Source<'m, I, R>>,
}

struct Source<'m, I, R> {
    items: I,
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
        items,
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
    if let Err(why) = part::lend(shared, helpers, &|| mapping.work()) {
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

impl<F, A, R, I> Mapping<'_, F, I, R>
where
    F: Fn(A) -> R + Sync,
    I: Iterator<Item = A>,
{
    /// Runs chunks until there are none; how many calls that were. The body of [`part::lend`].
    fn work(&self) -> u64 {
        let mut size = self.terms.chunksize.unwrap_or(1);
        let (mut chunk, mut calls) = (Vec::new(), 0);
        while let Some((first, places)) = self.pull(&mut chunk, size) {
            calls += chunk.len() as u64;
            let begun = Instant::now();
            match places {
                Some(places) => self.run_chunk(first, &mut chunk, places),
                None => {
                    let (filled, mut places) = (chunk.len(), Vec::with_capacity(chunk.len()));
                    self.run_chunk(first, &mut chunk, places.spare_capacity_mut());
                    self.source.lock().beyond.push(Segment { first, places, filled });
                }
            }
            if self.terms.chunksize.is_none() {
                let took = begun.elapsed();
                size = if took < SHORT { (size * 2).min(most::<A>()) } else { size };
                size = if took > LONG { (size / 2).max(1) } else { size };
            }
        }
        calls
    }

    /// Takes the next chunk: the index of its first item, and its places, if the iterator had promised as many items.
    fn pull<'a>(&self, chunk: &mut Vec<A>, size: usize) -> Option<(usize, Option<&'a mut [MaybeUninit<R>]>)>
    where
        Self: 'a,
    {
        let mut source = self.source.lock();
        if source.exhausted {
            return None;
        }
        if let Some(why) = self.why_not() {
            source.give_up(&why);
            return None;
        }
        let size = match (self.terms.chunksize, source.places.len()) {
            (Some(size), _) => size,
            (None, 0) => size,
            (None, left) => size.min((left / (SHARES * self.workers)).max(1)),
        };
        // In pieces, because a chunksize may be any number.
        while chunk.len() < size && !source.exhausted {
            let piece = (size - chunk.len()).min(most::<A>());
            chunk.reserve(piece);
            let room = &mut chunk.spare_capacity_mut()[..piece];
            let drawn = Cell::new(0);
            source.panic = catch_unwind(AssertUnwindSafe(|| draw(&mut source.items, room, &drawn))).err();
            source.exhausted = drawn.get() < piece;
            // SAFETY: invariant 4: so many places behind the first ones were written, in order.
            unsafe { chunk.set_len(chunk.len() + drawn.get()) };
        }
        (!chunk.is_empty()).then(|| source.place(chunk.len()))
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
        if mem::replace(&mut self.exhausted, true) {
            return;
        }
        let first = self.next;
        // An iterator that knows how many they are need not be read: it may block.
        let count = || match self.items.size_hint() {
            (low, Some(high)) if low == high => self.next = self.next.saturating_add(low),
            _ => self.items.by_ref().for_each(|_| self.next += 1),
        };
        self.panic = catch_unwind(AssertUnwindSafe(count)).err();
        self.errors.extend((first..self.next).map(|index| (index, why.clone())));
    }
}

impl<R> Outcome<R> {
    /// All results, or the first error and the results of all the others.
    pub(super) fn into_result(self) -> Result<Vec<R>, MapError<R>> {
        let Some(first) = self.errors.first() else { return Ok(self.into_all()) };
        let (index, error) = first.clone();
        Err(MapError { index, error, results: self.into_some().0 })
    }

    /// A result for each item.
    pub(super) fn into_results(self) -> Vec<Result<R, TaskError>> {
        let (results, errors) = self.into_some();
        let mut errors = errors.into_iter().map(|(_, error)| error);
        // Each item has a result or an error, and both are in order.
        let mut error = || errors.next().unwrap_or(TaskError::Taken);
        results.into_iter().map(|result| result.ok_or_else(&mut error)).collect()
    }

    /// The results, where there are no errors.
    fn into_all(self) -> Vec<R> {
        debug_assert!(self.errors.is_empty());
        let filled = self.segments.into_iter().map(|Segment { mut places, filled, .. }| {
            // SAFETY: invariants 1 and 2; there are no errors.
            unsafe { places.set_len(filled) };
            places
        });
        filled
            .reduce(|mut all, mut more| {
                all.append(&mut more);
                all
            })
            .unwrap_or_default()
    }

    /// The results by index, and the errors.
    fn into_some(self) -> (Vec<Option<R>>, Vec<(usize, TaskError)>) {
        let mut results: Vec<Option<R>> = Vec::with_capacity(self.items);
        let mut failed = self.errors.iter().map(|(index, _)| *index).peekable();
        for Segment { first, mut places, filled } in self.segments {
            let places = places.spare_capacity_mut();
            for (index, place) in (first..).zip(&places[..filled]) {
                let has_result = failed.next_if_eq(&index).is_none();
                // SAFETY: invariants 1 and 2; this one is moved out here only, and its vector stays empty.
                results.push(has_result.then(|| unsafe { place.assume_init_read() }));
            }
        }
        results.resize_with(self.items, || None);
        (results, self.errors)
    }
}
