//! The one algorithm behind `Lock` (one permit) and `Semaphore`: a word of permits, and a line of those who lack some.
//!
//! # State
//!
//! ```text
//!   word:  | permits, 63 bits | WAITERS |
//! ```
//!
//! | Part | Who changes it |
//! |---|---|
//! | permits, down | anybody, at any time, if there are enough (barging) |
//! | permits, up | anybody while `WAITERS` is clear; while it is set, only who holds `line` |
//! | `WAITERS` | only who holds `line`: set exactly while somebody is in line, or to be rung |
//!
//! A waiter in line is `Waiting`; it is called because the permits it needs lie in the word (it must still be quick
//! enough to take them) or because they were **handed** to it (`held == need`: they never showed in the word).
//!
//! # Invariants, whenever `line` is free
//!
//! 1. `WAITERS` is set exactly if the line or `to_ring` is not empty.
//! 2. The first in line lacks permits (the word has fewer than it misses), or a called waiter is on its way. Each
//!    called waiter takes its permits, or goes back into line, which it only does when the word has too few for it, or
//!    leaves, and then calls whoever can go. So permits never lie about while somebody who could have them sleeps.
//! 3. Permits in the word, permits held by waiters, and permits out add up to what was put in.
//!
//! A release cannot slip past a waiter: the waiter sets `WAITERS` in the same compare-and-swap that finds too few
//! permits, and a release that sees the bit goes through the line.
//!
//! # Those who would wake too early
//!
//! Who was called elsewhere and needs a permit to go on (a waiter on a condition needs the lock, which its notifier
//! mostly holds) would only wake to sleep again. It is left in `to_ring`, and the next release rings it.
//!
//! # Fairness
//!
//! Barging keeps a contended lock fast, and would starve waiters. So once in [`FAIR_AFTER`] the first in line, if it
//! has waited as long, becomes *owed*: from then on permits given back are handed to it first, until it has what it
//! needs. That is parking_lot's eventual fairness; for `need > 1` it also keeps small acquirers from starving a large one.
//!
//! # Orderings
//!
//! Giving back releases, taking acquires. Every change of the word is a read-modify-write, so each release continues
//! the sequences of those before it, and a taker sees all that happened before any of the permits it takes. Permits that
//! are handed pass through the mutex of `line`, after an acquiring take where they came from the word.

use crate::primitive::{
    AtomicUsize, Calls, Left, Lined, Mutex, MutexGuard, Spin, WaitList, Waiting, const_on_the_machine, has_passed,
};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The most permits that a word can hold.
pub(super) const MAX_PERMITS: usize = usize::MAX >> 1;

const WAITERS: usize = 1;
const ONE: usize = 2;

/// How long the first in line may be overtaken, and how often at most permits are handed over.
const FAIR_AFTER: Duration = Duration::from_millis(1);

/// How many times an acquirer yields before it lines up.
const YIELDS: u32 = 7;

const fn permits_in(word: usize) -> usize {
    word >> 1
}

const fn has_waiters(word: usize) -> bool {
    word & WAITERS != 0
}

/// Permits, and who waits for some. [See the module](self).
pub struct Permits {
    word: AtomicUsize,
    /// There are never more than so many.
    limit: usize,
    line: Mutex<Line>,
}

/// A release would have made more permits than their limit.
#[derive(Debug)]
pub(super) struct TooMany;

pub(crate) struct Line {
    waiters: WaitList<Need>,
    /// Permits held by waiters that miss some yet: neither in the word nor out.
    held: usize,
    /// When the next waiter may become owed.
    next_fair: Option<Instant>,
    /// Not in line: called by somebody else, to be woken by the next release.
    to_ring: Calls,
}

pub(crate) struct Need {
    need: usize,
    /// Permits handed over already: none, unless this waiter is owed.
    held: usize,
    owed: bool,
    since: Instant,
    /// Whether it was called and then found too few.
    overtaken: bool,
}

impl Need {
    fn missing(&self) -> usize {
        self.need - self.held
    }

    /// Permits held by a waiter that misses some: its share of [`Line::held`].
    fn partial(&self) -> usize {
        if self.missing() > 0 { self.held } else { 0 }
    }
}

impl Permits {
    const_on_the_machine! {
        /// `permits` of them, which is at most `limit`, which is at most [`MAX_PERMITS`].
        pub(super) fn new(permits: usize, limit: usize) -> Self {
            let line = Line { waiters: WaitList::new(), held: 0, next_fair: None, to_ring: Calls::new() };
            Self { word: AtomicUsize::new(permits * ONE), limit, line: Mutex::new(line) }
        }
    }

