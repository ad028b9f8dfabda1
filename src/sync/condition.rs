//! `Condition`: wait for a change of what a lock protects, as Python's `threading.Condition`.
//!
//! # Algorithm
//!
//! A line of waiters of its own, apart from the lock's. A waiter lines up while it holds the lock, lets the lock go,
//! sleeps until it is called or its time is over, when it leaves the line itself, and takes the lock back. Whoever
//! notifies dismisses the first of the line and calls it; it need not come back to the line for that. So a change made
//! under the lock after the waiter looked finds it in line. While the lock is held, by the notifier mostly, those who were
//! called are not woken, only to wait for the lock, but left to whoever releases it (`Permits::call_and_ring_at_release`);
//! parking_lot moves them into the lock's line for the same reason.
//!
//! Invariants, whenever `line` is free:
//!
//! 1. `waiting` is the number in line. It is written under the mutex only, and read without it.
//! 2. All in line came with the lock at `lock`; null if nobody is in line.
//! 3. A notification belongs to one waiter, that in turn belongs to it: whoever is called returns "notified", though its
//!    time be over too, and whoever is not called has left the line before it returns "timed out". A waiter that is
//!    called and unwinds hands its call to the next.
//! 4. Who was dismissed was called.
//!
//! # Orderings
//!
//! What is waited for lies under the lock, which orders it. `waiting` is relaxed: a notifier that holds the lock, or
//! held it after the waiter let go, sees the waiter's number through the lock; for any other there is no "before".
//!
//! # Safety
//!
//! `Line::lock` is a pointer, used while `line` is held and somebody is in line, or was when it was taken. By invariant 2 that
//! waiter is inside `wait_until`, with a borrow of that lock, and it does not return before it has taken `line` to leave it,
//! or, when it was called, has seen that who called it left `line`.
//!
//! # Speed, and what was tried
//!
//! Ping-pong on one core is two system calls and two switches of threads, about nine tenths of the time in the kernel; what
//! can be saved are cycles with caches and predictors that the switch has left cold. So one counts locked operations and
//! instructions, to and fro, for one wait, one notification and the three locks around them (parking_lot: 15, and 10 to 12 %
//! of the samples in user code):
//!
//! | Design | Locked | User share | parking_lot ÷ crewkit |
//! |---|--:|--:|--:|
//! | counted parkers; the woken takes the line to learn that it was called; a mutex around each line | 24 | 19 % | 0.90 to 0.94 |
//! | the token in the parker says so, and the place is taken away by the notifier | 19 | 19 % | 0.90 to 0.94 |
//! | and parkers that last, shared without counting, not behind a `dyn` | 17 | 16 % | 0.92 to 0.95 |
//! | and a latch around each line (this) | 12 | 14 % | 0.92 to 0.96 |
//! | and a lock that nobody waits for gives its permit back by a store, and rings | 11 | 12 % | 0.95 to 0.99 |
//!
//! The last is not to be had any more: others give permits back by adding to the word, which a store would wipe out. With
//! that addition in its place whole runs of the benches gave 0.95 and 1.02.
//!
//! Apart, a round trip is two wake-ups from one processor to another, 5 to 15 µs each in the virtual machine measured, and
//! exactly two switches, for either library: 0.93 to 1.00 (0.95 and 0.99 in whole runs), which is less than one of them
//! differs from itself.
//!
//! A round trip makes 4.0 futex calls apart, and 2.2 on one core, where who is woken runs at once and its answer finds nobody
//! asleep. 79 % of the samples are in the kernel, on one core 11 % in its entry and 10 % here, apart 4 % and 17 %, in no
//! function more than 3 %.

#![expect(unsafe_code, reason = "a notifier is not told the lock that the waiters borrow")]

use super::latch::{Guard, Latch};
use super::permits::Permits;
use super::watch::Place;
use super::{Lock, LockGuard, RLock, RLockGuard};
use crate::primitive::{self, AtomicUsize, Dismissed, Dismissing, LatchGuard, Stand, WaitList, const_on_the_machine};
use crate::sys::clock::Deadline;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

/// Where threads wait until others have changed what a lock protects: Python's `threading.Condition`.
///
/// It stands beside a [`Lock`] or an [`RLock`], and a wait takes that lock's guard: it lets the lock go, wholly, however
/// often an `RLock` was taken, and has it again, as it was, when it returns. Several conditions may share a lock.
///
/// Waiters are called in the order in which they came, [`notify`](Self::notify) calls exactly as many as it says, or all
/// if there are fewer, and nobody else wakes: there are no spurious wake-ups. A notification is for those who wait, and is
/// not kept for those who come later. A waiter whose time is over takes none with it.
///
/// Unlike in Python, notifying does not need the lock. Hold it, though, where the change is made.
///
/// ```
/// use crewkit::sync::{Condition, Lock};
///
/// let ready = Lock::new(false);
/// let changed = Condition::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *ready.lock() = true;
///         changed.notify_all();
///     });
///     let mut guard = ready.lock();
///     changed.wait_while(&mut guard, |ready| !*ready);
///     assert!(*guard);
/// });
/// ```
///
/// All who wait on a condition at a time must wait with one lock, as a mistake there would wake the wrong ones: a wait
/// with another lock panics, or is [`CannotWait::OtherLock`] where it answers a `Result`; in both cases before anything
/// was changed.
///
/// A wait lets others in also under *other* guards that its thread has of the same `RLock<T>`, so there it needs a
/// `T: Sync`.
pub struct Condition {
    waiting: AtomicUsize,
    line: primitive::Latch<Line>,
}

