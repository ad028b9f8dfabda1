//! `Event`: wait until something has happened, as Python's `threading.Event`.
//!
//! # State
//!
//! ```text
//!   word:  | WAITERS | SET |
//! ```
//!
//! | Part | Who changes it |
//! |---|---|
//! | `SET`, on | anybody while `WAITERS` is clear, else only who holds `waiters` |
//! | `SET`, off | anybody, at any time |
//! | `WAITERS` | only who holds `waiters`: set exactly while somebody is in line |
//!
//! A `set` that meets `WAITERS` sets and empties the line in one critical section, in which nobody can line up. A
//! waiter returns because it was called, not because it sees `SET`: so a `set` that is followed by a `clear` at once
//! wakes all that waited (CPython's gh-57711), and nobody that came after it.
//!
//! A waiter does not spin first: pauses that pay across cores are a quarter of a round trip on one core, and what one waits
//! for by an event has seldom happened a moment later.
//!
//! A `set` and the `wait` that it ends, and a `clear`, are five locked operations around the two system calls that the bare
//! futex needs too: on one core that is 0.97 to 1.02 of its speed. Before, when a waiter took the mutex again to learn that
//! it had been called, and parkers were counted, it was seventeen, and 0.94. Apart, two wake-ups from one processor to
//! another take 5 to 15 µs each and vary by more than all else costs: 0.85 to 0.93 (0.90 in two whole runs), as a bare futex
//! that is set before its waiter sleeps now and then saves a whole switch. 84 % of the samples are in the kernel there, 4 %
//! in its entry and 12 % here, in no function more than 2 %; one core: 80, 11 and 9 %. A round trip makes 4.0 futex calls
//! and 2.0 switches apart (2.3 and 2.0 on one core, where who is woken runs at once and its answer finds nobody asleep),
//! which is the least for two threads that sleep. Other designs have nothing to win but a part of those 12 %.
//!
//! A `set` cannot slip past a waiter: `WAITERS` is set in the compare-and-swap that finds `SET` off. Orderings: `set`
//! releases, also when the event was set already, and every end of a `wait` acquires, in the word or through the mutex.

use crate::primitive::{AtomicUsize, Dismissed, Dismissing, Latch, LatchGuard, Stand, WaitList, const_on_the_machine};
use crate::sys::clock::Deadline;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

const SET: usize = 1;
const WAITERS: usize = 2;

const fn is_set(word: usize) -> bool {
    word & SET != 0
}

const fn has_waiters(word: usize) -> bool {
    word & WAITERS != 0
}

/// A flag that threads can wait for: Python's `threading.Event`.
///
/// [`set`](Self::set) wakes all who wait, and every later [`wait`](Self::wait) returns at once until somebody
/// [`clear`](Self::clear)s it. A thread that was waiting when it was set is woken even if it is cleared at once.
///
/// ```
/// use crewkit::sync::Event;
///
/// let ready = Event::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.set());
///     ready.wait();
/// });
/// assert!(ready.is_set());
/// ```
pub struct Event {
    word: AtomicUsize,
    waiters: Latch<WaitList>,
}

impl Event {
    const_on_the_machine! {
        /// An event that is not set.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        pub fn new() -> Self {
            Self { word: AtomicUsize::new(0), waiters: Latch::new(WaitList::new()) }
        }
    }

    /// Whether the event is set: Python's `is_set()`.
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn is_set(&self) -> bool {
        is_set(self.word.load(Ordering::Acquire))
    }

    /// Sets the event and wakes all who wait for it: Python's `set()`. What this thread did before, they see.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn set(&self) {
        let mut word = self.word.load(Ordering::Relaxed);
        while !has_waiters(word) {
            match self.word.compare_exchange_weak(word, word | SET, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
        self.set_and_wake();
    }

    /// Takes the event back: who waits from now on waits for the next [`set`](Self::set). Python's `clear()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn clear(&self) {
        self.word.fetch_and(!SET, Ordering::Relaxed);
    }

    /// Waits until the event is set: Python's `wait()`.
    ///
    /// # Blocking
    ///
    /// Until somebody sets the event; not at all, if it is set.
    pub fn wait(&self) {
        self.wait_until(Deadline::NEVER);
    }

    /// Waits until the event is set, at most for `timeout`; whether it was set. Python's `wait(timeout)`.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`; `Duration::ZERO` only looks.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        if timeout.is_zero() {
            return self.is_set();
        }
        self.wait_until(Deadline::after(timeout))
    }

    /// Whether somebody waits, so that a model can tell a wait that has begun. Only under `cfg(crewkit_loom)`.
    ///
    /// A read-modify-write that changes nothing: of the accesses before a waiter's own, loom looks at the last that is no
    /// load, and would not try a load in both orders.
    #[cfg(crewkit_loom)]
    pub fn has_waiters(&self) -> bool {
        has_waiters(self.word.fetch_or(0, Ordering::AcqRel))
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        self.is_set() || self.wait_slow(deadline)
    }

    #[cold]
    fn set_and_wake(&self) {
        let mut waiters = self.waiters.lock();
        self.update(Ordering::Release, |word| (word | SET) & !WAITERS);
        let mut dismissed = Dismissed::default();
        while waiters.dismiss_front(&mut dismissed) {}
        let calls = dismissed.call();
        drop(waiters);
        calls.ring();
    }

    #[cold]
    fn wait_slow(&self, deadline: Deadline) -> bool {
        let mut stand = Stand::new(self);
        let mut waiters = self.waiters.lock();
        let announce = |word| if is_set(word) { word } else { word | WAITERS };
        if is_set(self.update(Ordering::Acquire, announce)) {
            return true;
        }
        stand.enlist(&mut waiters);
        drop(waiters);
        let Some(waiters) = stand.until_called(deadline) else { return true };
        self.leave(&waiters);
        false
    }

    /// After somebody went away uncalled.
    fn leave(&self, waiters: &WaitList) {
        if waiters.is_empty() {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }

    /// Replaces the word by `next` of it, and answers what it was.
    fn update(&self, order: Ordering, next: impl Fn(usize) -> usize) -> usize {
        let (Ok(before) | Err(before)) = self.word.fetch_update(order, Ordering::Relaxed, |word| Some(next(word)));
        before
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiters = self.waiters.lock().len();
        f.debug_struct("Event").field("is_set", &self.is_set()).field("waiters", &waiters).finish()
    }
}

impl Dismissing for Event {
    type State = WaitList;

    fn latch(&self) -> &Latch<WaitList> {
        &self.waiters
    }

    fn line(waiters: &mut WaitList) -> &mut WaitList {
        waiters
    }

    /// A call needs no passing on: a set calls everybody.
    fn forsake(&self, waiters: LatchGuard<'_, WaitList>, _: bool) {
        self.leave(&waiters);
    }
}