    /// Permits that [`try_acquire`](Self::try_acquire) would find now.
    pub(super) fn available(&self) -> usize {
        permits_in(self.word.load(Ordering::Relaxed))
    }

    /// The most there can be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many wait for permits, for people to read.
    pub(super) fn waiters(&self) -> usize {
        self.line.lock().waiters.len()
    }

    /// Takes `need` permits if there are as many.
    #[inline]
    pub(super) fn try_acquire(&self, need: usize) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while permits_in(word) >= need {
            match self.word.compare_exchange_weak(word, word - need * ONE, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Takes `need` permits, waiting for them.
    #[inline]
    pub(super) fn acquire(&self, need: usize) {
        if !self.try_acquire(need) {
            self.acquire_slow(need, Deadline::NEVER);
        }
    }

    /// Takes `need` permits if there are as many within `timeout`; without waiting, if that is zero.
    pub(super) fn acquire_within(&self, need: usize, timeout: Duration) -> bool {
        self.try_acquire(need) || !timeout.is_zero() && self.acquire_slow(need, Deadline::after(timeout))
    }

    /// [`acquire`](Self::acquire) for a word that is most often exactly one permit: a lock's whole fast path.
    #[cfg_attr(
        all(feature = "deadlock-detection", not(crewkit_loom)),
        expect(dead_code, reason = "a watched lock is slow")
    )]
    #[inline]
    pub(super) fn acquire_only(&self) {
        if self.word.compare_exchange_weak(ONE, 0, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.acquire_slow(1, Deadline::NEVER);
        }
    }

    /// [`release`](Self::release) for a word that is most often zero: a lock's.
    #[inline]
    pub(super) fn release_only(&self) -> Result<(), TooMany> {
        match self.word.compare_exchange(0, ONE, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(word) => self.release_from(word, 1),
        }
    }

    /// [`release_only`](Self::release_only), to the first in line, if there is one, whoever else comes.
    pub(super) fn release_fair(&self) -> Result<(), TooMany> {
        let word = self.word.load(Ordering::Relaxed);
        if has_waiters(word) && permits_in(word) < self.limit {
            self.release_to_line(1, true)
        } else {
            self.release_only()
        }
    }

    /// Adds `count` permits, unless there would be more than the limit.
    #[inline]
    pub(super) fn release(&self, count: usize) -> Result<(), TooMany> {
        self.release_from(self.word.load(Ordering::Relaxed), count)
    }

