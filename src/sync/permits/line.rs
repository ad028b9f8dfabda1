//! Those who lack permits: their line, how they wait, and who is called. The words and invariants are in `permits`.

use super::{Permits, WAITERS, balance, give, has_waiters, spare, take};
use crate::primitive::{
    Calls, Dismissed, Latch, LatchGuard, Left, Lined, Spin, WaitList, Waiting, const_on_the_machine, current,
    has_passed,
};
use crate::sys::clock::Deadline;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the first in line may be overtaken, and how often at most permits are kept for it.
pub(super) const FAIR_AFTER: Duration = Duration::from_millis(1);

/// How many times an acquirer yields before it lines up.
const YIELDS: u32 = 7;

pub(crate) struct Line {
    pub(super) waiters: WaitList<Need>,
    /// Permits that called waiters need and have not looked for yet.
    pub(super) coming: usize,
    /// Permits taken off the balance in advance, for the first of those on their way and in line.
    pub(super) debt: usize,
    /// When the next debt may be made.
    next_fair: Option<Instant>,
    /// Not in line: called by somebody else, to be woken by the next release.
    to_ring: Calls,
}

pub(crate) struct Need {
    need: usize,
    /// Called with its permits, that were taken for it.
    served: bool,
    since: Instant,
    /// Whether it was called and then found too few.
    overtaken: bool,
}

impl Permits {
    /// Takes `need` permits if there are as many before `deadline`, waiting for them.
    #[cold]
    pub(in crate::sync) fn acquire_slow(&self, need: usize, deadline: Deadline) -> bool {
        if need > self.limit {
            return wait_in_vain(deadline);
        }
        let mut spin = Spin::then_yield(YIELDS);
        // Behind a line there is little to hope for: whoever releases wakes its first.
        while spin.again() && !has_waiters(self.word.load(Ordering::Relaxed)) {
            if self.try_acquire(need) {
                return true;
            }
        }
        let mut waiting = Waiting::new(self);
        let mut line = self.line.lock();
        if self.take_or_announce(need, 0, &line) {
            return true;
        }
        waiting.enlist(&mut line, Need { need, served: false, since: Instant::now(), overtaken: false });
        drop(line);
        loop {
            let (mut line, was_called) = waiting.park(deadline);
            if was_called {
                let wish = waiting.need_mut(&mut line);
                if wish.served {
                    waiting.leave(&mut line);
                    return true;
                }
                wish.overtaken = true;
                line.coming -= need;
                let debt = line.debt;
                if self.take_or_announce(need, debt, &line) {
                    waiting.leave(&mut line);
                    if debt > 0 {
                        line.debt = 0;
                        self.serve(line).ring();
                    }
                    return true;
                }
                if !has_passed(deadline) {
                    waiting.go_back(&mut line);
                    self.serve(line).ring();
                    continue;
                }
            }
            waiting.leave(&mut line);
            self.serve(line).ring();
            return false;
        }
    }

    /// Takes `need` permits, of which `debt` were taken in advance, or sees to it that whoever gives some back looks at the
    /// line because there are too few.
    fn take_or_announce(&self, need: usize, debt: usize, line: &Line) -> bool {
        let missing = need.cast_signed() - debt.cast_signed();
        let others = if line.waiters.is_empty() { 0 } else { self.flag(line) };
        let before = self.update(Ordering::Acquire, |word| {
            if balance(word) >= missing { take(word, missing) | others } else { word | self.flag(line) }
        });
        balance(before) >= missing
    }

