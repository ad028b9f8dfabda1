//! `Barrier`: go on only when all are here, as Python's `threading.Barrier`.
//!
//! # States
//!
//! CPython's four (`threading.py`, `class Barrier`), and one more, because here the action runs without the lock:
//!
//! ```text
//!             last one is here          action done            last one has left
//!   Filling -------------------> Acting ------------> Draining ------------------> Filling
//!      |                           |                     |
//!      | reset, while some wait    | reset               | (a reset changes nothing: the trip is made)
//!      +---------------------------+--> Resetting ---------------------------------^
//!      |                           |         ^  reset, while some are inside       last one has left
//!      +- abort, timeout, panic ---+--> Broken (also from Draining and Resetting, by abort) -- reset, nobody inside --> Filling
//! ```
//!
//! `count` is how many are inside: they have come in and not left. Who comes finds `Filling` and goes in, or `Broken` and
//! goes away, or waits until the last one has left. So nobody meets a trip that is not its own: the state that it waits to
//! see changed cannot come round to `Filling` while it is inside.
//!
//! Everything is under one lock, so nothing is said of orderings.

use super::{Condition, Lock, LockGuard};
use crate::primitive::const_on_the_machine;
use crate::sys::clock::Deadline;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Where a number of threads wait for each other, trip after trip: Python's `threading.Barrier`.
///
/// [`wait`](Self::wait) returns in all parties when the last one has come, after the action, if there is one, has run in
/// that last one. If somebody will not come (its time is over, the action panicked, or somebody called
/// [`abort`](Self::abort)), the barrier is broken: everybody gets [`BrokenBarrier`], until somebody
/// [`reset`](Self::reset)s it.
///
/// ```
/// use crewkit::sync::Barrier;
///
/// let barrier = Barrier::with_action(3, || println!("all are here"));
/// std::thread::scope(|scope| {
///     for _ in 0..3 {
///         scope.spawn(|| {
///             // … the first half of the work …
///             barrier.wait().unwrap();
///             // … the second half, which needs everybody's first …
///         });
///     }
/// });
/// ```
pub struct Barrier {
    parties: usize,
    timeout: Option<Duration>,
    /// Run by who comes last, so the lock is never waited for.
    action: Option<Lock<Box<dyn FnMut() + Send>>>,
    inside: Lock<Inside>,
    /// The trip is made, or will not be.
    decided: Condition,
    /// The last one has left.
    left: Condition,
}

struct Inside {
    phase: Phase,
    count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Filling,
    Acting,
    Draining,
    Resetting,
    Broken,
}

impl Barrier {
    const_on_the_machine! {
        /// A barrier for `parties` threads.
        ///
        /// A `const fn`, except under `cfg(crewkit_loom)`.
        ///
        /// # Panics
        ///
        /// If `parties` is zero (Python's `ValueError`).
        pub fn new(parties: usize) -> Self {
            assert!(parties > 0, "a barrier has at least one party");
            Self {
                parties,
                timeout: None,
                action: None,
                inside: Lock::new(Inside { phase: Phase::Filling, count: 0 }),
                decided: Condition::new(),
                left: Condition::new(),
            }
        }
    }

    /// A barrier that calls `action` once in each trip, in the thread that came last, before anybody goes on: Python's
    /// `Barrier(parties, action)`.
    ///
    /// The action may look at the barrier, abort or reset it, but not wait for it, which would be for ever.
    ///
    /// # Panics
    ///
    /// If `parties` is zero.
    pub fn with_action(parties: usize, action: impl FnMut() + Send + 'static) -> Self {
        let action: Box<dyn FnMut() + Send> = Box::new(action);
        Self { action: Some(Lock::new(action)), ..Self::new(parties) }
    }

    /// The same barrier, where [`wait`](Self::wait) waits at most for `timeout`: Python's `Barrier(…, timeout=…)`.
    #[must_use]
    pub fn default_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Waits until all parties are here: Python's `wait()`.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`], if the barrier is broken, breaks or is reset before all are here, or if the
    /// [`default_timeout`](Self::default_timeout) is over, which breaks it.
    ///
    /// # Panics
    ///
    /// If this thread came last and the action panics; that breaks the barrier for the others.
    ///
    /// # Blocking
    ///
    /// Until all are here, and the action is done; before that until the parties of the last trip have left.
    pub fn wait(&self) -> Result<BarrierWait, BrokenBarrier> {
        self.wait_within(self.timeout)
    }

