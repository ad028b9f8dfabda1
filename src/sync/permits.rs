//! The one algorithm behind `Lock` (one permit) and `Semaphore`: a word of permits, and a line of those who lack some.
//!
//! # State
//!
//! ```text
//!   word:  | balance, 63 bits, signed | WAITERS |        balance = permits that are here - permits that are owed
//! ```
//!
//! | Part | Who changes it |
//! |---|---|
//! | balance, down | anybody who finds enough (barging), or, by one, who [looks only afterwards](Permits::acquire_one) |
//! | balance, up | who has a permit to give, at any time; who must ask for the limit first, only with `line` while `WAITERS` is set |
//! | `WAITERS` | only who holds `line`; whoever gives back while it is set goes to the line afterwards |
//! | `line.coming` | permits that called waiters need and have not looked for yet |
//! | `line.debt` | permits taken off the balance in advance, for the first of those on their way and in line |
//!
//! A waiter in line is `Waiting`; it is called because the permits it needs lie in the word (it must still be quick
//! enough to take them), or because a debt made for it is paid: then it is `served`, and has them already.
//!
//! # Invariants, whenever `line` is free
//!
//! 1. `WAITERS` is set exactly if there is somebody to be rung, or a debt, or somebody in line and not as many permits
//!    `coming` as there can be (then whoever is on its way looks at the line itself).
//! 2. The first in line lacks permits: the balance is less than what it and those on their way need; or it waits behind a
//!    debt, and that is for one who is on its way, or not paid. So permits never lie about while somebody who could have
//!    them sleeps, and nobody else is called for a permit that somebody is on its way to.
//! 3. Balance, debts, permits of served waiters and permits out add up to what was put in.
//!
//! A release cannot slip past a waiter: the waiter sets `WAITERS` in the same compare-and-swap that finds too few
//! permits, and a release that comes after it sees the bit.
//!
//! # Looking afterwards
//!
//! A balance below zero says that each permit given back is spoken for. So a permit can be taken by one `fetch_sub`: who
//! finds that there was none has made a debt of one, which it must [settle](Permits::settle): it takes it back while
//! the balance is below zero, and has its permit as soon as it is not. Somebody else who meanwhile finds no permit is
//! told the truth: with `n` of such debts and fewer than `n` permits, all of these go to those who made the debts. That
//! holds for one permit at a time only, and it blurs how many are here, so that it is not done where a limit is asked for.
//!
//! # Those who would wake too early
//!
//! Who was called elsewhere and needs a permit to go on (a waiter on a condition needs the lock, which its notifier
//! mostly holds) would only wake to sleep again. It is left in `to_ring`, and the next release rings it.
//!
//! # Fairness
//!
//! Barging keeps a contended lock fast, and would starve waiters. So once in [`FAIR_AFTER`](line::FAIR_AFTER) a debt is made for the first
//! in line, if it has waited as long: from then on nobody can take a permit before it, until it has what it needs. That
//! is parking_lot's eventual fairness; for `need > 1` it also keeps small acquirers from starving a large one.
//!
//! # Orderings
//!
//! Giving back releases, taking acquires, and so does finding a debt paid. Every change of the word is a
//! read-modify-write, so each release continues the sequences of those before it, and a taker sees all that happened
//! before any of the permits it takes; what is made and taken back in between, debts and `WAITERS`, is relaxed. What a
//! served waiter is to see passes through the latch of `line`.
//!
//! # Speed, and what was tried
//!
//! On two cores, in ns for one acquire and release, the peers of `benches/` in the same run beside them:
//!
//! | Design | A semaphore alone | 4 threads, 2 permits | A lock alone |
//! |---|---|---|---|
//! | look and compare-and-swap, twice (a lock: without the look) | 30, Mutex + Condvar 43 | 51, 68 to 76 | 20.1, std 18.7 |
//! | look and compare-and-swap, then `fetch_add` | 26 | 43 | |
//! | compare-and-swap, then `swap`, as std does | | | 22.3, std 22.2 |
//! | `fetch_sub`, then `fetch_add`; a lock: compare-and-swap, then `fetch_add` | 17.5 to 20, 37 to 42 | 31 to 41, 73 to 95 | 23.3, std 23.9 |
//!
//! What is left of a semaphore's time is that of its two locked instructions: a bare `fetch_sub` and `fetch_add` of a
//! word take as long, alone (20) and between two cores (27 to 47). The look cost as much as it did because it waits for
//! the locked instruction before it. A lock has as many as std's; in a dozen runs std took between 0.89 and 1.08 times as
//! long, by where the memory of each lay, and with `swap` in its place between 0.91 and 1.16 times: that is not to be had
//! here as it would wipe out debts. The word stands beside the value since a second cache line cost 1.5 ns.
//!
//! The benches called some of the locks and inlined others, by where the few lines around them lay; with all inlined a lock
//! alone reaches 0.93 to 0.98 of std's speed.
//!
//! The kernel has little part in it: 4 threads with 2 permits made 51 futex calls in about six million operations, and a
//! lock alone makes none; all of its samples are at the two locked instructions.