/// Who waits, and with which lock.
pub(crate) struct Line {
    waiters: WaitList,
    /// Not shared: an atomic pointer because it is one that may go to other threads.
    lock: AtomicPtr<Permits>,
}

impl Condition {
    const_on_the_machine! {
        /// A condition that nobody waits for.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        pub fn new() -> Self {
            let line = Line { waiters: WaitList::new(), lock: AtomicPtr::new(ptr::null_mut()) };
            Self { waiting: AtomicUsize::new(0), line: primitive::Latch::new(line) }
        }
    }

    /// Waits until notified: Python's `wait()`.
    ///
    /// # Panics
    ///
    /// If others wait on this condition with another lock.
    ///
    /// # Blocking
    ///
    /// Until somebody notifies this thread, and then until the lock is free.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn wait<G: WaitGuard>(&self, guard: &mut G) {
        self.wait_guarded(guard, Deadline::NEVER);
    }

    /// Waits until notified, at most for `timeout`; whether it was notified. Python's `wait(timeout)`.
    ///
    /// # Panics
    ///
    /// If others wait on this condition with another lock.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, and then until the lock is free.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn wait_timeout<G: WaitGuard>(&self, guard: &mut G, timeout: Duration) -> bool {
        self.wait_guarded(guard, Deadline::after(timeout))
    }

    /// Waits as long as `is_so` says yes to what the lock protects; not at all, if it says no at once. Python's
    /// `wait_for`, with the opposite question.
    ///
    /// # Panics
    ///
    /// If others wait on this condition with another lock.
    ///
    /// # Blocking
    ///
    /// Until, after a notification, it is no longer so.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn wait_while<G: WaitGuard>(&self, guard: &mut G, mut is_so: impl FnMut(&G::Target) -> bool) {
        while is_so(guard) {
            self.wait_guarded(guard, Deadline::NEVER);
        }
    }

    /// Waits as long as `is_so` says yes, at most for `timeout`, whatever number of notifications came meanwhile; whether
    /// it is no longer so. Python's `wait_for(predicate, timeout)`, with the opposite question.
    ///
    /// # Panics
    ///
    /// If others wait on this condition with another lock.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, and then until the lock is free.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn wait_while_timeout<G: WaitGuard>(
        &self,
        guard: &mut G,
        mut is_so: impl FnMut(&G::Target) -> bool,
        timeout: Duration,
    ) -> bool {
        let deadline = Deadline::after(timeout);
        let mut in_time = true;
        while is_so(guard) {
            if !in_time {
                return false;
            }
            in_time = self.wait_guarded(guard, deadline);
        }
        true
    }

    /// Waits until notified, with a lock that was taken without a guard.
    ///
    /// ```
    /// use crewkit::sync::{CannotWait, Condition, RLock};
    ///
    /// let lock = RLock::default();
    /// let changed = Condition::new();
    /// assert_eq!(changed.wait_holding(&lock), Err(CannotWait::NotHeld));
    /// ```
    ///
    /// # Errors
    ///
    /// [`CannotWait`], with nothing changed, if the lock is not held, or others wait here with another one.
    ///
    /// # Blocking
    ///
    /// Until somebody notifies this thread, and then until the lock is free.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn wait_holding<L: WaitLock>(&self, lock: &L) -> Result<(), CannotWait> {
        self.wait_until(lock, Deadline::NEVER).map(drop)
    }

    /// Waits until notified, at most for `timeout`, with a lock that was taken without a guard; whether it was notified.
    ///
    /// # Errors
    ///
    /// [`CannotWait`], with nothing changed, if the lock is not held, or others wait here with another one.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`, and then until the lock is free.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub fn wait_holding_timeout<L: WaitLock>(&self, lock: &L, timeout: Duration) -> Result<bool, CannotWait> {
        self.wait_until(lock, Deadline::after(timeout))
    }

    /// Wakes the one who has waited longest; whether anybody did. Python's `notify()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn notify_one(&self) -> bool {
        self.notify(1) > 0
    }

    /// Wakes the `count` who have waited longest, or all if there are fewer; how many that were. Python's `notify(n)`.
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn notify(&self, count: usize) -> usize {
        if count == 0 || self.waiting.load(Ordering::Relaxed) == 0 { 0 } else { self.call(count) }
    }

    /// Wakes all who wait; how many that were. Python's `notify_all()`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    #[cold]
    fn call(&self, count: usize) -> usize {
        let mut line = self.line.lock();
        // SAFETY: see the module. Nobody who is called here goes on before `line` is left, after the last use.
        let Some(lock) = (unsafe { line.lock.get_mut().as_ref() }) else { return 0 };
        let mut dismissed = Dismissed::default();
        let called = (0..count).take_while(|_| line.waiters.dismiss_front(&mut dismissed)).count();
        let rest = lock.call_and_ring_at_release(dismissed);
        self.note(&mut line, |waiting| waiting - called);
        let calls = rest.call();
        drop(line);
        calls.ring();
        called
    }

    /// Waits with a guard; whether it was notified.
    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    pub(super) fn wait_guarded<G: WaitGuard>(&self, guard: &mut G, deadline: Deadline) -> bool {
        let latch = guard.latch();
        loop {
            match self.wait_until(latch, deadline) {
                Ok(was_notified) => return was_notified,
                // An `RLock<()>` or a `Lock<()>` was released under its guard, which is to have it in the end.
                Err(CannotWait::NotHeld) => latch.take_back(1, Place::here()),
                Err(CannotWait::OtherLock) => panic!("{}", CannotWait::OtherLock),
            }
        }
    }

    #[cfg_attr(feature = "deadlock-detection", track_caller)]
    fn wait_until<L: Latch + ?Sized>(&self, latch: &L, deadline: Deadline) -> Result<bool, CannotWait> {
        if !latch.is_held() {
            return Err(CannotWait::NotHeld);
        }
        let lock = ptr::from_ref(latch.permit()).cast_mut();
        // Declared in this order, so that an unwinding leaves the line first, and takes the lock back last.
        let mut released = Released { latch, place: Place::here(), depth: None };
        let mut stand = Stand::new(self);
        let mut line = self.line.lock();
        if ![ptr::null_mut(), lock].contains(line.lock.get_mut()) {
            return Err(CannotWait::OtherLock);
        }
        *line.lock.get_mut() = lock;
        stand.enlist(&mut line);
        self.note(&mut line, |waiting| waiting + 1);
        drop(line);
        released.depth = latch.let_go();
        if released.depth.is_none() {
            return Err(CannotWait::NotHeld);
        }
        let uncalled = stand.until_called(deadline);
        let was_called = uncalled.is_none();
        if let Some(mut line) = uncalled {
            self.note(&mut line, |waiting| waiting - 1);
        }
        released.take_back();
        Ok(was_called)
    }

    /// Restores invariants 1 and 2.
    fn note(&self, line: &mut Line, next: impl Fn(usize) -> usize) {
        let waiting = next(self.waiting.load(Ordering::Relaxed));
        self.waiting.store(waiting, Ordering::Relaxed);
        if waiting == 0 {
            *line.lock.get_mut() = ptr::null_mut();
        }
    }
}