    #[inline]
    fn release_from(&self, mut word: usize, count: usize) -> Result<(), TooMany> {
        loop {
            if count > self.limit - permits_in(word) {
                return Err(TooMany);
            }
            if has_waiters(word) {
                return self.release_to_line(count, false);
            }
            match self.word.compare_exchange_weak(word, word + count * ONE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Rings `calls` at the next release; answers them if no permit is out, so that none need come.
    pub(super) fn ring_at_release(&self, calls: Calls) -> Calls {
        // Whoever is called is to be seen waiting for the lock, not asleep as if for its call.
        if cfg!(all(feature = "deadlock-detection", not(crewkit_loom))) {
            return calls;
        }
        let mut line = self.line.lock();
        // All that is written by those who were called is ordered by the permit that they will take.
        let before = self.update(Ordering::Relaxed, |word| if permits_in(word) == 0 { word | WAITERS } else { word });
        if permits_in(before) > 0 {
            return calls;
        }
        line.to_ring.append(calls);
        Calls::new()
    }

    /// Takes `need` permits if there are as many before `deadline`, waiting for them.
    #[cold]
    pub(super) fn acquire_slow(&self, need: usize, deadline: Deadline) -> bool {
        let mut spin = Spin::then_yield(YIELDS);
        // Behind a line there is little to hope for: whoever releases wakes its first.
        while spin.again() && !has_waiters(self.word.load(Ordering::Relaxed)) {
            if self.try_acquire(need) {
                return true;
            }
        }
        let mut waiting = Waiting::new(self);
        let mut line = self.line.lock();
        if self.take_or_announce(need) {
            return true;
        }
        waiting.enlist(&mut line, Need { need, held: 0, owed: false, since: Instant::now(), overtaken: false });
        loop {
            let was_called;
            (line, was_called) = waiting.sleep(line, deadline);
            if was_called {
                let wish = waiting.need_mut(&mut line);
                wish.overtaken = true;
                if wish.missing() == 0 || self.take_or_announce(need) {
                    waiting.leave(&mut line);
                    return true;
                }
                if !has_passed(deadline) {
                    waiting.go_back(&mut line);
                    continue;
                }
            }
            let left = waiting.leave(&mut line);
            self.forsake(line, left);
            return false;
        }
    }

    /// Takes `need` permits, or sets `WAITERS` because there are too few. `line` is held.
    fn take_or_announce(&self, need: usize) -> bool {
        let before =
            self.update(
                Ordering::Acquire,
                |word| {
                    if permits_in(word) >= need { word - need * ONE } else { word | WAITERS }
                },
            );
        permits_in(before) >= need
    }

    #[cold]
    fn release_to_line(&self, count: usize, is_fair: bool) -> Result<(), TooMany> {
        let mut line = self.line.lock();
        line.let_the_first_be_owed(is_fair);
        let handed = line.waiters.front_mut().filter(|front| front.owed).map_or(0, |front| front.missing().min(count));
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if count > (self.limit - permits_in(word)).saturating_sub(line.held) {
                return Err(TooMany);
            }
            let next = word + (count - handed) * ONE;
            match self.word.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        line.hand_to_the_first(handed);
        self.call_who_can_go(line);
        Ok(())
    }

    /// Restores invariants 1 and 2, leaves the line, and rings.
    fn call_who_can_go(&self, mut line: MutexGuard<'_, Line>) {
        let mut calls = std::mem::take(&mut line.to_ring);
        let mut spare = self.available();
        while let Some(front) = line.waiters.front_mut() {
            if front.owed {
                let taken = self.take_up_to(front.missing());
                line.hand_to_the_first(taken);
                if line.waiters.front_mut().is_some_and(|front| front.missing() > 0) {
                    break;
                }
                spare = self.available();
            } else if front.need <= spare {
                spare -= front.need;
            } else {
                break;
            }
            line.waiters.call_front(&mut calls);
        }
        if line.waiters.is_empty() {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
        drop(line);
        calls.ring();
    }

    /// Takes what there is of `most` permits.
    fn take_up_to(&self, most: usize) -> usize {
        let before = self.update(Ordering::Acquire, |word| word - most.min(permits_in(word)) * ONE);
        most.min(permits_in(before))
    }

    /// Replaces the word by `next` of it, and answers what it was.
    fn update(&self, order: Ordering, next: impl Fn(usize) -> usize) -> usize {
        let (Ok(before) | Err(before)) = self.word.fetch_update(order, Ordering::Relaxed, |word| Some(next(word)));
        before
    }
}

impl Line {
    /// Lets the first in line be owed if it waited long enough, and nobody else was for as long. A model has no clock:
    /// there, whoever was overtaken is owed.
    fn let_the_first_be_owed(&mut self, at_once: bool) {
        let Some(front) = self.waiters.front_mut() else { return };
        if at_once || cfg!(crewkit_loom) {
            front.owed |= at_once || front.overtaken;
            return;
        }
        let now = Instant::now();
        if now.duration_since(front.since) >= FAIR_AFTER && self.next_fair.is_none_or(|at| now >= at) {
            front.owed = true;
            self.next_fair = Some(now + FAIR_AFTER);
        }
    }

    fn hand_to_the_first(&mut self, count: usize) {
        let Some(front) = self.waiters.front_mut() else { return };
        let before = front.partial();
        front.held += count;
        self.held = self.held - before + front.partial();
    }
}

impl Lined for Permits {
    type State = Line;
    type Need = Need;

    fn mutex(&self) -> &Mutex<Line> {
        &self.line
    }

    fn line(line: &mut Line) -> &mut WaitList<Need> {
        &mut line.waiters
    }

    /// A waiter left without its permits: what was handed to it goes to the next.
    fn forsake(&self, mut line: MutexGuard<'_, Line>, Left { need: left, .. }: Left<Need>) {
        line.held -= left.partial();
        if left.held > 0 {
            // Above the limit only if somebody released on behalf of this waiter after it was served.
            let back = |word| word + left.held.min(self.limit - permits_in(word)) * ONE;
            self.update(Ordering::Release, back);
        }
        self.call_who_can_go(line);
    }
}