mod line;

use crate::primitive::{AtomicUsize, Calls, Latch, LatchGuard, const_on_the_machine};
use crate::sys::clock::Deadline;
use line::{Line, owed};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most permits that a word can hold. Three bits are left: `WAITERS`, the sign, and one so that as many threads as
/// there can be may each add one too many before they look.
pub(super) const MAX_PERMITS: usize = usize::MAX >> 3;

const WAITERS: usize = 1;
const ONE: usize = 2;

const fn balance(word: usize) -> isize {
    word.cast_signed() >> 1
}

/// Permits that anybody may take.
const fn spare(word: usize) -> usize {
    let balance = balance(word);
    if balance > 0 { balance.cast_unsigned() } else { 0 }
}

/// The word with a balance that is smaller by `permits`.
const fn take(word: usize, permits: isize) -> usize {
    word.wrapping_sub((permits << 1).cast_unsigned())
}

/// The word with a balance that is larger by `permits`.
const fn give(word: usize, permits: usize) -> usize {
    word.wrapping_add(permits * ONE)
}

const fn has_waiters(word: usize) -> bool {
    word & WAITERS != 0
}

/// Permits, and who waits for some. [See the module](self). The word stands last, so that what a lock guards begins in the
/// same cache line.
#[repr(C)]
pub struct Permits {
    /// There are never more than so many.
    limit: usize,
    line: Latch<Line>,
    word: AtomicUsize,
}

/// A release would have made more permits than their limit.
#[derive(Debug)]
pub(super) struct TooMany;

/// What becomes of permits beyond the limit.
#[derive(Clone, Copy)]
enum Excess {
    /// None is given back.
    Refused,
    /// As many are given back as there is room for.
    Dropped,
}

impl Permits {
    const_on_the_machine! {
        /// `permits` of them, which is at most `limit`, which is at most [`MAX_PERMITS`].
        pub(super) fn new(permits: usize, limit: usize) -> Self {
            Self { limit, line: Latch::new(Line::new()), word: AtomicUsize::new(permits * ONE) }
        }
    }