impl Dismissing for Condition {
    type State = Line;

    fn latch(&self) -> &primitive::Latch<Line> {
        &self.line
    }

    fn line(line: &mut Line) -> &mut WaitList {
        &mut line.waiters
    }

    fn forsake(&self, mut line: LatchGuard<'_, Line>, was_called: bool) {
        if was_called {
            drop(line);
            self.notify(1);
        } else {
            self.note(&mut line, |waiting| waiting - 1);
        }
    }
}

/// A lock let go by a waiter, taken back also if the wait unwinds.
struct Released<'a, L: Latch + ?Sized> {
    latch: &'a L,
    place: Place,
    depth: Option<usize>,
}

impl<L: Latch + ?Sized> Released<'_, L> {
    fn take_back(mut self) {
        if let Some(depth) = self.depth {
            // If this unwinds, `drop` tries again.
            self.latch.take_back(depth, self.place);
            self.depth = None;
        }
    }
}

impl<L: Latch + ?Sized> Drop for Released<'_, L> {
    fn drop(&mut self) {
        if let Some(depth) = self.depth.take() {
            self.latch.take_back(depth, self.place);
        }
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiters", &self.waiting.load(Ordering::Relaxed)).finish()
    }
}

/// The guards that a [`Condition`] can wait with: [`LockGuard`], and [`RLockGuard`] of a `T: Sync`.
pub trait WaitGuard: Guard + Deref {}

impl<T> WaitGuard for LockGuard<'_, T> {}
impl<T: Sync> WaitGuard for RLockGuard<'_, T> {}

/// The locks that a [`Condition`] can wait with where they were taken without a guard: [`Lock`] and [`RLock`].
pub trait WaitLock: Latch {}

impl WaitLock for Lock {}
impl WaitLock for RLock {}

/// Why a wait on a [`Condition`] did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotWait {
    /// The lock is an [`RLock`] that this thread does not hold, or a [`Lock`] that nobody holds.
    NotHeld,
    /// Others wait on the condition with another lock.
    OtherLock,
}

impl fmt::Display for CannotWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "wait on a condition without holding its lock",
            Self::OtherLock => "wait on a condition where others wait with another lock",
        })
    }
}

impl Error for CannotWait {}