    /// Calls who can go, restores invariants 1 and 2, and leaves the line. Whoever is called is to be rung.
    pub(super) fn serve(&self, mut line: LatchGuard<'_, Line>) -> Calls {
        let mut calls = std::mem::take(&mut line.to_ring);
        while let Some(&mut Need { need, .. }) = line.waiters.front_mut() {
            if line.debt > 0 {
                // Those who are on their way are older.
                if line.coming > 0 {
                    break;
                }
                self.owe(&mut line, need);
                if balance(self.word.load(Ordering::Acquire)) < 0 {
                    break;
                }
                line.debt = 0;
                line.serve_first();
            } else if need + line.coming <= spare(self.word.load(Ordering::Relaxed)) {
                line.coming += need;
            } else if line.is_first_overdue() {
                self.owe(&mut line, need);
                continue;
            } else {
                break;
            }
            line.waiters.call_front(&mut calls);
        }
        if line.waiters.is_empty() && line.coming == 0 {
            // Whoever the debt was made for has left.
            self.owe(&mut line, 0);
        }
        if line.debt == 0 && (line.waiters.is_empty() || self.flag(&line) == 0) {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
        calls
    }

    #[cold]
    pub(super) fn look_at_line(&self) {
        self.serve(self.line.lock()).ring();
    }

    /// Makes the line's debt `debt`.
    fn owe(&self, line: &mut Line, debt: usize) {
        let more = debt.cast_signed() - line.debt.cast_signed();
        if more != 0 {
            self.update(Ordering::Relaxed, |word| take(word, more) | owed(debt));
            line.debt = debt;
        }
    }

    /// What the word says about somebody in line.
    fn flag(&self, line: &Line) -> usize {
        if line.coming < self.limit { WAITERS } else { owed(line.debt) }
    }

    /// Calls those who were dismissed elsewhere, and rings them at the next release; answers them if no permit is out, so
    /// that none need come.
    pub(in crate::sync) fn call_and_ring_at_release(&self, dismissed: Dismissed) -> Dismissed {
        // Whoever is called is to be seen waiting for the lock, not asleep as if for its call.
        if cfg!(all(feature = "deadlock-detection", not(crewkit_loom))) {
            return dismissed;
        }
        let mut line = self.line.lock();
        // All that is written by those who were called is ordered by the permit that they will take.
        let before = self.update(Ordering::Relaxed, |word| if spare(word) == 0 { word | WAITERS } else { word });
        if spare(before) > 0 {
            return dismissed;
        }
        line.to_ring.append(dismissed.call());
        Dismissed::default()
    }
}

/// What the word says about a debt: who gives permits back and asks for the limit is to know of those that it hides.
pub(super) const fn owed(debt: usize) -> usize {
    if debt > 0 { WAITERS } else { 0 }
}

/// Waits for more permits than there can ever be, in nobody's way.
fn wait_in_vain(deadline: Deadline) -> bool {
    let parker = current();
    while !has_passed(deadline) {
        parker.park(deadline);
    }
    false
}

impl Line {
    const_on_the_machine! {
        pub(super) fn new() -> Self {
            Self { waiters: WaitList::new(), coming: 0, debt: 0, next_fair: None, to_ring: Calls::new() }
        }
    }

    /// Whether the first in line waited long enough, and nobody else was preferred for as long; if so, it is now. A model
    /// has no clock: there, whoever was overtaken waited long enough.
    fn is_first_overdue(&mut self) -> bool {
        let Some(first) = self.waiters.front_mut() else { return false };
        if cfg!(crewkit_loom) {
            return first.overtaken;
        }
        let now = Instant::now();
        let is_overdue = now.duration_since(first.since) >= FAIR_AFTER && self.next_fair.is_none_or(|at| now >= at);
        if is_overdue {
            self.next_fair = Some(now + FAIR_AFTER);
        }
        is_overdue
    }

    fn serve_first(&mut self) {
        if let Some(first) = self.waiters.front_mut() {
            first.served = true;
        }
    }
}

impl Lined for Permits {
    type State = Line;
    type Need = Need;

    fn mutex(&self) -> &Latch<Line> {
        &self.line
    }

    fn line(line: &mut Line) -> &mut WaitList<Need> {
        &mut line.waiters
    }

    /// A waiter left without its permits: they go to the next, served or only called for.
    fn forsake(&self, mut line: LatchGuard<'_, Line>, Left { was_called, need: left, .. }: Left<Need>) {
        let mut back = 0;
        if left.served {
            back = left.need;
        } else if was_called {
            line.coming -= left.need;
        }
        self.update(Ordering::Relaxed, |word| {
            // Less only if somebody released on behalf of this waiter after it was served.
            give(word, back.min(self.room(word, line.debt))) | WAITERS
        });
        self.serve(line).ring();
    }
}