    /// Waits until all parties are here, at most for `timeout`, whatever the default timeout: Python's `wait(timeout)`.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`], as for [`wait`](Self::wait). If the time is over, the barrier breaks for everybody.
    ///
    /// # Panics
    ///
    /// If this thread came last and the action panics; that breaks the barrier for the others.
    ///
    /// # Blocking
    ///
    /// At most for `timeout` until all are here. As in Python the time of a running action, and of the last trip's parties
    /// until they have left, is not counted: neither is the wait for these bounded, nor does it shorten the other.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWait, BrokenBarrier> {
        self.wait_within(Some(timeout))
    }

    /// Begins anew: Python's `reset()`. Those who wait get [`BrokenBarrier`]; who comes after that finds the barrier whole,
    /// as soon as they have left. A trip whose last party has come, and whose action is done, is not disturbed.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn reset(&self) {
        let mut inside = self.inside.lock();
        match inside.phase {
            _ if inside.count == 0 => self.decide(&mut inside, Phase::Filling),
            Phase::Filling | Phase::Acting | Phase::Broken => self.decide(&mut inside, Phase::Resetting),
            Phase::Draining | Phase::Resetting => {}
        }
    }

    /// Breaks the barrier: Python's `abort()`. Those who wait, and who comes until somebody [`reset`](Self::reset)s it, get
    /// [`BrokenBarrier`].
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn abort(&self) {
        self.decide(&mut self.inside.lock(), Phase::Broken);
    }

    /// For how many threads this is: Python's `parties`.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many wait for others to come: Python's `n_waiting`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn waiting(&self) -> usize {
        self.inside.lock().waiting()
    }

    /// Whether the barrier is broken: Python's `broken`.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn is_broken(&self) -> bool {
        self.inside.lock().phase == Phase::Broken
    }

    fn wait_within(&self, timeout: Option<Duration>) -> Result<BarrierWait, BrokenBarrier> {
        // Declared before the guard, so that in an unwinding the lock is free when the party leaves.
        let mut party = Party { barrier: self, is_inside: false };
        let mut inside = self.inside.lock();
        self.left.wait_while(&mut inside, |inside| !matches!(inside.phase, Phase::Filling | Phase::Broken));
        if inside.phase == Phase::Broken {
            return Err(BrokenBarrier);
        }
        let index = inside.count;
        inside.count += 1;
        party.is_inside = true;
        let is_leader = inside.count == self.parties;
        if is_leader {
            inside = self.act(inside);
        } else {
            // From now on, as in Python: who waited at the door is not late.
            self.wait_for_the_last(&mut inside, timeout.map_or(Deadline::NEVER, Deadline::after));
        }
        let outcome = match inside.phase {
            Phase::Draining => Ok(BarrierWait { index, is_leader }),
            _ => Err(BrokenBarrier),
        };
        party.is_inside = false;
        self.leave(&mut inside);
        outcome
    }

    /// Runs the action, and lets everybody go, unless the barrier was broken or reset meanwhile.
    fn act<'a>(&'a self, mut inside: LockGuard<'a, Inside>) -> LockGuard<'a, Inside> {
        inside.phase = Phase::Acting;
        if let Some(action) = &self.action {
            drop(inside);
            action.lock()();
            inside = self.inside.lock();
        }
        if inside.phase == Phase::Acting {
            self.decide(&mut inside, Phase::Draining);
        }
        inside
    }

    fn wait_for_the_last(&self, inside: &mut LockGuard<'_, Inside>, deadline: Deadline) {
        let mut in_time = true;
        while inside.phase == Phase::Filling && in_time {
            in_time = self.decided.wait_guarded(inside, deadline);
        }
        if inside.phase == Phase::Filling {
            self.decide(inside, Phase::Broken);
        }
        self.decided.wait_while(inside, |inside| inside.phase == Phase::Acting);
    }

    /// Tells the parties how the trip ends, and those at the door, that they may go in or away.
    fn decide(&self, inside: &mut Inside, phase: Phase) {
        inside.phase = phase;
        self.decided.notify_all();
        self.left.notify_all();
    }

    fn leave(&self, inside: &mut Inside) {
        inside.count -= 1;
        if inside.count == 0 && matches!(inside.phase, Phase::Draining | Phase::Resetting) {
            self.decide(inside, Phase::Filling);
        }
    }
}

impl Inside {
    fn waiting(&self) -> usize {
        if matches!(self.phase, Phase::Filling | Phase::Acting) { self.count } else { 0 }
    }
}

/// A party that unwinds, out of the action or of a wait, does not stay inside, and the trip will not be made.
struct Party<'a> {
    barrier: &'a Barrier,
    is_inside: bool,
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        if self.is_inside {
            let mut inside = self.barrier.inside.lock();
            if matches!(inside.phase, Phase::Filling | Phase::Acting) {
                self.barrier.decide(&mut inside, Phase::Broken);
            }
            self.barrier.leave(&mut inside);
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.inside.lock();
        let mut text = f.debug_struct("Barrier");
        text.field("parties", &self.parties).field("waiting", &inside.waiting());
        text.field("is_broken", &(inside.phase == Phase::Broken)).finish()
    }
}

/// One party's trip through a [`Barrier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWait {
    /// The place in the order of arrival, from zero: each party of a trip has another. What Python's `wait()` returns.
    pub index: usize,
    /// Whether this party came last, and ran the action: one of each trip did.
    pub is_leader: bool,
}

/// The barrier is broken, or was reset: not all came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenBarrier;

impl fmt::Display for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken: not all parties came")
    }
}

impl Error for BrokenBarrier {}