    /// Permits that [`try_acquire`](Self::try_acquire) would find now.
    pub(super) fn available(&self) -> usize {
        spare(self.word.load(Ordering::Relaxed)).min(self.limit)
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
        while spare(word) >= need {
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

    /// [`acquire`](Self::acquire) of one permit that looks only afterwards whether there was one. The limit is
    /// [`MAX_PERMITS`].
    #[inline]
    pub(super) fn acquire_one(&self) {
        if spare(self.word.fetch_sub(ONE, Ordering::Acquire)) == 0 && !self.settle() {
            self.acquire_slow(1, Deadline::NEVER);
        }
    }

    /// Takes back a debt of one; or finds it paid, and has the permit.
    #[cold]
    fn settle(&self) -> bool {
        let take_back = |word| (balance(word) < 0).then(|| give(word, 1));
        let Ok(before) = self.word.fetch_update(Ordering::Relaxed, Ordering::Acquire, take_back) else { return true };
        // It was the last debt but the line's, which looked unpaid because of this one.
        if balance(before) == -1 && has_waiters(before) {
            self.look_at_line();
        }
        false
    }

    /// Gives back a permit that is out. The limit is [`MAX_PERMITS`].
    #[inline]
    pub(super) fn give_back_one(&self) {
        let before = self.word.fetch_add(ONE, Ordering::Release);
        if has_waiters(before) || spare(before) >= MAX_PERMITS {
            self.gave_back_one();
        }
    }

    #[cold]
    fn gave_back_one(&self) {
        // Somebody else had added as many as there can be: the one that was out was among them already.
        self.update(Ordering::Relaxed, |word| if spare(word) > MAX_PERMITS { word - ONE } else { word });
        self.look_at_line();
    }

    /// Gives back `count` permits that are out, or as many as there is room for, if others added some in their place.
    pub(super) fn give_back_many(&self, count: usize) {
        // Nothing is refused.
        let _ = self.add(count, Excess::Dropped).map(Calls::ring);
    }

    /// Adds `count` permits, unless there would be more than the limit.
    pub(super) fn release(&self, count: usize) -> Result<(), TooMany> {
        self.add(count, Excess::Refused).map(Calls::ring)
    }

    /// Gives back the one permit of a lock, if it is out; whoever is called is to be rung.
    #[cfg(all(feature = "deadlock-detection", not(crewkit_loom)))]
    pub(super) fn begin_release(&self) -> Result<Calls, TooMany> {
        self.add(1, Excess::Refused)
    }

    /// The same, for the one who has waited longest, if anybody waits: nobody else can take it.
    pub(super) fn begin_release_fair(&self) -> Result<Calls, TooMany> {
        let line = self.line.lock();
        let is_waited_for = line.coming > 0 || !line.waiters.is_empty();
        let debt = if is_waited_for { line.debt.max(1) } else { line.debt };
        self.add_in_line(line, 1, Excess::Refused, debt)
    }

    fn add(&self, count: usize, excess: Excess) -> Result<Calls, TooMany> {
        let mut word = self.word.load(Ordering::Relaxed);
        while !has_waiters(word) {
            let count = excess.of(count, self.limit.saturating_sub(spare(word)))?;
            match self.word.compare_exchange_weak(word, give(word, count), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(Calls::new()),
                Err(now) => word = now,
            }
        }
        let line = self.line.lock();
        let debt = line.debt;
        self.add_in_line(line, count, excess, debt)
    }

    /// Adds `count` permits, and makes the line's debt `debt`, which is no smaller than it is.
    #[cold]
    fn add_in_line(
        &self,
        mut line: LatchGuard<'_, Line>,
        count: usize,
        excess: Excess,
        debt: usize,
    ) -> Result<Calls, TooMany> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let count = excess.of(count, self.room(word, line.debt))?;
            let next = take(give(word, count), (debt - line.debt).cast_signed()) | owed(debt);
            match self.word.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        line.debt = debt;
        Ok(self.serve(line))
    }

    /// How many permits can be added, with a debt of the line's of `debt`.
    fn room(&self, word: usize, debt: usize) -> usize {
        let here = balance(word).saturating_add_unsigned(debt).max(0);
        self.limit.saturating_sub(here.cast_unsigned())
    }

    /// Replaces the word by `next` of it, and answers what it was.
    fn update(&self, order: Ordering, next: impl Fn(usize) -> usize) -> usize {
        let (Ok(before) | Err(before)) = self.word.fetch_update(order, Ordering::Relaxed, |word| Some(next(word)));
        before
    }
}

/// A lock's fast paths: a watched lock is slow.
#[cfg(not(all(feature = "deadlock-detection", not(crewkit_loom))))]
impl Permits {
    /// [`acquire`](Self::acquire) for a word that is most often exactly one permit.
    #[inline]
    pub(super) fn acquire_only(&self) {
        if self.word.compare_exchange_weak(ONE, 0, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.acquire_slow(1, Deadline::NEVER);
        }
    }

    /// Gives back the permit, which is out.
    #[inline]
    pub(super) fn give_back(&self) {
        if has_waiters(self.word.fetch_add(ONE, Ordering::Release)) {
            self.look_at_line();
        }
    }

    /// Gives back the permit, if it is out.
    #[inline]
    pub(super) fn release_only(&self) -> Result<(), TooMany> {
        match self.word.compare_exchange(0, ONE, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(_) => self.release(1),
        }
    }

    /// Gives back the permit, if it is out, to the one who has waited longest, if anybody waits: nobody else can take it.
    pub(super) fn release_fair(&self) -> Result<(), TooMany> {
        self.begin_release_fair().map(Calls::ring)
    }
}

impl Excess {
    /// How many of `count` permits are added where there is `room`.
    fn of(self, count: usize, room: usize) -> Result<usize, TooMany> {
        match self {
            _ if count <= room => Ok(count),
            Self::Refused => Err(TooMany),
            Self::Dropped => Ok(room),
        }
    }
}
